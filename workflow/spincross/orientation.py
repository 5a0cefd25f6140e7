r"""The symmetry element of a molecule: found, turned onto z through the origin, and fulfilled to the last digit.

A rotation or reflection :math:`R` that sends atom i onto atom p(i) is fitted by least squares to the centred
positions (Kabsch, Acta Cryst. A 1976, 32, 922); its axis (or mirror normal) is the eigenvector of R whose
eigenvalue stands alone. Candidates for R come from the operations of the space group and, where the crystal is less
symmetric than the molecule, from principal axes and from pairs of like atoms.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from spincross import pointgroup
from spincross.errors import BadStructure, SymmetryLost
from spincross.molecule import Molecule
from spincross.units import BOHR_TO_ANGSTROM

Array = NDArray[np.float64]

LARGEST_RMSD = 0.1
"""Largest RMSD, angstrom, between a structure and its image in the exact group."""
LARGEST_AVERAGED_RMSD = 0.5
"""Largest RMSD, angstrom, of a structure whose lost symmetry is averaged back in (see `averaged`)."""
LARGEST_BOND_CHANGE = 0.2
"""Largest change of a bond length, angstrom, in that average: opposite twists would shrink a ring."""
SEARCH_TOLERANCE = 1.0
"""Largest distance, angstrom, between an image and its atom while a symmetry element is sought."""


@dataclass(frozen=True)
class Oriented:
    """A molecule in standard orientation and how it got there.

    Parameters
    ----------
    molecule : exact in its point group, axis = z through the origin
    axis : (3,) unit vector of the axis (or mirror normal) in the frame of the input; None for C1 and Ci
    rmsd : angstrom, between the input and the exact group
    deviation : angstrom, the largest atomic displacement of that step
    permutation : where the group's operation (the last one) sends each atom
    """

    molecule: Molecule
    axis: Array | None
    rmsd: float
    deviation: float
    permutation: list[int]


def orient(
    molecule: Molecule,
    anchor: int | None,
    hints: tuple[Array, ...] = (),
    keep: bool = False,
    largest: float = LARGEST_RMSD,
) -> Oriented:
    """Put a molecule into the standard orientation of its point group and make it exact.

    Parameters
    ----------
    molecule : any orientation, its `point_group` is the one wanted
    anchor : atom that goes to the origin where the group allows it (the metal); None for the centroid
    hints : (3,) candidate directions from the crystal, tried first
    keep : leave a molecule that fulfils its group (to 0.01 angstrom) where it stands
    largest : RMSD from the group, angstrom, up to which it is made exact

    Raises
    ------
    BadStructure
        if the molecule is further from the group, with the largest deviation
    """
    if keep and _worst(molecule, molecule.positions) < 0.01:
        return _finish(molecule, molecule.positions, np.array([0.0, 0.0, 1.0]), largest)
    origin = _origin(molecule, anchor)
    centred = molecule.positions - origin
    if molecule.point_group in ("C1", "Ci"):
        return _finish(molecule, centred, None, largest)
    centred = molecule.positions - molecule.positions.mean(axis=0)
    axis = _best_axis(molecule, centred, hints)
    return _finish(molecule, _shifted(molecule, centred @ turn_to_z(axis).T, anchor), axis, largest)


def averaged(molecule: Molecule, permutation: list[int], pairs: list[tuple[int, int]]) -> Oriented:
    """Put a molecule that has lost its symmetry element back into its group, the atoms paired as told.

    With the pairing known, the best axis (or mirror normal) follows from least squares alone, however far the images
    are from their atoms; the result is the mean of the molecule and its image.

    Parameters
    ----------
    molecule : any orientation, its `point_group` is the one wanted
    permutation : where the group's operation (the last one) sends each atom
    pairs : bonded atoms

    Raises
    ------
    BadStructure
        if the RMSD exceeds `LARGEST_AVERAGED_RMSD` or a bond changes by more than `LARGEST_BOND_CHANGE`
    """
    group = molecule.point_group
    centred, target = molecule.positions - molecule.positions.mean(axis=0), np.array(permutation)
    axis = None
    if group in ("C2", "Cs"):
        axis = _least_squares_axis(group, centred, target)
        centred = centred @ turn_to_z(axis).T
    exact, rmsd, deviation = _exact(group, centred, target)
    change = bond_change(centred, exact, pairs)
    if rmsd > LARGEST_AVERAGED_RMSD or change > LARGEST_BOND_CHANGE:
        why = f"RMSD {rmsd:.2f} angstrom, largest deviation {deviation:.2f}, bonds change by up to {change:.2f}"
        raise BadStructure(_refusal(group, why) + ", or leave high_spin_structure out")
    fixed = _metal_at_origin(molecule, exact, target)
    return Oriented(molecule.at(fixed), axis, rmsd, deviation, [int(i) for i in target])


def _metal_at_origin(molecule: Molecule, positions: Array, target: NDArray[np.int_]) -> Array:
    """Shift exact positions so that a lone heavy atom on the symmetry element (the metal) comes to the origin."""
    own = [k for k in np.flatnonzero(target == np.arange(len(target))) if molecule.numbers[k] > 20]
    return _shifted(molecule, positions, int(own[0])) if len(own) == 1 and molecule.point_group != "Ci" else positions


def _origin(molecule: Molecule, anchor: int | None) -> Array:
    """Return the point that goes to the origin without an axis: the metal, or the centroid (always for Ci)."""
    centroid = molecule.positions.mean(axis=0)
    if anchor is None or molecule.point_group == "Ci":
        return np.asarray(centroid)
    return np.asarray(molecule.positions[anchor])


def _shifted(molecule: Molecule, positions: Array, anchor: int | None) -> Array:
    """Move along the free directions of the group so that the anchor comes as near the origin as it can."""
    if anchor is None:
        return positions
    free = np.array([0.0, 0.0, 1.0]) if molecule.point_group == "C2" else np.array([1.0, 1.0, 0.0])
    return np.asarray(positions - positions[anchor] * free)


def turn_to_z(axis: Array) -> Array:
    """Return the smallest rotation that takes a unit vector onto +z (or -z, whichever is nearer)."""
    direction = axis / np.linalg.norm(axis)
    largest = int(np.abs(direction[::-1]).argmax())
    direction = direction * np.sign(direction[::-1][largest])
    cosine = float(direction[2])
    if cosine < -1.0 + 1e-9:
        return np.diag([1.0, -1.0, -1.0])
    cross = np.array([direction[1], -direction[0], 0.0])
    skew = np.array([[0, -cross[2], cross[1]], [cross[2], 0, -cross[0]], [-cross[1], cross[0], 0]])
    return np.asarray(np.eye(3) + skew + skew @ skew / (1.0 + cosine))


def bond_change(before: Array, after: Array, pairs: list[tuple[int, int]]) -> float:
    """Return the largest change, angstrom, of the distances of bonded atoms between two sets of positions (N, 3)."""
    first, second = np.array(pairs).T
    lengths = [np.linalg.norm(p[first] - p[second], axis=1) * BOHR_TO_ANGSTROM for p in (before, after)]
    return float(np.abs(lengths[1] - lengths[0]).max())


def _finish(molecule: Molecule, positions: Array, axis: Array | None, largest: float) -> Oriented:
    """Make oriented positions exact and measure what that took."""
    group = molecule.point_group
    try:
        operation = pointgroup.operations(group)[-1]
        last = pointgroup.permutation(molecule.numbers, positions, operation, SEARCH_TOLERANCE / BOHR_TO_ANGSTROM)
    except SymmetryLost as error:
        raise BadStructure(_refusal(group, f"largest deviation {_miss(molecule, positions):.2f} angstrom")) from error
    exact, rmsd, deviation = _exact(group, positions, last)
    if rmsd > largest:
        raise BadStructure(_refusal(group, f"largest deviation {deviation:.2f} angstrom (RMSD {rmsd:.2f})"))
    fixed = np.array([0.0 if abs(x) < 1e-12 else x for x in exact.ravel()]).reshape(-1, 3)
    return Oriented(molecule.at(fixed), axis, rmsd, deviation, [int(i) for i in last])


def _least_squares_axis(group: str, centred: Array, target: list[int] | NDArray[np.int_]) -> Array:
    """Return the axis (mirror normal) that brings each atom nearest to its partner.

    For an axis n, sum |2 n n^T x_i - x_p(i)|^2 is least where n^T (sum x_i x_p(i)^T) n is largest (smallest for
    a mirror).
    """
    overlap = centred.T @ centred[target]
    _, vectors = np.linalg.eigh(overlap + overlap.T)
    return np.asarray(vectors[:, -1] if group == "C2" else vectors[:, 0])


def _exact(group: str, positions: Array, target: list[int] | NDArray[np.int_]) -> tuple[Array, float, float]:
    """Return the mean of oriented positions and their image, RMSD and largest shift to it, angstrom."""
    exact = (positions + positions[target] @ pointgroup.operations(group)[-1]) / 2.0  # its own inverse
    shifts = np.linalg.norm(exact - positions, axis=1) * BOHR_TO_ANGSTROM
    return exact, float(np.sqrt((shifts**2).mean())), float(shifts.max())


def _miss(molecule: Molecule, positions: Array) -> float:
    """Return the largest distance (angstrom) from an image to the nearest atom of its element."""
    numbers, images = molecule.numbers, positions @ pointgroup.operations(molecule.point_group)[-1].T
    distances = np.linalg.norm(images[:, None] - positions[None], axis=2)
    distances[numbers[:, None] != numbers[None]] = np.inf
    return float(distances.min(axis=1).max()) * BOHR_TO_ANGSTROM


def _refusal(group: str, why: str) -> str:
    return f"the molecule is not {group}: {why}; correct point_group or the structure"


def _worst(molecule: Molecule, positions: Array) -> float:
    """Return the largest deviation (angstrom) from the group as oriented, infinite without partners."""
    try:
        return pointgroup.deviation(molecule.numbers, positions, molecule.point_group) * BOHR_TO_ANGSTROM
    except SymmetryLost:
        return float("inf")


def _best_axis(molecule: Molecule, centred: Array, hints: tuple[Array, ...]) -> Array:
    """Return the direction along which the group is best fulfilled; hints win when they are good enough."""
    best: tuple[float, Array] = (float("inf"), np.array([0.0, 0.0, 1.0]))
    for candidates in (hints, _candidates(molecule, centred)):
        for candidate in candidates:
            score, axis = _fitted(molecule, centred, candidate)
            if score < best[0] - 1e-9:
                best = (score, axis)
        if best[0] < LARGEST_RMSD:
            return best[1]
    if np.isfinite(best[0]):
        return best[1]
    raise BadStructure(_refusal(molecule.point_group, "no axis sends each atom near one of its element"))


def _matrix(group: str, axis: Array) -> Array:
    """Return the matrix of the group's operation about a unit vector."""
    projector = np.outer(axis, axis)
    return np.asarray(2.0 * projector - np.eye(3) if group == "C2" else np.eye(3) - 2.0 * projector)


def _fitted(molecule: Molecule, centred: Array, candidate: Array) -> tuple[float, Array]:
    """Refine a candidate direction and return the RMSD (angstrom) it leaves."""
    group, numbers, tolerance = molecule.point_group, molecule.numbers, SEARCH_TOLERANCE / BOHR_TO_ANGSTROM
    axis = candidate / np.linalg.norm(candidate)
    try:
        target = pointgroup.permutation(numbers, centred, _matrix(group, axis), tolerance)
    except SymmetryLost:
        return float("inf"), axis
    refined = _least_squares_axis(group, centred, target)
    if np.linalg.norm(_matrix(group, axis) - _matrix(group, refined)) < 1e-6:
        refined = axis
    shifts = (centred[target] - centred @ _matrix(group, refined).T) / 2.0
    return float(np.sqrt((shifts**2).sum(axis=1).mean())) * BOHR_TO_ANGSTROM, refined


def _candidates(molecule: Molecule, centred: Array) -> list[Array]:
    """Return directions that may be the axis (or mirror normal): cell axes, principal axes, like atoms."""
    _, principal = np.linalg.eigh(centred.T @ centred)
    found = [np.array([0.0, 0.0, 1.0]), *principal.T, np.array([1.0, 0.0, 0.0]), np.array([0.0, 1.0, 0.0])]
    for vectors in _shells(molecule, centred):
        pairs = list(combinations(vectors, 2))
        found += [*vectors, *(v for a, b in pairs for v in (a + b, a - b, np.cross(a, b)))]
    return [v for v in found if np.linalg.norm(v) > 0.1]


def _shells(molecule: Molecule, centred: Array) -> list[Array]:
    """Return the positions of the rarest elements off the centre: an axis must pass through or between them."""
    counts = Counter(molecule.symbols)
    shells = []
    for element, _ in sorted(counts.items(), key=lambda item: (item[1], item[0])):
        chosen = centred[[s == element for s in molecule.symbols]]
        chosen = chosen[np.linalg.norm(chosen, axis=1) > 0.5]
        if 0 < len(chosen) <= 40:
            shells.append(chosen)
    return shells[:3]
