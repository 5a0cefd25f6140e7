r"""The mode that breaks the parent group: find it, scan the energy along it both ways, displace.

Along a mass-weighted unit mode e, :math:`x(Q) = x_0 + M^{-1/2} e\, Q` with the order parameter Q in amu^1/2 angstrom.
For a mode of a non-totally-symmetric irrep :math:`E(Q) = E(-Q)`, so a double well
:math:`E = E_0 + a Q^2 + b Q^4` with a < 0 has its minima at :math:`Q^2 = -a / 2b`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spincross import pointgroup
from spincross.errors import UnexpectedImaginaryMode
from spincross.molecule import Molecule
from spincross.units import ANGSTROM_TO_BOHR, HARTREE_TO_KJ_PER_MOL
from spincross.vibrations import Vibrations

Array = NDArray[np.float64]

LARGEST_SHIFT = 0.15
"""Displacement (angstrom) of the atom that moves most at the first point of a scan."""
MOST_HALVINGS = 5
"""How often the first displacement is halved while it leads upwards: wells of near-degenerate states are narrow."""
FITTED_REACH = 3.0
"""Points up to this many times |Q| of the lowest one enter the fit of the well; walls farther out are not quartic."""


@dataclass(frozen=True)
class Scan:
    """Energies (Eh) along Q (amu^1/2 angstrom), ascending, Q = 0 included, and the names of the points."""

    coordinates: Array
    energies: Array
    names: tuple[str, ...] = ()

    @property
    def lowest(self) -> float:
        """|Q| of the lowest point."""
        return float(abs(self.coordinates[self.energies.argmin()]))

    @property
    def start(self) -> int:
        """Index of the lowest point with Q > 0, from which the molecule relaxes."""
        return int(np.where(self.coordinates > 0, self.energies, np.inf).argmin())

    @property
    def asymmetry(self) -> float:
        """Return the largest |E(Q) - E(-Q)|, Eh: zero by symmetry."""
        return float(np.abs(self.energies - self.energies[::-1]).max())

    def double_well(self) -> tuple[float, float]:
        """Return |Q| at the minimum and its depth (kJ/mol, negative) from a fit of a Q^2 + b Q^4; zeros if none."""
        rise = self.energies - self.energies[len(self.energies) // 2]
        near = np.abs(self.coordinates) <= FITTED_REACH * (self.lowest or np.inf) * (1 + 1e-9)
        squares, rise = self.coordinates[near] ** 2, rise[near]
        (a, b), *_ = np.linalg.lstsq(np.stack([squares, squares**2], axis=1), rise, rcond=None)
        if a >= 0 or b <= 0:
            return 0.0, 0.0
        return float(np.sqrt(-a / (2 * b))), float(-(a**2) / (4 * b) * HARTREE_TO_KJ_PER_MOL)


def breaking_mode(vibrations: Vibrations, group: str) -> int | None:
    """Return the index of the lowest imaginary mode that breaks the group, None if all modes are real.

    Raises
    ------
    UnexpectedImaginaryMode
        if an imaginary mode is totally symmetric: the geometry is no minimum within its own group
    """
    totally_symmetric = pointgroup.irreps(group)[0]
    for index in vibrations.imaginary:
        if vibrations.irreps[index] == totally_symmetric:
            raise UnexpectedImaginaryMode(
                f"mode {index + 1} at {vibrations.wavenumbers[index]:.1f} cm-1 is imaginary and totally symmetric "
                f"({totally_symmetric} in {group}): the parent geometry is no minimum in its own group; "
                "displace it along this mode and optimise again"
            )
    return min(vibrations.imaginary) if vibrations.imaginary else None


def require_minimum(vibrations: Vibrations, name: str) -> None:
    """Raise UnexpectedImaginaryMode, with the wavenumbers, if a state that must be a minimum is none."""
    if vibrations.imaginary:
        values = ", ".join(f"{vibrations.wavenumbers[i]:.1f} ({vibrations.irreps[i]})" for i in vibrations.imaginary)
        raise UnexpectedImaginaryMode(
            f"{name} has imaginary modes at {values} cm-1 below the noise floor of {vibrations.noise_floor:.1f} cm-1; "
            "it is no minimum and has no entropy"
        )


def displaced(molecule: Molecule, mode: Array, coordinate: float) -> Molecule:
    """Move along a mass-weighted unit mode (3N,) by Q in amu^1/2 angstrom; the group is broken to C1."""
    shift = mode / np.sqrt(np.repeat(molecule.masses, 3)) * coordinate * ANGSTROM_TO_BOHR
    return molecule.at(molecule.positions + shift.reshape(-1, 3), "C1")


def animation(molecule: Molecule, mode: Array, amplitude: float, frames: int = 24) -> list[Array]:
    """Return positions (N, 3), bohr, over one period of Q = amplitude sin(phase); amplitude in amu^1/2 angstrom."""
    phases = 2 * np.pi * np.arange(frames) / frames
    return [displaced(molecule, mode, amplitude * float(np.sin(phase))).positions for phase in phases]


def first_coordinate(molecule: Molecule, mode: Array) -> float:
    """Return the Q (amu^1/2 angstrom) at which the atom that moves most has moved by LARGEST_SHIFT."""
    cartesian = (mode / np.sqrt(np.repeat(molecule.masses, 3))).reshape(-1, 3)
    return float(LARGEST_SHIFT / np.linalg.norm(cartesian, axis=1).max())


def scan(molecule: Molecule, mode: Array, energy: Callable[[Molecule, str], float], points: int) -> Scan:
    """Compute E(Q) at Q = 0 and both ways, at least `points` on each side.

    The first displacement is halved until it leads downwards; multiples of the last one follow.

    Parameters
    ----------
    energy : energy (Eh) of a geometry without symmetry, kept by its name: centre, plus_0, minus_0, plus_1, ...
    """

    def at(side: str, number: int, q: float) -> float:
        """Return the energy (Eh) at Q, kept by its side and number."""
        return energy(displaced(molecule, mode, q), f"{side}_{number}")

    centre = energy(molecule.at(molecule.positions, "C1"), "centre")
    forward = [first_coordinate(molecule, mode)]
    up = [at("plus", 0, forward[0])]
    while up[-1] >= centre and len(forward) <= MOST_HALVINGS:
        forward.append(forward[-1] / 2)
        up.append(at("plus", len(up), forward[-1]))
    step, missing = forward[-1], points - len(forward)
    farther = [q for q in (step * (k + 2) for k in range(points)) if q not in forward]
    for q in farther[: max(missing, 0)]:
        forward.append(q)
        up.append(at("plus", len(up), q))
    down = [at("minus", number, -q) for number, q in enumerate(forward)]
    names = ["centre", *(f"{side}_{k}" for side in ("plus", "minus") for k in range(len(forward)))]
    coordinates = np.array([0.0, *forward, *(-q for q in forward)])
    order = np.argsort(coordinates)
    return Scan(coordinates[order], np.array([centre, *up, *down])[order], tuple(names[k] for k in order))


def distortion(parent: Molecule, relaxed: Molecule) -> Array:
    """Return the mass-weighted distortion (3N,), amu^1/2 bohr, parent -> relaxed; both share atoms and order."""
    moved = pointgroup.aligned(relaxed.positions, parent.positions, parent.masses)
    return np.asarray(np.repeat(np.sqrt(parent.masses), 3) * (moved - parent.positions).reshape(-1))


def distortion_overlap(parent: Molecule, relaxed: Molecule, mode: Array) -> float:
    """Return |overlap| of the distortion with a mass-weighted unit mode (3N,)."""
    change = distortion(parent, relaxed)
    return float(abs(change @ mode) / np.linalg.norm(change))


def breaking_share(parent: Molecule, relaxed: Molecule) -> float:
    """Return the share of the (squared) distortion that is not totally symmetric in the parent's group."""
    change = distortion(parent, relaxed)
    kept = pointgroup.symmetrise_vectors(parent.numbers, parent.positions, change.reshape(-1, 3), parent.point_group)
    return float(1.0 - np.sum(kept**2) / (change @ change))
