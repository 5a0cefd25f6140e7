r"""The exchange-correlation part of a nuclear gradient with the response of the grid, GGA and hybrids of one.

Points and Becke's weights move with the atoms (Johnson, Gill, Pople, J. Chem. Phys. 1993, 98, 5612). PySCF computes the
weights' derivatives for every atom at every point, in one thread; here they are contracted with the energy at once,
block by block; of atoms that are each other's images only one is looked at. With :math:`w_A = P_A / \sum_B P_B`,
:math:`P_B = \prod_C s(\nu_{BC})` and :math:`\mu_{BC} = (r_B - r_C) / R_{BC}`,

.. math:: d \ln w_A = \sum_B (\delta_{AB} - w_B)\, d \ln P_B = \sum_{B<C} k_{BC}\, d\mu_{BC},

and a point gives one number for each pair of atoms.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyscf import gto, lib
from pyscf.dft import gen_grid, radi

from spincross import images, threads
from spincross.fitted_gradient import fitted_gradient
from spincross.xc_cache import POINTS_PER_BLOCK, CachedNumInt, plain_gga
from spincross.xc_derivatives import bent, densities_on_points

Array = NDArray[np.float64]
Index = NDArray[np.int_]

NEGLIGIBLE = 1e-16
"""Energy (Eh) of a point below which its weight's derivative is left out."""
PAIR_POINTS = 200_000
"""Pairs of atoms times points that are worked on at once: what the processor's cache holds."""
TINY = 1e-200
"""Keeps the distance of a point from a nucleus off zero."""
DEEP = 1e-3
"""Smallest 1 - nu and 1 + nu: there a cell function is 1e-23, and what a point still weighs is rounding of the weights,
some 1e-16, which a smaller one would turn into forces."""


@dataclass(frozen=True)
class Partition:
    """Becke's partition of space, as PySCF's default grid has it.

    Parameters
    ----------
    places : (N, 3), bohr
    first, second : (pairs,) atoms of every pair
    distance : (pairs,), bohr
    shift : (pairs,) what unequal sizes of the atoms add, nu = mu + shift (1 - mu^2)
    """

    places: Array
    first: Index
    second: Index
    distance: Array
    shift: Array

    @classmethod
    def of(cls, mol: gto.Mole) -> Partition:
        """Return the partition with Treutler's sizes from Bragg's radii."""
        places = np.asarray(mol.atom_coords())
        first, second = np.triu_indices(mol.natm, 1)
        adjusted = radi.treutler_atomic_radii_adjust(mol, radi.BRAGG_RADII)
        distance = np.linalg.norm(places[first] - places[second], axis=1)
        return cls(places, first, second, distance, np.asarray(adjusted(first, second, np.zeros(len(first)))))

    def response(self, atom: int, points: Array, values: Array) -> Array:
        """Return the derivatives (N, 3) of sum w f with the atoms, through the weights w alone.

        Parameters
        ----------
        atom : owner of the points, which move with it
        points : (n, 3), bohr
        values : (n,) w f
        """
        matters = np.abs(values) > NEGLIGIBLE
        points, values = points[matters], values[matters]
        step = max(1, PAIR_POINTS // max(1, len(self.first)))
        parts = [slice(start, start + step) for start in range(0, len(points), step)]
        return np.asarray(
            sum((self._response(atom, points[p], values[p]) for p in parts), start=np.zeros_like(self.places))
        )

    def _response(self, atom: int, points: Array, values: Array) -> Array:
        arrows = self.places[:, None] - points
        lengths = np.linalg.norm(arrows, axis=2) + TINY
        mu = (lengths[self.first] - lengths[self.second]) / self.distance[:, None]
        here, there, slope = self._cells(mu)
        table = np.ones((len(lengths), *lengths.shape))
        table[self.first, self.second], table[self.second, self.first] = here, there
        cells = table.prod(axis=1)
        excess = -values * cells / cells.sum(axis=0)
        excess[atom] += values
        pairs = slope * (excess[self.second] / there - excess[self.first] / here) / self.distance[:, None]
        slid = (pairs * mu).sum(axis=1) / self.distance
        table[range(len(lengths)), range(len(lengths))] = 0.0
        table[self.first, self.second], table[self.second, self.first] = pairs, -pairs
        moved = np.einsum("ag,agx->ax", table.sum(axis=1) / lengths, arrows)
        moved[atom] -= moved.sum(axis=0)
        apart = slid[:, None] * (self.places[self.first] - self.places[self.second])
        np.add.at(moved, self.first, -apart)
        np.add.at(moved, self.second, apart)
        return moved

    def _cells(self, mu: Array) -> tuple[Array, Array, Array]:
        """Return Becke's cell functions of both atoms of every pair, and their slope d s / d mu (half, signs +-)."""
        p = mu + self.shift[:, None] * (1 - mu * mu)
        slope = 1 - 2 * self.shift[:, None] * mu
        # 1 - p and 1 + p are carried along: formed at the end they round to nothing, and the slope is divided by them
        below, above = np.maximum(1 - p, DEEP), np.maximum(1 + p, DEEP)
        for _ in range(3):
            slope *= 1.5 * below * above
            below, above = below * below * (1.5 - 0.5 * below), above * above * (1.5 - 0.5 * above)
        return 0.5 * below, 0.5 * above, 0.5 * slope


def gradient_method(method: Any) -> Any:
    """Return a Kohn-Sham object's nuclear gradient method with grid response, through this module where it can."""
    work = method.nuc_grad_method()
    work.grid_response = True
    if isinstance(method._numint, CachedNumInt) and plain_gga(method) and _default_partition(method.grids):
        work.get_veff = _two_electron_part(method)
    return work


def _default_partition(grids: Any) -> bool:
    return (
        grids.becke_scheme is gen_grid.original_becke
        and grids.radii_adjust is radi.treutler_atomic_radii_adjust
        and grids.atomic_radii is radi.BRAGG_RADII
    )


def _two_electron_part(method: Any) -> Callable[..., Any]:
    """Return what PySCF asks of `get_veff`; all of it is in the parts per atom."""
    usual = method.nuc_grad_method()  # its own: one that held this function would hold itself, and all its memory
    usual.grid_response = True

    def get_veff(mol: Any = None, dm: Any = None) -> Any:
        """Return PySCF's potential, or zeros tagged with the gradients (N, 3), Eh/bohr, of grid and fit."""
        fitted = fitted_gradient(method)
        if fitted is None:
            return usual.get_veff(mol, dm)
        density = np.asarray(method.make_rdm1())
        nothing = np.zeros((*density.shape[:-2], 3, *density.shape[-2:]))
        return lib.tag_array(nothing, exc1_grid=gradient(method, density), aux=fitted)

    return get_veff


def gradient(method: Any, density: Array) -> Array:
    """Return the derivatives (N, 3), Eh/bohr, of the exchange-correlation energy at fixed orbital coefficients.

    Parameters
    ----------
    method : RKS or UKS with a GGA or a hybrid of one
    density : (nao, nao) of a closed shell, (2, nao, nao) otherwise
    """
    mol = method.mol
    densities = density[None] if density.ndim == 2 else density
    owner = np.repeat(np.arange(mol.natm), np.diff(mol.aoslice_by_atom()[:, 2:], axis=1).ravel())
    partition = Partition.of(method.grids.mol)
    mapped = images.of_molecule(mol)
    halved = mapped is not None and mapped.symmetric(densities)
    orbits = mapped.orbits if mapped and halved else np.ones(mol.natm)
    blocks = [block for block in _blocks(method.grids) if orbits[block[0]]]

    def run(share: list[tuple[int, Array, Array]]) -> Array:
        """Return what a share of the blocks adds to the derivatives (N, 3), Eh/bohr."""
        total = np.zeros((mol.natm, 3))
        for block in share:
            total += orbits[block[0]] * _block(method, partition, owner, densities, *block)
        return total

    count = lib.num_threads()
    with threads.pool() as pool:
        found = np.asarray(sum(pool.map(run, [blocks[i::count] for i in range(count)])))
    return mapped.symmetrised(found) if mapped and halved else found


def _blocks(grids: Any) -> list[tuple[int, Array, Array]]:
    """Return every atom's points in blocks of neighbours: the atom, points (n, 3), bohr, weights (n,)."""
    mol, blocks = grids.mol, []
    shells = grids.gen_atomic_grids(mol, grids.atom_grid, grids.radi_method, grids.level, grids.prune)
    scheme = grids.radii_adjust, grids.atomic_radii, grids.becke_scheme
    for atom, (points, weights) in enumerate(
        zip(*grids.get_partition(mol, shells, *scheme, concat=False), strict=True)
    ):
        order = gen_grid.arg_group_grids(mol, points)
        for start in range(0, len(order), POINTS_PER_BLOCK):
            pick = order[start : start + POINTS_PER_BLOCK]
            blocks.append((atom, np.ascontiguousarray(points[pick]), weights[pick]))
    return blocks


def _block(
    method: Any, partition: Partition, owner: Index, densities: Array, atom: int, points: Array, weights: Array
) -> Array:
    """Return what one block of an atom's points adds to the gradient."""
    mol, integrator = method.mol, method._numint
    table = gen_grid.make_mask(mol, points)
    index = np.flatnonzero(np.repeat(table.any(axis=0), np.diff(mol.ao_loc_nr())))
    if not len(index):
        return np.zeros_like(partition.places)
    values = np.asarray(integrator.eval_ao(mol, points, deriv=2, non0tab=table))[:, :, index]
    pick = np.ix_(index, index)
    halves, rho = densities_on_points(values, [d[pick] for d in densities])
    spins = len(rho)
    energy, potential = integrator.eval_xc_eff(method.xc, rho if spins == 2 else rho[0], 1, xctype="GGA")[:2]
    total = partition.response(atom, points, weights * energy * rho[:, 0].sum(axis=0))
    for w, half in zip(np.reshape(potential, rho.shape) * weights, halves, strict=True):
        steered = np.einsum("kg,kgi->gi", w[1:], np.array(half[1:]))
        pairs = zip(bent(values, w), values[1:4], strict=True)
        moved = np.array([(b * half[0] + v * steered).sum(axis=0) for b, v in pairs])
        np.add.at(total, owner[index], -2.0 * moved.T)
        total[atom] += 2.0 * moved.sum(axis=1)
    return total
