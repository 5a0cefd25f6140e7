"""The Landau figures of Mater. Horiz. 2025, 12, 1463 (1 a-c, 2 c-d, 5 a-b), drawn from computed curves.

The curves come from `landau_curves`; their rows stand beside each picture as a table. Colours are those of `figures`.
"""

from __future__ import annotations

from typing import Any

import matplotlib

matplotlib.use("Agg")
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure as Canvas
from matplotlib.patches import Patch
from numpy.typing import NDArray

from spincross import landau_curves
from spincross.figures import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, VERMILLION
from spincross.landau_curves import Rows
from spincross.landau_maps import PHASES, PhaseDiagram
from spincross.landau_model import ETA_BROKEN, LandauModel

Array = NDArray[np.float64]
Json = dict[str, Any]

ENTROPY_LABEL = "entropy (Landau units per K)"
ENLARGED = 10
"""How much larger the symmetry-breaking entropy of figure 1c is drawn than it is."""
CUT_TOP = 2.5
"""Height of the cuts of figure 5b, in heights of the valley along q at equal energy."""
PALE = "#dff3ea"
"""Ground of a low-symmetry phase, the paper's green area."""


def draw(landau: Json) -> dict[str, tuple[Canvas, Rows]]:
    """Return each figure with its rows, by file name, from a landau.json that has parameters."""
    model = LandauModel(**landau["parameters"])
    first, second = landau_curves.figure_1(model, landau["a0_window"]), landau_curves.figure_2(landau)
    return {
        "figure_1": (figure_1(first, landau_curves.of_panel_c(model, landau["a0_window"])), first),
        "figure_2": (figure_2(second, landau), second),
        "figure_5": (figure_5(landau, model), landau_curves.figure_5(landau)),
    }


def column(rows: Rows, panel: str, name: str) -> Array:
    """Return one column of one panel (or branch)."""
    return np.array([row[name] for row in rows if row.get("panel", row.get("branch")) == panel], dtype=float)


def figure_1(rows: Rows, model: LandauModel) -> Canvas:
    """Draw symmetry breaking, spin crossover and both, coupled: order parameters above entropies.

    Parameters
    ----------
    model : that of panel c
    """
    ends = column(rows, "c", "eta")[[0, -1]] > ETA_BROKEN
    way = {(False, True): "ascending, ", (True, False): "descending, "}.get((bool(ends[0]), bool(ends[1])), "")
    sign = ">" if model.a0 > 0 else "<" if model.a0 < 0 else "="
    canvas = Canvas(figsize=(11.0, 5.6), layout="constrained")
    panels = canvas.subplots(2, 3, sharex=True)
    titles = {
        "a": f"(a) symmetry breaking, a0 = {model.a1:g}",
        "b": "(b) spin crossover, B = 0",
        "c": f"(c) {way}eq. 3, a0 {sign} 0",
    }
    styles = {"S_SB": (VERMILLION, "--"), "S_SC": (BLUE, "-."), "S_total": (BLACK, "-")}
    names = {"S_SB": "$S_{SB}$", "S_SC": "$S_{SC}$", "S_total": "$S_{tot}$"}
    for (panel, title), (upper, lower) in zip(titles.items(), panels.T, strict=True):
        t = column(rows, panel, "temperature_K")
        upper.set_title(title, fontsize=10)
        shown = {"a": ["eta"], "b": ["q"], "c": ["q", "eta"]}[panel]
        for name in shown:
            colour, dash = (BLUE, "-.") if name == "q" else (VERMILLION, "--")
            upper.plot(t, column(rows, panel, name), dash, color=colour, label={"q": "q", "eta": "η"}[name])
        if "eta" in shown:
            _green(upper, t, column(rows, panel, "eta") > 0)
            _green(lower, t, column(rows, panel, "eta") > 0)
        for name in {"a": ["S_SB"], "b": ["S_SC"], "c": ["S_SB", "S_SC", "S_total"]}[panel]:
            colour, dash = styles[name]
            factor = ENLARGED if panel == "c" and name == "S_SB" else 1
            label = names[name] if factor == 1 else f"{factor} × {names[name]}"
            lower.plot(t, factor * column(rows, panel, name), dash, color=colour, label=label)
        if panel == "c":
            alone = column(rows, "c, eq. 1 alone with a0 < 0", "S_SB")
            label = f"{ENLARGED} × $S_{{SB}}$, eq. 1 alone, a0 < 0"
            lower.plot(t, ENLARGED * alone, ":", color=PURPLE, label=label)
        _dress(upper)
        if panel == "c":
            lower.set_ylim(-2.0 * model.a1, 1.1 * model.a1)
        _dress(lower, "lower right" if panel == "c" else "best")
        upper.set_ylabel("order parameter")
        lower.set_ylabel(ENTROPY_LABEL)
        lower.set_xlabel("temperature (K)")
    return canvas


def _green(axes: Axes, t: Array, broken: NDArray[np.bool_]) -> None:
    """Shade where symmetry is broken."""
    axes.fill_between(t, 0, 1, where=broken.tolist(), color=PALE, transform=axes.get_xaxis_transform(), linewidth=0)


def _dress(axes: Axes, place: str = "best") -> None:
    """Add zero line, grid and legend."""
    axes.axhline(0.0, color=GREY, linewidth=0.8)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, fontsize=8, loc=place)


def figure_2(rows: Rows, landau: Json) -> Canvas:
    """Draw q(T) and eta(T), normalised to the largest eta at T_SC, on heating and cooling."""
    canvas = Canvas(figsize=(5.2, 6.0), layout="constrained")
    model_t = landau["parameters"]["T_SC"]
    upper, lower = canvas.subplots(2, 1, sharex=True)
    for branch, colour, dash in (("heating", VERMILLION, "-"), ("cooling", BLUE, "--")):
        t = column(rows, branch, "temperature_K")
        upper.plot(t, column(rows, branch, "q"), dash, color=colour, label=branch)
        lower.plot(t, column(rows, branch, "eta_normalised"), dash, color=colour, label=branch)
    for axes, title, label in ((upper, "(c)", "q"), (lower, "(d)", "η / largest η")):
        for key, name in (("temperature_down_K", r"$T_\downarrow$"), ("temperature_up_K", r"$T_\uparrow$")):
            if landau[key] is not None:
                axes.axvline(landau[key], color=GREY, linestyle=":", linewidth=1)
                side = "right" if key == "temperature_down_K" else "left"
                axes.annotate(f" {name} {landau[key]:.1f} K ", (landau[key], 0.45), fontsize=8, ha=side,
                              xycoords=("data", "axes fraction"))  # fmt: skip
        axes.set_title(title, loc="left", fontsize=10)
        axes.set_ylabel(label)
        _dress(axes)
    lower.set_xlabel("temperature (K)")
    middle = (landau["temperature_down_K"] or model_t) / 2 + (landau["temperature_up_K"] or model_t) / 2
    lower.set_xlim(0.65 * middle, 1.3 * middle)
    return canvas


def figure_5(landau: Json, model: LandauModel) -> Canvas:
    """Draw G(q, eta) at three temperatures, and the valleys along q and along eta at five with both barriers."""
    canvas = Canvas(figsize=(11.0, 8.6), layout="constrained")
    halves: Any = canvas.subfigures(2, 1, height_ratios=[1.1, 1.0])
    upper, lower = halves
    temperatures = landau_curves.surface_temperatures(landau)
    top = max(landau_curves.valley_height(model, t) for t in temperatures)
    for k, temperature in enumerate(temperatures):
        axes = upper.add_subplot(1, len(temperatures), k + 1, projection="3d")
        _surface(axes, model, temperature, top)
    _cuts(lower, landau, model)
    return canvas


def _surface(axes: Any, model: LandauModel, temperature: float, top: float) -> None:
    """Draw one surface up to a height above its lowest minimum; |q| > 1 is grey, minima stand in both domains."""
    q, eta, energy = landau_curves.surface(model, temperature)
    x, y = np.meshgrid(q, eta)
    minima = model.domains(temperature)
    lowest = min(m.energy for m in minima)
    height = np.minimum(energy - lowest, top)
    colours = matplotlib.colormaps["viridis"](height / top)
    colours[np.abs(x) > 1.0] = (0.72, 0.72, 0.72, 0.35)
    axes.plot_surface(
        x, y, height, facecolors=colours, rstride=1, cstride=1, linewidth=0, antialiased=False, rasterized=True
    )
    for minimum in minima:
        filled = minimum.energy == lowest
        axes.plot([minimum.q], [minimum.eta], [minimum.energy - lowest + 0.02 * top], "o", markersize=6, zorder=10,
                  color=VERMILLION, markerfacecolor=VERMILLION if filled else "white")  # fmt: skip
    axes.set_zlim(0.0, top)
    axes.set_xlabel("q")
    axes.set_ylabel("η")
    axes.set_title(f"(a) G − G$_{{min}}$ (Landau units), {temperature:.1f} K", fontsize=10)
    axes.view_init(elev=38, azim=-62)
    axes.set_box_aspect(None, zoom=0.9)


def _cuts(canvas: Any, landau: Json, model: LandauModel) -> None:
    """Draw the valleys along q and along eta, each curve shifted; mark both barriers at equal energy."""
    along, across = canvas.subplots(1, 2)
    colours = [BLUE, GREEN, BLACK, ORANGE, VERMILLION]
    dashes = ["-", "--", "-", "-.", ":"]
    q = np.linspace(-1.0, 1.0, 401)
    eta = q * landau_curves.largest_eta(model)
    top = CUT_TOP * landau_curves.valley_height(model, landau["equal_energy_temperature_K"] or model.T_SC)
    for temperature, colour, dash in zip(landau_curves.cut_temperatures(landau), colours, dashes, strict=False):
        lowest = min(m.energy for m in model.minima(temperature))
        name = f"{temperature:.1f} K"
        along.plot(q, model.energy_along_q(temperature, q) - lowest, dash, color=colour, label=name)
        _, valley = landau_curves.valley_along_eta(model, temperature, eta)
        across.plot(eta, valley - lowest, dash, color=colour, label=name)
    equal = landau["equal_energy_temperature_K"]
    if equal is not None and len(minima := model.minima(equal)) > 1:
        saddle = model.saddle(equal, minima[0], minima[-1])
        height = saddle.energy - minima[0].energy
        along.annotate("", (saddle.q, height), (saddle.q, 0.0), arrowprops={"arrowstyle": "<->", "color": BLACK})
        text = f"$G_{{LH}}$ = $G_{{HL}}$ = {height:.2f}, {equal:.1f} K"
        along.text(saddle.q, height + 0.02 * top, text, fontsize=8, ha="center", bbox={"color": "white", "pad": 1.0})
    for axes, label in ((along, "q (η at its minimum)"), (across, "η (q at its minimum)")):
        axes.set_xlabel(label)
        axes.set_ylabel("G − G$_{min}$ (Landau units)")
        axes.set_ylim(-0.02 * top, top)
        axes.set_title("(b)", loc="left", fontsize=10)
        axes.grid(alpha=0.3)
        axes.legend(frameon=False, fontsize=8)


def figure_fit(rows: Rows) -> Canvas:
    """Draw measured points and fitted branches, q above eta, from the rows of `landau_fit.curves`."""
    shown = [name for name in ("q", "eta") if rows[0][f"{name}_measured"] != ""]
    canvas = Canvas(figsize=(5.6, 1.2 + 2.6 * len(shown)), layout="constrained")
    panels = canvas.subplots(len(shown), 1, sharex=True, squeeze=False)[:, 0]
    for name, axes in zip(shown, panels, strict=True):
        for branch, colour, dash, sign in (("heating", VERMILLION, "-", "^"), ("cooling", BLUE, "--", "v")):
            t = column(rows, branch, "temperature_K")
            if t.size:
                measured = column(rows, branch, f"{name}_measured")
                axes.plot(t, measured, sign, color=colour, markersize=3.5, alpha=0.6, label=f"measured, {branch}")
                axes.plot(t, column(rows, branch, name), dash, color=colour, label=f"fit, {branch}")
        axes.set_ylabel({"q": "q", "eta": "η (Landau units)"}[name])
        _dress(axes)
    panels[-1].set_xlabel("temperature (K)")
    return canvas


def figure_phases(found: PhaseDiagram) -> Canvas:
    """Draw the stable phase over temperature and a parameter; hatched where a second minimum exists."""
    canvas = Canvas(figsize=(6.0, 4.8), layout="constrained")
    axes = canvas.subplots()
    present = sorted({int(k) for k in found.phase.ravel()})
    grounds = ["#cfe3f3", "#8fb8de", "#fbe3c2", PALE]
    axes.pcolormesh(
        found.temperatures, found.values, found.phase, shading="nearest", cmap=ListedColormap(grounds), vmin=-0.5,
        vmax=3.5, rasterized=True,
    )  # fmt: skip
    several = (found.minima > 1).astype(float)
    if several.any():
        axes.contourf(
            found.temperatures, found.values, several, levels=[0.5, 1.5], colors="none", hatches=["////"],
        )  # fmt: skip
    keys = [Patch(color=grounds[k], label=PHASES[k]) for k in present]
    keys += [Patch(facecolor="none", hatch="////", edgecolor=BLACK, label="hysteresis")] if several.any() else []
    axes.legend(handles=keys, fontsize=8, loc="upper left")
    axes.set_xlabel("temperature (K)")
    axes.set_ylabel(f"{found.parameter} ({'K' if found.parameter.startswith('T') else 'Landau units'})")
    return canvas
