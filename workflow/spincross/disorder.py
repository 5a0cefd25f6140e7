"""Disorder in an asymmetric unit: keep one alternative where the file leaves no doubt which atoms belong together.

Two rules, in this order. (1) Rows tagged with a disorder group belong together; within an assembly the group with the
largest occupancy is kept. (2) Rows without tags are joined into regions (partial atoms within 2 angstrom, symmetry
images included); a region is resolved if its occupancies are p and 1 - p only, with p clearly above one half, and both
alternatives have the same composition. All else (equal shares, groups on a symmetry element, unequal compositions)
stays as it is, and a complex that holds such atoms is refused.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

WHOLE = 0.99
"""Occupancy from which an atom counts as ordered."""
CLEAR = 0.02
"""Smallest lead in occupancy with which one alternative is the major one; also how well p and 1 - p must add up."""
REGION = 2.0
"""Partly occupied atoms closer than this (angstrom) belong to one disordered region."""


@dataclass(frozen=True)
class Rows:
    """The rows of an asymmetric unit.

    Parameters
    ----------
    labels, symbols : of each of the n rows
    occupancies : (n,)
    assemblies, groups : disorder tags of each row, None where there is none
    fractional : (n, 3)
    """

    labels: list[str]
    symbols: list[str]
    occupancies: Array
    assemblies: list[Any]
    groups: list[Any]
    fractional: Array


def tag(value: Any) -> str | None:
    """Return a disorder tag as text, None for '.', '?', 0 and absent ones."""
    return None if value in (None, ".", "?", 0, "0") else str(value)


def resolve(rows: Rows, cell: Array, rotations: NDArray[np.int_], translations: Array) -> tuple[list[int], list[str]]:
    """Return the rows to keep and one sentence for every alternative that was left out.

    Kept rows of a resolved region are whole atoms from then on.

    Parameters
    ----------
    rows : the asymmetric unit
    cell : (3, 3) lattice vectors in rows, angstrom
    rotations, translations : operations in fractional coordinates, (M, 3, 3) and (M, 3)
    """
    dropped: set[int] = set()
    notes = []
    for keep, leave, how in [
        *_by_group(rows, cell, rotations, translations),
        *_by_occupancy(rows, cell, rotations, translations),
    ]:
        dropped.update(leave)
        notes.append(
            f"disorder resolved {how}: kept {_names(rows, keep)} (occupancy {rows.occupancies[keep[0]]:.2f}), "
            f"left out {_names(rows, leave)}"
        )
        rows.occupancies[keep] = 1.0
    return [k for k in range(len(rows.labels)) if k not in dropped], notes


def _names(rows: Rows, chosen: list[int]) -> str:
    return ", ".join(rows.labels[k] for k in chosen)


def _by_group(
    rows: Rows, cell: Array, rotations: NDArray[np.int_], translations: Array
) -> list[tuple[list[int], list[int], str]]:
    """Return rows kept and left out for every assembly with one clearly largest disorder group.

    Many files number the groups 1 and 2 everywhere and name no assembly; where that mixes occupancies, each region is
    an assembly of its own.
    """
    assemblies: dict[str | None, list[int]] = {}
    for k, group in enumerate(rows.groups):
        if tag(group) is not None:
            assemblies.setdefault(tag(rows.assemblies[k]), []).append(k)
    found = []
    for members in assemblies.values():
        choices = [_major_group(rows, members)]
        if choices == [None]:
            regions = _regions(rows, members, cell, rotations, translations)
            choices = [_major_group(rows, region) for region in regions]
        found += [(*choice, "by disorder groups") for choice in choices if choice is not None]
    return found


def _major_group(rows: Rows, members: list[int]) -> tuple[list[int], list[int]] | None:
    """Return rows of the largest disorder group and of the others; None where that is no clear choice."""
    groups: dict[str, list[int]] = {}
    for k in members:
        groups.setdefault(str(rows.groups[k]), []).append(k)
    shares = {name: float(rows.occupancies[own].mean()) for name, own in groups.items()}
    ranked = sorted(shares, key=lambda name: -shares[name])
    spread = max(float(np.ptp(rows.occupancies[own])) for own in groups.values())
    clear = len(ranked) > 1 and shares[ranked[0]] - shares[ranked[1]] > CLEAR and spread < CLEAR
    # a negative group overlaps its own image under the symmetry element it sits on: no choice keeps the symmetry
    if not clear or any(name.startswith("-") for name in groups) or abs(sum(shares.values()) - 1.0) > CLEAR:
        return None
    return groups[ranked[0]], [k for name in ranked[1:] for k in groups[name]]


def _by_occupancy(
    rows: Rows, cell: Array, rotations: NDArray[np.int_], translations: Array
) -> list[tuple[list[int], list[int], str]]:
    """Return rows kept and left out for every untagged region with two complementary alternatives."""
    partial = [k for k in range(len(rows.labels)) if rows.occupancies[k] < WHOLE and tag(rows.groups[k]) is None]
    found = []
    for region in _regions(rows, partial, cell, rotations, translations):
        shares = rows.occupancies[region]
        major = [k for k in region if abs(rows.occupancies[k] - shares.max()) < CLEAR]
        minor = [k for k in region if abs(rows.occupancies[k] - 1.0 + shares.max()) < CLEAR]
        alike = Counter(rows.symbols[k] for k in major) == Counter(rows.symbols[k] for k in minor)
        if shares.max() > 0.5 + CLEAR and len(major) + len(minor) == len(region) and alike:
            found.append((major, minor, "by complementary occupancies"))
    return found


def _regions(
    rows: Rows, partial: list[int], cell: Array, rotations: NDArray[np.int_], translations: Array
) -> list[list[int]]:
    """Join partly occupied rows that lie within `REGION` of each other or of an image of each other."""
    regions: list[list[int]] = []
    left = list(partial)
    while left:
        region = [left.pop(0)]
        for row in region:
            images = rotations @ rows.fractional[row] + translations
            near = [k for k in left if _distance(images, rows.fractional[k], cell) < REGION]
            region += near
            left = [k for k in left if k not in near]
        regions.append(sorted(region))
    return regions


def _distance(images: Array, place: Array, cell: Array) -> float:
    """Return the shortest distance (angstrom) from some places to another, lattice translations included."""
    difference = images - place
    return float(np.linalg.norm((difference - np.rint(difference)) @ cell, axis=1).min())
