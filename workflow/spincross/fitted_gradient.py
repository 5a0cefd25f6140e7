r"""The Coulomb and exchange part of a nuclear gradient with density fitting, contracted at once.

With fitted charges :math:`c_P` and fitted pairs of occupied orbitals :math:`Z_{P,ij}` (both solve the metric
:math:`(P|Q)`), the derivative at fixed orbital coefficients is

.. math:: \sum_{P \mu \nu} \Gamma_{P \mu \nu} (P|\mu\nu)^x + \sum_{PQ} \gamma_{PQ} (P|Q)^x, \quad
    \Gamma_P = c_P D - a \sum_\sigma C Z_P C^T, \quad \gamma = -\frac{1}{2} c c^T + \frac{a}{2} \sum_\sigma Z Z^T

(Weigend, Phys. Chem. Chem. Phys. 2002, 4, 4285). PySCF forms derivative matrices of every density, and for two spins
also their products; here each block of integrals is met once by one matrix for each fitting function. In a point group
only one of two fitting functions that are each other's images is looked at, and counts twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyscf import df, gto, lib
from pyscf.ao2mo.outcore import balance_partition
from scipy.linalg import LinAlgError, block_diag, cholesky, solve_triangular

from spincross import images
from spincross.symmetric_fitting import SymmetricFitting, Tensor, blocks, square_root

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
    None where the fitting functions are linearly dependent, so that PySCF left some out, or where the integrals are
    those of a point group that the density breaks
    """
    mol, fitting = method.mol, method.with_df
    auxiliary = fitting.auxmol or df.addons.make_auxmol(mol, fitting.auxbasis)
    closed = np.ndim(method.mo_occ) == 1
    densities = np.asarray(method.make_rdm1()).reshape(-1, mol.nao, mol.nao)
    share = method._numint.hybrid_coeff(method.xc, spin=mol.spin) * (2.0 if closed else 1.0)
    tensor = fitting.adapted() if isinstance(fitting, SymmetricFitting) else None
    if tensor is not None:
        mapped = images.of_molecule(mol)
        if mapped is None or not mapped.symmetric(densities):
            return None
        fit = _fit_in_group(tensor, densities / (2.0 if closed else 1.0), bool(share))
        orbits = mapped.orbits
    else:
        pairs = [(method.mo_coeff, method.mo_occ)] if closed else list(zip(method.mo_coeff, method.mo_occ, strict=True))
        found = _fit(
            fitting,
            auxiliary,
            densities,
            [np.asarray(c)[:, np.asarray(o) > 0] for c, o in pairs if share and np.any(o)],
        )
        if found is None:
            return None
        mapped, fit, orbits = None, found, np.ones(mol.natm)
    total = _contracted(mol, auxiliary, densities.sum(axis=0), fit, share, orbits)
    metric = 0.5 * (share * fit.exchange - np.outer(fit.charges, fit.charges))
    total += _per_atom(-2.0 * np.einsum("xpq,pq->px", auxiliary.intor("int2c2e_ip1"), metric), auxiliary)
    return mapped.symmetrised(total) if mapped else total


@dataclass(frozen=True)
class Fit:
    """Fitted quantities over the fitting functions.

    Parameters
    ----------
    charges : (naux,) of the density
    exchange : (naux, naux) sum of Z Z^T over the spins
    occupied, pairs : per spin (nao, nocc) and Z (naux, nocc * nocc)
    """

    charges: Array
    exchange: Array
    occupied: list[Array]
    pairs: list[Array]


def _contracted(mol: gto.Mole, auxiliary: gto.Mole, total: Array, fit: Fit, share: float, orbits: Array) -> Array:
    """Return (N, 3) of the three-index integrals, each fitting function counted as often as its atom in `orbits`."""
    moved, found = np.zeros((mol.nao, 3)), np.zeros((auxiliary.nao, 3))
    counts = np.repeat(orbits, np.diff(auxiliary.aoslice_by_atom()[:, 2:], axis=1).ravel())
    for start, stop, integrals in _derivatives(mol, auxiliary, orbits):
        gamma = fit.charges[start:stop, None, None] * total
        for orbitals, z in zip(fit.occupied, fit.pairs, strict=True):
            count = orbitals.shape[1]
            half = z[start:stop].reshape(-1, count) @ orbitals.T
            gamma -= share * np.matmul(orbitals, half.reshape(stop - start, count, -1))
        gamma *= counts[start:stop, None, None]
        terms = np.array([np.einsum("pni,pni->pi", component, gamma) for component in integrals])
        moved -= 2.0 * terms.sum(axis=1).T
        found[start:stop] += 2.0 * terms.sum(axis=2).T
    return _per_atom(moved, mol) + _per_atom(found, auxiliary)


def _fit(fitting: df.DF, auxiliary: gto.Mole, densities: Array, occupied: list[Array]) -> Fit | None:
    """Return the fit of densities and orbitals, None where PySCF left fitting functions out."""
    metric = auxiliary.intor("int2c2e")
    try:
        lower = cholesky(metric, lower=True)
    except LinAlgError:
        return None
    if fitting.get_naoaux() != len(lower):
        return None
    total, charges = densities.sum(axis=0), []
    rows: list[list[Array]] = [[] for _ in occupied]
    for packed in fitting.loop(_block(len(total))):
        full = lib.unpack_tril(packed)
        charges.append(np.einsum("pmn,mn->p", full, total, optimize=True))
        for orbitals, found in zip(occupied, rows, strict=True):
            found.append(_pairs(full, orbitals, orbitals).reshape(len(full), -1))
    pairs = [_solved(lower, np.concatenate(found)) for found in rows]
    exchange = sum((z @ z.T for z in pairs), start=np.zeros_like(metric))
    return Fit(_solved(lower, np.concatenate(charges)), exchange, occupied, pairs)


def _fit_in_group(tensor: Tensor, densities: Array, exchange: bool) -> Fit:
    """Return the fit of symmetric densities (spins, nao, nao), of one electron in each orbital."""
    parts, naux = tensor.orbitals.parts, sum(len(f) for f in tensor.factors)
    adapted = tensor.orbitals.matrix(densities)
    total, scale = adapted.sum(axis=0), 2.0 if len(densities) == 1 else 1.0
    charges = np.zeros(naux)
    for rows in blocks(len(tensor.packed[0]), _block(len(total))):
        for irrep, part in enumerate(parts):
            charges[rows] += scale * np.einsum("pmn,mn->p", tensor.same(irrep, rows), total[part, part], optimize=True)
    charges[: len(tensor.factors[0])] = _solved(tensor.factors[0], charges[: len(tensor.factors[0])])
    square, occupied, pairs = np.zeros((naux, naux)), [], []
    for density in (d for d in adapted if exchange and d.any()):
        orbitals = [square_root(density[part, part])[0] for part in parts]
        z = _pairs_in_group(tensor, orbitals)
        for part in tensor.fitting.parts:
            square[part, part] += z[part] @ z[part].T
        occupied.append(tensor.orbitals.back(block_diag(*orbitals).T).T)
        for columns in blocks(z.shape[1], _block(tensor.fitting.parts[-1].stop)):
            z[:, columns] = tensor.fitting.back.rows(z[:, columns])
        pairs.append(z)
    return Fit(tensor.fitting.back(charges), tensor.fitting.matrix_back(square), occupied, pairs)


def _pairs_in_group(tensor: Tensor, orbitals: list[Array]) -> Array:
    """Return Z (naux, nocc * nocc) over adapted fitting functions of orbitals (n, nocc) in both irreps."""
    first, second = (o.shape[1] for o in orbitals)
    places = slice(0, first), slice(first, first + second)
    naux = sum(len(f) for f in tensor.factors)
    z = np.zeros((naux, first + second, first + second))
    width = max(len(o) for o in orbitals)
    for rows in blocks(len(tensor.packed[0]), _block(width)):
        for irrep, (place, own) in enumerate(zip(places, orbitals, strict=True)):
            z[rows, place, place] = _pairs(tensor.same(irrep, rows), own, own)
    offset = len(tensor.packed[0])
    for rows in blocks(len(tensor.mixed), _block(width)):
        found = _pairs(tensor.mixed[rows], *orbitals)
        z[offset + rows.start : offset + rows.stop, places[0], places[1]] = found
        z[offset + rows.start : offset + rows.stop, places[1], places[0]] = found.transpose(0, 2, 1)
    flat = z.reshape(naux, -1)
    for factor, part in zip(tensor.factors, tensor.fitting.parts, strict=True):
        flat[part] = _solved(factor, flat[part])
    return flat


def _pairs(integrals: Array, left: Array, right: Array) -> Array:
    """Return L^T B R (nP, l, r) for every matrix B (n, m) of the integrals."""
    half = (integrals.reshape(-1, integrals.shape[2]) @ right).reshape(*integrals.shape[:2], -1)
    return np.asarray(np.matmul(left.T, half))


def _solved(lower: Array, values: Array) -> Array:
    return np.asarray(solve_triangular(lower, values, lower=True, trans="T", overwrite_b=True))


def _derivatives(mol: gto.Mole, auxiliary: gto.Mole, orbits: Array) -> Iterator[tuple[int, int, Array]]:
    """Yield blocks of fitting functions: first, last, and (3, n, nao, nao) of (P|nu, d mu), mu last.

    Those of atoms that count zero times are left out.
    """
    both, count, ends = mol + auxiliary, mol.nbas, auxiliary.ao_loc
    for run in images.runs(np.flatnonzero(orbits[[auxiliary.bas_atom(k) for k in range(auxiliary.nbas)]])):
        for first, last, _ in balance_partition(ends, _block(2 * mol.nao), run.start, run.stop):
            shells = (0, count, 0, count, count + first, count + last)
            integrals = both.intor("int3c2e_ip1", shls_slice=shells)
            yield int(ends[first]), int(ends[last]), integrals.transpose(0, 3, 2, 1)


def _block(width: int) -> int:
    return max(20, int(BLOCK_MEGABYTES * 1e6 / (8 * width * width)))


def _per_atom(values: Array, mol: gto.Mole) -> Array:
    """Sum (functions, 3) over the functions of each atom."""
    return np.add.reduceat(values, mol.aoslice_by_atom()[:, 2], axis=0)
