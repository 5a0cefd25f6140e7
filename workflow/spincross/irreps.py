r"""Irreps of orbitals and densities in an imposed point group.

With S-orthonormal symmetry-adapted functions :math:`U_\Gamma` (PySCF's), orbitals :math:`C` have the components
:math:`X_\Gamma = U_\Gamma^T S C`. An orbital's share in an irrep is the square of its column there, and a density
:math:`D = C C^T` keeps the group exactly when every block :math:`X_\Gamma X_{\Gamma'}^T` between two irreps vanishes.
Nothing here asks that the orbitals come from a symmetry-adapted SCF.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pyscf import gto

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Adapted:
    """Symmetry-adapted functions of a molecule: irrep names, and U^T S (n, nao) of each."""

    names: tuple[str, ...]
    projections: tuple[Array, ...]

    def shares(self, orbitals: Array) -> Array:
        """Return (irreps, n) shares of orbitals (nao, n); each column adds up to 1."""
        return np.array([((p @ orbitals) ** 2).sum(axis=0) for p in self.projections])

    def labels(self, orbitals: Array) -> list[str]:
        """Return the irrep with the largest share of each orbital (nao, n)."""
        return [self.names[k] for k in self.shares(orbitals).argmax(axis=0)]

    def counts(self, occupied: Array) -> Array:
        """Return the electrons of one spin per irrep (irreps,); whole numbers where the density keeps the group."""
        return np.asarray(self.shares(occupied).sum(axis=1))

    def asymmetry(self, occupied: Array) -> float:
        """Return the norm of the density (electrons) between different irreps: 0 where it keeps the group."""
        parts = [p @ occupied for p in self.projections]
        blocks = [a @ b.T for k, a in enumerate(parts) for m, b in enumerate(parts) if m != k]
        return float(np.sqrt(sum((block**2).sum() for block in blocks)))


def adapted(mol: gto.Mole, point_group: str) -> Adapted:
    """Return the symmetry-adapted functions of a molecule in a group."""
    overlap = mol.intor_symmetric("int1e_ovlp")
    copy = mol.copy()
    copy.symmetry = point_group if point_group != "C1" else False
    copy.build(False, False)
    if point_group == "C1":
        names, functions = ("A",), [np.eye(mol.nao)]
    else:
        names, functions = tuple(copy.irrep_name), copy.symm_orb
    projections = []
    for block in functions:
        values, vectors = np.linalg.eigh(block.T @ overlap @ block)
        projections.append((vectors / np.sqrt(values)) @ vectors.T @ block.T @ overlap)
    return Adapted(names, tuple(projections))
