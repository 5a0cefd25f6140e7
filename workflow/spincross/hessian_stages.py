"""The stages from an optimised geometry to its Hessian.

A Hessian by finite differences takes three: plan the displacements, compute them in bundles (on as many machines as
there are), gather. `compute_hessian` does all of it in one process.
"""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray

from spincross import (
    checkpoints,
    device,
    displacements,
    electronic,
    files,
    force_constants,
    soft_modes,
    vibrations,
)
from spincross.config import Settings
from spincross.displacements import Point, Surface
from spincross.errors import StaleData, WrongState
from spincross.files import Json
from spincross.force_constants import ForceConstants
from spincross.molecule import Molecule
from spincross.schemas import write_checked
from spincross.stages import load_molecule, state_facts, take_over

Array = NDArray[np.float64]

POINT_ARRAYS = ("gradient", "dipole", "energy", "cycles", "seconds", "s_squared")

SAME_STATE_OTHER_GRID = 3e-3
"""Largest difference of energies (Eh) of one state at one geometry on two grids from 3 on. Coarser ones differ by more
than states do (formaldehyde on 0 and 1: 0.015 Eh), and are not compared."""


def plan_displacements(settings: Settings, complex_id: str, state: str, optimised: Path, folder: Path) -> None:
    """Plan the displacements of an optimised geometry and their bundles: plan.json. The undisplaced one comes last.

    Nothing is left to compute where HS without symmetry is its stable parent.
    """
    start = time.perf_counter()
    source, molecule = optimised_molecule(settings, complex_id, optimised)
    stable = _stable_parent(source, folder)
    geometries = [] if stable else displacements.planned_geometries(molecule, settings.hessian.step)
    seconds = _seconds_per_gradient(source)
    wanted = settings.config["hessian"].get("displacements_per_job", "auto")
    size = displacements.smallest_bundle(seconds) if wanted == "auto" else wanted
    bundles = displacements.bundles(len(geometries), size)
    count = max(0, len(geometries) - 1)
    content = {
        "provenance": hessian_provenance(optimised, source, start),
        "complex": complex_id,
        "step_bohr": settings.hessian.step,
        "displacements": count,
        "bundles": [[b.start, b.stop] for b in bundles],
        "seconds_per_gradient": seconds,
        "taken_over_from": source["point_group"] if stable else None,
    }
    write_checked(folder / "plan.json", content, "plan")
    files.print_line(f"{complex_id} {state}: {count} displacements in {len(bundles)} jobs")


def _seconds_per_gradient(source: Json) -> float:
    """Return what one geometry on the final surface took, s; the optimisation measured it."""
    grids, seconds = source["grid_level_per_step"], source["seconds_per_step"]
    return float(median(s for s, grid in zip(seconds, grids, strict=True) if grid == grids[-1]))


def compute_bundle(
    settings: Settings, complex_id: str, state: str, optimised: Path, plan: Path, bundle: int, output: Path, work: Path
) -> None:
    """Compute one bundle of planned displacements into `output`; what lies in `work` already is not repeated."""
    _, molecule = optimised_molecule(settings, complex_id, optimised)
    surface = displaced_surface(settings, complex_id, state, optimised)
    first, last = files.read_json(plan)["bundles"][bundle]
    geometries = displacements.planned_geometries(molecule, settings.hessian.step)
    points = displacements.compute_points(geometries, range(first, last), surface, work, files.print_line)
    files.write_arrays(
        output,
        key=np.array(surface.key(geometries[first])),
        positions=np.array([geometries[i].positions for i in range(first, last)]),
        **{name: np.array([getattr(p, name) for p in points]) for name in POINT_ARRAYS},
    )


def gather_hessian(
    settings: Settings, complex_id: str, state: str, optimised: Path, parts: list[Path], folder: Path, work: Path
) -> None:
    """Assemble the bundles: hessian.npz and hessian.json; the parent's are taken over where HS is stable in its group.

    Modes inside the noise floor, and only they, cost a few more gradients.

    Raises
    ------
    StaleData
        if a bundle belongs to another geometry, level or step
    WrongState
        if the undisplaced or a displaced SCF fell into another electronic state
    """
    source = files.read_json(optimised / "optimise.json")
    if _stable_parent(source, folder):
        take_over(folder.parents[1] / source["point_group"] / "vibrations", folder, ("hessian.json", "hessian.npz"))
        return
    _, molecule = optimised_molecule(settings, complex_id, optimised)
    *displaced, undisplaced = displacements.planned_geometries(molecule, settings.hessian.step)
    surface = displaced_surface(settings, complex_id, state, optimised)
    *points, centre = _points(parts, [*displaced, undisplaced], surface.key(undisplaced))
    require_same_state(source, surface.level.grid_level, centre.energy, centre.s_squared)
    found = force_constants.from_points(molecule, points, settings.hessian.step, centre)
    seconds = sum(point.seconds for point in (*points, centre))
    facts = {
        "displacements": len(points),
        "scf_cycles": sum(point.cycles for point in (*points, centre)),
        "gradient_max_hartree_per_bohr": float(np.abs(centre.gradient).max()),
        "surface_residual_hartree": displacements.require_one_surface(
            molecule, displaced, points, found.hessian, centre
        ),
        "settled_modes": settled_modes(molecule, found.hessian, surface, work),
    }
    provenance = hessian_provenance(optimised, source, seconds=seconds)
    _write_hessian(settings, complex_id, molecule, found, surface, provenance, facts, folder)


def _points(parts: list[Path], displaced: list[Molecule], key: str) -> list[Point]:
    """Read the points of all bundles, in the order of the displacements; StaleData if they are not these."""
    stored = [files.read_arrays(part) for part in parts]
    places = np.concatenate([part["positions"] for part in stored])
    planned = np.array([molecule.positions for molecule in displaced])
    same = places.shape == planned.shape and np.abs(places - planned).max() < displacements.SAME_GEOMETRY
    if not same or any(str(part["key"]) != key for part in stored):
        raise StaleData(
            f"{parts[0].parent} belongs to another geometry, level or step, or is not complete; remove it and plan.json"
        )
    columns = (np.concatenate([part[name] for part in stored]) for name in POINT_ARRAYS)
    return [Point(g, d, float(e), int(c), float(s), float(spin)) for g, d, e, c, s, spin in zip(*columns, strict=True)]


def compute_hessian(settings: Settings, complex_id: str, state: str, optimised: Path, folder: Path, work: Path) -> None:
    """Compute the Hessian of an optimised geometry in this process: hessian.npz and hessian.json."""
    source = files.read_json(optimised / "optimise.json")
    files.print_line(f"{complex_id} {state} {source['point_group']}: Hessian, {settings.hessian.method}")
    if _stable_parent(source, folder):
        gather_hessian(settings, complex_id, state, optimised, [], folder, work)
    elif settings.hessian.method == "analytic":
        _analytic_hessian(settings, complex_id, state, optimised, folder, work)
    else:
        plan_displacements(settings, complex_id, state, optimised, folder)
        plan, parts = folder / "plan.json", []
        for bundle in range(len(files.read_json(plan)["bundles"])):
            parts.append(folder / f"displacements/{bundle}.npz")
            compute_bundle(settings, complex_id, state, optimised, plan, bundle, parts[-1], work)
        gather_hessian(settings, complex_id, state, optimised, parts, folder, work)


def _analytic_hessian(
    settings: Settings, complex_id: str, state: str, optimised: Path, folder: Path, work: Path
) -> None:
    start = time.perf_counter()
    source, molecule = optimised_molecule(settings, complex_id, optimised)
    # On a GPU the grid moves with the atoms, as in displaced gradients, and needs what they need.
    near = surface_near if device.chosen(settings.level.device) == "cpu" else displaced_surface
    surface = near(settings, complex_id, state, optimised)

    def check(solution: electronic.Solution) -> None:
        """Raise WrongState if this is another state than that of the optimisation."""
        require_same_state(source, surface.level.grid_level, solution.energy, solution.s_squared)

    with checkpoints.locked(work):
        found = force_constants.analytic(molecule, surface, settings.hessian, folder=work / "analytic", check=check)
    facts = {"settled_modes": settled_modes(molecule, found.hessian, surface, work)}
    provenance = hessian_provenance(optimised, source, start - found.seconds_before)
    _write_hessian(settings, complex_id, molecule, found, surface, provenance, facts, folder)


def settled_modes(molecule: Molecule, hessian: Array, surface: Surface, work: Path) -> list[Json]:
    """Let a second step and a scan on a finer grid decide about every mode inside the noise floor."""
    found = vibrations.normal_modes(molecule, hessian)
    fine, rows = soft_modes.finer(surface), []

    def point(geometry: Molecule, name: str) -> Point:
        """Return gradient and energy of a geometry on the finer grid, kept under a name."""
        return displacements.kept_point(geometry, fine, work / "soft_modes", name, files.print_line)

    for mode in found.undetermined:
        files.print_line(f"  mode {mode + 1} at {found.wavenumbers[mode]:.1f} cm-1 is inside the noise floor")
        settled = soft_modes.settle(molecule, found.modes[:, mode], mode, point)
        facts = settled.facts(float(found.wavenumbers[mode]))
        rows.append({**facts, "scan_grid_level": fine.level.grid_level})
    return rows


def require_same_state(source: Json, grid_level: int, energy: float, s_squared: float | None = None) -> None:
    """Raise WrongState where an SCF at an optimised geometry is in another state than its optimisation.

    Parameters
    ----------
    source : optimise.json
    grid_level : of the SCF
    energy, s_squared : of the SCF, Eh; <S^2> is not compared without
    """
    before = source["energy_hartree"], source["s_squared"]
    own = source["provenance"]["level"]["grid_level"]
    other = SAME_STATE_OTHER_GRID if min(own, grid_level) >= 3 else np.inf
    allowed = electronic.SAME_STATE if own == grid_level else other
    other_spin = s_squared is not None and abs(s_squared - before[1]) > displacements.SAME_S_SQUARED
    if abs(energy - before[0]) > allowed or other_spin:
        spin = "" if s_squared is None else f", <S^2> {s_squared:.3f}"
        raise WrongState(
            f"the SCF before the Hessian ended at {energy:.6f} Eh{spin} on grid {grid_level}, the optimisation of "
            f"{source['provenance']['state']} at {before[0]:.6f} Eh, <S^2> {before[1]:.3f}: another electronic state; "
            "optimise again"
        )


def _stable_parent(source: Json, folder: Path) -> bool:
    """Tell whether the optimised structure is that of the parent group, which stands for HS without symmetry."""
    return bool(source["point_group"] != folder.parent.name)


def optimised_molecule(settings: Settings, complex_id: str, optimised: Path) -> tuple[Json, Molecule]:
    """Return optimise.json and the geometry beside it, exactly in its group."""
    source = files.read_json(optimised / "optimise.json")
    molecule = load_molecule(settings, complex_id, optimised / "geometry.xyz", source["point_group"])
    return source, molecule.symmetrised()


def surface_near(settings: Settings, complex_id: str, state: str, optimised: Path) -> Surface:
    """Return the surface of an optimised geometry, with the tight SCF thresholds of derivatives."""
    guess = checkpoints.load_orbitals(optimised / "orbitals.npz")
    return settings.hessian.surface(settings.level, settings.state(complex_id, state), guess)


def displaced_surface(settings: Settings, complex_id: str, state: str, optimised: Path) -> Surface:
    """Return where gradients are computed whose differences are taken."""
    guess = checkpoints.load_orbitals(optimised / "orbitals.npz")
    return settings.hessian.displaced_surface(settings.level, settings.state(complex_id, state), guess)


def hessian_provenance(optimised: Path, source: Json, start: float | None = None, seconds: float = 0.0) -> Json:
    """Return the provenance of what was computed from an optimised geometry since `start`, or in so many seconds."""
    inputs = {"optimise": optimised / "optimise.json", "geometry": optimised / "geometry.xyz"}
    used = seconds if start is None else time.perf_counter() - start
    return files.provenance(inputs, used, **state_facts(source["provenance"]))


def _write_hessian(
    settings: Settings, complex_id: str, molecule: Molecule, found: ForceConstants, surface: Surface,
    provenance: Json, facts: Json, folder: Path,
) -> None:  # fmt: skip
    arrays = {} if found.dipole_derivatives is None else {"dipole_derivatives": found.dipole_derivatives}
    files.write_arrays(
        folder / "hessian.npz", hessian=found.hessian, positions=molecule.positions, numbers=molecule.numbers,
        masses=molecule.masses, **arrays,
    )  # fmt: skip
    content = {
        "provenance": provenance | device.facts(found.device),
        "complex": complex_id,
        "method": asdict(settings.hessian),
        "grid_level": surface.level.grid_level,
        "grid_response": found.grid_response,
        "sum_rule_hartree_per_bohr2": found.sum_rule,
        **facts,
    }
    write_checked(folder / "hessian.json", content, "hessian")
