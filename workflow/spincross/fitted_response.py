r"""Coulomb and exchange response of occupied orbitals with density fitting, irrep by irrep.

For a first-order change :math:`Y` of the occupied orbitals :math:`C` of one spin, with fitted integrals :math:`B_P`,

.. math:: K[Y C^T + C Y^T] C = \sum_P \left[ B_P Y O_P + X_P (Y^T X_P) \right], \quad J C = \sum_P \rho_P X_P,

:math:`X_P = B_P C`, :math:`O_P = C^T X_P`, :math:`\rho_P = 2 \sum_\sigma \mathrm{tr}(Y^T X_P)`. In a point group of
order 2 every quantity falls into blocks by the irreps of P, functions and orbitals (0 and 1; products are `^`): half
the memory, and a quarter of the work for a totally symmetric change. Exchange is contracted in single precision: 1e-7
relative, below the integration error of a Hessian. Without exchange (a pure functional) only :math:`X_P` is needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyscf import lib

from spincross import images, threads
from spincross.images import SymmetryAdapted
from spincross.symmetric_fitting import SymmetricFitting, Tensor, blocks

Array = NDArray[np.float64]
Single = NDArray[np.float32]
Change = dict[tuple[int, int], Array]
"""Blocks (n, nocc) of a change by the irreps of functions and of occupied orbitals; those that vanish are left out."""

BLOCK_MEGABYTES = 400.0
"""Size of the blocks of integrals of all threads."""
MIXED = 1e-7
"""Part of an orbital, or of a change relative to its largest, in another irrep that is left out."""


@dataclass(frozen=True)
class Integrals:
    """Fitted integrals over functions of one or two irreps, from PySCF's packed matrix or a `Tensor`."""

    source: Array | Tensor
    functions: SymmetryAdapted

    def counts(self) -> list[int]:
        """Return the number of fitting functions of each irrep."""
        if isinstance(self.source, Tensor):
            return [len(self.source.packed[0]), len(self.source.mixed)]
        return [len(self.source)]

    def block(self, irrep: int, rows: slice) -> list[Single]:
        """Return matrices (nP, n, m) of some P: one for each irrep of n if P is totally symmetric, else one, 0 to 1."""
        if not isinstance(self.source, Tensor):
            return [lib.unpack_tril(np.ascontiguousarray(self.source[rows])).astype(np.float32)]
        if irrep:
            return [self.source.mixed[rows].astype(np.float32)]
        return [self.source.same(k, rows).astype(np.float32) for k in range(len(self.functions.parts))]

    def ranges(self) -> list[tuple[int, slice]]:
        """Return irreps and rows of blocks of a size that threads can hold."""
        width = sum((part.stop - part.start) ** 2 for part in self.functions.parts)
        step = max(8, int(BLOCK_MEGABYTES * 1e6 / (12 * width * lib.num_threads())))  # in double and single precision
        return [(irrep, rows) for irrep, count in enumerate(self.counts()) for rows in blocks(count, step)]


def integrals_of(method: Any, occupied: list[Array]) -> Integrals:
    """Return a method's integrals: over adapted functions where it has them and each orbital is of one irrep."""
    fitting = method.with_df
    tensor = fitting.adapted() if isinstance(fitting, SymmetricFitting) else None
    if tensor is not None and all(pure(tensor.orbitals, orbitals) for orbitals in occupied):
        return Integrals(tensor, tensor.orbitals)
    nao = method.mol.nao
    if tensor is None and isinstance(fitting._cderi, np.ndarray):
        return Integrals(fitting._cderi, images.plain(nao))
    packed, start = np.empty((fitting.get_naoaux(), nao * (nao + 1) // 2)), 0
    for rows in fitting.loop():
        packed[start : start + len(rows)] = rows
        start += len(rows)
    return Integrals(packed, images.plain(nao))


def in_memory(method: Any) -> bool:
    """Tell whether a method's integrals are in memory."""
    fitting = method.with_df
    tensor = fitting.adapted() if isinstance(fitting, SymmetricFitting) else None
    return bool(fitting.get_naoaux()) and (tensor is not None or isinstance(fitting._cderi, np.ndarray))


def pure(functions: SymmetryAdapted, orbitals: Array) -> bool:
    """Tell whether each of the orbitals (nao, n) is of one irrep."""
    adapted = functions.to(orbitals.T)
    sizes = np.array([np.abs(adapted[:, part]).max(axis=1, initial=0.0) for part in functions.parts])
    return bool((np.sort(sizes, axis=0)[:-1] <= MIXED * sizes.max(axis=0)).all())


class Spin:
    """Half-transformed integrals of one spin.

    Parameters
    ----------
    occupied : (nao, nocc)
    exchange : whether `o` is wanted

    Attributes
    ----------
    x : per irrep of P and of orbitals i, (nP, nocc, n) of X_P transposed; its functions are of the product
    o : per irrep of P and of orbitals j, (nP, nocc_j, nocc_i) of O_P; i is of the product; empty without exchange
    """

    def __init__(self, integrals: Integrals, occupied: Array, exchange: bool) -> None:
        functions, self.shape = integrals.functions, occupied.shape
        self.functions, count = functions, len(functions.parts)
        adapted = functions.to(occupied.T)
        sizes = np.array([np.abs(adapted[:, part]).max(axis=1, initial=0.0) for part in functions.parts])
        self.members = [np.flatnonzero(sizes.argmax(axis=0) == irrep) for irrep in range(count)]
        pairs = zip(self.members, functions.parts, strict=True)
        self.orbitals = [adapted[own][:, part].astype(np.float32) for own, part in pairs]
        width = [part.stop - part.start for part in functions.parts]
        counts, filled = integrals.counts(), [len(own) for own in self.members]
        each = range(count)
        self.x = [[np.empty((n, filled[i], width[i ^ p]), np.float32) for i in each] for p, n in enumerate(counts)]
        self.o = [
            [np.empty((n, filled[j], filled[j ^ p]), np.float32) for j in each if exchange]
            for p, n in enumerate(counts)
        ]

    def fill(self, irrep: int, rows: slice, block: list[Single]) -> None:
        """Transform a block of integrals."""
        for i, x in enumerate(self.x[irrep]):
            matrices = block[0 if irrep else i]
            x[rows] = np.matmul(self.orbitals[i], matrices.transpose(0, 2, 1) if irrep and i else matrices)
        for j, o in enumerate(self.o[irrep]):
            o[rows] = np.matmul(self.x[irrep][j ^ irrep][rows], self.orbitals[j].T).transpose(0, 2, 1)

    def split(self, change: Array) -> Change:
        """Return the blocks of a change (nao, nocc)."""
        adapted, found = self.functions.to(change.T), {}
        largest = np.abs(adapted).max(initial=0.0)
        for j, own in enumerate(self.members):
            for m, part in enumerate(self.functions.parts):
                block = adapted[own][:, part].T
                if block.size and np.abs(block).max() > MIXED * largest:
                    found[m, j] = block
        return found

    def joined(self, change: Change) -> Array:
        """Return blocks as one matrix (nao, nocc)."""
        adapted = np.zeros(self.shape[::-1])
        for (m, j), block in change.items():
            adapted[np.ix_(self.members[j], np.arange(self.shape[0])[self.functions.parts[m]])] = block.T
        return self.functions.back(adapted).T

    def exchange(self, irrep: int, rows: slice, block: list[Single], change: Change) -> tuple[Change, Array]:
        """Return what a block of integrals adds to K[Y C^T + C Y^T] C, and tr(Y^T X_P) (nP,)."""
        found: Change = {}
        charges = np.zeros(rows.stop - rows.start)
        for (m, j), values in change.items():
            y, i, own = values.astype(np.float32), m ^ irrep, self.x[irrep][j][rows]
            if len(self.members[j ^ irrep]):
                turned = np.matmul(y, self.o[irrep][j][rows])  # (nP, n, nocc)
                _add(found, (i, j ^ irrep), _applied(irrep, m, block, turned))
            if not len(self.members[i]):
                continue
            overlap = (self.x[irrep][i][rows].reshape(-1, len(y)) @ y).reshape(len(charges), -1, y.shape[1])
            if i == j:
                charges += np.einsum("pii->p", overlap)
            swapped = overlap.transpose(0, 2, 1).reshape(-1, overlap.shape[1])
            _add(found, (j ^ irrep, i), own.reshape(-1, own.shape[2]).T @ swapped)
        return found, charges

    def charges(self, irrep: int, rows: slice, change: Change) -> Array:
        """Return tr(Y^T X_P) (nP,) of a block of integrals."""
        found = np.zeros(rows.stop - rows.start)
        for (m, j), values in change.items():
            if m == j ^ irrep:
                found += self.x[irrep][j][rows].reshape(len(found), -1) @ values.T.astype(np.float32).ravel()
        return found

    def coulomb(self, charges: list[Array]) -> Change:
        """Return J C of fitted charges (nP,) of each irrep."""
        return {
            (i ^ p, i): np.tensordot(charge.astype(np.float32), x, 1).T.astype(float)
            for p, (charge, own) in enumerate(zip(charges, self.x, strict=True))
            if np.any(charge)
            for i, x in enumerate(own)
        }


def _add(total: Change, key: tuple[int, int], values: Any) -> None:
    total[key] = total.get(key, 0.0) + values.astype(float)


def _applied(irrep: int, source: int, block: list[Single], values: Single) -> Single:
    """Return sum over P of B_P Z_P (m, nocc) for Z (nP, n, nocc) over functions of the irrep `source`."""
    if irrep and source:
        return np.asarray(np.matmul(block[0], values).sum(axis=0))
    matrices = block[0] if irrep else block[source]  # a totally symmetric P has symmetric matrices
    return np.asarray(matrices.reshape(-1, matrices.shape[2]).T @ values.reshape(-1, values.shape[2]))


class FittedResponse:
    """Coulomb and exchange response of one or two spins.

    Parameters
    ----------
    integrals : of the method
    occupied : (nao, nocc) of every spin
    hybrid : share of exchange
    keep : whether the integrals, for exchange, are kept unpacked in single precision, or converted for every product
    """

    def __init__(self, integrals: Integrals, occupied: list[Array], hybrid: float, keep: bool) -> None:
        self.integrals, self.ranges, self.hybrid = integrals, integrals.ranges(), hybrid
        self.spins = [Spin(integrals, orbitals, hybrid != 0) for orbitals in occupied]
        self.kept: list[list[Single]] = []
        with threads.pool() as pool:
            kept = pool.map(partial(self._prepare, keep and hybrid != 0), self.ranges)
            self.kept = [block for block in kept if block is not None]

    def _prepare(self, keep: bool, where: tuple[int, slice]) -> list[Single] | None:
        block = self.integrals.block(*where)
        for spin in self.spins:
            spin.fill(*where, block)
        return block if keep else None

    def __call__(self, changes: list[Array], scale: float) -> list[Array]:
        """Return (J - hybrid K) C of every spin, (nao, nocc), for changes (nao, nocc).

        Parameters
        ----------
        scale : 2 for two spins, 4 for a closed shell: of the charges tr(Y^T X_P)
        """
        split = [spin.split(change) for spin, change in zip(self.spins, changes, strict=True)]
        charges = [np.zeros(count) for count in self.integrals.counts()]
        totals: list[Change] = [{} for _ in self.spins]
        with threads.pool() as pool:
            work = pool.map(partial(self._block, split), range(len(self.ranges)))
            for (irrep, rows), found in zip(self.ranges, work, strict=True):
                for total, (blocks_, charge) in zip(totals, found, strict=True):
                    charges[irrep][rows] += scale * charge
                    for key, values in blocks_.items():
                        _add(total, key, -self.hybrid * values)
        for spin, total in zip(self.spins, totals, strict=True):
            for key, values in spin.coulomb(charges).items():
                _add(total, key, values)
        return [spin.joined(total) for spin, total in zip(self.spins, totals, strict=True)]

    def _block(self, split: list[Change], number: int) -> list[tuple[Change, Array]]:
        irrep, rows = self.ranges[number]
        if not self.hybrid:
            return [({}, spin.charges(irrep, rows, own)) for spin, own in zip(self.spins, split, strict=True)]
        block = self.kept[number] if self.kept else self.integrals.block(irrep, rows)
        return [spin.exchange(irrep, rows, block, own) for spin, own in zip(self.spins, split, strict=True)]


def megabytes(method: Any, keep: bool) -> float:
    """Return the memory (MB) that the response of this solution takes, with or without its integrals kept."""
    mol, naux = method.mol, method.with_df.get_naoaux()
    tensor = method.with_df.adapted() if isinstance(method.with_df, SymmetricFitting) else None
    whole, halves = (0.375, 0.5) if tensor is not None else (1.0, 1.0)
    exchange = method._numint.hybrid_coeff(method.xc, spin=mol.spin) != 0
    turned = sum(count * (mol.nao + count * exchange) for count in mol.nelec)
    return float(naux * (whole * mol.nao**2 * (keep and exchange) + halves * turned) * 4e-6)
