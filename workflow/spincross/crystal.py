"""From a CIF or XYZ file to the one whole molecule of a complex in its point group, or a refusal in a sentence.

The steps: the cell (`cif`, `disorder`), its species (`species`), what must not be missing (`completeness`), the
standard orientation (`orientation`), and HS numbered like LS (`matching`). Positions are in angstrom until a
`Molecule`, which is in bohr, is made.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spincross import conformers, files, matching, one_metal, orientation, pointgroup
from spincross.cif import Crystal, read_crystal, space_group
from spincross.completeness import (
    check_bonds,
    check_charge,
    check_disorder,
    check_formula,
    check_hydrogen,
    check_species,
    check_strays,
    one_of_each,
)
from spincross.disorder import WHOLE
from spincross.errors import BadInput, BadStructure
from spincross.levels import check_spin
from spincross.molecule import Molecule, bonds, metal_bonds
from spincross.species import Species, choose_species, find_species, site_axes, site_group, site_operations
from spincross.units import ANGSTROM_TO_BOHR, BOHR_TO_ANGSTROM

Array = NDArray[np.float64]
Json = dict[str, Any]


DISORDERED = " (disordered)"
"""Remark on a species in molecule.json."""
LONGER = 0.02
"""How much longer (angstrom) the metal's bonds of LS may be than those of HS before it is said."""


@dataclass(frozen=True)
class Raw:
    """A molecule as found in a file, before orientation.

    Parameters
    ----------
    molecule : as the file has it, bohr, frame of the cell
    hints : directions of the site's axes
    site_symmetry : Schoenflies symbol
    crystal : the cell it was taken from; None for an XYZ file
    cif : what molecule.json says about the CIF
    warnings : sentences for the reader
    """

    molecule: Molecule
    hints: tuple[Array, ...]
    site_symmetry: str
    crystal: Crystal | None
    cif: Json | None
    warnings: list[str]


@dataclass(frozen=True)
class Extraction:
    """The molecule of a complex: start of LS, start of HS (same atoms, same order), facts for JSON, both as read."""

    low_spin: Molecule
    high_spin: Molecule
    facts: Json
    raw_low: Raw
    raw_high: Raw


def read_raw(path: Path, entry: Json) -> Raw:
    """Read the molecule of a structure file, whole and checked, in the frame of the file."""
    return _from_cif(path, entry) if path.suffix.lower() == ".cif" else _from_xyz(path, entry)


def _from_cif(path: Path, entry: Json) -> Raw:
    """Take the complex out of a CIF."""
    crystal = read_crystal(path, entry.get("block"))
    found = find_species(crystal)
    species = choose_species(crystal, found, entry["metal"], entry.get("species"), entry.get("metal_site"))
    notes = check_disorder(crystal, species)
    mismatch = bool(entry.get("accept_formula_mismatch"))
    notes += check_formula(crystal, mismatch)
    notes += check_strays(crystal, found, mismatch)
    places = (crystal.fractional[species.atoms] + species.shifts) @ crystal.cell
    symbols = tuple(crystal.symbols[k] for k in species.atoms)
    bare = bool(entry.get("accept_missing_hydrogen"))
    for kind in [species, *one_of_each(crystal, found, species)]:
        notes += check_species(crystal, kind, entry["metal"], bare)
    imbalance = bool(entry.get("accept_charge_imbalance"))
    implied, remarks = check_charge(crystal, found, species, entry["charge"], imbalance)
    rows = {int(crystal.origin[k][1]) for s in found if s.formula == species.formula for k in s.atoms}
    if {int(crystal.origin[k][1]) for k in species.atoms} != rows and not entry.get("metal_site"):
        several = f"several independent {species.formula} in the cell"
        notes.append(f"{crystal.name}: {several}; the first one was taken, metal_site would name another by its metal")
    operations = site_operations(crystal, species)
    molecule = Molecule(symbols, (places - places[0]) * ANGSTROM_TO_BOHR, entry["charge"], entry["point_group"])
    hints = site_axes(crystal, operations, entry["point_group"])
    facts = _cif_facts(crystal, found) | {"charge_from_other_ions": implied}
    return Raw(molecule, hints, site_group(crystal, operations), crystal, facts, notes + remarks)


def _cif_facts(crystal: Crystal, found: list[Species]) -> Json:
    """Return what molecule.json says about the CIF."""
    block = crystal.block
    temperature = block.get("_diffrn_ambient_temperature") or block.get("_cell_measurement_temperature")
    kind = space_group(crystal.rotations, crystal.translations)
    counts = Counter("network" if s.network else s.formula + _mark(crystal, s) for s in found)
    formula = block.get("_chemical_formula_sum")
    return {
        "block": block.name,
        "space_group": None if kind is None else f"{kind.international_short} ({kind.number})",
        "temperature_K": float(temperature) if isinstance(temperature, int | float) else None,
        "formula_sum": formula if isinstance(formula, str) else None,
        "species": [{"formula": name, "count": count} for name, count in sorted(counts.items())],
    }


def _mark(crystal: Crystal, species: Species) -> str:
    """Return a remark on a species whose formula holds alternatives."""
    return DISORDERED if min(crystal.occupancies[species.atoms]) < WHOLE else ""


def _from_xyz(path: Path, entry: Json) -> Raw:
    """Take the complex from an XYZ file: exactly one connected species."""
    symbols, positions, _ = files.read_xyz(path)
    molecule = Molecule(symbols, positions, entry["charge"], entry["point_group"])
    if entry["metal"] is not None and entry["metal"] not in symbols:
        raise BadStructure(f"{path.name} holds no {entry['metal']}; correct `metal` or the structure")
    joined = {0}
    pairs = bonds(symbols, positions)
    while more := {k for pair in pairs if joined & set(pair) for k in pair} - joined:
        joined |= more
    if len(joined) != len(symbols):
        count = f"{len(joined)} of {len(symbols)} atoms"
        raise BadStructure(f"{path.name}: only {count} are bonded together; give one whole molecule")
    labels, places = [f"{s}{i + 1}" for i, s in enumerate(symbols)], positions * BOHR_TO_ANGSTROM
    check_bonds(path.name, symbols, places, labels, entry["metal"])
    notes = check_hydrogen(path.name, symbols, places, labels, bool(entry.get("accept_missing_hydrogen")))
    if entry["metal"] is not None:
        charge = f"the charge {entry['charge']:+d} of {molecule.formula} is unchecked"
        notes.append(f"{path.name}: {charge}: an XYZ file does not say it")
    return Raw(molecule, (), "C1", None, None, notes)


def _oriented_low(path: Path, raw: Raw, entry: Json) -> orientation.Oriented:
    """Turn the LS molecule into standard orientation; one that lost its symmetry only where the entry accepts it."""
    try:
        return _oriented(path, raw, entry)
    except BadStructure as error:
        try:
            found = _oriented(path, raw, entry, orientation.LARGEST_AVERAGED_RMSD)
        except BadStructure:
            raise error from None
        change = orientation.bond_change(
            raw.molecule.positions, found.molecule.positions, bonds(raw.molecule.symbols, raw.molecule.positions)
        )
        if change > orientation.LARGEST_BOND_CHANGE:
            raise BadStructure(f"{error} (made exact, bonds would change by up to {change:.2f} angstrom)") from None
        if not entry.get("accept_distorted_low_spin"):
            raise BadStructure(f"{error}, or set accept_distorted_low_spin: LS then starts from the average") from None
        return found


def _oriented(path: Path, raw: Raw, entry: Json, largest: float = orientation.LARGEST_RMSD) -> orientation.Oriented:
    """Turn the molecule of a structure file into standard orientation; `largest` RMSD from the group, angstrom."""
    metals = [k for k, s in enumerate(raw.molecule.symbols) if s == entry["metal"]]
    anchor = metals[0] if len(metals) == 1 else None
    try:
        found = orientation.orient(raw.molecule, anchor, raw.hints, raw.crystal is None, largest)
    except BadStructure as error:
        raise BadStructure(f"{path.name}: {error}") from error
    if found.deviation > 0.05:
        shift = f"the largest shift was {found.deviation:.2f} angstrom"
        raw.warnings.append(f"{path.name}: the molecule was made exactly {entry['point_group']}, {shift}")
    return found


def _oriented_like(
    low: orientation.Oriented, raw: Raw, entry: Json, names: tuple[str, str]
) -> tuple[orientation.Oriented, list[str]]:
    """Turn the HS molecule into standard orientation with the order of the LS atoms; return it with remarks.

    A measured HS molecule may have lost the symmetry element of the parent group. Its parent geometry is optimised in
    that group anyway, so a moderate distortion is averaged away, with the atoms paired as in LS.
    """
    try:
        own = _oriented(Path(names[1]), raw, entry)
    except BadStructure:
        try:
            return _averaged_like(low, raw, names, f"is not {entry['point_group']}")
        except BadStructure as error:
            raise BadStructure(f"{names[1]}: {error}") from error
    renumbered, remarks = matching.matched(low.molecule, own.molecule, names)
    try:
        permutation = check_same_operation(names, low.molecule, renumbered)
    except BadStructure as error:
        try:  # a molecule with several such elements, of which another one was found
            return _averaged_like(low, raw, names, f"was found {entry['point_group']} about another element than LS")
        except BadStructure:
            raise error from None
    return replace(own, molecule=renumbered, permutation=permutation), remarks


def _averaged_like(
    low: orientation.Oriented, raw: Raw, names: tuple[str, str], why: str
) -> tuple[orientation.Oriented, list[str]]:
    """Return the HS molecule averaged over the atom pairs of LS, with remarks."""
    renumbered, remarks = matching.matched(low.molecule, raw.molecule, names)
    found = orientation.averaged(renumbered, low.permutation, bonds(low.molecule.symbols, low.molecule.positions))
    size = f"RMSD {found.rmsd:.2f} angstrom, largest shift {found.deviation:.2f}"
    remarks.append(f"{names[1]}: the HS molecule {why}; its start was symmetrised with the atom pairs of LS ({size})")
    return found, remarks


def extract_molecule(complex_id: str, entry: Json, folder: Path) -> Extraction:
    """Return the molecule of a complex for both spin states.

    Parameters
    ----------
    complex_id : its key in complexes.yaml
    entry : its keys there (schema complexes.schema.json)
    folder : the folder that the entry's paths start from

    Raises
    ------
    BadStructure, BadInput
        one sentence: which file, what is wrong, what to do
    """
    low_path = folder / entry["low_spin_structure"]
    high_path = folder / (entry.get("high_spin_structure") or entry["low_spin_structure"])
    of_low, of_high = (entry | {"block": block_of(entry, state)} for state in ("LS", "HS"))
    _refuse_keys_of_a_cif(entry, low_path, high_path)
    raw = read_raw(low_path, of_low)
    one_metal.check_metal(low_path.name, raw.molecule, entry["metal"])
    low = _oriented_low(low_path, raw, entry)
    one = high_path == low_path and of_low == of_high
    raw_high = raw if one else read_raw(high_path, of_high)
    names = (f"{low_path.parent.name}/{low_path.name}", f"{high_path.parent.name}/{high_path.name}")
    high, remarks = _oriented_like(low, raw_high, entry, names)
    for multiplicity in entry["multiplicity"].values():
        check_spin(low.molecule, multiplicity, complex_id)
    check_isomer(names, low.molecule, high.molecule, entry["metal"])
    notes = list(dict.fromkeys(_origin_notes(entry, raw, raw_high) + raw.warnings + raw_high.warnings + remarks))
    notes += conformers.warnings(low.molecule, high.molecule, entry["metal"])
    if one and entry.get("high_spin_structure"):
        notes.append(f"{names[0]} is named for both spin states, and HS starts from the same molecule as LS")
    notes += exchange_warning(low.molecule, high.molecule, entry["metal"])
    notes += one_metal.remarks(low_path.name, low.molecule, entry["metal"], entry["multiplicity"])
    both = {"high_spin": _structure_facts(entry, raw_high, high), "warnings": notes}
    facts = _facts(complex_id, entry, raw, low) | both
    return Extraction(low.molecule, high.molecule, facts, raw, raw_high)


def _refuse_keys_of_a_cif(entry: Json, *paths: Path) -> None:
    """Refuse keys that choose from a CIF where no file is one."""
    given = [key for key in ("block", "species", "metal_site") if entry.get(key)]
    if given and all(path.suffix.lower() != ".cif" for path in paths):
        raise BadInput(f"{paths[0].name} is no CIF, from which `{given[0]}` could choose; take the key away")


def block_of(entry: Json, state: str) -> str | None:
    """Return the name of the CIF data block of a state; the entry has one for both, one each, or none."""
    block = entry.get("block")
    block = block.get(state) if isinstance(block, dict) else block
    return None if block is None else str(block)


def check_isomer(names: tuple[str, str], low: Molecule, high: Molecule, metal: str | None) -> None:
    """Refuse structures whose donors are arranged in different ways around the metal."""
    difference = conformers.other_isomer(low, high, metal)
    if difference is not None:
        raise BadStructure(
            f"{names[0]} and {names[1]} are different isomers: {difference}; give structures of one isomer"
        )


def exchange_warning(low: Molecule, high: Molecule, metal: str | None) -> list[str]:
    """Return a sentence where the bonds of the metal are longer in LS than in HS by more than LONGER on average."""
    if metal is None:
        return []
    means = [float(np.mean([b["length"] for b in metal_bonds(m, metal)] or [0.0])) for m in (low, high)]
    if means[0] - means[1] < LONGER:
        return []
    lengths = f"{means[0]:.2f} angstrom in LS and {means[1]:.2f} in HS"
    return [f"the bonds of {metal} are {lengths} on average: are the structures of both states exchanged?"]


def _origin_notes(entry: Json, *raws: Raw) -> list[str]:
    """Return warnings where the entry's `origin` contradicts what the files say about themselves."""
    built = [r.crystal.name for r in raws if r.crystal is not None and is_built(r.crystal)]
    real = [r.crystal.name for r in raws if r.crystal is not None and not is_built(r.crystal)]
    if built and real:
        return [f"{built[0]} is a built model and {real[0]} is not: differences between them are also those of origin"]
    if entry["origin"] == "cif" and built:
        return [f"{built[0]} says it is a built model, but the entry says origin: cif; correct `origin`"]
    if entry["origin"] == "built model" and real:
        return [f"{real[0]} does not say that it is a built model; if it was measured, set `origin: cif`"]
    return []


def is_built(crystal: Crystal) -> bool:
    """Return whether a CIF calls itself a built model (see model_cif)."""
    return "built model" in str(crystal.block.get("_publ_section_comment") or "").lower()


def _facts(complex_id: str, entry: Json, raw: Raw, low: orientation.Oriented) -> Json:
    """Return the content of molecule.json but for provenance, warnings and the HS structure."""
    return {
        "complex": complex_id,
        "title": entry["title"],
        "formula": low.molecule.formula,
        "atoms": len(low.molecule.symbols),
        "charge": entry["charge"],
        "point_group": entry["point_group"],
        "metal": entry["metal"],
        "origin": entry["origin"],
        "source": entry["source"],
        "atom_permutation": low.permutation,
    } | _structure_facts(entry, raw, low)


def _structure_facts(entry: Json, raw: Raw, found: orientation.Oriented) -> Json:
    """Return the facts that the LS and the HS structure have each."""
    metal_list = metal_bonds(found.molecule, entry["metal"])
    return {
        "site_symmetry": raw.site_symmetry if raw.crystal else entry["point_group"],
        "axis_cartesian": None if found.axis is None else [float(x) for x in found.axis],
        "axis_cell": _in_cell(raw.crystal, found.axis),
        "rmsd_to_exact_group_angstrom": found.rmsd,
        "coordination_number": None if entry["metal"] is None else len(metal_list),
        "bonds_angstrom": metal_list,
        "cif": raw.cif,
    }


def _in_cell(crystal: Crystal | None, axis: Array | None) -> list[float] | None:
    """Return a direction in units of the cell's vectors, the largest component 1; None without a cell or an axis."""
    if crystal is None or axis is None:
        return None
    direction = axis @ np.linalg.inv(crystal.cell)
    return [round(float(x), 4) + 0.0 for x in direction / direction[np.abs(direction).argmax()]]


def check_same_operation(names: tuple[str, str], low: Molecule, high: Molecule) -> list[int]:
    """Return where the group's operation sends each atom; refuse structures in which that differs."""
    pairs = [pointgroup.permutations(m.numbers, m.positions, m.point_group)[-1].tolist() for m in (low, high)]
    if pairs[0] != pairs[1]:
        raise BadStructure(
            f"{names[0]} and {names[1]}: {low.point_group} pairs the atoms in different ways; "
            "give structures with the same symmetry element"
        )
    return [int(k) for k in pairs[0]]
