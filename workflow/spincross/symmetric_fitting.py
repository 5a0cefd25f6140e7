r"""Density fitting in a point group of order 2: half the memory, half the integrals, a quarter of the exchange.

With orbital and fitting functions adapted to the irreps the metric falls into blocks, :math:`J_\Gamma = L L^T`, and
:math:`B_P = L^{-1} (P|\mu\nu)` vanishes unless :math:`\Gamma_\mu \Gamma_\nu = \Gamma_P`: totally symmetric P join
functions of one irrep, the others functions of two. For a symmetric density, :math:`D_\Gamma = X s X^T` with signs s,

.. math:: K_\Gamma = \sum_P (B_P X_{\Gamma'}) s (B_P X_{\Gamma'})^T, \quad \Gamma' = \Gamma_P \Gamma.

Integrals are needed for one of two fitting functions that are each other's images only. Any other density, and whoever
reads the integrals block by block, gets what PySCF's object gives: they are turned back as they are read.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyscf import df, gto, lib
from pyscf.ao2mo.outcore import balance_partition
from scipy.linalg import LinAlgError, blas, cholesky

from spincross import images, machine, threads
from spincross.files import print_line
from spincross.images import Images, SymmetryAdapted

Array = NDArray[np.float64]

BLOCK_MEGABYTES = 400.0
"""Size of the blocks of three-index quantities of all threads."""
SHARE = 0.9
"""Part of the free memory up to which the integrals are kept there, PySCF's own rule."""
WORTH_TELLING = 500.0
"""Size (MB) of integrals above which it is told that they go to the disk: SCF cycles then take five times as long."""
EMPTY = 1e-13
"""Size of an eigenvalue of a density matrix, relative to the largest, up to which its vector is left out."""


@dataclass(frozen=True)
class Tensor:
    """Fitted integrals over adapted functions.

    Parameters
    ----------
    orbitals, fitting : the adapted functions of both bases
    factors : per irrep of the fitting functions the lower Cholesky factor of the metric
    packed : per irrep of the orbital functions (nP, n (n + 1) / 2), P totally symmetric
    mixed : (nP, n, m), P of the other irrep, orbital functions of the first and of the second
    """

    orbitals: SymmetryAdapted
    fitting: SymmetryAdapted
    factors: tuple[Array, ...]
    packed: tuple[Array, ...]
    mixed: Array

    def same(self, irrep: int, rows: slice) -> Array:
        """Return (n, n) matrices of some totally symmetric P over the functions of one irrep."""
        return np.asarray(lib.unpack_tril(self.packed[irrep][rows]))

    def whole(self, rows: range) -> Array:
        """Return (nao, nao) matrices over all adapted functions, P counted over both irreps."""
        first, second = self.orbitals.parts
        border, nao = len(self.packed[0]), second.stop
        same, mixed = (slice(max(0, r.start - b), max(0, r.stop - b)) for r, b in ((rows, 0), (rows, border)))
        same = slice(min(same.start, border), min(same.stop, border))
        full, count = np.zeros((len(rows), nao, nao)), same.stop - same.start
        if count:
            full[:count, first, first], full[:count, second, second] = self.same(0, same), self.same(1, same)
        full[count:, first, second] = self.mixed[mixed]
        full[count:, second, first] = self.mixed[mixed].transpose(0, 2, 1)
        return full


class SymmetricFitting(df.DF):
    """PySCF's density fitting with the tensor over adapted functions; for molecules that `images.of_molecule` knows.

    Where the tensor does not fit into the memory, fitting functions are linearly dependent, or an irrep is empty, it is
    PySCF's object.
    """

    def __init__(self, mol: gto.Mole, auxbasis: Any) -> None:
        super().__init__(mol, auxbasis)
        self.tensor: Tensor | None = None
        self.images: Images | None = None

    def build(self) -> SymmetricFitting:
        """Compute the integrals."""
        self.images = images.of_molecule(self.mol)
        self.auxmol = df.addons.make_auxmol(self.mol, self.auxbasis)
        space, needed = room(self.max_memory), megabytes(self.mol, self.auxmol.nao)
        if self.images is not None and needed < space:
            self.tensor = _tensor(self.mol, self.auxmol, self.images)
        if self.tensor is not None:
            return self
        super().build()
        if needed > WORTH_TELLING and not isinstance(self._cderi, np.ndarray):
            print_line(
                f"    fitted integrals of {needed:.0f} MB do not fit into {space:.0f} MB: slow cycles, from the disk"
            )
        return self

    def adapted(self) -> Tensor | None:
        """Return the tensor over adapted functions, None where PySCF's is used."""
        if self.tensor is None and self._cderi is None:
            self.build()
        return self.tensor

    def reset(self, mol: gto.Mole | None = None) -> SymmetricFitting:
        """Forget the integrals."""
        self.tensor = self.images = None
        return super().reset(mol)

    def get_naoaux(self) -> int:
        """Return the number of fitting functions."""
        tensor = self.adapted()
        return sum(len(f) for f in tensor.factors) if tensor else int(super().get_naoaux())

    def loop(self, blksize: int | None = None) -> Iterator[Array]:
        """Yield fitted integrals over basis functions, (n, nao (nao + 1) / 2)."""
        tensor = self.adapted()
        if tensor is None:
            yield from super().loop(blksize)
            return
        nao = self.mol.nao
        for rows in blocks(self.get_naoaux(), blksize or self.blockdim):
            found = np.empty((rows.stop - rows.start, nao * (nao + 1) // 2))
            for part in blocks(len(found), _step(nao)):
                full = tensor.whole(range(rows.start + part.start, rows.start + part.stop))
                found[part] = lib.pack_tril(tensor.orbitals.matrix_back(full))
            yield found

    def get_jk(self, dm: Any, hermi: int = 1, with_j: bool = True, with_k: bool = True,
               direct_scf_tol: float = 1e-13, omega: float | None = None) -> tuple[Any, Any]:  # fmt: skip
        """Return Coulomb and exchange matrices of the shape of `dm`, (nao, nao) or (n, nao, nao)."""
        if omega:
            with self.range_coulomb(omega) as part:
                return part.get_jk(dm, hermi, with_j, with_k, direct_scf_tol)
        tensor, densities = self.adapted(), np.asarray(dm)
        if tensor is None or hermi != 1 or np.iscomplexobj(densities) or not _mapped(self).symmetric(densities):
            return super().get_jk(dm, hermi, with_j, with_k, direct_scf_tol)
        stack = densities.reshape(-1, *densities.shape[-2:])
        coulomb, exchange = _coulomb_and_exchange(tensor, tensor.orbitals.matrix(stack), with_j, with_k)
        found = [tensor.orbitals.matrix_back(x).reshape(densities.shape) for x in (coulomb, exchange)]
        return found[0] if with_j else None, found[1] if with_k else None


def room(limit: float) -> float:
    """Return the memory (MB) that integrals may take where PySCF was given a limit (MB)."""
    return SHARE * (limit - memory_in_use())


def memory_in_use() -> float:
    """Return the memory of this process, MB, without what an earlier SCF held.

    PySCF's objects refer to each other in circles, and what is freed need not go back to the system.
    """
    gc.collect()
    machine.return_freed_memory()
    return float(lib.current_memory()[0])


def megabytes(mol: gto.Mole, auxiliary: int) -> float:
    """Return the memory (MB) of the integrals with so many fitting functions: in a point group half of PySCF's."""
    return float(auxiliary * mol.nao * (mol.nao + 1) / 2 * 8e-6) / (1 if images.of_molecule(mol) is None else 2)


def _step(nao: int) -> int:
    """Return how many (nao, nao) matrices each thread may hold."""
    return max(4, int(BLOCK_MEGABYTES * 1e6 / (8 * nao**2 * lib.num_threads())))


def _mapped(fitting: SymmetricFitting) -> Images:
    assert fitting.images is not None
    return fitting.images


def blocks(count: int, step: int) -> list[slice]:
    """Return slices of at most `step` that cover `count` rows."""
    return [slice(start, min(start + step, count)) for start in range(0, count, step)]


def _tensor(mol: gto.Mole, auxiliary: gto.Mole, mapped: Images) -> Tensor | None:
    """Return the tensor, None if the fitting functions are linearly dependent or an irrep has no orbital functions."""
    orbitals = mapped.adapted()
    sizes = [part.stop - part.start for part in orbitals.parts]
    if not all(sizes):
        return None
    fitting = images.images(auxiliary, mol.groupname).adapted()
    metric = fitting.matrix(auxiliary.intor("int2c2e"))
    try:
        factors = tuple(cholesky(metric[part, part], lower=True) for part in fitting.parts)
    except LinAlgError:
        return None
    packed = tuple(np.empty((len(factors[0]), n * (n + 1) // 2)) for n in sizes)
    tensor = Tensor(orbitals, fitting, factors, packed, np.empty((len(factors[1]), *sizes)))
    _fill(tensor, mol, auxiliary)
    for values, factor in [(p, factors[0]) for p in packed] + [(tensor.mixed.reshape(len(factors[1]), -1), factors[1])]:
        if values.size:
            blas.dtrsm(1.0, factor, values.T, side=1, lower=1, trans_a=1, overwrite_b=1)  # in place: values.T is F
    return tensor


def _fill(tensor: Tensor, mol: gto.Mole, auxiliary: gto.Mole) -> None:
    """Write the integrals (P|mn) of every adapted P into the tensor, from one of each pair of fitting functions."""
    to = tensor.fitting.to
    targets = [
        {int(to.first[k]): (k - part.start, float(to.a[k])) for k in range(part.start, part.stop)}
        for part in tensor.fitting.parts
    ]
    both, count, ends = mol + auxiliary, mol.nbas, auxiliary.ao_loc
    step = _step(mol.nao) * lib.num_threads()
    for run in images.runs(np.unique(np.searchsorted(ends, tensor.fitting.to.first, side="right") - 1)):
        for first, last, _ in balance_partition(ends, step, run.start, run.stop):
            shells = (0, count, 0, count, count + first, count + last)
            integrals = both.intor("int3c2e", aosym="s2ij", shls_slice=shells).T
            _share(tensor, targets, int(ends[first]), integrals)


def _share(tensor: Tensor, targets: list[dict[int, tuple[int, float]]], start: int, integrals: Array) -> None:
    """Write a block of integrals (n, nao (nao + 1) / 2) of fitting functions from `start` on."""
    first, second = tensor.orbitals.parts

    def run(rows: slice) -> None:
        """Write these rows of the block."""
        full = tensor.orbitals.matrix(lib.unpack_tril(np.ascontiguousarray(integrals[rows])))
        for row, matrix in zip(range(rows.start, rows.stop), full, strict=True):
            hits = [target.get(start + row) for target in targets]
            if hits[0]:
                place, share = hits[0]
                for irrep, part in enumerate((first, second)):
                    tensor.packed[irrep][place] = lib.pack_tril(matrix[part, part]) / share
            if hits[1]:
                place, share = hits[1]
                tensor.mixed[place] = matrix[first, second] / share

    share = max(1, -(-len(integrals) // lib.num_threads()))
    with threads.pool() as pool:
        list(pool.map(run, blocks(len(integrals), share)))


def square_root(density: Array) -> tuple[Array, Array]:
    """Return X (n, r) and signs s (r,) with X s X^T the density."""
    values, vectors = np.linalg.eigh(density)
    keep = np.abs(values) > EMPTY * np.abs(values).max(initial=0.0)
    return vectors[:, keep] * np.sqrt(np.abs(values[keep])), np.sign(values[keep])


def _coulomb_and_exchange(tensor: Tensor, densities: Array, with_j: bool, with_k: bool) -> tuple[Array, Array]:
    """Return J and K (sets, nao, nao) over adapted functions of symmetric densities over them."""
    parts = tensor.orbitals.parts
    halves = [[square_root(d[part, part]) for part in parts] for d in densities] if with_k else []
    step = 2 * _step(len(densities[0]))  # both irreps together take half of all functions
    work = [partial(_of_same, tensor, rows, densities, halves, with_j) for rows in blocks(len(tensor.packed[0]), step)]
    if with_k:
        work += [partial(_of_mixed, tensor, rows, halves) for rows in blocks(len(tensor.mixed), step)]
    with threads.pool() as pool:
        futures = [pool.submit(item) for item in work]
        total = np.zeros((2, *densities.shape))
        for future in futures:
            _add(total, future.result(), parts)
    return total[0], total[1]


def _add(total: Array, found: list[tuple[int, int, int, Array]], parts: tuple[slice, ...]) -> None:
    for kind, number, irrep, matrix in found:
        total[kind, number, parts[irrep], parts[irrep]] += matrix


def _of_same(
    tensor: Tensor, rows: slice, densities: Array, halves: list[Any], with_j: bool
) -> list[tuple[int, int, int, Array]]:
    """Return what totally symmetric P add: J or K (0 or 1), number of the density, irrep, matrix."""
    blocks = [tensor.same(irrep, rows) for irrep in (0, 1)]
    found = []
    if with_j:
        for number, density in enumerate(densities):
            pairs = list(zip(blocks, tensor.orbitals.parts, strict=True))
            charges = sum(np.einsum("pmn,mn->p", b, density[part, part], optimize=True) for b, part in pairs)
            found += [(0, number, i, np.tensordot(charges, b, 1)) for i, b in enumerate(blocks)]
    for number, sets in enumerate(halves):
        found += [(1, number, i, _exchange(b, *sets[i])) for i, b in enumerate(blocks)]
    return found


def _of_mixed(tensor: Tensor, rows: slice, halves: list[Any]) -> list[tuple[int, int, int, Array]]:
    """Return what the other P add to K."""
    block = tensor.mixed[rows]
    turned = block.transpose(0, 2, 1)
    return [
        (1, number, irrep, _exchange(b, *sets[1 - irrep]))
        for number, sets in enumerate(halves)
        for irrep, b in enumerate((block, turned))
    ]


def _exchange(block: Array, vectors: Array, signs: Array) -> Array:
    """Return sum over P of (B_P X) s (B_P X)^T for B (nP, n, m) and X (m, r)."""
    half = np.matmul(vectors.T, block.transpose(0, 2, 1)).reshape(-1, block.shape[1])
    weighted = half if (signs > 0).all() else half * np.tile(signs, len(block))[:, None]
    return half.T @ weighted
