"""The level diagram of the report: frontier orbital energies of each state, metal shares, d levels named."""

from __future__ import annotations

from collections import Counter

from spincross.figures import BLUE, STATE_LABELS, VERMILLION, Figure, Json, axis, layout, line, plain, rounded
from spincross.units import HARTREE_TO_EV

DEGENERATE_EV = 0.06
"""Levels closer than this stand side by side in the level diagram."""
KIND_SIGNS = {"t2g-like": "t<sub>2g</sub>", "eg-like": "e<sub>g</sub>"}
"""Signs beside the d levels."""
SIGN_EV = 0.8
"""Levels nearer than this share one line of text, eV."""
FIRST_VIEW_EV = 8.0
"""How far the first view of the level diagram reaches below the highest filled and above the lowest empty level."""


def _side_by_side(energies: list[float]) -> list[tuple[float, float]]:
    """Return left and right ends (0 to 1) of ascending levels; near-degenerate ones share the width."""
    groups: list[list[int]] = []
    for i, energy in enumerate(energies):
        if groups and energy - energies[groups[-1][0]] < DEGENERATE_EV:
            groups[-1].append(i)
        else:
            groups.append([i])
    return [(k / len(g) + 0.02, (k + 1) / len(g) - 0.02) for g in groups for k in range(len(g))]


def _column(levels: list[Json], left: float, spin: str) -> list[Json]:
    """Return traces of one spin's levels: occupied solid, empty dotted, thicker with a larger metal share."""
    ordered = sorted(levels, key=lambda o: float(o["energy_hartree"]))
    energies = [o["energy_hartree"] * HARTREE_TO_EV for o in ordered]
    traces = []
    for level, energy, (start, end) in zip(ordered, energies, _side_by_side(energies), strict=True):
        share = level.get("metal_fraction")
        heavy = 0.0 if share is None else float(share)
        metal = "" if share is None else f", metal share {100 * heavy:.0f} %"
        filled = "occupied" if level["occupied"] else "empty"
        kind = level.get("kind") or ""
        text = (
            f"{spin} {plain(level.get('irrep') or '')}, {energy:.2f} eV, {filled}{metal}{', ' + kind if kind else ''}"
        )
        colour = BLUE if level["occupied"] else VERMILLION
        style = {"color": colour, "width": 1.2 + 5 * heavy, "dash": "solid" if level["occupied"] else "dot"}
        xs = [left + 0.8 * (start + f * (end - start)) for f in (0.0, 0.5, 1.0)]
        traces.append({"type": "scatter", "mode": "lines", "x": rounded(xs), "y": [round(energy, 4)] * 3,
                       "line": style, "hovertext": text, "hoverinfo": "text", "showlegend": False})  # fmt: skip
    return [*traces, _signs(ordered, energies, left + 0.8)]


def _signs(ordered: list[Json], energies: list[float], right: float) -> Json:
    """Return the signs of ascending d levels right of their column; those too close for two lines share one."""
    groups: list[list[tuple[float, str]]] = []
    for level, energy in zip(ordered, energies, strict=True):
        sign = KIND_SIGNS.get(level.get("kind") or "")
        if sign and groups and energy - groups[-1][0][0] < SIGN_EV:
            groups[-1].append((energy, sign))
        elif sign:
            groups.append([(energy, sign)])
    counted = [Counter(sign for _, sign in group) for group in groups]
    text = [", ".join(f"{n} {sign}" if n > 1 else sign for sign, n in c.items()) for c in counted]
    heights = [round((group[0][0] + group[-1][0]) / 2, 4) for group in groups]
    more = {"textposition": "middle right", "textfont": {"size": 11}, "hoverinfo": "skip", "showlegend": False}
    return {"type": "scatter", "mode": "text", "x": [right] * len(text), "y": heights, "text": text, **more}


def orbital_levels(orbitals: dict[str, Json]) -> Figure:
    """Draw the frontier orbital energies (eV) of each state, spin up and spin down; metal share on hover.

    Levels with a `kind` (t2g-like, eg-like) carry its sign.
    """
    data: list[Json] = []
    ticks, labels, left = [], [], 0.0
    for state in [s for s in STATE_LABELS if s in orbitals]:
        spins = [("α", orbitals[state]["alpha"]), ("β", orbitals[state].get("beta") or [])]
        for spin, levels in spins:
            if levels:
                data += _column(levels, left, spin)
                ticks.append(left + 0.4)
                labels.append(f"{spin}<br>{STATE_LABELS[state].replace(', ', '<br>')}")
                left += 1.3
        left += 0.3
    for name, colour, dash in (("occupied", BLUE, "solid"), ("empty", VERMILLION, "dot")):
        data.append(line([None], [None], name, colour, dash=dash))
    across = {"tickvals": ticks, "ticktext": labels, "tickfont": {"size": 11}, "range": [-0.3, max(left - 0.3, 1.0)]}
    axes = {"xaxis": axis("", showgrid=False, zeroline=False, **across)}
    every = [o for spins in orbitals.values() for o in sum(spins.values(), [])]
    filled = [o["energy_hartree"] * HARTREE_TO_EV for o in every if o["occupied"]]
    empty = [o["energy_hartree"] * HARTREE_TO_EV for o in every if not o["occupied"]]
    span = {"range": [max(filled) - FIRST_VIEW_EV, min(empty) + FIRST_VIEW_EV]} if filled and empty else {}
    axes["yaxis"] = axis("orbital energy (eV)", zeroline=False, **span)
    return {"data": data, "layout": layout(480, **axes, margin={"l": 64, "r": 16, "t": 44, "b": 76})}
