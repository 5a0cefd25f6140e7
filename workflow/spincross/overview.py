"""`index.html`, the table over all complexes and levels for people; `summary.tsv` has the same rows for programs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from spincross import __version__, findings
from spincross.figures import Json
from spincross.findings import number, wavenumber

HEADS = [
    "complex", "level", "formula", "structure", "HS breaks", "HS − LS (kJ/mol)", "mode (cm⁻¹)", "lowering (kJ/mol)",
    "T (K)", "ΔS vib", "ΔS spin", "ΔS SB", "ΔS total", "Landau T down, T up (K)", "stages recalled",
]  # fmt: skip


def render_index(rows: list[Json], shown: set[tuple[str, str]], folder: Path) -> str:
    """Return the page.

    Parameters
    ----------
    rows : contents of summary.json, one for each complex and level
    shown : (complex, level) of those whose report is the one in the folder of the complex
    folder : holds index.html.j2 and page.css
    """
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string((folder / "index.html.j2").read_text())
    style = Markup((folder / "page.css").read_text())
    lines = [{"cells": cells(row), "page": page_of(row, shown), "numbers": numbers_of(row)} for row in rows]
    return template.render(heads=HEADS, rows=lines, style=style, version=__version__)


def page_of(row: Json, shown: set[tuple[str, str]]) -> str | None:
    """Return the path of the report of a row, if it is there."""
    return f"{row['complex']}/report.html" if (row["complex"], row["level"]) in shown else None


def numbers_of(row: Json) -> str:
    """Return the path of the row's own JSON."""
    return f"{row['complex']}/{row['level']}/summary.json"


def cells(row: Json) -> list[str]:
    """Return the texts of a row; a dash where there is no number."""

    def value(key: str, digits: int = 1, sign: bool = False) -> str:
        """Return the text of a number of the row, a dash where it has none."""
        found: Any = row.get(key, "")
        return "–" if found == "" else number(float(found), digits, sign)

    wave = row.get("wavenumber_per_cm", "")
    mode = "–" if wave == "" else f"{wavenumber(float(wave))} ({row['irrep']})"
    turning = [value(f"landau_temperature_{end}_K") for end in ("down", "up")]
    lender = " (borrowed)" if row.get("landau_borrowed_from") else ""
    entropies = [value(k, 1, True) for k in (findings.HARMONIC, findings.SPIN, findings.BREAKING, findings.TOTAL)]
    breaks = f"{row['point_group']}: {str(row.get('answer', row['broken'])).lower()}"
    head = [row["complex"], row["level"], row["formula"], row["origin"], breaks]
    head += [value("energy_HS_minus_LS_kJ_per_mol", 1, True), mode]
    head += [value("energy_lowering_kJ_per_mol", 2), f"{float(row['temperature_K']):g}", *entropies]
    return [*head, "–" if turning == ["–", "–"] else ", ".join(turning) + lender, str(row["stages_recalled"])]
