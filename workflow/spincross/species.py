"""The connected species of a crystal, each whole, and the symmetry of the place each one holds.

Atoms are joined where they are closer than 1.25 times the sum of their covalent radii (across cell edges, too), heavy
alkali ions to nothing, and a species is unwrapped by walking along its bonds. A walk that comes back to an atom in
another cell has found an extended network. Lengths are in angstrom.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
import spglib
from ase import Atoms
from ase.data import atomic_numbers, covalent_radii
from ase.neighborlist import neighbor_list
from numpy.typing import NDArray

from spincross.cif import Crystal, quiet
from spincross.errors import BadStructure
from spincross.molecule import Molecule

Array = NDArray[np.float64]

IONS = {"Na", "K", "Rb", "Cs"}
"""Metals that are ions of their own, whatever lies near."""
SITE_TOLERANCE = 0.1
"""Largest distance (angstrom) between an atom and its image under an operation of the site symmetry."""
SCHOENFLIES = {
    "1": "C1", "-1": "Ci", "2": "C2", "m": "Cs", "2/m": "C2h", "222": "D2", "mm2": "C2v", "mmm": "D2h",
    "4": "C4", "-4": "S4", "4/m": "C4h", "422": "D4", "4mm": "C4v", "-42m": "D2d", "4/mmm": "D4h",
    "3": "C3", "-3": "S6", "32": "D3", "3m": "C3v", "-3m": "D3d",
    "6": "C6", "-6": "C3h", "6/m": "C6h", "622": "D6", "6mm": "C6v", "-6m2": "D3h", "6/mmm": "D6h",
    "23": "T", "m-3": "Th", "432": "O", "-43m": "Td", "m-3m": "Oh",
}  # fmt: skip
"""Schoenflies symbol of each crystallographic point group."""


@dataclass(frozen=True)
class Species:
    """One connected species: atoms of the cell and the cell shift (n, 3) of each; `network` if it never ends."""

    atoms: list[int]
    shifts: Array
    formula: str
    network: bool


def find_species(crystal: Crystal) -> list[Species]:
    """Split the cell into connected species, each unwrapped across the cell edges."""
    scaled = {s: 0.0 if s in IONS else 1.25 * float(covalent_radii[atomic_numbers[s]]) for s in set(crystal.symbols)}
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


def choose_species(
    crystal: Crystal, found: list[Species], metal: str | None, formula: str | None, site: str | None = None
) -> Species:
    """Return the species with the metal (or the asked formula, or the only one); BadStructure if there is none.

    Parameters
    ----------
    site : label of an atom that it holds, where several independent ones are alike
    """
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
    if site is not None:
        labels = sorted({crystal.labels[k] for s in holding for k in s.atoms if metal in (None, crystal.symbols[k])})
        holding = [s for s in holding if site in {crystal.labels[k] for k in s.atoms}]
        if not holding:
            raise BadStructure(
                f"{crystal.name}: no complex holds the atom {site}; correct metal_site ({', '.join(labels)})"
            )
    if holding[0].network:
        raise BadStructure(
            f"{crystal.name}: the {metal or kinds[0]} atoms belong to an extended network, not to a molecule; "
            "use a molecular crystal"
        )
    return holding[0]


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
