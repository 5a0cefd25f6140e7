r"""Exchange-correlation integrals with atomic orbitals kept in memory between SCF cycles.

PySCF evaluates every atomic orbital on every grid point anew in each SCF cycle and contracts over orbitals that
vanish there. Here the orbitals that matter on a block of neighbouring points are evaluated once per geometry and kept;
a cycle is then matrix products over short lists. For the semilocal part of a (hybrid) GGA,

.. math:: \rho_g = \sum_{\mu\nu} D_{\mu\nu} \phi_\mu(g) \phi_\nu(g), \qquad
          V_{\mu\nu} = \sum_g w_g \phi_\mu(g) \Big[ \tfrac12 v_\rho + v_{\nabla\rho}\cdot\nabla \Big] \phi_\nu(g) + (\mu
          \leftrightarrow \nu).

Every other kind of call (meta-GGA, LDA, Hessians, response, orbitals that do not fit) goes to PySCF unchanged.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyscf import lib
from pyscf.dft import gen_grid, numint

from spincross import machine

Array = NDArray[np.float64]

POINTS_PER_BLOCK = 10 * gen_grid.BLKSIZE
BLOCKS_AT_ONCE = 32
"""Blocks on which PySCF evaluates orbitals in one call: it is threaded inside."""


def plain_gga(method: Any) -> bool:
    """Tell whether a Kohn-Sham object's functional is a GGA or a global hybrid of one; others are left to PySCF."""
    integrator = method._numint
    return (
        integrator._xc_type(method.xc) == "GGA"
        and not method.do_nlc()
        and integrator.rsh_and_hybrid_coeff(method.xc, spin=method.mol.spin)[0] == 0
    )


@dataclass(frozen=True)
class Block:
    """Orbitals on neighbouring grid points: `index` (n,) orbitals, `values` (4, n, points) phi and its gradient."""

    index: NDArray[np.intp]
    values: Array
    points: slice


class CachedNumInt(numint.NumInt):
    """PySCF's integrator with cached orbitals for GGA energies and potentials.

    Parameters
    ----------
    max_memory : MB that the cached orbitals may take; above it PySCF's own integrator is used
    """

    def __init__(self, max_memory: float) -> None:
        super().__init__()
        self.cache_limit = max_memory
        self._owner: Any = None
        self._blocks: list[Block] | None = None

    def nr_rks(self, mol: Any, grids: Any, xc_code: str, dms: Any, relativity: int = 0, hermi: int = 1,
               max_memory: float = 2000, verbose: Any = None) -> tuple[float, float, Array]:  # fmt: skip
        """Return electrons, energy (Eh) and potential (nao, nao) of one closed-shell density."""
        dms = np.asarray(dms)
        if not (dms.ndim == 2 and self._usable(mol, grids, xc_code, hermi)):
            return super().nr_rks(mol, grids, xc_code, dms, relativity, hermi, max_memory, verbose)
        electrons, energy, potential = self._integrate(mol, grids, xc_code, dms[None], spin=0)
        return float(electrons[0]), energy, potential[0]

    def nr_uks(self, mol: Any, grids: Any, xc_code: str, dms: Any, relativity: int = 0, hermi: int = 1,
               max_memory: float = 2000, verbose: Any = None) -> tuple[Array, float, Array]:  # fmt: skip
        """Return electrons (2,), energy (Eh) and potentials (2, nao, nao) of an open-shell density."""
        dms = np.asarray(dms)
        if not (dms.ndim == 3 and len(dms) == 2 and self._usable(mol, grids, xc_code, hermi)):
            return super().nr_uks(mol, grids, xc_code, dms, relativity, hermi, max_memory, verbose)
        return self._integrate(mol, grids, xc_code, dms, spin=1)

    def kernel_potential(self, mol: Any, grids: Any, kernel: Array, changes: Array) -> Array:
        """Return the potentials (spins, nao, nao) that density changes induce through the GGA kernel.

        Parameters
        ----------
        kernel : second functional derivatives on the grid, (4, 4, points) for a closed shell,
            (2, 4, 2, 4, points) otherwise
        changes : (spins, nao, nao) symmetric changes of the density; the total one for a closed shell
        """
        if not self._usable(mol, grids, "pbe", 1):
            raise MemoryError(
                "the orbitals of the response grid do not fit; raise max_memory or use finite differences"
            )
        if len(changes) == 1:
            kernel = kernel[None, :, None]

        def weights(rho: Array) -> Array:
            return np.einsum("sxg,sxtyg->tyg", rho, kernel, optimize=True)

        return self._contract(grids, changes, weights)

    def _usable(self, mol: Any, grids: Any, xc_code: str, hermi: int) -> bool:
        if hermi != 1 or self._xc_type(xc_code) != "GGA" or self.nlc_coeff(xc_code):
            return False
        if grids.coords is None:
            grids.build(with_non0tab=True)
        if self._owner is not grids.coords:
            self._owner, self._blocks = grids.coords, self._evaluate_orbitals(mol, grids)
        return self._blocks is not None

    def _evaluate_orbitals(self, mol: Any, grids: Any) -> list[Block] | None:
        selections = screened_blocks(mol, grids)
        if sum(4 * len(index) * (p.stop - p.start) for p, index in selections) * 8e-6 > self.cache_limit:
            return None
        blocks = []
        for chunk in _chunks(selections, BLOCKS_AT_ONCE):
            begin = chunk[0][0].start
            end = chunk[-1][0].stop
            mask = grids.non0tab[begin // gen_grid.BLKSIZE : -(-end // gen_grid.BLKSIZE)]
            values = self.eval_ao(mol, grids.coords[begin:end], deriv=1, non0tab=mask)
            for points, index in chunk:
                here = values[:, points.start - begin : points.stop - begin]
                blocks.append(Block(index, np.ascontiguousarray(here[:, :, index].transpose(0, 2, 1)), points))
        return blocks

    def _integrate(self, mol: Any, grids: Any, xc_code: str, dms: Array, spin: int) -> tuple[Array, float, Array]:
        sums: dict[str, Any] = {}

        def weights(rho: Array) -> Array:
            energy, wv = self.eval_xc_eff(xc_code, rho if spin else rho[0], deriv=1, xctype="GGA", spin=spin)[:2]
            electrons = rho[:, 0] * grids.weights
            sums["electrons"], sums["energy"] = electrons.sum(axis=1), float(electrons.sum(axis=0) @ energy)
            return np.reshape(wv, rho.shape)

        potential = self._contract(grids, dms, weights)
        return sums["electrons"], sums["energy"], potential

    def _contract(self, grids: Any, dms: Array, weights: Callable[[Array], Array]) -> Array:
        """Return potentials (spins, nao, nao): densities on the grid, `weights` of them, back to orbitals."""
        blocks = self._blocks or []
        shares = [blocks[i :: lib.num_threads()] for i in range(lib.num_threads())]
        # Blocks are small, so each Python thread runs its own single-threaded matrix products.
        with machine.one_blas_thread(), ThreadPoolExecutor(len(shares)) as pool:
            rho = np.zeros((len(dms), 4, grids.size))
            list(pool.map(partial(_add_density, dms, rho), shares))
            weighted = weights(rho) * grids.weights
            weighted[:, 0] *= 0.5
            potential = np.asarray(sum(pool.map(partial(_potential, dms.shape, weighted), shares)))
        return potential + potential.transpose(0, 2, 1)


def screened_blocks(mol: Any, grids: Any) -> list[tuple[slice, NDArray[np.int_]]]:
    """Return blocks of neighbouring grid points and the orbitals that are not zero there."""
    blocks, functions = [], np.diff(mol.ao_loc_nr())
    for start in range(0, grids.size, POINTS_PER_BLOCK):
        points = slice(start, min(start + POINTS_PER_BLOCK, grids.size))
        rows = slice(start // gen_grid.BLKSIZE, -(-points.stop // gen_grid.BLKSIZE))
        blocks.append((points, np.flatnonzero(np.repeat(grids.non0tab[rows].any(axis=0), functions))))
    return blocks


def _chunks(items: list[Any], size: int) -> list[list[Any]]:
    return [items[i : i + size] for i in range(0, len(items), size)]


def _add_density(dms: Array, rho: Array, blocks: list[Block]) -> None:
    """Write density and gradient (spins, 4, points) of the blocks into `rho`."""
    for block in blocks:
        pick = np.ix_(block.index, block.index)
        for density, out in zip(dms, rho, strict=True):
            half = density[pick] @ block.values[0]
            out[:, block.points] = np.einsum("ig,cig->cg", half, block.values)
            out[1:, block.points] *= 2.0


def _potential(shape: tuple[int, ...], weighted: Array, blocks: list[Block]) -> Array:
    """Return half of the (spins, nao, nao) potential of the blocks; the caller adds the transpose."""
    potential = np.zeros(shape)
    for block in blocks:
        pick = np.ix_(block.index, block.index)
        for w, out in zip(weighted[:, :, block.points], potential, strict=True):
            out[pick] += block.values[0] @ np.einsum("cg,cig->ig", w, block.values).T
    return potential
