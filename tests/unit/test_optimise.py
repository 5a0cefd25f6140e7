"""Optimisation holds the group, loses no step, and refuses what does not belong to it."""

import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from spincross import electronic, optimise
from spincross.errors import BadInput, CannotWrite, NotConverged, StaleData, SymmetryLost, WrongState
from spincross.levels import Level, State
from spincross.molecule import Molecule
from spincross.pointgroup import deviation
from spincross.units import ANGSTROM_TO_BOHR

ROOT = Path(__file__).resolve().parents[2]
LEVEL = Level(basis="sto-3g", grid_level=0, scf_gradient_tolerance=1e-6)
SETTINGS = optimise.Settings(coarse_grid_level=0, convergence="GAU")
START = np.array([[0, 0, 0], [0, 0, 1.25], [0.97, 0.03, -0.57], [-0.97, -0.03, -0.57]]) * ANGSTROM_TO_BOHR
H2CO = Molecule(("C", "O", "H", "H"), START, 0, "C2")
STATE = State("LS", 1)


def run(folder, **changes):
    lines = []
    arguments = {"molecule": H2CO, "level": LEVEL, "state": STATE, "settings": SETTINGS, "report": lines.append}
    result = optimise.optimise(folder=folder, **arguments | changes)
    return result, lines


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    return folder, run(folder)[0]


def test_a_minimum_in_the_exact_group_is_found(finished):
    _, result = finished
    assert np.abs(result.gradient).max() < 4.5e-4
    assert deviation(result.molecule.numbers, result.molecule.positions, "C2") < 1e-12
    energies = [step["energy_hartree"] for step in result.steps]
    assert min(energies) == pytest.approx(energies[-1], abs=1e-7)


def test_each_step_begins_with_what_the_last_one_learned_of_the_orbital_hessian(finished, tmp_path, monkeypatch):
    monkeypatch.setattr(electronic, "DIIS_CYCLES", 4)
    monkeypatch.setattr(electronic, "NEAR", 10.0)
    result, _ = run(tmp_path)
    rungs = [[rung["rung"] for rung in step["rungs"]] for step in result.steps]
    learned = next(k for k, row in enumerate(rungs) if row[-1] == "direct minimisation")
    assert {row[0] for row in rungs[learned + 1 :]} == {"direct minimisation"}
    assert 0 in {step["step"] for step in result.steps[learned + 1 :]}, "the final surface begins with it too"
    assert result.solution.curvature is None
    assert result.solution.energy == pytest.approx(finished[1].solution.energy, abs=1e-7)


def test_every_step_is_a_json_line_with_its_numbers(finished):
    folder, result = finished
    lines = (folder / "final/steps.jsonl").read_text().splitlines()
    keys = {"energy_hartree", "scf_cycles", "seconds", "deviation_bohr"}
    norms = {f"gradient_{name}_hartree_per_bohr" for name in ("max", "rms")}
    assert all(keys | norms <= json.loads(line).keys() for line in lines[1:])
    assert len(result.steps) >= len(lines) - 1


def test_progress_shows_step_energy_gradient_cycles_and_time_as_it_is_made(tmp_path):
    with pytest.raises(NotConverged):
        run(tmp_path, settings=replace(SETTINGS, max_steps=1), report=(lines := []).append)
    shown = re.compile(
        r"  step +(\d+)  grid 0  E (-\d+\.\d{8}) Eh  max\|g\| (\S+)  .* \d+ cycles  \d+ s  elapsed \d+ s"
    )
    found = [match.groups() for line in lines if (match := shown.fullmatch(line))]
    steps = [json.loads(line) for line in (tmp_path / "coarse/steps.jsonl").read_text().splitlines()[1:]]
    assert len(found) == len(steps) >= 1
    for (number, energy, slope), step in zip(found, steps, strict=True):
        assert (int(number), float(energy)) == (step["step"], pytest.approx(step["energy_hartree"], abs=1e-8))
        assert float(slope) == pytest.approx(step["gradient_max_hartree_per_bohr"], rel=1e-2)


def test_a_second_run_computes_no_gradient_again(finished):
    folder, result = finished
    again, lines = run(folder)
    assert not [line for line in lines if "step" in line]
    assert again.solution.energy == pytest.approx(result.solution.energy, abs=1e-9)


KILLED = """
import sys
sys.path.insert(0, {library!r}); sys.path.insert(0, {tests!r})
from pathlib import Path
from test_optimise import run
run(Path({folder!r}))
"""


def test_a_killed_run_goes_on_and_ends_at_the_same_geometry(finished, tmp_path):
    here = Path(__file__).resolve()
    library = str(here.parents[2] / "workflow")
    code = KILLED.format(library=library, tests=str(here.parent), folder=str(tmp_path))
    environment = os.environ | {"PYTHONPATH": library}
    process = subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.DEVNULL)
    steps = tmp_path / "coarse/steps.jsonl"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not (steps.exists() and len(steps.read_text().splitlines()) > 2):
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = len(steps.read_text().splitlines()) - 1
    result, lines = run(tmp_path)
    assert done >= 2
    assert len([line for line in lines if "step" in line]) <= len(finished[1].steps) - done + 1
    assert result.solution.energy == pytest.approx(finished[1].solution.energy, abs=1e-7)
    assert np.abs(result.molecule.positions - finished[1].molecule.positions).max() < 1e-4


@pytest.mark.parametrize(
    "change",
    [
        {"level": replace(LEVEL, functional="pbe")},
        {"level": replace(LEVEL, scf_gradient_tolerance=1e-7)},
        {"state": State("HS", 3)},
        {"molecule": H2CO.at(H2CO.positions * 1.1)},
    ],
)
def test_work_of_another_level_state_or_start_is_not_used(finished, change):
    with pytest.raises(StaleData, match="another"):
        run(finished[0], **change)


def test_too_few_steps_are_an_error_that_keeps_the_steps(tmp_path):
    with pytest.raises(NotConverged, match="max_steps"):
        run(tmp_path, settings=replace(SETTINGS, max_steps=1))
    assert len((tmp_path / "coarse/steps.jsonl").read_text().splitlines()) >= 2


def test_forces_that_break_the_group_are_an_error(tmp_path):
    with pytest.raises(SymmetryLost, match="Eh/bohr"):
        run(tmp_path, settings=replace(SETTINGS, symmetry_tolerance=-1.0))


def test_a_start_hessian_is_computed_once_and_kept_under_its_name(tmp_path):
    calls = []

    def stiff(molecule, level, state, orbitals):
        calls.append((stiff, orbitals[0].shape))
        return np.eye(molecule.positions.size) * 0.4

    def stiffer(molecule, level, state, orbitals):
        calls.append((stiffer, orbitals[0].shape))
        return np.eye(molecule.positions.size) * 0.8

    first, _ = run(tmp_path, hessian=stiff)
    second, _ = run(tmp_path, hessian=stiff)
    third, _ = run(tmp_path, hessian=stiffer)
    assert calls == [(stiff, (12, 8)), (stiffer, (12, 8))]
    assert first.solution.energy == pytest.approx(second.solution.energy, abs=1e-9)
    assert first.solution.energy == pytest.approx(third.solution.energy, abs=1e-6)
    assert run(tmp_path / "none", hessian=lambda *arguments: None)[0].solution.energy == pytest.approx(
        first.solution.energy, abs=1e-6
    )
    path = tmp_path / "start_hessian_stiff.npz"
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(StaleData, match=r"start_hessian_stiff\.npz.*delete it and run again"):
        run(tmp_path, hessian=stiff)


def test_the_last_steps_and_what_is_reported_lie_on_the_final_surface_alone(tmp_path):
    level, settings = replace(LEVEL, grid_level=1), replace(SETTINGS, convergence="GAU")
    result, _ = run(tmp_path, level=level, settings=settings)
    grids = [step["grid_level"] for step in result.steps]
    assert grids == sorted(grids)
    assert (grids[0], grids[-1]) == (0, 1)
    last = result.steps[-1]
    finals = [step["gradient_rms_hartree_per_bohr"] for step in result.steps if step["grid_level"] == 1]
    assert finals[-1] < 3e-4  # GAU
    assert result.solution.energy == pytest.approx(last["energy_hartree"], abs=1e-9)
    fresh = {
        grid: electronic.solve(result.molecule, replace(level, grid_level=grid), STATE, result.solution.orbitals)
        for grid in (0, 1)
    }
    assert fresh[1].energy == pytest.approx(result.solution.energy, abs=1e-8)
    assert abs(fresh[0].energy - result.solution.energy) > 1e-6  # the coarse surface is another one
    misses = {grid: np.abs(electronic.gradient(s) - result.gradient).max() for grid, s in fresh.items()}
    assert misses[1] < 1e-6 < misses[0]


def copied(finished, tmp_path):
    """A finished work folder to damage."""
    folder = tmp_path / "work"
    shutil.copytree(finished[0], folder)
    return folder


def computed(lines):
    return len([line for line in lines if line.startswith("  step")])


def test_a_full_disk_is_named_and_the_next_start_goes_on(finished, tmp_path, monkeypatch):
    write, calls = np.savez_compressed, []

    def full(*arguments, **options):
        calls.append(arguments)
        if len(calls) == 3:  # a candidate, the start, the first step that was taken
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(*arguments, **options)

    monkeypatch.setattr(np, "savez_compressed", full)
    with pytest.raises(CannotWrite, match=r"orbitals\.npz.*No space left.*what was stored before is kept"):
        run(tmp_path)
    monkeypatch.undo()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["candidates", "coarse", "orbitals.npz", "state.json"]
    stored = (tmp_path / "coarse/steps.jsonl").read_text().count("\n") - 1
    result, lines = run(tmp_path)
    assert stored == 2  # at the start and after the step
    assert computed(lines) == len(finished[1].steps) - stored
    assert result.solution.energy == pytest.approx(finished[1].solution.energy, abs=1e-7)


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES])
def test_a_read_only_work_folder_is_named(tmp_path, monkeypatch, code):
    def refuse(path, *arguments, **options):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(CannotWrite, match=os.strerror(code)):
        run(tmp_path / "work")


def test_a_work_folder_below_a_file_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CannotWrite, match="file"):
        run(tmp_path / "file/work")


@pytest.mark.parametrize(("name", "error"), [("orbitals.npz", StaleData), ("state.json", BadInput)])
def test_a_truncated_checkpoint_is_refused_and_once_deleted_the_run_goes_on(finished, tmp_path, name, error):
    folder = copied(finished, tmp_path)
    path = folder / name
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(error, match=f"{name}.*delete it and run again"):
        run(folder)
    path.unlink()
    again, lines = run(folder)
    assert computed(lines) == 0
    assert again.solution.energy == pytest.approx(finished[1].solution.energy, abs=1e-8)


def test_a_damaged_line_is_said_and_its_step_computed_again(finished, tmp_path):
    folder = copied(finished, tmp_path)
    path = folder / "coarse/steps.jsonl"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], lines[1], lines[2][:40], *lines[3:]]) + "\n")
    again, said = run(folder)
    assert any("1 damaged line(s) not used" in line for line in said)
    assert computed(said) >= 1  # later steps too: from another guess they differ in the seventh digit
    assert again.solution.energy == pytest.approx(finished[1].solution.energy, abs=1e-8)


def test_steps_of_another_state_are_not_mixed_with_a_state_found_anew(finished, tmp_path):
    folder = copied(finished, tmp_path)
    path = folder / "coarse/steps.jsonl"
    lines = path.read_text().splitlines()
    first = json.loads(lines[1])
    lines[1] = json.dumps(first | {"energy_hartree": first["energy_hartree"] + 1e-3})
    path.write_text("\n".join(lines) + "\n")
    (folder / "orbitals.npz").unlink()
    with pytest.raises(StaleData, match=r"differs by 1\.0e-03 Eh"):
        run(folder)


def test_a_last_scf_in_another_state_is_an_error_with_both_energies(finished, tmp_path, monkeypatch):
    shutil.copytree(finished[0], tmp_path / "work")
    solve = electronic.solve
    monkeypatch.setattr(electronic, "solve", lambda *a, **k: replace(solve(*a, **k), energy=-112.0))
    with pytest.raises(WrongState, match=r"last step of LS has -112\.\d{8} Eh, .* ended at -112\.00000000 Eh: another"):
        run(tmp_path / "work")


def test_an_end_without_a_gradient_is_an_error(finished, tmp_path, monkeypatch):
    folder = copied(finished, tmp_path)
    monkeypatch.setattr(optimise, "relax", lambda engine, *_: (engine.molecule.positions * 1.01, None))
    with pytest.raises(NotConverged, match="ended on a geometry without a gradient"):
        run(folder)


def test_steps_that_the_optimiser_did_not_take_this_time_are_not_reported(finished, tmp_path):
    shutil.copytree(finished[0], tmp_path / "work")
    path = tmp_path / "work/final/steps.jsonl"
    lines = path.read_text().splitlines()
    orphan = json.loads(lines[-1]) | {"positions_bohr": (H2CO.positions * 1.3).tolist(), "step": 99}
    path.write_text("\n".join([*lines, json.dumps(orphan)]) + "\n")
    result, _ = run(tmp_path / "work")
    assert [s["energy_hartree"] for s in result.steps] == [s["energy_hartree"] for s in finished[1].steps]


def test_a_step_that_is_taken_back_takes_its_orbitals_along(tmp_path, monkeypatch):
    """Those of a higher state would lead every later step there, also after a restart."""
    stored = []
    file = SimpleNamespace(path=tmp_path)
    engine = optimise.SurfaceEngine(H2CO, LEVEL, STATE, "start", None, file, tmp_path, SETTINGS, print)
    monkeypatch.setattr(optimise, "store_orbitals", lambda path, orbitals: stored.append(orbitals))
    for orbitals, finish, left in (("a", engine.load_guess_files, "start"), ("b", engine.save_guess_files, "b")):
        engine.orbitals = engine.curvature = orbitals
        finish("")
        assert engine.orbitals == left
    engine.save_guess_files("")
    assert stored == ["b"]
    engine.orbitals = engine.curvature = "c"
    engine.load_guess_files("")
    assert (engine.orbitals, engine.curvature) == ("b", "b")
