"""The table of states at the start geometries: one row per spin state, from SCFs alone.

It answers before any optimisation which states there are (5A against 5B), how hard they are to converge, and whether
they are what they are called. A finished row is kept in the work folder; a second run computes only what is missing.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from spincross import candidates, checkpoints, crystal, electronic, files, gates, populations, resources
from spincross.config import Settings
from spincross.electronic import Solution
from spincross.errors import StaleData
from spincross.files import Json
from spincross.levels import State, term
from spincross.molecule import Molecule
from spincross.schemas import write_checked

COLUMNS = (
    "state", "term", "point_group", "energy_hartree", "cycles", "seconds", "s_squared", "metal_spin_population",
    "loewdin_metal_spin_population", "stability_eigenvalue_hartree",
)  # fmt: skip
"""Columns of the tab-separated table; the JSON has more."""


def tabulate(settings: Settings, complex_id: str, states: list[str], search: bool, folder: Path, work: Path) -> None:
    """Converge each spin state at its start geometry: states.json, states.tsv.

    Parameters
    ----------
    states : LS, HS
    search : try every candidate of the multiplicity (5A, 5B); without it one SCF per state
    """
    start = time.perf_counter()
    found = crystal.extract_molecule(complex_id, settings.entry(complex_id), settings.structures)
    starts = {"LS": found.low_spin, "HS": found.high_spin}
    with checkpoints.locked(work):
        rows = [_kept_row(settings, complex_id, starts[name], name, search, work) for name in states]
    facts = files.provenance({}, time.perf_counter() - start, level=settings.named_level(), converged=True)
    write_checked(folder / "states.json", {"provenance": facts, "complex": complex_id, "states": rows}, "states")
    files.write_table(folder / "states.tsv", [{key: row[key] for key in COLUMNS} for row in rows])


def _kept_row(settings: Settings, complex_id: str, molecule: Molecule, name: str, search: bool, work: Path) -> Json:
    state, path = settings.state(complex_id, name), work / f"{name}.json"
    positions = [round(x, 6) for x in molecule.positions.ravel().tolist()]
    surface, limits = electronic.level_fingerprint(settings.level, state, molecule), settings.config["gates"]
    key = files.fingerprint([surface, settings.level.theory(), limits, positions, search])
    if path.exists():
        stored = files.read_json(path)
        if stored["key"] != key:
            raise StaleData(f"{path} belongs to another level, geometry, kind of search or other gates; remove it")
        files.print_line(f"{complex_id} {name}: taken from {path}")
        return dict(stored["row"])
    files.print_line(f"{complex_id} {name} {molecule.point_group}: {len(molecule.symbols)} atoms")
    resources.report_shortage(molecule.symbols, settings.level, settings.config["memory_mb"], molecule.point_group)
    row = files.plain(_row(settings, complex_id, molecule, state, search, work))
    files.write_json(path, {"key": key, "row": row})
    return dict(row)


def _row(settings: Settings, complex_id: str, molecule: Molecule, state: State, search: bool, work: Path) -> Json:
    memory, level = settings.config["memory_mb"], settings.level
    tried: list[Json] = []
    if search:
        kept = work / f"{state.name}_candidates"
        solution, tried = candidates.lowest_state(molecule, level, state, memory, report=files.print_line, folder=kept)
        rungs = min((r for r in tried if r["energy_hartree"] is not None), key=lambda r: r["energy_hartree"])["rungs"]
    else:
        solution = electronic.solve(molecule, level, state, None, memory)
        rungs = solution.trace
    cycles = sum(rung["cycles"] for rung in rungs)
    seconds = sum(rung["seconds"] for row in tried or [{"rungs": rungs}] for rung in row["rungs"])
    files.print_line(f"  E {solution.energy:.8f} Eh  {cycles} cycles  {seconds:.0f} s")
    checkpoints.store_orbitals(work / f"{state.name}_orbitals.npz", solution.orbitals)
    limits = settings.config["gates"] | {"on_failure": "warning"}
    metal = settings.entry(complex_id)["metal"]
    return {
        "state": state.name,
        "multiplicity": state.multiplicity,
        "point_group": molecule.point_group,
        "term": term(state.multiplicity, solution.occupation, molecule.point_group),
        "energy_hartree": solution.energy,
        "cycles": cycles,
        "rungs": rungs,
        "seconds": round(seconds, 1),
        "s_squared": solution.s_squared,
        **_metal_spins(solution, molecule, metal),
        "candidates": tried,
        **_judged(solution, molecule, state, metal, limits),
    }


def _metal_spins(solution: Solution, molecule: Molecule, metal: str | None) -> dict[str, Any]:
    which = None if metal is None else molecule.symbols.index(metal)
    return {
        "metal_spin_population": None if which is None else populations.spin_populations(solution)[which],
        "loewdin_metal_spin_population": None
        if which is None
        else populations.loewdin_spin_populations(solution)[which],
    }


def _judged(solution: Solution, molecule: Molecule, state: State, metal: str | None, limits: Json) -> Json:
    """Return stability and warnings; a failed gate is a warning here."""
    tested = gates.stability(solution, limits)
    warnings = gates.judge(solution, molecule, state, metal, limits, tested)
    return {**tested.facts(), "warnings": warnings}
