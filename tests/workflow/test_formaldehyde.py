"""A whole live run through the real Snakefile: formaldehyde, S0 and T1, from structure to report."""

import csv
import json
import math
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from spincross import schemas

ROOT = Path(__file__).resolve().parents[2]
BASE = "results/h2co/pbe0_def2-svp"


def snakemake(folder, *arguments):
    """Run Snakemake in a copy of the project; return the finished process."""
    command = [sys.executable, "-m", "snakemake", "--cores", "2", "--resources", "dft=1", *arguments]
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def copy_of_project(folder):
    shutil.copy(ROOT / "Snakefile", folder)
    ignored = shutil.ignore_patterns("__pycache__", ".*")
    for name in ("workflow", "structures", "envs"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    return folder


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    folder = copy_of_project(tmp_path_factory.mktemp("formaldehyde"))
    finished = snakemake(folder, "--configfile", "workflow/config/demo.yaml")
    assert finished.returncode == 0, finished.stderr[-4000:]
    return folder


def load(run, name):
    return json.loads((run / BASE / name).read_text())


def test_ground_state_has_six_real_modes_of_both_irreps(run):
    found = load(run, "LS/C2/vibrations/vibrations.json")
    # PBE0/def2-SVP, density fitting, grid 3; computed at this level before this code existed
    assert found["wavenumbers_per_cm"] == pytest.approx([1200.5, 1269.2, 1533.3, 1896.9, 2901.6, 2967.3], abs=2.0)
    assert found["imaginary_modes"] == []
    assert sorted(found["irreps"]) == list("AAABBB")


def test_the_analytic_route_is_one_job_and_gives_the_modes_of_finite_differences(run, tmp_path):
    """The live run scatters displacements; the shipped configuration does not."""
    folder = copy_of_project(tmp_path)
    shutil.copytree(run / BASE / "LS/C2/optimise", folder / BASE / "LS/C2/optimise")
    target, settings = f"{BASE}/LS/C2/vibrations/vibrations.json", ("complexes=[h2co]", "reference=ignore")
    finished = snakemake(folder, "--rerun-triggers", "mtime", "--config", *settings, "--", target)
    assert finished.returncode == 0, finished.stderr[-4000:]
    assert re.findall(r"(?m)^(?:local)?(?:rule|checkpoint) (\w+)", finished.stderr) == [
        "compute_hessian",
        "analyse_vibrations",
    ]
    found, scattered = json.loads((folder / target).read_text()), load(run, "LS/C2/vibrations/vibrations.json")
    assert (found["method"], scattered["method"]) == ("analytic", "finite differences")
    assert found["irreps"] == scattered["irreps"]
    assert found["wavenumbers_per_cm"] == pytest.approx(scattered["wavenumbers_per_cm"], abs=0.5)


def test_a_changed_library_draws_conclusions_anew_and_computes_nothing(run, tmp_path):
    """As after an update: no result of a job of seconds stays that the new code would write otherwise."""
    folder = tmp_path / "updated"
    shutil.copytree(run, folder)
    arguments = ("--configfile", "workflow/config/demo.yaml", "--dry-run", "--rerun-triggers", "mtime", "params")
    assert "Nothing to be done" in snakemake(folder, *arguments).stdout
    with (folder / "workflow/spincross/findings.py").open("a") as handle:
        handle.write("\n# another version\n")
    told = snakemake(folder, *arguments).stdout
    jobs = {line.split()[0] for line in told.split("Job stats:")[1].split("\n\n")[0].splitlines()[3:]}
    assert jobs - {"total"} == {
        "all", "assess_symmetry_mode", "collect_summary", "compare_crystals", "compute_entropy", "render_report",
        "solve_landau",
    }  # fmt: skip


def test_triplet_in_c2_has_exactly_one_imaginary_mode_of_irrep_b(run):
    found = load(run, "HS/C2/vibrations/vibrations.json")
    assert found["imaginary_modes"] == [0]
    assert found["irreps"][0] == "B"
    assert found["wavenumbers_per_cm"][0] == pytest.approx(-653, abs=10)


def test_triplet_without_symmetry_is_a_minimum_9_kj_below(run):
    mode, found = load(run, "HS/C2/symmetry_mode/mode.json"), load(run, "HS/C1/vibrations/vibrations.json")
    assert found["imaginary_modes"] == []
    assert len(found["wavenumbers_per_cm"]) == 6
    assert mode["broken"]
    assert mode["energy_lowering_kJ_per_mol"] == pytest.approx(9.0, abs=0.3)
    assert mode["overlap_with_relaxed_distortion"] > 0.9


def test_energy_along_the_mode_is_the_same_both_ways(run):
    mode = load(run, "HS/C2/symmetry_mode/mode.json")
    assert mode["scan_asymmetry_hartree"] < 1e-6
    assert min(mode["scan_energy_hartree"]) < mode["parent_energy_hartree"]


def test_entropy_account_has_the_exact_terms(run):
    found = load(run, "entropy/entropy.json")
    assert found["entropy_spin_difference_J_per_mol_K"] == pytest.approx(8.314462618 * math.log(3), rel=1e-9)
    assert found["entropy_symmetry_breaking_J_per_mol_K"] == pytest.approx(-8.314462618 * math.log(2), rel=1e-9)
    assert found["verdict"] is None


def test_a_complex_without_landau_parameters_gets_no_landau_verdict(run):
    found = load(run, "landau/landau.json")
    assert found["parameters"] is None
    assert "h2co" in found["reason"]


def test_every_json_opens_with_provenance_and_fulfils_its_schema(run):
    paths = list((run / "results").rglob("*.json"))
    assert len(paths) >= 13
    assert run / BASE / "summary.json" in paths
    for path in paths:
        content = json.loads(path.read_text())
        schemas.validator(path.stem).validate(content)
        assert content["provenance"]["origin"] == "computed"
        assert {"versions", "inputs_sha256", "wall_seconds", "machine_class"} <= content["provenance"].keys()
        state = content["provenance"].get("state")
        assert state == (path.relative_to(run / BASE).parts[0] if path.parent.parts[-3] in ("LS", "HS") else None)
        if state is not None:
            assert {"level", "multiplicity", "point_group", "converged"} <= content["provenance"].keys()


def test_snakemakes_own_report_holds_the_page_and_its_figures(run):
    made = snakemake(run, "--configfile", "workflow/config/demo.yaml", "--report", "snakemake.zip")
    assert made.returncode == 0, made.stderr[-2000:]
    with zipfile.ZipFile(run / "snakemake.zip") as archive:
        names = {Path(name).name for name in archive.namelist()}
    assert {"report.html", "index.html", "summary.tsv", "spectra.svg", "waterfall.svg"} <= names


def test_the_report_stands_alone_and_the_summary_has_the_row(run):
    page = (run / "results/h2co/report.html").read_text()
    assert "653" in page
    assert 'src="http' not in page
    with (run / "results/summary.tsv").open() as handle:
        rows = list(csv.DictReader(handle, delimiter="\t"))
    assert [row["complex"] for row in rows] == ["h2co"]


def test_nothing_is_left_to_do_after_the_run(run):
    again = snakemake(run, "--configfile", "workflow/config/demo.yaml", "-n")
    assert "Nothing to be done" in again.stdout + again.stderr


def planned(folder, *arguments):
    """Return the names of the rules that a dry run would run, and everything it printed."""
    found = snakemake(folder, "--configfile", "workflow/config/demo.yaml", "-n", *arguments)
    printed = found.stdout + found.stderr
    return set(re.findall(r"^(?:local)?(?:rule|checkpoint) (\w+):", printed, flags=re.MULTILINE)), printed


def edited(folder, old, new):
    """Change the entry of formaldehyde."""
    path = folder / "structures/complexes.yaml"
    others, entry = path.read_text().split("\nh2co:")
    assert old in entry
    path.write_text(others + "\nh2co:" + entry.replace(old, new, 1))


def test_what_moves_no_atom_computes_nothing_again_but_is_shown(run, tmp_path):
    """A project that was moved, another source, measured entropies; another level under the same name is refused."""
    folder = tmp_path / "moved"
    shutil.copytree(run, folder)
    words = {"render_report", "collect_summary", "all"}
    assert planned(folder)[0] <= words
    edited(folder, 'source: "', 'source: "another one; ')
    assert planned(folder)[0] == words
    measured = "heating_J_per_mol_K: 5.0, cooling_J_per_mol_K: 5.1, temperature_up_K: 200.0, temperature_down_K: 190.0"
    edited(folder, "calorimetry: null", f"calorimetry: {{{measured}, doi: 10.1039/made-up}}")
    assert planned(folder)[0] == words | {"compute_entropy", "solve_landau"}
    config = folder / "workflow/config/config.yaml"
    config.write_text(config.read_text().replace("functional: pbe0", "functional: b3lyp", 1))
    printed = planned(folder)[1]
    assert "was computed with other settings than level 'pbe0_def2-svp' has now" in printed
    assert "Traceback" not in printed


@pytest.mark.parametrize(
    ("old", "new", "first"),
    [
        ("  convergence: GAU_TIGHT", "  convergence: GAU_VERYTIGHT", "optimise_parent"),
        ("  displacement_grid_level: 4", "  displacement_grid_level: 5", "plan_displacements"),
        ("  step: 5.0e-3", "  step: 4.0e-3", "plan_displacements"),
        ("  scan_points: 3", "  scan_points: 4", "follow_symmetry_mode"),
    ],
)
def test_a_changed_setting_computes_its_stage_again_and_nothing_before(run, tmp_path, old, new, first):
    folder = tmp_path / "changed"
    shutil.copytree(run, folder)
    config = folder / "workflow/config/config.yaml"
    config.write_text(config.read_text().replace(old, new, 1))
    names, printed = planned(folder)
    assert first in names, printed[-2000:]
    assert not names & ({"extract_molecule", "optimise_parent"} - {first})


def test_finished_stages_become_records_that_are_recalled_and_live_stages_run_again(run, tmp_path):
    stored = snakemake(run, "--configfile", "workflow/config/demo.yaml", "--force", "store_reference")
    assert stored.returncode == 0, stored.stderr[-3000:]
    folder = copy_of_project(tmp_path)
    shutil.copytree(run / "structures/reference", folder / "structures/reference", dirs_exist_ok=True)
    second = snakemake(folder, "--configfile", "workflow/config/demo.yaml", "--config", "reference=use")
    assert second.returncode == 0, second.stderr[-3000:]
    assert not (folder / "work").exists()
    recalled, live = (folder / BASE / f"HS/C1/vibrations/{n}.json" for n in ("hessian", "vibrations"))
    assert json.loads(recalled.read_text())["provenance"]["origin"] == "recalled"
    assert json.loads(live.read_text())["provenance"]["origin"] == "computed"
    for name in ("entropy/entropy.json", "HS/C2/symmetry_mode/mode.json"):
        new, old = json.loads((folder / BASE / name).read_text()), load(run, name)
        for volatile in ("provenance", "scan_origin"):
            new.pop(volatile, None), old.pop(volatile, None)
        assert new == old
    shutil.rmtree(run / "structures/reference/h2co")


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("level=nonsense", "nonsense"),
        ("complexes=[benzene]", "benzene"),
        ("complexes=['a b']", "a b"),
        ("typo=1", "typo"),
    ],
)
def test_a_wrong_configuration_stops_before_any_job_with_one_sentence(tmp_path, override, words):
    folder = copy_of_project(tmp_path)
    failed = snakemake(folder, "-n", "--config", override)
    printed = failed.stdout + failed.stderr  # a dry run prints to the former
    assert failed.returncode != 0
    assert words in printed
    assert "Traceback" not in printed
    assert not (folder / "results").exists()


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        (
            "charge: 0",
            "charge: 1",
            "BadInput: charge 1 gives 15 electrons, which cannot have multiplicity 1; correct `charge`",
        ),
        ("h2co/h2co.xyz", "h2co/bent.xyz", "BadStructure: bent.xyz"),
    ],
)
def test_an_impossible_molecule_stops_the_run_before_any_scf_with_its_sentence(tmp_path, old, new, sentence):
    folder = copy_of_project(tmp_path)
    *atoms, last = (folder / "structures/h2co/h2co.xyz").read_text().splitlines()
    symbol, x, y, z = last.split()
    bent = [*atoms, f"{symbol} {float(x) - 0.3} {y} {float(z) + 0.6}"]
    (folder / "structures/h2co/bent.xyz").write_text("\n".join(bent) + "\n")
    path = folder / "structures/complexes.yaml"
    others, entry = path.read_text().split("\nh2co:")
    path.write_text(others + "\nh2co:" + entry.replace(old, new))
    failed = snakemake(folder, "--configfile", "workflow/config/demo.yaml")
    assert failed.returncode != 0
    assert sentence in failed.stderr
    assert "Traceback" not in failed.stderr
    assert not list(folder.glob("results/h2co/pbe0_def2-svp/*/*/optimise/*.json"))
    assert not (folder / "work").exists()


def test_a_stage_runs_without_snakemake_and_gives_the_same(run, tmp_path):
    arguments = ["molecule", "--complex", "h2co", "--results", str(tmp_path / "results"), "--workdir", str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "workflow")}
    command = [sys.executable, "-m", "spincross", *arguments]
    subprocess.run(command, check=True, env=environment, cwd=tmp_path, capture_output=True)
    name = "h2co/molecule/molecule.xyz"
    assert (tmp_path / "results" / name).read_text() == (run / "results" / name).read_text()


def test_a_stage_with_bad_input_ends_with_one_sentence(tmp_path):
    environment = os.environ | {"PYTHONPATH": str(ROOT / "workflow")}
    command = [sys.executable, "-m", "spincross", "molecule", "--complex", "benzene"]
    failed = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert failed.returncode == 1
    assert failed.stderr.startswith("BadInput: --complex benzene is not in")
    assert len(failed.stderr.strip().splitlines()) == 1
