"""Static drawings (SVG text by matplotlib) of the figures a reader needs even without JavaScript, and for papers.

They are drawn from the same dictionaries as the interactive figures, so both show the same numbers.
"""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from spincross.figures import BLACK, BLUE, GREY, Figure, Json
from spincross.files import replacing
from spincross.scenes import view

STYLE = {"svg.hashsalt": "spincross", "svg.fonttype": "none", "font.size": 10}
XML = '<?xml version="1.0" encoding="utf-8"?>\n'
FILES = {
    "waterfall": (6.0, 4.2),
    "curves": (7.0, 4.4),
    "cumulative": (7.0, 4.4),
    "spectra": (8.0, 4.6),
    "landau-branches": (6.0, 5.6),
    "landau-wells": (6.4, 4.4),
    "landau-entropy": (6.4, 4.4),
    "landau-surface": (6.4, 5.4),
}
"""Figures that are kept as files for papers, and their sizes in inches."""
STATIC = ("well", "waterfall", "landau-branches")
"""Flat figures that get a static drawing in the page, shown where there is no JavaScript."""
DASHES = {"solid": "-", "dash": "--", "dot": ":", "dashdot": "-."}
_TAGS = re.compile(r"<[^>]+>")
_SCRIPTS = re.compile(r"<(sub|sup)>([\w/]+)</\1>")


def fallbacks(figures: dict[str, Figure]) -> dict[str, str]:
    """Return the static drawing of each figure in STATIC that exists, as inline SVG."""
    return {name: _own_ids(name, svg(figures[name])) for name in STATIC if name in figures}


def stills(figures: dict[str, Figure]) -> dict[str, str]:
    """Return a drawing of every molecule, as inline SVG: shown in print, where browsers leave WebGL white."""
    molecules = {n: f for n, f in figures.items() if f["data"] and f["layout"].get("scene", {}).get("dragmode")}
    return {name: _own_ids(name, svg_text(_projected(figure))) for name, figure in molecules.items()}


def _own_ids(name: str, text: str) -> str:
    """Return an svg whose ids begin with the name of the figure: several stand in one page."""
    return re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", text)


def _projected(figure: Figure) -> Canvas:
    """Draw the lines, atoms and labels of a molecule as its camera sees them first, far ones first."""
    scene = figure["layout"]["scene"]
    seen = view(np.array([scene["camera"]["eye"][k] for k in "xyz"]))
    with matplotlib.rc_context(STYLE):
        canvas = Canvas(figsize=(3.4, 3.4), layout="constrained")
        axes = canvas.add_subplot(aspect="equal", xlim=scene["xaxis"]["range"], ylim=scene["xaxis"]["range"])
        axes.axis("off")
        for trace in figure["data"]:
            x, y, depth = seen @ np.array([[np.nan if v is None else v for v in trace[k]] for k in "xyz"], dtype=float)
            if "lines" in trace["mode"]:
                axes.plot(x, y, color=trace["line"]["color"], linewidth=0.45 * trace["line"]["width"], zorder=1)
            elif "markers" in trace["mode"]:
                order = np.argsort(depth)
                colours = np.broadcast_to(np.array(trace["marker"]["color"], dtype=object), len(x))
                sizes = (0.55 * np.broadcast_to(trace["marker"]["size"], len(x))) ** 2
                axes.scatter(x[order], y[order], s=sizes[order], c=list(colours[order]), edgecolors=BLACK,
                             linewidths=0.5, zorder=2)  # fmt: skip
            else:
                for place in zip(x, y, trace["text"], strict=True):
                    axes.text(*place, fontsize=6, ha="center", va="center", zorder=3)
    return canvas


def svg(figure: Figure, inches: tuple[float, float] = (7.0, 4.0)) -> str:
    """Draw lines, bars and guides of a flat plotly figure; return an svg element, equal for equal input."""
    return svg_text(canvas_of(figure, inches))


def canvas_of(figure: Figure, inches: tuple[float, float] = (7.0, 4.0)) -> Canvas:
    """Return the matplotlib figure of a plotly figure."""
    with matplotlib.rc_context(STYLE):
        canvas = Canvas(figsize=inches, layout="constrained")
        _draw(canvas, figure)
    return canvas


def svg_text(canvas: Canvas) -> str:
    """Return a matplotlib figure as an svg element, equal for equal input."""
    with matplotlib.rc_context(STYLE):
        text = io.StringIO()
        canvas.savefig(text, format="svg", metadata={"Date": None, "Creator": None}, dpi=150)
    return text.getvalue()[text.getvalue().index("<svg") :]


def save(canvas: Canvas, stem: Path) -> None:
    """Write a matplotlib figure as SVG and PNG beside each other."""
    with replacing(stem.with_suffix(".svg")) as temporary:
        temporary.write_text(XML + svg_text(canvas))
    with replacing(stem.with_suffix(".png")) as temporary, matplotlib.rc_context(STYLE):
        canvas.savefig(temporary, format="png", dpi=150, metadata={"Software": None})


def write_all(figures: dict[str, Figure], folder: Path) -> list[str]:
    """Write SVG and PNG of every figure in FILES that exists; return their names."""
    found = [name for name in FILES if name in figures]
    for name in found:
        save(canvas_of(figures[name], FILES[name]), folder / name)
    return found


def _draw(canvas: Canvas, figure: Figure) -> None:
    """Draw every trace into the subplot of its y axis."""
    solid = [trace for trace in figure["data"] if trace["type"] == "surface"]
    if solid:
        _solid(canvas, solid[0], figure)
        return
    names = sorted({trace.get("yaxis", "y") for trace in figure["data"]})
    grid = dict(zip(names, canvas.subplots(len(names), 1, sharex=True, squeeze=False)[:, 0], strict=True))
    for trace in figure["data"]:
        _trace(grid[trace.get("yaxis", "y")], trace)
    for name, axes in grid.items():
        axes.set_ylabel(_title(figure["layout"].get(name.replace("y", "yaxis"), {})))
        axes.grid(alpha=0.3)
        for shape in figure["layout"].get("shapes", []):
            _guide(axes, shape)
        if len(axes.get_legend_handles_labels()[1]) > 1:
            axes.legend(frameon=False, fontsize=9)
        if figure["layout"].get(name.replace("y", "yaxis"), {}).get("visible") is False:
            axes.set_yticks([])
    _row_names(grid, figure)
    if any(trace["type"] == "bar" for trace in figure["data"]):
        _notes(grid[names[0]], figure)
    grid[names[-1]].set_xlabel(_title(figure["layout"].get("xaxis", {})))


def _notes(axes: Axes, figure: Figure) -> None:
    """Write the notes of a bar chart: values above bars, the name of a band at its left end."""
    for note in figure["layout"].get("annotations", []):
        paper = note.get("xref") == "paper"
        coords: Any = axes.get_yaxis_transform() if paper else "data"
        place = (0.01, note["y"]) if paper else (_text(str(note["x"])), note["y"])
        axes.annotate(_text(note["text"]), place, xytext=(0, 3), textcoords="offset points", xycoords=coords,
                      ha="left" if paper else "center", va="bottom", fontsize=8)  # fmt: skip
    low, high = axes.get_ylim()
    axes.set_ylim(low, high + 0.05 * (high - low))


def _row_names(grid: dict[str, Axes], figure: Figure) -> None:
    """Write the bold notes of stacked rows (states of the spectra) into their rows."""
    titles = [n["text"] for n in figure["layout"].get("annotations", []) if str(n.get("text", "")).startswith("<b>")]
    hidden = [a for n, a in grid.items() if figure["layout"].get(n.replace("y", "yaxis"), {}).get("visible") is False]
    if len(titles) == len(hidden):
        for title, axes in zip(titles, hidden, strict=True):
            axes.set_title(_TAGS.sub("", title), loc="left", fontsize=9)


def _trace(axes: Axes, trace: Json) -> None:
    """Draw one trace: a bar chart or a line."""
    label = _text(trace.get("name", "")) if trace.get("showlegend", True) else ""
    if trace["type"] == "bar":
        axes.bar(
            [_text(str(x)) for x in trace["x"]],
            trace["y"],
            bottom=trace.get("base"),
            color=trace["marker"]["color"],
        )
    elif trace.get("fill") == "toself":
        axes.fill(trace["x"], trace["y"], color=BLUE, alpha=0.15, linewidth=0, label=label)
    elif "lines" in trace["mode"]:
        style = trace["line"]
        sticks = isinstance((trace.get("marker") or {}).get("size"), list)
        marker = "o" if "markers" in trace["mode"] and not sticks else None
        dash = DASHES[style.get("dash", "solid")]
        steps = "steps-post" if style.get("shape") == "hv" else "default"
        y: Any = [None if v is None else 0.9 * v for v in trace["y"]] if sticks else trace["y"]
        axes.plot(trace["x"], y, dash, color=style["color"], marker=marker, markersize=4, label=label, drawstyle=steps)
    elif "error_y" in trace:
        error = trace["error_y"]
        limits = [error["arrayminus"], error["array"]]
        axes.errorbar([_text(x) for x in trace["x"]], trace["y"], limits, fmt="o", color=BLACK, markersize=3)
    else:
        axes.plot(trace["x"], trace["y"], "o", color=trace["marker"]["color"], markersize=6)


def _solid(canvas: Canvas, trace: Json, figure: Figure) -> None:
    """Draw a surface with the points that lie on it."""
    axes: Any = canvas.add_subplot(projection="3d")
    height = np.array(trace["z"], dtype=float)
    x, y = np.meshgrid(np.array(trace["x"], dtype=float), np.array(trace["y"], dtype=float))
    axes.plot_surface(x, y, height, cmap="viridis", linewidth=0, antialiased=False, rasterized=True)
    for points in figure["data"]:
        if points["type"] == "scatter3d":
            axes.plot(points["x"], points["y"], points["z"], "o", color=points["marker"]["color"], zorder=10)
    scene = figure["layout"]["scene"]
    for name, write in (("xaxis", axes.set_xlabel), ("yaxis", axes.set_ylabel), ("zaxis", axes.set_zlabel)):
        write(_title(scene[name]))
    axes.view_init(elev=38, azim=-62)
    axes.set_box_aspect(None, zoom=0.86)


def _guide(axes: Axes, shape: Json) -> None:
    """Draw a guide line or a band."""
    if shape["type"] == "rect":
        axes.axhspan(shape["y0"], shape["y1"], color=shape["fillcolor"], alpha=0.25)
    elif shape["x0"] == shape["x1"]:
        axes.axvline(shape["x0"], color=GREY, linestyle="--", linewidth=1)
    else:
        axes.axhline(shape["y0"], color=GREY, linestyle="--", linewidth=1)


def _title(axis: Json) -> str:
    """Return an axis title without tags."""
    text = (axis.get("title") or {}).get("text", "")
    return _text(text)


def _text(text: str) -> str:
    """Return text with sub- and superscripts for matplotlib, without other tags."""
    return _TAGS.sub("", _SCRIPTS.sub(lambda m: f"${'_' if m[1] == 'sub' else '^'}{{\\mathrm{{{m[2]}}}}}$", text))
