"""Interactive figures of the report, as plain plotly dictionaries (data, layout), every axis with its unit.

Colours are those of Okabe and Ito (https://jfly.uni-koeln.de/color/), told apart by people with any colour vision;
where colour carries meaning, line style or symbol says the same, so that a greyscale print loses nothing.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import ndtr

from spincross.symmetry_mode import FITTED_REACH
from spincross.units import HARTREE_TO_KJ_PER_MOL

Figure = dict[str, Any]
Json = dict[str, Any]

BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
BLUE, VERMILLION, PURPLE, GREY = "#0072B2", "#D55E00", "#CC79A7", "#6b7280"

STATE_LABELS = {"LS": "LS", "HS_parent": "HS, parent group", "HS": "HS, minimum"}
"""The three stationary points, in the order of the report."""
STATE_COLOURS = {"LS": BLUE, "HS_parent": ORANGE, "HS": VERMILLION}
STATE_SYMBOLS = {"LS": "circle", "HS_parent": "diamond", "HS": "square"}

_FONT = {
    "family": "system-ui, -apple-system, Segoe UI, Roboto, Helvetica, Arial, sans-serif",
    "size": 13,
    "color": "#1f2933",
}
ENTROPY_UNIT = "J/(K mol)"
MOST_STEPS = 60
"""Modes of both states above which the cumulative entropy is drawn broadened."""
BROADENING = 15.0
"""Width of that broadening, cm-1."""


def plain(text: object) -> str:
    """Return text that plotly shows as it is (plotly reads a few HTML tags in labels)."""
    return str(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def rounded(values: Any, digits: int = 4) -> list[float]:
    """Return floats rounded to `digits` decimals, to keep the page small."""
    return [round(float(v), digits) for v in np.asarray(values, dtype=float).ravel()]


def axis(title: str, **more: Any) -> Json:
    """Return an axis with a title and a light grid."""
    style = {"gridcolor": "#e5e7eb", "zerolinecolor": "#9aa3ad", "linecolor": "#9aa3ad", "ticks": "outside"}
    return {"title": {"text": title, "standoff": 8}, "automargin": True, **style, **more}


def layout(height: int, **more: Any) -> Json:
    """Return the common layout: fixed height, white ground, legend above the axes."""
    return {
        "height": height,
        "margin": {"l": 64, "r": 16, "t": 44, "b": 56},
        "paper_bgcolor": "#ffffff",
        "plot_bgcolor": "#ffffff",
        "font": _FONT,
        "hovermode": "closest",
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
        **more,
    }


def line(x: Any, y: Any, name: str, colour: str, **more: Any) -> Json:
    """Return a line trace."""
    style = {"color": colour, "width": 2.5, "dash": more.pop("dash", "solid")}
    return {"type": "scatter", "mode": "lines", "x": x, "y": y, "name": name, "line": style, **more}


def note(x: Any, y: Any, text: str, **more: Any) -> Json:
    """Return a text at a place, without an arrow."""
    return {"x": x, "y": y, "text": text, "showarrow": False, **more}


def guide(axis_name: str, value: float, colour: str = GREY) -> Json:
    """Return a dashed line across the figure at x = value or y = value."""
    other = {"x": "y", "y": "x"}[axis_name]
    ends = {f"{axis_name}0": value, f"{axis_name}1": value, f"{other}0": 0, f"{other}1": 1, f"{other}ref": "paper"}
    return {"type": "line", **ends, "line": {"color": colour, "width": 1.5, "dash": "dash"}}


WELL_WINDOW = 4.5
"""Half the width at which a double well opens, in |Q| of its lowest point; a double click shows the walls outside."""


def double_well(mode: Json) -> Figure:
    """Draw the energy along Q both ways from the parent, kJ/mol, and the relaxed minimum as a guide."""
    energy = (np.array(mode["scan_energy_hartree"]) - mode["parent_energy_hartree"]) * HARTREE_TO_KJ_PER_MOL
    order = np.argsort(mode["scan_q_amu_half_angstrom"])
    q = np.array(mode["scan_q_amu_half_angstrom"])[order]
    trace = line(rounded(q), rounded(energy[order]), "scan along ±Q", VERMILLION, mode="markers")
    trace |= {"marker": {"size": 9, "color": VERMILLION}}
    trace["hovertemplate"] = "Q = %{x:.3f}<br>ΔE = %{y:.2f} kJ/mol<extra></extra>"
    lowering = -float(mode["energy_lowering_kJ_per_mol"])
    label = note(0.5, lowering, f"relaxed minimum, {lowering:.1f} kJ/mol".replace("-", "−"), xref="paper", yshift=-11)
    window = min(WELL_WINDOW * abs(q[energy[order].argmin()]), np.abs(q).max()) or np.abs(q).max()
    shown = energy[order][np.abs(q) <= window]
    bottom, top = min([lowering, *shown]), max([0.0, *shown])
    span = (top - bottom) or 1.0
    across, up = (-1.05 * window, 1.05 * window), (bottom - 0.12 * span, top + 0.08 * span)
    axes = {"xaxis": axis("Q (amu<sup>1/2</sup> Å)", range=rounded(across))}
    axes["yaxis"] = axis("energy relative to the parent (kJ/mol)", range=rounded(up))
    more = {"shapes": [guide("y", lowering, GREEN)], "annotations": [label], "showlegend": False}
    return {"data": [*_fitted_well(mode, float(window)), trace], "layout": layout(380, **axes, **more)}


def _fitted_well(mode: Json, largest: float) -> list[Json]:
    """Return the curve a Q^2 + b Q^4 with the well of mode.json as far as it was fitted; nothing without a fit."""
    depth, place = -mode["scan_minimum_kJ_per_mol"], mode["q_at_minimum_amu_half_angstrom"]
    if depth <= 0 or place <= 0:
        return []
    reach = FITTED_REACH * abs(mode["scan_q_amu_half_angstrom"][int(np.argmin(mode["scan_energy_hartree"]))])
    q = np.linspace(-1.0, 1.0, 81) * min(largest, reach or largest)
    energy = depth * ((q / place) ** 4 - 2 * (q / place) ** 2)
    return [line(rounded(q), rounded(energy), "fit of aQ² + bQ⁴", GREY, dash="dash", hoverinfo="skip")]


def atom_share(symbols: list[str], shares: list[float], most: int = 12) -> Figure:
    """Draw the share of each atom in the motion, largest first."""
    order = np.argsort(shares)[::-1][:most]
    names = [f"{plain(symbols[i])}{i + 1}" for i in order]
    bar = {"type": "bar", "x": names, "y": rounded(100 * np.asarray(shares)[order], 2), "marker": {"color": VERMILLION}}
    bar["hovertemplate"] = "%{x}: %{y:.1f} %<extra></extra>"
    axes = {
        "xaxis": axis("atom (number as in the XYZ file)", type="category"),
        "yaxis": axis("share of the motion (%)"),
    }
    return {"data": [bar], "layout": layout(320, **axes)}


IRREP_STYLES = {
    "A": (BLUE, "circle"),
    "B": (VERMILLION, "diamond"),
    "A'": (BLUE, "circle"),
    'A"': (VERMILLION, "diamond"),
}
IRREP_STYLES |= {"Ag": (BLUE, "circle"), "Au": (VERMILLION, "diamond")}
UNKNOWN_STYLE = (GREY, "square")
NO_SYMMETRY = "no symmetry (C1)"


def _sticks(vibrations: Json, row: int, irrep: str, shown: set[str]) -> Json:
    """Return one row's sticks of one irrep; symbols repeat the colour's meaning."""
    waves, irreps, heights = vibrations["wavenumbers_per_cm"], vibrations["irreps"], stick_heights(vibrations)
    chosen = [i for i, name in enumerate(irreps) if name == irrep]
    x = [v for i in chosen for v in (round(waves[i], 2), round(waves[i], 2), None)]
    label = f"irrep {plain(irrep)}" if vibrations["point_group"] != "C1" else NO_SYMMETRY
    colour, symbol = IRREP_STYLES.get(irrep, UNKNOWN_STYLE) if label != NO_SYMMETRY else UNKNOWN_STYLE
    suffix = "" if row == 1 else str(row)
    trace = {
        "type": "scatter",
        "mode": "lines+markers",
        "x": x,
        "y": [v for i in chosen for v in (0, heights[i], None)],
        "name": label,
        "legendgroup": label,
        "showlegend": label not in shown,
        "xaxis": "x",
        "yaxis": f"y{suffix}",
        "line": {"color": colour, "width": 1.5},
        "marker": {"symbol": symbol, "color": colour, "size": [0, 7, 0] * len(chosen)},
        "text": [v for i in chosen for v in ("", _intensity(vibrations, i), "")],
        "hovertemplate": f"%{{x:.1f}} cm⁻¹, {label}%{{text}}<extra></extra>",
    }
    shown.add(label)
    return trace


def stick_heights(vibrations: Json) -> list[float]:
    """Return the height of each mode: its infrared intensity over the strongest, or 1 where none is computed.

    Imaginary modes and silent ones keep a twentieth, so that no mode is lost from sight.
    """
    intensities = vibrations.get("infrared_intensities_km_per_mol")
    if not intensities or max(intensities) <= 0:
        return [1.0] * len(vibrations["wavenumbers_per_cm"])
    return [round(max(0.05, value / max(intensities)), 4) for value in intensities]


def _intensity(vibrations: Json, mode: int) -> str:
    """Return the infrared intensity of a mode as text for its label."""
    intensities = vibrations.get("infrared_intensities_km_per_mol")
    return f", {intensities[mode]:.1f} km/mol" if intensities else ""


def spectra(vibrations: dict[str, Json]) -> Figure:
    """Draw the wavenumbers of every state as sticks, irreps by colour and symbol; imaginary ones left of zero."""
    states = [s for s in STATE_LABELS if s in vibrations]
    shown: set[str] = set()
    data = [
        _sticks(vibrations[s], row, irrep, shown)
        for row, s in enumerate(states, 1)
        for irrep in sorted(set(vibrations[s]["irreps"]))
    ]
    every = [w for s in states for w in vibrations[s]["wavenumbers_per_cm"]] or [0.0]
    low, high = min(0.0, min(every)) - 60, max(every) + 60
    share = 1 / len(states)
    axes: Json = {"xaxis": axis("wavenumber (cm⁻¹)", range=[low, high], anchor=f"y{len(states)}")}
    notes = []
    for row, state in enumerate(states, 1):
        top = 1 - (row - 1) * share
        axes[f"yaxis{'' if row == 1 else row}"] = {
            "domain": [top - share * 0.78, top - share * 0.06],
            "visible": False,
            "range": [0, 1.12],
        }
        notes.append(
            note(
                0,
                top - 0.005,
                f"<b>{STATE_LABELS[state]}</b>",
                xref="paper",
                yref="paper",
                xanchor="left",
                yanchor="middle",
            )
        )
    shapes = [guide("x", 0.0)]
    axes["xaxis"]["anchor"] = "y" if len(states) == 1 else f"y{len(states)}"
    margin = {"l": 16, "r": 16, "t": 70, "b": 90}
    legend = {"orientation": "h", "x": 0, "y": -0.2, "yanchor": "top"}
    return {
        "data": data,
        "layout": layout(460, **axes, annotations=notes, shapes=shapes, margin=margin, legend=legend),
    }


def waterfall(terms: list[tuple[str, float]], band: tuple[float, float], window: tuple[float, float] | None) -> Figure:
    """Draw entropy terms that add up to a total.

    Parameters
    ----------
    terms : label and value of each contribution, J/(K mol); the total is their sum
    band : how far the total may lie below and above, J/(K mol), both positive
    window : calorimetric values of cooling and heating, J/(K mol)
    """
    values = [v for _, v in terms]
    total = sum(values)
    bases = [sum(values[:i]) for i in range(len(values))] + [0.0]
    labels = [t for t, _ in terms] + ["total"]
    heights = [*values, total]
    colours = [BLUE if v >= 0 else VERMILLION for v in values] + ["#374151"]
    tops = [b + max(h, 0.0) for b, h in zip(bases, heights, strict=True)]
    bar: Json = {
        "type": "bar",
        "x": labels,
        "y": rounded(heights),
        "base": rounded(bases),
        "marker": {"color": colours},
    }
    bar["hovertemplate"] = "%{x}: %{y:.2f} " + ENTROPY_UNIT + "<extra></extra>"
    span = max([*tops, *(window or ()), 0.0]) - min([*bases, *heights, 0.0])
    lift = band[1]
    notes = [
        note(t, top + (lift if t == "total" else 0.0), f"<b>{h:+.1f}</b>".replace("-", "−"), yshift=12)
        for t, top, h in zip(labels, tops, heights, strict=True)
    ]
    data, shapes = [bar], []
    if max(band) > 0:
        error = {
            "type": "data",
            "symmetric": False,
            "arrayminus": [round(band[0], 4)],
            "array": [round(band[1], 4)],
            "color": BLACK,
            "thickness": 1.5,
        }
        data.append({"type": "scatter", "mode": "markers", "x": ["total"], "y": [round(total, 4)], "error_y": error,
                     "marker": {"color": BLACK, "size": 4}, "hoverinfo": "skip"})  # fmt: skip
    if window:
        low, high = min(window), max(window)
        shapes.append({"type": "rect", "xref": "paper", "x0": 0, "x1": 1, "y0": low, "y1": high, "layer": "below",
                       "fillcolor": GREEN, "opacity": 0.25, "line": {"width": 0}})  # fmt: skip
        place = {"xref": "paper", "yref": "paper", "xanchor": "left", "yanchor": "bottom"}  # above bars and numbers
        notes.append(note(0, 1, f"green: calorimetry, {low:.1f} to {high:.1f}", **place))
    axes = {"xaxis": axis("", type="category"), "yaxis": axis(f"ΔS, HS minus LS ({ENTROPY_UNIT})")}
    axes["yaxis"]["range"] = [
        min([*bases, *tops, total, 0.0]) - 0.06 * span,
        max([*tops, total + lift, *(window or ())]) + 0.12 * span,
    ]
    return {"data": data, "layout": layout(400, **axes, annotations=notes, shapes=shapes, showlegend=False)}


def entropy_curves(
    temperatures: list[float], curves: list[tuple[str, list[float]]], band: tuple[list[float], list[float]]
) -> Figure:
    """Draw entropy differences against temperature.

    Parameters
    ----------
    temperatures : K
    curves : name and values of each curve, J/(K mol)
    band : limits of the first curve, J/(K mol)
    """
    styles = [(BLUE, "solid"), (VERMILLION, "dash"), (GREEN, "dot"), (PURPLE, "dashdot")]
    data = [
        line(rounded(temperatures, 2), rounded(values), name, colour, dash=dash, mode="lines+markers")
        for (name, values), (colour, dash) in zip(curves, styles, strict=False)
    ]
    edge = {"x": [*temperatures, *temperatures[::-1]], "y": rounded([*band[1], *band[0][::-1]]), "fill": "toself"}
    shade = {"fillcolor": "rgba(0,114,178,0.15)", "line": {"width": 0}, "name": "band", "hoverinfo": "skip"}
    data.insert(0, {"type": "scatter", "mode": "lines", **edge, **shade})
    axes = {"xaxis": axis("temperature (K)"), "yaxis": axis(f"ΔS, HS minus LS ({ENTROPY_UNIT})")}
    legend = {"orientation": "h", "x": 0, "y": -0.24, "yanchor": "top"}
    return {"data": data, "layout": layout(400, **axes, legend=legend, margin={"l": 64, "r": 16, "t": 44, "b": 120})}


def cumulative(wavenumbers: list[float], entropy: list[float], parts: dict[str, list[float]] | None = None) -> Figure:
    """Draw the vibrational entropy difference summed up to a wavenumber, J/(mol K), with the sums of its parts.

    Parameters
    ----------
    wavenumbers : of the modes of both states, ascending, cm-1
    entropy : sum up to and with each mode
    parts : the same sum for each irrep or fragment, by name
    """
    styles = [(VERMILLION, "dash"), (GREEN, "dot"), (PURPLE, "dashdot"), (ORANGE, "dash"), (SKY, "dot")]
    many = len(wavenumbers) > MOST_STEPS
    curves = [("all modes", entropy, (BLUE, "solid"))]
    curves += [(name, values, style) for (name, values), style in zip((parts or {}).items(), styles, strict=False)]
    data = []
    for name, values, (colour, dash) in curves:
        hover = f"{plain(name)} up to %{{x:.0f}} cm⁻¹: %{{y:.2f}}<extra></extra>"
        x, y = broadened(wavenumbers, values) if many else ([0.0, *wavenumbers], [0.0, *values])
        trace = line(rounded(x, 2), rounded(y), plain(name), colour, dash=dash, hovertemplate=hover)
        trace["line"]["shape"] = "linear" if many else "hv"
        data.append(trace)
    axes = {"xaxis": axis("wavenumber (cm⁻¹)"), "yaxis": axis(f"cumulative ΔS<sub>vib</sub> ({ENTROPY_UNIT})")}
    margin = {"l": 64, "r": 16, "t": 44, "b": 56}
    return {"data": data, "layout": layout(380, **axes, showlegend=len(data) > 1, margin=margin)}


def carriers(sums: Json) -> dict[str, list[float]]:
    """Return the cumulative sums by irrep and by fragment under readable names; none where there are no shares."""
    fragments = {"core": "core (metal and donors)", "ncs": "NCS (C, S)", "ligands": "rest of the ligands"}
    irreps = sums.get("by_irrep_J_per_mol_K") or {}
    named = {f"irrep {name}": values for name, values in irreps.items() if len(irreps) > 1}
    found = sums.get("by_fragment_J_per_mol_K") or {}
    moving = {fragments[k]: v for k, v in found.items() if any(v)}
    return named | (moving if len(moving) > 1 else {})


def broadened(wavenumbers: list[float], sums: list[float]) -> tuple[list[float], list[float]]:
    """Return a cumulative sum with each step spread by a Gaussian of BROADENING cm-1; wavenumbers (cm-1) and sums.

    The modes of LS and of HS come in turn, so with many modes the bare sum swings by a whole mode at every step.
    """
    steps, places = np.diff(np.array(sums), prepend=0.0), np.array(wavenumbers)
    grid = np.linspace(0.0, places.max() + 4.0 * BROADENING, 801)
    spread = ndtr((grid[:, None] - places[None]) / BROADENING)
    return grid.tolist(), (spread @ steps).tolist()


def optimiser_history(optimise: dict[str, Json]) -> Figure:
    """Draw each optimisation's energy above its last step (kJ/mol, logarithmic) against the step."""
    above = {}
    for state, found in optimise.items():
        energies = np.array(found.get("energies_hartree_per_step") or [])
        rise = np.abs(energies - energies[-1:])[:-1] * HARTREE_TO_KJ_PER_MOL
        above[state] = [max(float(f"{v:.4g}"), 1e-7) for v in rise]
    return _per_step(above, axis("|E − E<sub>last</sub>| (kJ/mol)", type="log", exponentformat="power"))


def scf_cycles(optimise: dict[str, Json]) -> Figure:
    """Draw the SCF cycles of each optimiser step."""
    cycles = {state: found.get("scf_cycles_per_step") or [] for state, found in optimise.items()}
    return _per_step(cycles, axis("SCF cycles", rangemode="tozero"))


def _per_step(values: dict[str, list[Any]], vertical: Json) -> Figure:
    """Draw one number per optimiser step, counted from 0, of every state that has any."""
    data = []
    for state in [s for s in STATE_LABELS if values.get(s)]:
        steps = list(range(len(values[state])))
        trace = line(steps, values[state], STATE_LABELS[state], STATE_COLOURS[state], mode="lines+markers")
        data.append(trace | {"marker": {"symbol": STATE_SYMBOLS[state], "size": 7}})
    return {"data": data, "layout": layout(340, xaxis=axis("optimiser step"), yaxis=vertical)}
