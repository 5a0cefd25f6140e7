"""Is it all there? Disorder, declared formula, hydrogen, stray atoms, close contacts and the charge of a crystal.

Every check either passes in silence, returns sentences for molecule.json, or refuses in one sentence that names the
atoms and the key of complexes.yaml (if any) that accepts the finding. Lengths are in angstrom.
"""

from __future__ import annotations

from collections import Counter, defaultdict

import numpy as np
from ase.data import atomic_numbers, covalent_radii
from numpy.typing import NDArray

from spincross.cif import Crystal
from spincross.disorder import WHOLE
from spincross.errors import BadStructure
from spincross.molecule import bonds, hill
from spincross.species import Species
from spincross.units import ANGSTROM_TO_BOHR

Array = NDArray[np.float64]

NEVER_ALONE = {"H", "B", "C", "N", "Si", "P", "S", "As", "Se", "Te"}
"""Elements that are never a species by themselves in a molecular crystal."""
NON_METALS = NEVER_ALONE | {"O", "F", "Cl", "Br", "I", "He", "Ne", "Ar", "Kr", "Xe"}
CLOSEST = 0.65
"""Shortest distance of two atoms in units of the sum of their covalent radii (C-H 0.70, C-C 0.99 angstrom)."""
SINGLE_BOND = {
    ("C", "C"): 1.40,
    ("C", "N"): 1.30,
    ("C", "O"): 1.30,
    ("N", "C"): 1.32,
    ("N", "N"): 1.30,
    ("O", "C"): 1.38,
}
"""Longest bond (angstrom) of a terminal atom (first) that needs no hydrogen; a longer one is a bare single bond."""
OXO, NITRIDO = 1.80, 1.75
"""Longest bond (angstrom) of a terminal oxygen or nitrogen to a metal that needs no hydrogen: M=O is 1.55 to 1.75."""
TRIPLE_BOND = 1.22
"""Longest bond (angstrom) of a donor nitrogen to its one neighbour that needs no hydrogen, as in NCS and nitriles."""
CHARGES = {
    "F": -1, "Cl": -1, "Br": -1, "I": -1, "I3": -1, "ClO4": -1, "BF4": -1, "F6P": -1, "F6Sb": -1, "AsF6": -1,
    "NO3": -1, "C24H20B": -1, "CF3O3S": -1, "CNS": -1, "CN": -1, "N3": -1, "O4Re": -1, "HO4S": -1, "O4S": -2,
    "Li": 1, "Na": 1, "K": 1, "Rb": 1, "Cs": 1, "H4N": 1, "H3O": 1, "C4H12N": 1, "C8H20N": 1, "C16H36N": 1,
    "C24H20P": 1, "H2O": 0, "CH4O": 0, "C2H6O": 0, "C2H3N": 0, "CHCl3": 0, "CH2Cl2": 0, "C3H6O": 0, "C3H7NO": 0,
    "C4H10O": 0, "C4H8O": 0, "C6H6": 0, "C7H8": 0, "C2H6OS": 0, "CH3NO2": 0, "C6H14": 0, "C5H12": 0, "C3H8O": 0,
}  # fmt: skip
"""Charges of common counter-ions and solvents, by formula in Hill order."""


# --- disorder and formula --------------------------------------------------------------------------------------------


def check_disorder(crystal: Crystal, species: Species) -> list[str]:
    """Refuse a species with partly occupied atoms, naming them; return what was resolved and what is left elsewhere."""
    partial = {crystal.labels[k] for k in range(len(crystal.labels)) if crystal.occupancies[k] < WHOLE}
    here = [label for label in dict.fromkeys(crystal.labels[k] for k in species.atoms) if label in partial]
    if here:
        raise BadStructure(
            f"{crystal.name}: atoms {', '.join(here)} of {species.formula} are disordered or partly occupied; "
            "keep one of the alternatives with occupancy 1 and remove the other"
        )
    outside = [f"{crystal.name}: disordered atoms outside the complex: {', '.join(sorted(partial))}"] if partial else []
    return [*crystal.notes, *outside]


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
    allowed = {e: min(0.02 * max(wanted.get(e, 0.0), 1.0), 0.3) for e in found}  # less than an atom
    wrong = sorted(e for e in found if abs(found[e] - wanted.get(e, 0.0)) > allowed[e])
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


# --- atoms -----------------------------------------------------------------------------------------------------------


def check_hydrogen(
    name: str, symbols: tuple[str, ...], positions: Array, labels: list[str], accept: bool = False
) -> list[str]:
    """Refuse atoms with room for a hydrogen unless accepted; return warnings.

    Found are carbon with two neighbours at an angle or three that form a pyramid, terminal C, N and O at the length
    of a single bond, and oxygen and nitrogen on a metal with no other neighbour, unless they are as near as in M=O and
    M#N. Nitrogen on a metal that looks like such a carbon may be an anion, and so may an azole without hydrogen or
    substituent on any of its nitrogens: they are warnings.

    positions (N, 3) in angstrom.
    """
    around = _neighbours(symbols, positions)
    bare = [k for k, near in enumerate(around) if _has_room(symbols, positions, k, near)]
    donors = [labels[k] for k, near in enumerate(around) if _donor_has_room(symbols, positions, k, near)]
    some = ", ".join(dict.fromkeys(donors))
    notes = [f"{name}: nitrogen donors {some} look as if hydrogen were missing on them"] if donors else []
    for ring in _azolates(symbols, around):
        some = ", ".join(labels[k] for k in ring if symbols[k] == "N")
        notes.append(f"{name}: the ring of {some} is an anion, or a hydrogen is missing on one of them: check `charge`")
    if not bare:
        return notes
    some = ", ".join(dict.fromkeys(labels[k] for k in bare))
    kinds = "carbon atoms" if {symbols[k] for k in bare} == {"C"} else "atoms"
    message = f"{name}: hydrogen atoms are missing ({kinds} {some} have room for them)"
    if not accept:
        raise BadStructure(f"{message}; add them, or set accept_missing_hydrogen if nothing is missing")
    return [message, *notes]


def _neighbours(symbols: tuple[str, ...], positions: Array) -> list[list[int]]:
    near: list[list[int]] = [[] for _ in symbols]
    for i, j in bonds(symbols, positions * ANGSTROM_TO_BOHR):
        near[i].append(j)
        near[j].append(i)
    return near


def _has_room(symbols: tuple[str, ...], positions: Array, atom: int, near: list[int]) -> bool:
    """Return whether an atom looks as if a hydrogen were missing on it."""
    vectors = positions[near] - positions[atom]
    lengths = np.linalg.norm(vectors, axis=1)
    if len(near) == 1:
        other = symbols[near[0]]
        if symbols[atom] == "O" and other not in NON_METALS:
            return bool(lengths[0] > OXO)
        if symbols[atom] == "N" and other not in NON_METALS:
            return bool(lengths[0] > NITRIDO)
        return bool(lengths[0] > SINGLE_BOND.get((symbols[atom], other), np.inf))
    return symbols[atom] == "C" and _bare_corner(vectors)


def _donor_has_room(symbols: tuple[str, ...], positions: Array, atom: int, near: list[int]) -> bool:
    """Return whether a nitrogen on a metal looks as if a hydrogen were missing; a bent NCS or nitrile does not."""
    others = [k for k in near if symbols[k] in NON_METALS]
    if symbols[atom] != "N" or not others or len(others) == len(near):
        return False
    vectors = positions[near] - positions[atom]
    triple = len(others) == 1 and float(np.linalg.norm(positions[others[0]] - positions[atom])) < TRIPLE_BOND
    return not triple and _bare_corner(vectors)


def _azolates(symbols: tuple[str, ...], around: list[list[int]]) -> list[list[int]]:
    """Return the aromatic five-membered rings of C and N in which no nitrogen has a third neighbour but a metal.

    Of a neutral one, as imidazole, pyrazole or a triazole, one nitrogen has hydrogen or a substituent.
    """
    bound = [[k for k in near if symbols[k] in NON_METALS] for near in around]
    flat = {k for k, s in enumerate(symbols) if (s == "C" and len(bound[k]) == 3) or (s == "N" and len(bound[k]) == 2)}
    paths = [[k] for k in flat if symbols[k] == "N"]
    for _ in range(4):
        paths = [[*path, k] for path in paths for k in bound[path[-1]] if k in flat and k not in path]
    rings = {tuple(sorted(path)) for path in paths if path[0] in bound[path[-1]]}
    return [list(ring) for ring in sorted(rings)]


def _bare_corner(vectors: Array) -> bool:
    """Tell whether bonds (n, 3) leave a corner of a triangle or a tetrahedron bare.

    The sum of the unit vectors is 0 for linear and planar atoms, about 1 where one corner of a tetrahedron is bare.
    """
    lengths = np.linalg.norm(vectors, axis=1)
    open_side = float(np.linalg.norm((vectors / lengths[:, None]).sum(axis=0))) if len(vectors) else 0.0
    return (len(vectors) == 2 and open_side > 0.52) or (len(vectors) == 3 and open_side > 0.6)


def check_bonds(name: str, symbols: tuple[str, ...], positions: Array, labels: list[str], metal: str | None) -> None:
    """Refuse atoms that are impossibly close or have impossibly many neighbours, and a metal with fewer than two.

    positions (N, 3) in angstrom.
    """
    radii = np.array([covalent_radii[atomic_numbers[s]] for s in symbols])
    ratio = np.linalg.norm(positions[:, None] - positions[None], axis=2) / (radii[:, None] + radii[None])
    ratio[np.diag_indices(len(symbols))] = np.inf
    i, j = np.unravel_index(int(ratio.argmin()), ratio.shape)
    if ratio[i, j] < CLOSEST:
        distance = float(np.linalg.norm(positions[i] - positions[j]))
        raise BadStructure(
            f"{name}: atoms {labels[i]} and {labels[j]} are {distance:.2f} angstrom apart: disorder that is not "
            "declared, or wrong operators; keep one of them"
        )
    for atom, near in enumerate(_neighbours(symbols, positions)):
        ordinary = sum(symbols[k] in NON_METALS and symbols[k] != "B" for k in near)
        if (symbols[atom] == "H" and ordinary > 1) or (symbols[atom] == "C" and ordinary > 4):
            raise BadStructure(
                f"{name}: atom {labels[atom]} has {len(near)} neighbours ({', '.join(labels[k] for k in near)}); "
                "repair the coordinates"
            )
        if symbols[atom] == metal and len(near) < 2:
            raise BadStructure(f"{name}: the metal {labels[atom]} has {len(near)} neighbours; complete its ligands")


def one_of_each(crystal: Crystal, found: list[Species], complex_: Species) -> list[Species]:
    """Return one ordered species of every kind beside the complex."""
    kinds: dict[str, Species] = {}
    for species in found:
        whole = min(crystal.occupancies[species.atoms]) >= WHOLE and not species.network
        if whole and species.formula != complex_.formula and len(species.atoms) > 1:
            kinds.setdefault(species.formula, species)
    return list(kinds.values())


def check_species(crystal: Crystal, species: Species, metal: str | None, accept: bool) -> list[str]:
    """Check bonds and hydrogen of one species, so that a fragment torn from the complex does not pass for a solvent."""
    places = (crystal.fractional[species.atoms] + species.shifts) @ crystal.cell
    symbols = tuple(crystal.symbols[k] for k in species.atoms)
    labels = [crystal.labels[k] for k in species.atoms]
    check_bonds(crystal.name, symbols, places, labels, metal)
    return check_hydrogen(crystal.name, symbols, places, labels, accept)


def check_strays(crystal: Crystal, found: list[Species], accept: bool) -> list[str]:
    """Refuse single atoms that are no species of their own unless accepted; return warnings, also on bare water."""
    whole = [s for s in found if min(crystal.occupancies[s.atoms]) >= WHOLE]
    alone = [s for s in whole if len(s.atoms) == 1 or {crystal.symbols[k] for k in s.atoms} == {"H"}]
    labels = [crystal.labels[s.atoms[0]] for s in alone if crystal.symbols[s.atoms[0]] in NEVER_ALONE]
    notes = []
    if labels:
        some = ", ".join(dict.fromkeys(labels))
        message = f"{crystal.name}: atoms {some} are bonded to nothing"
        if not accept:
            raise BadStructure(f"{message}; repair their coordinates, or set accept_formula_mismatch")
        notes.append(message)
    bare = [crystal.labels[s.atoms[0]] for s in alone if s.formula == "O"]
    some = ", ".join(dict.fromkeys(bare))
    return notes + ([f"{crystal.name}: oxygen atoms {some} stand without hydrogen (water?)"] if bare else [])


# --- charge ----------------------------------------------------------------------------------------------------------


def implied_charge(crystal: Crystal, found: list[Species], species: Species) -> float | None:
    """Return the charge of the complex that makes the cell neutral; None where another species' charge is unknown."""
    others = [s for s in found if s.formula != species.formula]
    moieties = _moiety_charges(crystal.block.get("_chemical_formula_moiety"))
    known = CHARGES | moieties
    partial = any(crystal.occupancies[k] < WHOLE for s in others for k in s.atoms)
    if partial or any(s.network or s.formula not in known for s in others):
        return None
    return -sum(known[s.formula] for s in others) / (len(found) - len(others)) + 0.0


def _moiety_charges(text: object) -> dict[str, int]:
    """Read 'C12 H12 Cr N2 1+, Cl 1-, 2(H2 O)' into charges by formula in Hill order; pieces it cannot read are left."""
    charges = {}
    for piece in str(text or "").replace("(", " ").replace(")", " ").split(","):
        words = [w for w in piece.split() if not w.isdigit()]
        signed = [w for w in words if w[-1] in "+-" and w[:-1].isdigit()]
        counts: Counter[str] = Counter()
        for word in set(words) - set(signed):
            symbol = word.rstrip("0123456789")
            number = word[len(symbol) :] or "1"
            counts[symbol] += int(number)
        if set(counts) <= set(atomic_numbers) and counts and len(signed) == 1:
            charges[hill(counts)] = int(signed[0][-1] + signed[0][:-1])
    return charges


def check_charge(
    crystal: Crystal, found: list[Species], species: Species, charge: int, accept: bool
) -> tuple[float | None, list[str]]:
    """Compare the charge of the entry with what the other ions leave for it; refuse a difference unless accepted.

    Returns
    -------
    the implied charge (None where it cannot be judged) and warnings
    """
    implied = implied_charge(crystal, found, species)
    if implied is None:
        return None, _declared_charge(crystal, species, charge, accept)
    if abs(implied - charge) < 0.01:
        return implied, []
    listing = ", ".join(f"{n} {f}" for f, n in sorted(Counter(s.formula for s in found).items()))
    message = (
        f"{crystal.name}: the cell ({listing}) is neutral if {species.formula} has the charge {implied:+g}, "
        f"but the entry says {charge:+d}"
    )
    if not accept:
        raise BadStructure(f"{message}; correct charge, or set accept_charge_imbalance")
    return implied, [message]


def _declared_charge(crystal: Crystal, species: Species, charge: int, accept: bool) -> list[str]:
    """Compare the charge of the entry with that of the complex in _chemical_formula_moiety, where ions give none."""
    declared = _moiety_charges(crystal.block.get("_chemical_formula_moiety")).get(species.formula)
    if declared == charge:
        return []
    if declared is None:
        return [
            f"{crystal.name}: the charge {charge:+d} of {species.formula} is unchecked: other species of the cell are "
            "disordered or of unknown charge, and _chemical_formula_moiety does not give it"
        ]
    message = f"{crystal.name}: _chemical_formula_moiety gives {species.formula} the charge {declared:+d}"
    if not accept:
        raise BadStructure(f"{message}, but the entry says {charge:+d}; correct charge, or set accept_charge_imbalance")
    return [f"{message}, but the entry says {charge:+d}"]
