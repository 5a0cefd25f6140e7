"""Static drawings (SVG text by matplotlib) of the figures a reader needs even without JavaScript, and for papers.

They are drawn from the same dictionaries as the interactive figures, so both show the same numbers.
"""

from __future__ import annotations

import io
import re

import matplotlib

matplotlib.use("Agg")
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from spincross.figures import GREY, Figure, Json

STATIC = ("well", "waterfall", "landau-branches")
"""Figures that get a static drawing in the page."""
DASHES = {"solid": "-", "dash": "--", "dot": ":", "dashdot": "-."}
_TAGS = re.compile(r"<[^>]+>")


def fallbacks(figures: dict[str, Figure]) -> dict[str, str]:
    """Return the static drawing of each figure in STATIC that exists, as inline SVG."""
    return {name: svg(figures[name]) for name in STATIC if name in figures}


def svg(figure: Figure, inches: tuple[float, float] = (7.0, 4.0)) -> str:
    """Draw lines, bars and guides of a flat plotly figure; return an svg element, equal for equal input."""
    with matplotlib.rc_context({"svg.hashsalt": "spincross", "svg.fonttype": "none", "font.size": 10}):
        canvas = Canvas(figsize=inches, layout="constrained")
        _draw(canvas, figure)
        text = io.StringIO()
        canvas.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    start = text.getvalue().index("<svg")
    return text.getvalue()[start:]


def _draw(canvas: Canvas, figure: Figure) -> None:
    """Draw every trace into the subplot of its y axis."""
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
    grid[names[-1]].set_xlabel(_title(figure["layout"].get("xaxis", {})))


def _trace(axes: Axes, trace: Json) -> None:
    """Draw one trace: a bar chart or a line."""
    label = _TAGS.sub("", trace.get("name", "")) if trace.get("showlegend", True) else ""
    if trace["type"] == "bar":
        axes.bar(
            [_TAGS.sub("", str(x)) for x in trace["x"]],
            trace["y"],
            bottom=trace.get("base"),
            color=trace["marker"]["color"],
        )
    elif "lines" in trace["mode"]:
        style = trace["line"]
        marker = "o" if "markers" in trace["mode"] else None
        dash = DASHES[style.get("dash", "solid")]
        axes.plot(trace["x"], trace["y"], dash, color=style["color"], marker=marker, markersize=4, label=label)


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
    return _TAGS.sub("", text.replace("<sup>1/2</sup>", "$^{1/2}$"))
