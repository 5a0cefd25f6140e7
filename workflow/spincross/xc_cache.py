r"""Exchange-correlation integrals with atomic orbitals kept in memory between SCF cycles and between responses.

PySCF evaluates every atomic orbital on every grid point anew in each SCF cycle and contracts over orbitals that
vanish there. Here the orbitals that matter on a block of neighbouring points are evaluated once per geometry and kept,
as many as fit; a cycle is then matrix products over short lists. For the semilocal part of a (hybrid) GGA,

.. math:: \rho_g = \sum_{\mu\nu} D_{\mu\nu} \phi_\mu(g) \phi_\nu(g), \qquad
          V_{\mu\nu} = \sum_g w_g \phi_\mu(g) \Big[ \tfrac12 v_\rho + v_{\nabla\rho}\cdot\nabla \Big] \phi_\nu(g) + (\mu
          \leftrightarrow \nu).

In a point group of order 2 a symmetric density is integrated over the points of one of two atoms that are each other's
images, with twice their weights, and the potential is symmetrised.

First-order potentials (`kernel_potential`) may be computed in single precision. Every other kind of call (meta-GGA,
LDA) goes to PySCF unchanged.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyscf import lib
from pyscf.dft import gen_grid, numint

from spincross import images, threads

Array = NDArray[np.float64]
Single = NDArray[np.float32]

POINTS_PER_BLOCK = 10 * gen_grid.BLKSIZE
BLOCKS_AT_ONCE = 32
"""Blocks on which PySCF evaluates orbitals in one call."""
REACH = 1e-9
"""Orbitals that are smaller all over a block are left out of it in single precision."""
FAINT, FAINT_WEIGHT = 1e-11, 1e-15
"""Orbitals and densities, and weighted potentials, that count as zero in single precision: a product of two of the
former with one of the latter stays above 1e-38, below which arithmetic takes many times longer. Near a heavy nucleus
weights are small and orbitals large."""


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
    """Neighbouring grid points and the orbitals `index` (n,) that matter there.

    `values` (4, n, points) are phi and its gradient, float32 in single precision, None where they do not fit into the
    memory.
    """

    index: NDArray[np.intp]
    points: slice
    values: Array | Single | None


class CachedNumInt(numint.NumInt):
    """PySCF's integrator with cached orbitals for GGA energies and potentials.

    Parameters
    ----------
    max_memory : MB that the cached orbitals may take; others are evaluated anew in each call
    single : whether orbitals and products with them are in single precision: half of the time and memory, and an error
        of 1e-6 of the result. For the response, not for energies.
    """

    def __init__(self, max_memory: float, single: bool = False) -> None:
        super().__init__()
        self.cache_limit, self.single = max_memory, single
        self._owner: tuple[Any, bool] = (None, False)
        self._points: Any = None
        self._chosen: NDArray[np.intp] = np.arange(0)
        self._images: images.Images | None = None
        self._blocks: list[Block] = []

    def forget(self) -> None:
        """Free the cached orbitals; the next call evaluates them anew."""
        self._owner, self._points, self._blocks = (None, False), None, []

    def nr_rks(self, mol: Any, grids: Any, xc_code: str, dms: Any, relativity: int = 0, hermi: int = 1,
               max_memory: float = 2000, verbose: Any = None) -> tuple[float, float, Array]:  # fmt: skip
        """Return electrons, energy (Eh) and potential (nao, nao) of one closed-shell density."""
        dms = np.asarray(dms)
        if not (dms.ndim == 2 and self._usable(mol, grids, xc_code, hermi, dms)):
            return super().nr_rks(mol, grids, xc_code, dms, relativity, hermi, max_memory, verbose)
        electrons, energy, potential = self._integrate(xc_code, dms[None], spin=0)
        return float(electrons[0]), energy, potential[0]

    def nr_uks(self, mol: Any, grids: Any, xc_code: str, dms: Any, relativity: int = 0, hermi: int = 1,
               max_memory: float = 2000, verbose: Any = None) -> tuple[Array, float, Array]:  # fmt: skip
        """Return electrons (2,), energy (Eh) and potentials (2, nao, nao) of an open-shell density."""
        dms = np.asarray(dms)
        if not (dms.ndim == 3 and len(dms) == 2 and self._usable(mol, grids, xc_code, hermi, dms)):
            return super().nr_uks(mol, grids, xc_code, dms, relativity, hermi, max_memory, verbose)
        return self._integrate(xc_code, dms, spin=1)

    def kernel_potential(self, mol: Any, grids: Any, kernel: Array, changes: Array, symmetric: bool = False) -> Array:
        """Return the potentials (n, spins, nao, nao) that n density changes induce through the GGA kernel.

        Parameters
        ----------
        kernel : second functional derivatives on the grid, (4, 4, points) for a closed shell,
            (2, 4, 2, 4, points) otherwise
        changes : (n, spins, nao, nao) symmetric changes of the density; the total ones for a closed shell
        symmetric : whether the density of the kernel keeps the molecule's group
        """
        count, spins, nao = changes.shape[:3]
        sizes = np.maximum(np.abs(changes).max(axis=(1, 2, 3), keepdims=True), np.finfo(float).tiny)
        flat = (changes / sizes).reshape(count * spins, nao, nao)
        self._usable(mol, grids, "pbe", 1, flat, symmetric)
        kernel = kernel.reshape(spins, 4, spins, 4, grids.size)

        def weights(rho: Array, points: slice) -> Array:
            """Return the first-order potentials of changes on these points, unweighted."""
            rho = rho.reshape(count, spins, 4, -1)
            return np.einsum("nsxg,sxtyg->ntyg", rho, kernel[..., self._chosen[points]]).reshape(len(flat), 4, -1)

        return self._contract(flat, weights).reshape(changes.shape) * sizes

    def _usable(self, mol: Any, grids: Any, xc_code: str, hermi: int, densities: Array, symmetric: bool = True) -> bool:
        """Tell whether this call is done here, and have its points and orbitals at hand.

        Half of the points are enough for `densities` that keep the group, if all else is `symmetric`.
        """
        if hermi != 1 or self._xc_type(xc_code) != "GGA" or self.nlc_coeff(xc_code):
            return False
        if grids.coords is None:
            grids.build(with_non0tab=True)
        if self._owner[0] is not grids.coords:
            self._images = images.of_molecule(mol) if grids.atm_idx is not None else None
        halved = symmetric and self._images is not None and self._images.symmetric(densities)
        if self._owner[0] is not grids.coords or self._owner[1] != halved:
            self._owner, self._blocks = (None, False), []
            self._points, self._chosen = grids, np.arange(grids.size)
            if halved and self._images:
                self._points, self._chosen = half_grid(mol, grids, self._images.orbits)
            self._blocks = self._evaluate_orbitals(mol, self._points)
            self._owner = grids.coords, halved
        return True

    def _evaluate_orbitals(self, mol: Any, grids: Any) -> list[Block]:
        left, blocks = self.cache_limit, []
        for chunk in _chunks(screened_blocks(mol, grids), BLOCKS_AT_ONCE):
            begin, number = chunk[0][0].start, 4e-6 if self.single else 8e-6
            most = sum(4 * len(index) * (p.stop - p.start) for p, index in chunk) * number
            if most > left:
                blocks += [Block(index, points, None) for points, index in chunk]
                continue
            values = self._orbitals(grids, slice(begin, chunk[-1][0].stop))
            for points, index in chunk:
                here = values[:, points.start - begin : points.stop - begin]
                if self.single:
                    index = index[np.abs(here[:, :, index]).max(axis=(0, 1)) > REACH]
                blocks.append(Block(index, points, self._picked(here, index)))
                left -= 4 * len(index) * len(here[0]) * number
        return blocks

    def _orbitals(self, grids: Any, points: slice) -> Array:
        """Return (4, points, nao) of every orbital, by PySCF, which is threaded inside."""
        mask = grids.non0tab[points.start // gen_grid.BLKSIZE : -(-points.stop // gen_grid.BLKSIZE)]
        return np.asarray(self.eval_ao(grids.mol, grids.coords[points], deriv=1, non0tab=mask))

    def _values(self, block: Block) -> Array | Single:
        if block.values is not None:
            return block.values
        return self._picked(self._orbitals(self._points, block.points), block.index)

    def _picked(self, values: Array, index: NDArray[np.intp]) -> Array | Single:
        return self._rounded(np.ascontiguousarray(values[:, :, index].transpose(0, 2, 1)))

    def _rounded(self, values: Array, faint: float = FAINT) -> Array | Single:
        return np.where(np.abs(values) <= faint, 0.0, values).astype(np.float32) if self.single else values

    def _integrate(self, xc_code: str, dms: Array, spin: int) -> tuple[Array, float, Array]:
        electrons, energies = np.zeros((len(dms), self._points.size)), np.zeros(self._points.size)

        def weights(rho: Array, points: slice) -> Array:
            """Return the potential of densities on these points, unweighted; keep electrons and energies."""
            energy, wv = self.eval_xc_eff(xc_code, rho if spin else rho[0], deriv=1, xctype="GGA", spin=spin)[:2]
            electrons[:, points], energies[points] = rho[:, 0], energy
            return np.reshape(wv, rho.shape)

        potential = self._contract(dms, weights)
        electrons *= self._points.weights
        return electrons.sum(axis=1), float(electrons.sum(axis=0) @ energies), potential

    def _contract(self, dms: Array, weights: Callable[[Array, slice], Array]) -> Array:
        """Return potentials (n, nao, nao): densities on the points of each block, `weights` of them, and back."""
        densities = self._rounded(dms)

        def run(blocks: list[Block]) -> Array:
            """Return what a share of the blocks adds to the potentials."""
            potential = np.zeros_like(dms)
            for block in blocks:
                values, pick = self._values(block), np.ix_(block.index, block.index)
                rho = _density(values, densities, pick)
                weighted = weights(rho, block.points) * self._points.weights[block.points]
                weighted[:, 0] *= 0.5
                for w, out in zip(self._rounded(weighted, FAINT_WEIGHT), potential, strict=True):
                    out[pick] += values[0] @ np.einsum("cg,cig->ig", w, values).T
            return potential

        count = lib.num_threads()
        with threads.pool() as pool:
            potential = np.zeros_like(dms)
            for part in pool.map(run, [self._blocks[i::count] for i in range(count)]):
                potential += part
        potential = potential + potential.transpose(0, 2, 1)
        return 0.5 * (potential + self._images.matrix(potential)) if self._owner[1] and self._images else potential


def half_grid(mol: Any, grids: Any, orbits: Array) -> tuple[Any, NDArray[np.intp]]:
    """Return a grid with the points of each atom counted as often as `orbits` (N,) says, and which points it has."""
    counts = np.append(orbits, 0.0)[grids.atm_idx]  # padding has atom -1
    chosen = np.flatnonzero(counts)
    half = grids.copy()
    half.coords, half.weights = grids.coords[chosen], (grids.weights * counts)[chosen]
    half.atm_idx, half.quadrature_weights = grids.atm_idx[chosen], grids.quadrature_weights[chosen]
    half.non0tab = half.screen_index = gen_grid.make_mask(mol, half.coords)
    return half, chosen


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


def _density(values: Array | Single, dms: Array | Single, pick: Any) -> Array:
    """Return densities and gradients (n, 4, points) of orbitals (4, n, points) on the points of a block."""
    rho = np.array([np.einsum("ig,cig->cg", density[pick] @ values[0], values) for density in dms], dtype=float)
    rho[:, 1:] *= 2.0
    return rho
