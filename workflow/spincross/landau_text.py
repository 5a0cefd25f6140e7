"""What the numbers of a Landau account say: sentences computed from it, never assumed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from spincross.landau_model import ETA_BROKEN, Q_MAX, LandauModel

Json = dict[str, Any]


def statements(model: LandauModel, account: Json) -> list[str]:
    """Return what the numbers of an account say, one sentence each."""
    owner = account["borrowed_from"]
    lines = [f"The parameters are borrowed from {owner} and say nothing about this complex."] if owner else []
    lines += _curve_statements(account)
    lines += _check_statements(account["entropy_check"])
    if model.a0 == 0 and (model.D or model.E):
        name = "Eq. 4" if model.is_equation_4 else "This model"
        lines.append(f"{name} has no a0 term: its symmetry-breaking entropy is zero.")
    return [*lines, *_window_statements(account["a0_window"]), *_sign_statements(model, account["a0_window"])]


def _curve_statements(account: Json) -> list[str]:
    """Describe the transition from the main jumps on heating and cooling, or from the gradual curve without them."""
    up, down = account["jumps"]["heating"], account["jumps"]["cooling"]
    if up is None and down is None:
        gradual = "q changes gradually and no branch ends between 1 K and twice T_SC"
        return [f"No jump in range: {gradual}.", *_gradual_breaking(account["branches"]["heating"])]
    if up is None or down is None:
        found = "cooling" if up is None else "heating"
        return [f"q jumps only on {found}; the other branch has no end between 1 K and twice T_SC."]
    width = up["temperature_K"] - down["temperature_K"]
    both = f"q jumps {_jump('heating', up)} and {_jump('cooling', down)}"
    if account["barriers"] is None:
        return [
            f"{both}: these largest jumps belong to different steps of a transition in several, so no hysteresis, "
            "barriers or temperature of equal energy are given; the branches show every step."
        ]
    lines = [f"{both}: a hysteresis of {width:.2f} K."]
    if up["eta_after"] > ETA_BROKEN >= up["eta_before"]:
        lines.append("Symmetry breaks on heating (ascending symmetry breaking).")
    return lines


def _gradual_breaking(branch: Json) -> list[str]:
    """Say where symmetry breaks without a jump, between which of the temperatures of a branch."""
    broken = [eta > ETA_BROKEN for eta in branch["eta"]]
    places = [k for k in range(1, len(broken)) if broken[k] != broken[k - 1]]
    return [
        f"Symmetry {'breaks' if broken[k] else 'is restored'} without a jump on heating between "
        f"{branch['temperature_K'][k - 1]:g} and {branch['temperature_K'][k]:g} K."
        for k in places
    ]


def _jump(branch: str, fact: Json) -> str:
    """Describe one jump."""
    before, after = (f"{round(fact[key], 3) + 0.0:.3f}" for key in ("q_before", "q_after"))
    return f"on {branch} from {before} to {after} at {fact['temperature_K']:.2f} K"


def _check_statements(check: Json | None) -> list[str]:
    """Compare the model's entropies with DFT and calorimetry."""
    if check is None:
        return ["No entropy account was given, so Landau units are not turned into J/(mol K)."]
    if check["unit_J_per_mol_K"] <= 0:
        return [
            f"One Landau unit would be {check['unit_J_per_mol_K']:.2f} J/(mol K): without symmetry breaking HS has no "
            "higher entropy than LS in the computed account, while the model's a1 > 0 asks for it; they do not fit."
        ]
    full = check["full"]
    lines = [
        (
            f"With one Landau unit of {check['unit_J_per_mol_K']:.2f} J/(mol K) the model's entropy from q = -1 to "
            f"q = 1 is {full['entropy_total_J_per_mol_K']:.1f} J/(mol K), of which symmetry breaking "
            f"{full['entropy_symmetry_breaking_J_per_mol_K']:.2f}; the computed account "
            f"has, at {check['temperature_K']:g} K, {check['entropy_total_dft_J_per_mol_K']:.1f} and "
            f"{check['entropy_symmetry_breaking_dft_J_per_mol_K']:.2f}."
        )
    ]
    return lines + [
        _share(branch, check[branch], full["entropy_total_J_per_mol_K"])
        for branch in ("heating", "cooling")
        if check[branch]
    ]


def _share(branch: str, part: Json, full: float) -> str:
    """Say how much of the model's entropy the jump of one branch carries."""
    jump, measured = part["entropy_jump_J_per_mol_K"], part["measured_J_per_mol_K"]
    share = f", {100 * jump / full:.0f} % of the model's full change" if full else ""
    beside = "" if measured is None else f"; calorimetry gives {measured:.1f}"
    return f"On {branch} the jump carries {jump:.1f} J/(mol K){share}{beside}."


def _window_statements(window: Json | None) -> list[str]:
    """Say what eq. 3 allows for the symmetry-breaking entropy."""
    if window is None:
        return [
            "The window of a0 in eq. 3 was worked out for D < 0, D + E/2 < 0 and low spin that ends below the "
            "temperature of the high-spin high-symmetry phase; these parameters are another case."
        ]
    high = (
        f"a high-spin high-symmetry phase at {window['high_symmetry_temperature_K']:g} K (the paper's, for its complex)"
    )
    low = "low spin stable at q = -1 down to 0 K (asked for here)"
    limits = f"0 < a0 < {window['a0_largest']:.4f} (T_c < {window['T_c_at_largest_K']:.1f} K)"
    return [
        f"With D, E and b as they are, {high} and {low} need {limits}.",
        *_bound_statements(window),
        *_model_statements(window["models"]),
    ]


def _sign_statements(model: LandauModel, window: Json | None) -> list[str]:
    """Say with numbers which sign of a0 makes symmetry breaking cost entropy (Landau units per K)."""
    inside = window["models"][-1] if window and not model.a0 else {"a0": model.a0, "T_c_K": model.T_c}
    a0 = inside["a0"]
    square = float(replace(model, a0=a0, T_c=inside["T_c_K"]).eta_squared(model.T_SC, Q_MAX))
    if not a0 or square <= 0:
        return []
    alone = a0**2 * 100.0 / (2.0 * model.b)
    cost = -a0 / 2.0 * square
    return [
        (
            f"Sign of a0: eq. 1 alone with a0 = {-abs(a0):.4f} gives S_SB = a0^2 (T - T_SB)/(2 b) = {alone:+.4f} "
            f"Landau units 100 K above its transition, a gain; in eq. 3 with a0 = {a0:.4f} the coupling drives eta and "
            f"S_SB = -(a0/2) eta^2 = {cost:+.4f} at q = 1 and T_SC (eta^2 = {square:.2f}), "
            f"a {'cost' if cost < 0 else 'gain'}. The cost "
            "that the paper speaks of needs a0 > 0 in eq. 3."
        )
    ]


def _bound_statements(window: Json) -> list[str]:
    """Compare the largest symmetry-breaking entropy with -R ln 2."""
    bound = window["entropy_symmetry_breaking_bound_J_per_mol_K"]
    strong = window["entropy_symmetry_breaking_strong_coupling_J_per_mol_K"]
    ideal = window["order_disorder_J_per_mol_K"]
    if bound is None or strong is None:
        return []
    smaller = max(abs(strong), abs(bound)) < abs(ideal)
    return [
        (
            f"Within this window the symmetry-breaking entropy goes from 0 to {bound:.2f} J/(mol K) at "
            f"{window['entropy_temperature_K']:.1f} K ({strong:.2f} with eta of strong coupling), "
            f"{'smaller in size than' if smaller else 'not always smaller in size than'} -R ln 2 = {ideal:.2f}."
        )
    ]


def _model_statements(models: list[Json]) -> list[str]:
    """Say which hysteresis eq. 3 gives inside the window when the other parameters stay as they are."""
    parts = []
    for model in models:
        up, down = model["temperature_up_K"], model["temperature_down_K"]
        found = "no jump" if up is None or down is None else f"{down:.2f} to {up:.2f} K"
        parts.append(f"a0 = {model['a0']:.4f}: {found}")
    return ["Hysteresis of eq. 3 inside the window, other parameters unchanged: " + "; ".join(parts) + "."]
