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

KILLS = {"LS": 21, "HS": 9}
PHASES = ("scf", "gradient", "update")
PHASE = multiprocessing.Value("i", -1)
BEGUN = multiprocessing.Value("i", 0)
SINCE = multiprocessing.Value("d", 0.0)
SPENT, TIMES = multiprocessing.Array("d", 3), multiprocessing.Array("i", 3)
"""Seconds spent in each phase, and how often it was entered."""


def enter(phase: int) -> None:
    """Note that a phase begins and how long the one before took."""
    now = time.perf_counter()
    if PHASE.value >= 0:
        SPENT[PHASE.value] += now - SINCE.value
        TIMES[PHASE.value] += 1
    SINCE.value, PHASE.value = now, phase


def watched() -> None:
    """Make SCF and gradient leave their marks: phase 0, 1, and 2 for all that follows a gradient."""
    solve, gradient = electronic.solve, electronic.gradient

    def marked_solve(*arguments, **options):
        enter(0)
        return solve(*arguments, **options)

    def marked_gradient(*arguments, **options):
        BEGUN.value += 1
        enter(1)
        found = gradient(*arguments, **options)
        enter(2)
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


def duplicates(work: Path) -> int:
    """Count steps of one surface that stand in the work folder twice."""
    twice = 0
    for path in work.rglob("steps.jsonl"):
        places = [str(json.loads(line)["positions_bohr"]) for line in path.read_text().splitlines()[1:]]
        twice += len(places) - len(set(places))
    return twice


def killed_runs(root: Path, state: str, common: list[str]) -> dict:
    """Run one state to its end once, then kill it over as many work folders as that takes."""
    chance, hits, lost, shrunk = random.Random(7), dict.fromkeys(PHASES, 0), [], 0
    folders, begun = [root / f"work_{state}_reference"], []

    def command(work: Path) -> list[str]:
        results = root / work.name.replace("work", "results")
        if not results.exists():
            (results / "h2co").mkdir(parents=True)
            (results / "h2co/molecule").symlink_to(root / "results/h2co/molecule")
        return ["optimise", *common, "--state", state, "--results", str(results), "--workdir", str(work)]

    SPENT[:], TIMES[:] = [0.0] * 3, [0] * 3
    assert not killed(start(command(folders[0]), root / "log"), 9, 0, 0.0)
    reference, lengths = BEGUN.value, [spent / max(1, times) for spent, times in zip(SPENT, TIMES, strict=True)]
    work, count, kills = root / f"work_{state}_0", 0, 0
    while True:
        enough = sum(hits.values()) >= KILLS[state]
        before, phase = stored(work), 9 if enough else chance.randrange(3)
        child = start(command(work), root / "log")
        hit = killed(child, phase, chance.randrange(reference), chance.random() * lengths[phase % 3])
        count, kills = count + BEGUN.value, kills + hit
        now = stored(work)
        lost.append(BEGUN.value - (now - before))
        shrunk += now < before
        if hit:
            hits[PHASES[max(PHASE.value, 0)]] += 1
            continue
        folders.append(work)
        begun.append({"gradients": count, "kills": kills})
        work, count, kills = root / f"work_{state}_{len(folders)}", 0, 0
        if enough:
            break
    optimised = [root / f.name.replace("work", "results") / f"h2co/small/{state}/C2/optimise" for f in folders]
    return {
        "hits": hits,
        "lost": lost,
        "shrunk": shrunk,
        "reference": reference,
        "begun": begun,
        "duplicates": sum(map(duplicates, folders)),
        "energies": [json.loads((f / "optimise.json").read_text())["energy_hartree"] for f in optimised],
        "atoms": [(f / "geometry.xyz").read_text().splitlines()[2:] for f in optimised],
    }


def main(root: Path, config: Path, structures: Path) -> None:
    """Kill both states and print what was found."""
    watched()
    common = ["--complex", "h2co", "--config", str(config), "--structures", str(structures)]
    __main__.main(["molecule", *common, "--results", str(root / "results"), "--workdir", str(root)])
    print(json.dumps({state: killed_runs(root, state, common) for state in KILLS}))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]))
