r"""The Coulomb and exchange part of a nuclear gradient with density fitting, contracted at once.

With fitted charges :math:`c_P` and fitted pairs of occupied orbitals :math:`Z_{P,ij}` (both solve the metric
:math:`(P|Q)`), the derivative at fixed orbital coefficients is

.. math:: \sum_{P \mu \nu} \Gamma_{P \mu \nu} (P|\mu\nu)^x + \sum_{PQ} \gamma_{PQ} (P|Q)^x, \quad
    \Gamma_P = c_P D - a \sum_\sigma C Z_P C^T, \quad \gamma = -\frac{1}{2} c c^T + \frac{a}{2} \sum_\sigma Z Z^T

(Weigend, Phys. Chem. Chem. Phys. 2002, 4, 4285). PySCF forms derivative matrices of every density, and for two spins
also their products; here each block of integrals is met once by one matrix for each fitting function.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyscf import df, gto, lib
from pyscf.ao2mo.outcore import balance_partition
from scipy.linalg import LinAlgError, cholesky, solve_triangular

Array = NDArray[np.float64]

BLOCK_MEGABYTES = 400.0
"""Size of a block of three-index quantities."""


def fitted_gradient(method: Any) -> Array | None:
    """Return the derivatives (N, 3), Eh/bohr, of Coulomb and exchange energy at fixed orbital coefficients.

    Parameters
    ----------
    method : converged RKS or UKS with density fitting and a functional that is not range-separated

    Returns
    -------
    None where the fitting functions are linearly dependent, so that PySCF left some out
    """
    mol, fitting = method.mol, method.with_df
    auxiliary = fitting.auxmol or df.addons.make_auxmol(mol, fitting.auxbasis)
    metric = auxiliary.intor("int2c2e")
    try:
        lower = cholesky(metric, lower=True)
    except LinAlgError:
        return None
    if fitting.get_naoaux() != len(lower):
        return None
    closed = np.ndim(method.mo_occ) == 1
    pairs = [(method.mo_coeff, method.mo_occ)] if closed else list(zip(method.mo_coeff, method.mo_occ, strict=True))
    occupied = [np.asarray(c)[:, np.asarray(o) > 0] for c, o in pairs]
    total = np.asarray(method.make_rdm1()) if closed else np.asarray(method.make_rdm1()).sum(axis=0)
    share = method._numint.hybrid_coeff(method.xc, spin=mol.spin) * (2.0 if closed else 1.0)
    charges, fitted = _fitted(fitting, lower, total, occupied if share else [])
    weights = 0.5 * (share * sum((z @ z.T for z in fitted), start=np.zeros_like(metric)) - np.outer(charges, charges))
    found = -2.0 * np.einsum("xpq,pq->px", auxiliary.intor("int2c2e_ip1"), weights)
    moved = np.zeros((mol.nao, 3))
    for start, stop, integrals in _derivatives(mol, auxiliary):
        gamma = charges[start:stop, None, None] * total
        for orbitals, z in zip(occupied, fitted, strict=False):
            count = orbitals.shape[1]
            half = z[start:stop].reshape(-1, count) @ orbitals.T
            gamma -= share * np.matmul(orbitals, half.reshape(stop - start, count, -1))
        terms = np.array([np.einsum("pni,pni->pi", component, gamma) for component in integrals])
        moved -= 2.0 * terms.sum(axis=1).T
        found[start:stop] += 2.0 * terms.sum(axis=2).T
    return _per_atom(moved, mol) + _per_atom(found, auxiliary)


def _fitted(fitting: df.DF, lower: Array, total: Array, occupied: list[Array]) -> tuple[Array, list[Array]]:
    """Return the fitted charges (naux,) and fitted pairs (naux, nocc * nocc) of every spin."""
    charges: list[Array] = []
    pairs: list[list[Array]] = [[] for _ in occupied]
    for packed in fitting.loop(_block(len(total))):
        full = lib.unpack_tril(packed)
        charges.append(np.einsum("pmn,mn->p", full, total, optimize=True))
        for orbitals, rows in zip(occupied, pairs, strict=True):
            half = full.reshape(-1, len(total)) @ orbitals
            half = half.reshape(len(full), len(total), -1).transpose(0, 2, 1)
            rows.append((half @ orbitals).reshape(len(full), -1))

    def solved(rows: list[Array]) -> Array:
        return np.asarray(solve_triangular(lower, np.concatenate(rows), lower=True, trans="T", overwrite_b=True))

    return solved(charges), [solved(rows) for rows in pairs]


def _derivatives(mol: gto.Mole, auxiliary: gto.Mole) -> Iterator[tuple[int, int, Array]]:
    """Yield blocks of fitting functions: first, last, and (3, n, nao, nao) of (P|nu, d mu), mu last."""
    both, count, ends = mol + auxiliary, mol.nbas, auxiliary.ao_loc
    for first, last, _ in balance_partition(ends, _block(2 * mol.nao)):
        shells = (0, count, 0, count, count + first, count + last)
        integrals = both.intor("int3c2e_ip1", shls_slice=shells)
        yield int(ends[first]), int(ends[last]), integrals.transpose(0, 3, 2, 1)


def _block(width: int) -> int:
    return max(20, int(BLOCK_MEGABYTES * 1e6 / (8 * width * width)))


def _per_atom(values: Array, mol: gto.Mole) -> Array:
    """Sum (functions, 3) over the functions of each atom."""
    return np.add.reduceat(values, mol.aoslice_by_atom()[:, 2], axis=0)
