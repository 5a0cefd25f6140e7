"""Scatter on two cores: one job of two threads against two jobs of one thread, and what a job's start costs.

`make bench-scatter` while nothing else runs (options in BENCH: --basis, --repeats). It asserts nothing. Displaced
gradients of formaldehyde's triplet are computed as a cluster's jobs compute them: each job is a process that loads the
library, reads its input and computes its bundle. Its start-up is its time from beginning to end less the seconds of its
gradients; a job through Snakemake adds Snakemake's own.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import numpy as np

from spincross import config, displacements, electronic, files, hessian_stages, optimise, reference, stages
from spincross.molecule import Molecule

ROOT = Path(__file__).resolve().parents[1]
COMPLEX, STATE, GROUP = "h2co", "HS", "C2"
LARGE = "fe-pm-pea2-ncs2"
JOB = """
import sys
from pathlib import Path
from spincross import config, hessian_stages
settings = config.load(config.read_yaml(Path("config.json")), config.STRUCTURES).for_job(8000, int(sys.argv[1]))
bundle, out, work = int(sys.argv[2]), Path(sys.argv[3]), Path(sys.argv[4])
hessian_stages.compute_bundle(settings, "h2co", "HS", Path("optimise"), Path("plan.json"), bundle, out, work)
"""


def prepare(folder: Path, basis: str) -> config.Settings:
    """Put configuration, optimised state and its orbitals in the basis into a folder."""
    content = config.read_yaml(config.WORKFLOW / "config/config.yaml") | {"complexes": [COMPLEX]}
    shipped = config.load(deepcopy(content), config.STRUCTURES)
    shutil.copytree(reference.folder(shipped, COMPLEX, STATE, GROUP, "optimise"), folder / "optimise")
    content["levels"][shipped.level_name] |= {"basis": basis, "device": "cpu"}
    files.write_json(folder / "config.json", content)
    settings = config.load(content, config.STRUCTURES)
    if settings.level.basis != shipped.level.basis:
        _, molecule = hessian_stages.optimised_molecule(settings, COMPLEX, folder / "optimise")
        solution = electronic.solve(molecule, settings.level, settings.state(COMPLEX, STATE))
        optimise.store_orbitals(folder / "optimise/orbitals.npz", solution.orbitals)
    return settings


def scattered(settings: config.Settings, folder: Path, jobs: int, threads: int) -> tuple[float, list[float], int]:
    """Compute all displacements in so many jobs at once; return wall seconds, start-up of each job, and gradients."""
    _, molecule = hessian_stages.optimised_molecule(settings, COMPLEX, folder / "optimise")
    count = len(displacements.plan_displacements(molecule, settings.hessian.step))
    bundles = displacements.bundles(count, -(-count // jobs))
    files.write_json(folder / "plan.json", {"bundles": [[b.start, b.stop] for b in bundles]})
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "PYTHONPATH": str(config.WORKFLOW)}
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        numbers = [str(k) for k in range(jobs)]
        start = time.perf_counter()
        running = [
            subprocess.Popen(
                [sys.executable, "-c", JOB, str(threads), k, f"{scratch}/{k}.npz", f"{scratch}/work"],
                cwd=folder, env=environment, stdout=subprocess.DEVNULL,
            )
            for k in numbers
        ]  # fmt: skip
        walls = _ends(running, start)
        found = [files.read_arrays(Path(scratch) / f"{k}.npz")["seconds"].sum() for k in numbers]
    return max(walls), [wall - used for wall, used in zip(walls, found, strict=True)], count


def _ends(running: list[subprocess.Popen[bytes]], start: float) -> list[float]:
    """Return how long each job ran, s."""
    walls = [0.0] * len(running)
    while not all(walls):
        time.sleep(0.01)
        for k, job in enumerate(running):
            if not walls[k] and job.poll() is not None:
                walls[k] = time.perf_counter() - start
                if job.returncode:
                    sys.exit(f"a job ended with {job.returncode}")
    return walls


def through_snakemake(folder: Path) -> float:
    """Return the start-up (s) of a job of one displacement that Snakemake starts, its own included."""
    shutil.copy(ROOT / "Snakefile", folder)
    for name in ("workflow", "structures", "envs"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    scattered = "hessian: {method: finite differences, displacements_per_job: 1}\n"
    (folder / "bench.yaml").write_text(f"complexes: [{COMPLEX}]\n{scattered}")
    place = f"results/{COMPLEX}/pbe0_def2-svp/{STATE}/{GROUP}/vibrations"
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "--configfile", "bench.yaml", "--quiet", "all", "--"]
    clean = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}

    def make(target: str) -> float:
        start = time.perf_counter()
        subprocess.run([*command, f"{place}/{target}"], cwd=folder, env=clean, check=True, stdout=subprocess.DEVNULL)
        return time.perf_counter() - start

    make("plan.json")
    wall = make("displacements/0.npz")
    return wall - float(files.read_arrays(folder / place / "displacements/0.npz")["seconds"].sum())


def planning_seconds(settings: config.Settings) -> tuple[float, int]:
    """Return how long each job of the 79-atom complex takes to plan its displacements, and their number."""
    xyz = config.STRUCTURES / settings.complexes[LARGE]["low_spin_structure"].replace(".cif", ".xyz")
    molecule: Molecule = stages.load_molecule(settings, LARGE, xyz, "C2").symmetrised()
    start = time.perf_counter()
    count = len(displacements.plan_displacements(molecule, settings.hessian.step))
    return time.perf_counter() - start, count


def repeated(work: Callable[[], tuple[float, list[float], int]], repeats: int) -> tuple[float, float, int]:
    """Return medians of wall seconds and start-up seconds, and the number of gradients."""
    rows = [work() for _ in range(repeats)]
    return statistics.median(r[0] for r in rows), statistics.median(np.concatenate([r[1] for r in rows])), rows[0][2]


def main() -> None:
    """Print the two ways, their ratio, and the start-up by itself, through Snakemake, and for the large complex."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--basis", default="def2-tzvp", help="larger than the shipped level's: a gradient takes seconds"
    )
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        settings = prepare(folder, options.basis)
        print(f"{COMPLEX} {STATE} {GROUP}, {settings.level.functional}/{options.basis}; medians of {options.repeats}")
        times = {}
        for jobs, threads in ((1, 2), (2, 1)):
            wall, start, count = repeated(lambda j=jobs, t=threads: scattered(settings, folder, j, t), options.repeats)
            times[jobs] = (wall, wall - start)
            print(
                f"{jobs} x {threads} thread(s): {count} gradients in {wall:.1f} s, {count / wall:.2f} a second",
                end="; ",
            )
            print(f"start-up {start:.1f} s, {100 * start / wall:.0f} % of a job", flush=True)
        (one, one_bare), (two, two_bare) = times[1], times[2]
        print(
            f"two jobs of one thread are {one / two:.2f} times faster, {one_bare / two_bare:.2f} times without start-up"
        )
        (folder / "project").mkdir()
        start = through_snakemake(folder / "project")
        planning, count = planning_seconds(settings)
        print(f"start-up of a job through Snakemake: {start:.1f} s")
        print(f"planning the {count} displacements of {LARGE}, in every job: {planning:.1f} s")
        reckoned, share = displacements.STARTUP_SECONDS, 100 * displacements.STARTUP_SHARE
        print(
            f"together {start + planning:.1f} s; bundles are made with {reckoned:.1f} s, to keep it below {share:.0f} %"
        )


if __name__ == "__main__":
    main()
