"""Kill `spincross optimise` at random moments, many times, and print what was found as JSON; run by test_kills.py.

The command runs in forked children, so that the imports are paid once. Shared counters tell the parent in which phase a
child is and how many gradients it has begun; the parent kills with SIGKILL a random moment into the phase it waits for.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import sys
import time
from pathlib import Path

from spincross import __main__, electronic

KILLS = 21
PHASES = ("scf", "gradient", "update")
PHASE = multiprocessing.Value("i", -1)
BEGUN = multiprocessing.Value("i", 0)


def watched() -> None:
    """Make SCF and gradient leave their marks: phase 0, 1, and 2 for all that follows a gradient."""
    solve, gradient = electronic.solve, electronic.gradient

    def marked_solve(*arguments, **options):
        PHASE.value = 0
        return solve(*arguments, **options)

    def marked_gradient(*arguments, **options):
        BEGUN.value += 1
        PHASE.value = 1
        found = gradient(*arguments, **options)
        PHASE.value = 2
        return found

    electronic.solve, electronic.gradient = marked_solve, marked_gradient


def start(command: list[str], log: Path) -> int:
    """Fork a child that runs the command; return its process id."""
    PHASE.value, BEGUN.value = -1, 0
    child = os.fork()
    if child == 0:
        handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(handle, 1), os.dup2(handle, 2)
        code = 1
        try:
            __main__.main(command)
            code = 0
        finally:
            sys.stdout.flush()
            os._exit(code)
    return child


def killed(child: int, phase: int, after: int, delay: float) -> bool:
    """Kill the child `delay` seconds into a phase once it has begun `after` gradients; False if it ended before."""
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            assert os.waitstatus_to_exitcode(status) == 0, "a child failed; see its log"
            return False
        if PHASE.value == phase and BEGUN.value >= after:
            time.sleep(delay)
            os.kill(child, signal.SIGKILL)
            return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
        time.sleep(2e-4)


def stored(work: Path) -> int:
    """Count the whole steps in the work folder."""
    lines = [p.read_text().split("\n") for p in work.rglob("steps.jsonl")]
    return sum(sum(line.endswith("}") and '"step"' in line for line in found) for found in lines)


def main(root: Path, config: Path, structures: Path) -> None:
    """Run the command to its end once, then kill it KILLS times over as many work folders as that takes."""
    watched()
    chance, hits, lost, shrunk = random.Random(7), dict.fromkeys(PHASES, 0), [], 0
    common = ["--complex", "h2co", "--state", "LS", "--config", str(config), "--structures", str(structures)]
    __main__.main(["molecule", *common, "--results", str(root / "results"), "--workdir", str(root)])
    folders = [root / "work_reference"]

    def command(work: Path) -> list[str]:
        results = root / work.name.replace("work", "results")
        if not results.exists():
            (results / "h2co").mkdir(parents=True)
            (results / "h2co/molecule").symlink_to(root / "results/h2co/molecule")
        return ["optimise", *common, "--results", str(results), "--workdir", str(work)]

    assert not killed(start(command(folders[0]), root / "log"), 9, 0, 0.0)
    work = root / "work_0"
    while sum(hits.values()) < KILLS:
        before, phase = stored(work), chance.randrange(3)
        child = start(command(work), root / "log")
        hit = killed(child, phase, chance.randrange(3), chance.random() * (0.002 if phase == 2 else 0.05))
        now = stored(work)
        lost.append(BEGUN.value - (now - before))
        shrunk += now < before
        if hit:
            hits[PHASES[max(PHASE.value, 0)]] += 1
        else:
            folders.append(work)
            work = root / f"work_{len(folders)}"
    while killed(start(command(work), root / "log"), 9, 0, 0.0):
        pass
    folders.append(work)
    optimised = [root / f.name.replace("work", "results") / "h2co/small/LS/C2/optimise" for f in folders]
    energies = [json.loads((f / "optimise.json").read_text())["energy_hartree"] for f in optimised]
    positions = [(f / "geometry.xyz").read_text().splitlines()[2:] for f in optimised]
    print(json.dumps({"hits": hits, "lost": lost, "shrunk": shrunk, "energies": energies, "atoms": positions}))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]))
