"""The stages that look at the vibrations of an optimised geometry: all of them, or the lowest of one irrep."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from spincross import cheap, displacements, files, force_constants, infrared, mode_entropy, probe, resources, vibrations
from spincross.config import Settings
from spincross.hessian_stages import displaced_surface, hessian_provenance, optimised_molecule
from spincross.schemas import write_checked
from spincross.stages import load_molecule, parent_group, state_facts

PROBED_MODES = 2
"""Modes of an irrep that a probe for instabilities looks for."""


def analyse_vibrations(settings: Settings, complex_id: str, state: str, optimised: Path, folder: Path) -> None:
    """Hessian -> vibrations.json, modes.npz, modes.molden."""
    start, source = time.perf_counter(), files.read_json(optimised / "optimise.json")
    stored, facts = files.read_arrays(folder / "hessian.npz"), files.read_json(folder / "hessian.json")
    molecule = load_molecule(settings, complex_id, optimised / "geometry.xyz", source["point_group"]).symmetrised()
    force_constants.check_geometry(stored, molecule, "hessian.npz")
    settled = {row["mode_index"]: row["verdict"] for row in facts.get("settled_modes", [])}
    found = replace(
        vibrations.normal_modes(molecule, stored["hessian"]),
        settled_imaginary=tuple(mode for mode, verdict in settled.items() if verdict == "imaginary"),
    )
    groups = vibrations.fragments(molecule, settings.entry(complex_id)["metal"])
    shares = vibrations.atom_fractions(found.modes)
    others = np.delete(found.wavenumbers, found.imaginary)
    real = others[others > 0]
    derivatives = stored.get("dipole_derivatives")
    inputs = {name: folder / name for name in ("hessian.npz", "hessian.json")}
    content = {
        "provenance": files.provenance(inputs, time.perf_counter() - start, **state_facts(facts["provenance"])),
        "hessian_origin": facts["provenance"]["origin"],
        "hessian_versions": facts["provenance"]["versions"],
        "hessian_wall_seconds": facts["provenance"]["wall_seconds"],
        "hessian_machine_class": facts["provenance"]["machine_class"],
        "complex": complex_id,
        "level": source["level"],
        "state": state,
        "point_group": source["point_group"],
        "multiplicity": source["multiplicity"],
        "energy_hartree": source["energy_hartree"],
        "method": facts["method"]["method"],
        "hessian_settings": _hessian_settings(facts),
        "wavenumbers_per_cm": found.wavenumbers,
        "irreps": list(found.irreps),
        "imaginary_modes": found.imaginary,
        "undetermined_modes": found.undetermined,
        "settled_modes": facts.get("settled_modes", []),
        "noise_floor_per_cm": found.noise_floor,
        "sum_rule_hartree_per_bohr2": facts["sum_rule_hartree_per_bohr2"],
        "translation_rule_hartree_per_bohr2": found.translation_residual,
        "rotation_rule_hartree_per_bohr2": found.rotation_residual,
        "reduced_masses_amu": vibrations.reduced_masses(molecule.masses, found.modes),
        "fragment_fractions": vibrations.fragment_shares(groups, shares),
        "parent_irrep_fractions": vibrations.parent_irrep_shares(
            molecule, found.modes, parent_group(settings, complex_id)
        ),
        "masses_amu": molecule.masses,
        "zero_point_energy_kJ_per_mol": mode_entropy.zero_point_energy(real),
        "modes_per_irrep": vibrations.modes_per_irrep(molecule),
        "infrared_intensities_km_per_mol": (
            None if derivatives is None else infrared.intensities(derivatives, molecule.masses, found.modes)
        ),
        "dipole_sum_rule_e": (None if derivatives is None else infrared.dipole_sum_rule(derivatives, molecule.charge)),
        "warnings": _mode_warnings(found, facts.get("settled_modes", [])),
    }
    files.write_arrays(folder / "modes.npz", modes=found.modes, wavenumbers=found.wavenumbers, masses=molecule.masses)
    with files.replacing(folder / "modes.molden") as temporary:
        temporary.write_text(vibrations.molden_text(molecule, found))
    write_checked(folder / "vibrations.json", content, "vibrations")


def probe_instability(
    settings: Settings, complex_id: str, state: str, irrep: str, optimised: Path, folder: Path, work: Path
) -> None:
    """Find the lowest modes of one irrep from tens of gradients: probe_{irrep}.json."""
    start = time.perf_counter()
    source, molecule = optimised_molecule(settings, complex_id, optimised)
    surface = displaced_surface(settings, complex_id, state, optimised)
    whole = len(displacements.plan_displacements(molecule, settings.hessian.step))
    probe.opposite_operation(molecule, irrep)  # refuses an irrep of another group before anything is computed
    probe.require_rotation(molecule, irrep)
    resources.report_shortage(molecule.symbols, settings.level, settings.config["memory_mb"], "C1")
    guess = cheap.gfn2_hessian(molecule, surface.state.multiplicity)
    work = work / irrep.replace("'", "1").replace('"', "2")
    found = probe.lowest_modes(molecule, irrep, guess, surface, work, settings.hessian.step, PROBED_MODES)
    wave, error = float(found.wavenumbers[0]), float(found.errors[0])
    text = (
        f"{state} in {source['point_group']} is {found.verdict} against distortions of irrep {irrep}: lowest mode "
        f"{abs(wave):.1f}{'i' if wave < 0 else ''} +- {error:.1f} cm-1, noise floor {found.noise_floor:.1f} cm-1, from "
        f"{found.gradients} gradients."
    )
    files.print_line(text)
    content = {
        "provenance": hessian_provenance(optimised, source, start),
        "complex": complex_id,
        "irrep": irrep,
        "wavenumbers_per_cm": found.wavenumbers,
        "error_bounds_per_cm": found.errors,
        "noise_floor_per_cm": found.noise_floor,
        "modes": found.modes.T,
        "gradients": found.gradients,
        "gradients_of_full_hessian": whole,
        "verdict": found.verdict,
        "text": text,
    }
    write_checked(folder / f"probe_{work.name}.json", content, "probe")


def _hessian_settings(facts: files.Json) -> files.Json:
    """Return how a Hessian was computed; records made before do not state their grid, the level's."""
    method = facts["method"]
    return {
        "step_bohr": method["step"],
        "grid_level": facts.get("grid_level", facts["provenance"]["level"]["grid_level"]),
        "grid_response": facts.get("grid_response", method["method"] == "finite differences"),
        "response_grid_level": method["response_grid_level"],
    }


def _mode_warnings(found: vibrations.Vibrations, settled: list[files.Json]) -> list[str]:
    inside = np.flatnonzero(np.abs(found.wavenumbers) <= found.noise_floor)
    says = {
        "real": "a second step and a scan say it is real, its wavenumber is uncertain",
        "imaginary": "a second step and a scan say it is imaginary",
        "undetermined": "a second step and a scan do not decide either: undetermined",
    }
    told = {row["mode_index"]: "; ".join(filter(None, (says[row["verdict"]], row.get("failure")))) for row in settled}
    alike: dict[str, list[int]] = {}
    for mode in inside.tolist():
        alike.setdefault(told.get(mode, "undetermined"), []).append(mode)
    return [
        f"{vibrations.within_floor(modes, found.wavenumbers, found.noise_floor)}: {text}"
        for text, modes in alike.items()
    ]
