r"""Derivatives of the exchange-correlation energy with the nuclei, GGA and hybrids, on a grid that stands still.

With :math:`\rho^A_x` the change of density and gradient when atom A moves along x (orbital coefficients fixed),

.. math:: E^{AB}_{xy} = \int \rho^A_x f \rho^B_y
          + 2 \sum_{\mu \in A, \nu \in B} D_{\mu\nu} \int v (\partial_x \mu)(\partial_y \nu) , \quad
          h^A_x = \langle \mu | f \rho^A_x | \nu \rangle + \langle \mu | v | \nu \rangle^{A_x} .

PySCF builds a matrix over all orbitals for every atom of the first; here densities on the grid are contracted at once,
block by block, with the orbitals that are not zero in the block.
"""

from __future__ import annotations

from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyscf import lib

from spincross import threads
from spincross.xc_cache import screened_blocks

Array = NDArray[np.float64]
Index = NDArray[np.int_]

SECOND = ((4, 5, 6), (5, 7, 8), (6, 8, 9))
"""Place of the second derivative xy in PySCF's list of orbital values."""
NEGLIGIBLE = 1e-11
"""Weighted change of the density in a block below which an atom is left out of it."""


@dataclass
class Sums:
    """What the blocks add up to: pairs (N, 3, N, 3), first and static (spins, N or 1, 3, nao, nao)."""

    pairs: Array
    first: Array
    static: Array
    lock: Any


def second_derivatives(mean_field: Any) -> tuple[Array, Array]:
    """Return the second derivatives and the first-order potentials.

    Parameters
    ----------
    mean_field : converged RKS or UKS with a GGA or a hybrid of one, without symmetry

    Returns
    -------
    (N, N, 3, 3), Eh/bohr2, without the terms of blocks A = A in which one orbital moves twice;
    (spins, N, 3, nao, nao), Eh/bohr, one spin for a closed shell
    """
    mol, grids = mean_field.mol, mean_field.grids
    if grids.coords is None:  # of a solution that a GPU found
        grids.build(with_non0tab=True)
    density = np.asarray(mean_field.make_rdm1())
    densities = density[None] if density.ndim == 2 else density
    natm, nao = mol.natm, mol.nao
    shape = (len(densities), 3, nao, nao)
    sums = Sums(np.zeros((natm, 3, natm, 3)), np.zeros((shape[0], natm, *shape[1:])), np.zeros(shape), Lock())
    owner = np.repeat(np.arange(natm), np.diff(mol.aoslice_by_atom()[:, 2:], axis=1).ravel())
    blocks = [(points, index) for points, index in screened_blocks(mol, grids) if len(index)]

    def run(share: list[tuple[slice, Index]]) -> None:
        """Add a share of the blocks to the sums."""
        for points, index in share:
            values = mean_field._numint.eval_ao(mol, grids.coords[points], deriv=2)[:, :, index]
            _add_block(mean_field, np.asarray(values), grids.weights[points], index, owner[index], densities, sums)

    count = lib.num_threads()
    with threads.pool() as pool:
        list(pool.map(run, [blocks[i::count] for i in range(count)]))
    for atom in range(natm):
        mine = owner == atom
        sums.first[:, atom][:, :, mine] += sums.static[:, :, mine]
        sums.first[:, atom] = -(sums.first[:, atom] + sums.first[:, atom].transpose(0, 1, 3, 2))
    return sums.pairs.transpose(0, 2, 1, 3), sums.first


def _add_block(
    mean_field: Any, values: Array, weights: Array, index: Index, owner: Index, densities: Array, sums: Sums
) -> None:
    """Add one block of points; values (10, points, n) of the n orbitals in `index`, `owner` (n,) their atoms."""
    pick = np.ix_(index, index)
    blocks = [d[pick] for d in densities]
    halves, rho = densities_on_points(values, blocks)
    spins = len(rho)
    vxc, fxc = mean_field._numint.eval_xc_eff(mean_field.xc, rho if spins == 2 else rho[0], 2, xctype="GGA")[1:3]
    potential = np.reshape(vxc, (spins, 4, -1)) * weights
    kernel = np.reshape(fxc, (4 * spins, 4 * spins, -1)) * weights
    potential[:, 0] *= 0.5
    bends = [bent(values, w) for w in potential]
    atoms, moved = _density_changes(values, halves, owner, weights)
    pairs = _orbital_pairs(values, bends, blocks, owner, sums.pairs.shape[0])
    static = [
        [values[1 + x].T @ np.einsum("cg,cgi->gi", w, values[:4]) + b[x].T @ values[0] for x in range(3)]
        for w, b in zip(potential, bends, strict=True)
    ]
    rows, points = 3 * len(atoms), len(weights)  # no atom matters in some blocks far out
    flat = moved.reshape(rows, 4 * spins, points)
    answer = np.einsum("abg,nbg->nag", kernel, flat, optimize=True)
    own = (flat.reshape(rows, 4 * spins * points) @ answer.reshape(rows, 4 * spins * points).T).reshape(
        len(atoms), 3, len(atoms), 3
    )
    answer = answer.reshape(len(atoms), 3, spins, 4, points)
    answer[:, :, :, 0] *= 0.5
    with sums.lock:
        sums.pairs += pairs
        sums.pairs[np.ix_(atoms, np.arange(3), atoms, np.arange(3))] += own
        for s in range(spins):
            for x in range(3):
                sums.static[s, x][pick] += static[s][x]
    for place, atom in enumerate(atoms):
        for x in range(3):
            for s in range(spins):
                part = np.einsum("cg,cgi->gi", answer[place, x, s], values[:4]).T @ values[0]
                with sums.lock:
                    sums.first[s, atom, x][pick] += part


def densities_on_points(values: Array, blocks: list[Array]) -> tuple[list[list[Array]], Array]:
    """Return phi D for the orbitals and their gradients, 4 of (points, n) per spin, and rho (spins, 4, points).

    Parameters
    ----------
    values : (4 or more, points, n) orbitals and derivatives
    blocks : density matrices (n, n), one per spin
    """
    halves = [[v @ d for v in values[:4]] for d in blocks]
    return halves, np.array(
        [[(1 + (k > 0)) * np.einsum("gi,gi->g", values[k], h[0]) for k in range(4)] for h in halves]
    )


def bent(values: Array, weights: Array) -> list[Array]:
    """Return for each x the derivative of the orbitals along x and its own gradient, weighted (4, points)."""
    return [
        weights[0][:, None] * values[1 + x] + sum(weights[1 + k][:, None] * values[SECOND[x][k]] for k in range(3))
        for x in range(3)
    ]


def _density_changes(values: Array, halves: list[list[Array]], owner: Index, weights: Array) -> tuple[Index, Array]:
    """Return the atoms that matter in a block and their changes of density and gradient (n, 3, spins, 4, points)."""
    found, kept = [], []
    for atom in np.unique(owner):
        mine = owner == atom
        ao, change = values[:, :, mine], np.empty((3, len(halves), 4, len(weights)))
        for s, half in enumerate(halves):
            h = [part[:, mine] for part in half]
            for x in range(3):
                change[x, s, 0] = np.einsum("gi,gi->g", ao[1 + x], h[0])
                for k in range(3):
                    change[x, s, 1 + k] = np.einsum("gi,gi->g", ao[SECOND[x][k]], h[0])
                    change[x, s, 1 + k] += np.einsum("gi,gi->g", ao[1 + x], h[1 + k])
        if np.abs(change * weights).max() > NEGLIGIBLE:
            found.append(atom)
            kept.append(2.0 * change)
    return np.array(found, dtype=int), np.array(kept).reshape(len(found), 3, len(halves), 4, len(weights))


def _orbital_pairs(values: Array, bends: list[list[Array]], blocks: list[Array], owner: Index, natm: int) -> Array:
    """Return the terms in which two orbitals move once each, (N, 3, N, 3)."""
    sums = np.zeros((natm, 3, natm, 3))
    member = (owner[None] == np.arange(natm)[:, None]).astype(float)
    for b, density in zip(bends, blocks, strict=True):
        for x in range(3):
            for y in range(3):
                matrix = (b[y].T @ values[1 + x]) * density
                sums[:, y, :, x] += 2.0 * member @ matrix @ member.T
    return sums + sums.transpose(2, 3, 0, 1)
