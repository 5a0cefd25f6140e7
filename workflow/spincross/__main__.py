"""Run one stage from the command line: `python -m spincross STAGE --complex ID ...`; same functions, same files.

What a stage alone needs is imported in its function: the DFT stages run on a host that has only PySCF, gpu4pyscf,
geomeTRIC, ASE, spglib, NumPy and SciPy (finite differences: phonopy, too). `pack` makes a folder that can be carried
there, `chain` works it off.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from spincross import (
    arguments,
    config,
    files,
    gpu_check,
    hessian_stages,
    job,
    progress,
    reference,
    saddles,
    stages,
    symmetry_mode,
    vibration_stages,
)
from spincross.config import Settings
from spincross.errors import BadInput, MissingInput, SpincrossError, Stopped

STOPPED = 75
"""Exit code of a run that stopped because its time was over (EX_TEMPFAIL: try again)."""
AGAIN = 10.0
"""Seconds after which the alarm of `--stop-after` rings again."""
LONGEST = 1e8
"""Seconds that `--stop-after` takes at most, three years."""


def _located(options: argparse.Namespace) -> argparse.Namespace:
    """Return the options with the paths and the complex of a job, where one is given."""
    if options.job is not None:
        options.config, options.structures = options.job / "config.json", options.job / "structures"
        options.results, options.workdir = options.job / "results", options.job / "work"
        own = job.complex_of(options.job)
        if options.complex not in (None, own):
            raise BadInput(f"the job {options.job} is of {own}, not of {options.complex}; leave --complex out")
        options.complex = own
    if options.complex is None:
        raise BadInput(
            "--complex is missing: give an id from structures/complexes.yaml, or --job with a folder of `pack`"
        )
    return options


class Place:
    """Where the files of one complex, level, state and group lie."""

    def __init__(self, options: argparse.Namespace, settings: Settings) -> None:
        self.options = options
        self.complex, self.state = options.complex, options.state
        self.parent_group = stages.parent_group(settings, options.complex)
        self.group = options.group or self.parent_group
        self.root = options.results / options.complex
        self.base = self.root / settings.level_name
        level = Path(options.complex) / settings.level_name
        tail, parent = level / options.state / self.group, level / "HS" / self.parent_group
        self.here, self.work = options.results / tail, options.workdir / tail
        self.parent, self.parent_work = options.results / parent, options.workdir / parent


def command_for(path: Path, options: argparse.Namespace) -> tuple[str, str] | None:
    """Return the stage that makes a file of the results, and the words that run it; None for any other file."""
    if not path.is_relative_to(options.results):
        return None
    folders = path.relative_to(options.results).parts[1:-1]  # between the complex and the file
    makers = [
        stage for stage, (folder, names) in MADE_BY.items()
        if folders[-1:] == (folder,) and (not names or path.name in names)
    ]  # fmt: skip
    if not makers:
        return None
    stage = makers[0]
    words = ["python -m spincross", stage, "--complex", options.complex]
    if stage in ("optimise", "hessian", "vibrations"):
        words += ["--state", folders[1], "--group", folders[2]]
    for name in ("config", "structures", "results", "workdir"):
        if (given := getattr(options, name)) != arguments.common().get_default(name):
            words += [f"--{name}", str(given)]
    return stage, " ".join(words)


def _optimise(settings: Settings, place: Place) -> None:
    out, work = place.here / "optimise", place.work / "optimise"
    if place.group != place.parent_group and (place.state, place.group) != ("HS", "C1"):
        raise BadInput(
            f"{place.complex} has the point group {place.parent_group}: LS and HS are optimised in it, and HS in C1, "
            f"but not {place.state} in {place.group}"
        )
    if place.group != place.parent_group:
        stages.optimise_broken(settings, place.complex, place.parent, out, work)
        return
    name = "molecule.xyz" if place.state == "LS" else "molecule_high_spin.xyz"
    stages.optimise_parent(settings, place.complex, place.state, place.group, place.root / "molecule" / name, out, work)


def _vibrations(settings: Settings, place: Place) -> None:
    vibration_stages.analyse_vibrations(
        settings, place.complex, place.state, place.here / "optimise", place.here / "vibrations"
    )


def _hessian(settings: Settings, place: Place) -> None:
    optimised, out = place.here / "optimise", place.here / "vibrations"
    hessian_stages.compute_hessian(settings, place.complex, place.state, optimised, out, place.work / "hessian")


def _leave_saddle(settings: Settings, place: Place) -> None:
    work = place.options.workdir / place.complex / settings.level_name
    kept = saddles.leave(settings, place.complex, place.state, place.group, place.base, work)
    print(
        f"{place.complex} {place.state} {place.group} starts anew beside the saddle, which is kept in {kept}",
        flush=True,
    )
    print("`make run`, or the stage optimise, goes on from there", flush=True)


def _probe(settings: Settings, place: Place) -> None:
    if place.options.irrep is None:
        raise BadInput("probe-instability needs --irrep, as B in C2")
    optimised, work = place.here / "optimise", place.work / "probe"
    irrep = place.options.irrep
    vibration_stages.probe_instability(
        settings, place.complex, place.state, irrep, optimised, place.here / "vibrations", work
    )


def _entropy(settings: Settings, place: Place) -> None:
    from spincross import conclusions

    low = place.base / "LS" / place.parent_group / "vibrations/vibrations.json"
    high, mode = place.base / "HS/C1/vibrations/vibrations.json", place.parent / "symmetry_mode/mode.json"
    conclusions.compute_entropy(settings, place.complex, low, high, mode, place.base / "entropy")


def _symmetry_mode(settings: Settings, place: Place) -> None:
    out, work = place.parent / "symmetry_mode", place.parent_work / "symmetry_mode"
    stages.follow_symmetry_mode(settings, place.complex, place.parent, out, work)


def _assess(settings: Settings, place: Place) -> None:
    stages.assess_symmetry_mode(
        settings, place.complex, place.parent, place.base / "HS/C1", place.parent / "symmetry_mode"
    )


def _report(settings: Settings, place: Place) -> None:
    from spincross import conclusions

    states = [place.base / "LS" / place.parent_group, place.parent, place.base / "HS/C1"]
    conclusions.render_report(settings, place.complex, states, config.WORKFLOW / "report", place.root)


def _fit(settings: Settings, place: Place) -> None:
    from spincross import conclusions

    if place.options.data is None:
        raise BadInput("fit needs --data with a tab-separated table")
    free = [name for name in place.options.free.split(",") if name]
    ends = place.options.chi_t or (None, None)
    conclusions.fit_landau(settings, place.complex, place.options.data, free, place.base / "landau", ends)


def _phase_diagram(settings: Settings, place: Place) -> None:
    from spincross import conclusions

    chosen, limits = place.options.parameter, place.options.range
    if chosen is None or limits is None:
        raise BadInput("phase-diagram needs --parameter NAME and --range LOW HIGH")
    conclusions.draw_phase_diagram(settings, place.complex, chosen, (limits[0], limits[1]), place.base / "landau")
    print(f"phase_diagram_{chosen}.* written into {place.base / 'landau'}")


def _landau(settings: Settings, place: Place) -> None:
    from spincross import conclusions

    folder = place.base / "landau"
    if place.options.stage == "draw-landau":
        conclusions.draw_landau(folder / "landau.json", folder)
        return
    conclusions.solve_landau(settings, place.complex, place.base / "entropy/entropy.json", folder)


def _states(settings: Settings, place: Place) -> None:
    from spincross import state_table

    work = place.options.workdir / place.complex / settings.level_name / "states"
    names, search = place.options.states.split(","), not place.options.no_search
    if not set(names) <= {"LS", "HS"}:
        raise BadInput(f"--states {place.options.states}: give LS, HS or LS,HS")
    state_table.tabulate(settings, place.complex, names, search, place.base / "states", work)


def _chain(settings: Settings, place: Place) -> None:
    """Run every DFT stage of a complex that is neither finished nor recorded."""
    job.recall(settings, place.complex, place.options.results)
    for step in job.steps(place.parent_group):
        chosen = argparse.Namespace(**vars(place.options) | {"state": step.state, "group": step.group})
        there = Place(chosen, settings)
        name = f"{step.stage} {step.state} {step.group}"
        output = Path(os.path.normpath(there.here / step.output))  # the folder that `..` leaves may not be there yet
        if output.exists():
            reference.require_level(settings, output)
            reference.require_geometry(output)
            print(f"{name}: finished before", flush=True)
        else:
            print(name, flush=True)
            STAGES[step.stage](settings, there)
        if step.stage == "vibrations" and (step.state == "LS" or step.group == "C1"):
            _require_minimum(there)


def _require_minimum(there: Place) -> None:
    """Raise UnexpectedImaginaryMode before the next stages if a state that the entropy needs as a minimum is none."""
    folder = there.here / "vibrations"
    group = files.read_json(folder / "vibrations.json")["provenance"]["point_group"]
    symmetry_mode.require_minimum(stages.load_vibrations(folder), there.complex, there.state, group)


def _progress(settings: Settings, place: Place) -> None:
    print(f"{place.complex}, {settings.level_name}:")
    for row in progress.rows(settings, place.complex, place.options.results, place.options.workdir):
        print(row)


def _pack(settings: Settings, place: Place) -> None:
    if place.options.into is None:
        raise BadInput("pack needs --into with the folder to make")
    job.pack(settings, place.complex, place.options.into, place.options.workdir)


def _store(settings: Settings, place: Place) -> None:
    for name in reference.store(settings, place.options.results):
        print(f"stored {name}", flush=True)


STAGES: dict[str, Callable[[Settings, Place], None]] = {
    "chain": _chain,
    "progress": _progress,
    "pack": _pack,
    "store": _store,
    "molecule": lambda s, p: stages.extract_molecule(s, p.complex, p.root / "molecule"),
    "crystal": lambda s, p: stages.compare_crystals(s, p.complex, p.root / "molecule"),
    "states": _states,
    "optimise": _optimise,
    "hessian": _hessian,
    "leave-saddle": _leave_saddle,
    "probe-instability": _probe,
    "vibrations": _vibrations,
    "symmetry-mode": _symmetry_mode,
    "assess-symmetry-mode": _assess,
    "entropy": _entropy,
    "landau": _landau,
    "draw-landau": _landau,
    "fit": _fit,
    "phase-diagram": _phase_diagram,
    "report": _report,
}


MADE_BY: dict[str, tuple[str, tuple[str, ...]]] = {
    "molecule": ("molecule", ()),
    "optimise": ("optimise", ()),
    "hessian": ("vibrations", ("hessian.npz", "hessian.json")),
    "vibrations": ("vibrations", ()),
    "symmetry-mode": ("symmetry_mode", reference.STAGE_FILES["symmetry_mode"]),
    "assess-symmetry-mode": ("symmetry_mode", ()),
    "entropy": ("entropy", ()),
    "landau": ("landau", ()),
}
"""Stage: the folder of its results, and its files where another stage writes there too; the first that fits counts."""


@contextmanager
def naming_the_stage(options: argparse.Namespace) -> Iterator[None]:
    """Say of a file of the results that is not there which stage makes it, and how to run that."""
    try:
        yield
    except MissingInput as error:
        found = command_for(error.path, options)
        if found is None:
            raise
        stage, command = found
        raise BadInput(
            f"{error.path} is not there: the stage {stage} has not been run to its end; run `{command}` first"
        ) from error


@contextmanager
def stopping(seconds: float | None) -> Iterator[None]:
    """Raise Stopped inside the block once the seconds are over; no limit without.

    The alarm waits for the call into compiled code that is running, at most a good part of an SCF cycle (work that
    was given to threads is left), and rings again every AGAIN seconds: what is raised inside a destructor or a callback
    is lost. Whatever was finished before is in the work folder, written whole, so that stopping is as safe as a kill.
    """

    def stop(*_: Any) -> None:
        """Raise Stopped when the alarm rings."""
        raise Stopped(f"stopped after {seconds:.0f} s, as asked; start the same command again to go on")

    if seconds is None:
        yield
        return
    if not 0 < seconds < LONGEST:
        raise BadInput(f"--stop-after {seconds:g}: give a positive number of seconds below {LONGEST:g}")
    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds, AGAIN)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def main(given: list[str] | None = None) -> None:
    """Run one stage, build a model or check a GPU; a failure of ours ends with one sentence and 1, a stop with 75."""
    words = sys.argv[1:] if given is None else given
    try:
        if words[:1] == ["build"]:
            from spincross import build

            build.main(words[1:])
            return
        if words[:1] == ["check-gpu"]:
            gpu_check.main(words[1:])
            return
        options = _located(arguments.parser((__doc__ or "").splitlines()[0]).parse_args(words))
        known = config.read_yaml(options.structures / "complexes.yaml")
        if options.complex not in known:
            listed = ", ".join(map(str, known))
            raise BadInput(
                f"--complex {options.complex} is not in {options.structures}/complexes.yaml; known: {listed}"
            )
        content = config.changed(config.read_yaml(options.config), options.set) | {"complexes": [options.complex]}
        settings = config.load(content, options.structures, str(options.config))
        with stopping(options.stop_after), naming_the_stage(options):
            STAGES[options.stage](settings, Place(options, settings))
    except SpincrossError as error:
        sys.exit(f"{type(error).__name__}: {error}")
    except Stopped as stop:
        print(stop, flush=True)
        sys.exit(STOPPED)


if __name__ == "__main__":
    try:
        main()
    except SystemExit as end:
        if end.code == STOPPED:
            sys.stdout.flush()
            os._exit(STOPPED)  # the interpreter would wait for threads whose work is not taken up any more
        raise
