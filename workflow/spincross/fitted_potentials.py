r"""First-order Coulomb and exchange potentials of displaced atoms at fixed orbital coefficients, with density fitting.

With :math:`\beta_{\nu i}` the fit of :math:`(P|\nu i)`, exchange is :math:`Y + Y^T`,

.. math:: Y^a_{\mu \nu} = \sum_{iP} \left[ (P|\mu i)^a - \frac{1}{2} (V^a \beta_{\mu i})_P \right] \beta_{P \nu i},

and everything that moves a fitting function follows from integrals whose orbital functions move. No three-index
quantity over all pairs of functions is kept.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spincross.fitted_hessian import CHUNK, Fitting
from spincross.symmetric_fitting import blocks

Array = NDArray[np.float64]


def add_potentials(fitting: Fitting, potentials: Array) -> None:
    """Add Coulomb and exchange potentials to first-order potentials (spins, N, 3, nao, nao), Eh/bohr."""
    coulomb = _coulomb(fitting)
    for orbitals, target in zip(fitting.orbitals, potentials, strict=True):
        half = coulomb.copy() if fitting.exchange else coulomb
        if fitting.exchange:
            _subtract_exchange(fitting, orbitals, half)
        for own, found in zip(half.reshape(-1, *half.shape[2:]), target.reshape(-1, *half.shape[2:]), strict=True):
            found += own + own.T


def _coulomb(fitting: Fitting) -> Array:
    """Return half of the Coulomb potentials: X (N, 3, nao, nao) of X + X^T."""
    natm, nao, naux = fitting.mol.natm, fitting.mol.nao, fitting.auxiliary.nao
    total = np.zeros((natm, 3, nao, nao))
    for atom, where, integrals in fitting.rows("int3c2e_ip1", 3):
        for other, own in enumerate(fitting.members):
            part = np.einsum("xpnm,p->xmn", integrals[:, own], fitting.charges[own])
            total[other, :, where] += part
            total[atom, :, where] -= part
    moved = fitting.moved_charges.reshape(naux, -1)
    change = 0.5 * fitting.solved(fitting.solved(moved), transposed=True).T
    for _, where, integrals in fitting.rows("int3c2e", 1):
        part = (change @ integrals[0].reshape(naux, -1)).reshape(natm, 3, nao, -1)
        total[:, :, where] += part.transpose(0, 1, 3, 2)
    return total


def _subtract_exchange(fitting: Fitting, orbitals: Array, half: Array) -> None:
    """Subtract half of the exchange potentials of one spin from `half` (N, 3, nao, nao)."""
    naux, (nao, count) = fitting.auxiliary.nao, orbitals.shape
    for chunk in blocks(nao, fitting.room(CHUNK, naux * count)):
        fit = -fitting.hybrid * _fit(fitting, orbitals, chunk)
        for atom, where, integrals in fitting.rows("int3c2e_ip1", 3):
            _add_block(fitting, orbitals, fit, (atom, where), integrals, half[..., chunk])


def _fit(fitting: Fitting, orbitals: Array, chunk: slice) -> Array:
    """Return the fit beta (naux, nocc, n) of (P|nu i), of a chunk of functions nu."""
    found = np.empty((fitting.auxiliary.nao, orbitals.shape[1], chunk.stop - chunk.start))
    for _, where, integrals in fitting.rows("int3c2e", 1, chunk):
        first, last = max(where.start, chunk.start), min(where.stop, chunk.stop)
        part = integrals[0][:, :, first - where.start : last - where.start]
        half = np.matmul(orbitals.T, part).reshape(len(found), -1)
        solved = fitting.solved(fitting.solved(half), transposed=True)
        found[:, :, first - chunk.start : last - chunk.start] = solved.reshape(len(found), orbitals.shape[1], -1)
    return found


def _add_block(
    fitting: Fitting, orbitals: Array, fit: Array, place: tuple[int, slice], integrals: Array, target: Array
) -> None:
    """Add what the integrals (3, naux, nao, n) of n functions of an atom give to the columns of a chunk.

    Parameters
    ----------
    fit : (naux, nocc, chunk), times a factor of all that is added
    place : the atom and its functions
    target : (N, 3, nao, chunk)
    """
    atom, where = place
    naux, count, width = fit.shape
    half = np.matmul(orbitals.T, integrals)  # (3, naux, nocc, n): these functions moved
    own_fit = _fit(fitting, orbitals, where).reshape(naux, -1)
    static = half + (fitting.slopes.reshape(-1, naux) @ own_fit).reshape(half.shape)
    other = np.matmul(orbitals[where], fit)  # (naux, n, chunk)
    for moved, members in enumerate(fitting.members):
        rows = static[:, members].transpose(0, 3, 1, 2).reshape(3 * half.shape[3], -1)
        target[moved, :, where] += (rows @ fit[members].reshape(-1, width)).reshape(3, -1, width)
        turned = integrals[:, members].transpose(0, 2, 1, 3).reshape(3 * integrals.shape[2], -1)
        both = (turned @ other[members].reshape(-1, width)).reshape(3, -1, width)
        target[moved] += both
        target[atom] -= both
    rows = half.transpose(0, 3, 1, 2).reshape(3 * half.shape[3], -1)
    target[atom, :, where] -= (rows @ fit.reshape(-1, width)).reshape(3, -1, width)
