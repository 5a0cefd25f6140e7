r"""What the operation of a point group does to basis functions, and functions adapted to its two irreps.

C2 about z, the mirror xy and the inversion only change signs of coordinates, so an operation sends a basis function of
an atom to the same function of the atom's image, times a sign: :math:`(-1)^m` under C2, :math:`(-1)^{l+m}` under the
mirror, :math:`(-1)^l` under the inversion (real spherical harmonics). A function f and its image f' give
:math:`(f \pm f') / \sqrt 2`; one that is its own image belongs to an irrep by itself. Both ways of this orthogonal
transformation pick two functions for each new one, so tables are used in place of matrix products.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyscf import gto

from spincross import pointgroup

Array = NDArray[np.float64]
Index = NDArray[np.intp]

SAME = 1e-7
"""Largest difference between a density matrix and its image where the density counts as symmetric; of a small matrix,
relative to its largest element. PySCF's adapted functions are good to some 1e-9; what a density lacks of the symmetry
changes its energy in second order only, derivatives of it in first order, by as little."""


@dataclass(frozen=True)
class Pick:
    """Linear combinations of two functions: `first` and `second` (n,) say which, `a` and `b` (n,) how much of each."""

    first: Index
    second: Index
    a: Array
    b: Array

    def __call__(self, values: Array) -> Array:
        """Combine along the last axis."""
        return np.asarray(values.take(self.first, axis=-1) * self.a + values.take(self.second, axis=-1) * self.b)

    def rows(self, values: Array) -> Array:
        """Combine along the first axis of a matrix."""
        return np.asarray(values[self.first] * self.a[:, None] + values[self.second] * self.b[:, None])


@dataclass(frozen=True)
class SymmetryAdapted:
    """Functions adapted to the irreps of a group of order 2, or the plain ones of C1.

    Parameters
    ----------
    parts : where the functions of each irrep stand among the adapted ones, totally symmetric first
    to, back : along the last axis, from basis functions to adapted ones and back
    """

    parts: tuple[slice, ...]
    to: Pick
    back: Pick

    def matrix(self, values: Array) -> Array:
        """Return (..., n, n) matrices over basis functions as matrices over adapted ones."""
        return self.to(self.to(values).swapaxes(-1, -2)).swapaxes(-1, -2)

    def matrix_back(self, values: Array) -> Array:
        """Return (..., n, n) matrices over adapted functions as matrices over basis functions."""
        return self.back(self.back(values).swapaxes(-1, -2)).swapaxes(-1, -2)


@dataclass(frozen=True)
class Images:
    """The images of a molecule's atoms (N,) and basis functions (n,), signs of the latter, the operation (3, 3)."""

    atoms: Index
    functions: Index
    signs: Array
    operation: Array

    @property
    def orbits(self) -> Array:
        """How often each atom (N,) counts where only one of a pair is looked at: 2 or 0, 1 for its own image."""
        own = np.arange(len(self.atoms))
        return np.where(self.atoms == own, 1.0, np.where(own < self.atoms, 2.0, 0.0))

    def symmetrised(self, vectors: Array) -> Array:
        """Return the mean of vectors (N, 3) of the atoms and their images."""
        moved = np.empty_like(vectors)
        moved[self.atoms] = vectors @ self.operation.T
        return 0.5 * (vectors + moved)

    def second_derivatives(self, values: Array) -> Array:
        """Return the mean of second derivatives (N, N, 3, 3) of the energy and their image."""
        moved = np.empty_like(values)
        moved[np.ix_(self.atoms, self.atoms)] = np.einsum("xi,abij,yj->abxy", self.operation, values, self.operation)
        return 0.5 * (values + moved)

    def symmetrise_first_order(self, matrices: Array) -> None:
        """Replace first-order matrices (..., N, 3, n, n) of displaced atoms by the mean of them and their images."""
        signs = self.operation.diagonal()[:, None, None]
        for atom, image in enumerate(self.atoms):
            if atom <= image:
                mean = 0.5 * (matrices[..., atom, :, :, :] + signs * self.matrix(matrices[..., image, :, :, :]))
                matrices[..., atom, :, :, :], matrices[..., image, :, :, :] = mean, signs * self.matrix(mean)

    def orbitals(self, coefficients: Array) -> Array:
        """Return the images of orbitals (n, ...)."""
        moved = np.empty_like(coefficients)
        moved[self.functions] = (self.signs * coefficients.T).T
        return moved

    def symmetric(self, matrices: Array) -> bool:
        """Tell whether matrices (..., n, n) are their own images, and their own transposes."""
        limit = SAME * min(1.0, float(np.abs(matrices).max()))
        differences = (matrices - self.matrix(matrices), matrices - matrices.swapaxes(-1, -2))
        return all(float(np.abs(difference).max()) <= limit for difference in differences)

    def matrix(self, matrices: Array) -> Array:
        """Return the images of matrices (..., n, n); the operation is its own inverse."""
        pick = np.ix_(self.functions, self.functions)
        return np.asarray(matrices[..., pick[0], pick[1]] * np.outer(self.signs, self.signs))

    def adapted(self) -> SymmetryAdapted:
        """Return the adapted functions."""
        own = np.arange(len(self.functions))
        alone, pairs = own == self.functions, np.flatnonzero(own < self.functions)
        spots = [np.flatnonzero(alone & (self.signs == s)) for s in (1, -1)]
        first = np.concatenate([spots[0], pairs, spots[1], pairs])
        second = self.functions[first]
        count = len(spots[0]) + len(pairs)
        irrep = np.where(np.arange(len(own)) < count, 1.0, -1.0)
        half = np.where(alone[first], 1.0, np.sqrt(0.5))
        b = np.where(alone[first], 0.0, irrep * half * self.signs[first])
        return SymmetryAdapted(
            (slice(0, count), slice(count, len(own))), Pick(first, second, half, b), self._back(first, b)
        )

    def _back(self, first: Index, b: Array) -> Pick:
        """Return the inverse: a function stands in one combination of each irrep, or in one alone."""
        own = np.arange(len(first))
        holders = {f: np.flatnonzero((first == f) | (first == self.functions[f])) for f in own}
        one = np.array([holders[f][0] for f in own])
        two = np.array([holders[f][-1] for f in own])
        alone = own == self.functions
        mine = first[one] == own
        a = np.where(alone, 1.0, np.where(mine, np.sqrt(0.5), b[one]))
        other = np.where(alone, 0.0, np.where(mine, np.sqrt(0.5), b[two]))
        return Pick(one, two, a, other)


def images(mol: gto.Mole, point_group: str) -> Images:
    """Return the images under the operation that makes a group of order 2.

    SymmetryLost if the molecule does not have it.
    """
    operation = pointgroup.operations(point_group)[1]
    numbers = np.array([gto.charge(mol.atom_pure_symbol(i)) for i in range(mol.natm)])
    atoms = pointgroup.permutation(numbers, np.asarray(mol.atom_coords()), operation, tolerance=1e-6)
    starts = mol.aoslice_by_atom()[:, 2]
    owners = np.repeat(np.arange(mol.natm), np.diff(mol.aoslice_by_atom()[:, 2:], axis=1).ravel())
    functions = np.arange(mol.nao) - starts[owners] + starts[atoms[owners]]
    return Images(atoms, functions, _signs(mol, operation.diagonal()), operation)


def of_molecule(mol: gto.Mole) -> Images | None:
    """Return the images under the group that PySCF holds, None where it holds none or functions are Cartesian."""
    if not mol.symmetry or mol.cart or mol.groupname not in pointgroup.OPERATIONS or mol.groupname == "C1":
        return None
    return images(mol, mol.groupname)


def runs(numbers: Index) -> list[range]:
    """Return ascending numbers as ranges without gaps.

    >>> runs(np.array([0, 1, 4]))
    [range(0, 2), range(4, 5)]
    """
    parts = np.split(numbers, np.flatnonzero(np.diff(numbers) != 1) + 1)
    return [range(int(part[0]), int(part[-1]) + 1) for part in parts if len(part)]


def plain(count: int) -> SymmetryAdapted:
    """Return the basis functions themselves, as those of one irrep."""
    own, ones = np.arange(count), np.ones(count)
    same = Pick(own, own, ones, 0.0 * ones)
    return SymmetryAdapted((slice(0, count),), same, same)


def _signs(mol: gto.Mole, flips: Any) -> Array:
    """Return the signs (n,) of basis functions where coordinates x, y, z are multiplied by `flips`."""
    x, y, z = flips
    signs: list[float] = []
    for shell in range(mol.nbas):
        degree = mol.bas_angular(shell)
        orders = [1, -1, 0] if degree == 1 else range(-degree, degree + 1)  # PySCF's p functions are x, y, z
        one = [_sign(degree, m, x, y, z) for m in orders]
        signs += one * mol.bas_nctr(shell)
    return np.array(signs)


def _sign(degree: int, m: int, x: float, y: float, z: float) -> float:
    """Return the sign of a real spherical harmonic: z^(l-|m|) times the real (m < 0: imaginary) part of (x+iy)^|m|."""
    return float(z ** (degree - abs(m)) * (x**m if m >= 0 else y * x ** (-m - 1)))
