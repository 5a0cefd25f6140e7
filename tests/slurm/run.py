"""The chain of formaldehyde through SLURM, one job killed midway with scancel; the same Hessian as in one process.

Arguments, if any, are the files to make instead of the whole chain.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
from cluster import Cluster

ROOT = Path(__file__).resolve().parents[2]
STATE = "h2co/pbe0_def2-svp/HS/C2"
AGREEMENT = 0.1
"""Largest difference (cm-1) between the Hessian of the killed and resumed jobs and that of one process."""
CONFIGURATION = """
complexes: [h2co]
reference: ignore
hessian:
  method: finite differences
  displacements_per_job: 7
"""


def copy_of_project(folder: Path) -> Path:
    """Copy what a run needs."""
    shutil.copy(ROOT / "Snakefile", folder)
    for name in ("workflow", "structures", "envs"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    (folder / "test.yaml").write_text(CONFIGURATION)
    return folder


def snakemake(folder: Path) -> subprocess.Popen[str]:
    """Start the chain with the cluster profile, as small as this host."""
    command = [sys.executable, "-m", "snakemake", "--profile", "workflow/profiles/slurm", "--configfile", "test.yaml"]
    command += [
        "--slurm-no-account",
        "--slurm-status-command",
        "squeue",
        "--slurm-init-seconds-before-status-checks",
        "5",
    ]
    command += ["--seconds-between-status-checks", "5", "--slurm-keep-successful-logs", "--latency-wait", "30"]
    command += sys.argv[1:]
    stages = ("optimise_parent", "optimise_broken", "compute_displacements", "gather_hessian", "follow_symmetry_mode")
    command += ["--set-threads", *(f"{stage}=1" for stage in stages)]
    clean = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    return subprocess.Popen(command, cwd=folder, env=clean, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def points(folder: Path) -> list[Path]:
    """Return the stored displacements of the quintet's part of the chain, oldest first."""
    return sorted((folder / "work" / STATE / "hessian").glob("*/point.npz"), key=lambda path: path.stat().st_mtime_ns)


def job_of(bundle: int) -> str | None:
    """Return the id of the job that computes a bundle of HS in the parent group, None while it does not run."""
    wanted = ("compute_displacements:", "state=HS", "point_group=C2", f"bundle={bundle}")
    for place in Path("/proc").glob("[0-9]*"):
        try:
            words = (place / "cmdline").read_bytes().decode(errors="replace")
            entries = (place / "environ").read_bytes().decode(errors="replace").split("\0")
        except OSError:  # the process has ended meanwhile
            continue
        job = next((e.removeprefix("SLURM_JOB_ID=") for e in entries if e.startswith("SLURM_JOB_ID=")), None)
        if job is not None and all(word in words for word in wanted):
            return job
    return None


def kill_one(cluster: Cluster, folder: Path, facts: dict[str, Any]) -> None:
    """Wait until a displacement of HS is stored, then cancel the job that is computing the next one."""
    while not (stored := points(folder)):
        time.sleep(0.02)
    index = int(stored[0].parent.name.split("_")[1])
    planned = json.loads((folder / "results" / STATE / "vibrations/plan.json").read_text())["bundles"]
    bundle = next(k for k, (first, last) in enumerate(planned) if first <= index < last)
    facts["job"] = job_of(bundle)
    if facts["job"] is not None:
        cluster.ask("scancel", facts["job"])
    facts["bundle"] = bundle
    facts["stored"] = {path.parent.name: path.stat().st_mtime_ns for path in stored}
    print(f"scancel {facts['job']}: bundle {bundle}, {len(stored)} displacements stored", flush=True)


def wavenumbers(results: Path) -> np.ndarray:
    """Return the wavenumbers of HS in the parent group."""
    content = json.loads((results / STATE / "vibrations/vibrations.json").read_text())
    return np.array(content["wavenumbers_per_cm"])


def in_one_process(folder: Path) -> np.ndarray:
    """Compute the Hessian of the same geometry again in one process, from nothing, and return its wavenumbers."""
    shutil.copytree(folder / "results" / STATE / "optimise", folder / "again" / STATE / "optimise")
    environment = os.environ | {"PYTHONPATH": str(folder / "workflow"), "OMP_NUM_THREADS": "1"}
    for stage in ("hessian", "vibrations"):
        command = [sys.executable, "-m", "spincross", stage, "--complex", "h2co", "--state", "HS", "--group", "C2"]
        command += ["--structures", "structures", "--results", "again", "--workdir", "again-work"]
        command += ["--set", "hessian.method=finite differences"]
        subprocess.run(command, cwd=folder, env=environment, check=True)
    return wavenumbers(folder / "again")


def main() -> None:
    """Run, kill, compare; exit code 1 with a sentence if anything is not as it should be."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # so that the daemons are stopped, too
    with tempfile.TemporaryDirectory(prefix="sl") as scratch:
        (Path(scratch) / "project").mkdir()
        folder = copy_of_project(Path(scratch) / "project")
        facts: dict[str, Any] = {}
        start = time.monotonic()
        with Cluster(Path(scratch) / "c") as cluster:
            print(cluster.ask("sinfo"), flush=True)
            chain = snakemake(folder)
            killer = threading.Thread(target=kill_one, args=(cluster, folder, facts), daemon=True)
            killer.start()
            lines = []
            for line in chain.stdout or []:
                lines.append(line)
                if re.search(r"submitted|has been submitted|Error|Trying to restart|Finished jobid|steps|array", line):
                    print(line.rstrip(), flush=True)
            code = chain.wait()
        if code:
            print("".join(lines[-80:]))
            sys.exit(f"snakemake ended with {code}")
        print(f"chain through SLURM: {time.monotonic() - start:.0f} s", flush=True)
        check(folder, facts)


def check(folder: Path, facts: dict[str, Any]) -> None:
    """Check that a job was killed, nothing stored was repeated, and the result is that of one process."""
    stored = facts.get("stored", {})
    if facts.get("job") is None:
        sys.exit("no job was killed midway; nothing was tested")
    after = {path.parent.name: path.stat().st_mtime_ns for path in points(folder)}
    repeated = [name for name, moment in stored.items() if after[name] != moment]
    print(f"killed job {facts['job']}: {len(stored)} of {len(after)} stored then, {len(repeated)} of them repeated")
    log = (folder / "results" / STATE / f"vibrations/displacements/{facts['bundle']}.log").read_text()
    print(f"--- log of the job sent again\n{log.rstrip()}")
    if "found" not in log:
        sys.exit("the job ended before scancel reached it; nothing was tested")
    if repeated:
        sys.exit(f"stored displacements were computed again: {', '.join(repeated)}")
    difference = float(np.abs(wavenumbers(folder / "results") - in_one_process(folder)).max())
    print(f"wavenumbers {wavenumbers(folder / 'results').round(2).tolist()} cm-1, {difference:.1e} from one process")
    if difference > AGREEMENT:
        sys.exit(f"the resumed Hessian differs by {difference:.2f} cm-1 (allowed {AGREEMENT})")
    print("SLURM test passed")


if __name__ == "__main__":
    main()
