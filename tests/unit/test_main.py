"""The command line: stopping in time, going on, and stages on a host with the bare minimum."""

import csv
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

import numpy as np
import pytest
import yaml

from spincross import __main__, arguments, conclusions, config, electronic, files, reference, schemas
from spincross.errors import BadInput, Stopped
from spincross.landau_branches import follow
from spincross.landau_model import LandauModel

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def small(tmp_path):
    """A configuration in JSON and structures that need neither PyYAML nor a large basis; words of the command line."""
    content = yaml.safe_load((ROOT / "workflow/config/config.yaml").read_text())
    level = content["levels"]["pbe0_def2-svp"] | {"basis": "sto-3g", "grid_level": 0, "device": "cpu"}
    content |= {"level": "small", "levels": {"small": level}, "reference": "ignore"}
    content["optimisation"] |= {"coarse_grid_level": 0, "convergence": "GAU"}
    content["hessian"] |= {"method": "analytic", "response_grid_level": 0}
    (tmp_path / "config.json").write_text(json.dumps(content))
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(content))
    structures = tmp_path / "structures"
    (structures / "h2co").mkdir(parents=True)
    (structures / "h2co/h2co.xyz").write_text((ROOT / "structures/h2co/h2co.xyz").read_text())
    entries = {"h2co": yaml.safe_load((ROOT / "structures/complexes.yaml").read_text())["h2co"]}
    (structures / "complexes.json").write_text(json.dumps(entries))
    (structures / "complexes.yaml").write_text(yaml.safe_dump(entries))
    places = {"--config": "config.yaml", "--structures": "structures", "--results": "results", "--workdir": "work"}
    return ["--complex", "h2co"] + [w for k, v in places.items() for w in (k, str(tmp_path / v))]


def test_a_limit_stops_the_block_and_is_lifted_after_it():
    with pytest.raises(Stopped, match="stopped after 0 s, as asked"), __main__.stopping(0.05):
        time.sleep(10)
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    with __main__.stopping(100):
        pass
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_alarm_that_a_destructor_loses_rings_again(monkeypatch):
    class Slow:
        """Takes a while to be destroyed; Python drops what is raised meanwhile."""

        def __del__(self):
            time.sleep(0.2)

    monkeypatch.setattr(__main__, "AGAIN", 0.3)
    with pytest.raises(Stopped), __main__.stopping(0.05):
        slow = Slow()
        del slow
        time.sleep(10)


def test_a_limit_that_is_no_time_is_refused():
    with pytest.raises(BadInput, match="--stop-after -1"), __main__.stopping(-1):
        pass


def test_a_stop_is_not_swallowed_where_errors_are_caught():
    assert not issubclass(Stopped, Exception)


def test_a_stopped_stage_ends_with_75_and_goes_on_without_a_gradient_lost(small, tmp_path, monkeypatch, capsys):
    __main__.main(["molecule", *small])
    gradient, calls = electronic.gradient, []

    def counted(solution):
        calls.append(solution)
        if len(calls) == 3:
            signal.raise_signal(signal.SIGALRM)
        return gradient(solution)

    monkeypatch.setattr(electronic, "gradient", counted)
    with pytest.raises(SystemExit) as ended:
        __main__.main(["optimise", *small, "--state", "LS", "--stop-after", "1000"])
    assert ended.value.code == __main__.STOPPED == 75
    assert "stopped after 1000 s, as asked" in capsys.readouterr().out
    assert not (tmp_path / "results/h2co/small/LS/C2/optimise/optimise.json").exists()
    __main__.main(["optimise", *small, "--state", "LS"])
    found = files.read_json(tmp_path / "results/h2co/small/LS/C2/optimise/optimise.json")
    assert len(calls) == found["steps"] + 1  # the one in work when the time was over


BARE = """
import sys

class Barred:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {barred!r}:
            raise ModuleNotFoundError("No module named " + name, name=name)

sys.meta_path.insert(0, Barred())
from spincross import __main__
for stage in (["molecule"], ["optimise", "--state", "LS"], ["hessian", "--state", "LS"]):
    __main__.main([*stage, *{words!r}])
print(sorted(set(name.split(".")[0] for name in sys.modules) & {barred!r}))
"""
BARRED = {
    "snakemake", "phonopy", "matplotlib", "plotly", "jinja2", "rdkit", "tblite", "threadpoolctl", "yaml", "jsonschema",
    "pygments", "pandas", "pytest", "hypothesis",
}  # fmt: skip


def test_stages_run_with_pyscf_geometric_ase_spglib_numpy_and_scipy_alone(small, tmp_path):
    code = BARE.format(barred=BARRED, words=small)
    environment = os.environ | {"PYTHONPATH": str(ROOT / "workflow")}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines()[-1] == "[]"
    assert "jsonschema is not installed" in done.stdout
    assert (tmp_path / "results/h2co/small/LS/C2/vibrations/hessian.npz").exists()


def test_the_table_of_states_is_written_and_a_second_run_computes_nothing(small, tmp_path, monkeypatch):
    __main__.main(["states", *small])
    found = files.read_json(tmp_path / "results/h2co/small/states/states.json")
    low, high = found["states"]
    assert [low["term"], high["term"]] == ["1A", "3A"]
    assert [row["term"] for row in high["candidates"]] == ["3A", "3B", "3B"]
    assert high["energy_hartree"] == min(row["energy_hartree"] for row in high["candidates"])
    assert (low["s_squared"], low["metal_spin_population"]) == (0.0, None)
    assert low["stability_eigenvalue_hartree"] > 0
    assert low["cycles"] == sum(rung["cycles"] for rung in low["rungs"]) > 0
    table = (tmp_path / "results/h2co/small/states/states.tsv").read_text().splitlines()
    assert len(table) == 3
    assert table[0].startswith("state\tterm\tpoint_group\tenergy_hartree\tcycles")
    monkeypatch.setattr(electronic, "solve", lambda *arguments: pytest.fail("computed again"))
    __main__.main(["states", *small])
    assert files.read_json(tmp_path / "results/h2co/small/states/states.json")["states"] == found["states"]
    with pytest.raises(SystemExit, match=r"StaleData: .*LS\.json belongs to another"):
        __main__.main(["states", *small, "--no-search"])
    with pytest.raises(SystemExit, match="BadInput: --states XS"):
        __main__.main(["states", *small, "--states", "XS"])


LEVEL = "h2co/pbe0_def2-svp"
LS, PARENT = f"{LEVEL}/LS/C2", f"{LEVEL}/HS/C2"
OPTIMISED = ("optimise.json", "geometry.xyz", "orbitals.npz")
HESSIAN, VIBRATIONS = ("hessian.npz", "hessian.json"), ("vibrations.json", "modes.npz")


def needs(folder, names, command):
    return [(f"{folder}/{name}", command) for name in names]


def state_needs(state, group):
    """What an optimised state offers, and the commands that make it."""
    words = f"--complex h2co --state {state} --group {group}"
    folder = f"{LEVEL}/{state}/{group}"
    return {
        "optimise": needs(f"{folder}/optimise", OPTIMISED, f"optimise {words}"),
        "facts": needs(f"{folder}/optimise", OPTIMISED[:2], f"optimise {words}"),
        "hessian": needs(f"{folder}/vibrations", HESSIAN, f"hessian {words}"),
        "vibrations": needs(f"{folder}/vibrations", VIBRATIONS, f"vibrations {words}"),
    }


LOW, HIGH, FREE = (state_needs(*key) for key in (("LS", "C2"), ("HS", "C2"), ("HS", "C1")))
SCAN = needs(f"{PARENT}/symmetry_mode", ("scan.json", "displaced.xyz", "orbitals.npz"), "symmetry-mode --complex h2co")
MODE = (f"{PARENT}/symmetry_mode/mode.json", "assess-symmetry-mode --complex h2co")
ENTROPY = (f"{LEVEL}/entropy/entropy.json", "entropy --complex h2co")
LANDAU = (f"{LEVEL}/landau/landau.json", "landau --complex h2co")
MOLECULE = "molecule --complex h2co"
NEEDS = {
    "optimise --state LS": [("h2co/molecule/molecule.xyz", MOLECULE)],
    "optimise --state HS": [("h2co/molecule/molecule_high_spin.xyz", MOLECULE)],
    "optimise --state HS --group C1": [*SCAN, HIGH["hessian"][0]],
    "hessian --state LS": LOW["optimise"],
    "hessian --state HS --group C1": FREE["optimise"],
    "leave-saddle --state HS": [*HIGH["optimise"], HIGH["hessian"][0], *HIGH["vibrations"]],
    "probe-instability --state HS --irrep B": HIGH["optimise"],
    "vibrations --state HS": HIGH["facts"] + HIGH["hessian"],
    "symmetry-mode": HIGH["optimise"] + HIGH["vibrations"],
    "assess-symmetry-mode": [SCAN[0], *HIGH["facts"], *FREE["facts"], *HIGH["vibrations"]],
    "entropy": [*LOW["vibrations"], *FREE["vibrations"], MODE],
    "landau": [ENTROPY],
    "draw-landau": [LANDAU],
    "report": [
        ("h2co/molecule/molecule.json", MOLECULE), *LOW["facts"], *HIGH["facts"], *FREE["facts"], LOW["vibrations"][0],
        *HIGH["vibrations"], FREE["vibrations"][0], MODE, ENTROPY, LANDAU,
    ],
}  # fmt: skip
"""Every stage that reads results of another, what it reads, and the command that makes it."""


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """All results of formaldehyde: DFT from the reference records, the rest computed."""
    folder = tmp_path_factory.mktemp("results")
    content = config.read_yaml(ROOT / "workflow/config/config.yaml") | {"complexes": ["h2co"]}
    settings = config.load(content, ROOT / "structures")
    for complex_id, state, group, stage in reference.available(settings):
        place = reference.folder(settings, complex_id, state, group, stage)
        reference.recall(place, folder / LEVEL / state / group / stage, stage)
    states = [["--state", state, "--group", group] for state, group in (("LS", "C2"), ("HS", "C2"), ("HS", "C1"))]
    stages = ["molecule", *(["vibrations", *words] for words in states), "assess-symmetry-mode", "entropy", "landau"]
    for words in stages:
        words = [words] if isinstance(words, str) else words
        __main__.main([*words, "--complex", "h2co", "--results", str(folder), "--workdir", str(folder / "work")])
    return folder


def test_every_json_of_a_whole_run_fulfils_its_schema(results):
    __main__.main(["report", "--complex", "h2co", "--results", str(results)])
    paths = list(results.rglob("*.json"))
    assert {"summary", "scan", "mode", "entropy", "landau", "molecule"} < {path.stem for path in paths}
    for path in paths:
        schemas.validator(path.stem).validate(files.read_json(path))
    summary = files.read_json(results / LEVEL / "summary.json")
    inputs, path = summary["provenance"]["inputs_sha256"], results / LEVEL / "entropy/entropy.json"
    assert (len(inputs), inputs["entropy"]) == (10, files.sha256_of(path))
    assert summary["provenance"]["level"]["name"] == summary["level"] == "pbe0_def2-svp"
    assert summary["stages_recalled"] == 7


@pytest.mark.parametrize("name", ["HS/C2/symmetry_mode/mode.json", "LS/C2/vibrations/vibrations.json"])
def test_a_report_of_results_that_lack_a_key_says_what_to_do(results, tmp_path, name):
    shutil.copytree(results / "h2co", tmp_path / "h2co")
    path = tmp_path / LEVEL / name
    content = files.read_json(path)
    content.pop("scan_asymmetry_hartree" if path.stem == "mode" else "settled_modes")
    files.write_json(path, content)
    with pytest.raises(SystemExit, match=rf"BadInput: .*{path.name} \(was it written by an older version\? then run"):
        __main__.main(["report", "--complex", "h2co", "--results", str(tmp_path)])


def test_every_stage_is_asked_for_what_it_needs():
    alone = {"molecule", "crystal", "states", "fit", "phase-diagram", "chain", "progress", "pack", "store"}
    assert {words.split()[0] for words in NEEDS} == set(__main__.STAGES) - alone


@pytest.mark.parametrize(
    ("words", "path", "command"), [(words, *need) for words, found in NEEDS.items() for need in found]
)
def test_a_stage_without_its_input_names_the_stage_that_makes_it(results, monkeypatch, words, path, command):
    monkeypatch.setattr(electronic, "solve", lambda *arguments: pytest.fail("an SCF before the input was looked for"))
    missing, aside = results / path, results / "aside"
    missing.rename(aside)
    try:
        with pytest.raises(SystemExit) as ended:
            __main__.main([*words.split(), "--complex", "h2co", "--results", str(results)])
    finally:
        aside.rename(missing)
    stage = command.split()[0]
    assert ended.value.code == (
        f"BadInput: {missing} is not there: the stage {stage} has not been run to its end; "
        f"run `python -m spincross {command} --results {results}` first"
    )


def test_the_commands_named_lead_from_nothing_to_the_page(results, tmp_path, monkeypatch):
    """Each sentence is obeyed until the page is there; DFT stages copy what was computed before."""

    def taken(settings, place):
        stage = place.options.stage
        folder = {"optimise": place.here / "optimise", "hessian": place.here / "vibrations"}.get(
            stage, place.parent / "symmetry_mode"
        )
        names = reference.STAGE_FILES[{"hessian": "vibrations", "symmetry-mode": "symmetry_mode"}.get(stage, stage)]
        folder.mkdir(parents=True, exist_ok=True)
        for name in names:
            shutil.copyfile(results / (folder / name).relative_to(tmp_path), folder / name)

    for stage in ("optimise", "hessian", "symmetry-mode"):
        monkeypatch.setitem(__main__.STAGES, stage, taken)
    todo, done = [["report", "--complex", "h2co", "--results", str(tmp_path)]], []
    while todo and len(done) < 60:
        try:
            __main__.main(todo[-1])
        except SystemExit as ended:
            found = re.search("run `python -m spincross (.*)` first", ended.code)
            assert found, ended.code
            todo.append(found[1].split())
        else:
            done.append(todo.pop())
    assert (tmp_path / "h2co/report.html").exists()
    assert len(done) == len({tuple(words) for words in done})


@pytest.mark.parametrize("words", [["--state", "LS", "--group", "C1"], ["--state", "HS", "--group", "Cs"]])
def test_a_state_that_no_stage_follows_is_not_optimised(small, words):
    with pytest.raises(SystemExit, match=r"BadInput: h2co has the point group C2: .* but not .S in C"):
        __main__.main(["optimise", *small, *words])


def landau_folder(tmp_path):
    return tmp_path / "fe-pm-pea2-ncs2/pbe0_def2-svp/landau"


def rows_of(path):
    with path.open() as handle:
        return list(csv.DictReader(handle, delimiter="\t"))


def test_a_fit_finds_the_t_sc_that_its_data_were_made_with(tmp_path):
    words = ["--complex", "fe-pm-pea2-ncs2", "--results", str(tmp_path), "--data", str(tmp_path / "data.tsv")]
    entry = yaml.safe_load((ROOT / "structures/complexes.yaml").read_text())["fe-pm-pea2-ncs2"]
    model = LandauModel.from_parameters(entry["landau"])
    made = follow(replace(model, T_SC=model.T_SC + 3.0), np.arange(200.0, 280.0), heating=True)
    rows = [f"{t}\theating\t{q}" for t, q in zip(made.temperatures, made.q, strict=True)]
    (tmp_path / "data.tsv").write_text("\n".join(["temperature_K\tbranch\tq", *rows]))
    __main__.main(["fit", *words, "--free", "T_SC"])
    found = files.read_json(landau_folder(tmp_path) / "fit.json")
    assert list(found["values"]) == ["T_SC"]
    assert abs(found["values"]["T_SC"] - model.T_SC - 3.0) < 3.0 * found["uncertainties"]["T_SC"] < 0.3
    assert [float(row["q_measured"]) for row in rows_of(landau_folder(tmp_path) / "fit.tsv")] == made.q.tolist()
    assert {path.suffix for path in landau_folder(tmp_path).iterdir()} == {".json", ".tsv", ".svg", ".png"}


def test_a_phase_diagram_over_t_sc_follows_the_cube_root_up_to_high_spin(tmp_path, monkeypatch):
    monkeypatch.setattr(conclusions, "PLANE_POINTS", 7)
    words = ["--complex", "fe-pm-pea2-ncs2", "--results", str(tmp_path), "--parameter", "T_SC"]
    __main__.main(["phase-diagram", *words, "--range", "150", "300"])
    rows = rows_of(landau_folder(tmp_path) / "phase_diagram_T_SC.tsv")
    places = [(float(row["T_SC"]), float(row["temperature_K"])) for row in rows]
    assert places == [(a, t) for a in np.linspace(150, 300, 7) for t in np.linspace(100, 400, 7)]
    q = [1.0 if t >= a else max(-1.0, np.cbrt(0.6 * (t - a) / 35.0)) for a, t in places]
    assert [float(row["q"]) for row in rows] == pytest.approx(q)
    names = {"phase_diagram_T_SC.tsv", "phase_diagram_T_SC.svg", "phase_diagram_T_SC.png"}
    assert {path.name for path in landau_folder(tmp_path).iterdir()} == names


def test_a_stop_far_beyond_any_run_is_refused(tmp_path):
    with pytest.raises(SystemExit, match="--stop-after 1e\\+12: give a positive number of seconds below 1e\\+08"):
        __main__.main(["molecule", "--complex", "h2co", "--results", str(tmp_path), "--stop-after", "1e12"])


def test_a_job_is_of_one_complex(tmp_path):
    files.write_json(tmp_path / "config.json", {"complexes": ["h2co"]})
    with pytest.raises(SystemExit, match="is of h2co, not of fe-aai2-ncs2; leave --complex out"):
        __main__.main(["molecule", "--job", str(tmp_path), "--complex", "fe-aai2-ncs2"])


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["fit"], "fit needs --data"),
        (["phase-diagram", "--range", "1", "2"], "needs --parameter NAME and --range LOW HIGH"),
        (["phase-diagram", "--parameter", "D"], "needs --parameter NAME and --range LOW HIGH"),
        (["probe-instability"], "needs --irrep"),
    ],
)
def test_a_stage_that_lacks_an_option_says_which(tmp_path, words, says):
    with pytest.raises(SystemExit, match=f"BadInput: .*{says}"):
        __main__.main([*words, "--complex", "h2co", "--results", str(tmp_path)])


def test_a_stop_does_not_wait_for_work_that_was_given_to_threads():
    """Parts of a Hessian are minutes in each thread; here one sleeps half a minute."""
    code = f"""
import runpy, sys, time
sys.path.insert(0, {str(ROOT / "workflow")!r})
from spincross import stages, threads

def slow(*arguments):
    with threads.pool() as pool:
        list(pool.map(time.sleep, [30.0, 30.0]))

stages.extract_molecule = slow
sys.argv = ["spincross", "molecule", "--complex", "h2co", "--results", "unused", "--stop-after", "1"]
runpy.run_module("spincross", run_name="__main__", alter_sys=True)
"""
    start = time.perf_counter()
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout.splitlines()[-1][:16]) == (75, "stopped after 1 "), found.stderr
    assert time.perf_counter() - start < 25.0


def test_molecule_prints_what_was_taken_for_the_complex_and_every_doubt(tmp_path, capsys):
    folder = tmp_path / "structures"
    shutil.copytree(ROOT / "structures/fe-aai2-ncs2", folder / "fe-aai2-ncs2")
    entry = config.read_yaml(ROOT / "structures/complexes.yaml")["fe-aai2-ncs2"]
    entry |= {"low_spin_structure": "fe-aai2-ncs2/low_spin.xyz", "high_spin_structure": "fe-aai2-ncs2/high_spin.xyz"}
    (folder / "complexes.yaml").write_text(json.dumps({"fe-aai2-ncs2": entry}))
    words = ["--complex", "fe-aai2-ncs2", "--structures", str(folder), "--results", str(tmp_path / "results")]
    __main__.main(["molecule", *words])
    first, *doubts = capsys.readouterr().out.splitlines()
    assert first.startswith("fe-aai2-ncs2: C6H12FeN6S2, 27 atoms, charge +0, C2, Fe bonded at ")
    assert [name in doubt for name, doubt in zip(("low_spin.xyz", "high_spin.xyz"), doubts, strict=True)] == [True] * 2
    with pytest.raises(SystemExit, match=r"--complex T1 is not in .*known: fe-aai2-ncs2"):
        __main__.main(["molecule", *words[2:], "--complex", "T1"])


def test_the_help_says_what_every_stage_makes(capsys):
    assert set(arguments.STAGES) == set(__main__.STAGES)
    with pytest.raises(SystemExit):
        __main__.main(["--help"])
    shown = " ".join(capsys.readouterr().out.split())
    assert all(f"{stage} {said}" in shown for stage, (said, _) in arguments.STAGES.items())


def test_an_option_of_another_stage_is_refused(capsys):
    assert {option for _, own in arguments.STAGES.values() for option in own} == set(arguments.OPTIONS)
    with pytest.raises(SystemExit) as ended:
        __main__.main(["fit", "--complex", "h2co", "--irrep", "B"])
    assert ended.value.code == 2
    assert "unrecognized arguments: --irrep B" in capsys.readouterr().err
