"""Displaced geometries: planned by symmetry, computed in bundles, stored one by one.

Central differences of gradients need every atom moved along x, y and z both ways; phonopy leaves out what the point
group relates. Each displaced geometry is one SCF, started from the undisplaced density, and one gradient with grid
response. A result is stored as it finishes, with its geometry and level, so that jobs on several machines can share
the work, a killed one repeats a single gradient, and nothing stale is ever used.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from spincross import electronic, pointgroup, populations
from spincross.checkpoints import Orbitals, locked
from spincross.errors import BadInput, BadStructure, StaleData, WrongState
from spincross.files import Report, fingerprint, read_arrays, write_arrays
from spincross.levels import Level, State
from spincross.molecule import Molecule
from spincross.units import DEBYE_TO_ATOMIC_UNITS

if TYPE_CHECKING:
    from phonopy import Phonopy

Array = NDArray[np.float64]

CELL_MARGIN = 30.0
"""Room (bohr) around the molecule in the periodic cell that phonopy needs."""
SAME_GEOMETRY = 1e-7
"""Largest difference of a coordinate (bohr) at which a stored gradient answers for a geometry."""
SURFACE_TOLERANCE = 1e-5
"""Largest energy (Eh) by which a displaced SCF may miss the harmonic surface: 0.03 kJ/mol, a hundred times the cubic
term of a 5e-3 bohr step."""
STARTUP_SECONDS = 8.0
"""Time (s) a job takes before its first SCF: the interpreter, the libraries, the input files; an estimate from above
(3 s seen for the library on two loaded cores)."""
STARTUP_SHARE = 0.05
"""Largest share of a job's time that may go into its start."""


SAME_S_SQUARED = 0.01
"""Largest difference of <S^2> of one state at neighbouring geometries, or on two grids."""


@dataclass(frozen=True)
class Point:
    """One displaced geometry, done: gradient (N, 3), Eh/bohr; dipole (3,), e bohr; energy, Eh; its cost; <S^2>."""

    gradient: Array
    dipole: Array
    energy: float
    cycles: int
    seconds: float
    s_squared: float = float("nan")


@dataclass(frozen=True)
class Surface:
    """What is needed to compute solutions near a geometry.

    Parameters
    ----------
    level, state : with the SCF thresholds that the purpose needs (tight ones for finite differences)
    guess : occupied orbitals of the undisplaced geometry
    max_memory : MB
    """

    level: Level
    state: State
    guess: Orbitals
    max_memory: float = 8000

    def key(self, molecule: Molecule) -> str:
        """Return a checksum of surface, thresholds, state and atoms (not positions)."""
        return fingerprint([electronic.level_fingerprint(self.level, self.state, molecule), self.level.theory()])

    def point(self, molecule: Molecule) -> Point:
        """Compute one geometry."""
        start = time.perf_counter()
        solution = electronic.solve(molecule, self.level, self.state, self.guess, self.max_memory)
        gradient = electronic.gradient(solution)
        dipole = populations.dipole(solution) * DEBYE_TO_ATOMIC_UNITS
        seconds = time.perf_counter() - start
        return Point(gradient, dipole, solution.energy, solution.cycles, seconds, solution.s_squared)


def phonopy_cell(molecule: Molecule) -> Phonopy:
    """Put the molecule in a large cell, lengths in bohr, so that phonopy can plan displacements by symmetry.

    Without a point group phonopy uses no symmetry, also where the places of the atoms have some: the density may not.
    """
    try:
        from phonopy import Phonopy  # here: a host that only optimises needs no phonopy
        from phonopy.structure.atoms import PhonopyAtoms
    except ImportError as error:
        raise BadInput("finite differences need phonopy: install it, or set hessian.method: analytic") from error

    span = np.ptp(molecule.positions, axis=0) + CELL_MARGIN
    edge = float(span.max())
    lattice = np.diag([edge, edge * 1.07, edge * 1.13])  # three different edges: no symmetry but the molecule's
    cell = PhonopyAtoms(
        symbols=list(molecule.symbols),
        positions=molecule.positions + lattice.diagonal() / 2,
        cell=lattice,
        masses=molecule.masses,
    )
    return Phonopy(
        cell, np.eye(3, dtype=int), primitive_matrix="P", symprec=1e-5, is_symmetry=molecule.point_group != "C1"
    )


def displaced_cell(molecule: Molecule, step: float) -> Phonopy:
    """Return phonopy's cell with its symmetry-reduced displacements, central differences, step in bohr."""
    phonon = phonopy_cell(molecule)
    phonon.generate_displacements(distance=step, is_plusminus="auto", is_diagonal=False)
    return phonon


def plan_displacements(molecule: Molecule, step: float) -> list[Molecule]:
    """Return the symmetry-reduced displaced geometries (C1), central differences, step in bohr.

    BadStructure where phonopy finds more symmetry than the point group has, and plans too few for the group.
    """
    displaced = []
    for atom, *shift in displaced_cell(molecule, step).displacements:
        positions = molecule.positions.copy()
        positions[int(atom)] += shift
        displaced.append(molecule.at(positions, "C1"))
    matrices = pointgroup.representation(molecule.numbers, molecule.positions, molecule.point_group)
    shifts = np.array([(moved.positions - molecule.positions).reshape(-1) for moved in displaced])
    spanned = int(np.linalg.matrix_rank(np.vstack([shifts @ matrix.T for matrix in matrices]) / step, tol=1e-3))
    if spanned < shifts.shape[1]:
        raise BadStructure(
            f"the {len(displaced)} displacements that phonopy plans span {spanned} of {shifts.shape[1]} directions in "
            f"{molecule.point_group}: the atoms lie more symmetric than their point group; use hessian.method: analytic"
        )
    return displaced


def planned_geometries(molecule: Molecule, step: float) -> list[Molecule]:
    """Return the displaced geometries and, last, the undisplaced one, against which their energies are checked."""
    return [*plan_displacements(molecule, step), molecule.at(molecule.positions, "C1")]


def bundles(count: int, size: int) -> list[range]:
    """Split the indices 0 to count - 1 into bundles of at most `size`, in order, as even as they come.

    >>> bundles(10, 4)
    [range(0, 4), range(4, 7), range(7, 10)]
    """
    number = -(-count // size)
    borders = [-(-count * k // number) for k in range(number + 1)] if number else [0]
    return [range(a, b) for a, b in zip(borders, borders[1:], strict=False)]


def smallest_bundle(seconds: float) -> int:
    """Return how many displacements of so many seconds each keep a job's start-up below STARTUP_SHARE of it.

    >>> smallest_bundle(600.0)
    1
    """
    return max(1, math.ceil(STARTUP_SECONDS * (1.0 - STARTUP_SHARE) / STARTUP_SHARE / max(seconds, 0.1)))


def _stored(path: Path, molecule: Molecule, key: str) -> dict[str, NDArray[Any]] | None:
    """Read a point if it is stored; StaleData if it belongs to another geometry, level or step."""
    if not path.exists():
        return None
    stored = read_arrays(path)
    if "positions" not in stored or str(stored["key"]) != key:
        raise StaleData(f"{path} belongs to another level, state or molecule; remove its folder")
    same_shape = stored["positions"].shape == molecule.positions.shape
    shift = float(np.abs(stored["positions"] - molecule.positions).max()) if same_shape else np.inf
    if shift > SAME_GEOMETRY:
        raise StaleData(
            f"{path} belongs to another geometry or step: a coordinate differs by {shift:.1e} bohr "
            f"(allowed {SAME_GEOMETRY:.0e}); remove its folder"
        )
    return {name: array for name, array in stored.items() if name not in ("key", "positions")}


def kept(path: Path, molecule: Molecule, key: str, compute: Callable[[], Any], report: Report) -> dict[str, Any]:
    """Return the fields of a finished geometry (energy, cycles, seconds, more), computing and storing it unless stored.

    Parameters
    ----------
    path : file in a folder of its own, which names the geometry
    key : checksum of all that the fields depend on, positions aside
    compute : gives a dataclass of numbers and arrays

    Raises
    ------
    StaleData
        if the stored one belongs to another geometry, level or step
    BadInput
        if another run is computing this very one
    """
    name, found = path.parent.name, _stored(path, molecule, key)
    if found is not None:
        report(f"  {name}: found, {float(found['seconds']):.1f} s saved")
        return found
    with locked(path.parent):
        point = compute()
        write_arrays(path, key=np.array(key), positions=molecule.positions, **asdict(point))
    report(f"  {name}: E {point.energy:.8f} Eh  {point.cycles} cycles  {point.seconds:.1f} s")
    return asdict(point)


def kept_point(molecule: Molecule, surface: Surface, folder: Path, name: str, report: Report) -> Point:
    """Return the point `name` of a work folder, computing and storing it unless it is there; raises as `kept`."""
    found = kept(folder / name / "point.npz", molecule, surface.key(molecule), lambda: surface.point(molecule), report)
    numbers = float(found["energy"]), int(found["cycles"]), float(found["seconds"])
    return Point(found["gradient"], found["dipole"], *numbers, float(found["s_squared"]))


def compute_points(
    displaced: list[Molecule], indices: Iterable[int], surface: Surface, folder: Path, report: Report
) -> list[Point]:
    """Return the points of one bundle of displacements, each kept in `folder` as it finishes."""
    return [kept_point(displaced[i], surface, folder, f"displacement_{i:04d}", report) for i in indices]


def breaking_part(molecule: Molecule, gradient: Array) -> Array:
    """Return what of a gradient (N, 3) breaks the group of the molecule: zero but for noise of an SCF without it.

    A displacement whose opposite is its image is computed on one side; there this part would pass for a curvature.
    """
    kept = pointgroup.symmetrise_vectors(molecule.numbers, molecule.positions, gradient, molecule.point_group)
    return np.asarray(gradient - kept)


def require_one_surface(
    molecule: Molecule, displaced: list[Molecule], points: list[Point], hessian: Array, centre: Point,
    what: str = "displacement",
) -> float:  # fmt: skip
    """Return the largest deviation (Eh) of the displaced energies from E + g d + d H d / 2.

    Parameters
    ----------
    centre : the undisplaced geometry on the same surface, with its E and its (small) gradient g
    what : names the displacements in the error

    Raises
    ------
    WrongState
        if a displaced SCF lies off this surface by more than SURFACE_TOLERANCE, or has another <S^2>: it fell into
        another state
    """
    turned = np.abs(np.array([p.s_squared for p in points]) - centre.s_squared)  # NaN where it is not known
    if (turned > SAME_S_SQUARED).any():
        which = int(np.nanargmax(turned))
        raise WrongState(
            f"{what} {which} has <S^2> {points[which].s_squared:.3f}, the undisplaced molecule {centre.s_squared:.3f}: "
            "its SCF fell into another electronic state; look for a lower state of the undisplaced molecule"
        )
    shifts = np.array([(geometry.positions - molecule.positions).reshape(-1) for geometry in displaced])
    rises = shifts @ centre.gradient.reshape(-1) + 0.5 * (shifts @ hessian * shifts).sum(axis=1)
    misses = np.abs(np.array([p.energy for p in points]) - centre.energy - rises)
    worst = int(np.argmax(misses))
    if misses[worst] > SURFACE_TOLERANCE:
        raise WrongState(
            f"{what} {worst} lies {misses[worst]:.1e} Eh off the harmonic surface (allowed "
            f"{SURFACE_TOLERANCE:.0e}): its SCF fell into another electronic state; look for a lower state of the "
            "undisplaced molecule"
        )
    return float(misses[worst])
