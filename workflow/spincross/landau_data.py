r"""Measured tables for the Landau fit: read, checked, and turned into order parameters.

.. math:: \chi_M T = \tfrac{1+q}{2} X_\mathrm{HS} + \tfrac{1-q}{2} X_\mathrm{LS}, \quad
          \eta \propto |e_{13}| = \tfrac12 |c \cos\beta / c_0|, \quad \eta \propto \sqrt{I}

(caption of figure 2 and section 3.2 of Mater. Horiz. 2025, 12, 1463). X = chi T of a pure phase is constant in T
(Curie's law); the paper has 3.5 cm3 K/mol at q = 1 and about 0 at q = -1. A table is tab-separated with a header;
the unit is part of each column's name. Columns: temperature_K, branch (heating or cooling), and at least one of
chi_T_cm3_K_per_mol, q, strain_e13, intensity, eta. Rows of a branch stand in the order they were measured.
"""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spincross.errors import BadInput

Array = NDArray[np.float64]

BRANCHES = ("heating", "cooling")
LIMITS = {
    "temperature_K": (1.0, 1500.0),
    "chi_T_cm3_K_per_mol": (-0.5, 10.0),
    "q": (-1.2, 1.2),
    "strain_e13": (-0.5, 0.5),
    "intensity": (-math.inf, math.inf),
    "eta": (-10.0, 10.0),
}
"""Values that each column may hold; outside, the unit is wrong."""
SPIN_COLUMNS, BREAKING_COLUMNS = ("chi_T_cm3_K_per_mol", "q"), ("strain_e13", "intensity", "eta")
LARGEST_GAP: float = 25.0
"""Largest step in temperature (K) inside a branch; a transition could hide in a wider one."""
FEWEST_POINTS = 5
"""Fewest points of a branch."""


@dataclass(frozen=True)
class Table:
    """A checked table.

    Parameters
    ----------
    temperatures : (N,), K
    heating : (N,), true on the heating branch
    spin : (N,) chi T (cm3 K/mol) or q, whichever `spin_column` names; None without
    breaking : (N,) |e13|, sqrt(I) or |eta|, proportional to eta; None without
    """

    temperatures: Array
    heating: NDArray[np.bool_]
    spin_column: str | None
    spin: Array | None
    breaking_column: str | None
    breaking: Array | None

    def branch(self, heating: bool) -> NDArray[np.int_]:
        """Return the indices of one branch, ascending in temperature."""
        chosen = np.flatnonzero(self.heating == heating)
        return np.asarray(chosen[np.argsort(self.temperatures[chosen], kind="stable")])


def order_parameter(chi_t: ArrayLike, low: float, high: float) -> Array:
    """Return q from chi_M T and its values in the pure LS and HS phases, all in cm3 K/mol.

    >>> float(order_parameter(1.75, 0.0, 3.5))
    0.0
    """
    if not high > low:
        raise BadInput(f"chi_M T of HS ({high}) must be larger than that of LS ({low}), both in cm3 K/mol")
    return np.asarray((2.0 * np.asarray(chi_t, dtype=float) - high - low) / (high - low))


def product_of(q: ArrayLike, low: float, high: float) -> Array:
    """Return chi_M T (cm3 K/mol) of q; the inverse of `order_parameter`."""
    x = np.asarray(q, dtype=float)
    return np.asarray((1.0 + x) / 2.0 * high + (1.0 - x) / 2.0 * low)


def read_table(path: Path) -> Table:
    """Read and check a table; BadInput with line, column and what to do, in one sentence."""
    try:
        with Path(path).open(newline="") as handle:
            rows = list(csv.DictReader(handle, delimiter="\t"))
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path} cannot be read ({error}); give a tab-separated table") from error
    name = Path(path).name
    if not rows:
        raise BadInput(f"{name} has no rows; give a tab-separated table with a header")
    columns = [c for c in rows[0] if c is not None]
    _check_columns(name, columns)
    branches = [(row.get("branch") or "").strip() for row in rows]
    for line, branch in enumerate(branches, 2):
        if branch not in BRANCHES:
            raise BadInput(f"{name}, line {line}: branch must be heating or cooling, found {branch!r}")
    values = {c: _numbers(name, c, rows) for c in columns if c != "branch"}
    heating = np.array([branch == "heating" for branch in branches])
    _check_order(name, values["temperature_K"], heating)
    spin = next((c for c in SPIN_COLUMNS if c in values), None)
    breaking = next((c for c in BREAKING_COLUMNS if c in values), None)
    amplitude = None
    if breaking:
        amplitude = np.sqrt(np.maximum(values[breaking], 0.0)) if breaking == "intensity" else np.abs(values[breaking])
    return Table(values["temperature_K"], heating, spin, values[spin] if spin else None, breaking, amplitude)


def _check_columns(name: str, columns: list[str]) -> None:
    """Check that the header names known columns with known units."""
    known = ["branch", *LIMITS]
    unknown = [c for c in columns if c not in known]
    if unknown:
        raise BadInput(f"{name}: column {unknown[0]!r} is not known; the unit is part of a name: {', '.join(known)}")
    missing = [c for c in ("temperature_K", "branch") if c not in columns]
    if missing:
        raise BadInput(f"{name} has no column {missing[0]}; give {', '.join(known)}")
    for group in (SPIN_COLUMNS, BREAKING_COLUMNS):
        if len(set(group) & set(columns)) > 1:
            raise BadInput(f"{name} has more than one of {', '.join(group)}; keep one")
    if not set(columns) & {*SPIN_COLUMNS, *BREAKING_COLUMNS}:
        raise BadInput(f"{name} has no order parameter; give one of {', '.join((*SPIN_COLUMNS, *BREAKING_COLUMNS))}")


def _numbers(name: str, column: str, rows: list[dict[str, str]]) -> Array:
    """Return a column as finite numbers inside its limits."""
    low, high = LIMITS[column]
    values = []
    for line, row in enumerate(rows, 2):
        text = (row.get(column) or "").strip()
        if not text:
            raise BadInput(f"{name}, line {line}: {column} is empty; fill the gap or leave the line out")
        try:
            value = float(text)
        except ValueError as error:
            raise BadInput(f"{name}, line {line}: {column} is no number: {text!r}") from error
        if not math.isfinite(value):
            raise BadInput(f"{name}, line {line}: {column} is {text}; leave the line out")
        if not low <= value <= high:
            raise BadInput(
                f"{name}, line {line}: {column} = {value:g} lies outside {low:g} to {high:g}; check its unit"
            )
        values.append(value)
    return np.array(values)


def _check_order(name: str, temperatures: Array, heating: NDArray[np.bool_]) -> None:
    """Check that heating goes up and cooling goes one way, without wide gaps."""
    for branch, chosen in (("heating", heating), ("cooling", ~heating)):
        t = temperatures[chosen]
        if t.size == 0:
            continue
        if t.size < FEWEST_POINTS:
            raise BadInput(f"{name}: {branch} has {t.size} points, at least {FEWEST_POINTS} are needed")
        steps = np.diff(t)
        up, down = bool((steps > 0).all()), bool((steps < 0).all())
        if branch == "heating" and not up:
            at = t[int(np.flatnonzero(steps <= 0)[0]) + 1]
            raise BadInput(
                f"{name}: temperatures of heating decrease or repeat at {at:g} K; call it cooling or sort it"
            )
        if branch == "cooling" and not (up or down):
            at = t[int(np.flatnonzero(steps >= 0)[0]) + 1]
            raise BadInput(f"{name}: temperatures of cooling turn round or repeat at {at:g} K; sort them")
        widest = int(np.abs(steps).argmax())
        if abs(steps[widest]) > LARGEST_GAP:
            low, high = sorted((t[widest], t[widest + 1]))
            raise BadInput(
                f"{name}: {branch} has a gap from {low:g} to {high:g} K, wider than {LARGEST_GAP:g} K; measure there "
                "or fit both parts on their own"
            )
