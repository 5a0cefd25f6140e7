"""The molecule: atoms, positions, charge and point group; bonds and fragments."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from ase.data import atomic_masses_iupac2016, atomic_numbers, covalent_radii
from ase.geometry import get_angles
from numpy.typing import NDArray

from spincross import pointgroup
from spincross.errors import BadStructure
from spincross.units import ANGSTROM_TO_BOHR, BOHR_TO_ANGSTROM

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Molecule:
    """Atoms of one molecule.

    Parameters
    ----------
    symbols : N element symbols
    positions : (N, 3), bohr; axis of the point group along z through the origin
    charge : total charge
    point_group : the group imposed on the geometry (C1, C2, Cs, Ci)
    """

    symbols: tuple[str, ...]
    positions: Array
    charge: int = 0
    point_group: str = "C1"

    def __post_init__(self) -> None:
        """Check shapes, elements and group."""
        if self.positions.shape != (len(self.symbols), 3):
            raise BadStructure(f"positions have shape {self.positions.shape}, expected ({len(self.symbols)}, 3)")
        unknown = sorted(set(self.symbols) - (set(atomic_numbers) - {"X"}))  # ASE's X is a dummy atom
        if unknown:
            raise BadStructure(f"unknown element symbols {', '.join(unknown)}; correct the structure file")
        pointgroup.operations(self.point_group)

    @property
    def numbers(self) -> NDArray[np.int_]:
        """(N,) atomic numbers."""
        return np.array([atomic_numbers[s] for s in self.symbols])

    @property
    def masses(self) -> Array:
        """(N,) isotope-averaged masses, amu (IUPAC 2016)."""
        return np.asarray(atomic_masses_iupac2016)[self.numbers]

    @property
    def electrons(self) -> int:
        """Number of electrons."""
        return int(self.numbers.sum()) - self.charge

    @property
    def formula(self) -> str:
        """Formula in Hill order."""
        return hill(Counter(self.symbols))

    def at(self, positions: Array, point_group: str | None = None) -> Molecule:
        """Return the same molecule at other positions (N, 3) in bohr."""
        return replace(self, positions=np.array(positions), point_group=point_group or self.point_group)

    def symmetrised(self) -> Molecule:
        """Return the molecule with its group fulfilled to the last digit."""
        return self.at(pointgroup.symmetrise_vectors(self.numbers, self.positions, self.positions, self.point_group))


def hill(counts: Counter[str]) -> str:
    """Return the formula of some numbers of elements in Hill order."""
    first = [s for s in ("C", "H") if s in counts] if "C" in counts else []
    ordered = first + sorted(set(counts) - set(first))
    return "".join(s + (str(counts[s]) if counts[s] > 1 else "") for s in ordered)


def angle(positions: Array, first: int, apex: int, last: int) -> float:
    """Return the angle at an atom between two others of (N, 3) positions, degrees."""
    arms = positions[[first, last]] - positions[apex]
    return float(get_angles(arms[[0]], arms[[1]])[0])


def bonds(symbols: tuple[str, ...], positions: Array, scale: float = 1.25) -> list[tuple[int, int]]:
    """Return atom pairs closer than `scale` times the sum of covalent radii; positions (N, 3) in bohr."""
    radii = np.array([covalent_radii[atomic_numbers[s]] for s in symbols]) * ANGSTROM_TO_BOHR
    distances = np.linalg.norm(positions[:, None] - positions[None], axis=2)
    close = distances < scale * (radii[:, None] + radii[None])
    return [(int(i), int(j)) for i, j in zip(*np.nonzero(np.triu(close, 1)), strict=True)]


def neighbours(molecule: Molecule) -> list[set[int]]:
    """Return the bonded atoms of each atom (see `bonds`)."""
    near: list[set[int]] = [set() for _ in molecule.symbols]
    for i, j in bonds(molecule.symbols, molecule.positions):
        near[i].add(j)
        near[j].add(i)
    return near


def ncs_groups(molecule: Molecule, metal: str | None) -> list[tuple[int, int, int]]:
    """Return (N, C, S) of every thiocyanate that its nitrogen binds to the first atom of the metal."""
    if metal is None or metal not in molecule.symbols:
        return []
    groups: list[tuple[int, int, int]] = []
    near, centre = neighbours(molecule), molecule.symbols.index(metal)
    for donor in sorted(k for k in near[centre] if molecule.symbols[k] == "N"):
        for carbon in sorted(near[donor] - {centre}):
            ends = near[carbon] - {donor}
            if molecule.symbols[carbon] == "C" and [molecule.symbols[e] for e in ends] == ["S"]:
                groups.append((donor, carbon, next(iter(ends))))
    return groups


def metal_bonds(molecule: Molecule, metal: str | None) -> list[dict[str, Any]]:
    """List the bonds of every metal atom: atoms [metal, donor], their symbols, length in angstrom."""
    found: list[dict[str, Any]] = []
    for i, j in bonds(molecule.symbols, molecule.positions):
        for centre, donor in ((i, j), (j, i)):
            if metal is not None and molecule.symbols[centre] == metal:
                length = float(np.linalg.norm(molecule.positions[i] - molecule.positions[j])) * BOHR_TO_ANGSTROM
                symbols = [molecule.symbols[centre], molecule.symbols[donor]]
                found.append({"atoms": [centre, donor], "symbols": symbols, "length": length})
    return found
