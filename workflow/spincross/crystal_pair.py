"""LS and HS crystal of one complex side by side: the content of crystal.json.

The shape of the coordination octahedron is taken from the atoms as the files have them, before any symmetrising.
Cells, strain, groups and reflections are compared only where both structures are measured crystals; the cell of a built
model is invented and says nothing.
"""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
from ase.geometry import cell_to_cellpar
from numpy.typing import NDArray

from spincross import lattice, octahedron
from spincross.cif import Crystal, space_group
from spincross.crystal import DISORDERED, Extraction, Raw, is_built
from spincross.errors import BadStructure
from spincross.molecule import Molecule, angle, neighbours
from spincross.units import BOHR_TO_ANGSTROM

Array = NDArray[np.float64]
Json = dict[str, Any]


def crystal_facts(complex_id: str, entry: Json, found: Extraction) -> Json:
    """Return the content of crystal.json but for provenance (schema crystal.schema.json)."""
    raws = {"LS": found.raw_low, "HS": found.raw_high}
    reason = _no_pair(entry, found)
    facts = {
        "complex": complex_id,
        "origin": entry["origin"],
        "octahedra": {state: site_facts(raw.molecule, entry["metal"]) for state, raw in raws.items()},
        "not_compared": reason,
        "cells": None, "strain": None, "space_groups": None, "reflections": None,
    }  # fmt: skip
    if reason is None and found.raw_low.crystal and found.raw_high.crystal:
        facts |= _compared(found.raw_low.crystal, found.raw_high.crystal, raws)
    return facts


def _no_pair(entry: Json, found: Extraction) -> str | None:
    """Return why the two crystals are not compared, None if they are."""
    crystals = [found.raw_low.crystal, found.raw_high.crystal]
    if entry["origin"] == "built model" or any(c is not None and is_built(c) for c in crystals):
        return "built model: its cell is invented"
    if None in crystals:
        return "not both structures are CIFs"
    if not entry.get("high_spin_structure") or found.raw_low is found.raw_high:
        return "one structure was given for both spin states"
    low, high = (_species(raw) for raw in (found.raw_low, found.raw_high))
    if low != high:
        return f"the crystals hold different species (LS {', '.join(low)}; HS {', '.join(high)})"
    return None


def _species(raw: Raw) -> list[str]:
    """Return the formulas of the species of a crystal, each once."""
    return sorted({row["formula"].removesuffix(DISORDERED) for row in (raw.cif or {}).get("species", [])})


# --- the coordination octahedron -------------------------------------------------------------------------------------


def site_facts(molecule: Molecule, metal: str | None) -> Json | None:
    """Return bonds, angles and octahedral parameters around the only metal atom; None without exactly one."""
    centres = [k for k, s in enumerate(molecule.symbols) if s == metal]
    if len(centres) != 1:
        return None
    near = neighbours(molecule)
    centre, positions = centres[0], molecule.positions * BOHR_TO_ANGSTROM
    donors = sorted(near[centre])
    vectors = positions[donors] - positions[centre]
    angles = [{"donors": [i, j], "degrees": angle(positions, i, centre, j)} for i, j in combinations(donors, 2)]
    return {
        "bonds_angstrom": [
            {"donor": k, "symbol": molecule.symbols[k], "length": float(np.linalg.norm(v))}
            for k, v in zip(donors, vectors, strict=True)
        ],
        "angles": angles,
        "bends": _bends(positions, centre, near),
        **_octahedral(positions[centre], positions[donors]),
    }


def _octahedral(centre: Array, donors: Array) -> Json:
    """Return zeta, Sigma, Theta and the volume, all None where the site is no octahedron."""
    try:
        shape = octahedron.shape(centre, donors)
    except BadStructure:
        return {"zeta_angstrom": None, "sigma_degrees": None, "theta_degrees": None, "volume_angstrom3": None}
    return {
        "zeta_angstrom": shape.zeta,
        "sigma_degrees": shape.sigma,
        "theta_degrees": shape.theta,
        "volume_angstrom3": shape.volume,
    }


def _bends(positions: Array, centre: int, near: list[set[int]]) -> list[Json]:
    """Return the angle metal-donor-next for every donor of a rod-like ligand (Fe-N-C of thiocyanate)."""
    found = []
    for donor in sorted(near[centre]):
        others = near[donor] - {centre}
        if len(others) == 1 and len(near[following := next(iter(others))]) == 2:
            bend = angle(positions, centre, donor, following)
            found.append({"atoms": [centre, donor, following], "degrees": bend})
    return found


# --- the two cells ---------------------------------------------------------------------------------------------------


def _compared(low: Crystal, high: Crystal, raws: dict[str, Raw]) -> Json:
    """Return cells, strain, space groups and reflections of two measured crystals."""
    cells = {state: _cell_facts(raw) for state, raw in raws.items()}
    groups = [lattice.Group(c.rotations, c.translations) for c in (low, high)]
    setting = lattice.common_setting((low.cell, groups[0]), (high.cell, groups[1]))
    names = {state: cells[state]["space_group"] for state in ("LS", "HS")}
    if setting is None:
        apart = {"relation_of_HS_to_LS": "no common cell", "index": None, "setting_of_HS": None}
        return {"cells": cells, "strain": None, "space_groups": names | apart, "reflections": None}
    turned = lattice.transformed(groups[1], setting)
    kind, index = lattice.relation(groups[0], turned)
    relation: Json = {"relation_of_HS_to_LS": kind, "index": index, "setting_of_HS": setting.tolist()}
    return {
        "cells": cells,
        "strain": _strain_facts(low.cell, setting.T @ high.cell, cells),
        "space_groups": names | relation,
        "reflections": {
            "extinct_in_LS_allowed_in_HS": lattice.lost_extinctions(groups[0], turned),
            "extinct_in_HS_allowed_in_LS": lattice.lost_extinctions(turned, groups[0]),
        },
    }


def _cell_facts(raw: Raw) -> Json:
    """Return the cell of one crystal as its file has it."""
    crystal, cif = raw.crystal, raw.cif
    assert crystal is not None
    assert cif is not None
    parameters = cell_to_cellpar(crystal.cell).tolist()
    kind = space_group(crystal.rotations, crystal.translations)
    formula = Molecule(raw.molecule.symbols, raw.molecule.positions).formula
    count = sum(s["count"] for s in cif["species"] if s["formula"].removesuffix(DISORDERED) == formula)
    volume = float(abs(np.linalg.det(crystal.cell)))
    return {
        "space_group": "unknown" if kind is None else f"{kind.international_short} ({kind.number})",
        "temperature_K": cif["temperature_K"],
        "lengths_angstrom": parameters[:3],
        "angles_degrees": parameters[3:],
        "volume_angstrom3": volume,
        "complexes_per_cell": count,
        "volume_per_complex_angstrom3": volume / count,
    }


def _strain_facts(low: Array, high: Array, cells: Json) -> Json:
    """Return the strain of the HS cell, in the setting of LS, relative to the LS cell."""
    tensor = lattice.strain(lattice.standard(low), lattice.standard(high))
    volumes = [cells[state]["volume_per_complex_angstrom3"] for state in ("LS", "HS")]
    return {
        "tensor": tensor.tolist(),
        "e13": float(tensor[0, 2]),
        "volume": volumes[1] / volumes[0] - 1.0,
    }
