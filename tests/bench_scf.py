"""Cost of an optimisation against the stock recipe, and what each measure buys: `make bench`. It asserts nothing.

Options: --complex, --state, --repeats, --variants (names, separated by ;), --workdir, --start, --limit. With a work
folder, finished variants are read from it and a killed one goes on; seconds are those of the steps, so that a resumed
run counts right. --start takes an XYZ file in the point group, principal axis z through the origin, in place of the
shipped start. --limit ends the stock recipe after so many seconds: what it would have taken is then more.
Seconds of the processor (all threads) are those of the last start and do not depend on what else the machine does.
`cold` are the cycles of the first SCF in its own basis, `small` those in a minimal one before it; `products` of the
orbital Hessian with a vector are what a warm step takes besides its cycles, to begin direct minimisation.
Compare energies first: without symmetry the stock recipe may end in a lower minimum (triplet formaldehyde does). It is
dft.RKS or dft.UKS(...).density_fit(), default guess, pyscf.geomopt.geometric_solver.optimize. It ends where an SCF does
not converge (the quintet of the iron stand-in); `stock, unconverged too` goes on from such gradients.
The built model of the iron stand-in, for --start: python -m spincross build fe-aai2-ncs2 NCC=N --trans amine --folder F
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

from pyscf import dft
from pyscf.geomopt import geometric_solver
from pyscf.scf import hf

from spincross import config, crystal, electronic, mean_field, optimise, stages
from spincross.molecule import Molecule
from spincross.xc_cache import CachedNumInt

Row = dict[str, Any]
SOLVE = electronic.solve


def _cold(molecule: Molecule, level: Any, state: Any, guess: Any = None, *rest: Any, **_: Any) -> Any:
    return SOLVE(molecule, level, state, None, *rest)


def _no_curvature(*arguments: Any, **_: Any) -> Any:
    return SOLVE(*arguments)


VARIANTS: dict[str, Callable[[], Any]] = {
    "all measures": contextlib.nullcontext,
    "cold guess at every step": lambda: patch.object(electronic, "solve", _cold),
    "no curvature of the last step": lambda: patch.object(electronic, "solve", _no_curvature),
    "no direct minimisation": lambda: patch.object(electronic.Ladder, "can_minimise", lambda *_: False),
    "no cached orbitals": lambda: patch.object(mean_field, "CachedNumInt", lambda memory: CachedNumInt(0.0)),
    "geomeTRIC's start Hessian": contextlib.nullcontext,
    "no coarse grid": contextlib.nullcontext,
}
"""What is switched off, and how; the last two go through arguments."""


class OutOfTime(Exception):
    """The stock recipe has had its seconds."""


@contextmanager
def counted(rows: list[tuple[int, float]], until: float) -> Iterator[None]:
    """Append the cycles and energy of every SCF of the stock recipe; OutOfTime where one would start too late."""
    scf = hf.SCF.scf

    def counting(method: Any, *arguments: Any, **options: Any) -> Any:
        if time.perf_counter() > until:
            raise OutOfTime
        energy = scf(method, *arguments, **options)
        rows.append((int(method.cycles), float(energy)))
        return energy

    with patch.object(hf.SCF, "scf", counting):
        yield


def stock(molecule: Molecule, settings: config.Settings, multiplicity: int, limit: float, strict: bool) -> Row:
    """Optimise with PySCF's stock recipe, to the same criterion, at most so many seconds.

    Strict as by default, PySCF ends it with a RuntimeError where an SCF does not converge.
    """
    mol = mean_field.build_mol(molecule, settings.level, multiplicity, settings.config["memory_mb"], adapted=False)
    method = (dft.RKS if multiplicity == 1 else dft.UKS)(mol, xc=settings.level.functional).density_fit()
    runs: list[tuple[int, float]] = []
    start, processor = time.perf_counter(), time.process_time()
    convergence = settings.optimisation.convergence
    converged = False
    silence = contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO())
    with counted(runs, start + limit), contextlib.suppress(OutOfTime, RuntimeError), silence[0], silence[1]:
        converged, _ = geometric_solver.kernel(
            method, assert_convergence=strict, convergence_set=convergence, qccnv=True, maxsteps=100
        )
    cycles = [n for n, _ in runs]
    return {
        "cold_cycles": cycles[0], "small_cycles": 0, "warm_cycles": cycles[1:], "gradients": len(cycles),
        "warm_products": [0] * len(cycles[1:]),
        "seconds": time.perf_counter() - start, "processor": time.process_time() - processor,
        "energy": runs[-1][1], "converged": bool(converged),
    }  # fmt: skip


def ours(molecule: Molecule, settings: config.Settings, state: Any, complex_id: str, name: str, work: Path) -> Row:
    """Optimise with spincross, one measure switched off."""
    hessian = None if name == "geomeTRIC's start Hessian" else stages.start_hessian(settings, complex_id)
    options = settings.optimisation
    if name == "no coarse grid":
        options = replace(options, coarse_grid_level=settings.level.grid_level, coarse_convergence="GAU_LOOSE")
    lines: list[str] = []
    start, processor = time.perf_counter(), time.process_time()
    with VARIANTS[name]():
        found = optimise.optimise(molecule, settings.level, state, work, options, None, hessian, lines.append)
    outside = time.perf_counter() - start - sum(step["seconds"] for step in found.steps)
    rungs = [rung for row in found.candidates for rung in row["rungs"]]
    small = sum(r["cycles"] for r in found.candidates[0]["rungs"] if r["rung"].startswith("minimal basis"))
    return {
        "cold_cycles": found.candidates[0]["cycles"] - small, "small_cycles": small,
        "warm_cycles": [s["scf_cycles"] for s in found.steps[1:]], "gradients": len(found.steps),
        "warm_products": [sum(r.get("newton_products", 0) for r in s["rungs"]) for s in found.steps[1:]],
        "seconds": sum(step["seconds"] for step in found.steps) + max(outside, sum(r["seconds"] for r in rungs)),
        "processor": time.process_time() - processor, "energy": found.solution.energy, "converged": True,
    }  # fmt: skip


def kept(path: Path, work: Callable[[], Row]) -> Row:
    """Return a row from its file, or compute and keep it."""
    if not path.exists():
        row = work()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(row))
    return dict(json.loads(path.read_text()))


def line(name: str, rows: list[Row], reference: float | None) -> str:
    """Format the medians of several runs."""
    middle = {
        k: statistics.median(row[k] for row in rows)
        for k in ("cold_cycles", "small_cycles", "gradients", "seconds", "processor", "energy")
    }
    warm, products = ([c for row in rows for c in row[k]] or [0] for k in ("warm_cycles", "warm_products"))
    ratio = f"{reference / middle['seconds']:5.2f}x" if reference else "      "
    return (
        f"{name:28s} {middle['cold_cycles']:6.0f} {middle['small_cycles']:6.0f} {statistics.median(warm):6.1f} "
        f"{max(warm):5d} {statistics.median(products):8.1f} {middle['gradients']:9.0f} "
        f"{middle['seconds']:9.1f} {ratio} {middle['processor']:9.1f}"
        f"  {middle['energy']:.8f}" + ("" if all(row["converged"] for row in rows) else "  not converged")
    )


def main() -> None:
    """Print one line per recipe as it finishes: medians over the repeats."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--complex", default="h2co")
    parser.add_argument("--state", choices=["LS", "HS"], default="HS")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--variants", default=";".join(["stock", *VARIANTS]), help="separated by ;")
    parser.add_argument("--workdir", type=Path)
    parser.add_argument("--start", type=Path)
    parser.add_argument("--limit", type=float, default=float("inf"))
    options = parser.parse_args()
    content = config.read_yaml(config.WORKFLOW / "config/config.yaml") | {"complexes": [options.complex]}
    settings = config.load(content, config.STRUCTURES)
    found = crystal.extract_molecule(options.complex, settings.entry(options.complex), settings.structures)
    molecule = found.low_spin if options.state == "LS" else found.high_spin
    if options.start:
        molecule = stages.load_molecule(settings, options.complex, options.start, molecule.point_group).symmetrised()
    state = settings.state(options.complex, options.state)
    print(f"{options.complex} {options.state}, {settings.level_name}, {settings.optimisation.convergence}; medians")
    print(f"{'recipe':28s}   cold  small   warm   max products gradients   seconds  speed processor  energy (Eh)")
    with tempfile.TemporaryDirectory() as scratch:
        root = options.workdir or Path(scratch)
        reference = None
        for name in options.variants.split(";"):
            rows = []
            for repeat in range(options.repeats):
                folder = root / options.complex / options.state / name.replace(" ", "_") / str(repeat)
                task = (
                    partial(stock, molecule, settings, state.multiplicity, options.limit, name == "stock")
                    if name.startswith("stock")
                    else partial(ours, molecule, settings, state, options.complex, name, folder)
                )
                rows.append(kept(folder / "row.json", task))
            reference = statistics.median(r["seconds"] for r in rows) if name.startswith("stock") else reference
            print(line(name, rows, reference), flush=True)


if __name__ == "__main__":
    main()
