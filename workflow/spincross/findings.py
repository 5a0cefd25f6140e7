"""What the numbers of one complex say: facts in words, and claims with a verdict.

Differences are HS minus LS. A verdict is a word first (`supported`, `uncertain`, `not supported`, `not tested`); its
colour and symbol repeat it. Thresholds are those at the top and the configured gates, and are printed with the
evidence.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from spincross import levels, pointgroup
from spincross.electronic import SAME_STATE
from spincross.entropy import STANDARD_TEMPERATURE
from spincross.units import HARTREE_TO_KJ_PER_MOL, PER_CM_TO_KJ_PER_MOL

Json = dict[str, Any]

CLEAR_OF_NOISE = 2.0
"""An imaginary wavenumber is certain when its size is this many noise floors."""
CLOSE = 2e-3
"""Orbital Hessian eigenvalue (Eh) below which a stable solution is close to breaking its group. At 0.0003 the imaginary
mode of the iron stand-in differs by tens of cm-1 between grids and steps; from 0.003 on no mode tested does."""
ROUGH_TEST = 1e-3
"""Noise (Eh) of a stability test whose record says none: of the kernel on a coarse grid."""
SYMBOLS = {"supported": "✓", "uncertain": "~", "not supported": "✗", "not tested": "–"}

HARMONIC = "entropy_vibrational_difference_harmonic_J_per_mol_K"
QUASI = "entropy_vibrational_difference_quasi_rrho_J_per_mol_K"
SPIN = "entropy_spin_difference_J_per_mol_K"
BREAKING = "entropy_symmetry_breaking_J_per_mol_K"
TOTAL = "entropy_total_difference_J_per_mol_K"
TOTAL_QUASI = "entropy_total_difference_quasi_rrho_J_per_mol_K"
BAND_LOW = "entropy_vibrational_difference_low_J_per_mol_K"
BAND_HIGH = "entropy_vibrational_difference_high_J_per_mol_K"


@dataclass(frozen=True)
class Claim:
    """One claim, its verdict, the numbers behind it and the names of the files they come from."""

    text: str
    verdict: str
    evidence: str
    sources: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check the verdict."""
        if self.verdict not in SYMBOLS:
            raise ValueError(f"verdict {self.verdict!r} is not one of {', '.join(SYMBOLS)}")

    @property
    def symbol(self) -> str:
        """The sign that repeats the verdict without colour."""
        return SYMBOLS[self.verdict]


def number(value: float | None, digits: int = 1, sign: bool = False) -> str:
    """Format a number with a true minus sign; a dash where there is none."""
    if value is None:
        return "–"
    text = f"{value:+.{digits}f}" if sign else f"{value:.{digits}f}"
    return text.replace("-", "−")


def wavenumber(value: float, digits: int = 0) -> str:
    """Format a wavenumber; imaginary ones (negative here) as 653i."""
    return f"{abs(value):.{digits}f}i" if value < 0 else f"{value:.{digits}f}"


def relative_energies(optimise: Json) -> dict[str, float]:
    """Return the electronic energy of each state relative to LS, kJ/mol."""
    zero = optimise["LS"]["energy_hartree"]
    return {s: (o["energy_hartree"] - zero) * HARTREE_TO_KJ_PER_MOL for s, o in optimise.items()}


def at_standard(entropy: Json, key: str) -> float:
    """Return the entry of a list at 298.15 K."""
    return float(entropy[key][entropy["temperatures_K"].index(STANDARD_TEMPERATURE)])


def calorimetric_window(entry: Json) -> tuple[float, float] | None:
    """Return the lowest and highest measured transition entropy, J/(K mol), or None."""
    measured = entry.get("calorimetry")
    if not measured:
        return None
    values = [measured[k] for k in ("heating_J_per_mol_K", "cooling_J_per_mol_K") if measured.get(k) is not None]
    return (min(values), max(values)) if values else None


def imaginary(vibrations: Json) -> list[str]:
    """Return every imaginary mode as text, wavenumber and irrep; of one inside the noise, the scan's wavenumber."""
    scanned = {row["mode_index"]: row["scan_wavenumber_per_cm"] for row in vibrations["settled_modes"]}
    waves, irreps = vibrations["wavenumbers_per_cm"], vibrations["irreps"]
    return [f"{wavenumber(scanned.get(i, waves[i]))} cm⁻¹ ({irreps[i]})" for i in vibrations["imaginary_modes"]]


# --- facts ------------------------------------------------------------------------------------------------------------


def open_reasons(data: Json) -> list[str]:
    """Return why HS may break the parent group although no mode that does is imaginary."""
    parent, optimised = data["vibrations"]["HS_parent"], data["optimise"]["HS_parent"]
    keeps, settled = pointgroup.irreps(optimised["point_group"])[0], _settled_real(parent)
    count = sum(parent["irreps"][i] != keeps and i not in settled for i in parent["undetermined_modes"])
    inside = f"{count} of the modes that break it {'lies' if count == 1 else 'lie'} inside the noise"
    return [inside] * (count > 0) + brinks(optimised)


def untested(optimised: Json) -> list[str]:
    """Return the irreps of a state's group for which no lowest rotation of its orbitals is known."""
    known = {row["rotations"].split()[0] for row in optimised.get("stability_blocks") or []}
    return [irrep for irrep in pointgroup.irreps(optimised["point_group"]) if irrep not in known]


def _rotations(optimised: Json) -> list[tuple[str, float, float]]:
    """Return name, lowest eigenvalue and its noise (hartree) of the orbital rotations that break a state's group."""
    breaking = pointgroup.irreps(optimised["point_group"])[1:]
    rows = [(row, row["rotations"].split()[0]) for row in optimised.get("stability_blocks") or []]
    return [
        (row["rotations"], row["eigenvalue_hartree"], row.get("noise_hartree", ROUGH_TEST))
        for row, irrep in rows
        if irrep in breaking
    ]


def brinks(optimised: Json) -> list[str]:
    """Return a clause for every irrep whose orbital rotations may break the group: curvatures hang on that sign."""
    group, found = optimised["point_group"], []
    for name, value, noise in _rotations(optimised):
        if value <= noise:
            kind = "on the brink of" if value >= -noise else "unstable towards"
            found.append(
                f"its electrons are {kind} breaking {group} (orbital Hessian eigenvalue {number(value, 5)} "
                f"hartree for rotations {name}, noise {noise:.0e}), and curvatures along modes of this irrep hang on it"
            )
    missing = [irrep for irrep in untested(optimised) if irrep != pointgroup.irreps(group)[0]]
    if missing:
        text = (
            f"no test of its electrons for rotations of irrep {', '.join(missing)}, which break {group}, is on record"
        )
        found.append(f"{text}, and curvatures along modes of this irrep hang on them")
    return found


def close_to_the_brink(optimised: Json) -> list[str]:
    """Return a clause for every irrep whose orbital rotations are stable, but so hardly that curvatures hang on it."""
    return [
        f"its electrons are close to the brink of breaking {optimised['point_group']} (orbital Hessian eigenvalue "
        f"{number(value, 4)} hartree for rotations {name}), and the size of curvatures along modes of this irrep hangs "
        "on it"
        for name, value, noise in _rotations(optimised)
        if noise < value <= CLOSE
    ]


def tried_states(optimised: Json) -> tuple[list[tuple[float, str]], list[str]]:
    """Return energy above the lowest (kJ/mol) and term of each state tried at the start, ascending; terms of failures.

    Two starts that ended in one state count once.
    """
    found: list[tuple[float, str]] = []
    failed, tried = [], optimised.get("candidates") or []
    lowest = min((row["energy_hartree"] for row in tried if row["energy_hartree"] is not None), default=0.0)
    for row in tried:
        held = levels.read_occupation(row["electrons_per_irrep"])
        spin = optimised["multiplicity"]
        name = levels.term(spin, held, optimised["point_group"]) or f"{spin}A"  # the one irrep of C1
        if row["energy_hartree"] is None:
            failed.append(name)
            continue
        rise = (row["energy_hartree"] - lowest) * HARTREE_TO_KJ_PER_MOL
        if not any(name == n and abs(rise - r) < SAME_STATE * HARTREE_TO_KJ_PER_MOL for r, n in found):
            found.append((rise, name))
    return sorted(found), failed


def half_quantum(mode: Json) -> float:
    """Return half a quantum of the imaginary mode, kJ/mol: a well shallower than this holds no localised vibration."""
    return 0.5 * abs(float(mode["wavenumber_per_cm"])) * PER_CM_TO_KJ_PER_MOL


# --- claims -----------------------------------------------------------------------------------------------------------


def claims(data: Json) -> list[Claim]:
    """Return every claim the page makes, in the order of the argument."""
    found = [
        (_minimum(data, "LS"), ("LS vibrations",)),
        (judge_breaking(data), ("HS_parent vibrations", "mode")),
        (_minimum(data, "HS"), ("HS vibrations",)),
        (_spin_purity(data), tuple(f"{state} optimise" for state in data["optimise"])),
        (judge_payment(data), ("entropy",)),
    ]
    found += [(_calorimetry(data), ("entropy",))] if calorimetric_window(data["entry"]) else []
    return [replace(claim, sources=sources) for claim, sources in found]


def open_and_settled(vibrations: Json) -> tuple[int, str]:
    """Count the modes inside the noise whose sign is open, and say how many of them larger steps showed to be real."""
    real = len(_settled_real(vibrations) & set(vibrations["undetermined_modes"]))
    text = f"; {real} inside the noise, real by a second step and a scan" if real else ""
    return len(vibrations["undetermined_modes"]) - real, text


def _settled_real(vibrations: Json) -> set[int]:
    """Return the indices of the modes that larger steps showed to be real."""
    return {row["mode_index"] for row in vibrations["settled_modes"] if row["verdict"] == "real"}


def _minimum(data: Json, state: str) -> Claim:
    """Judge whether a state is a minimum."""
    vibrations, group = data["vibrations"][state], data["optimise"][state]["point_group"]
    modes, (unknown, settled) = imaginary(vibrations), open_and_settled(vibrations)
    floor = f"noise floor {number(vibrations['noise_floor_per_cm'])} cm⁻¹{settled}"
    text = f"{state} in {group} is a minimum: all modes are real."
    if modes:
        return Claim(text, "not supported", f"imaginary: {', '.join(modes)}; {floor}")
    lowest = (
        f"lowest mode {wavenumber(vibrations['wavenumbers_per_cm'][0], 1)} cm⁻¹, "
        if vibrations["wavenumbers_per_cm"]
        else ""
    )
    if unknown:
        return Claim(
            text, "uncertain", f"{unknown} modes lie inside the noise and may be real or imaginary; {lowest}{floor}"
        )
    return Claim(text, "supported", lowest + floor)


def judge_breaking(data: Json) -> Claim:
    """Judge whether HS breaks the symmetry of the parent group."""
    parent, mode, group = data["vibrations"]["HS_parent"], data["mode"], data["optimise"]["HS_parent"]["point_group"]
    text, floor = f"HS breaks {group}.", parent["noise_floor_per_cm"]
    electrons = brinks(data["optimise"]["HS_parent"])
    if group == "C1":
        return Claim(text, "not tested", "both states were computed without symmetry")
    if not mode["broken"]:
        unknown, settled = open_and_settled(parent)
        verdict = "uncertain" if parent["imaginary_modes"] or open_reasons(data) else "not supported"
        evidence = f"{unknown} undetermined inside the noise floor of {number(floor)} cm⁻¹{settled}"
        return Claim(text, verdict, "; ".join([f"imaginary: {len(parent['imaginary_modes'])}; {evidence}", *electrons]))
    lower = mode["energy_lowering_kJ_per_mol"]
    doubts = [f"doubts about the scan: {len(mode['warnings'])}"] if mode.get("warnings") else []
    if -mode["distortion_breaking_kJ_per_mol"] < lower:  # of a well -a Q^2 + b Q^4 it is twice the depth
        doubts.append("the gain is more than the downward curvature gives: part of it may not come from this mode")
    stable = all(value >= -noise for _, value, noise in _rotations(data["optimise"]["HS_parent"]))
    clear = (
        stable and abs(mode["wavenumber_per_cm"]) > CLEAR_OF_NOISE * floor and lower > half_quantum(mode) and not doubts
    )
    evidence = (
        f"{wavenumber(mode['wavenumber_per_cm'])} cm⁻¹ ({mode['irrep']}), noise floor {number(floor)} cm⁻¹; "
        f"minimum {number(lower, 2)} kJ/mol below the parent, half a quantum {number(half_quantum(mode), 2)} kJ/mol; "
        f"on the parent's Hessian the part of the distortion that breaks {group} gives "
        f"{number(mode['distortion_breaking_kJ_per_mol'], 2, True)} kJ/mol, that within {group} "
        f"{number(mode['distortion_within_group_kJ_per_mol'], 2, True)}"
    )
    return Claim(text, "supported" if clear else "uncertain", "; ".join([evidence, *doubts, *electrons]))


def _spin_purity(data: Json) -> Claim:
    """Judge <S2> of every state by the configured gates."""
    excess = {s: abs(o["s_squared"] - o["s_squared_ideal"]) for s, o in data["optimise"].items()}
    worst = max(excess.values())
    pure, usable = data["gates"]["s_squared_warning"], data["gates"]["s_squared_error"]
    verdict = "supported" if worst <= pure else "uncertain" if worst <= usable else "not supported"
    listed = ", ".join(f"{s.replace('_', ' ')} {v:.3f}" for s, v in excess.items())
    return Claim(
        "The states have the spin asked for.",
        verdict,
        f"|⟨S²⟩ − ideal|: {listed}; pure up to {pure}, usable up to {usable}",
    )


def band(entropy: Json) -> tuple[float, float]:
    """Return how far the harmonic dS_vib at 298.15 K may lie below and above its value, J/(mol K), both positive."""
    low, high = (at_standard(entropy, key) for key in (BAND_LOW, BAND_HIGH))
    value = at_standard(entropy, HARMONIC)
    return value - low, high - value


def with_band(value: float, entropy: Json) -> str:
    """Format an entropy with its error band, as +20.1 (−1.2/+3.4)."""
    down, up = band(entropy)
    return f"{number(value, 1, True)} (−{down:.1f}/+{up:.1f})"


def judge_payment(data: Json) -> Claim:
    """Judge whether the entropy gain outweighs the loss by symmetry breaking in both treatments of soft modes."""
    entropy = data["entropy"]
    values = [at_standard(entropy, key) for key in (TOTAL, TOTAL_QUASI)]
    down, up = band(entropy)
    clear, some = min(values) - down > 0, max(values) + up > 0
    verdict = "supported" if clear else "uncertain" if some else "not supported"
    evidence = (
        f"total {with_band(values[0], entropy)} J/(K mol) harmonic, {number(values[1], 1, True)} quasi-RRHO, "
        f"at {STANDARD_TEMPERATURE:g} K"
    )
    if not data["mode"]["broken"]:
        return Claim("HS has the higher entropy.", verdict, evidence)
    if data["mode"]["energy_lowering_kJ_per_mol"] <= half_quantum(data["mode"]):
        paid = "Vibrations and spin would pay the entropy cost of a broken symmetry."
    else:
        paid = "Vibrations and spin pay the entropy cost of the broken symmetry."
    return Claim(paid, verdict, f"{evidence}; {without_breaking(entropy)}")


def without_breaking(entropy: Json) -> str:
    """Say what the totals are without the term of symmetry breaking, which is counted and not computed."""
    totals = (at_standard(entropy, key) - entropy[BREAKING] for key in (TOTAL, TOTAL_QUASI))
    return "{} and {} without ΔS_SB".format(*(number(value, 1, True) for value in totals))


def _calorimetry(data: Json) -> Claim:
    """Judge the total of both treatments against calorimetry on heating and on cooling, each at its own temperature."""
    branches = data["entropy"]["verdict"] or {}
    agree = [v["inside_band"] and v["inside_band_quasi_rrho"] for v in branches.values()]
    either = [v["inside_band"] or v["inside_band_quasi_rrho"] for v in branches.values()]
    verdict = (
        "not tested" if not agree else "supported" if all(agree) else "uncertain" if any(either) else "not supported"
    )
    texts = " ".join(v["text"] for v in branches.values())
    return Claim("The total entropy agrees with calorimetry.", verdict, texts)


# --- stages -----------------------------------------------------------------------------------------------------------


def stages(data: Json) -> dict[str, Json]:
    """Return every stage's JSON under a readable name, in the order of the pipeline."""
    found = {"molecule": data["molecule"]}
    for state, label in (("LS", "LS"), ("HS_parent", "HS parent"), ("HS", "HS minimum")):
        vibrations = data["vibrations"][state]
        found |= {f"optimise {label}": data["optimise"][state], f"Hessian {label}": _part(vibrations, "hessian")}
        found[f"vibrations {label}"] = vibrations
        if state == "HS_parent":
            found |= {"scan along the mode": _part(data["mode"], "scan"), "symmetry mode": data["mode"]}
    return found | {"entropy": data["entropy"], "Landau": data.get("landau") or {}}


def _part(stage: Json, name: str) -> Json:
    """Return the provenance of a DFT part that a later stage quotes, as `hessian_origin` in vibrations.json."""
    if f"{name}_origin" not in stage:
        return {}
    facts = {"origin": stage[f"{name}_origin"], "machine_class": stage.get(f"{name}_machine_class", "unknown")}
    return {"provenance": facts | {"wall_seconds": stage.get(f"{name}_wall_seconds")}}


def origin(stage: Json) -> str:
    """Return `computed` or `recalled` as the provenance says, else `unknown`."""
    return str((stage.get("provenance") or {}).get("origin", "unknown"))
