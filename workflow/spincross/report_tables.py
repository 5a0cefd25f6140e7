"""Tables of the report: dictionaries of the stages in, heads and rows of text out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from spincross import double_well, findings, symmetry_mode
from spincross.figures import STATE_LABELS, Json
from spincross.findings import number, origin, stages, wavenumber
from spincross.summary import summary_row
from spincross.units import HARTREE_TO_KJ_PER_MOL

Table = dict[str, list[Any]]
STATES = tuple(STATE_LABELS)

LITERATURE_LABELS = {
    "entropy_vibrational_difference_J_per_mol_K": "ΔS_vib, 298.15 K here (J/(K mol))",
    findings.HARMONIC: "ΔS_vib, harmonic, 298.15 K (J/(K mol))",
    findings.SPIN: "ΔS_spin (J/(K mol))",
    findings.BREAKING: "ΔS_SB (J/(K mol))",
    findings.TOTAL: "ΔS total, 298.15 K (J/(K mol))",
}


def bond_text(bonds: list[Json]) -> str:
    """Return the metal's bond lengths, equal ones counted: Fe–N 1.951 (2×), 1.978 (2×)."""
    counted: dict[str, dict[str, int]] = {}
    for bond in sorted(bonds, key=lambda b: float(b["length"])):
        group = counted.setdefault("–".join(bond["symbols"]), {})
        length = f"{bond['length']:.3f}"
        group[length] = group.get(length, 0) + 1
    texts = [
        f"{name} " + ", ".join(v + (f" ({n}×)" if n > 1 else "") for v, n in group.items())
        for name, group in counted.items()
    ]
    return "; ".join(texts) or "–"


def state_table(data: Json) -> Table:
    """Return one column per state."""
    energies = findings.relative_energies(data["optimise"])

    def row(name: str, cell: Callable[[str], str]) -> list[str]:
        """Return the name of a row and its text for every state."""
        return [name, *(cell(state) for state in STATES)]

    optimise, vibrations = data["optimise"], data["vibrations"]
    thiocyanates = any(optimise[s].get("ncs_spin_populations") for s in STATES)
    rows = [
        row("point group, multiplicity", lambda s: f"{optimise[s]['point_group']}, {optimise[s]['multiplicity']}"),
        row("energy relative to LS (kJ/mol)", lambda s: number(energies[s], 2)),
        row("total energy (hartree)", lambda s: number(optimise[s]["energy_hartree"], 6)),
        row("⟨S²⟩ (ideal)", lambda s: f"{optimise[s]['s_squared']:.3f} ({optimise[s]['s_squared_ideal']:.2f})"),
        row("electronic states tried, at the start on the coarse grid (kJ/mol)", lambda s: tried_text(optimise[s])),
        row(
            "lowest stability eigenvalue (hartree)",
            lambda s: stability_text(optimise[s]),
        ),
        row("metal spin population", lambda s: number(optimise[s]["metal_spin_population"], 3)),
        *([row("NCS spin populations", lambda s: ncs_text(optimise[s]))] if thiocyanates else []),
        row("metal bonds (Å)", lambda s: bond_text(optimise[s].get("metal_bonds_angstrom") or [])),
        row("modes", lambda s: str(len(vibrations[s]["wavenumbers_per_cm"]))),
        row(
            "imaginary modes",
            lambda s: "; ".join([str(len(found)), *found]) if (found := findings.imaginary(vibrations[s])) else "0",
        ),
        row("noise floor (cm⁻¹)", lambda s: number(vibrations[s]["noise_floor_per_cm"], 1)),
        row("undetermined modes inside the noise", lambda s: str(findings.open_and_settled(vibrations[s])[0])),
        row(
            "largest gradient (hartree/bohr)",
            lambda s: f"{optimise[s]['gradient_max_hartree_per_bohr']:.1e}".replace("-", "−"),
        ),
        row("optimiser steps", lambda s: str(optimise[s]["steps"])),
        row("SCF cycles per step", lambda s: cycles_text(optimise[s]["scf_cycles_per_step"])),
        row("SCF cycles, all steps", lambda s: str(sum(optimise[s]["scf_cycles_per_step"]))),
        row(
            "origin: geometry, Hessian",
            lambda s: f"{origin(optimise[s])}, {vibrations[s].get('hessian_origin', 'unknown')}",
        ),
    ]
    if not data["molecule"]["metal"]:
        rows = [r for r in rows if not r[0].startswith(("metal", "NCS"))]
    return {"head": ["quantity", *(STATE_LABELS[s] for s in STATES)], "rows": rows}


def stability_text(optimise: Json) -> str:
    """Format the lowest eigenvalue of the orbital rotations of every irrep, a dash where none is known."""
    blocks, value = optimise.get("stability_blocks") or [], optimise.get("stability_eigenvalue_hartree")
    if not blocks:  # not tested, or a record made before irreps were told apart
        return number(value, 4) + (
            ", irreps not told apart" if value is not None and optimise["point_group"] != "C1" else ""
        )
    texts = [f"{number(row['eigenvalue_hartree'], 4)} ({row['rotations']})" for row in blocks]
    return ", ".join(texts + [f"– ({irrep})" for irrep in findings.untested(optimise)])


def tried_text(optimised: Json) -> str:
    """Return the states tried by energy above the lowest: 5A 0.0; 5B 1.9; those that did not converge last."""
    found, failed = findings.tried_states(optimised)
    if not found or optimised["point_group"] == "C1":
        return "–"
    return "; ".join([*(f"{name} {rise:.1f}" for rise, name in found), *(f"{name} not converged" for name in failed)])


def ncs_text(optimised: Json) -> str:
    """Return the Mulliken spin of each NCS group, N, C and S together; unlike ones where the group is broken."""
    groups = optimised.get("ncs_spin_populations") or []
    return ", ".join(number(sum(group["mulliken"]), 3) for group in groups) or "–"


def cycles_text(cycles: list[int]) -> str:
    """Return median, smallest and largest number of SCF cycles."""
    return f"{np.median(cycles):.0f} ({min(cycles)} to {max(cycles)})" if cycles else "–"


def mode_table(data: Json) -> Table:
    """Return the numbers of the symmetry-breaking mode."""
    mode = data["mode"]
    if not mode["broken"]:
        return {"head": [], "rows": []}
    rows = [
        ["wavenumber (cm⁻¹)", wavenumber(mode["wavenumber_per_cm"], 1)],
        ["irrep", mode["irrep"]],
        [
            "energy lowering after relaxation: the parent's height over the two minima (kJ/mol)",
            number(mode["energy_lowering_kJ_per_mol"], 3),
        ],
        [
            "depth of the well in the scan, by a fit of aQ² + bQ⁴ or at the lowest point (kJ/mol)",
            number(mode["scan_minimum_kJ_per_mol"] or None, 3),
        ],
        ["wavenumber from the curvature of that fit at Q = 0 (cm⁻¹)", fitted_text(mode)],
        ["lowest level on the scanned curve, all other modes at rest, and the next from it (cm⁻¹)", levels_text(mode)],
        ["|Q| there (amu^1/2 Å)", number(mode["q_at_minimum_amu_half_angstrom"] or None, 3)],
        ["|E(Q) − E(−Q)|, zero by symmetry, where both were computed (Eh)", f"{mode['scan_asymmetry_hartree']:.0e}"],
        ["overlap of Q with the relaxed distortion", number(mode["overlap_with_relaxed_distortion"], 3)],
        ["part of that distortion that breaks the symmetry (%)", number(100 * mode["breaking_share_of_distortion"], 1)],
    ]
    return {"head": ["quantity", "value"], "rows": rows}


def fitted_text(mode: Json) -> str:
    """Return the wavenumber of the fit a Q^2 + b Q^4 at Q = 0, a dash where the well is that of the lowest point."""
    depth, place = -mode["scan_minimum_kJ_per_mol"], mode["q_at_minimum_amu_half_angstrom"]
    if depth <= 0 or place <= 0 or depth <= -_rise(mode).min() * HARTREE_TO_KJ_PER_MOL * (1 + 1e-6):
        return "–"
    return f"{symmetry_mode.well_wavenumber(place, depth):.0f}i"


def levels_text(mode: Json) -> str:
    """Return where the lowest level lies from the top of the barrier, and the next from it; a dash without levels."""
    if _rise(mode).min() >= 0:
        return "– (no barrier)"
    found = double_well.levels(np.array(mode["scan_q_amu_half_angstrom"]), _rise(mode))
    if found is None:
        return "– (this scan tells none)"
    return f"{abs(found[0]):.0f} {'above' if found[0] > 0 else 'below'} the barrier, {found[1] - found[0]:.0f}"


def _rise(mode: Json) -> Any:
    """Return the energies of the scan from Q = 0, Eh."""
    return np.array(mode["scan_energy_hartree"]) - mode["parent_energy_hartree"]


def settled_table(data: Json) -> Table:
    """Return what a second step and an energy scan found for every mode inside the noise floor."""
    head = [
        "state, mode",
        "Hessian (cm⁻¹)",
        "second step (cm⁻¹)",
        "scan (cm⁻¹)",
        "highest and lowest of the scan (J/mol)",
        "harmonic part of the scan (J/mol)",
    ]
    rows = []
    for state, found in data["vibrations"].items():
        for row in found["settled_modes"]:
            waves = [row[f"{name}wavenumber_per_cm"] for name in ("", "second_step_", "scan_")]
            energies = np.array(row["scan_energy_hartree"])
            rises = (energies - energies[len(energies) // 2]) * HARTREE_TO_KJ_PER_MOL * 1000
            span = f"{number(rises.max(), 2)}, {number(rises.min(), 2)}"
            name = f"{STATE_LABELS[state]}, {row['mode_index'] + 1}"
            harmonic = number(row["scan_harmonic_hartree"] * HARTREE_TO_KJ_PER_MOL * 1000, 2)
            rows.append([name, *(wavenumber(w, 1) for w in waves), span, harmonic, row["verdict"]])
    return {"head": [*head, "verdict"], "rows": rows}


def modes_table(data: Json) -> list[Json]:
    """Return every mode of every state: state, number, wavenumber, irrep, masses, intensity, shares, what it is."""
    rows = []
    for state, found in data["vibrations"].items():
        intensities = found.get("infrared_intensities_km_per_mol") or []
        shares = found.get("fragment_fractions") or {}
        settled = {row["mode_index"]: row["verdict"] for row in found["settled_modes"]}
        inside = {*found["undetermined_modes"], *settled}
        for i, value in enumerate(found["wavenumbers_per_cm"]):
            kind = "imaginary" if i in found["imaginary_modes"] else ""
            kind = settled.get(i, "undetermined") + ", inside the noise" if i in inside else kind
            cells = [i + 1, round(value, 1), found["irreps"][i], round(found["reduced_masses_amu"][i], 2)]
            cells.append(round(intensities[i], 1) if intensities else None)
            cells += [round(100 * shares[name][i]) if shares else None for name in ("core", "ncs", "ligands")]
            rows.append({"state": STATE_LABELS[state], "cells": cells, "kind": kind})
    return rows


MODE_HEADS = [
    "state", "no.", "wavenumber (cm⁻¹)", "irrep", "reduced mass (amu)", "IR (km/mol)", "core %", "NCS %",
    "ligands %", "note",
]  # fmt: skip


def entropy_table(entropy: Json) -> Table:
    """Return one row per temperature."""
    head = [
        "T (K)",
        "ΔS_vib harmonic",
        "band",
        "ΔS_vib quasi-RRHO",
        "ΔS_spin",
        "ΔS_SB",
        "total harmonic",
        "total quasi-RRHO",
    ]
    rows = [
        [
            f"{t:g}",
            number(entropy[findings.HARMONIC][i], 2, True),
            "\N{NO-BREAK SPACE}to\N{NO-BREAK SPACE}".join(
                number(entropy[key][i], 1) for key in (findings.BAND_LOW, findings.BAND_HIGH)
            ),
            number(entropy[findings.QUASI][i], 2, True),
            number(entropy[findings.SPIN], 2, True),
            number(entropy[findings.BREAKING], 2, True),
            number(entropy[findings.TOTAL][i], 2, True),
            number(entropy[findings.TOTAL_QUASI][i], 2, True),
        ]
        for i, t in enumerate(entropy["temperatures_K"])
    ]
    return {"head": head, "rows": rows}


def literature_table(data: Json) -> Table:
    """Return published numbers beside ours: those of the entropy account, then everything else the entry lists."""
    literature = data["entry"].get("literature") or {}
    ours = {key: value for key, value in summary_row(data).items() if isinstance(value, int | float)}
    ours |= {row["quantity"]: row["computed"] for row in data["entropy"].get("literature_comparison") or []}
    rows = []
    for key, value in literature.items():
        label = LITERATURE_LABELS.get(key, key.replace("_", " "))
        if isinstance(value, dict):
            label, value = label + (f" ({value['source']})" if value.get("source") else ""), value.get("value")
        if not isinstance(value, int | float):
            rows.append([label, str(value), "–", "–"])
        elif key in ours:
            rows.append([label, number(value, 2), number(ours[key], 2), number(ours[key] - value, 2, True)])
        else:
            rows.append([label, number(value, 2), "not computed here", "–"])
    return {"head": ["quantity", "published", "this run", "difference"], "rows": rows}


def level_table(data: Json) -> Table:
    """Return the level's settings, the machine and the versions."""
    provenance = data["optimise"]["LS"].get("provenance") or {}
    rows = [[key.replace("_", " "), _shown(value)] for key, value in data["optimise"]["LS"]["level"].items()]
    rows += [["Hessian, " + STATE_LABELS[s], data["vibrations"][s]["method"]] for s in STATES]
    rows += [["machine", provenance.get("machine_class", "unknown")]]
    rows += [[f"version of {name}", version] for name, version in sorted((provenance.get("versions") or {}).items())]
    return {"head": ["setting", "value"], "rows": rows}


def _shown(value: Any) -> str:
    """Return a setting as text."""
    return "none" if value is None else {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def stage_table(data: Json) -> Table:
    """Return origin, wall time and machine of every stage."""
    rows = []
    for name, stage in stages(data).items():
        if stage:
            provenance = stage.get("provenance") or {}
            seconds = stage.get("wall_seconds", provenance.get("wall_seconds"))
            rows.append([name, origin(stage), duration(seconds), provenance.get("machine_class", "unknown")])
    return {"head": ["stage", "origin", "wall time when computed", "machine"], "rows": rows}


def duration(seconds: float | None) -> str:
    """Format a time: 12.3 s, 4 min 05 s, 2 h 03 min."""
    if seconds is None:
        return "–"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
