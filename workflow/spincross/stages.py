"""The stages of the pipeline: each reads files, makes one call of the library, writes files.

Snakemake's scripts and the command line call the same functions. Paths of results follow the file contract
(`results/{complex}/{level}/{state}/{point_group}/{stage}/`); restart data lives in a work folder of its own.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spincross import (
    cheap,
    checkpoints,
    crystal,
    device,
    displacements,
    electronic,
    files,
    force_constants,
    group_optimizer,
    levels,
    optimise,
    pointgroup,
    populations,
    reference,
    relaxation,
    resources,
    starts,
    symmetry_mode,
    vibrations,
)
from spincross.config import Settings
from spincross.crystal_pair import crystal_facts
from spincross.description import describe
from spincross.displacements import Surface
from spincross.energy_scan import Walk
from spincross.errors import BadInput, BadStructure, CannotWrite, NotConverged
from spincross.files import Json
from spincross.levels import Level, State
from spincross.molecule import Molecule
from spincross.relaxation import Task
from spincross.schemas import write_checked
from spincross.starts import Start
from spincross.units import HARTREE_TO_KJ_PER_MOL

Array = NDArray[np.float64]


def load_molecule(settings: Settings, complex_id: str, xyz: Path, group: str) -> Molecule:
    """Read a geometry of a complex in a point group."""
    symbols, positions, _ = files.read_xyz(xyz)
    return Molecule(symbols, positions, settings.entry(complex_id)["charge"], group)


def extract_molecule(settings: Settings, complex_id: str, folder: Path) -> None:
    """CIF or XYZ -> molecule.xyz, molecule_high_spin.xyz, molecule.json; checks spin and basis before any SCF."""
    start = time.perf_counter()
    entry = settings.entry(complex_id)
    found = crystal.extract_molecule(complex_id, entry, settings.structures)
    levels.check_level(settings.level, found.low_spin.symbols)
    for name, molecule, state in (
        ("molecule", found.low_spin, "LS"),
        ("molecule_high_spin", found.high_spin, "HS"),
    ):
        comment = f"{complex_id} start of {state}, {entry['origin']}, {molecule.point_group} about z"
        files.write_xyz(folder / f"{name}.xyz", molecule.symbols, [molecule.positions], [comment])
    facts = files.provenance(
        settings.structure_files(complex_id), time.perf_counter() - start, converged=True, state=None, level=None
    )
    write_checked(folder / "molecule.json", {"provenance": facts, **found.facts}, "molecule")
    _tell_of_molecule(found.facts)


def _tell_of_molecule(facts: Json) -> None:
    """Print what was taken for the complex, and every doubt, before anything expensive."""
    lengths = " ".join(f"{bond['length']:.2f}" for bond in facts["bonds_angstrom"])
    metal = f", {facts['metal']} bonded at {lengths} angstrom" if facts["metal"] else ""
    files.print_line(
        f"{facts['complex']}: {facts['formula']}, {facts['atoms']} atoms, charge {facts['charge']:+d}, "
        f"{facts['point_group']}{metal}"
    )
    for text in facts["warnings"]:
        files.print_line(f"  {text}")


def compare_crystals(settings: Settings, complex_id: str, folder: Path) -> None:
    """LS and HS structure -> crystal.json: octahedra, and for two measured crystals cells, strain, reflections."""
    start = time.perf_counter()
    entry = settings.entry(complex_id)
    content = crystal_facts(complex_id, entry, crystal.extract_molecule(complex_id, entry, settings.structures))
    facts = files.provenance(
        settings.structure_files(complex_id), time.perf_counter() - start, converged=True, state=None, level=None
    )
    write_checked(folder / "crystal.json", {"provenance": facts, **content}, "crystal")


def optimise_parent(
    settings: Settings, complex_id: str, state: str, group: str, xyz: Path, folder: Path, work: Path
) -> None:
    """Optimise a state in the parent group from the extracted molecule."""
    molecule = load_molecule(settings, complex_id, xyz, group).symmetrised()
    spin = settings.state(complex_id, state)
    start = Start(molecule, spin, {"molecule": xyz}, hessian=start_hessian(settings, complex_id))
    optimise_from(settings, complex_id, start, folder, work)


def start_hessian(settings: Settings, complex_id: str) -> optimise.StartHessian | None:
    """Return how to get the optimiser's first Hessian; None (geomeTRIC's guess) for molecules without a metal."""

    def gfn2(molecule: Molecule, level: Level, state: State, guess: checkpoints.Orbitals) -> Array | None:
        """Return the GFN2 Hessian (3N, 3N), Eh/bohr2, or say why there is none."""
        try:
            return cheap.gfn2_hessian(molecule, state.multiplicity)
        except NotConverged as error:
            files.print_line(f"  starting from geomeTRIC's Hessian: {error}")
            return None

    def analytic(molecule: Molecule, level: Level, state: State, guess: checkpoints.Orbitals) -> Array:
        """Return the analytic Hessian (3N, 3N), Eh/bohr2, at the level it starts."""
        return force_constants.analytic_hessian(molecule, level, state, guess, settings.hessian).hessian

    if settings.entry(complex_id)["metal"] is None:
        return None
    return {"gfn2": gfn2, "analytic": analytic}.get(settings.config["optimisation"]["start_hessian"])


def optimise_broken(settings: Settings, complex_id: str, parent: Path, folder: Path, work: Path) -> None:
    """Relax HS without symmetry from the displaced geometry; where the parent is stable, its results stand for HS.

    Parameters
    ----------
    parent : results folder of HS in the parent group
    """
    mode = files.read_json(parent / "symmetry_mode/scan.json")
    if not mode["broken"]:
        source = parent / "optimise"
        take_over(source, folder, (*reference.STAGE_FILES["optimise"], *reference.extra_files(source, "optimise")))
        return
    displaced = parent / "symmetry_mode/displaced.xyz"
    molecule = load_molecule(settings, complex_id, displaced, "C1")
    hessian = files.read_arrays(parent / "vibrations/hessian.npz")["hessian"]
    guess = checkpoints.load_orbitals(parent / "symmetry_mode/orbitals.npz")
    inputs = {"displaced": displaced, "parent_hessian": parent / "vibrations/hessian.npz"}
    energy = mode["scan_energy_hartree"][mode["scan_q_amu_half_angstrom"].index(mode["start_q_amu_half_angstrom"])]
    start = Start(molecule, settings.state(complex_id, "HS"), inputs, guess, hessian, energy)
    optimise_from(settings, complex_id, start, folder, work)


def take_over(parent: Path, folder: Path, names: tuple[str, ...]) -> None:
    """Copy results of the parent group; MissingInput if one is not there."""
    for source in [files.present(parent / name) for name in names]:
        with files.replacing(folder / source.name) as temporary:
            temporary.write_bytes(source.read_bytes())


def _tell_of_the_hessian(settings: Settings, molecule: Molecule, state: State) -> None:
    """Say before the optimisation why the Hessian that follows cannot be had: no room, or no plan of displacements."""
    try:
        if settings.hessian.method != "analytic":
            displacements.plan_displacements(molecule, settings.hessian.step)
        elif device.chosen(settings.level.device) == "cpu":
            electronic.require_hessian_room(molecule, settings.level, state, settings.hessian.max_memory)
    except (BadInput, BadStructure, CannotWrite) as error:
        files.print_line(f"  after this, {error}")


def optimise_from(settings: Settings, complex_id: str, usual: Start, folder: Path, work: Path) -> None:
    """Optimise a state in the group of its start, or of what a left saddle keeps; write geometry, optimise.json, ..."""
    start = starts.below_a_saddle(usual, settings.level, work.parent)
    state = start.state
    molecule = start.molecule
    files.print_line(f"{complex_id} {state.name} {molecule.point_group}: {len(molecule.symbols)} atoms")
    resources.report_shortage(molecule.symbols, settings.level, settings.config["memory_mb"], molecule.point_group)
    _tell_of_the_hessian(settings, molecule, state)
    metal, limits = settings.entry(complex_id)["metal"], settings.config["gates"]
    task = Task(molecule, settings.level, state, metal, limits, settings.optimisation, work, start.energy)
    result, report = relaxation.relax(task, start.guess, start.hessian)
    report["warnings"] = [*start.warnings, *report["warnings"]]
    facts = files.provenance(
        start.inputs,
        sum(step["seconds"] for step in result.steps),
        level=settings.named_level(),
        **device.facts(result.solution.device),
        state=state.name,
        multiplicity=state.multiplicity,
        point_group=molecule.point_group,
        converged=True,
    )
    content = {
        "provenance": facts,
        "complex": complex_id,
        "convergence": group_optimizer.criterion(settings.optimisation.convergence),
        **describe(result, state, metal, settings.level),
        **report,
    }
    comment = f"{complex_id} {state.name} {molecule.point_group} {result.solution.energy:.8f} Eh"
    files.write_xyz(folder / "geometry.xyz", molecule.symbols, [result.molecule.positions], [comment])
    frames = [np.array(step["positions_bohr"]) for step in result.steps]
    notes = [f"step {i} {step['energy_hartree']:.8f} Eh" for i, step in enumerate(result.steps)]
    files.write_xyz(folder / "trajectory.xyz", molecule.symbols, frames, notes)
    checkpoints.store_orbitals(folder / "orbitals.npz", result.solution.orbitals)
    populations.write_molden(folder / "orbitals.molden", result.solution, result.molecule)
    write_checked(folder / "optimise.json", content, "optimise")


def state_facts(provenance: Json) -> Json:
    """Return what a later stage says about the state it works on."""
    return {k: provenance[k] for k in ("level", "state", "multiplicity", "point_group", "converged")}


def load_vibrations(folder: Path) -> vibrations.Vibrations:
    """Read what `analyse_vibrations` wrote."""
    content, arrays = files.read_json(folder / "vibrations.json"), files.read_arrays(folder / "modes.npz")
    return vibrations.Vibrations(
        arrays["wavenumbers"],
        tuple(content["irreps"]),
        arrays["modes"],
        content["translation_rule_hartree_per_bohr2"],
        content["rotation_rule_hartree_per_bohr2"],
        content["noise_floor_per_cm"],
        tuple(r["mode_index"] for r in content.get("settled_modes", []) if r["verdict"] == "imaginary"),
    )


def follow_symmetry_mode(settings: Settings, complex_id: str, parent: Path, folder: Path, work: Path) -> None:
    """Find the breaking mode of the HS parent, scan the energy along it.

    Writes scan.json, scan.tsv, displaced.xyz and its orbitals.npz. Each point is kept in `work` as it finishes; the
    time in scan.json is that of all points, whenever they were computed.
    """
    seconds = 0.0
    source = files.read_json(parent / "optimise/optimise.json")
    group = source["point_group"]
    molecule = load_molecule(settings, complex_id, parent / "optimise/geometry.xyz", group).symmetrised()
    found = load_vibrations(parent / "vibrations")
    index = symmetry_mode.breaking_mode(found, group, complex_id)
    inputs = {"vibrations": parent / "vibrations/vibrations.json", "geometry": parent / "optimise/geometry.xyz"}
    content: Json = {
        "complex": complex_id,
        "broken": index is not None,
        "mode_index": index,
        "parent_energy_hartree": source["energy_hartree"],
        "scan_q_amu_half_angstrom": [],
        "scan_energy_hartree": [],
        "start_q_amu_half_angstrom": None,
    }
    moved, orbitals = molecule, checkpoints.load_orbitals(parent / "optimise/orbitals.npz")
    if index is not None:
        surface = Surface(settings.level, settings.state(complex_id, "HS"), orbitals, settings.config["memory_mb"])
        walk = Walk(molecule, surface, settings.config["gates"], work, files.print_line)
        points = int(settings.config["symmetry_mode"]["scan_points"])
        with checkpoints.locked(work):
            wavenumber = float(found.wavenumbers[index])
            scan = symmetry_mode.scan(molecule, found.modes[:, index], wavenumber, walk.energy, points)
        content["scan_q_amu_half_angstrom"], content["scan_energy_hartree"] = scan.coordinates, scan.energies
        content["scan_asymmetry_hartree"] = scan.asymmetry
        content["warnings"] = scan.doubts(source["energy_hartree"]) + walk.doubts
        content["start_q_amu_half_angstrom"] = float(scan.coordinates[scan.start])
        moved = symmetry_mode.displaced(molecule, found.modes[:, index], content["start_q_amu_half_angstrom"])
        orbitals, seconds = walk.orbitals(scan.names[scan.start]), sum(walk.seconds)
    rows = zip(content["scan_q_amu_half_angstrom"], content["scan_energy_hartree"], strict=True)
    files.write_xyz(folder / "displaced.xyz", moved.symbols, [moved.positions], [f"{complex_id} HS start of C1"])
    checkpoints.store_orbitals(folder / "orbitals.npz", orbitals)
    table = [{"q_amu_half_angstrom": f"{q:.6f}", "energy_hartree": f"{e:.9f}"} for q, e in rows]
    files.write_table(folder / "scan.tsv", table or [{"q_amu_half_angstrom": "", "energy_hartree": ""}])
    facts = state_facts(files.read_json(parent / "vibrations/vibrations.json")["provenance"])
    write_checked(folder / "scan.json", {"provenance": files.provenance(inputs, seconds, **facts), **content}, "scan")


def assess_symmetry_mode(settings: Settings, complex_id: str, parent: Path, broken: Path, folder: Path) -> None:
    """Scan and relaxed HS -> mode.json: wavenumber, irrep, energy lowering, overlap, in words too; animation.xyz."""
    start = time.perf_counter()
    scanned = files.read_json(folder / "scan.json")
    parent_result, relaxed = (files.read_json(p / "optimise/optimise.json") for p in (parent, broken))
    found = load_vibrations(parent / "vibrations")
    group = parent_result["point_group"]
    molecule = load_molecule(settings, complex_id, parent / "optimise/geometry.xyz", group)
    content: Json = {key: scanned[key] for key in scanned if key != "provenance"} | {
        "level": parent_result["level"],
        "parent_group": group,
        "wavenumber_per_cm": None,
        "irrep": None,
        "energy_lowering_kJ_per_mol": 0.0,
        "scan_minimum_kJ_per_mol": 0.0,
        "scan_asymmetry_hartree": 0.0,
        "q_at_minimum_amu_half_angstrom": 0.0,
        "atom_fraction": [],
        "overlap_with_relaxed_distortion": None,
        "breaking_share_of_distortion": None,
        "distortion_within_group_kJ_per_mol": None,
        "distortion_breaking_kJ_per_mol": None,
        "text": f"HS in {group} has no imaginary mode beyond the noise floor of {found.noise_floor:.1f} cm-1.",
    }
    frames = [molecule.positions]
    if scanned["broken"]:
        mode, amplitude = found.modes[:, scanned["mode_index"]], scanned["start_q_amu_half_angstrom"]
        frames = symmetry_mode.animation(molecule, mode, amplitude)
        after = load_molecule(settings, complex_id, broken / "optimise/geometry.xyz", "C1")
        settled = files.read_json(parent / "vibrations/vibrations.json")["settled_modes"]
        waves = {r["mode_index"]: r["scan_wavenumber_per_cm"] for r in settled if r["verdict"] == "imaginary"}
        content |= _broken_facts(scanned, found, waves, molecule, after, parent_result, relaxed)
    notes = [f"{complex_id} HS along Q, frame {k + 1} of {len(frames)}" for k in range(len(frames))]
    files.write_xyz(folder / "animation.xyz", molecule.symbols, frames, notes)
    inputs = {"scan": folder / "scan.json", "relaxed": broken / "optimise/optimise.json"}
    facts = files.provenance(inputs, time.perf_counter() - start, **state_facts(scanned["provenance"]))
    of_scan = {f"scan_{key}": scanned["provenance"][key] for key in ("origin", "wall_seconds", "machine_class")}
    write_checked(folder / "mode.json", {"provenance": facts, **of_scan, **content}, "mode")


def _broken_facts(
    scanned: Json, found: vibrations.Vibrations, scanned_waves: dict[int, float], parent: Molecule, relaxed: Molecule,
    before: Json, after: Json,
) -> Json:  # fmt: skip
    """Return what mode.json says of a broken group.

    Parameters
    ----------
    scanned_waves : wavenumbers (cm-1) of the modes inside the noise floor, by index, as a larger scan found them
    """
    index = scanned["mode_index"]
    scan = symmetry_mode.Scan(np.array(scanned["scan_q_amu_half_angstrom"]), np.array(scanned["scan_energy_hartree"]))
    at_minimum, depth = scan.double_well()
    lowering = (before["energy_hartree"] - after["energy_hartree"]) * HARTREE_TO_KJ_PER_MOL
    wavenumber, irrep = scanned_waves.get(index, float(found.wavenumbers[index])), found.irreps[index]
    share = symmetry_mode.breaking_share(parent, relaxed)
    within, breaking = symmetry_mode.harmonic_parts(parent, relaxed, found)
    ends = f"{abs(lowering):.2f} kJ/mol {'lower' if lowering > 0 else 'higher'}"
    return {
        "wavenumber_per_cm": wavenumber,
        "irrep": irrep,
        "energy_lowering_kJ_per_mol": lowering,
        "scan_minimum_kJ_per_mol": depth,
        "scan_asymmetry_hartree": scanned.get("scan_asymmetry_hartree", scan.asymmetry),
        "warnings": scanned.get("warnings", []) + _not_lower(before, after),
        "q_at_minimum_amu_half_angstrom": at_minimum,
        "atom_fraction": vibrations.atom_fractions(found.modes[:, [index]])[:, 0],
        "overlap_with_relaxed_distortion": symmetry_mode.distortion_overlap(parent, relaxed, found.modes[:, index]),
        "breaking_share_of_distortion": share,
        "distortion_within_group_kJ_per_mol": within,
        "distortion_breaking_kJ_per_mol": breaking,
        "text": (
            f"HS breaks {before['point_group']} along a mode of irrep {irrep} at {abs(wavenumber):.1f}i cm-1 "
            f"and ends {ends}; {100 * share:.0f} % of the distortion breaks the symmetry."
        ),
    }


def _not_lower(before: Json, after: Json) -> list[str]:
    """Return a sentence where HS without symmetry does not lie below the parent."""
    gain = before["energy_hartree"] - after["energy_hartree"]
    if gain > symmetry_mode.LOWER:
        return []
    return [
        f"relaxed without symmetry HS ends at the parent's energy ({-gain * HARTREE_TO_KJ_PER_MOL:+.4f} kJ/mol): "
        "nothing is gained by breaking it, and the imaginary mode is in doubt"
    ]


def parent_group(settings: Settings, complex_id: str) -> str:
    """Return the parent point group of a complex; BadInput if it is not supported."""
    group = str(settings.entry(complex_id)["point_group"])
    if group not in pointgroup.OPERATIONS:
        raise BadInput(f"{complex_id}, point_group: {group!r} is not supported; use {', '.join(pointgroup.OPERATIONS)}")
    return group
