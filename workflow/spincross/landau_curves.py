r"""The curves of the paper's Landau figures (Mater. Horiz. 2025, 12, 1463), computed, as rows for tables.

Figure 1: (a) symmetry breaking alone, eq. 1 with a0 > 0; (b) spin crossover alone, eq. 2 with B = 0; (c) ascending
symmetry breaking. The paper draws (c) as a concept with a0 < 0 in eq. 1, but that gives a *gain* of entropy,
:math:`S_{SB} = a_0^2 (T - T_{SB}) / 2b > 0`. Here (c) is the stable phase of eq. 3 with a0 > 0, where the coupling
drives eta and the cost comes out; eq. 1 with a0 < 0 stands beside it. Figure 2 (c, d): q(T) and eta(T) both ways.
Figure 5: (a) G over (q, eta) below, inside and above the hysteresis; (b) the valleys along q and along eta.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spincross.landau_maps import cubic_roots, minima_of
from spincross.landau_model import Q_MAX, Q_MIN, LandauModel

Array = NDArray[np.float64]
Json = dict[str, Any]
Rows = list[dict[str, Any]]

POINTS = 301
"""Points of a curve."""
SURFACE_POINTS = 61
"""Points of a surface along q and along eta."""
SURFACE_Q = 1.2
"""Limit of the surfaces along q; |q| > 1 is drawn but not allowed."""
BEYOND_ETA = 1.25
"""Limit of the surfaces along eta, in units of the largest eta at T_SC."""
WINDOW_MODEL = -1
"""Which model of the (a0, T_c) window stands in figure 1c: the one with the largest a0, so the largest cost."""


def figure_1(model: LandauModel, window: Json | None) -> Rows:
    """Return the rows of figure 1: panel, temperature_K, q, eta, S_SB, S_SC, S_total (Landau units per K).

    Parameters
    ----------
    model : the complex's own; its a1, T_SC, C and b are used throughout, and a0 = a1, T_SB = T_SC in (a)
    window : a0_window of landau.json; (c) is made from it where the model has no a0 of its own
    """
    t = np.linspace(0.5, 1.5, POINTS) * model.T_SC
    a0 = model.a1
    square = np.maximum(0.0, a0 / model.b * (model.T_SC - t))
    usual = _rows("a", t, None, np.sqrt(square), -a0 / 2.0 * square, None)
    q = np.clip(np.cbrt(model.a1 / model.C * (t - model.T_SC)), Q_MIN, Q_MAX)
    crossover = _rows("b", t, q, None, None, model.a1 * q)
    coupled = of_panel_c(model, window)
    found = minima_of(asdict(coupled), t)
    breaking, gain = coupled.entropy_symmetry_breaking(found["eta"]), coupled.entropy_spin_crossover(found["q"])
    ascending = _rows("c", t, found["q"], found["eta"], breaking, gain)
    size = abs(coupled.a0)
    above = np.maximum(0.0, size / model.b * (t - model.T_SC))
    alone = _rows("c, eq. 1 alone with a0 < 0", t, None, np.sqrt(above), size / 2.0 * above, None)
    return [*usual, *crossover, *ascending, *alone]


def of_panel_c(model: LandauModel, window: Json | None) -> LandauModel:
    """Return the model of figure 1c: the complex's own a0, or where it has none that of its window, if there is one."""
    if model.a0 or not window:
        return model
    inside = window["models"][WINDOW_MODEL]
    return replace(model, a0=inside["a0"], T_c=inside["T_c_K"])


def _rows(panel: str, t: Array, q: Array | None, eta: Array | None, s_sb: Array | None, s_sc: Array | None) -> Rows:
    """Return rows with empty cells for what a panel does not have."""
    parts = [part for part in (s_sb, s_sc) if part is not None]
    total = np.sum(parts, axis=0)
    columns = {"q": q, "eta": eta, "S_SB": s_sb, "S_SC": s_sc, "S_total": total}
    return [
        {"panel": panel, "temperature_K": float(t[i])}
        | {name: "" if values is None else float(values[i]) + 0.0 for name, values in columns.items()}
        for i in range(t.size)
    ]


def figure_2(landau: Json) -> Rows:
    """Return the rows of figure 2 (c, d) from landau.json: branch, temperature_K, q, eta, eta / `full_eta`."""
    model = LandauModel(**landau["parameters"])
    full = full_eta(model)
    rows: Rows = []
    for branch, lists in landau["branches"].items():
        for t, q, eta in zip(lists["temperature_K"], lists["q"], lists["eta"], strict=True):
            rows.append(
                {
                    "branch": branch,
                    "temperature_K": t,
                    "q": q,
                    "eta": eta,
                    "eta_normalised": eta / full if full else 0.0,
                }
            )
    return rows


def full_eta(model: LandauModel) -> float:
    """Return the largest eta on -1 <= q <= 1 at T_SC, that of q = 1 or of another state; 0 where nothing breaks."""
    return float(model.eta(model.T_SC, np.linspace(Q_MIN, Q_MAX, POINTS)).max())


def largest_eta(model: LandauModel) -> float:
    """Return the limit of eta in drawings; 1 where symmetry does not break at T_SC."""
    return BEYOND_ETA * full_eta(model) or 1.0


def valley_height(model: LandauModel, temperature: float) -> float:
    """Return the highest minus the lowest G of the valley on -1 <= q <= 1, Landau units."""
    return float(np.ptp(model.energy_along_q(temperature, np.linspace(Q_MIN, Q_MAX, POINTS))))


def surface(model: LandauModel, temperature: float) -> tuple[Array, Array, Array]:
    """Return q (Q,), eta (H,) and G (H, Q) at T, Landau units."""
    q = np.linspace(-SURFACE_Q, SURFACE_Q, SURFACE_POINTS)
    eta = np.linspace(-1.0, 1.0, SURFACE_POINTS) * largest_eta(model)
    return q, eta, model.energy(temperature, q[None], eta[:, None])


def valley_along_eta(model: LandauModel, temperature: float, eta: Array) -> tuple[Array, Array]:
    """Return the q with the lowest G on -1 <= q <= 1 at each eta, and that G; (N,) each."""
    square = eta**2
    cubics = np.column_stack(
        [
            np.full_like(eta, model.C),
            np.zeros_like(eta),
            model.B + model.E * square,
            model.a1 * (model.T_SC - temperature) + model.D * square,
        ]
    )
    roots = cubic_roots(cubics)
    inside = np.where(np.abs(roots) <= 1.0, roots, Q_MIN)
    candidates = np.column_stack([inside, np.full_like(eta, Q_MIN), np.full_like(eta, Q_MAX)])
    energies = model.energy(temperature, candidates, eta[:, None])
    best = energies.argmin(axis=1)
    rows = np.arange(eta.size)
    return candidates[rows, best], energies[rows, best]


def figure_5(landau: Json) -> Rows:
    """Return the rows of figure 5: panel, temperature_K, q, eta, G (Landau units)."""
    model = LandauModel(**landau["parameters"])
    rows: Rows = []
    for temperature in surface_temperatures(landau):
        q, eta, energy = surface(model, temperature)
        rows += [
            _point("a", temperature, x, h, energy[i, j])
            for i, h in enumerate(eta.tolist())
            for j, x in enumerate(q.tolist())
        ]
    for temperature in cut_temperatures(landau):
        along = np.linspace(Q_MIN, Q_MAX, POINTS)
        valley = model.energy_along_q(temperature, along)
        etas = model.eta(temperature, along)
        rows += [_point("b, along q", temperature, *values) for values in zip(along, etas, valley, strict=True)]
        across = np.linspace(-1.0, 1.0, POINTS) * largest_eta(model)
        lowest, energy = valley_along_eta(model, temperature, across)
        rows += [_point("b, along eta", temperature, *values) for values in zip(lowest, across, energy, strict=True)]
    return rows


def _point(panel: str, temperature: float, q: float, eta: float, energy: float) -> dict[str, Any]:
    """Return one row."""
    return {"panel": panel, "temperature_K": temperature, "q": float(q), "eta": float(eta), "G": float(energy)}


def surface_temperatures(landau: Json) -> list[float]:
    """Return the temperatures of the wells: below, inside and above the hysteresis, K."""
    return [float(well["temperature_K"]) for well in landau["wells"]]


def cut_temperatures(landau: Json) -> list[float]:
    """Return the temperatures of the wells and the ends of the branches, ascending, K."""
    ends = [landau["temperature_down_K"], landau["temperature_up_K"]]
    return sorted({*surface_temperatures(landau), *(float(t) for t in ends if t is not None)})
