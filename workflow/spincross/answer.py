"""The answer in three sentences: is the symmetry broken, by which mode, does the entropy pay.

Differences are HS minus LS. Each sentence is as sure as the claims of `findings`.
"""

from __future__ import annotations

import numpy as np

from spincross.entropy import HOTTEST, STANDARD_TEMPERATURE
from spincross.findings import (
    BREAKING,
    HARMONIC,
    SPIN,
    TOTAL,
    Json,
    at_standard,
    half_quantum,
    imaginary,
    judge_breaking,
    judge_payment,
    number,
    open_reasons,
    wavenumber,
)


def sentences(data: Json) -> list[str]:
    """Return three sentences: is the symmetry broken, by which mode, does the entropy pay."""
    return [_breaking_sentence(data), _mode_sentence(data), _entropy_sentence(data)]


def breaking_word(data: Json) -> str:
    """Return in one word whether HS breaks the parent group: Yes, Probably, Hardly, Open or No."""
    mode = data["mode"]
    if mode["broken"]:
        shallow = mode["energy_lowering_kJ_per_mol"] <= half_quantum(mode)
        return "Yes" if judge_breaking(data).verdict == "supported" else "Hardly" if shallow else "Probably"
    return "Open" if imaginary(data["vibrations"]["HS_parent"]) or open_reasons(data) else "No"


def _breaking_sentence(data: Json) -> str:
    """Say whether HS in the parent group is a saddle or a minimum."""
    parent, group = data["vibrations"]["HS_parent"], data["optimise"]["HS_parent"]["point_group"]
    modes, floor, word = imaginary(parent), number(parent["noise_floor_per_cm"]), breaking_word(data)
    if group == "C1":
        return f"{word}: both states were computed without symmetry (C1), so there is none to break."
    if data["mode"]["broken"]:
        count = "one imaginary mode" if len(modes) == 1 else f"{len(modes)} imaginary modes"
        saddle = f"{word}: held in {group}, the HS molecule is a saddle with {count}, {', '.join(modes)}"
        return f"{saddle}; the noise floor is {floor} cm⁻¹."
    if modes:
        return (
            f"{word}: no symmetry-breaking mode was followed, although HS in {group} has imaginary modes: "
            f"{', '.join(modes)} (noise floor {floor} cm⁻¹)."
        )
    reasons = open_reasons(data)
    if reasons:
        reason = ", and ".join(reasons)
        return f"{word}: HS in {group} has no imaginary mode beyond the noise floor of {floor} cm⁻¹, but {reason}."
    return f"{word}: HS keeps {group}; it has no imaginary mode beyond the noise floor of {floor} cm⁻¹."


def _mode_sentence(data: Json) -> str:
    """Say which mode breaks the symmetry and what is gained."""
    mode, group = data["mode"], data["optimise"]["HS_parent"]["point_group"]
    if group == "C1":
        return "No mode can break a symmetry that is not there, and ΔS_SB is zero."
    if not mode["broken"] and open_reasons(data):
        return f"No mode was followed away from {group}: the HS parent stands for the HS minimum, and ΔS_SB for zero."
    if not mode["broken"]:
        return f"No mode leads away from {group}, so the HS minimum is the HS parent and ΔS_SB is zero."
    symbols = data["geometries"]["HS_parent"]["symbols"]
    shares = np.array(mode["atom_fraction"])
    movers = ", ".join(f"{symbols[i]}{i + 1} {100 * shares[i]:.0f} %" for i in np.argsort(shares)[::-1][:3])
    return (
        f"The mode at {wavenumber(mode['wavenumber_per_cm'])} cm⁻¹, irrep {mode['irrep']} (largest shares: {movers}), "
        f"leads to a minimum in {data['optimise']['HS']['point_group']} that lies {_gain(mode)}."
        f"{_averaging(mode, group)}"
    )


def _gain(mode: Json) -> str:
    """Say what is gained, and what of it along the mode alone."""
    lower, alone = mode["energy_lowering_kJ_per_mol"], -mode["scan_minimum_kJ_per_mol"]
    if lower <= 0:
        return f"{number(-lower, 2)} kJ/mol higher"
    return f"{number(lower, 2)} kJ/mol lower ({number(alone, 2)} kJ/mol along the mode alone)"


def _averaging(mode: Json, group: str) -> str:
    """Say so where the zero-point motion of the mode takes the molecule over the barrier."""
    if mode["energy_lowering_kJ_per_mol"] > half_quantum(mode):
        return ""
    if mode["energy_lowering_kJ_per_mol"] <= 0:
        return f" Nothing is gained by leaving {group}, and ΔS_SB then counts too much."
    return (
        f" That is less than half a quantum of the mode, {number(half_quantum(mode), 1)} kJ/mol: zero-point motion "
        f"crosses the barrier, on average the molecule keeps {group}, and ΔS_SB then counts too much."
    )


def _entropy_sentence(data: Json) -> str:
    """Say whether vibrations and spin pay for the loss of symmetry."""
    entropy = data["entropy"]
    terms = (
        f"At {STANDARD_TEMPERATURE:g} K vibrations give {number(at_standard(entropy, HARMONIC), 1, True)} "
        f"and spin {number(entropy[SPIN], 1, True)} J/(K mol)"
    )
    total = number(at_standard(entropy, TOTAL), 1, True)
    if not data["mode"]["broken"]:
        cost = "there is no cost of symmetry breaking to pay"
        cost = "no cost of symmetry breaking is counted" if open_reasons(data) else cost
        return f"{terms}, in all {total} J/(K mol); {cost}.{_crossover_clause(entropy)}"
    words = {"supported": "entropy pays for it", "not supported": "entropy does not pay for it"}
    word = words.get(judge_payment(data).verdict, "within the error band it stays open whether entropy pays for it")
    cost = f"{number(entropy[BREAKING], 1, True)} J/(K mol) for the broken symmetry"
    return f"{terms} against {cost}, in all {total} J/(K mol): {word}.{_crossover_clause(entropy)}"


def _crossover_clause(entropy: Json) -> str:
    """Say what the entropy does at this level: nothing, where one state has the lower Gibbs energy throughout."""
    crossing, energy = entropy.get("crossover"), entropy.get("adiabatic_energy_difference_kJ_per_mol")
    if not crossing or energy is None:
        return ""
    gap = f"HS minus LS {number(energy, 1, True)} kJ/mol"
    if crossing["temperature_K"] is None:
        below = crossing["stable_below"]
        return f" At this level ({gap}) {below} has the lower Gibbs energy up to {HOTTEST:g} K: it shows no crossover."
    at = number(crossing["temperature_K"], 0)
    return f" At this level ({gap}) both states have the same Gibbs energy at {at} K, which is not a prediction."
