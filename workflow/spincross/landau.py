r"""The Landau account: branches, spinodals, wells, and what the model's entropy says beside DFT and calorimetry.

.. math:: S = -\partial G / \partial T = a_1 q - \tfrac{a_0}{2} \eta^2 = S_{SC} + S_{SB}

for the potential of eq. 3 of Mater. Horiz. 2025, 12, 1463 (see `landau_model`; branches in `landau_branches`).
Landau units become J/(mol K) by setting the full change :math:`2 a_1` from q = -1 to q = 1 equal to
:math:`\Delta S_{SC} = \Delta S_{spin} + \Delta S_{vib}`.

Careful with the sign in words: eq. 1 alone with a0 < 0 gives :math:`S_{SB} = a_0^2 (T - T_{SB}) / 2b > 0` above its
transition, a gain. The entropy *cost* of ascending symmetry breaking needs a0 > 0 in eq. 3, where the coupling to q
and not T drives eta: :math:`S_{SB} = -(a_0/2) \eta^2 < 0`. All entropies here are computed with eq. 3. In eq. 4 the a0
term is dropped and with it the whole symmetry-breaking entropy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spincross.landau_branches import (
    Branch,
    Jump,
    border_release,
    checked_temperatures,
    equal_energy_temperature,
    follow,
    one_hysteresis,
    spinodals,
)
from spincross.landau_model import ETA_BROKEN, Q_MAX, Q_MIN, LandauModel
from spincross.landau_text import statements
from spincross.units import GAS_CONSTANT

Array = NDArray[np.float64]
Json = dict[str, Any]

WELL_POINTS = 201
"""Points of each curve G(q)."""
HIGH_SYMMETRY_TEMPERATURE: float = 800.0
"""Where the paper expects the high-spin high-symmetry phase, K ("around 800 K", section 3.4)."""
MARGIN = 0.2
"""Part of a spinodal temperature by which the branches reach beyond it at least."""
BARRIER_POINTS = 41
"""Temperatures inside the hysteresis at which both barriers are computed."""
WINDOW_FRACTIONS = (0.25, 0.5, 0.75, 0.99)
"""Fractions of the largest a0 at which eq. 3 is worked out."""


def landau_account(parameters: Json, temperatures: Sequence[float] | None = None, entropy: Json | None = None) -> Json:
    """Return the whole account, ready for landau.json (without its provenance).

    Parameters
    ----------
    parameters : a1, T_SC, C, b and any of D, E, B, a0, T_c; source; borrowed_from, the id of the complex whose they are
    temperatures : ascending, K; None for 1001 points from T_SC / 2 to 3 T_SC / 2
    entropy : the content of entropy.json for the entropy check; None leaves it out

    Raises
    ------
    BadInput
        for parameters or temperatures that cannot be used
    """
    model = LandauModel.from_parameters(parameters)
    grid = checked_temperatures(np.linspace(0.5, 1.5, 1001) * model.T_SC if temperatures is None else temperatures)
    up, down = spinodals(model)
    ends = (up, down) if one_hysteresis(model, up, down) else (None, None)
    equal = equal_energy_temperature(model, *ends)
    check = entropy_check(model, up, down, equal, entropy) if entropy else None
    unit = check["unit_J_per_mol_K"] if check else None
    account: Json = {
        "parameters": asdict(model),
        "source": parameters.get("source"),
        "borrowed_from": parameters.get("borrowed_from"),
        "reason": None,
        "temperature_up_K": up.temperature if up else None,
        "temperature_down_K": down.temperature if down else None,
        "equal_energy_temperature_K": equal,
        "saturation_temperature_K": border_release(model, Q_MIN),
        "q_leaves_one_temperature_K": border_release(model, Q_MAX),
        "jumps": {"heating": _jump_facts(model, up), "cooling": _jump_facts(model, down)},
        "branches": {
            "heating": _branch_lists(model, follow(model, grid, heating=True)),
            "cooling": _branch_lists(model, follow(model, grid, heating=False)),
        },
        "wells": [well(model, t) for t in well_temperatures(model, *ends, equal)],
        "barriers": barriers(model, *ends),
        "entropy_check": check,
        "a0_window": a0_window(model, unit, up.temperature if up else model.T_SC),
    }
    account["statements"] = statements(model, account)
    return account


def covering(parameters: Json, low: float, high: float) -> tuple[float, float]:
    """Return a range of temperatures (K) that reaches beyond both ends of the hysteresis by MARGIN of them."""
    ends = [jump.temperature for jump in spinodals(LandauModel.from_parameters(parameters)) if jump]
    return min([low, *((1.0 - MARGIN) * t for t in ends)]), max([high, *((1.0 + MARGIN) * t for t in ends)])


def no_landau(reason: str) -> Json:
    """Return a landau.json content that says why there is no Landau model for a complex."""
    empty = {key: None for key in NULL_KEYS}
    return {
        **empty,
        "reason": reason,
        "jumps": {"heating": None, "cooling": None},
        "branches": {"heating": None, "cooling": None},
        "wells": [],
        "statements": [reason],
    }


NULL_KEYS = (
    "parameters",
    "source",
    "borrowed_from",
    "temperature_up_K",
    "temperature_down_K",
    "equal_energy_temperature_K",
    "saturation_temperature_K",
    "q_leaves_one_temperature_K",
    "barriers",
    "entropy_check",
    "a0_window",
)
"""Keys that are null where there is no model."""


def _branch_lists(model: LandauModel, branch: Branch) -> Json:
    """Return a branch as lists; entropies in Landau units per K."""
    return {
        "temperature_K": branch.temperatures.tolist(),
        "q": branch.q.tolist(),
        "eta": branch.eta.tolist(),
        "G": branch.energy.tolist(),
        "S_SC": model.entropy_spin_crossover(branch.q).tolist(),
        "S_SB": (0.0 + model.entropy_symmetry_breaking(branch.eta)).tolist(),
    }


def _jump_facts(model: LandauModel, jump: Jump | None) -> Json | None:
    """Return both ends of a jump and the change of entropy on it (HS side minus LS side), Landau units per K."""
    if jump is None:
        return None
    (low_q, low_eta), (high_q, high_eta) = sorted((jump.before, jump.after))
    return {
        "temperature_K": jump.temperature,
        "q_before": jump.before[0],
        "eta_before": jump.before[1],
        "q_after": jump.after[0],
        "eta_after": jump.after[1],
        "entropy_spin_crossover": model.a1 * (high_q - low_q),
        "entropy_symmetry_breaking": 0.0 - model.a0 / 2.0 * (high_eta**2 - low_eta**2),
    }


def well_temperatures(model: LandauModel, up: Jump | None, down: Jump | None, equal: float | None) -> list[float]:
    """Return three temperatures, K: half a hysteresis width below it, of equal energy, and half a width above it."""
    if up is None or down is None or equal is None:
        return [0.9 * model.T_SC, model.T_SC, 1.1 * model.T_SC]
    half = (up.temperature - down.temperature) / 2.0
    return [max(down.temperature - half, down.temperature / 2.0), equal, up.temperature + half]


def well(model: LandauModel, temperature: float) -> Json:
    """Return G along q (eta at its minimum), the stationary points and both barriers at T, Landau units."""
    q = np.linspace(Q_MIN, Q_MAX, WELL_POINTS)
    points = model.stationary_points(temperature)
    minima = [p for p in points if p.kind != "unstable"]
    low, high = minima[0], minima[-1]
    several = len(minima) > 1
    return {
        "temperature_K": temperature,
        "q": q.tolist(),
        "G": model.energy_along_q(temperature, q).tolist(),
        "eta": model.eta(temperature, q).tolist(),
        "stationary_points": [
            {"q": p.q, "eta": p.eta, "G": p.energy, "kind": p.kind, "domains": 2 if p.eta > ETA_BROKEN else 1}
            for p in points
        ],
        "barrier_low_to_high": model.barrier(temperature, low, high) if several else None,
        "barrier_high_to_low": model.barrier(temperature, high, low) if several else None,
    }


def barriers(model: LandauModel, up: Jump | None, down: Jump | None) -> Json | None:
    """Return G_LH and G_HL, from LS to HS and back over the saddle on (q, eta), inside the hysteresis; Landau units.

    At the ends of the hysteresis one of them is zero. None without a hysteresis.
    """
    if up is None or down is None or down.temperature >= up.temperature:
        return None
    margin = 1e-9 * up.temperature
    grid = np.linspace(down.temperature + margin, up.temperature - margin, BARRIER_POINTS)
    lists: dict[str, list[float]] = {key: [] for key in ("temperature_K", "G_LH", "G_HL", "q_saddle", "eta_saddle")}
    for t in grid.tolist():
        minima = model.minima(t)
        if len(minima) < 2:
            continue
        pass_ = model.saddle(t, minima[0], minima[-1])
        row = (t, pass_.energy - minima[0].energy, pass_.energy - minima[-1].energy, pass_.q, pass_.eta)
        for key, value in zip(lists, row, strict=True):
            lists[key].append(value)
    return lists


def entropy_check(model: LandauModel, up: Jump | None, down: Jump | None, equal: float | None, entropy: Json) -> Json:
    """Set the Landau entropies, in J/(mol K), beside the computed and measured ones.

    The unit is dS_SC / (2 a1) with dS_SC = dS_spin + dS_vib (harmonic) at the equal-energy temperature (T_SC without
    one), between the listed temperatures by a straight line; beyond them at the nearest.
    """
    grid = np.asarray(entropy["temperatures_K"], dtype=float)
    at = float(np.clip(equal or model.T_SC, grid[0], grid[-1]))
    spin = entropy["entropy_spin_difference_J_per_mol_K"]
    vibrational, total = (
        float(np.interp(at, grid, entropy[f"entropy_{name}_J_per_mol_K"]))
        for name in ("vibrational_difference_harmonic", "total_difference")
    )
    crossover = spin + vibrational
    unit = crossover / (2.0 * model.a1)
    facts = {"heating": _jump_facts(model, up), "cooling": _jump_facts(model, down)}
    breaking = _saturated_breaking(model, equal or model.T_SC)
    return {
        "temperature_K": at,
        "entropy_spin_crossover_dft_J_per_mol_K": crossover,
        "entropy_symmetry_breaking_dft_J_per_mol_K": entropy["entropy_symmetry_breaking_J_per_mol_K"],
        "entropy_total_dft_J_per_mol_K": total,
        "unit_J_per_mol_K": unit,
        "full": {
            "entropy_spin_crossover_J_per_mol_K": crossover,
            "entropy_symmetry_breaking_J_per_mol_K": breaking * unit,
            "entropy_total_J_per_mol_K": crossover + breaking * unit,
        },
        **{branch: _check_branch(fact, unit, branch, entropy) for branch, fact in facts.items()},
    }


def _saturated_breaking(model: LandauModel, temperature: float) -> float:
    """Return the change of -(a0 / 2) eta^2 from q = -1 to q = 1, Landau units per K."""
    low, high = (float(model.eta_squared(temperature, q)) for q in (Q_MIN, Q_MAX))
    return 0.0 - model.a0 / 2.0 * (high - low)


def _check_branch(fact: Json | None, unit: float, branch: str, entropy: Json) -> Json | None:
    """Return the entropy set free in the jump of one branch and what calorimetry measured there, J/(mol K)."""
    if fact is None:
        return None
    crossover, breaking = fact["entropy_spin_crossover"] * unit, fact["entropy_symmetry_breaking"] * unit
    measured = (entropy.get("verdict") or {}).get(branch)
    return {
        "entropy_spin_crossover_jump_J_per_mol_K": crossover,
        "entropy_symmetry_breaking_jump_J_per_mol_K": breaking,
        "entropy_jump_J_per_mol_K": crossover + breaking,
        "measured_J_per_mol_K": measured["measured_J_per_mol_K"] if measured else None,
    }


def a0_window(model: LandauModel, unit: float | None, temperature_up: float) -> Json | None:
    """Return the (a0, T_c) of eq. 3 that two constraints allow while D, E and b stay, and the dS_SB they imply.

    (1) From the paper: at q = 1 the eta^2 coefficient vanishes at T_h, `HIGH_SYMMETRY_TEMPERATURE`:
    (a0/2)(T_h - T_c) = -(D + E/2) (one line in the plane). (2) Of this project: at q = -1 it is positive for all
    0 < T < T_up. With (1) it is (a0/2)(T - T_h) - 2 D, least at T = 0 for a0 > 0, so a0 < -4 D / T_h.

    Parameters
    ----------
    model : its a0 and T_c are replaced, the rest is kept
    unit : J/(mol K) per Landau unit, None if there is no entropy account
    temperature_up : where dS_SB is read, K

    Returns
    -------
    None where this is not the case that was worked out: D < 0, D + E/2 < 0 and T_up below T_h
    """
    excess = -(model.D + model.E / 2.0)
    if model.D >= 0 or excess <= 0 or temperature_up >= HIGH_SYMMETRY_TEMPERATURE:
        return None
    largest = -4.0 * model.D / HIGH_SYMMETRY_TEMPERATURE
    to_physical = unit if unit is not None else np.nan
    strong = -largest * excess / model.b
    bound = -largest / 2.0 * largest * (HIGH_SYMMETRY_TEMPERATURE - temperature_up) / model.b
    return {
        "high_symmetry_temperature_K": HIGH_SYMMETRY_TEMPERATURE,
        "condition_high_symmetry": excess,
        "a0_largest": largest,
        "T_c_at_largest_K": HIGH_SYMMETRY_TEMPERATURE - 2.0 * excess / largest,
        "entropy_temperature_K": temperature_up,
        "entropy_symmetry_breaking_bound": bound,
        "entropy_symmetry_breaking_bound_J_per_mol_K": _finite(bound * to_physical),
        "entropy_symmetry_breaking_strong_coupling": strong,
        "entropy_symmetry_breaking_strong_coupling_J_per_mol_K": _finite(strong * to_physical),
        "order_disorder_J_per_mol_K": -GAS_CONSTANT * float(np.log(2.0)),
        "models": [
            _window_model(model, fraction * largest, excess, HIGH_SYMMETRY_TEMPERATURE, to_physical)
            for fraction in WINDOW_FRACTIONS
        ],
    }


def _finite(value: float) -> float | None:
    """Return None for NaN."""
    return float(value) if np.isfinite(value) else None


def _window_model(model: LandauModel, a0: float, excess: float, high_symmetry: float, unit: float) -> Json:
    """Work out eq. 3 for one a0 on the line of constraint (1); dS_SB at its own T_up, q = 1."""
    other = LandauModel(**(asdict(model) | {"a0": a0, "T_c": high_symmetry - 2.0 * excess / a0}))
    up, down = spinodals(other)
    breaking = _saturated_breaking(other, up.temperature) if up else None
    return {
        "a0": a0,
        "T_c_K": other.T_c,
        "temperature_up_K": up.temperature if up else None,
        "temperature_down_K": down.temperature if down else None,
        "entropy_symmetry_breaking": breaking,
        "entropy_symmetry_breaking_J_per_mol_K": None if breaking is None else _finite(breaking * unit),
    }


def branch_rows(account: Json) -> list[dict[str, float | str]]:
    """Return the rows of branches.tsv: branch, temperature_K, q, eta, G, S_SC, S_SB; none without a model.

    With an entropy check, both entropies and their sum stand in J/(mol K) too, counted from q = 0, eta = 0.
    """
    rows: list[dict[str, float | str]] = []
    check = account.get("entropy_check")
    unit = float(check["unit_J_per_mol_K"]) if check else None
    for name, lists in account["branches"].items():
        if lists:
            keys = list(lists)
            rows += [{"branch": name, **dict(zip(keys, row, strict=True))} for row in zip(*lists.values(), strict=True)]
    if unit is None:
        return rows
    for row in rows:
        crossover, breaking = float(row["S_SC"]) * unit, float(row["S_SB"]) * unit
        row |= {"S_SC_J_per_mol_K": crossover, "S_SB_J_per_mol_K": breaking}
        row["S_total_J_per_mol_K"] = crossover + breaking
    return rows
