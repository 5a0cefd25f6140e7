"""A job: packed, carried to a bare host, killed, stopped, worked off, its results kept as records."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from sample_molecules import springs
from spincross import __main__, arguments, cheap, config, electronic, files, job, optimise, stages
from spincross.errors import BadInput, StaleData
from test_main import BARRED

ROOT = Path(__file__).resolve().parents[2]
BARE = """
import sys

class Barred:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {barred!r}:
            raise ModuleNotFoundError("No module named " + name, name=name)

sys.meta_path.insert(0, Barred())
from spincross import __main__
__main__.main({words!r})
"""
SMALL = [
    "level=small",
    "levels.small=" + json.dumps({"functional": "pbe0", "basis": "sto-3g", "auxiliary_basis": "def2-universal-jkfit",
                                  "grid_level": 1, "scf_energy_tolerance": 1e-10, "scf_gradient_tolerance": 2e-5,
                                  "device": "cpu"}),
    "reference=ignore", "optimisation.coarse_grid_level=0", "optimisation.convergence=GAU", "hessian.method=analytic",
    "hessian.response_grid_level=0",
]  # fmt: skip


def test_hs_in_the_parent_group_with_its_hessian_comes_first_then_ls_then_hs_without_symmetry():
    found = [(step.stage, step.state, step.group) for step in job.steps("C2")]
    dft = [row for row in found if row[0] in ("optimise", "hessian", "symmetry-mode")]
    assert dft == [
        ("optimise", "HS", "C2"), ("hessian", "HS", "C2"), ("optimise", "LS", "C2"), ("hessian", "LS", "C2"),
        ("symmetry-mode", "HS", "C2"), ("optimise", "HS", "C1"), ("hessian", "HS", "C1"),
    ]  # fmt: skip
    assert {step.stage for step in job.steps("C2")} <= set(__main__.STAGES)
    assert {(step.state, step.group) for step in job.steps("C1")} == {("LS", "C1"), ("HS", "C1")}


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    """A job of formaldehyde at a level that costs a second, made from the command line."""
    folder = tmp_path_factory.mktemp("jobs") / "h2co"
    changes = [word for change in SMALL for word in ("--set", change)]
    __main__.main(["pack", "--complex", "h2co", "--into", str(folder), *changes])
    return folder


def test_a_job_holds_what_it_needs_and_is_not_overwritten(packed):
    assert {path.name for path in packed.iterdir()} == {"config.json", "structures", "results"}
    settings = config.load(config.read_yaml(packed / "config.json"), packed / "structures")
    assert settings.level.scf_energy_tolerance == 1e-10  # as a number: YAML would read 1e-10 as text
    assert settings.complexes["h2co"] == yaml.safe_load((ROOT / "structures/complexes.yaml").read_text())["h2co"]
    with pytest.raises(SystemExit, match="holds a job already"):
        __main__.main(["pack", "--complex", "h2co", "--into", str(packed)])


def test_a_packing_that_was_cut_off_is_done_again(tmp_path, monkeypatch):
    """What was begun is there already the second time; temporaries of killed writes stay behind."""
    begun = tmp_path / "work/h2co/small/HS/C2/optimise"
    for name in ("state.json", "lock", ".orbitals.npz.123.npz"):
        begun.mkdir(parents=True, exist_ok=True)
        (begun / name).write_text("{}")
    changes = [word for change in SMALL for word in ("--set", change)]
    words = [
        "pack",
        "--complex",
        "h2co",
        "--into",
        str(tmp_path / "job"),
        "--workdir",
        str(tmp_path / "work"),
        *changes,
    ]
    write = files.write_json
    with monkeypatch.context() as patch:
        patch.setattr(job.files, "write_json", lambda *arguments: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            __main__.main(words)
    assert files.write_json is write
    shutil.rmtree(tmp_path / "job/results", ignore_errors=True)
    __main__.main(words)
    taken = tmp_path / "job/work/h2co/small/HS/C2/optimise"
    assert [path.name for path in taken.iterdir()] == ["state.json"]


@pytest.mark.parametrize("content", [{}, {"complexes": []}, {"complexes": "h2co"}])
def test_a_job_without_a_complex_is_refused(tmp_path, content):
    files.write_json(tmp_path / "config.json", content)
    with pytest.raises(BadInput, match=r"config\.json names no complex; make the job again with `pack`"):
        job.complex_of(tmp_path)


def test_a_job_begins_with_the_molecule_that_was_packed(packed, tmp_path, monkeypatch, capsys):
    """Its folder is named through one that is not there yet."""
    shutil.copytree(packed, tmp_path / "job")
    assert not (tmp_path / "job/results/h2co/small").exists()

    def stop(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setitem(__main__.STAGES, "optimise", stop)
    with pytest.raises(KeyboardInterrupt):
        __main__.main(["chain", "--job", str(tmp_path / "job")])
    assert "molecule HS C2: finished before" in capsys.readouterr().out


def start(packed, *more):
    """Start the chain of a job on a bare host."""
    code = BARE.format(barred=BARRED, words=["chain", "--job", str(packed), *more])
    environment = os.environ | {"PYTHONPATH": str(ROOT / "workflow"), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


@pytest.fixture(scope="module")
def worked_off(packed):
    """The job killed in its first optimisation, stopped after two seconds, and then run to its end."""
    steps = packed / "work/h2co/small/HS/C2/optimise/coarse/steps.jsonl"
    first = start(packed)
    while not steps.exists() or steps.read_text().count("\n") < 3:
        assert first.poll() is None, first.stdout.read()
        time.sleep(0.02)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    before = [line for line in steps.read_text().splitlines(keepends=True) if line.endswith("\n")]
    second, third = start(packed, "--stop-after", "2"), None
    said = second.communicate()[0]
    third = start(packed)
    last = third.communicate()[0]
    after = steps.read_text().splitlines(keepends=True)
    return {"codes": (first.returncode, second.returncode, third.returncode), "said": said, "last": last,
            "kept": after[: len(before)] == before, "folder": packed}  # fmt: skip


def test_a_killed_and_stopped_job_repeats_no_gradient_and_comes_to_its_end(worked_off):
    assert worked_off["codes"] == (-signal.SIGKILL, __main__.STOPPED, 0), worked_off["last"][-500:]
    assert worked_off["kept"]
    assert "resuming in optimise" in worked_off["said"]
    assert "stopped after 2 s, as asked" in worked_off["said"]


def test_the_chain_ends_with_the_broken_minimum_and_what_led_there(worked_off):
    base = worked_off["folder"] / "results/h2co/small"
    high, low, broken = (files.read_json(base / f"{s}/vibrations/vibrations.json") for s in ("HS/C2", "LS/C2", "HS/C1"))
    assert [high["irreps"][i] for i in high["imaginary_modes"]] == ["B"]
    assert low["imaginary_modes"] == broken["imaginary_modes"] == []
    mode = files.read_json(base / "HS/C2/symmetry_mode/mode.json")
    assert mode["energy_lowering_kJ_per_mol"] > 1
    assert mode["overlap_with_relaxed_distortion"] > 0.8


@pytest.mark.parametrize("command", ["chain", "store"])
def test_a_hessian_beside_another_geometry_is_not_gone_on_with_nor_kept(worked_off, tmp_path, command):
    """As where a state was optimised again by hand."""
    folder = tmp_path / "job"
    shutil.copytree(worked_off["folder"], folder)
    with (folder / "results/h2co/small/HS/C2/optimise/geometry.xyz").open("a") as handle:
        handle.write("\n")
    with pytest.raises(SystemExit, match=r"hessian\.json belongs to another geometry than"):
        __main__.main([command, "--job", str(folder)])
    assert not (folder / "structures/reference").exists()


@pytest.mark.parametrize(("place", "stops"), [("LS/C2", True), ("HS/C1", True), ("HS/C2", False)])
def test_a_chain_does_not_go_on_from_a_state_whose_entropy_would_be_refused(worked_off, tmp_path, place, stops):
    """LS and the HS minimum must be minima; HS in the parent group may be a saddle."""
    folder = tmp_path / "job"
    shutil.copytree(worked_off["folder"], folder)
    vibrations = folder / "results/h2co/small" / place / "vibrations"
    stored = files.read_arrays(vibrations / "modes.npz")
    stored["wavenumbers"][0] = -300.0
    files.write_arrays(vibrations / "modes.npz", **stored)
    words = ["chain", "--job", str(folder)]
    if not stops:
        __main__.main(words)
        return
    with pytest.raises(SystemExit, match=r"UnexpectedImaginaryMode: h2co .S has imaginary modes at -300\.0 cm-1"):
        __main__.main(words)


def test_what_is_finished_is_not_begun_again(worked_off, monkeypatch, capsys):
    monkeypatch.setattr(electronic, "solve", lambda *arguments: pytest.fail("computed again"))
    __main__.main(["chain", "--job", str(worked_off["folder"])])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(job.steps("C2"))
    assert all(line.endswith("finished before") for line in lines)


def test_results_of_a_job_become_records_of_the_project(worked_off, tmp_path, capsys):
    folder = worked_off["folder"]
    place = ["--config", str(folder / "config.json"), "--results", str(folder / "results")]
    (tmp_path / "h2co").mkdir()
    (tmp_path / "h2co/h2co.xyz").write_bytes((ROOT / "structures/h2co/h2co.xyz").read_bytes())
    (tmp_path / "complexes.yaml").write_bytes((ROOT / "structures/complexes.yaml").read_bytes())
    entries = yaml.safe_load((tmp_path / "complexes.yaml").read_text())
    (tmp_path / "complexes.yaml").write_text(yaml.safe_dump({"h2co": entries["h2co"]}))
    __main__.main(["store", "--complex", "h2co", *place, "--structures", str(tmp_path)])
    assert capsys.readouterr().out.count("stored h2co") == 7
    with pytest.raises(SystemExit, match="was computed with other settings than level 'small' has now"):
        __main__.main(["store", "--complex", "h2co", *place, "--structures", str(tmp_path), "--set",
                       "levels.small.grid_level=2"])  # fmt: skip


def test_a_complex_or_a_folder_must_be_named():
    with pytest.raises(SystemExit, match="--complex is missing"):
        __main__.main(["chain"])
    with pytest.raises(SystemExit, match="pack needs --into"):
        __main__.main(["pack", "--complex", "h2co"])


def test_start_hessians_are_packed_where_the_optimiser_looks_for_them(tmp_path, monkeypatch):
    content = config.read_yaml(ROOT / "workflow/config/config.yaml")
    content |= {"complexes": ["fe-aai2-ncs2"], "reference": "ignore"}
    settings = config.load(content, ROOT / "structures")
    asked = []

    def hessian(molecule, multiplicity):
        asked.append(multiplicity)
        return springs(molecule)

    monkeypatch.setattr(cheap, "gfn2_hessian", hessian)
    job.pack(settings, "fe-aai2-ncs2", tmp_path / "job", tmp_path / "nothing")
    assert asked == [1, 5]
    compute = stages.start_hessian(settings, "fe-aai2-ncs2")
    for state, name in (("LS", "molecule"), ("HS", "molecule_high_spin")):
        folder = tmp_path / "job/work/fe-aai2-ncs2" / settings.level_name / state / "C2/optimise"
        xyz = tmp_path / f"job/results/fe-aai2-ncs2/molecule/{name}.xyz"
        molecule = stages.load_molecule(settings, "fe-aai2-ncs2", xyz, "C2").symmetrised()
        found = optimise.kept_hessian(folder, compute, (molecule, None, None, None))
        np.testing.assert_array_equal(found, springs(molecule))
        other = molecule.at(molecule.positions * 1.01)
        with pytest.raises(StaleData, match="made for another start geometry"):
            optimise.kept_hessian(folder, compute, (other, None, None, None))
    assert asked == [1, 5]
    guess = replace(settings, config=content | {"optimisation": content["optimisation"] | {"start_hessian": "guess"}})
    job.pack(guess, "fe-aai2-ncs2", tmp_path / "other", tmp_path / "nothing")
    assert asked == [1, 5]


def test_results_of_other_settings_of_a_level_are_not_taken_for_finished(worked_off, tmp_path):
    """A chain with another functional under the same name stops at the first stage that is there."""
    shutil.copytree(worked_off["folder"], tmp_path / "job")
    words = ["chain", "--job", str(tmp_path / "job"), "--set", "levels.small.functional=b3lyp"]
    with pytest.raises(SystemExit, match=r"optimise.json was computed with other settings than level 'small' has now"):
        __main__.main(words)


def test_what_is_recorded_is_packed_as_finished(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(cheap, "gfn2_hessian", lambda *arguments: pytest.fail("a start Hessian of a recorded minimum"))
    __main__.main(["pack", "--complex", "fe-aai2-ncs2", "--into", str(tmp_path / "job")])
    settings = config.load(config.read_yaml(tmp_path / "job/config.json"), tmp_path / "job/structures")
    place = tmp_path / "job/results/fe-aai2-ncs2" / settings.level_name / "HS/C2/optimise"
    assert files.read_json(place / "optimise.json")["provenance"]["origin"] == "recalled"
    recorded = ROOT / "structures/reference/fe-aai2-ncs2" / settings.level_name / "HS/C2/optimise"
    assert (place / "geometry.xyz").read_bytes() == (recorded / "geometry.xyz").read_bytes()
    monkeypatch.setattr(electronic, "solve", lambda *arguments: pytest.fail("computed again"))
    capsys.readouterr()
    __main__.main(["chain", "--job", str(tmp_path / "job")])
    finished = [line for line in capsys.readouterr().out.splitlines() if line.endswith("finished before")]
    assert len(finished) == 8  # the molecule, three minima, three Hessians, the scan; what follows them is computed
    capsys.readouterr()
    __main__.main(["store", "--complex", "fe-aai2-ncs2", "--results", str(tmp_path / "job/results"),
                   "--structures", str(tmp_path / "job/structures")])  # fmt: skip
    assert capsys.readouterr().out == ""  # a recalled stage is no new record


def test_a_chain_outside_a_job_takes_the_records(tmp_path, monkeypatch, capsys):
    """Where they are asked for; what is in the results stays."""
    here = ["chain", "--complex", "fe-aai2-ncs2", "--results", str(tmp_path / "results"), "--workdir", str(tmp_path)]
    monkeypatch.setattr(electronic, "solve", lambda *arguments: pytest.fail("computed again"))
    __main__.main(here)
    first = capsys.readouterr().out
    assert first.count("recalled from the reference records") == first.count("finished before") == 7
    __main__.main(here)
    second = capsys.readouterr().out
    assert "recalled" not in second
    assert second.count("finished before") == len(job.steps("C2"))
    settings = config.load(config.read_yaml(ROOT / "workflow/config/config.yaml"), ROOT / "structures")
    ignoring = replace(settings, config=settings.config | {"complexes": ["fe-aai2-ncs2"], "reference": "ignore"})
    assert job.recall(ignoring, "fe-aai2-ncs2", tmp_path / "other") == []
    assert not (tmp_path / "other").exists()


def test_what_was_begun_is_packed_and_gone_on_with(tmp_path, capsys):
    changes = [word for change in SMALL for word in ("--set", change)]
    here = ["--results", str(tmp_path / "results"), "--workdir", str(tmp_path / "work"), *changes]
    __main__.main(["molecule", "--complex", "h2co", *here])
    with pytest.raises(SystemExit) as stop:
        __main__.main(["optimise", "--complex", "h2co", *here, "--set", "optimisation.max_steps=2"])
    assert "NotConverged" in str(stop.value)
    steps = Path("work/h2co/small/HS/C2/optimise/coarse/steps.jsonl")
    before = (tmp_path / steps).read_text()
    assert before.count("\n") > 1
    aside = tmp_path / "work/h2co/small/saddles/HS/C2/1"
    aside.mkdir(parents=True)
    __main__.main(["pack", "--complex", "h2co", "--into", str(tmp_path / "job"), *here])
    assert (tmp_path / "job" / steps).read_text() == before
    assert not [path for name in ("lock", "saddles") for path in (tmp_path / "job").rglob(name)]
    capsys.readouterr()
    __main__.main(["optimise", "--job", str(tmp_path / "job")])
    said = capsys.readouterr().out
    assert "resuming in optimise" in said
    assert (tmp_path / "job" / steps).read_text().startswith(before)


def test_results_of_other_structures_are_no_records(worked_off, tmp_path):
    folder = worked_off["folder"]
    (tmp_path / "h2co").mkdir()
    (tmp_path / "h2co/h2co.xyz").write_text((ROOT / "structures/h2co/h2co.xyz").read_text() + "\n")
    (tmp_path / "complexes.json").write_bytes((folder / "structures/complexes.json").read_bytes())
    with pytest.raises(SystemExit, match="made from other structure files than h2co has now"):
        __main__.main(["store", "--complex", "h2co", "--config", str(folder / "config.json"), "--results",
                       str(folder / "results"), "--structures", str(tmp_path)])  # fmt: skip
    assert not (tmp_path / "reference").exists()


def commands_of_the_readme(name):
    """Return the words of every command in the README that begins with `sc NAME`."""
    lines = (ROOT / "README.md").read_text().splitlines()
    return [shlex.split(line)[1:] for line in lines if line.startswith(f"sc {name} ")]


@pytest.mark.parametrize("words", commands_of_the_readme("pack"), ids=lambda words: words[4])
def test_the_readmes_jobs_have_a_sound_configuration_for_a_gpu_without_phonopy(words):
    options = arguments.parser("").parse_args(words)
    content = config.changed(config.read_yaml(options.config), options.set) | {"complexes": [options.complex]}
    settings = config.load(content, options.structures)
    assert settings.level.device == "gpu"
    assert settings.hessian.method == "analytic"
    assert settings.level_name == ("bp86_def2-tzvp" if "bp86" in str(options.into) else "pbe0_def2-svp")


def test_the_readme_stores_what_its_jobs_compute():
    assert len(commands_of_the_readme("pack")) == 4
    for words in commands_of_the_readme("store"):
        results = words[words.index("--results") + 1]
        packed = next(w for w in commands_of_the_readme("pack") if results == f"{w[w.index('--into') + 1]}/results")
        assert packed[packed.index("--complex") + 1] == words[words.index("--complex") + 1]
        assert [w for w in words if w.startswith("level=")] == [w for w in packed if w.startswith("level=")]


def test_a_change_of_a_section_that_is_not_there_is_refused():
    assert config.changed({"a": {"b": 1}}, ["a.b=[1, 2]", "c=words, not JSON"]) == {
        "a": {"b": [1, 2]},
        "c": "words, not JSON",
    }
    for word in ("a.b", "x.b=1", "a.b.c=1"):
        with pytest.raises(BadInput, match="--set"):
            config.changed({"a": {"b": 1}}, [word])
