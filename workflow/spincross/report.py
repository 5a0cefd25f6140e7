"""The report of one complex at one level: dictionaries of the stages in, one self-contained HTML page out.

Nothing is loaded from a network: plotly.js comes from its Python package and is put into the page once. Text is escaped
by Jinja2; figures travel as JSON in which no tag can begin.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import numpy as np
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup, escape
from plotly.offline import get_plotlyjs

from spincross import __version__, drawings, figures, findings, landau_view, scenes
from spincross.figures import STATE_LABELS, Figure, Json
from spincross.findings import number, origin, stages, summary_row, summary_table, wavenumber

__all__ = ["render_report", "summary_row", "summary_table"]

Table = dict[str, list[Any]]
STATES = tuple(STATE_LABELS)

BASIS_NOTE = (
    "The paper behind this pipeline (Mater. Horiz. 2025, 12, 1463) states PBE0 for the isolated molecule; its basis "
    "set is not stated in its main text. The level below is this project's choice."
)
LITERATURE_LABELS = {
    "entropy_vibrational_difference_J_per_mol_K": "ΔS_vib, 298.15 K here (J/(K mol))",
    findings.HARMONIC: "ΔS_vib, harmonic, 298.15 K (J/(K mol))",
    findings.SPIN: "ΔS_spin (J/(K mol))",
    findings.BREAKING: "ΔS_SB (J/(K mol))",
    findings.TOTAL: "ΔS total, 298.15 K (J/(K mol))",
}


def render_report(data: Json, template: str) -> str:
    """Return the page.

    Parameters
    ----------
    data : complex, entry, level_name, molecule, optimise, vibrations, mode, geometries, mode_vector, entropy, landau,
        links; optimise, vibrations and geometries have the keys LS, HS_parent, HS
    template : source of the Jinja2 template
    """
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"embed": embed, "prose": prose}
    return environment.from_string(template).render(context(data))


def embed(content: Any) -> Markup:
    """Return JSON that is safe inside a script element: no tag can begin in it."""
    text = json.dumps(content, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


_PROSE = (
    (re.compile(r"(?<![\w.\-−])-(?=[\d.]|R ln)"), "−"),
    (re.compile(r"\bcm-1\b"), "cm⁻¹"),
    (re.compile(r"(?<=S)_(vib|spin|SB|SC)\b|(?<=\bT)_(up|down|c|SC)\b"), lambda m: f"<sub>{m[1] or m[2]}</sub>"),
    (re.compile(r"\^1/2"), "<sup>1/2</sup>"),
)
"""What turns plain text into set text, after escaping: minus signs, cm-1, subscripts."""


def prose(text: object) -> Markup:
    """Escape a text and set its minus signs, units and subscripts."""
    found = str(escape(str(text)))
    for pattern, replacement in _PROSE:
        found = pattern.sub(replacement, found)
    return Markup(found)


def context(data: Json) -> Json:
    """Return everything the template names."""
    landau = data.get("landau") or {}
    drawn = all_figures(data)
    return {
        "complex": data["complex"],
        "title": data["entry"].get("title") or data["complex"],
        "level_name": data["level_name"],
        "molecule": data["molecule"],
        "mode": data["mode"],
        "question": f"Does the HS molecule break {parent_group(data)}, and does the entropy pay for it?",
        "answer": findings.answer(data),
        "claims": [*findings.claims(data), *landau_view.claims(landau, data["entry"])],
        "warnings": warnings(data),
        "figures": drawn,
        "drawings": {name: Markup(svg) for name, svg in drawings.fallbacks(drawn).items()},
        "scenes": scene_captions(data),
        "scene_note": scene_note(data),
        "states": state_table(data),
        "mode_facts": mode_table(data),
        "waterfall_caption": waterfall_caption(data),
        "entropy_table": entropy_table(data["entropy"]),
        "entropy_notes": entropy_notes(data),
        "orbital_caption": ORBITAL_CAPTION,
        "literature": literature_table(data),
        "borrowed": landau_view.borrowed_from(landau, data["entry"]),
        "landau_lines": landau_view.sentences(landau, data["entry"]),
        "landau_table": landau_view.parameter_table(landau),
        "landau_check": landau_view.check_table(landau),
        "basis_note": BASIS_NOTE,
        "level_table": level_table(data),
        "stage_table": stage_table(data),
        "methods": methods_paragraph(data),
        "links": [(name, safe_link(path)) for name, path in sorted((data.get("links") or {}).items())],
        "version": __version__,
        "plotlyjs": Markup(get_plotlyjs()),
    }


def parent_group(data: Json) -> str:
    """Return the point group that LS and the HS parent were held in."""
    return str(data["optimise"]["HS_parent"]["point_group"])


def safe_link(path: str) -> str:
    """Return a relative path, or empty text for anything with a scheme or an absolute start."""
    return "" if ":" in path or path.startswith(("/", "\\")) else path


# --- words ------------------------------------------------------------------------------------------------------------


def warnings(data: Json) -> list[str]:
    """Return what a reader must know before any number, worst first, each once."""
    found = []
    if data["molecule"]["origin"] == "built model":
        found.append(
            "The structure is a built model, not a measured one: no crystal structure was at hand when it was made."
        )
    else:
        found.append(f"The structure was read from a CIF: {data['molecule'].get('source', 'source not stated')}.")
    borrowed = landau_view.borrowed_from(data.get("landau") or {}, data["entry"])
    if borrowed:
        found.append(f"The Landau parameters are borrowed from {borrowed}; they say nothing about this complex.")
    for name, stage in stages(data).items():
        found += [f"{name}: {text}" for text in stage.get("warnings") or []]
        if (stage.get("provenance") or {}).get("converged") is False:
            found.append(f"{name}: not converged")
    return list(dict.fromkeys(found))


ORBITAL_CAPTION = (
    "Frontier orbital energies, spin up (α) and spin down (β); solid blue occupied, dotted orange empty. The thicker a "
    "level, the larger its share on the metal (t2g- and eg-like levels are the thick ones); hover for irrep and share. "
    "Levels within 0.06 eV stand side by side."
)


def scene_captions(data: Json) -> list[tuple[str, str]]:
    """Return each state and the caption of its structure."""
    captions = []
    for state in [s for s in STATES if s in data["geometries"]]:
        group = data["optimise"][state]["point_group"]
        extra = ", equal to the parent" if state == "HS" and not data["mode"]["broken"] else ""
        captions.append((state, f"{STATE_LABELS[state]} ({group}{extra})"))
    return captions


def scene_note(data: Json) -> str:
    """Describe the drawing and give the root-mean-square distances of the structures."""
    places = {s: np.array(g["positions_angstrom"], dtype=float).reshape(-1, 3) for s, g in data["geometries"].items()}
    axis = " The dashed purple line is the 2-fold axis of the parent group." if parent_group(data) == "C2" else ""
    distances = [
        f"{first} to {second} {scenes.rms_distance(places[first], places[second]):.3f} Å".replace("_", " ")
        for first, second in (("LS", "HS_parent"), ("HS_parent", "HS"))
        if first in places and second in places
    ]
    rmsd = f" RMSD after the best fit, all atoms: {', '.join(distances)}." if distances else ""
    metal = " Bonds of the metal are orange-red with their lengths in Å." if data["molecule"]["metal"] else ""
    return f"Drag to rotate; the three turn together.{axis}{metal}{rmsd}"


def waterfall_caption(data: Json) -> str:
    """Say at what temperature and how the bars were made."""
    window = " The green band is the calorimetric entropy." if findings.calorimetric_window(data["entry"]) else ""
    return (
        f"Entropy terms at {findings.nearest_temperature(data['entropy']):g} K, harmonic; the black bar is the error "
        f"band of ΔS_vib.{window}"
    )


def entropy_notes(data: Json) -> list[str]:
    """Return the comparison with calorimetry, the recipe of the band, and where both Gibbs energies would meet."""
    entropy = data["entropy"]
    verdicts = [v["text"] for v in (entropy.get("verdict") or {}).values()]
    notes = verdicts or ["No calorimetric value is known for this complex, so the total stands without a verdict."]
    notes.append(f"Error band: {entropy['error_band_recipe']}")
    if entropy.get("literature_note"):
        notes.append(entropy["literature_note"])
    crossing = entropy.get("crossover") or {}
    if crossing.get("text"):
        value = crossing.get("temperature_K")
        found = "no such temperature up to 2000 K" if value is None else f"{value:.0f} K"
        notes.append(f"Equal Gibbs energies: {found}. {crossing['text']}")
    return notes


def methods_paragraph(data: Json) -> str:
    """Return a paragraph for a methods section, made from what was done."""
    level, parent = data["optimise"]["LS"]["level"], data["optimise"]["HS_parent"]["point_group"]
    versions = (data["optimise"]["LS"].get("provenance") or {}).get("versions", {})
    fitting = f" with density fitting ({level['auxiliary_basis']})" if level.get("auxiliary_basis") else ""
    method = " and ".join(sorted({v["method"] for v in data["vibrations"].values()}))
    floor = max(v["noise_floor_per_cm"] for v in data["vibrations"].values())
    tau = data["entropy"]["treatment"]["quasi_rrho_tau_per_cm"]
    low, high, mode = data["optimise"]["LS"], data["optimise"]["HS"], data["mode"]
    broken = (
        f"The HS parent was displaced along its imaginary {mode['irrep']} mode "
        f"({wavenumber(mode['wavenumber_per_cm'], 0)} cm⁻¹) and relaxed in {high['point_group']}. "
        if mode["broken"]
        else f"HS has no imaginary mode in {parent} that was followed and was used as it is. "
    )
    return (
        f"The isolated molecule {data['molecule']['formula']} (charge {data['molecule']['charge']:+d}) was computed "
        f"with {level['functional'].upper()}/{level['basis']}{fitting}, integration grid level {level['grid_level']}, "
        f"in PySCF {versions.get('pyscf', '')}. Geometries of LS (multiplicity {low['multiplicity']}) and HS "
        f"(multiplicity {high['multiplicity']}) were optimised in {parent} with geomeTRIC "
        f"{versions.get('geometric', '')}. Hessians: {method}; the residual of the sum rules corresponds to a noise "
        f"floor of at most {floor:.1f} cm⁻¹. {broken}"
        f"Vibrational entropies are harmonic and, beside them, quasi-RRHO (tau = {tau:g} cm⁻¹), without rotation and "
        f"translation. Workflow: spincross {__version__}."
    )


# --- tables -----------------------------------------------------------------------------------------------------------


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
        return [name, *(cell(state) for state in STATES)]

    optimise, vibrations = data["optimise"], data["vibrations"]
    rows = [
        row("point group, multiplicity", lambda s: f"{optimise[s]['point_group']}, {optimise[s]['multiplicity']}"),
        row("energy relative to LS (kJ/mol)", lambda s: number(energies[s], 2)),
        row("total energy (hartree)", lambda s: number(optimise[s]["energy_hartree"], 6)),
        row("⟨S²⟩ (ideal)", lambda s: f"{optimise[s]['s_squared']:.3f} ({optimise[s]['s_squared_ideal']:.2f})"),
        row("metal spin population", lambda s: number(optimise[s]["metal_spin_population"], 3)),
        row("metal bonds (Å)", lambda s: bond_text(optimise[s].get("metal_bonds_angstrom") or [])),
        row("modes", lambda s: str(len(vibrations[s]["wavenumbers_per_cm"]))),
        row(
            "imaginary modes",
            lambda s: "; ".join([str(len(found)), *found]) if (found := findings.imaginary(vibrations[s])) else "0",
        ),
        row("noise floor (cm⁻¹)", lambda s: number(vibrations[s]["noise_floor_per_cm"], 1)),
        row("modes inside the noise", lambda s: str(len(vibrations[s]["undetermined_modes"]))),
        row(
            "largest gradient (hartree/bohr)",
            lambda s: f"{optimise[s]['gradient_max_hartree_per_bohr']:.1e}".replace("-", "−"),
        ),
        row("optimiser steps", lambda s: str(optimise[s]["steps"])),
        row("SCF cycles per step", lambda s: cycles_text(optimise[s]["scf_cycles_per_step"])),
        row("origin: geometry, Hessian", lambda s: f"{origin(optimise[s])}, {origin(vibrations[s])}"),
    ]
    if not data["molecule"]["metal"]:
        rows = [r for r in rows if not r[0].startswith("metal")]
    return {"head": ["", *(STATE_LABELS[s] for s in STATES)], "rows": rows}


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
        ["energy lowering after relaxation (kJ/mol)", number(mode["energy_lowering_kJ_per_mol"], 3)],
        ["lowest point of the scan (kJ/mol)", number(mode["scan_minimum_kJ_per_mol"], 3)],
        ["Q at that point (amu^1/2 Å)", number(mode["q_at_minimum_amu_half_angstrom"], 3)],
        ["overlap of Q with the relaxed distortion", number(mode["overlap_with_relaxed_distortion"], 3)],
    ]
    return {"head": ["quantity", "value"], "rows": rows}


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
            f"{number(entropy[findings.BAND_LOW][i], 1)} to {number(entropy[findings.BAND_HIGH][i], 1)}",
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
    return {"head": ["stage", "origin", "wall time", "machine"], "rows": rows}


def duration(seconds: float | None) -> str:
    """Format a time: 12.3 s, 4 min 05 s, 2 h 03 min."""
    if seconds is None:
        return "–"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


# --- figures ----------------------------------------------------------------------------------------------------------


def all_figures(data: Json) -> dict[str, Figure]:
    """Return every figure that this run has data for, by its name in the template."""
    drawn: dict[str, Figure] = {"spectra": figures.spectra(data["vibrations"]), **_entropy_figures(data)}
    drawn |= _molecule_figures(data)
    if data["mode"]["broken"]:
        drawn["well"] = figures.double_well(data["mode"])
        drawn["share"] = figures.atom_share(data["geometries"]["HS_parent"]["symbols"], data["mode"]["atom_fraction"])
    orbitals = {s: o["orbitals"] for s, o in data["optimise"].items() if (o.get("orbitals") or {}).get("alpha")}
    if orbitals:
        drawn["levels"] = figures.orbital_levels(orbitals)
    history = figures.optimiser_history(data["optimise"])
    if history["data"]:
        drawn["history"] = history
    return drawn | landau_view.figures_of(data.get("landau") or {})


def _entropy_figures(data: Json) -> dict[str, Figure]:
    """Return waterfall, curves and cumulative sum."""
    entropy = data["entropy"]
    terms = [
        ("ΔS<sub>vib</sub>", findings.at_temperature(entropy, findings.HARMONIC)),
        ("ΔS<sub>spin</sub>", entropy[findings.SPIN]),
    ]
    terms.append(("ΔS<sub>SB</sub>", entropy[findings.BREAKING]))
    curves = [
        ("ΔS<sub>vib</sub> harmonic", entropy[findings.HARMONIC]),
        ("ΔS<sub>vib</sub> quasi-RRHO", entropy[findings.QUASI]),
    ]
    curves += [("total harmonic", entropy[findings.TOTAL]), ("total quasi-RRHO", entropy[findings.TOTAL_QUASI])]
    band = (entropy[findings.BAND_LOW], entropy[findings.BAND_HIGH])
    sums = entropy["cumulative"]
    return {
        "waterfall": figures.waterfall(terms, findings.band(entropy), findings.calorimetric_window(data["entry"])),
        "curves": figures.entropy_curves(entropy["temperatures_K"], curves, band),
        "cumulative": figures.cumulative(
            sums["wavenumbers_per_cm"], sums["entropy_J_per_mol_K"], figures.carriers(sums)
        ),
    }


def _molecule_figures(data: Json) -> dict[str, Figure]:
    """Return the three structures in one orientation and the animated mode in the same one."""
    geometries = {s: data["geometries"][s] for s in STATES if s in data["geometries"]}
    group = data["optimise"]["HS_parent"]["point_group"]
    structures, places, rotations = scenes.structures(geometries, data["optimise"], group)
    drawn = {f"scene-{state}": figure for state, figure in structures.items()}
    vector = data.get("mode_vector")
    if data["mode"]["broken"] and vector is not None:
        moved = np.array(vector, dtype=float).reshape(-1, 3) @ rotations["HS_parent"]
        bonds = data["optimise"]["HS_parent"].get("metal_bonds_angstrom") or []
        drawn["animation"] = scenes.animated_mode(
            list(geometries["HS_parent"]["symbols"]), places["HS_parent"], moved, bonds
        )
    return drawn
