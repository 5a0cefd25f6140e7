"""Where a relaxation of a cis-[M(N^N)2(NCS)2] model starts: half an octahedron, ligands folded, anions bent.

A half is one ligand and one NCS, its metal at the origin, the 2-fold axis along z. Lengths here are in angstrom.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spincross.ligands import Ligand
from spincross.molecule import bonds
from spincross.units import ANGSTROM_TO_BOHR

Array = NDArray[np.float64]

FOLDS = (0.0, 30.0, -30.0)
"""Angles (degrees) between a ligand and the plane of metal and donors at which it starts: the chelate rings of ligands
with saturated carbons fold at the donors, to either side, and a relaxation keeps the side it was given."""

BENDS = 4
"""Directions into which the anions are bent before they relax."""
BEND = 25.0
"""By how much, degrees. Fe-N-C of the stand-in's recorded minima is 168 (LS) and 140 degrees (HS)."""

TURN = np.array([-1.0, -1.0, 1.0])
"""The 2-fold axis along z acts on a position by these factors."""


@dataclass(frozen=True)
class Distances:
    """Target distances in angstrom: metal to the mutually trans donors, the other donors, the anions' nitrogen."""

    trans: float
    other: float
    anion: float


def _unit(vector: Array) -> Array:
    return np.asarray(vector / np.linalg.norm(vector))


def place_half(ligand: Ligand, distances: Distances, fold: float = 0.0) -> tuple[tuple[str, ...], Array, Array]:
    """Put one ligand and one NCS on half of an octahedron around the origin, the 2-fold along z.

    The trans donor points along y, the other donor opposite to the NCS.

    Parameters
    ----------
    fold : by how much the ligand is turned about the line of its donors, degrees

    Returns
    -------
    symbols, positions (n, 3) in angstrom, and (n,) fixed distances to the metal, NaN for atoms that are no donors
    """
    first, second = ligand.donors
    towards_anion = _unit(np.array([1.0, 0.0, 1.0]))
    up, across = _unit(np.array([0.0, 1.0, 0.0]) - towards_anion), _unit(np.array([0.0, 1.0, 0.0]) + towards_anion)
    target = np.array([up, across, np.cross(up, across)])
    own = _chelate_frame(ligand, np.radians(fold))
    bite = float(np.linalg.norm(ligand.positions[first] - ligand.positions[second]))
    # metal on the donors' line at s from the second donor, at height h below it
    s = (bite**2 + distances.other**2 - distances.trans**2) / (2.0 * bite)
    height = np.sqrt(max(distances.other**2 - s**2, 0.25))
    metal = ligand.positions[second] + s * own[1] - height * own[0]
    placed = (ligand.positions - metal) @ own.T @ target
    anion = towards_anion * (distances.anion + np.array([[0.0], [1.17], [2.79]]))
    fixed = np.full(len(placed) + 3, np.nan)
    fixed[[first, second, len(placed)]] = distances.trans, distances.other, distances.anion
    return (*ligand.symbols, "N", "C", "S"), np.vstack([placed, anion]), fixed


def _chelate_frame(ligand: Ligand, fold: float) -> Array:
    """Return rows: from the metal side into the ligand, from the second to the first donor, their cross product.

    The first is turned out of the ligand's plane by `fold`, radians.
    """
    first, second = (ligand.positions[k] for k in ligand.donors)
    across = _unit(first - second)
    inward = ligand.positions[_chelate_carbons(ligand)].mean(axis=0) - (first + second) / 2.0
    inward = _unit(inward - (inward @ across) * across)
    inward = np.cos(fold) * inward + np.sin(fold) * np.cross(inward, across)
    return np.array([inward, across, np.cross(inward, across)])


def _chelate_carbons(ligand: Ligand) -> list[int]:
    """Return the two carbon atoms between the donors."""
    near: dict[int, set[int]] = {k: set() for k in ligand.donors}
    joined = bonds(ligand.symbols, ligand.positions * ANGSTROM_TO_BOHR)
    for i, j in joined:
        for donor, other in ((i, j), (j, i)):
            if donor in near and ligand.symbols[other] == "C":
                near[donor].add(other)
    a, b = (near[k] for k in ligand.donors)
    return next([i, j] for i, j in joined for i, j in ((i, j), (j, i)) if i in a and j in b)


def whole(metal: str, symbols: tuple[str, ...], half: Array) -> tuple[tuple[str, ...], Array]:
    """Return the molecule of a half: the metal at the origin, the half, its partner; angstrom."""
    return (metal, *symbols, *symbols), np.vstack([np.zeros((1, 3)), half, half * TURN])


def bent(half: Array, turn: float) -> Array:
    """Return a half (see `place_half`) with its NCS straight and bent at nitrogen by BEND, `turn` (radians) around."""
    nitrogen = half[-3]
    along = _unit(nitrogen)
    side = _unit(np.cross(along, np.eye(3)[np.abs(along).argmin()]))
    direction = np.cos(turn) * side + np.sin(turn) * np.cross(along, side)
    anion = np.cos(np.radians(BEND)) * along + np.sin(np.radians(BEND)) * direction
    lengths = np.linalg.norm(half[-2:] - nitrogen, axis=1)
    return np.vstack([half[:-2], nitrogen + lengths[:, None] * anion])


def anion_starts(half: Array) -> list[Array]:
    """Return a half as it is, and with its anions bent into BENDS directions.

    A relaxation ends in the valley that the direction of the bend chose: for the stand-in's high spin the others lie 1
    to 9 kJ/mol (GFN2) above the lowest.
    """
    return [half, *(bent(half, turn) for turn in 2.0 * np.pi * np.arange(BENDS) / BENDS)]
