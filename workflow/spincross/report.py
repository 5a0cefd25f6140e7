"""The report of one complex at one level: dictionaries of the stages in, one self-contained HTML page out.

Nothing is loaded from a network: plotly.js comes from its Python package and is put into the page once. Text is escaped
by Jinja2; figures travel as JSON in which no tag can begin.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup, escape
from plotly.offline import get_plotlyjs

from spincross import (
    __version__,
    answer,
    citations,
    conformers,
    drawings,
    figures,
    findings,
    landau_view,
    level_diagram,
    methods,
    pointgroup,
    report_tables,
    scenes,
)
from spincross.entropy import HOTTEST, STANDARD_TEMPERATURE
from spincross.entropy_terms import near_states_entropy
from spincross.figures import STATE_LABELS, Figure, Json
from spincross.findings import stages
from spincross.molecule import Molecule
from spincross.units import ANGSTROM_TO_BOHR

STATES = tuple(STATE_LABELS)

BASIS_NOTE = (
    "The paper behind this pipeline (Mater. Horiz. 2025, 12, 1463) states PBE0 for the isolated molecule; its basis "
    "set is not stated in its main text. The level below is this project's choice."
)


def render_report(data: Json, folder: Path) -> str:
    """Return the page.

    Parameters
    ----------
    data : complex, entry, level_name, molecule, optimise, vibrations, mode, geometries, mode_vector, entropy, landau,
        links, gates; optimise, vibrations and geometries have the keys LS, HS_parent, HS
    folder : holds page.html.j2, page.css, page.js and references.bib
    """
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"embed": embed, "prose": prose}
    template = environment.from_string((folder / "page.html.j2").read_text())
    own = {name: Markup((folder / f"page.{kind}").read_text()) for name, kind in (("style", "css"), ("program", "js"))}
    references = citations.bibtex((folder / "references.bib").read_text(), citations.used(data))
    return template.render(context(data) | own | {"references": references})


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
        "answer": answer.sentences(data),
        "claims": [*findings.claims(data), *landau_view.claims(landau, data["entry"])],
        "warnings": warnings(data),
        "figures": drawn,
        "drawings": {name: Markup(svg) for name, svg in drawings.fallbacks(drawn).items()},
        "stills": {name: Markup(svg) for name, svg in drawings.stills(drawn).items()},
        "scenes": scene_captions(data),
        "scene_note": scene_note(data),
        "overlays": overlay_captions(data),
        "states": report_tables.state_table(data),
        "mode_facts": report_tables.mode_table(data),
        "waterfall_caption": waterfall_caption(data),
        "entropy_table": report_tables.entropy_table(data["entropy"]),
        "entropy_notes": entropy_notes(data),
        "orbital_caption": ORBITAL_CAPTION,
        "spectra_note": spectra_note(data),
        "literature": report_tables.literature_table(data),
        "borrowed": landau_view.borrowed_from(landau, data["entry"]),
        "landau_lines": landau_view.sentences(landau),
        "landau_surface_caption": landau_view.surface_caption(landau),
        "landau_table": landau_view.parameter_table(landau),
        "landau_check": landau_view.check_table(landau),
        "basis_note": BASIS_NOTE,
        "level_table": report_tables.level_table(data),
        "stage_table": report_tables.stage_table(data),
        "methods": methods.paragraph(data),
        "modes": report_tables.modes_table(data),
        "settled": report_tables.settled_table(data),
        "mode_heads": report_tables.MODE_HEADS,
        "links": {name: safe_link(path) for name, path in sorted((data.get("links") or {}).items())},
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
        suffix = Path(str(data["entry"].get("low_spin_structure", ""))).suffix
        given = {".cif": "a CIF", ".xyz": "an XYZ file"}.get(suffix, "a file")
        found.append(f"The structure was read from {given}: {data['entry'].get('source', 'source not stated')}.")
    found += conformer_warning(data)
    borrowed = landau_view.borrowed_from(data.get("landau") or {}, data["entry"])
    if borrowed:
        found.append(f"The Landau parameters are borrowed from {borrowed}; they say nothing about this complex.")
    found += brink_warning(data)
    for name, stage in stages(data).items():
        found += [f"{name}: {text}" for text in stage.get("warnings") or []]
        if (stage.get("provenance") or {}).get("converged") is False:
            found.append(f"{name}: not converged")
    return list(dict.fromkeys(found))


def brink_warning(data: Json) -> list[str]:
    """Return why the sign or the size of the breaking mode hangs on the electrons of HS in the parent group, if so."""
    parent = data["optimise"]["HS_parent"]
    clauses = [*findings.brinks(parent), *findings.close_to_the_brink(parent)]
    end = ": take the sign of the imaginary mode, not its digits." if data["mode"]["broken"] else "."
    return [f"HS in {parent_group(data)}: {clause}{end}" for clause in clauses]


def conformer_warning(data: Json) -> list[str]:
    """Return the sentence that the optimised LS and HS are different conformers, if they are."""
    places = [data["geometries"][s] for s in ("LS", "HS") if s in data["geometries"]]
    if len(places) < 2:
        return []
    low, high = (Molecule(tuple(g["symbols"]), np.array(g["positions_angstrom"]) * ANGSTROM_TO_BOHR) for g in places)
    return conformers.warnings(low, high, data["entry"].get("metal"))


ORBITAL_CAPTION = (
    "Frontier orbital energies, spin up (α) and spin down (β); solid blue occupied, dotted orange empty. The thicker a "
    "level, the larger its share on the metal; t2g- and eg-like levels are labelled; hover for irrep and share. "
    "Levels within 0.06 eV stand side by side."
)


def spectra_note(data: Json) -> str:
    """Say what the heights of the sticks mean."""
    known = [s for s in STATES if data["vibrations"][s].get("infrared_intensities_km_per_mol")]
    if len(known) == len(STATES):
        return "Heights are infrared intensities, the strongest of each state 1; silent modes keep a short stick."
    if not known:
        return "All sticks have the same height: no infrared intensities were computed."
    names = ", ".join(STATE_LABELS[s] for s in known)
    return f"Heights are infrared intensities for {names}; elsewhere none were computed and all sticks are equal."


def scene_captions(data: Json) -> list[tuple[str, str]]:
    """Return each state and the caption of its structure."""
    captions = []
    for state in [s for s in STATES if s in data["geometries"]]:
        group = data["optimise"][state]["point_group"]
        extra = ", equal to the parent" if state == "HS" and not data["mode"]["broken"] else ""
        captions.append((state, f"{STATE_LABELS[state]} ({group}{extra})"))
    return captions


def scene_note(data: Json) -> str:
    """Describe the drawing."""
    axis = " The dashed purple line is the 2-fold axis of the parent group." if parent_group(data) == "C2" else ""
    metal = " Bonds of the metal are orange-red with their lengths in Å." if data["molecule"]["metal"] else ""
    return f"Drag, or focus a structure and press the arrow keys, to rotate; the three turn together.{axis}{metal}"


def overlay_captions(data: Json) -> dict[str, str]:
    """Return what the overlays show, with the root-mean-square distance of all atoms after the best fit."""
    places = {s: np.array(g["positions_angstrom"], dtype=float).reshape(-1, 3) for s, g in data["geometries"].items()}
    pairs = {"overlay-spin": ("LS", "HS"), "overlay-breaking": ("HS_parent", "HS")}
    return {
        name: f"{STATE_LABELS[first]} (thick, blue) and {STATE_LABELS[second]} (thin, orange-red) after the best fit; "
        f"RMSD of all atoms {pointgroup.rms_distance(places[first], places[second]):.3f} Å."
        for name, (first, second) in pairs.items()
        if first in places and second in places
    }


def waterfall_caption(data: Json) -> str:
    """Say at what temperature and how the bars were made."""
    totals = [
        f"{findings.number(v['computed_harmonic_J_per_mol_K'], 1, True)} at {v['temperature_K']:g} K"
        for v in (data["entropy"]["verdict"] or {}).values()
    ]
    window = f" The green band is the calorimetric entropy; where it was measured the total is {', '.join(totals)}."
    return (
        f"Entropy terms at {STANDARD_TEMPERATURE:g} K, harmonic; the black bar is the error "
        f"band of ΔS_vib from its soft modes, in this treatment.{window * bool(totals)}"
    )


ORDER_DISORDER = (
    "ΔS_SB = −R ln n, with n domains of the broken group, is counted from the change of the point group and not "
    "computed: the whole order-disorder value of the paper's section 3.4, which holds where the molecule in the "
    "low-spin phase is disordered over the n places and is ordered on one of them in the high-spin phase. A displacive "
    "transition costs less: nothing, where low spin is ordered as it is computed here, in a single well."
)
NEAR = 15.0
"""States of one multiplicity within this energy (kJ/mol) are told with what they would add to the entropy."""


def _meeting(crossing: Json) -> str:
    """Say where both Gibbs energies are equal, and which state has the lower one."""
    value, below = crossing["temperature_K"], crossing["stable_below"]
    if value is None:
        return f"no such temperature up to {HOTTEST:g} K, {below} has the lower one throughout"
    return f"{value:.0f} K, {below} has the lower one below it"


def entropy_notes(data: Json) -> list[str]:
    """Return the comparison with calorimetry, the recipe of the band, and where both Gibbs energies would meet."""
    entropy = data["entropy"]
    verdicts = [v["text"] for v in (entropy.get("verdict") or {}).values()]
    notes = verdicts or [
        "structures/complexes.yaml gives no calorimetric value, so the total stands without a verdict."
    ]
    measured = entropy.get("calorimetry") or {}
    published = [measured[key] for key in ("source", "doi") if measured.get(key)]
    if published:
        notes.append(f"Calorimetry: {', '.join(published)}.")
    notes.append(f"Error band: {entropy['error_band_recipe']}")
    if entropy.get("literature_note"):
        notes.append(entropy["literature_note"])
    crossing = entropy.get("crossover") or {}
    if crossing.get("text"):
        notes.append(f"Equal Gibbs energies: {_meeting(crossing)}. {crossing['text']}")
    notes += near_states(data)
    if data["mode"]["broken"]:
        without = findings.without_breaking(entropy)
        notes.append(f"{ORDER_DISORDER} The totals at {STANDARD_TEMPERATURE:g} K: {without}.")
    return notes


def near_states(data: Json) -> list[str]:
    """Say what other electronic states of a multiplicity, found close to the lowest, would add to the entropy."""
    notes = []
    for state, label in (("LS", "LS"), ("HS_parent", "HS")):
        found = [(rise, name) for rise, name in findings.tried_states(data["optimise"][state])[0] if rise < NEAR]
        if len(found) > 1:
            more = near_states_entropy(np.array([rise for rise, _ in found]), STANDARD_TEMPERATURE)
            listed = ", ".join(f"{name} {rise:.1f}" for rise, name in found)
            notes.append(
                f"ΔS_spin counts the multiplicity of one state. At the start geometry of {label} other states of the "
                f"same multiplicity were found close by ({listed} kJ/mol, one geometry, no spin-orbit coupling): "
                f"populated thermally they would add {more:.1f} J/(K mol) to the entropy of {label} at "
                f"{STANDARD_TEMPERATURE:g} K, an estimate which is in no total and no band here."
            )
    return notes


# --- figures ----------------------------------------------------------------------------------------------------------


def all_figures(data: Json) -> dict[str, Figure]:
    """Return every figure that this run has data for, by its name in the template."""
    drawn: dict[str, Figure] = {"spectra": figures.spectra(data["vibrations"]), **_entropy_figures(data)}
    drawn |= _molecule_figures(data)
    if data["mode"]["broken"]:
        drawn["well"] = figures.double_well(data["mode"])
        drawn["share"] = figures.atom_share(data["geometries"]["HS_parent"]["symbols"], data["mode"]["atom_fraction"])
    orbitals = {s: with_kinds(o) for s, o in data["optimise"].items() if (o.get("orbitals") or {}).get("alpha")}
    if orbitals:
        drawn["levels"] = level_diagram.orbital_levels(orbitals)
    for name, draw in (("history", figures.optimiser_history), ("cycles", figures.scf_cycles)):
        if (figure := draw(data["optimise"]))["data"]:
            drawn[name] = figure
    return drawn | landau_view.figures_of(data.get("landau") or {})


def with_kinds(optimised: Json) -> Json:
    """Return the orbitals of a state, the five d levels of each spin marked t2g-like or eg-like.

    Those that lie deeper than the frontier orbitals, as filled ones in high spin do, are added.
    """
    known, marked = optimised.get("d_levels") or {}, {}
    for spin, levels in optimised["orbitals"].items():
        kinds = {d["energy_hartree"]: d["kind"] for d in known.get(spin, [])}
        near = [level | {"kind": kinds.pop(level["energy_hartree"], None)} for level in levels]
        far = [d | {"metal_fraction": d["d_fraction"]} for d in known.get(spin, []) if d["energy_hartree"] in kinds]
        marked[spin] = [*near, *far]
    return marked


def _entropy_figures(data: Json) -> dict[str, Figure]:
    """Return waterfall, curves and cumulative sum."""
    entropy = data["entropy"]
    terms = [
        ("ΔS<sub>vib</sub>", findings.at_standard(entropy, findings.HARMONIC)),
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
        symbols = list(geometries["HS_parent"]["symbols"])
        drawn["animation"] = scenes.animated_mode(symbols, places["HS_parent"], moved, bonds)
    return drawn | _overlays(geometries, places, bool(data["mode"]["broken"]))


def _overlays(geometries: dict[str, Json], places: dict[str, scenes.Array], broken: bool) -> dict[str, Figure]:
    """Return LS under the HS minimum and, if the symmetry is broken, the HS parent under the HS minimum."""
    pairs = {"overlay-spin": ("LS", "HS")} | ({"overlay-breaking": ("HS_parent", "HS")} if broken else {})
    return {
        name: scenes.overlay(
            list(geometries[first]["symbols"]), places[first], places[second],
            (STATE_LABELS[first], STATE_LABELS[second]),
        )
        for name, (first, second) in pairs.items()
        if first in places and second in places
    }  # fmt: skip
