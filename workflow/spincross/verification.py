"""Recomputing what the reference records hold: energies and gradients, and modes of the Hessians.

A recorded Hessian is tested along its own normal modes: displaced gradients give the curvature along each, whatever
route the record came by. Elements of Hessians by two routes differ by what a grid that does not turn with the molecule
makes of them; wavenumbers say what that means.
"""

from __future__ import annotations

import shutil
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spincross import checkpoints, displacements, files, pointgroup, probe, reference, vibrations
from spincross.config import Settings
from spincross.displacements import Surface
from spincross.errors import BadInput, Unreproduced
from spincross.files import Json
from spincross.levels import Level, State
from spincross.molecule import Molecule
from spincross.schemas import write_checked
from spincross.vibrations import Vibrations

Array = NDArray[np.float64]

ENERGY_TOLERANCE = 1e-6
"""Largest difference (Eh) between a recorded and a recomputed energy."""
GRADIENT_TOLERANCE = 1e-5
"""Largest difference (Eh/bohr) between elements of a recorded and a recomputed gradient."""
WAVENUMBER_TOLERANCE = 2.0
"""Largest difference (cm-1), from SOFT on, between a recorded wavenumber and that of displaced gradients."""
SOFT = 100.0
"""Wavenumber (cm-1) below which the noise floor of the record is the tolerance."""
MODES = 3
"""Modes tested per Hessian."""
SMALLER = 0.1
"""Part of the step with which a mode that misses is tested again. A Hessian is the limit of small steps, and along a
mode that mixes two electronic states the energy is no parabola even within 0.003 angstrom."""
LARGE = 60
"""Most atoms with which high spin is recomputed, too: beyond, a CPU takes hours for one of its gradients."""


def verify_reference(settings: Settings, output: Path, work: Path) -> None:
    """Recompute, on the CPU, energy, gradient and modes of every usable record of the level, of all complexes.

    Parameters
    ----------
    work : keeps finished gradients, so that a killed run goes on; removed when all is done

    Raises
    ------
    Unreproduced
        if one differs by more than its tolerance; the report is written before
    """
    known = [name for name in settings.complexes if (settings.structures / "reference" / name).is_dir()]
    whole = replace(settings, config=settings.config | {"complexes": known})
    rows: list[Json] = []
    inputs: dict[str, Path] = {}
    start = time.perf_counter()
    for complex_id, state, group, stage in reference.available(whole):
        molecule = _recorded(whole, complex_id, state, group)
        if len(molecule.symbols) > LARGE and state != "LS":
            continue
        kept = work / complex_id / state / group
        if stage == "optimise":
            rows.append(verify_point(whole, complex_id, state, group, kept))
        elif stage == "vibrations":
            rows.append(verify_hessian(whole, complex_id, state, group, kept))
        else:
            continue
        place = reference.folder(whole, complex_id, state, group, stage)
        names = reference.STAGE_FILES[stage]
        inputs |= {f"{complex_id}/{state}/{group}/{stage}/{name}": place / name for name in names}
        files.print_line(f"{complex_id} {state} {group} {stage}: {rows[-1]['text']}")
    if not rows:
        raise BadInput(
            f"no reference record of level {whole.level_name!r} fits the structures and entries as they are now: "
            "nothing was verified"
        )
    facts = files.provenance(
        inputs, time.perf_counter() - start, level=whole.named_level(), device="cpu", converged=True
    )
    write_checked(output, {"provenance": facts, "records": rows}, "verify_reference")
    shutil.rmtree(work, ignore_errors=True)  # the next run computes again
    wrong = [f"{row['complex']} {row['state']} {row['point_group']}: {row['text']}" for row in rows if not row["same"]]
    if wrong:
        raise Unreproduced("recorded numbers that this machine does not get again: " + "; ".join(wrong))


def _recorded(settings: Settings, complex_id: str, state: str, group: str) -> Molecule:
    """Return the recorded geometry; in the group it was optimised in."""
    place = reference.folder(settings, complex_id, state, group, "optimise")
    symbols, positions, _ = files.read_xyz(place / "geometry.xyz")
    imposed = files.read_json(place / "optimise.json")["point_group"]
    return Molecule(symbols, positions, settings.entry(complex_id)["charge"], imposed).symmetrised()


def _on_cpu(settings: Settings, complex_id: str, state: str, group: str) -> tuple[Level, State, checkpoints.Orbitals]:
    place = reference.folder(settings, complex_id, state, group, "optimise")
    level, spin = replace(settings.level, device="cpu"), settings.state(complex_id, state)
    return level, spin, checkpoints.load_orbitals(place / "orbitals.npz")


def verify_point(settings: Settings, complex_id: str, state: str, group: str, work: Path) -> Json:
    """Recompute energy and gradient at a recorded geometry; differences in Eh and Eh/bohr."""
    record = files.read_json(reference.folder(settings, complex_id, state, group, "optimise") / "optimise.json")
    surface = Surface(*_on_cpu(settings, complex_id, state, group), settings.config["memory_mb"])
    molecule = _recorded(settings, complex_id, state, group)
    point = displacements.kept_point(molecule, surface, work, "optimised", files.print_line)
    energy, slope = point.energy - record["energy_hartree"], _gradient_difference(record, point.gradient)
    return {
        "complex": complex_id,
        "state": state,
        "point_group": group,
        "energy_difference_hartree": energy,
        "gradient_difference_hartree_per_bohr": slope,
        "same": abs(energy) <= ENERGY_TOLERANCE and abs(slope) <= GRADIENT_TOLERANCE,
        "text": f"energy differs by {energy:.1e} Eh, gradient by {slope:.1e} Eh/bohr",
    }


def _gradient_difference(record: Json, gradient: Array) -> float:
    """Return the largest difference of an element, Eh/bohr; of the largest elements where a record holds no more."""
    if "gradient_hartree_per_bohr" in record:
        return float(np.abs(gradient - np.array(record["gradient_hartree_per_bohr"])).max())
    return float(np.abs(gradient).max() - record["gradient_max_hartree_per_bohr"])


def verify_hessian(settings: Settings, complex_id: str, state: str, group: str, work: Path) -> Json:
    """Compare MODES wavenumbers of a recorded Hessian with displaced gradients along their modes, cm-1."""
    reference.check_hessian(settings, complex_id, state, group)
    place = reference.folder(settings, complex_id, state, group, "vibrations")
    molecule = _recorded(settings, complex_id, state, group)
    recorded = vibrations.normal_modes(molecule, files.read_arrays(place / "hessian.npz")["hessian"])
    surface = settings.hessian.displaced_surface(*_on_cpu(settings, complex_id, state, group))
    modes = tested_modes(recorded, pointgroup.irreps(molecule.point_group)[-1])
    steps = np.full(len(modes), settings.hessian.step)
    found, expected = along_modes(molecule, recorded, modes, surface, work, steps[0]), recorded.wavenumbers[modes]
    allowed = np.where(np.abs(expected) >= SOFT, WAVENUMBER_TOLERANCE, recorded.noise_floor)
    for k in np.flatnonzero((np.abs(found - expected) > allowed) & (np.abs(expected) >= SOFT)):
        steps[k] *= SMALLER
        found[k] = along_modes(molecule, recorded, [modes[k]], surface, work, steps[k])[0]
    pairs = ", ".join(
        f"{a:.1f} ({b:.1f})" + (f" with {s:g} bohr" if s < steps.max() else "")
        for a, b, s in zip(found, expected, steps, strict=True)
    )
    return {
        "complex": complex_id,
        "state": state,
        "point_group": group,
        "wavenumbers_per_cm": expected,
        "recomputed_wavenumbers_per_cm": found,
        "allowed_differences_per_cm": allowed,
        "steps_bohr": steps,
        "same": bool(np.all(np.abs(found - expected) <= allowed)),
        "text": f"modes at {pairs} cm-1 by displaced gradients (recorded)",
    }


def tested_modes(recorded: Vibrations, irrep: str) -> list[int]:
    """Return indices of MODES modes of an irrep outside the noise floor, from the lowest to the highest."""
    settled = [i for i, name in enumerate(recorded.irreps) if name == irrep and i not in recorded.undetermined]
    places = np.linspace(0, len(settled) - 1, min(MODES, len(settled))).round().astype(int)
    return [settled[k] for k in places]


def along_modes(
    molecule: Molecule, recorded: Vibrations, modes: list[int], surface: Surface, work: Path, step: float
) -> Array:
    """Return wavenumbers (m,), cm-1, of displaced gradients along modes of one irrep, the group's last.

    One gradient a mode where an operation of the group reverses it, two otherwise, and one at the geometry itself.
    The step (bohr) is that of the atom that moves most.
    """
    irrep = pointgroup.irreps(molecule.point_group)[-1]
    basis, opposite = vibrations.internal_basis(molecule)[irrep], probe.opposite_operation(molecule, irrep)
    centre = displacements.kept_point(
        molecule.at(molecule.positions, "C1"), surface, work, "undisplaced", files.print_line
    )
    folder = work / f"step_{step:g}"
    product = probe.HessianProducts(molecule, basis, opposite, surface, centre, folder, step, files.print_line)
    vectors = [basis.T @ recorded.modes[:, mode] for mode in modes]
    return probe.to_wavenumbers(np.array([vector @ product(vector) for vector in vectors]))
