"""The Landau account as the report shows it: claims, sentences, tables, figures; made from landau.json alone.

Branches and wells are in Landau units (dimensionless G, T in K); the entropy check carries its own scale to J/(K mol).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spincross.entropy import PAPER_DOI
from spincross.figures import BLACK, BLUE, GREEN, VERMILLION, Figure, Json, axis, guide, layout, line, note, rounded
from spincross.findings import Claim, number
from spincross.landau_curves import largest_eta, valley_height
from spincross.landau_model import Q_MAX, Q_MIN, LandauModel

Array = NDArray[np.float64]
Table = dict[str, list[Any]]

HYSTERESIS_TOLERANCE = (3.0, 10.0)
"""Largest difference (K) of transition temperatures from the measured ones: supported, uncertain."""
NO_MODEL = "No Landau parameters are known for this complex, so there is no Landau model and no entropy check."
SURFACE_POINTS = 49
"""Points of the surface along q and along eta."""
SURFACE_TOP = 4.5
"""Height at which the surface is cut, in heights of the valley along q."""
WELL_POINTS = 81
"""Points along q of the well that follows the slider."""
AROUND = 40
"""How far the slider reaches beyond the hysteresis on both sides, K."""
MOST_POINTS = 400
"""Points of a branch that are drawn."""


def present(landau: Json) -> bool:
    """Tell whether there is a model."""
    return bool(landau.get("parameters"))


def borrowed_from(landau: Json, entry: Json) -> str | None:
    """Return the complex the parameters were borrowed from, or None."""
    if not present(landau):
        return None
    found = landau.get("borrowed_from") or (entry.get("landau") or {}).get("borrowed_from")
    return str(found) if found else None


def sentences(landau: Json) -> list[str]:
    """Return what the model says, or why there is none."""
    if not present(landau):
        return [landau.get("reason") or NO_MODEL]
    source = [f"Parameters: {landau['source']}."] if landau.get("source") else []
    return [*(landau.get("statements") or []), *source]


def claims(landau: Json, entry: Json) -> list[Claim]:
    """Return the claims of the model; borrowed parameters test nothing."""
    if not present(landau):
        return []
    lender = borrowed_from(landau, entry)
    if lender:
        return [
            Claim(
                "The Landau model describes this complex.", "not tested", f"its parameters are borrowed from {lender}"
            )
        ]
    found = _hysteresis(landau, entry.get("calorimetry") or {})
    if str(landau.get("source")).startswith(PAPER_DOI):  # the temperature of the high-symmetry phase is the paper's
        found += _breaking_entropy(landau.get("a0_window"))
    return [replace(claim, sources=("landau",)) for claim in found]


def _hysteresis(landau: Json, measured: Json) -> list[Claim]:
    """Compare both ends of the hysteresis with experiment."""
    keys = {"heating": "temperature_up_K", "cooling": "temperature_down_K"}
    text = "The Landau model reproduces the hysteresis."
    pairs = {b: (landau.get(k), measured.get(k)) for b, k in keys.items()}
    missing = [b for b, (m, e) in pairs.items() if m is None and e is not None]
    if missing:
        where = " and on ".join(missing)
        return [Claim(text, "not supported", f"the model has no jump on {where}, where one was measured")]
    found = {b: (m, e) for b, (m, e) in pairs.items() if m is not None and e is not None}
    if not found:
        return []
    worst = max(abs(m - e) for m, e in found.values())
    good, fair = HYSTERESIS_TOLERANCE
    verdict = "supported" if worst <= good else "uncertain" if worst <= fair else "not supported"
    listed = "; ".join(f"{b}: model {m:.1f} K, measured {e:.1f} K" for b, (m, e) in found.items())
    limits = f"supported up to {good:g} K, uncertain up to {fair:g} K"
    evidence = f"{listed} (the parameters were chosen with these data in view; {limits})"
    return [Claim(text, verdict, evidence)]


def _breaking_entropy(window: Json | None) -> list[Claim]:
    """Compare the largest symmetry-breaking entropy that eq. 3 allows with the order-disorder estimate."""
    bound = (window or {}).get("entropy_symmetry_breaking_bound_J_per_mol_K")
    if window is None or bound is None:
        return []
    ideal = window["order_disorder_J_per_mol_K"]
    phase = f"the paper's high-symmetry phase at {window['high_symmetry_temperature_K']:g} K"
    where = f"{phase} and low spin stable down to 0 K"
    evidence = f"at most {number(bound, 2)} J/(K mol) with {where}, against −R ln 2 = {number(ideal, 2)}"
    verdict = "supported" if abs(bound) >= abs(ideal) else "not supported"
    return [
        Claim(
            "Eq. 3 with D, E and b of eq. 4 can hold the order-disorder entropy of symmetry breaking.",
            verdict,
            evidence,
        )
    ]


def parameter_table(landau: Json) -> Table:
    """Return parameters and characteristic temperatures."""
    if not present(landau):
        return {"head": [], "rows": []}
    parameters = {name: value for name, value in landau["parameters"].items() if value is not None}
    bare = not parameters.get("a0")
    names = [name for name in parameters if not (bare and name in ("a0", "T_c"))]
    rows = [[name, f"{parameters[name]:g}".replace("-", "−")] for name in names]
    rows += [["a0, T_c", "none (eq. 4)" if LandauModel(**landau["parameters"]).is_equation_4 else "none"]] * bare
    temperatures = {
        "T_up, end of the LS branch on heating (K)": "temperature_up_K",
        "T_down, end of the HS branch on cooling (K)": "temperature_down_K",
        "equal energy of both branches (K)": "equal_energy_temperature_K",
        "LS saturates at q = −1 below (K)": "saturation_temperature_K",
        "q leaves 1 on cooling at (K)": "q_leaves_one_temperature_K",
    }
    rows += [[label, number(landau.get(key), 2)] for label, key in temperatures.items()]
    return {"head": ["quantity", "value"], "rows": rows}


def check_table(landau: Json) -> Table:
    """Return the entropies of the model beside DFT and calorimetry, J/(K mol)."""
    check = landau.get("entropy_check")
    if not check:
        return {"head": [], "rows": []}
    full = check["full"]
    rows = [
        [
            "spin crossover, full change (sets the scale)",
            *_three(full["entropy_spin_crossover_J_per_mol_K"], check["entropy_spin_crossover_dft_J_per_mol_K"]),
        ],
        [
            "symmetry breaking",
            *_three(full["entropy_symmetry_breaking_J_per_mol_K"], check["entropy_symmetry_breaking_dft_J_per_mol_K"]),
        ],
        ["total", *_three(full["entropy_total_J_per_mol_K"], check["entropy_total_dft_J_per_mol_K"])],
    ]
    for branch in ("heating", "cooling"):
        part = check.get(branch)
        if part:
            rows.append(
                [
                    f"jump on {branch}",
                    number(part["entropy_jump_J_per_mol_K"], 2, True),
                    "–",
                    number(part["measured_J_per_mol_K"], 2, True),
                ]
            )
    return {
        "head": ["entropy, J/(K mol)", "Landau", f"this run (DFT), {check['temperature_K']:g} K", "calorimetry"],
        "rows": rows,
    }


def _three(model: float, dft: float) -> list[str]:
    """Return the cells model, DFT, nothing measured."""
    return [number(model, 2, True), number(dft, 2, True), "–"]


def figures_of(landau: Json) -> dict[str, Figure]:
    """Return the branches and the wells."""
    if not present(landau):
        return {}
    drawn = {"landau-branches": branches(landau)}
    if landau.get("wells"):
        drawn["landau-wells"] = wells(landau["wells"])
        drawn["landau-well"] = moving_well(landau)
        drawn["landau-surface"] = surface(landau)
    if landau.get("barriers"):
        drawn["landau-barriers"] = barriers(landau["barriers"])
    if landau.get("entropy_check"):
        drawn["landau-entropy"] = entropy_curves(landau)
    return drawn


def branches(landau: Json) -> Figure:
    """Draw q(T) above eta(T), heating solid, cooling dashed, spinodals as guides."""
    data, styles = [], {"heating": (VERMILLION, "solid"), "cooling": (BLUE, "dash")}
    for name, (colour, dash) in styles.items():
        lists = landau["branches"].get(name)
        if lists:
            temperatures, q, eta = with_jump(lists, (landau.get("jumps") or {}).get(name))
            data.append(line(temperatures, q, name, colour, dash=dash, legendgroup=name))
            data.append(
                line(temperatures, eta, name, colour, dash=dash, yaxis="y2", legendgroup=name, showlegend=False)
            )
    ends = [
        (landau.get(k), t)
        for k, t in (("temperature_up_K", "T<sub>up</sub>"), ("temperature_down_K", "T<sub>down</sub>"))
    ]
    shapes = [guide("x", t) for t, _ in ends if t is not None]
    sides = ("left", "right")
    notes = [
        note(
            t,
            0.02,
            f"{text} {t:.1f} K",
            yref="paper",
            xanchor=side,
            yanchor="bottom",
            xshift=4 if side == "left" else -4,
        )
        for (t, text), side in zip(ends, sides, strict=True)
        if t is not None
    ]
    axes = {
        "xaxis": axis("temperature (K)", anchor="y2"),
        "yaxis": axis("q (−1 LS, 1 HS)", domain=[0.56, 1.0], range=[-1.1, 1.1]),
    }
    axes["yaxis2"] = axis("η", domain=[0.0, 0.44], rangemode="tozero")
    return {"data": data, "layout": layout(520, **axes, shapes=shapes, annotations=notes)}


def with_jump(lists: Json, jump: Json | None) -> tuple[list[float], list[float], list[float]]:
    """Return T, q, eta of a branch, thinned, with both ends of its jump put in so that the step is upright."""
    step = max(1, len(lists["temperature_K"]) // MOST_POINTS)
    points = list(zip(lists["temperature_K"], lists["q"], lists["eta"], strict=True))
    chosen = points[::step] + (points[-1:] if (len(points) - 1) % step else [])
    if jump:
        low, high = sorted([(jump["q_before"], jump["eta_before"]), (jump["q_after"], jump["eta_after"])])
        at = jump["temperature_K"]
        below, above = [p for p in chosen if p[0] < at], [p for p in chosen if p[0] > at]
        chosen = [*below, (at, *low), (at, *high), *above]
    columns = list(zip(*chosen, strict=True))
    return rounded(columns[0], 3), rounded(columns[1], 4), rounded(columns[2], 4)


def barriers(found: Json) -> Figure:
    """Draw the barriers out of LS and out of HS inside the hysteresis, Landau units."""
    t = rounded(found["temperature_K"], 3)
    data = [
        line(t, rounded(found["G_LH"]), "from LS to HS", BLUE),
        line(t, rounded(found["G_HL"]), "from HS to LS", VERMILLION, dash="dash"),
    ]
    axes = {"xaxis": axis("temperature (K)"), "yaxis": axis("barrier, Landau units", rangemode="tozero")}
    return {"data": data, "layout": layout(340, **axes)}


def wells(found: list[Json]) -> Figure:
    """Draw G along q at each temperature, zero at its lowest point; minima as filled circles."""
    styles = [(BLUE, "solid"), (BLACK, "dash"), (VERMILLION, "dot"), (GREEN, "dashdot")]
    data = []
    for item, (colour, dash) in zip(found, styles, strict=False):
        lowest = min(item["G"])
        name = f"{item['temperature_K']:.1f} K"
        data.append(line(rounded(item["q"], 3), rounded([g - lowest for g in item["G"]]), name, colour, dash=dash))
        minima = [p for p in item["stationary_points"] if p["kind"] != "unstable"]
        dots = {"type": "scatter", "mode": "markers", "x": rounded([p["q"] for p in minima], 3), "showlegend": False}
        dots |= {"y": rounded([p["G"] - lowest for p in minima]), "marker": {"color": colour, "size": 9}}
        data.append(dots | {"hovertemplate": "minimum at q = %{x:.3f}<extra></extra>"})
    axes = {"xaxis": axis("q (−1 LS, 1 HS)"), "yaxis": axis("G, Landau units (lowest point at 0)")}
    return {"data": data, "layout": layout(400, **axes)}


def moving_well(landau: Json) -> Figure:
    """Draw G along q, eta relaxed, at T_SC; the key `wells` has the curve and its minima at every kelvin around it."""
    model = LandauModel(**landau["parameters"])
    ends = [landau.get(k) or model.T_SC for k in ("temperature_down_K", "temperature_up_K")]
    first, last = max(1, round(min(ends)) - AROUND), round(max(ends)) + AROUND
    q = np.linspace(Q_MIN, Q_MAX, WELL_POINTS)
    found = [_well(model, float(t), q) for t in range(first, last + 1)]
    start = min(range(len(found)), key=lambda k: abs(found[k]["temperature_K"] - model.T_SC))
    shown = found[start]
    data = [line(rounded(q, 3), shown["G"], "G", BLUE)]
    dots = {"type": "scatter", "mode": "markers", "x": shown["q_minima"], "y": shown["G_minima"]}
    dots |= {"marker": {"color": VERMILLION, "size": 11}}
    data.append(dots | {"hovertemplate": "minimum at q = %{x:.3f}<extra></extra>"})
    top = float(np.quantile([w["G"] for w in found], 0.9))
    height = axis("G, Landau units (lowest point at 0)", range=[-0.06 * top, top])
    axes = {"xaxis": axis("q (−1 LS, 1 HS)"), "yaxis": height}
    return {"data": data, "layout": layout(400, **axes, showlegend=False), "wells": found, "start": start}


def _well(model: LandauModel, temperature: float, q: Array) -> Json:
    """Return G along q, lowest point at 0, and its minima."""
    energy = model.energy_along_q(temperature, q)
    minima = model.minima(temperature)
    lowest = min([float(energy.min()), *(m.energy for m in minima)])
    places = {
        "q_minima": rounded([m.q for m in minima], 3),
        "G_minima": rounded([m.energy - lowest for m in minima], 3),
    }
    return {"temperature_K": temperature, "G": rounded(energy - lowest, 3), **places}


def entropy_curves(landau: Json) -> Figure:
    """Draw S_SC, S_SB and their sum on heating and cooling, J/(K mol), counted from q = 0 and eta = 0."""
    unit = landau["entropy_check"]["unit_J_per_mol_K"]
    data = []
    for branch, dash in (("heating", "solid"), ("cooling", "dash")):
        lists = landau["branches"][branch]
        step = max(1, len(lists["temperature_K"]) // MOST_POINTS)
        t = rounded(lists["temperature_K"][::step], 3)
        parts = {key: unit * np.array(lists[key][::step]) for key in ("S_SC", "S_SB")}
        named = (
            ("S<sub>SC</sub>", parts["S_SC"], BLUE),
            ("S<sub>SB</sub>", parts["S_SB"], VERMILLION),
            ("total", parts["S_SC"] + parts["S_SB"], BLACK),
        )
        data += [line(t, rounded(values, 3), f"{name}, {branch}", colour, dash=dash) for name, values, colour in named]
    axes = {"xaxis": axis("temperature (K)"), "yaxis": axis("Landau entropy (J/(K mol))")}
    return {"data": data, "layout": layout(420, **axes)}


def surface_caption(landau: Json) -> str:
    """Say at which temperature the surface is drawn, and what its dots are."""
    equal, t_sc = landau.get("equal_energy_temperature_K"), (landau.get("parameters") or {}).get("T_SC")
    where = f"{equal:.1f} K, where LS and HS have one energy" if equal else f"T_SC = {t_sc} K"
    dots = "dots are its minima, those with η ≠ 0 in both domains"
    return f"Landau potential over both order parameters at {where}; {dots}."


def surface(landau: Json) -> Figure:
    """Draw G over q and eta at equal energy (T_SC without a hysteresis), with the minima of both domains."""
    model = LandauModel(**landau["parameters"])
    temperature = landau.get("equal_energy_temperature_K") or model.T_SC
    q = np.linspace(Q_MIN, Q_MAX, SURFACE_POINTS)
    largest = largest_eta(model)
    eta = np.linspace(-largest, largest, SURFACE_POINTS)
    energy = model.energy(temperature, q[None], eta[:, None])
    minima = model.domains(temperature)
    lowest = min(m.energy for m in minima)
    height = np.minimum(energy - lowest, SURFACE_TOP * valley_height(model, temperature))
    solid = {"type": "surface", "x": rounded(q, 3), "y": rounded(eta, 3), "colorscale": "Viridis", "showscale": False}
    solid |= {"z": [rounded(row, 3) for row in height], "name": "G"}
    solid["hovertemplate"] = "q = %{x:.2f}<br>η = %{y:.2f}<br>G = %{z:.2f}<extra></extra>"
    dots = {"type": "scatter3d", "mode": "markers", "x": rounded([m.q for m in minima], 3), "showlegend": False}
    dots |= {"y": rounded([m.eta for m in minima], 3), "z": rounded([m.energy - lowest + 0.2 for m in minima], 3)}
    dots |= {"marker": {"color": VERMILLION, "size": 5}, "hovertemplate": "minimum<extra></extra>", "name": "minima"}
    titles = {"xaxis": "q", "yaxis": "η", "zaxis": "G (Landau units)"}
    scene: Json = {name: {"title": {"text": text}} for name, text in titles.items()}
    scene |= {"camera": {"eye": {"x": -1.3, "y": -1.5, "z": 1.1}}}
    return {"data": [solid, dots], "layout": layout(520, scene=scene, margin={"l": 0, "r": 0, "t": 8, "b": 8})}
