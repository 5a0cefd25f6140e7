"""The profiles: each plans the paper's complex with the memory, time and threads its jobs need."""

import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from spincross import config, hessian_stages, resources, stages
from spincross.levels import Level

ROOT = Path(__file__).resolve().parents[2]
COMPLEX, LEVEL = "fe-pm-pea2-ncs2", "pbe0_def2-svp"


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of the project in which the paper's molecule is extracted, so that the size of its jobs is known."""
    folder = tmp_path_factory.mktemp("profiles")
    shutil.copy(ROOT / "Snakefile", folder)
    for name in ("workflow", "structures", "envs"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    content = config.read_yaml(ROOT / "workflow/config/config.yaml") | {"complexes": [COMPLEX]}
    settings = config.load(content, ROOT / "structures")
    stages.extract_molecule(settings, COMPLEX, folder / f"results/{COMPLEX}/molecule")
    return folder


def planned(project, profile, method="finite differences", *more, known=COMPLEX):
    """Return what a dry run says about each rule: its text up to the next rule."""
    (project / "test.yaml").write_text(f"complexes: [{known}]\nhessian: {{method: {method}}}\nreference: ignore\n")
    command = [sys.executable, "-m", "snakemake", "--profile", f"workflow/profiles/{profile}", "--dry-run"]
    command += ["--configfile", "test.yaml", *more]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-1500:] + done.stderr[-1500:]
    blocks = re.split(r"(?m)^(?:local)?(?:rule|checkpoint) ", done.stdout + done.stderr)[1:]
    return {block.split(":")[0]: block for block in blocks}


def number(block, name):
    found = re.search(rf"\b{name}(?:=|: )(\d+)", block)
    assert found, f"no {name} in {block}"
    return int(found[1])


@pytest.mark.skipif(
    importlib.util.find_spec("snakemake_executor_plugin_slurm") is None, reason="needs snakemake-executor-plugin-slurm"
)
def test_slurm_is_asked_for_what_79_atoms_need(project):
    job = planned(project, "slurm", "finite differences", "--cores", "8")[
        "optimise_parent"
    ]  # a dry run has one without
    need = resources.size_of(ROOT / f"structures/{COMPLEX}/low_spin.xyz", Level())
    assert number(job, "threads") == 8
    assert number(job, "mem_mb") == resources.memory_mb(need, 8000) > 20000
    assert number(job, "runtime") == resources.runtime_minutes(need, 8, 100)


def test_a_workstation_runs_displacements_side_by_side_and_one_job_takes_what_it_needs(project):
    plan = planned(project, "workstation", "analytic", "--cores", "64")  # the profile's own word stands
    need = resources.size_of(ROOT / f"structures/{COMPLEX}/low_spin.xyz", Level())
    assert number(plan["optimise_parent"], "mem_mb") == resources.memory_mb(need, 8000)
    assert "plan_displacements" in plan and "compute_hessian" not in plan
    content = config.read_yaml(ROOT / "workflow/profiles/workstation/config.yaml")
    limits = dict(word.split("=") for word in content["resources"])
    assert int(limits["dft"]) * resources.memory_mb(need, 8000) <= int(limits["mem_mb"])


def test_displacements_their_gathering_and_verification_ask_for_their_own_grids(project):
    """Behind the checkpoint, of a complex whose plan is there."""
    known, state = "fe-aai2-ncs2", f"results/fe-aai2-ncs2/{LEVEL}/LS/C2"
    content = config.read_yaml(ROOT / "workflow/config/config.yaml") | {"complexes": [known]}
    settings = config.load(content, ROOT / "structures")
    stages.extract_molecule(settings, known, project / f"results/{known}/molecule")
    done = ROOT / f"structures/reference/{known}/{LEVEL}/LS/C2/optimise"
    shutil.copytree(done, project / state / "optimise", copy_function=shutil.copyfile)
    hessian_stages.plan_displacements(
        settings, known, "LS", project / state / "optimise", project / state / "vibrations"
    )
    more = ("--rerun-triggers", "mtime", "--cores", "16", "--")
    plan = planned(project, "workstation", "finite differences", *more, f"{state}/vibrations/hessian.npz", known=known)
    xyz = ROOT / f"structures/{known}/low_spin.xyz"
    asked = {grid: resources.memory_mb(resources.size_of(xyz, Level(grid_level=grid)), 8000) for grid in (3, 4, 6)}
    assert number(plan["compute_displacements"], "mem_mb") == asked[4]
    assert number(plan["gather_hessian"], "mem_mb") == asked[6] >= asked[4] > asked[3]
    plan = planned(project, "gpu", "analytic", *more, f"{state}/vibrations/hessian.npz", known=known)
    need = resources.size_of(xyz, Level(grid_level=6))
    assert number(plan["compute_hessian"], "mem_mb") == resources.hessian_memory_mb(need, 8000) > asked[6]
    assert number(plan["compute_hessian"], "runtime") == resources.runtime_minutes(need, 16, 27)
    assert number(plan["compute_hessian"], "gpu") == 1
    whole = planned(
        project, "workstation", "finite differences", "--cores", "16", "--", "verify_reference", known=known
    )
    records = (ROOT / "structures/reference").glob(f"*/{LEVEL}/LS/*/optimise/geometry.xyz")
    largest = max(records, key=lambda path: len(path.read_text().splitlines()))
    need = resources.size_of(largest, Level(grid_level=4))
    assert number(whole["verify_reference"], "mem_mb") == resources.memory_mb(need, 8000) >= asked[4]
    other = ("--config", "level=bp86_def2-tzvp", "--cores", "16", "--", "verify_reference")  # without a record
    plan = planned(project, "workstation", "finite differences", *other, known=known)
    assert number(plan["verify_reference"], "mem_mb") == resources.SMALLEST_MB


@pytest.mark.parametrize("method", ["analytic", "finite differences"])
def test_on_a_gpu_every_dft_job_holds_it_alone(project, method):
    plan = planned(project, "gpu", method, "--cores", "4")
    for rule in ("optimise_parent", "optimise_broken", "follow_symmetry_mode"):
        assert number(plan[rule], "gpu") == number(plan[rule], "dft") == 1
    assert ("compute_hessian" in plan) == (method == "analytic")
