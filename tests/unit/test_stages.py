"""Stages write what the next one reads, a stable parent stands for HS, and a killed scan loses one point at most."""

import os
import shutil
import signal
import subprocess
import sys
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import sample_gpu
from sample_h2co import H2CO
from sample_provenance import LEVEL
from spincross import (
    cheap,
    checkpoints,
    conclusions,
    config,
    device,
    electronic,
    files,
    force_constants,
    hessian_stages,
    job,
    stages,
    vibration_stages,
    vibrations,
)
from spincross.errors import BadInput, MissingInput, NotConverged, StaleData, Stopped, UnexpectedImaginaryMode

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def settings():
    content = config.read_yaml(ROOT / "workflow/config/config.yaml") | {"complexes": ["h2co"]}
    return config.load(content, ROOT / "structures")


def test_a_stable_parent_stands_for_hs_with_its_hessian(settings, tmp_path):
    parent, broken = tmp_path / "HS/C2", tmp_path / "HS/C1"
    files.write_json(parent / "symmetry_mode/scan.json", {"broken": False})
    for name in ("geometry.xyz", "trajectory.xyz", "orbitals.npz"):
        (parent / "optimise").mkdir(exist_ok=True)
        (parent / "optimise" / name).write_text(name)
    files.write_json(parent / "optimise/optimise.json", {"point_group": "C2"})
    files.write_json(parent / "vibrations/hessian.json", {"from": "parent"})
    (parent / "vibrations/hessian.npz").write_bytes(b"parent")
    stages.optimise_broken(settings, "h2co", parent, broken / "optimise", tmp_path / "work")
    hessian_stages.compute_hessian(
        settings, "h2co", "HS", broken / "optimise", broken / "vibrations", tmp_path / "work"
    )
    assert files.read_json(broken / "optimise/optimise.json") == {"point_group": "C2"}
    assert (broken / "vibrations/hessian.npz").read_bytes() == b"parent"
    assert not (tmp_path / "work").exists()


def test_without_an_imaginary_mode_the_chain_says_so_and_the_rest_goes_on(small_settings, parent, solves, tmp_path):
    stable = tmp_path / "HS/C2"
    shutil.copytree(parent, stable)
    arrays = files.read_arrays(stable / "vibrations/modes.npz") | {"wavenumbers": np.array([600.0])}
    files.write_arrays(stable / "vibrations/modes.npz", **arrays)
    facts = files.read_json(stable / "optimise/optimise.json")
    files.write_json(stable / "optimise/optimise.json", facts | {"level": small_settings.level.theory()})
    (stable / "optimise/trajectory.xyz").write_text("")
    folder, broken = stable / "symmetry_mode", tmp_path / "HS/C1"
    stages.follow_symmetry_mode(small_settings, "h2co", stable, folder, tmp_path / "work")
    stages.optimise_broken(small_settings, "h2co", stable, broken / "optimise", tmp_path / "work")
    stages.assess_symmetry_mode(small_settings, "h2co", stable, broken, folder)
    assert solves == []
    found = files.read_json(folder / "mode.json")
    assert found["text"] == "HS in C2 has no imaginary mode beyond the noise floor of 1.0 cm-1."
    assert (found["broken"], found["mode_index"], found["energy_lowering_kJ_per_mol"]) == (False, None, 0.0)
    assert (broken / "optimise/geometry.xyz").read_text() == (stable / "optimise/geometry.xyz").read_text()


def test_a_mode_inside_the_noise_has_the_wavenumber_of_its_scan(settings, tmp_path):
    """And not what the Hessian gives it, whose sign is noise."""
    job.recall(settings, "h2co", tmp_path)
    states = tmp_path / "h2co/pbe0_def2-svp/HS"
    parent, folder = states / "C2", states / "C2/symmetry_mode"
    vibration_stages.analyse_vibrations(settings, "h2co", "HS", parent / "optimise", parent / "vibrations")
    stages.assess_symmetry_mode(settings, "h2co", parent, states / "C1", folder)
    own = files.read_json(folder / "mode.json")["wavenumber_per_cm"]
    assert own < -600
    path = parent / "vibrations/vibrations.json"
    row = {"mode_index": 0, "verdict": "imaginary", "scan_wavenumber_per_cm": -7.5}
    files.write_json(path, files.read_json(path) | {"settled_modes": [row]})
    stages.assess_symmetry_mode(settings, "h2co", parent, states / "C1", folder)
    found = files.read_json(folder / "mode.json")
    assert found["wavenumber_per_cm"] == -7.5
    assert "at 7.5i cm-1" in found["text"]


def choose(settings, start_hessian):
    content = settings.config | {"optimisation": settings.config["optimisation"] | {"start_hessian": start_hessian}}
    return replace(settings, config=content)


def test_the_first_hessian_is_the_one_asked_for_and_its_failure_only_costs_time(settings, monkeypatch, capsys):
    calls = []
    monkeypatch.setattr(cheap, "gfn2_hessian", lambda molecule, multiplicity: calls.append(multiplicity) or "cheap")
    monkeypatch.setattr(
        force_constants, "analytic_hessian", lambda *arguments: force_constants.ForceConstants("exact", 0.0)
    )
    state = settings.state("fe-aai2-ncs2", "HS")
    arguments = H2CO, settings.level, state, None
    made = {name: stages.start_hessian(choose(settings, name), "fe-aai2-ncs2") for name in ("gfn2", "analytic")}
    assert [made[name](*arguments) for name in made] == ["cheap", "exact"]
    assert calls == [5]
    assert stages.start_hessian(choose(settings, "guess"), "fe-aai2-ncs2") is None
    assert stages.start_hessian(settings, "h2co") is None

    def fails(molecule, multiplicity):
        raise NotConverged("tblite is not installed")

    monkeypatch.setattr(cheap, "gfn2_hessian", fails)
    assert made["gfn2"](*arguments) is None
    assert "starting from geomeTRIC's Hessian: tblite is not installed" in capsys.readouterr().out


def test_nothing_is_taken_over_from_a_parent_that_is_not_complete(tmp_path):
    (tmp_path / "parent").mkdir()
    (tmp_path / "parent/hessian.json").write_text("{}")
    with pytest.raises(MissingInput, match=r"parent/hessian\.npz is not there"):
        stages.take_over(tmp_path / "parent", tmp_path / "own", ("hessian.json", "hessian.npz"))
    assert not (tmp_path / "own").exists()


def test_no_entropy_is_computed_from_a_saddle(settings, tmp_path):
    content = {
        "provenance": {"point_group": "C2"},
        "irreps": ["B"],
        "translation_rule_hartree_per_bohr2": 0.0,
        "rotation_rule_hartree_per_bohr2": 0.0,
        "noise_floor_per_cm": 1.0,
    }
    files.write_json(tmp_path / "vibrations.json", content)
    files.write_arrays(tmp_path / "modes.npz", modes=np.ones((3, 1)), wavenumbers=np.array([-40.0]))
    path = tmp_path / "vibrations.json"
    with pytest.raises(UnexpectedImaginaryMode, match=r"h2co LS has imaginary modes at -40\.0 cm-1 \(B\)"):
        conclusions.compute_entropy(settings, "h2co", path, path, path, tmp_path / "out")


@pytest.mark.parametrize("used", ["gpu", "cpu"])
def test_an_optimisation_says_the_device_that_it_ended_on(small_settings, monkeypatch, tmp_path, used):
    sample_gpu.installed(monkeypatch, [])
    content = deepcopy(small_settings.config)
    content["levels"][content["level"]]["device"] = "gpu"
    content["optimisation"] |= {"coarse_grid_level": 0, "convergence": "GAU_LOOSE"}
    if used == "cpu":  # as after a GPU whose memory ran out
        monkeypatch.setattr(device, "with_fallback", lambda requested, work: work(device.CPU))
    files.write_xyz(tmp_path / "start.xyz", H2CO.symbols, [H2CO.positions], [""])
    arguments = "h2co", "LS", "C2", tmp_path / "start.xyz", tmp_path / "out", tmp_path / "work"
    stages.optimise_parent(replace(small_settings, config=content), *arguments)
    found = files.read_json(tmp_path / "out/optimise.json")["provenance"]
    assert (found["device"], found.get("gpu")) == (used, "Stand-in 1" if used == "gpu" else None)
    assert ("cupy" in found["versions"]) == (used == "gpu")


POINTS = 7
"""Computed by a scan of three points a side and, as the energy falls, one more: a side, Q = 0 twice, an image."""


@pytest.fixture(scope="module")
def parent(small_settings, tmp_path_factory):
    """Results of triplet formaldehyde in C2, with a made-up imaginary mode: both hydrogens out of the plane."""
    folder = tmp_path_factory.mktemp("parent") / "HS/C2"
    solution = electronic.solve(H2CO, small_settings.level, small_settings.state("h2co", "HS"))
    checkpoints.store_orbitals(folder / "optimise/orbitals.npz", solution.orbitals)
    files.write_xyz(folder / "optimise/geometry.xyz", H2CO.symbols, [H2CO.positions], [""])
    files.write_json(folder / "optimise/optimise.json", {"point_group": "C2", "energy_hartree": solution.energy})
    basis = vibrations.internal_basis(H2CO)["B"]
    mode = basis @ basis[[7, 10]].sum(axis=0)
    facts = {"level": LEVEL, "state": "HS", "multiplicity": 3, "point_group": "C2", "converged": True}
    rules = {"translation_rule_hartree_per_bohr2": 0.0, "rotation_rule_hartree_per_bohr2": 0.0}
    content = {"provenance": facts, "irreps": ["B"], "noise_floor_per_cm": 1.0, **rules}
    files.write_json(folder / "vibrations/vibrations.json", content)
    arrays = {"modes": mode[:, None] / np.linalg.norm(mode), "wavenumbers": np.array([-600.0])}
    files.write_arrays(folder / "vibrations/modes.npz", **arrays)
    return folder


def follow(settings, parent, work):
    """Run the stage into the work folder's own results; return what the scan found."""
    stages.follow_symmetry_mode(settings, "h2co", parent, work / "results", work / "scan")
    return files.read_json(work / "results/scan.json")


@pytest.fixture(scope="module")
def scanned(small_settings, parent, tmp_path_factory):
    work = tmp_path_factory.mktemp("scanned")
    return work, follow(small_settings, parent, work)


@pytest.fixture
def solves(monkeypatch):
    """Every SCF from here on, by its geometry."""
    solve, calls = electronic.solve, []

    def counted(molecule, *arguments, **options):
        calls.append(molecule.positions)
        return solve(molecule, *arguments, **options)

    monkeypatch.setattr(electronic, "solve", counted)
    return calls


def same_scan(one, other):
    assert one["scan_q_amu_half_angstrom"] == other["scan_q_amu_half_angstrom"]
    assert one["scan_energy_hartree"] == pytest.approx(other["scan_energy_hartree"], abs=1e-8)


KILLED = """
import os, signal, sys
from pathlib import Path
import sample_settings, test_stages
from spincross import electronic

solve, calls = electronic.solve, []

def deadly(*arguments):
    calls.append(solve(*arguments))
    if len(calls) == int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)
    return calls[-1]

electronic.solve = deadly
test_stages.follow(sample_settings.small_settings(), *map(Path, sys.argv[1:3]))
"""


@pytest.mark.parametrize("moment", [2, POINTS])
def test_a_scan_killed_at_a_point_computes_that_point_again_and_no_other(
    small_settings, parent, scanned, solves, tmp_path, moment
):
    folders = os.pathsep.join([str(ROOT / "workflow"), str(ROOT / "tests/unit")])
    command = [sys.executable, "-c", KILLED, str(parent), str(tmp_path), str(moment)]
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": folders}, capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr[-2000:]
    assert not (tmp_path / "results").exists()
    found = follow(small_settings, parent, tmp_path)
    assert len(solves) == POINTS - (moment - 1)
    same_scan(found, scanned[1])


def test_a_scan_stopped_in_time_goes_on_at_the_point_in_work(
    small_settings, parent, scanned, stop_at_third_scf, tmp_path
):
    with pytest.raises(Stopped):
        follow(small_settings, parent, tmp_path)
    same_scan(follow(small_settings, parent, tmp_path), scanned[1])
    assert len(stop_at_third_scf) == POINTS + 1


def copied(scanned, tmp_path):
    """A finished work folder to change; its results are not there."""
    shutil.copytree(scanned[0] / "scan", tmp_path / "scan")
    return tmp_path


def test_a_finished_scan_costs_nothing_and_a_longer_one_only_its_new_points(
    small_settings, parent, scanned, solves, tmp_path
):
    work = copied(scanned, tmp_path)
    assert len(scanned[1]["scan_energy_hartree"]) == 9
    assert len(list((work / "scan").glob("*/energy.npz"))) == POINTS
    again, spent = follow(small_settings, parent, work), scanned[1]["provenance"]["wall_seconds"]
    same_scan(again, scanned[1])
    assert solves == []
    assert spent > 0.1
    assert again["provenance"]["wall_seconds"] == pytest.approx(spent, abs=0.02)  # what its points took
    longer = {"symmetry_mode": {"scan_points": 5}}
    before = {path.name for path in (work / "scan").iterdir() if path.is_dir()}
    follow(replace(small_settings, config=small_settings.config | longer), parent, work)
    assert sorted({path.name for path in (work / "scan").iterdir() if path.is_dir()} - before) == ["minus_4", "plus_4"]
    assert len(solves) == 2  # the new point lies within 0.6 angstrom and is the lowest now, so its image is wanted


def test_the_orbitals_handed_on_are_those_of_the_displaced_geometry(small_settings, scanned):
    """An SCF at the displaced geometry that starts from them is done at once, at the lowest energy of the scan."""
    folder = scanned[0] / "results"
    moved = stages.load_molecule(small_settings, "h2co", folder / "displaced.xyz", "C1")
    guess = checkpoints.load_orbitals(folder / "orbitals.npz")
    found = electronic.solve(moved, small_settings.level, small_settings.state("h2co", "HS"), guess)
    assert found.cycles <= 2
    assert found.energy == pytest.approx(min(scanned[1]["scan_energy_hartree"]), abs=1e-7)


def test_the_relaxation_knows_the_lowest_energy_of_the_scan(small_settings, parent, scanned, tmp_path, monkeypatch):
    place, tasks = tmp_path / "HS/C2", []
    shutil.copytree(parent, place)
    shutil.copytree(scanned[0] / "results", place / "symmetry_mode")
    files.write_arrays(place / "vibrations/hessian.npz", hessian=np.eye(12))

    def relax(task, guess, hessian):
        tasks.append(task)
        raise Stopped("before anything is computed")

    monkeypatch.setattr(stages.relaxation, "relax", relax)
    with pytest.raises(Stopped):
        stages.optimise_broken(small_settings, "h2co", place, tmp_path / "HS/C1/optimise", tmp_path / "work")
    assert [task.start_energy for task in tasks] == [min(scanned[1]["scan_energy_hartree"])]


@pytest.mark.parametrize(("gain", "told"), [(1e-4, False), (0.0, True), (-1e-4, True)])
def test_a_minimum_that_gains_nothing_by_breaking_the_symmetry_is_told(gain, told):
    found = stages._not_lower({"energy_hartree": -10.0}, {"energy_hartree": -10.0 - gain})
    assert ["the imaginary mode is in doubt" in text for text in found] == [True] * told


def test_points_of_another_geometry_are_not_used(small_settings, parent, scanned, solves, tmp_path):
    moved = tmp_path / "HS/C2"
    shutil.copytree(parent, moved)
    files.write_xyz(moved / "optimise/geometry.xyz", H2CO.symbols, [H2CO.positions * 1.001], [""])
    with pytest.raises(StaleData, match=r"centre/energy\.npz belongs to another geometry"):
        follow(small_settings, moved, copied(scanned, tmp_path))
    assert solves == []


def test_points_of_another_level_are_not_used(small_settings, parent, scanned, solves, tmp_path):
    name = small_settings.level_name
    other = small_settings.config["levels"][name] | {"functional": "pbe"}
    changed = replace(small_settings, config=small_settings.config | {"levels": {name: other}})
    with pytest.raises(StaleData, match=r"centre/energy\.npz belongs to another level"):
        follow(changed, parent, copied(scanned, tmp_path))
    assert solves == []


def test_a_truncated_point_is_refused_and_once_deleted_computed_again(
    small_settings, parent, scanned, solves, tmp_path
):
    work = copied(scanned, tmp_path)
    path = work / "scan/plus_1/energy.npz"
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(StaleData, match=r"plus_1/energy\.npz cannot be read.*delete it and run again"):
        follow(small_settings, parent, work)
    path.unlink()
    same_scan(follow(small_settings, parent, work), scanned[1])
    assert len(solves) == 1


def test_two_scans_cannot_share_a_work_folder(small_settings, parent, tmp_path):
    with checkpoints.locked(tmp_path / "scan"), pytest.raises(BadInput, match="in use by another run"):
        follow(small_settings, parent, tmp_path)
