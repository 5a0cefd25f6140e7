"""The same atoms in the same order: the HS structure renumbered like the LS one, by bonds first and by shape second.

Atoms get colours from their element and, repeatedly, from the colours of their neighbours (Weisfeiler and Leman, 1968).
Equal atoms that only shape can tell apart (the two ortho carbons of a ring) are assigned by a beam search that compares
interatomic distances, which need no common orientation but cannot see a mirror image; the best assignments are
therefore compared once more by RMSD, in both hands.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from spincross import pointgroup
from spincross.errors import BadStructure
from spincross.molecule import Molecule, neighbours
from spincross.units import BOHR_TO_ANGSTROM

Array = NDArray[np.float64]

BEAM = 64
"""Partial assignments kept at each step."""


def matched(reference: Molecule, other: Molecule, names: tuple[str, str]) -> tuple[Molecule, list[str]]:
    """Return the other molecule with the reference's atom order, mirrored if it is the opposite hand, and notes.

    Parameters
    ----------
    reference, other : in standard orientation
    names : file names for messages

    Raises
    ------
    BadStructure
        if the two are not the same molecule by formula and bonds
    """
    if reference.formula != other.formula:
        raise BadStructure(
            f"{names[0]} is {reference.formula} but {names[1]} is {other.formula}; give one molecule in both files"
        )
    near, near_other = neighbours(reference), neighbours(other)
    orders = [list(range(len(other.symbols)))]
    if reference.symbols != other.symbols or near != near_other:
        orders = _assignments(reference, other, near, near_other, names)
    hands = (np.ones(3), np.array([-1.0, 1.0, 1.0]))
    candidates = [
        (_distance(reference, Molecule(reference.symbols, other.positions[o] * hand)) + 0.05 * n, n, k)
        for n, hand in enumerate(hands)
        for k, o in enumerate(orders)
    ]
    _, mirrored, chosen = min(candidates)
    positions = other.positions[orders[chosen]] * hands[mirrored]
    notes = []
    if orders[chosen] != list(range(len(other.symbols))):
        notes.append(f"{names[1]}: atoms renumbered to the order of {names[0]}")
    if mirrored:
        notes.append(f"{names[1]}: the molecule was mirrored to the hand of {names[0]}")
    return Molecule(reference.symbols, positions, other.charge, other.point_group), notes


def _distance(reference: Molecule, other: Molecule) -> float:
    """Return the RMSD (angstrom) after the best rotation and shift."""
    return pointgroup.rms_distance(other.positions, reference.positions) * BOHR_TO_ANGSTROM


def _colours(molecule: Molecule, near: list[set[int]]) -> list[str]:
    """Return one colour per atom; equal for atoms that bonds and elements cannot tell apart."""
    colours = list(molecule.symbols)
    for _ in range(len(colours)):
        raw = [f"{c}({','.join(sorted(colours[k] for k in near[i]))})" for i, c in enumerate(colours)]
        short = {text: f"{text[: text.index('(')].split('.')[0]}.{n}" for n, text in enumerate(sorted(set(raw)))}
        if len(short) == len(set(colours)):
            break
        colours = [short[text] for text in raw]
    return colours


def _assignments(
    reference: Molecule, other: Molecule, near: list[set[int]], near_other: list[set[int]], names: tuple[str, str]
) -> list[list[int]]:
    """Return, best first by distances, which atom of the other molecule is each atom of the reference."""
    colours, colours_other = _colours(reference, near), _colours(other, near_other)
    lengths, lengths_other = _lengths(reference), _lengths(other)
    beam: list[tuple[float, dict[int, int]]] = [(0.0, {})]
    if Counter(colours) == Counter(colours_other):
        for atom in _order(colours, near):
            wider = []
            for cost, taken in beam:
                known = [k for k in near[atom] if k in taken]
                free = set(range(len(colours_other))) - set(taken.values())
                for image in free:
                    if colours_other[image] == colours[atom] and all(taken[k] in near_other[image] for k in known):
                        here, there = lengths[atom, list(taken)], lengths_other[image, list(taken.values())]
                        wider.append((cost + float(np.abs(here - there).sum()), {**taken, atom: image}))
            beam = sorted(wider, key=lambda item: item[0])[:BEAM]
    else:
        beam = []
    if not beam:
        raise BadStructure(
            f"{names[0]} and {names[1]} have different bonds ({sum(map(len, near)) // 2} and "
            f"{sum(map(len, near_other)) // 2}); give one molecule in both files, or leave high_spin_structure out"
        )
    return [[taken[k] for k in range(len(colours))] for _, taken in beam]


def _lengths(molecule: Molecule) -> Array:
    """Return all interatomic distances (N, N), bohr."""
    return np.asarray(np.linalg.norm(molecule.positions[:, None] - molecule.positions[None], axis=2))


def _order(colours: list[str], near: list[set[int]]) -> list[int]:
    """Return the atoms from one of the rarest colour outwards along the bonds."""
    counts = Counter(colours)
    queue = [min(range(len(colours)), key=lambda k: (counts[colours[k]], -len(near[k]), k))]
    for atom in queue:
        queue += sorted(near[atom] - set(queue))
    return queue
