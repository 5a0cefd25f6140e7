"""From a CIF or XYZ file to the one whole molecule of a complex in its point group, or a refusal in a sentence.

A CIF lists the asymmetric unit. Every space group operation (R, t) is applied, atoms generated twice are merged by
position, atoms are joined where they are closer than 1.25 times the sum of their covalent radii (across cell edges,
too), and each connected species is unwrapped by walking along its bonds. A walk that comes back to an atom in another
cell has found an extended network. Inside this module positions are in angstrom; a `Molecule` is in bohr.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import spglib
from ase import Atoms
from ase.data import atomic_numbers, covalent_radii
from ase.neighborlist import neighbor_list
from numpy.typing import NDArray

from spincross import files, matching, orientation, pointgroup
from spincross.cif import Crystal, quiet, read_crystal, space_group
from spincross.errors import BadInput, BadStructure
from spincross.molecule import Molecule, bonds, metal_bonds
from spincross.units import ANGSTROM_TO_BOHR, BOHR_TO_ANGSTROM

Array = NDArray[np.float64]
Json = dict[str, Any]

SITE_TOLERANCE = 0.1
"""Largest distance (angstrom) between an atom and its image under an operation of the site symmetry."""
SCHOENFLIES = {
    "1": "C1", "-1": "Ci", "2": "C2", "m": "Cs", "2/m": "C2h", "222": "D2", "mm2": "C2v", "mmm": "D2h",
    "4": "C4", "-4": "S4", "4/m": "C4h", "422": "D4", "4mm": "C4v", "-42m": "D2d", "4/mmm": "D4h",
    "3": "C3", "-3": "S6", "32": "D3", "3m": "C3v", "-3m": "D3d",
    "6": "C6", "-6": "C3h", "6/m": "C6h", "622": "D6", "6mm": "C6v", "-62m": "D3h", "6/mmm": "D6h",
    "23": "T", "m-3": "Th", "432": "O", "-43m": "Td", "m-3m": "Oh",
}  # fmt: skip
"""Schoenflies symbol of each crystallographic point group."""


@dataclass(frozen=True)
class Extraction:
    """The molecule of a complex: start of LS, start of HS (same atoms, same order), and the facts of molecule.json."""

    low_spin: Molecule
    high_spin: Molecule
    facts: Json


@dataclass(frozen=True)
class Species:
    """One connected species: atoms of the cell and the cell shift (n, 3) of each; `network` if it never ends."""

    atoms: list[int]
    shifts: Array
    formula: str
    network: bool


# --- species ----------------------------------------------------------------------------------------------------------


def find_species(crystal: Crystal) -> list[Species]:
    """Split the cell into connected species, each unwrapped across the cell edges."""
    scaled = {s: 1.25 * float(covalent_radii[atomic_numbers[s]]) for s in set(crystal.symbols)}
    atoms = Atoms(crystal.symbols, scaled_positions=crystal.fractional, cell=crystal.cell, pbc=True)
    # ASE wraps nothing here: S counts cells from the coordinates as they stand
    i, j, s = neighbor_list("ijS", atoms, [scaled[x] for x in crystal.symbols])
    neighbours: list[list[tuple[int, Array]]] = [[] for _ in crystal.symbols]
    for first, second, shift in zip(i, j, s, strict=True):
        neighbours[first].append((int(second), shift))
    seen: set[int] = set()
    found = []
    for start in range(len(crystal.symbols)):
        if start not in seen:
            species = _walk(crystal, start, neighbours)
            seen.update(species.atoms)
            found.append(species)
    return found


def _walk(crystal: Crystal, start: int, neighbours: list[list[tuple[int, Array]]]) -> Species:
    """Follow bonds from one atom; the walk remembers the cell in which it met each atom."""
    shifts = {start: np.zeros(3, dtype=int)}
    queue, network = [start], False
    for atom in queue:
        for other, shift in neighbours[atom]:
            place = shifts[atom] + shift
            if other not in shifts:
                shifts[other] = place
                queue.append(other)
            elif (shifts[other] != place).any():
                network = True
    order = _stable_order(crystal, list(shifts))
    formula = Molecule(tuple(crystal.symbols[k] for k in order), np.zeros((len(order), 3))).formula
    return Species(order, np.array([shifts[k] for k in order]), formula, network)


def _stable_order(crystal: Crystal, atoms: list[int]) -> list[int]:
    """Sort atoms: the first copy of every listed atom in the order of the file, then the second copies, and so on."""
    rank: Counter[int] = Counter()
    keys = {}
    for atom in sorted(atoms, key=lambda k: tuple(crystal.origin[k])):
        row = int(crystal.origin[atom][1])
        keys[atom] = (rank[row], row)
        rank[row] += 1
    return sorted(atoms, key=lambda k: keys[k])


# --- choosing and checking -------------------------------------------------------------------------------------------


def choose_species(crystal: Crystal, found: list[Species], metal: str | None, formula: str | None) -> Species:
    """Return the species with the metal (or the asked formula, or the only one); BadStructure if there is none."""
    listing = ", ".join(f"{n} {f}" for f, n in Counter(s.formula for s in found).items())
    holding = [s for s in found if metal is None or metal in {crystal.symbols[k] for k in s.atoms}]
    if not holding:
        raise BadStructure(
            f"{crystal.name} holds no {metal} (in the cell: {listing}); correct `metal` or the structure"
        )
    if formula is not None:
        holding = [s for s in holding if s.formula == formula]
    kinds = sorted({s.formula for s in holding})
    if len(kinds) != 1:
        raise BadStructure(
            f"{crystal.name}: {len(kinds)} kinds of species qualify as the complex (in the cell: {listing}); "
            "name its formula with `species` in complexes.yaml"
        )
    if holding[0].network:
        raise BadStructure(
            f"{crystal.name}: the {metal or kinds[0]} atoms belong to an extended network, not to a molecule; "
            "use a molecular crystal"
        )
    return holding[0]


def check_disorder(crystal: Crystal, species: Species) -> list[str]:
    """Refuse a species with partly occupied atoms, naming them; return a warning about others in the cell."""
    partial = {crystal.labels[k] for k in range(len(crystal.labels)) if crystal.occupancies[k] < 0.99}
    here = [label for label in dict.fromkeys(crystal.labels[k] for k in species.atoms) if label in partial]
    if here:
        raise BadStructure(
            f"{crystal.name}: atoms {', '.join(here)} of {species.formula} are disordered or partly occupied; "
            "keep one of the alternatives with occupancy 1 and remove the other"
        )
    return [f"{crystal.name}: disordered atoms outside the complex: {', '.join(sorted(partial))}"] if partial else []


def check_formula(crystal: Crystal, accept: bool) -> list[str]:
    """Compare the cell's contents with the declared formula; refuse a difference unless accepted; return warnings."""
    declared = crystal.block.get("_chemical_formula_sum")
    if not isinstance(declared, str) or declared in ("?", "."):
        return [f"{crystal.name} declares no _chemical_formula_sum: the atom count is unchecked"]
    wanted = parse_formula(crystal.name, declared)
    inside: defaultdict[str, float] = defaultdict(float)
    for symbol, occupancy in zip(crystal.symbols, crystal.occupancies, strict=True):
        inside[symbol] += float(occupancy) if occupancy < 0.99 else 1.0
    units = crystal.block.get("_cell_formula_units_z")
    common = max(set(wanted) - {"H"} or set(wanted), key=lambda e: wanted[e])
    z = float(units) if isinstance(units, int | float) and units > 0 else max(round(inside[common] / wanted[common]), 1)
    found = {e: inside[e] / z for e in set(wanted) | set(inside)}
    wrong = sorted(e for e in found if abs(found[e] - wanted.get(e, 0.0)) > 0.02 * max(wanted.get(e, 0.0), 1.0))
    if not wrong:
        return []
    text = ", ".join(f"{e}: {wanted.get(e, 0.0):g} declared, {found[e]:g} listed" for e in wrong)
    message = f"{crystal.name}: the atom list does not match the declared formula {declared} (Z = {z:g}; {text})"
    if not accept:
        raise BadStructure(f"{message}; complete the atoms, or set accept_formula_mismatch if the complex is whole")
    return [message]


def parse_formula(name: str, text: str) -> dict[str, float]:
    """Read 'C12 H16 Cr N2' into counts per element."""
    counts: defaultdict[str, float] = defaultdict(float)
    for word in text.split():
        symbol = word.rstrip("0123456789.")
        try:
            counts["H" if symbol == "D" else symbol] += float(word[len(symbol) :] or 1)
        except ValueError as error:
            raise BadStructure(f"{name}: {word!r} in the formula {text!r} cannot be read; repair it") from error
    if not set(counts) <= set(atomic_numbers) or not counts:
        raise BadStructure(f"{name}: the formula {text!r} holds unknown elements; repair _chemical_formula_sum")
    return dict(counts)


def check_hydrogen(name: str, symbols: tuple[str, ...], positions: Array, labels: list[str]) -> None:
    """Refuse carbon atoms with room for a hydrogen: two neighbours at an angle, or one at a single-bond distance.

    positions (N, 3) in angstrom.
    """
    neighbours: dict[int, list[int]] = {k: [] for k in range(len(symbols))}
    for i, j in bonds(symbols, positions * ANGSTROM_TO_BOHR):
        neighbours[i].append(j)
        neighbours[j].append(i)
    bare = []
    for atom, near in neighbours.items():
        vectors = positions[near] - positions[atom]
        if symbols[atom] == "C" and len(near) == 2:
            cosine = vectors[0] @ vectors[1] / np.prod(np.linalg.norm(vectors, axis=1))
            bare += [labels[atom]] if cosine > np.cos(np.radians(150.0)) else []
        elif symbols[atom] == "C" and len(near) == 1 and symbols[near[0]] in ("C", "N", "O"):
            bare += [labels[atom]] if np.linalg.norm(vectors[0]) > 1.3 else []
    if bare:
        some = ", ".join(dict.fromkeys(bare))
        raise BadStructure(f"{name}: hydrogen atoms are missing (carbon atoms {some} have room for them); add them")


# --- site symmetry ---------------------------------------------------------------------------------------------------


def site_operations(crystal: Crystal, species: Species) -> list[int]:
    """Return the space group operations that map a species onto itself (a lattice translation apart)."""
    places = crystal.fractional[species.atoms] + species.shifts
    symbols = np.array([crystal.symbols[k] for k in species.atoms])
    centre = places.mean(axis=0)
    kept = []
    for op, (rotation, translation) in enumerate(zip(crystal.rotations, crystal.translations, strict=True)):
        cells = np.rint(centre - (rotation @ centre + translation))
        images = places @ rotation.T + translation + cells
        distances = np.linalg.norm((images[:, None] - places[None]) @ crystal.cell, axis=2)
        distances[symbols[:, None] != symbols[None]] = np.inf
        if distances.min(axis=1).max() < SITE_TOLERANCE:
            kept.append(op)
    return kept


def site_group(crystal: Crystal, operations: list[int]) -> str:
    """Return the Schoenflies symbol of the point group formed by some operations."""
    found = quiet(spglib.get_pointgroup, crystal.rotations[operations])
    return SCHOENFLIES[found[0].strip()]


def site_axes(crystal: Crystal, operations: list[int], group: str) -> tuple[Array, ...]:
    """Return the Cartesian directions of the site's 2-fold axes (C2) or mirror normals (Cs)."""
    trace, determinant, sign = {"C2": (-1, 1, 1.0), "Cs": (1, -1, -1.0)}.get(group, (99, 99, 0.0))
    axes = []
    for matrix in crystal.rotations[operations]:
        if np.trace(matrix) == trace and round(np.linalg.det(matrix)) == determinant:
            cartesian = crystal.cell.T @ matrix @ np.linalg.inv(crystal.cell.T)
            values, vectors = np.linalg.eig(cartesian)
            axes.append(np.real(vectors[:, np.abs(values - sign).argmin()]))
    return tuple(np.where(np.abs(axis) < 1e-12, 0.0, axis) for axis in axes)


# --- the way in ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Raw:
    """A molecule as found in a file, before orientation; hints are directions of the site's axes."""

    molecule: Molecule
    hints: tuple[Array, ...]
    site_symmetry: str
    cif: Json | None
    warnings: list[str]


def _from_cif(path: Path, entry: Json) -> _Raw:
    """Take the complex out of a CIF."""
    crystal = read_crystal(path, entry.get("block"))
    found = find_species(crystal)
    species = choose_species(crystal, found, entry["metal"], entry.get("species"))
    notes = check_disorder(crystal, species)
    notes += check_formula(crystal, bool(entry.get("accept_formula_mismatch")))
    places = (crystal.fractional[species.atoms] + species.shifts) @ crystal.cell
    symbols = tuple(crystal.symbols[k] for k in species.atoms)
    check_hydrogen(crystal.name, symbols, places, [crystal.labels[k] for k in species.atoms])
    rows = {int(crystal.origin[k][1]) for s in found if s.formula == species.formula for k in s.atoms}
    if {int(crystal.origin[k][1]) for k in species.atoms} != rows:
        notes.append(f"{crystal.name}: several independent {species.formula} in the cell; the first one was taken")
    operations = site_operations(crystal, species)
    molecule = Molecule(symbols, (places - places[0]) * ANGSTROM_TO_BOHR, entry["charge"], entry["point_group"])
    hints = site_axes(crystal, operations, entry["point_group"])
    return _Raw(molecule, hints, site_group(crystal, operations), _cif_facts(crystal, found), notes)


def _cif_facts(crystal: Crystal, found: list[Species]) -> Json:
    """Return what molecule.json says about the CIF."""
    block = crystal.block
    temperature = block.get("_diffrn_ambient_temperature") or block.get("_cell_measurement_temperature")
    kind = space_group(crystal.rotations, crystal.translations)
    counts = Counter("network" if s.network else s.formula for s in found)
    formula = block.get("_chemical_formula_sum")
    return {
        "block": block.name,
        "space_group": None if kind is None else f"{kind.international_short} ({kind.number})",
        "temperature_K": float(temperature) if isinstance(temperature, int | float) else None,
        "formula_sum": formula if isinstance(formula, str) else None,
        "species": [{"formula": name, "count": count} for name, count in sorted(counts.items())],
    }


def _from_xyz(path: Path, entry: Json) -> _Raw:
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
    check_hydrogen(path.name, symbols, positions * BOHR_TO_ANGSTROM, [f"{s}{i + 1}" for i, s in enumerate(symbols)])
    return _Raw(molecule, (), "C1", None, [])


def _oriented(path: Path, entry: Json) -> tuple[_Raw, orientation.Oriented]:
    """Read a structure file and turn its molecule into standard orientation."""
    raw = _from_cif(path, entry) if path.suffix.lower() == ".cif" else _from_xyz(path, entry)
    metals = [k for k, s in enumerate(raw.molecule.symbols) if s == entry["metal"]]
    anchor = metals[0] if len(metals) == 1 else None
    try:
        found = orientation.orient(raw.molecule, anchor, raw.hints, keep=raw.cif is None)
    except BadStructure as error:
        raise BadStructure(f"{path.name}: {error}") from error
    if found.deviation > 0.05:
        shift = f"the largest shift was {found.deviation:.2f} angstrom"
        raw.warnings.append(f"{path.name}: the molecule was made exactly {entry['point_group']}, {shift}")
    return raw, found


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
    raw, low = _oriented(low_path, entry)
    raw_high, high = (raw, low) if high_path == low_path else _oriented(high_path, entry)
    names = (f"{low_path.parent.name}/{low_path.name}", f"{high_path.parent.name}/{high_path.name}")
    renumbered, remarks = matching.matched(low.molecule, high.molecule, names)
    permutation = check_same_operation(names, low.molecule, renumbered)
    high = replace(high, molecule=renumbered, permutation=permutation)
    check_electrons(complex_id, low.molecule, entry["multiplicity"])
    notes = list(dict.fromkeys(raw.warnings + raw_high.warnings + remarks))
    both = {"high_spin": _structure_facts(entry, raw_high, high), "warnings": notes}
    facts = _facts(complex_id, entry, raw, low) | both
    return Extraction(low.molecule, renumbered, facts)


def _facts(complex_id: str, entry: Json, raw: _Raw, low: orientation.Oriented) -> Json:
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


def _structure_facts(entry: Json, raw: _Raw, found: orientation.Oriented) -> Json:
    """Return the facts that the LS and the HS structure have each."""
    metal_list = metal_bonds(found.molecule, entry["metal"])
    return {
        "site_symmetry": raw.site_symmetry if raw.cif else entry["point_group"],
        "axis_cartesian": None if found.axis is None else [float(x) for x in found.axis],
        "rmsd_to_exact_group_angstrom": found.rmsd,
        "coordination_number": None if entry["metal"] is None else len(metal_list),
        "bonds_angstrom": metal_list,
        "cif": raw.cif,
    }


def check_same_operation(names: tuple[str, str], low: Molecule, high: Molecule) -> list[int]:
    """Return where the group's operation sends each atom; refuse structures in which that differs."""
    pairs = [pointgroup.permutations(m.numbers, m.positions, m.point_group)[-1].tolist() for m in (low, high)]
    if pairs[0] != pairs[1]:
        raise BadStructure(
            f"{names[0]} and {names[1]}: {low.point_group} pairs the atoms in different ways; "
            "give structures with the same symmetry element"
        )
    return [int(k) for k in pairs[0]]


def check_electrons(complex_id: str, molecule: Molecule, multiplicity: dict[str, int]) -> None:
    """Refuse multiplicities that the number of electrons does not allow."""
    for state, value in multiplicity.items():
        if value < 1 or (molecule.electrons - value + 1) % 2:
            raise BadInput(
                f"{complex_id}: {molecule.electrons} electrons cannot have multiplicity {value} ({state}); "
                "correct charge or multiplicity"
            )
