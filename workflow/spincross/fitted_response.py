r"""Coulomb and exchange response of occupied orbitals with density fitting, irrep by irrep.

For a first-order change :math:`Y` of the occupied orbitals :math:`C` of one spin, with fitted integrals :math:`B_P`,

.. math:: K[Y C^T + C Y^T] C = \sum_P \left[ B_P Y O_P + X_P (Y^T X_P) \right], \quad J C = \sum_P \rho_P X_P,

:math:`X_P = B_P C`, :math:`O_P = C^T X_P`, :math:`\rho_P = 2 \sum_\sigma \mathrm{tr}(Y^T X_P)`. In a point group of
order 2 every quantity falls into blocks by the irreps of P, functions and orbitals (0 and 1; products are `^`): half
the memory, and a quarter of the work for a totally symmetric change. All is contracted in single precision: 1e-7
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
"""Blocks (n, k, nocc) of k changes by the irreps of functions and occupied orbitals; those that vanish are left out."""

BLOCK_MEGABYTES = 400.0
"""Size of the blocks of integrals of all threads, and of what is made of them."""
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

    def ranges(self, columns: int) -> list[tuple[int, slice]]:
        """Return irreps and rows of blocks of a size that threads can hold, with products of so many columns."""
        nao = self.functions.parts[-1].stop
        width = sum((part.stop - part.start) ** 2 for part in self.functions.parts)
        numbers = 3 * width + columns * nao / len(self.functions.parts) ** 2  # in double and single precision; single
        step = max(8, int(BLOCK_MEGABYTES * 1e6 / (4 * numbers * lib.num_threads())))
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

    def split(self, changes: Array) -> Change:
        """Return the blocks of changes (k, nao, nocc)."""
        adapted, found = self.functions.to(changes.transpose(0, 2, 1)), {}
        largest = np.abs(adapted).max(axis=(1, 2), initial=0.0)
        for j, own in enumerate(self.members):
            for m, part in enumerate(self.functions.parts):
                block = adapted[:, own][:, :, part]
                if block.size and (np.abs(block).max(axis=(1, 2)) > MIXED * largest).any():
                    found[m, j] = np.ascontiguousarray(block.transpose(2, 0, 1))
        return found

    def joined(self, blocks: Change, count: int) -> Array:
        """Return the blocks of `count` changes as matrices (count, nao, nocc)."""
        nao, nocc = self.shape
        adapted, every = np.zeros((count, nocc, nao)), np.arange(count)
        for (m, j), block in blocks.items():
            where = np.ix_(every, self.members[j], np.arange(nao)[self.functions.parts[m]])
            adapted[where] = block.transpose(1, 2, 0)
        return self.functions.back(adapted).transpose(0, 2, 1)

    def exchange(self, irrep: int, rows: slice, block: list[Single], changes: Change, total: Change) -> Array:
        """Add what a block of integrals gives to K[Y C^T + C Y^T] C; return tr(Y^T X_P) (nP, k)."""
        count, charges = rows.stop - rows.start, self.charges(irrep, rows, changes)
        for (m, j), values in changes.items():
            y, i, own = values.astype(np.float32), m ^ irrep, self.x[irrep][j][rows]
            n, k, filled = y.shape
            if len(self.members[j ^ irrep]):
                turned = np.matmul(y.reshape(n * k, filled), self.o[irrep][j][rows])  # (nP, n k, nocc)
                _add(total, (i, j ^ irrep), _applied(irrep, m, block, turned.reshape(count, n, -1)), k)
            if len(self.members[i]):
                overlap = self.x[irrep][i][rows].reshape(-1, n) @ y.reshape(n, k * filled)
                swapped = overlap.reshape(count, -1, k, filled).transpose(0, 3, 2, 1).reshape(count * filled, -1)
                _add(total, (j ^ irrep, i), own.reshape(-1, own.shape[2]).T @ swapped, k)
        return charges

    def charges(self, irrep: int, rows: slice, changes: Change) -> Array:
        """Return tr(Y^T X_P) (nP, k) of a block of integrals."""
        found = np.zeros((rows.stop - rows.start, 1))
        for (m, j), values in changes.items():
            if m == j ^ irrep:
                y = values.astype(np.float32).transpose(2, 0, 1)
                found = found + self.x[irrep][j][rows].reshape(len(found), -1) @ y.reshape(-1, y.shape[2])
        return found

    def coulomb(self, charges: list[Array]) -> Change:
        """Return J C of fitted charges (nP, k) of each irrep."""
        return {
            (i ^ p, i): np.tensordot(charge.T.astype(np.float32), x, 1).transpose(2, 0, 1).astype(float)
            for p, (charge, own) in enumerate(zip(charges, self.x, strict=True))
            if np.any(charge)
            for i, x in enumerate(own)
        }


def _add(total: Change, key: tuple[int, int], values: Any, count: int) -> None:
    """Add (n, count * nocc) or (n, count, nocc) to a block of `count` changes."""
    block = values.reshape(len(values), count, -1)
    if key in total:
        total[key] += block
    else:
        total[key] = block.astype(float)


def _applied(irrep: int, source: int, block: list[Single], values: Single) -> Single:
    """Return sum over P of B_P Z_P (m, nocc) for Z (nP, n, nocc) over functions of the irrep `source`."""
    if irrep and source:
        return np.asarray(sum(matrix @ value for matrix, value in zip(block[0], values, strict=True)))
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
    at_once : changes that will be given at once, for the size of blocks
    """

    def __init__(
        self, integrals: Integrals, occupied: list[Array], hybrid: float, keep: bool, at_once: int = 1
    ) -> None:
        columns = at_once * max(orbitals.shape[1] for orbitals in occupied)
        self.integrals, self.ranges, self.hybrid = integrals, integrals.ranges(columns), hybrid
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
        """Return (J - hybrid K) C of every spin, (k, nao, nocc), for k changes (k, nao, nocc).

        Parameters
        ----------
        scale : 2 for two spins, 4 for a closed shell: of the charges tr(Y^T X_P)
        """
        count = len(changes[0])
        split = [spin.split(own) for spin, own in zip(self.spins, changes, strict=True)]
        charges = [np.zeros((number, count)) for number in self.integrals.counts()]
        totals: list[Change] = [{} for _ in self.spins]
        shares = [range(first, len(self.ranges), lib.num_threads()) for first in range(lib.num_threads())]
        with threads.pool() as pool:
            for found in pool.map(partial(self._share, split, charges), shares):
                for total, part in zip(totals, found, strict=True):
                    for key, values in part.items():
                        _add(total, key, values, count)
        for spin, total in zip(self.spins, totals, strict=True):
            for key in total:
                total[key] *= -self.hybrid
            for key, values in spin.coulomb([scale * own for own in charges]).items():
                _add(total, key, values, count)
        return [spin.joined(total, count) for spin, total in zip(self.spins, totals, strict=True)]

    def _share(self, split: list[Change], charges: list[Array], numbers: range) -> list[Change]:
        """Return what some blocks of integrals add to exchange, and add up their charges: rows of their own."""
        totals: list[Change] = [{} for _ in self.spins]
        for number in numbers:
            irrep, rows = self.ranges[number]
            block = self.kept[number] if self.kept else self.integrals.block(irrep, rows) if self.hybrid else []
            for spin, own, total in zip(self.spins, split, totals, strict=True):
                if self.hybrid:
                    charges[irrep][rows] += spin.exchange(irrep, rows, block, own, total)
                else:
                    charges[irrep][rows] += spin.charges(irrep, rows, own)
        return totals


def megabytes(method: Any, keep: bool) -> float:
    """Return the memory (MB) that the response of this solution takes, with or without its integrals kept."""
    mol, naux = method.mol, method.with_df.get_naoaux()
    tensor = method.with_df.adapted() if isinstance(method.with_df, SymmetricFitting) else None
    whole, halves = (0.375, 0.5) if tensor is not None else (1.0, 1.0)
    exchange = method._numint.hybrid_coeff(method.xc, spin=mol.spin) != 0
    turned = sum(count * (mol.nao + count * exchange) for count in mol.nelec)
    return float(naux * (whole * mol.nao**2 * (keep and exchange) + halves * turned) * 4e-6)
