"""The last stages: entropy account, Landau model with its figures and fits, report; light to compute.

Each reads files, makes one call of the library and writes files, as the stages before it do.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from spincross import drawings, files, landau, landau_fit, overview, paper_figures, report, summary, symmetry_mode
from spincross.config import Settings
from spincross.entropy import entropy_account, entropy_rows
from spincross.entropy_shares import mode_rows
from spincross.entropy_terms import usable_modes
from spincross.errors import BadInput
from spincross.files import Json
from spincross.landau_data import read_table
from spincross.landau_maps import phase_diagram
from spincross.landau_model import LandauModel
from spincross.schemas import check, write_checked
from spincross.stages import load_vibrations
from spincross.units import BOHR_TO_ANGSTROM

STATES = ("LS", "HS_parent", "HS")
"""States that the report shows."""
PLANE_POINTS = 200
"""Points of a phase diagram along each axis."""


def compute_entropy(settings: Settings, complex_id: str, low: Path, high: Path, mode: Path, folder: Path) -> None:
    """LS parent, HS minimum and mode.json -> entropy.json, entropy.tsv, modes.tsv."""
    start = time.perf_counter()
    entry = settings.entry(complex_id)
    contents = files.read_json(low), files.read_json(high)
    for state, path, content in zip(("LS", "HS"), (low, high), contents, strict=True):
        group = content["provenance"]["point_group"]
        symmetry_mode.require_minimum(load_vibrations(path.parent), complex_id, state, group)
    account = entropy_account(
        *contents,
        files.read_json(mode),
        settings.config["temperatures_K"],
        entry["calorimetry"],
        literature=entry["literature"],
    )
    inputs = {"low_spin": low, "high_spin": high, "mode": mode}
    level = contents[0]["provenance"]["level"]
    facts = files.provenance(inputs, time.perf_counter() - start, level=level, converged=True)
    states = usable_modes(contents[0]), usable_modes(contents[1])
    files.write_table(folder / "entropy.tsv", entropy_rows(account))
    files.write_table(folder / "modes.tsv", mode_rows(*contents, states, account["temperatures_K"]))
    write_checked(folder / "entropy.json", {"provenance": facts, **account}, "entropy")


def solve_landau(settings: Settings, complex_id: str, entropy: Path, folder: Path) -> None:
    """Landau parameters of the complex and the entropy account -> landau.json, branches.tsv."""
    start = time.perf_counter()
    parameters, found = settings.entry(complex_id)["landau"], files.read_json(entropy)
    if parameters is None:
        account = landau.no_landau(
            f"{complex_id} has no Landau parameters in complexes.yaml, so no model was solved; give it `landau:`."
        )
    else:
        low, high = landau.covering(parameters, *settings.config["landau"]["temperature_range_K"])
        grid = np.linspace(low, high, settings.config["landau"]["temperatures"])
        account = landau.landau_account(parameters, [float(t) for t in grid], found)
    level = found["provenance"]["level"]
    facts = files.provenance({"entropy": entropy}, time.perf_counter() - start, level=level, converged=True)
    files.write_table(folder / "branches.tsv", landau.branch_rows(account))
    write_checked(folder / "landau.json", {"provenance": facts, **account}, "landau")


def draw_landau(account: Path, folder: Path) -> None:
    """Draw landau.json as the paper's figures: figure_1, figure_2, figure_5, each as SVG, PNG and TSV."""
    content = files.read_json(account)
    if content["parameters"] is None:
        raise BadInput(f"{account} has no Landau parameters, so there is nothing to draw; {content['reason']}")
    for name, (canvas, rows) in paper_figures.draw(content).items():
        drawings.save(canvas, folder / name)
        files.write_table(folder / f"{name}.tsv", rows)


def own_model(settings: Settings, complex_id: str) -> LandauModel:
    """Return the Landau model of a complex; BadInput if it has no parameters."""
    parameters = settings.entry(complex_id)["landau"]
    if parameters is None:
        raise BadInput(f"{complex_id} has no Landau parameters in complexes.yaml; give it a1, T_SC, C, b to start from")
    return LandauModel.from_parameters(parameters)


def fit_landau(
    settings: Settings, complex_id: str, data: Path, free: list[str], folder: Path,
    ends: tuple[float | None, float | None] = (None, None),
) -> None:  # fmt: skip
    """Table of chi_M T, q, strain or intensity -> fit.json, fit.tsv, fit.svg, fit.png; starts from complexes.yaml.

    `ends` are chi_M T (cm3 K/mol) of pure LS and HS, where known.
    """
    start = time.perf_counter()
    table = read_table(data)
    found = landau_fit.fit(own_model(settings, complex_id), table, free or landau_fit.FREE, *ends)
    rows = landau_fit.curves(found, table)
    facts = files.provenance({"data": data}, time.perf_counter() - start, level=None, converged=True)
    write_checked(folder / "fit.json", {"provenance": facts, "complex": complex_id, **found}, "fit")
    files.write_table(folder / "fit.tsv", rows)
    drawings.save(paper_figures.figure_fit(rows), folder / "fit")
    print("\n".join(found["text"]), flush=True)


def draw_phase_diagram(
    settings: Settings, complex_id: str, parameter: str, limits: tuple[float, float], folder: Path
) -> None:
    """Phases over temperature and one parameter -> phase_diagram_{parameter}.tsv, .svg, .png."""
    low, high = settings.config["landau"]["temperature_range_K"]
    values, temperatures = np.linspace(*limits, PLANE_POINTS), np.linspace(low, high, PLANE_POINTS)
    found = phase_diagram(own_model(settings, complex_id), parameter, values, temperatures)
    files.write_table(folder / f"phase_diagram_{parameter}.tsv", found.rows())
    drawings.save(paper_figures.figure_phases(found), folder / f"phase_diagram_{parameter}")


def state_geometry(folder: Path) -> Json:
    """Return symbols and positions (angstrom) of an optimised state, for the report."""
    symbols, positions, _ = files.read_xyz(folder / "optimise/geometry.xyz")
    return {"symbols": list(symbols), "positions_angstrom": (positions * BOHR_TO_ANGSTROM).tolist()}


def report_data(settings: Settings, complex_id: str, states: list[Path]) -> Json:
    """Collect what the report shows.

    Parameters
    ----------
    states : results folders of LS, HS in the parent group, HS minimum
    """
    sources, parent = _sources(states), states[1]
    found = {name: files.read_json(path) for name, path in sources.items()}
    for name in ("mode", *(f"{state} vibrations" for state in STATES)):
        old = f"{sources[name]} (was it written by an older version? then run its stage again)"
        check(found[name], name.split()[-1], old)
    return {
        "complex": complex_id,
        "entry": settings.entry(complex_id),
        "level_name": settings.level_name,
        "gates": settings.config["gates"],
        **{name: found[name] for name in ("molecule", "mode", "entropy", "landau")},
        **{stage: {n: found[f"{n} {stage}"] for n in STATES} for stage in ("optimise", "vibrations")},
        "geometries": {n: state_geometry(p) for n, p in zip(STATES, states, strict=True)},
        "mode_vector": mode_vector(parent, found["mode"]["mode_index"]),
        "links": {name: str(path.relative_to(states[0].parents[2])) for name, path in sources.items()},
    }


def mode_vector(parent: Path, index: int | None) -> list[list[float]] | None:
    """Return how a mode of a state moves the atoms, (N, 3), in units of Q over the root of the mass; None for none."""
    if index is None:
        return None
    stored = files.read_arrays(parent / "vibrations/modes.npz")
    weighted = stored["modes"][:, index].reshape(-1, 3)
    return (weighted / np.sqrt(stored["masses"])[:, None]).tolist()


def _sources(states: list[Path]) -> dict[str, Path]:
    """Return the JSON files that the report and the summary are made from."""
    base = states[0].parents[1]
    paths = {"molecule": base.parent / "molecule/molecule.json"}
    for name, folder in zip(STATES, states, strict=True):
        paths[f"{name} optimise"] = folder / "optimise/optimise.json"
        paths[f"{name} vibrations"] = folder / "vibrations/vibrations.json"
    paths["mode"] = states[1] / "symmetry_mode/mode.json"
    paths["entropy"], paths["landau"] = base / "entropy/entropy.json", base / "landau/landau.json"
    return paths


def render_report(settings: Settings, complex_id: str, states: list[Path], page: Path, folder: Path) -> None:
    """Everything of a complex -> report.html, {level}/summary.json, and the figures of papers under figures/.

    `page` is the folder of the page's template.
    """
    start = time.perf_counter()
    data = report_data(settings, complex_id, states)
    text = report.render_report(data, page)
    drawings.write_all(report.all_figures(data), folder / "figures")
    with files.replacing(folder / "report.html") as temporary:
        temporary.write_text(text)
    seconds, level = time.perf_counter() - start, data["entropy"]["provenance"]["level"]
    facts = files.provenance(_sources(states), seconds, level=level, converged=True)
    row = {"provenance": facts, **summary.summary_row(data)}
    write_checked(folder / settings.level_name / "summary.json", row, "summary")


def _pages(earlier: list[Path], found: list[Path]) -> set[tuple[str, str]]:
    """Return complex and level of the reports of earlier runs: a page is of the level that was summed up last."""
    last: dict[Path, Path] = {}
    for path in sorted(earlier, key=lambda path: path.stat().st_mtime):
        last[path.parents[1]] = path
    fresh = {path.parents[1] for path in found}
    return {
        (place.name, path.parent.name)
        for place, path in last.items()
        if place not in fresh and (place / "report.html").exists()
    }


def collect_summary(found: list[Path], page: Path, folder: Path) -> None:
    """Write index.html and summary.tsv over all complexes and levels.

    Parameters
    ----------
    found : summary.json of this run; other levels and complexes that lie in `folder` are added below them
    page : folder of the page's template
    folder : results
    """
    earlier = sorted(set(folder.glob("*/*/summary.json")) - set(found))
    contents = [content for path in [*found, *earlier] if "level" in (content := files.read_json(path))]
    for content in contents:
        content.pop("provenance", None)
    rows = [{key: row[key] for key in ("complex", "level")} | row for row in contents]
    shown = {(row["complex"], row["level"]) for row in rows[: len(found)]} | _pages(earlier, found)
    files.write_table(folder / "summary.tsv", rows)
    with files.replacing(folder / "index.html") as temporary:
        temporary.write_text(overview.render_index(rows, shown, page))
