r"""Second derivatives of Coulomb and exchange energy at fixed orbital coefficients, with density fitting.

The fitted energy is stationary in its fit (charges :math:`c = V^{-1} g` of the density, :math:`Z_{ij}` of pairs of
occupied orbitals), so that no derivative of the fit appears:

.. math:: E^{ab} = \sum \Gamma_{P \mu \nu} (P|\mu\nu)^{ab} + \sum \gamma_{PQ} (P|Q)^{ab}
    + r^a V^{-1} r^b - s \sum_{\sigma ij} R^a_{ij} V^{-1} R^b_{ij}, \quad r^a = g^a - V^a c, \quad
    R^a_{ij} = (ij|P)^a - V^a Z_{ij}

with :math:`\Gamma, \gamma` of the gradient (`fitted_gradient`). Derivatives with respect to the centre of a fitting
function follow from those of the orbital functions: a block of integrals does not change when all its atoms move.
PySCF keeps arrays of 3 nao^2 naux numbers on disk, four for a closed shell and seven for two spins (109 and 192 GB for
51 atoms in def2-SVP); here it is one of 3 nao nocc naux for each spin. Of two atoms that are images under a point group
only one's fitting functions are looked at for second derivatives of the three-index integrals.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyscf import df, gto, lib
from scipy.linalg import LinAlgError, cholesky, solve_triangular

from spincross.checkpoints import Keep, anew
from spincross.images import Images
from spincross.symmetric_fitting import blocks

Array = NDArray[np.float64]

BLOCK = 1 / 16
"""Part of the memory that PySCF was given for a block of integrals, or of what is made of it."""
CHUNK = 1 / 4
"""The same for transformed integrals that are held meanwhile."""


@dataclass(frozen=True)
class Fitting:
    """Orbital and fitting functions of a density, and their metric.

    Parameters
    ----------
    mol, auxiliary : molecules with the two bases
    orbitals : occupied, (nao, nocc) of each spin; one spin for a closed shell
    electrons : in each of them, 1 or 2
    hybrid : share of exchange
    mapped : images of atoms and functions under the group that the density keeps
    """

    mol: gto.Mole
    auxiliary: gto.Mole
    orbitals: list[Array]
    electrons: float
    hybrid: float
    mapped: Images | None = None

    @property
    def exchange(self) -> float:
        """Return s, the factor of the exchange energy."""
        return self.hybrid * self.electrons

    @property
    def orbits(self) -> Array:
        """Return how often each atom (N,) counts where of two images only one is looked at."""
        return np.ones(self.mol.natm) if self.mapped is None else self.mapped.orbits

    @cached_property
    def both(self) -> gto.Mole:
        """Return a molecule with the shells of both bases."""
        return self.mol + self.auxiliary

    @cached_property
    def lower(self) -> Array:
        """Return the Cholesky factor L (naux, naux) of the metric."""
        return np.asarray(cholesky(self.auxiliary.intor("int2c2e"), lower=True))

    @cached_property
    def slopes(self) -> Array:
        """Return (d_x P|Q), (3, naux, naux), antisymmetric."""
        return np.asarray(self.auxiliary.intor("int2c2e_ip1"))

    @cached_property
    def density(self) -> Array:
        """Return the density matrix (nao, nao) of all electrons."""
        return self.electrons * sum((c @ c.T for c in self.orbitals), start=np.zeros((self.mol.nao, self.mol.nao)))

    @cached_property
    def members(self) -> list[slice]:
        """Return the fitting functions of each atom."""
        return [slice(a, b) for _, _, a, b in self.auxiliary.aoslice_by_atom()]

    @cached_property
    def functions(self) -> list[slice]:
        """Return the orbital functions of each atom."""
        return [slice(a, b) for _, _, a, b in self.mol.aoslice_by_atom()]

    def solved(self, values: Array, transposed: bool = False) -> Array:
        """Return L^-1 or L^-T times values (naux, n)."""
        return np.asarray(solve_triangular(self.lower, values, lower=True, trans="T" if transposed else "N"))

    def room(self, part: float, numbers: float) -> int:
        """Return how often so many numbers go into a part of the memory, at least once."""
        return max(1, int(part * self.mol.max_memory / (8e-6 * numbers)))

    def rows(
        self, name: str, components: int, needed: slice = slice(0, sys.maxsize)
    ) -> Iterator[tuple[int, slice, Array]]:
        """Yield blocks of three-index integrals by orbital functions of one atom, among those needed.

        Atom, functions, and (components, naux, nao, n) of (d mu nu|P), mu last.
        """
        limit = self.room(BLOCK, components * self.auxiliary.nao * self.mol.nao)
        for atom, first, last in _shells(self.mol, limit):
            where = slice(int(self.mol.ao_loc[first]), int(self.mol.ao_loc[last]))
            if where.start < needed.stop and needed.start < where.stop:
                shells = (first, last, 0, self.mol.nbas, self.mol.nbas, self.both.nbas)
                yield atom, where, self._integrals(name, components, shells)

    def columns(self, name: str, components: int) -> Iterator[tuple[int, slice, Array]]:
        """Yield blocks of three-index integrals by fitting functions of one atom, that counts (`orbits`).

        Atom, functions, and (components, n, nao, nao) of (d mu nu|P), mu last.
        """
        count = self.mol.nbas
        limit = self.room(BLOCK, components * self.mol.nao**2)
        for atom, first, last in _shells(self.auxiliary, limit):
            where = slice(int(self.auxiliary.ao_loc[first]), int(self.auxiliary.ao_loc[last]))
            if self.orbits[atom]:
                shells = (0, count, 0, count, count + first, count + last)
                yield atom, where, self._integrals(name, components, shells)

    def _integrals(self, name: str, components: int, shells: tuple[int, ...]) -> Array:
        """Return three-index integrals (components, n, nao, m) of (d mu nu|P) in a range of shells, mu last."""
        found = self.both.intor(name, shls_slice=shells)
        return np.asarray(found.reshape(components, *found.shape[-3:]).transpose(0, 3, 2, 1))

    @cached_property
    def charges(self) -> Array:
        """Return the fitted charges c (naux,) of the density."""
        raw = np.zeros(self.auxiliary.nao)
        for _, where, integrals in self.rows("int3c2e", 1):
            raw += np.einsum("pnm,nm->p", integrals[0], self.density[:, where])
        return self.solved(self.solved(raw), transposed=True)

    def pairs(self, orbitals: Array) -> Array:
        """Return the fit Z (naux, nocc, nocc) of pairs of occupied orbitals."""
        count = orbitals.shape[1]
        found = np.zeros((self.auxiliary.nao, count, count))
        for _, where, integrals in self.rows("int3c2e", 1):
            found += np.matmul(orbitals.T, integrals[0]) @ orbitals[where]
        flat = found.reshape(len(found), -1)
        for part in blocks(flat.shape[1], self.room(BLOCK, len(flat))):
            flat[:, part] = self.solved(self.solved(flat[:, part]), transposed=True)
        return found

    @cached_property
    def moved_charges(self) -> Array:
        """Return r (naux, N, 3): what the motion of an atom changes of (P|density), and of the metric."""
        slope = np.zeros((3, len(self.functions), self.auxiliary.nao))
        for atom, where, integrals in self.rows("int3c2e_ip1", 3):
            slope[:, atom] += np.einsum("xpnm,nm->xp", integrals, self.density[:, where])
        turned = self.slopes @ self.charges
        found = -2.0 * slope
        for atom, own in enumerate(self.members):
            found[:, atom, own] += 2.0 * slope[:, :, own].sum(axis=1) + turned[:, own]
            found[:, atom] -= self.slopes[:, :, own] @ self.charges[own]
        return found.transpose(2, 1, 0)


def fitting_of(method: Any, mapped: Images | None = None) -> Fitting | None:
    """Return the fit of a converged RKS or UKS, None where fitting functions are linearly dependent.

    Parameters
    ----------
    mapped : images under the group that the density keeps
    """
    mol, share = method.mol, method._numint.hybrid_coeff(method.xc, spin=method.mol.spin)
    closed = np.ndim(method.mo_occ) == 1
    pairs = [(method.mo_coeff, method.mo_occ)] if closed else zip(method.mo_coeff, method.mo_occ, strict=True)
    orbitals = [np.asarray(c)[:, np.asarray(o) > 0] for c, o in pairs]
    auxiliary = df.addons.make_auxmol(mol, method.with_df.auxbasis)
    fitting = Fitting(mol, auxiliary, orbitals, 2.0 if closed else 1.0, share, mapped)
    try:
        fitting.lower  # noqa: B018 - computed here, kept there
    except LinAlgError:
        return None
    return fitting


def scratch_megabytes(mol: gto.Mole, auxiliary: int) -> float:
    """Return the size (MB) of the scratch file of `second_derivatives` with exchange and so many fitting functions."""
    return float(3 * mol.nao * max(mol.nelec) * auxiliary * 8e-6)


def second_derivatives(fitting: Fitting, keep: Keep = anew) -> Array:
    """Return the second derivatives (N, N, 3, 3), Eh/bohr2, of Coulomb and exchange energy.

    Parameters
    ----------
    keep : stores the parts as they finish: second-derivative integrals, charges, pairs of each spin
    """

    def integrals() -> dict[str, Array]:
        """Return what the second derivatives of the integrals add."""
        z = [fitting.pairs(orbitals) for orbitals in fitting.orbitals] if fitting.exchange else []
        return {"found": _three_index(fitting, z) + _two_index(fitting, z)}

    explicit = keep("second_integrals", integrals)
    square = keep("moved_charges", lambda: {"found": _moved_charges(fitting)})["found"]
    for spin, orbitals in enumerate(fitting.orbitals if fitting.exchange else []):
        pairs = keep(f"moved_pairs_{spin}", partial(_moved_pairs, fitting, orbitals))
        square = square - fitting.exchange * pairs["found"]
    natm = fitting.mol.natm
    return np.asarray(explicit["found"] + square.reshape(natm, 3, natm, 3).transpose(0, 2, 1, 3))


def _shells(mol: gto.Mole, limit: float) -> Iterator[tuple[int, int, int]]:
    """Yield atom, first and last shell of blocks of about `limit` functions that do not go beyond an atom."""
    ends = mol.ao_loc
    for atom, (first, stop, _, _) in enumerate(mol.aoslice_by_atom()):
        start = first
        for shell in range(first, stop):
            if shell > start and ends[shell + 1] - ends[start] > limit:
                yield atom, int(start), shell
                start = shell
        yield atom, int(start), int(stop)


def _three_index(fitting: Fitting, z: list[Array]) -> Array:
    """Return what the second derivatives of the three-index integrals add."""
    natm = fitting.mol.natm
    twice, both = np.zeros((natm, natm, 9)), np.zeros((natm, natm, natm, 9))
    starts = [part.start for part in fitting.functions]
    for name, target in (("int3c2e_ipip1", twice), ("int3c2e_ipvip1", both)):
        for atom, where, integrals in fitting.columns(name, 9):
            gamma = fitting.charges[where, None, None] * fitting.density
            for orbitals, own in zip(fitting.orbitals, z, strict=False):
                half = np.matmul(own[where], orbitals.T)
                gamma -= fitting.exchange * np.matmul(orbitals, half)
            per_function = np.add.reduceat(np.einsum("xpnm,pnm->xnm", integrals, gamma), starts, axis=2)
            if target is twice:
                target[atom] += per_function.sum(axis=1).T
            else:
                target[atom] += np.add.reduceat(per_function, starts, axis=1).transpose(2, 1, 0)
    twice *= fitting.orbits[:, None, None]
    both *= fitting.orbits[:, None, None, None]
    total = _with_third_centre(twice.reshape(natm, natm, 3, 3), both.reshape(natm, natm, natm, 3, 3))
    return fitting.mapped.second_derivatives(total) if fitting.mapped else total


def _with_third_centre(twice: Array, both: Array) -> Array:
    """Add up second derivatives of three-centre integrals.

    Parameters
    ----------
    twice : (N, N, 3, 3), third atom, first atom; of one function twice
    both : (N, N, N, 3, 3), third, first, second atom; of both functions
    """
    total = 2.0 * both.sum(axis=0)
    mixed = -2.0 * (twice + both.sum(axis=2))
    for atom in range(len(twice)):
        total[atom, atom] += 2.0 * twice[:, atom].sum(axis=0) - mixed[atom].sum(axis=0)
        total[:, atom] += mixed[atom]
        total[atom] += mixed[atom].transpose(0, 2, 1)
    return np.asarray(total)


def _two_index(fitting: Fitting, z: list[Array]) -> Array:
    """Return what the second derivatives of the metric add."""
    auxiliary, natm = fitting.auxiliary, fitting.mol.natm
    gamma = -0.5 * np.outer(fitting.charges, fitting.charges)
    for own in z:
        flat = own.reshape(len(own), -1)
        gamma += 0.5 * fitting.exchange * flat @ flat.T
    starts = [part.start for part in fitting.members]
    found = np.zeros((natm, natm, 9))
    limit = fitting.room(BLOCK, 9 * auxiliary.nao)
    for atom, first, last in _shells(auxiliary, limit):
        integrals = auxiliary.intor("int2c2e_ipip1", shls_slice=(first, last, 0, auxiliary.nbas))
        weighted = np.einsum("xpq,pq->xq", integrals, gamma[auxiliary.ao_loc[first] : auxiliary.ao_loc[last]])
        found[atom] += np.add.reduceat(weighted, starts, axis=1).T
    pairs = 2.0 * found.reshape(natm, natm, 3, 3)
    total = -pairs
    for atom in range(natm):
        total[atom, atom] += pairs[atom].sum(axis=0)
    return np.asarray(total)


def _moved_charges(fitting: Fitting) -> Array:
    """Return r^a V^-1 r^b, (3N, 3N)."""
    moved = fitting.solved(fitting.moved_charges.reshape(fitting.auxiliary.nao, -1))
    return np.asarray(moved.T @ moved)


def _moved_pairs(fitting: Fitting, orbitals: Array) -> dict[str, Array]:
    """Return sum over pairs of R^a V^-1 R^b, `found` (3N, 3N), by way of a scratch file of PySCF."""
    z, naux, (nao, count) = fitting.pairs(orbitals), fitting.auxiliary.nao, orbitals.shape
    natm = fitting.mol.natm
    square = np.zeros((3 * natm, 3 * natm))
    inverse = fitting.solved(np.eye(naux))
    turned = np.array([inverse @ slope for slope in fitting.slopes])
    with lib.H5TmpFile() as scratch:
        stored = scratch.create_dataset("half", (count, 3, nao, naux), "f8")
        for _, where, integrals in fitting.rows("int3c2e_ip1", 3):
            half = np.matmul(orbitals.T, integrals)  # (3, naux, nocc, n)
            solved = np.array([fitting.solved(h.reshape(naux, -1)) for h in half]).reshape(half.shape)
            stored[:, :, where] = solved.transpose(2, 0, 3, 1)
        for own in blocks(count, fitting.room(CHUNK, 3 * nao * naux)):
            first = stored[own]
            step = fitting.room(BLOCK, 3 * natm * len(first) * naux)
            for part in blocks(count - own.start, step):
                other = slice(own.start + part.start, own.start + part.stop)
                w = _moved_block(fitting, orbitals, z, (own, other), (first, stored[other]), inverse, turned)
                weight = np.repeat([1.0 if j < own.stop else 2.0 for j in range(other.start, other.stop)], naux)
                flat = w.reshape(3 * natm, -1)
                square += flat @ (w.reshape(3 * natm, len(first), -1) * weight).reshape(flat.shape).T
    return {"found": square}


def _moved_block(
    fitting: Fitting, orbitals: Array, z: Array, places: tuple[slice, slice], halves: tuple[Array, Array],
    inverse: Array, turned: Array,
) -> Array:  # fmt: skip
    """Return L^-1 R^a_ij, (N, 3, i, j, naux), of a block of pairs."""
    first, second = (orbitals[:, place] for place in places)
    fit = np.moveaxis(z[:, places[0], places[1]], 0, 2)
    found = np.empty((fitting.mol.natm, 3, *fit.shape))
    for atom, own in enumerate(fitting.functions):
        found[atom] = np.matmul(second[own].T, halves[0][:, :, own]).transpose(1, 0, 2, 3)
        found[atom] += np.matmul(first[own].T, halves[1][:, :, own]).transpose(1, 2, 0, 3)
    naux, flat = fit.shape[2], fit.reshape(-1, fit.shape[2])
    static = found.sum(axis=0).reshape(-1, naux) @ fitting.lower.T  # one product: of a few rows each, they take longer
    static += (flat @ fitting.slopes.transpose(0, 2, 1)).reshape(static.shape)
    found *= -1.0
    for atom, own in enumerate(fitting.members):
        change = (static[:, own] @ inverse[:, own].T).reshape(3, -1, naux)
        change -= flat[:, own] @ turned[:, :, own].transpose(0, 2, 1)
        found[atom] += change.reshape(found[atom].shape)
    return found
