"""Whether two structures of one molecule are the same isomer and conformer, by donors and torsions of heavy atoms.

Differences of energy and entropy between two spin states hold a change of conformer, too, if there was one: a chelate
ring folded to the other side, an arm turned about a single bond. Torsions about bonds of the metal are left out, since
they follow the shape of the octahedron, and those along a nearly straight chain, which mean nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from ase.geometry import get_angles, get_dihedrals
from numpy.typing import NDArray

from spincross.molecule import Molecule, angle, neighbours

Array = NDArray[np.float64]

TURNED = 60.0
"""Change of a torsion (degrees) from which it is another rotamer."""
FOLDED = 10.0
"""Size (degrees), below 90, from which a torsion that changes its sign is a fold to the other side."""
TRANS, CIS = 145.0, 120.0
"""Angles at the metal (degrees) above which two donors are trans, and below which they are cis."""
STRAIGHT = 150.0
"""Bond angle (degrees) from which a torsion is not looked at."""


@dataclass(frozen=True)
class Turn:
    """A torsion that differs: four atoms, counted from 0, and its angles in both structures, degrees, -180 to 180."""

    atoms: tuple[int, ...]
    before: float
    after: float

    @property
    def change(self) -> float:
        """Return the change, degrees, the short way round."""
        return float(_short_way(self.after - self.before))

    @property
    def another_conformer(self) -> bool:
        """Tell whether the torsion was turned, or folded to the other side."""
        low, high = sorted((self.before, self.after))
        return abs(self.change) > TURNED or -90.0 < low < -FOLDED < FOLDED < high < 90.0


def turns(first: Molecule, second: Molecule, metal: str | None) -> list[Turn]:
    """Return the torsions by which the second structure is another conformer, the largest change first.

    Parameters
    ----------
    first, second : the same molecule, atoms in the same order; the bonds are those of the first
    metal : about whose bonds no torsion is looked at
    """
    chains = np.array(list(_chains(first, metal)), dtype=int).reshape(-1, 4)
    chains = chains[_bent(_steps(first, chains)) & _bent(_steps(second, chains))]
    angles = (_short_way(get_dihedrals(*_steps(molecule, chains))).tolist() for molecule in (first, second))
    found = (Turn(tuple(atoms), *pair) for atoms, *pair in zip(chains.tolist(), *angles, strict=True))
    return sorted((t for t in found if t.another_conformer), key=lambda t: -abs(t.change))


def warnings(low: Molecule, high: Molecule, metal: str | None) -> list[str]:
    """Return one sentence where structures of LS and HS, atoms in the same order, are different conformers."""
    found = turns(low, high, metal)
    if not found:
        return []
    largest = found[0]
    names = "-".join(f"{low.symbols[k]}{k + 1}" for k in largest.atoms)
    return [
        f"LS and HS are different conformers (the torsion {names} is {largest.before:.0f} degrees in LS and "
        f"{largest.after:.0f} in HS): energies and entropies between them hold that change, too; start both from one"
    ]


def other_isomer(low: Molecule, high: Molecule, metal: str | None) -> str | None:
    """Return how the donors of the metal are arranged differently in LS and HS, atoms in the same order, or None.

    Two donors that are trans (angle above TRANS) in one structure are cis (below CIS) in the other.
    """
    for centre in [k for k, symbol in enumerate(low.symbols) if symbol == metal]:
        donors = sorted(neighbours(low)[centre])
        for first, second in combinations(donors, 2):
            angles = [angle(m.positions, first, centre, second) for m in (low, high)]
            if max(angles) > TRANS and min(angles) < CIS:
                names = "-".join(f"{low.symbols[k]}{k + 1}" for k in (first, centre, second))
                return f"the angle {names} is {angles[0]:.0f} degrees in LS and {angles[1]:.0f} in HS"
    return None


def _chains(molecule: Molecule, metal: str | None) -> Iterator[tuple[int, int, int, int]]:
    """Yield every chain of four bonded heavy atoms, once, with no metal in the middle."""
    near = neighbours(molecule)
    heavy = {k for k, symbol in enumerate(molecule.symbols) if symbol != "H"}
    middle = {k for k in heavy if molecule.symbols[k] != metal}
    for second in sorted(middle):
        for third in sorted(k for k in near[second] & middle if k > second):
            for first in sorted(near[second] & heavy - {third}):
                yield from ((first, second, third, last) for last in sorted(near[third] & heavy - {first, second}))


def _steps(molecule: Molecule, chains: NDArray[np.int_]) -> Array:
    """Return the three steps (3, n, 3) along chains (n, 4)."""
    return np.asarray(np.diff(molecule.positions[chains], axis=1).transpose(1, 0, 2))


def _bent(steps: Array) -> NDArray[np.bool_]:
    """Tell of chains whether neither angle is nearly straight."""
    first, axis, last = steps
    return np.asarray((get_angles(-first, axis) < STRAIGHT) & (get_angles(-axis, last) < STRAIGHT))


def _short_way(angle: Any) -> Any:
    """Return angles between -180 and 180 degrees."""
    return (angle + 180.0) % 360.0 - 180.0
