r"""The entropy account of a spin crossover with symmetry breaking: every term, its error band, the verdict.

.. math:: \Delta S = \Delta S_\mathrm{vib} + \Delta S_\mathrm{spin} + \Delta S_\mathrm{SB}, \quad
          \Delta G = \Delta E + \Delta U_\mathrm{vib} - T \Delta S

Differences are HS minus LS; the terms are in `entropy_terms`, the functions per mode in `mode_entropy`. Source: section
3.4 of Mater. Horiz. 2025, 12, 1463. The paper prints 13.42 for R ln 5 = 13.38 J/(mol K); its total 66.5 is made with
13.38. No rotation or translation: a gas-phase rotational entropy with symmetry number 2 -> 1 would add R ln 2 and
cancel the symmetry-breaking term unseen. A solid has no pV term worth the name, so enthalpy is energy here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.optimize import brentq

from spincross import mode_entropy
from spincross.entropy_shares import by_group, cumulative
from spincross.entropy_terms import (
    ERROR_BAND_RECIPE,
    ModeFunction,
    StateModes,
    error_band,
    require_homogeneous,
    spin_entropy,
    subgroup_index,
    symmetry_breaking_entropy,
    usable_modes,
    vibrational_difference,
)
from spincross.errors import BadInput
from spincross.units import HARTREE_TO_KJ_PER_MOL

Json = dict[str, Any]

STANDARD_TEMPERATURE: float = 298.15
"""Temperature of the single numbers and of the cumulative curve, K."""

SETTINGS_THAT_COUNT = {
    "analytic": {
        "grid_level": "the grid level",
        "response_grid_level": "the grid level of the exchange-correlation kernel in the orbital response",
        "grid_response": "the response of the grid itself (counted or not)",
    },
    "finite differences": {"grid_level": "the grid level", "step_bohr": "the step in bohr"},
}
"""What two Hessians of one method must have in common, and its name, by keys of `hessian_settings`."""
BAND_ENDINGS = ("_low", "_high", "_quasi_rrho_low", "_quasi_rrho_high")
"""Names of the band limits: harmonic without a word, as the paper."""

COLDEST, HOTTEST = 5.0, 2000.0
"""Temperatures between which both Gibbs energies may meet, K."""
CROSSOVER_TEXT = (
    "T½ = ΔH/ΔS, the temperature at which this level gives both states the same Gibbs energy: what this level would "
    "give, not a prediction. Functionals misplace spin-state energies by tens of kJ/mol (a large share of exact "
    "exchange favours HS, none favours LS), and an error of 10 kJ/mol moves T½ by (10 000 J/mol)/ΔS: 150 K for "
    "ΔS = 66 J/(K mol)."
)

PAPER_NOTE = (
    "The paper prints dS_spin = 13.42 J/(K mol); R ln 5 is 13.38, and its total of 66.5 = 58.9 + 13.38 - 5.76 is made "
    "with 13.38. It does not state the temperature of its dS_vib; here it stands beside ours at 298.15 K."
)
"""What must be known to compare with Mater. Horiz. 2025, 12, 1463."""
PAPER_DOI = "10.1039/d4mh01318b"
PAPER_NUMBERS = {
    "entropy_vibrational_difference_J_per_mol_K": 58.9,
    "entropy_spin_difference_J_per_mol_K": 13.42,
    "entropy_symmetry_breaking_J_per_mol_K": -5.76,
    "entropy_total_difference_J_per_mol_K": 66.5,
}
"""The entropy account that the paper prints (section 3.4), J/(K mol)."""

LITERATURE_NAMES = {
    "entropy_vibrational_difference_J_per_mol_K": "entropy_vibrational_difference_harmonic_J_per_mol_K",
}
"""Literature keys that do not name a treatment: harmonic is the paper's."""


def all_temperatures(temperatures: Sequence[float], calorimetry: Json | None) -> list[float]:
    """Return the temperatures asked for, 298.15 K and those of the calorimetry, ascending, each once; K."""
    wanted = [float(t) for t in temperatures] + [STANDARD_TEMPERATURE]
    if calorimetry:
        wanted += [float(calorimetry["temperature_up_K"]), float(calorimetry["temperature_down_K"])]
    wrong = [t for t in wanted if not (math.isfinite(t) and t > 0)]
    if wrong:
        raise BadInput(f"temperatures must be positive numbers of kelvin, found {wrong[0]}; correct the config")
    return sorted(set(wanted))


def crossover_temperature(energy: float, low: StateModes, high: StateModes, other_entropy: float) -> float | None:
    """Return the lowest temperature where both states have the same Gibbs energy, K; None if none up to 2000 K.

    Parameters
    ----------
    energy : electronic difference, kJ/mol
    other_entropy : spin and symmetry-breaking part, J/(mol K)
    """

    def gibbs(temperature: float) -> float:
        """Return the difference of Gibbs energy, kJ/mol."""
        return _gibbs(energy, low, high, other_entropy, temperature)[1]

    grid = np.linspace(COLDEST, HOTTEST, 400)
    values = [gibbs(t) for t in grid]
    for left, right, a, b in zip(grid, grid[1:], values, values[1:], strict=False):
        if (a > 0) != (b > 0):
            return float(brentq(gibbs, left, right, xtol=1e-9))
    return None


def _gibbs(energy: float, low: StateModes, high: StateModes, other: float, temperature: float) -> tuple[float, float]:
    """Return the differences of enthalpy and Gibbs energy (harmonic, no pV term in a solid), kJ/mol."""
    parts = [
        mode_entropy.zero_point_energy(s.wavenumbers) + mode_entropy.thermal_energy(s.wavenumbers, temperature)
        for s in (low, high)
    ]
    enthalpy = energy + parts[1] - parts[0]
    entropy = vibrational_difference(low, high, mode_entropy.harmonic_entropy, temperature) + other
    return enthalpy, enthalpy - temperature * entropy / 1000.0


def entropy_account(
    low: Json,
    high: Json,
    mode: Json,
    temperatures: Sequence[float],
    calorimetry: Json | None = None,
    literature: Json | None = None,
) -> Json:
    """Return the whole account, ready for entropy.json (without its provenance).

    Parameters
    ----------
    low, high : contents of vibrations.json of the LS parent and of the final HS minimum
    mode : content of mode.json: `broken` (HS left the parent group) and energy_lowering_kJ_per_mol
    temperatures : K; 298.15 K and the calorimetric temperatures are added
    calorimetry : heating_J_per_mol_K, cooling_J_per_mol_K, temperature_up_K, temperature_down_K, doi, source; or None
    literature : published numbers to stand beside ours, by the names of our keys; or None

    Raises
    ------
    Inhomogeneous, UnexpectedImaginaryMode, BadInput
    """
    require_homogeneous(low, high)
    states = usable_modes(low), usable_modes(high)
    grid = all_temperatures(temperatures, calorimetry)
    index = subgroup_index(low["point_group"], high["point_group"], bool(mode["broken"]))
    spin = spin_entropy(low["multiplicity"], high["multiplicity"])
    breaking = symmetry_breaking_entropy(index)
    account = {
        "complex": low["complex"],
        "level": low["level"],
        "low": _state_facts(low),
        "high": _state_facts(high),
        "symmetry_broken": bool(mode["broken"]),
        "subgroup_index": index,
        "energy_lowering_kJ_per_mol": mode.get("energy_lowering_kJ_per_mol"),
        "temperatures_K": grid,
        "entropy_spin_difference_J_per_mol_K": spin,
        "entropy_symmetry_breaking_J_per_mol_K": breaking,
        **_vibrational_lists(*states, grid),
        **_energies(low, high, states, grid, spin + breaking),
        "cumulative": cumulative(low, high, states, STANDARD_TEMPERATURE),
        "fragments": _groups(low, high, states, "fragment_fractions", ("core", "ncs", "ligands")),
        "irreps": by_group(low, high, states, "parent_irrep_fractions", STANDARD_TEMPERATURE),
        "treatment": _treatment(),
        "error_band_recipe": ERROR_BAND_RECIPE,
        "calorimetry": calorimetry,
        "literature": literature,
        "warnings": _warnings(low, high, states, grid),
    }
    account |= _totals(account)
    account["verdict"] = verdict(account, calorimetry)
    own = (literature or {}).get("doi") == PAPER_DOI
    printed = PAPER_NUMBERS | literature if own and literature else literature
    account["literature_comparison"] = compare_with_literature(account, printed)
    account["literature_note"] = PAPER_NOTE if own else None
    return account


def _state_facts(vibrations: Json) -> Json:
    """Return what identifies one side of the difference."""
    keys = ("state", "point_group", "multiplicity", "method", "noise_floor_per_cm", "energy_hartree")
    return {key: vibrations[key] for key in keys} | {"modes": len(vibrations["wavenumbers_per_cm"])}


def _warnings(low: Json, high: Json, states: tuple[StateModes, StateModes], grid: list[float]) -> list[str]:
    """Return every doubt: of single modes, of how the Hessians were made, of temperatures."""
    of_modes = [text for state in states for text in state.warnings]
    return [*of_modes, *_method_warnings(low, high), *_classical_warnings(grid)]


def _method_warnings(low: Json, high: Json) -> list[str]:
    """Say where the two sides were made in ways that may differ for soft modes."""
    used = [state.get("hessian_versions") or state.get("provenance", {}).get("versions", {}) for state in (low, high)]
    first, second = (versions.get("pyscf") for versions in used)
    notes = [f"the Hessian of LS comes from PySCF {first} and that of HS from {second}"] if first != second else []
    return notes + _settings_warnings(low, high)


def _settings_warnings(low: Json, high: Json) -> list[str]:
    """Say where the Hessians of the two sides have other methods or settings."""
    if low["method"] != high["method"]:
        return [f"the Hessian of LS is {low['method']} and that of HS {high['method']}; soft modes may differ by it"]
    names = SETTINGS_THAT_COUNT[low["method"]]
    used = [state.get("hessian_settings", {}) for state in (low, high)]
    pairs = [(name, *(settings.get(key) for settings in used)) for key, name in names.items()]
    return [
        f"the Hessians are not alike: {name} is {a} for LS and {b} for HS; soft modes, and ΔS_vib, may differ by it"
        for name, a, b in pairs
        if a != b
    ]


def _classical_warnings(grid: list[float]) -> list[str]:
    """Say so where a temperature is too low for the classical rotor of quasi-RRHO."""
    cold = [f"{t:g}" for t in grid if t < mode_entropy.COLDEST_ROTOR]
    if not cold:
        return []
    return [
        f"the rotor of quasi-RRHO is classical: below {mode_entropy.COLDEST_ROTOR:g} K (here at {', '.join(cold)} K) "
        "its entropies are too low, and at last negative"
    ]


def _treatment() -> Json:
    """Return the constants of the treatments, to stand beside the numbers."""
    return {
        "quasi_rrho_tau_per_cm": mode_entropy.TAU_PER_CM,
        "quasi_rrho_damping_power": mode_entropy.DAMPING_POWER,
        "quasi_rrho_average_inertia_kg_m2": mode_entropy.AVERAGE_INERTIA,
        "raised_to_per_cm": mode_entropy.RAISED_PER_CM,
    }


def _vibrational_lists(low: StateModes, high: StateModes, grid: list[float]) -> Json:
    """Return S_vib of both states, the differences and their bands over the temperatures."""
    treatments: dict[str, ModeFunction] = {
        "harmonic": mode_entropy.harmonic_entropy,
        "quasi_rrho": mode_entropy.quasi_rrho_entropy,
        "raised": mode_entropy.raised_entropy,
    }
    lists: Json = {
        "heat_capacity_difference_J_per_mol_K": [
            vibrational_difference(low, high, mode_entropy.heat_capacity, t) for t in grid
        ]
    }
    for label, state in (("LS", low), ("HS", high)):
        lists[f"heat_capacity_{label}_J_per_mol_K"] = [state.entropy(mode_entropy.heat_capacity, t) for t in grid]
    for name, function in treatments.items():
        for label, state in (("LS", low), ("HS", high)):
            lists[f"entropy_vibrational_{label}_{name}_J_per_mol_K"] = [state.entropy(function, t) for t in grid]
        lists[f"entropy_vibrational_difference_{name}_J_per_mol_K"] = [
            vibrational_difference(low, high, function, t) for t in grid
        ]
    return lists | _bands(low, high, grid)


def _bands(low: StateModes, high: StateModes, grid: list[float]) -> Json:
    """Return the limits of the vibrational difference, harmonic and quasi-RRHO, and the parts of the harmonic band."""
    harmonic = [error_band(low, high, mode_entropy.harmonic_entropy, t) for t in grid]
    soft = [error_band(low, high, mode_entropy.quasi_rrho_entropy, t) for t in grid]
    centre = [vibrational_difference(low, high, mode_entropy.harmonic_entropy, t) for t in grid]
    soft_centre = [vibrational_difference(low, high, mode_entropy.quasi_rrho_entropy, t) for t in grid]
    stem = "entropy_vibrational_difference"
    return {
        f"{stem}_low_J_per_mol_K": [c - b["down"] for c, b in zip(centre, harmonic, strict=True)],
        f"{stem}_high_J_per_mol_K": [c + b["up"] for c, b in zip(centre, harmonic, strict=True)],
        f"{stem}_quasi_rrho_low_J_per_mol_K": [c - b["down"] for c, b in zip(soft_centre, soft, strict=True)],
        f"{stem}_quasi_rrho_high_J_per_mol_K": [c + b["up"] for c, b in zip(soft_centre, soft, strict=True)],
        "error_parts": {
            f"{key}_J_per_mol_K": [band[key] for band in harmonic] for key in harmonic[0] if key not in ("down", "up")
        },
    }


def _energies(low: Json, high: Json, states: tuple[StateModes, StateModes], grid: list[float], other: float) -> Json:
    """Return the energy differences; `other` is the spin and symmetry-breaking entropy, J/(mol K)."""
    energy = (high["energy_hartree"] - low["energy_hartree"]) * HARTREE_TO_KJ_PER_MOL
    zero_point = [mode_entropy.zero_point_energy(s.wavenumbers) for s in states]
    pairs = [_gibbs(energy, *states, other, t) for t in grid]
    return {
        "adiabatic_energy_difference_kJ_per_mol": energy,
        "zero_point_energy_LS_kJ_per_mol": zero_point[0],
        "zero_point_energy_HS_kJ_per_mol": zero_point[1],
        "zero_point_energy_difference_kJ_per_mol": zero_point[1] - zero_point[0],
        "enthalpy_difference_kJ_per_mol": [enthalpy for enthalpy, _ in pairs],
        "gibbs_energy_difference_kJ_per_mol": [gibbs for _, gibbs in pairs],
        "crossover": {
            "temperature_K": crossover_temperature(energy, *states, other),
            "stable_below": "LS" if _gibbs(energy, *states, other, COLDEST)[1] > 0 else "HS",
            "text": CROSSOVER_TEXT,
        },
    }


def _groups(low: Json, high: Json, states: tuple[StateModes, StateModes], key: str, names: tuple[str, ...]) -> Json:
    """Return the part of the harmonic dS_vib that each fragment carries at 298.15 K; the parts add up to it."""
    found = by_group(low, high, states, key, STANDARD_TEMPERATURE) or {}
    return {"temperature_K": STANDARD_TEMPERATURE} | {f"{name}_J_per_mol_K": found.get(name) for name in names}


def _totals(account: Json) -> Json:
    """Add the terms: dS = dS_vib + dS_spin + dS_SB at every temperature, with the limits of the band."""
    other = account["entropy_spin_difference_J_per_mol_K"] + account["entropy_symmetry_breaking_J_per_mol_K"]
    names = {f"total_difference{end}": f"vibrational_difference{end}" for end in BAND_ENDINGS}
    names |= {
        "total_difference": "vibrational_difference_harmonic",
        "total_difference_quasi_rrho": "vibrational_difference_quasi_rrho",
    }
    return {
        f"entropy_{total}_J_per_mol_K": [value + other for value in account[f"entropy_{part}_J_per_mol_K"]]
        for total, part in names.items()
    }


def verdict(account: Json, calorimetry: Json | None) -> Json | None:
    """Compare the total with the calorimetric entropy of each branch at that branch's temperature; None without one."""
    if not calorimetry:
        return None
    branches = {"heating": "temperature_up_K", "cooling": "temperature_down_K"}
    return {
        branch: _branch_verdict(account, branch, calorimetry[f"{branch}_J_per_mol_K"], float(calorimetry[key]))
        for branch, key in branches.items()
    }


def _branch_verdict(account: Json, branch: str, measured: float, temperature: float) -> Json:
    """Return the comparison on one calorimetric branch."""
    at = account["temperatures_K"].index(temperature)
    stem = "entropy_total_difference"
    harmonic = account[f"{stem}_J_per_mol_K"][at]
    soft = account[f"{stem}_quasi_rrho_J_per_mol_K"][at]
    low, high = account[f"{stem}_low_J_per_mol_K"][at], account[f"{stem}_high_J_per_mol_K"][at]
    soft_low = account[f"{stem}_quasi_rrho_low_J_per_mol_K"][at]
    soft_high = account[f"{stem}_quasi_rrho_high_J_per_mol_K"][at]
    inside, soft_inside = bool(low <= measured <= high), bool(soft_low <= measured <= soft_high)
    text = (
        f"On {branch} ({temperature:g} K) calorimetry gives {measured:.1f} J/(mol K); computed {harmonic:.1f} harmonic "
        f"(band {low:.1f} to {high:.1f}: {'agrees' if inside else 'disagrees'}) and {soft:.1f} quasi-RRHO (band "
        f"{soft_low:.1f} to {soft_high:.1f}: {'agrees' if soft_inside else 'disagrees'})."
    )
    return {
        "temperature_K": temperature,
        "measured_J_per_mol_K": measured,
        "computed_harmonic_J_per_mol_K": harmonic,
        "computed_quasi_rrho_J_per_mol_K": soft,
        "difference_harmonic_J_per_mol_K": harmonic - measured,
        "difference_quasi_rrho_J_per_mol_K": soft - measured,
        "inside_band": inside,
        "inside_band_quasi_rrho": soft_inside,
        "text": text,
    }


def compare_with_literature(account: Json, literature: Json | None) -> list[Json]:
    """Set published numbers beside ours: those whose key is a key of the account, lists read at 298.15 K."""
    at = account["temperatures_K"].index(STANDARD_TEMPERATURE)
    found = []
    for key, value in sorted((literature or {}).items()):
        ours = account.get(LITERATURE_NAMES.get(key, key))
        ours = ours[at] if isinstance(ours, list) and len(ours) == len(account["temperatures_K"]) else ours
        if isinstance(value, int | float) and isinstance(ours, int | float):
            found.append({"quantity": key, "literature": value, "computed": ours, "difference": ours - value})
    return found


def entropy_rows(account: Json) -> list[dict[str, float]]:
    """Return the rows of entropy.tsv, one per temperature; the keys are the column names."""
    grid = account["temperatures_K"]
    columns = {
        key: values
        for key, values in account.items()
        if isinstance(values, list) and len(values) == len(grid) and key.endswith(("_J_per_mol_K", "_kJ_per_mol"))
    }
    scalars = ("entropy_spin_difference_J_per_mol_K", "entropy_symmetry_breaking_J_per_mol_K")
    return [
        {"temperature_K": t, **{k: account[k] for k in scalars}, **{k: columns[k][i] for k in sorted(columns)}}
        for i, t in enumerate(grid)
    ]
