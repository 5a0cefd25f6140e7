r"""Two crystals of one compound: strain, group and subgroup, and reflections that only one of them shows.

The spontaneous strain of a cell relative to a parent cell is the symmetric part of the deformation that carries one
into the other, :math:`e = \tfrac12 (F + F^T) - 1` with :math:`F = A_0^{-1} A` (lattice vectors in rows; a along x, b in
the xy plane). For a monoclinic distortion of an orthorhombic parent this gives
:math:`e_{13} = \tfrac12\, c \cos\beta / c_0` (Carpenter, Salje, Graeme-Barber, Eur. J. Mineral. 1998, 10, 621).

A reflection h is extinct if some operation (R, t) has h R = h and h t not an integer (International Tables A, 1.6.3).
Operations act on columns of fractional coordinates, x -> R x + t; h is a row.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Integers = NDArray[np.int_]
Reflection = tuple[int, int, int]

LARGEST_STRAIN = 0.15
"""Largest strain component between cells that count as the same cell in two settings."""
ALIKE = 0.1
"""Difference of misfit (of the metric, twice the strain) up to which two settings are equally good."""
RANGE = 6
"""Reflections with indices up to this are examined."""
CONDITIONS: dict[str, Callable[[int, int, int], bool]] = {
    "h odd": lambda h, k, m: h % 2 != 0,
    "k odd": lambda h, k, m: k % 2 != 0,
    "l odd": lambda h, k, m: m % 2 != 0,
    "h+k odd": lambda h, k, m: (h + k) % 2 != 0,
    "h+l odd": lambda h, k, m: (h + m) % 2 != 0,
    "k+l odd": lambda h, k, m: (k + m) % 2 != 0,
    "h+k+l odd": lambda h, k, m: (h + k + m) % 2 != 0,
    "h+k not 4n": lambda h, k, m: (h + k) % 4 != 0,
    "h+l not 4n": lambda h, k, m: (h + m) % 4 != 0,
    "k+l not 4n": lambda h, k, m: (k + m) % 4 != 0,
    "h not 4n": lambda h, k, m: h % 4 != 0,
    "k not 4n": lambda h, k, m: k % 4 != 0,
    "l not 4n": lambda h, k, m: m % 4 != 0,
    "l not 3n": lambda h, k, m: m % 3 != 0,
    "l not 6n": lambda h, k, m: m % 6 != 0,
    "-h+k+l not 3n": lambda h, k, m: (-h + k + m) % 3 != 0,
    "mixed parity": lambda h, k, m: len({h % 2, k % 2, m % 2}) > 1,
    "all": lambda h, k, m: True,
}  # fmt: skip
"""Rules (m stands for l) that may tell the extinct reflections of a class from the others, simplest first."""
CLASSES: dict[str, Callable[[int, int, int], bool]] = {
    "hkl": lambda h, k, m: bool(h and k and m),
    "0kl": lambda h, k, m: bool(not h and k and m),
    "h0l": lambda h, k, m: bool(h and not k and m),
    "hk0": lambda h, k, m: bool(h and k and not m),
    "h00": lambda h, k, m: bool(h and not k and not m),
    "0k0": lambda h, k, m: bool(not h and k and not m),
    "00l": lambda h, k, m: bool(not h and not k and m),
}
"""Classes of reflections by which indices are zero."""
CONTAINS = {"h00": ("h0l", "hk0"), "0k0": ("0kl", "hk0"), "00l": ("0kl", "h0l")}
"""An axis of reciprocal space and the planes it lies in."""


@dataclass(frozen=True)
class Group:
    """Operations of a space group in fractional coordinates: rotations (M, 3, 3), translations (M, 3)."""

    rotations: Integers
    translations: Array


def transformed(group: Group, setting: Integers) -> Group:
    """Return a group in another basis: the columns of `setting` are the new lattice vectors in the old ones."""
    back = np.rint(np.linalg.inv(setting)).astype(int)
    return Group(back @ group.rotations @ setting, (group.translations @ back.T) % 1.0)


def strain(parent: Array, cell: Array) -> Array:
    """Return the (3, 3) strain of a cell relative to a parent cell; lattice vectors in rows, standard orientation."""
    deformation = np.linalg.inv(parent) @ cell
    return np.asarray((deformation + deformation.T) / 2.0 - np.eye(3))


def standard(cell: Array) -> Array:
    """Return a cell turned so that a is along x and b in the xy plane."""
    turned = np.linalg.cholesky(cell @ cell.T)
    return np.asarray(turned)


def origin_shift(parent: Group, group: Group) -> Array | None:
    """Return the origin shift after which every operation of a group is one of the parent; None if there is none.

    Shifts are searched in steps of 1/24 of the cell, along which symmetry elements of all space groups are spaced.
    """
    steps = np.stack(np.meshgrid(*[np.arange(24) / 24.0] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    for rotation, translation in zip(group.rotations, group.translations, strict=True):
        same = np.all(parent.rotations == rotation, axis=(1, 2))
        # x = y + s: the operation about the shifted origin has the translation t + (R - 1) s
        moved = steps @ (rotation - np.eye(3)).T + translation
        gaps = moved[:, None] - parent.translations[same][None]
        steps = steps[(np.abs(gaps - np.rint(gaps)).max(axis=2) < 0.01).any(axis=1)]
        if not len(steps):
            return None
    return np.asarray(steps[0])


def relation(parent: Group, group: Group) -> tuple[str, int | None]:
    """Return how a group relates to a parent in the same basis, in words, and the index."""
    sizes = len(parent.rotations), len(group.rotations)
    if sizes[0] >= sizes[1] and origin_shift(parent, group) is not None:
        return ("same group" if sizes[0] == sizes[1] else "subgroup"), sizes[0] // sizes[1]
    if sizes[0] < sizes[1] and origin_shift(group, parent) is not None:
        return "supergroup", sizes[1] // sizes[0]
    return "neither contains the other", None


def common_settings(parent: Array, cell: Array) -> list[Integers]:
    """Return the basis changes that make a cell similar to a parent cell; empty if none comes near.

    All right-handed changes with entries -1, 0, 1 and determinant 1 are tried. Axes that differ by less than the strain
    cannot be told apart by the cells: changes less similar than the best by up to `ALIKE` come along, most similar
    first, the cell as it stands before all.
    """
    entries = np.array(list(product((-1, 0, 1), repeat=9))).reshape(-1, 3, 3)
    entries = entries[np.abs(np.linalg.det(entries) - 1.0) < 0.01]
    metric = cell @ cell.T
    wanted = parent @ parent.T
    metrics = entries.transpose(0, 2, 1) @ metric @ entries
    scale = np.sqrt(np.outer(np.diag(wanted), np.diag(wanted)))
    misfit = np.abs((metrics - wanted) / scale).max(axis=(1, 2))
    own = np.all(entries == np.eye(3, dtype=int), axis=(1, 2))
    usable = (misfit < 2.0 * LARGEST_STRAIN) & (misfit <= misfit.min() + ALIKE)
    order = np.lexsort((misfit, ~own))
    return [entries[k] for k in order if usable[k]]


def common_setting(parent: tuple[Array, Group], other: tuple[Array, Group]) -> Integers | None:
    """Return the basis change to a parent's setting, of two pairs of cell and group; None where no cell comes near.

    Of those under which the cells are similar the first that relates the groups, else the first.
    """
    found = common_settings(parent[0], other[0])
    related = (s for s in found if relation(parent[1], transformed(other[1], s))[1] is not None)
    return next(related, found[0] if found else None)


def extinct(group: Group, reflections: Integers) -> NDArray[np.bool_]:
    """Return which of some reflections (n, 3) a space group extinguishes."""
    kept = np.all(np.einsum("ni,mij->nmj", reflections, group.rotations) == reflections[:, None], axis=2)
    phases = reflections @ group.translations.T
    return np.asarray((kept & (np.abs(phases - np.rint(phases)) > 0.01)).any(axis=1))


def lost_extinctions(first: Group, second: Group) -> list[dict[str, str]]:
    """Return the classes of reflections that are extinct in the first group and allowed in the second.

    An axial class (h00) is left out where it only continues the condition of a plane listed (hk0 with k = 0).
    """
    span = range(-RANGE, RANGE + 1)
    reflections = np.array([hkl for hkl in product(span, repeat=3) if any(hkl)])
    lost = extinct(first, reflections) & ~extinct(second, reflections)
    changed = {tuple(int(x) for x in hkl) for hkl in reflections[lost]}
    everything = [(int(hkl[0]), int(hkl[1]), int(hkl[2])) for hkl in reflections]
    found: list[dict[str, str]] = []
    for name, belongs in CLASSES.items():
        members = [hkl for hkl in everything if belongs(*hkl)]
        chosen = {hkl for hkl in members if hkl in changed}
        planes = [f for f in found if f["class"] in ("hkl", *CONTAINS.get(name, ())) or f["class"] == "hkl"]
        continued = any(chosen == {m for m in members if CONDITIONS.get(f["condition"], _never)(*m)} for f in planes)
        if chosen and not continued:
            found.append({"class": name, "condition": _condition(members, chosen)})
    return found


def _never(h: int, k: int, m: int) -> bool:
    return False


def _condition(members: list[Reflection], chosen: set[Reflection]) -> str:
    """Return the simplest rule that holds for exactly the chosen members of a class."""
    for text, rule in CONDITIONS.items():
        if chosen == {m for m in members if rule(*m)}:
            return text
    first = sorted(chosen, key=lambda hkl: (sum(map(abs, hkl)), [-x for x in hkl]))[:4]
    return "for example " + ", ".join(" ".join(map(str, hkl)) for hkl in first)
