r"""The mode that breaks the parent group: find it, scan the energy along it both ways, displace.

Along a mass-weighted unit mode e, :math:`x(Q) = x_0 + M^{-1/2} e\, Q` with the order parameter Q in amu^1/2 angstrom.
For a mode of a non-totally-symmetric irrep :math:`E(Q) = E(-Q)`, so one side is computed, and a point of the other; and
a double well :math:`E = E_0 + a Q^2 + b Q^4` with a < 0 has its minima at :math:`Q^2 = -a / 2b`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from spincross import pointgroup
from spincross.errors import NotConverged, UnexpectedImaginaryMode, WrongState
from spincross.molecule import Molecule
from spincross.units import AMU_TO_ELECTRON_MASS, ANGSTROM_TO_BOHR, HARTREE_TO_KJ_PER_MOL, HARTREE_TO_PER_CM
from spincross.vibrations import Vibrations

Array = NDArray[np.float64]

LARGEST_SHIFT = 0.15
"""Largest displacement (angstrom) of the atom that moves most at the first point of a scan."""
WIDEST = 0.6
"""Displacement of that atom (angstrom) up to which the scan follows an energy that still falls."""
FIRST_DROP = 1e-4
"""Energy (Eh) that a harmonic curve would lose at the first point of a scan: a hundred times the noise. Wells of
near-degenerate states are as shallow and narrow; and at 0.15 angstrom, along a steep mode, no SCF starts near."""
MOST_HALVINGS = 5
"""How often the first displacement is halved while it leads upwards, or doubled while it leads down."""
LOWER = 1e-6
"""Energy (Eh) by which a point must lie below another to be lower: of one surface, on one grid, less is noise."""
SAME_ENERGY = 1e-5
"""Largest difference (Eh) between Q = 0 solved without the group and the parent solved in it."""
FITTED_REACH = 3.0
"""Points up to this many times |Q| of the lowest one enter the fit of the well; walls farther out are not quartic."""


@dataclass(frozen=True)
class Scan:
    """Energies (Eh) along Q (amu^1/2 angstrom), ascending, Q = 0 included; E(-Q) is E(Q).

    Parameters
    ----------
    names : of the points; empty for Q < 0
    image : E(-Q) at `start`, computed from the mirror image of its orbitals
    again : E(0) from the orbitals of the innermost point with Q > 0
    failures : sentences on points that were left out
    """

    coordinates: Array
    energies: Array
    names: tuple[str, ...] = ()
    image: float | None = None
    again: float | None = None
    failures: tuple[str, ...] = ()

    @property
    def centre(self) -> float:
        """E(0) from the orbitals of the parent, Eh."""
        return float(self.energies[len(self.energies) // 2])

    @property
    def leads_down(self) -> bool:
        """Whether a point lies below Q = 0."""
        return bool(self.energies.min() < self.centre - LOWER)

    @property
    def lowest(self) -> float:
        """|Q| of the lowest point."""
        return float(abs(self.coordinates[self.energies.argmin()]))

    @property
    def still_falls(self) -> bool:
        """Whether the farthest point is the lowest, so that the well reaches beyond the scan."""
        return self.leads_down and self.lowest == float(self.coordinates.max())

    @property
    def start(self) -> int:
        """Index of the point with Q > 0 from which the molecule relaxes: the lowest one.

        If none lies below Q = 0 it is the farthest: near Q = 0 forces are small where no minimum is.
        """
        if not self.leads_down:
            return len(self.coordinates) - 1
        return int(np.where(self.coordinates > 0, self.energies, np.inf).argmin())

    @property
    def asymmetry(self) -> float:
        """Return the largest |E(Q) - E(-Q)|, Eh, of pairs that were computed both: zero by symmetry."""
        if self.image is not None:
            return abs(self.image - float(self.energies[self.start]))
        return float(np.abs(self.energies - self.energies[::-1]).max())

    def doubts(self, parent: float) -> list[str]:
        """Return a sentence for everything that does not fit a saddle at Q = 0.

        Parameters
        ----------
        parent : energy (Eh) of Q = 0 as it was optimised in its group
        """
        found, ahead = list(self.failures), self.coordinates > 0
        if not self.leads_down:
            rise = (self.energies[ahead].min() - self.centre) * HARTREE_TO_KJ_PER_MOL
            found.append(
                f"no point of the scan along the imaginary mode lies below Q = 0 (the lowest of them by {rise:.3f} "
                f"kJ/mol above): the well is narrower than Q = {self.coordinates[ahead].min():.3f} amu^1/2 angstrom, "
                "the points are in another electronic state, or there is no well"
            )
        if self.still_falls:
            found.append(
                f"the energy still falls at the end of the scan, Q = {self.lowest:.3f} amu^1/2 angstrom: the well is "
                "wider, and deeper than its lowest point"
            )
        jump = 0.0 if self.again is None else self.again - self.centre
        if jump < -LOWER or jump > SAME_ENERGY:
            found.append(
                f"at Q = 0 the orbitals of the innermost point lead to a state {'lower' if jump < 0 else 'higher'} by "
                f"{abs(jump) * HARTREE_TO_KJ_PER_MOL:.3f} kJ/mol than the parent's do: E(Q) jumps there"
            )
        if self.asymmetry > SAME_ENERGY:
            found.append(
                f"E(Q) and E(-Q), the same by symmetry, differ by {self.asymmetry * HARTREE_TO_KJ_PER_MOL:.3f} kJ/mol: "
                "one of them is in another electronic state"
            )
        if abs(self.centre - parent) > SAME_ENERGY:
            away, higher = (self.centre - parent) * HARTREE_TO_KJ_PER_MOL, self.centre > parent
            found.append(
                f"solved without symmetry the parent's geometry lies {abs(away):.3f} kJ/mol "
                + ("above its energy in the group: the scan began in a higher state" if higher else "")
                + ("" if higher else "below its energy in the group: the parent is not in its lowest state")
            )
        return found

    def double_well(self) -> tuple[float, float]:
        """Return |Q| at the minimum and its depth (kJ/mol, negative) from a fit of a Q^2 + b Q^4; zeros if none.

        The lowest point where the fit has no minimum, has one above that point, or the energy still falls at the end.
        """
        rise = self.energies - self.energies[len(self.energies) // 2]
        point = (self.lowest, float(rise.min()) * HARTREE_TO_KJ_PER_MOL) if self.leads_down else (0.0, 0.0)
        near = np.abs(self.coordinates) <= FITTED_REACH * (self.lowest or np.inf) * (1 + 1e-9)
        squares, rise = self.coordinates[near] ** 2, rise[near]
        (a, b), *_ = np.linalg.lstsq(np.stack([squares, squares**2], axis=1), rise, rcond=None)
        if self.still_falls or a >= 0 or b <= 0 or -(a**2) / (4 * b) > rise.min():
            return point
        return float(np.sqrt(-a / (2 * b))), float(-(a**2) / (4 * b) * HARTREE_TO_KJ_PER_MOL)


def breaking_mode(vibrations: Vibrations, group: str, complex_id: str) -> int | None:
    """Return the index of the lowest imaginary mode of HS that breaks the group, None if all modes are real.

    Raises
    ------
    UnexpectedImaginaryMode
        if an imaginary mode is totally symmetric: the geometry is no minimum within its own group
    """
    totally_symmetric = pointgroup.irreps(group)[0]
    for index in vibrations.imaginary:
        if vibrations.irreps[index] == totally_symmetric:
            raise UnexpectedImaginaryMode(
                f"mode {index + 1} at {_named(vibrations, index)} is imaginary and totally symmetric in {group}: the "
                "parent geometry is no minimum in its own group" + _way_on(vibrations, complex_id, "HS", group)
            )
    return min(vibrations.imaginary) if vibrations.imaginary else None


def require_minimum(vibrations: Vibrations, complex_id: str, state: str, group: str) -> None:
    """Raise UnexpectedImaginaryMode, with the wavenumbers, if a state that must be a minimum is none."""
    if vibrations.imaginary:
        values = "; ".join(_named(vibrations, i) for i in vibrations.imaginary)
        raise UnexpectedImaginaryMode(
            f"{complex_id} {state} has imaginary modes at {values} (noise floor {vibrations.noise_floor:.1f} cm-1); "
            "it is no minimum and has no entropy" + _way_on(vibrations, complex_id, state, group)
        )


def _named(vibrations: Vibrations, index: int) -> str:
    """Return wavenumber and irrep of an imaginary mode as text; those inside the noise are imaginary by their scan."""
    text = f"{vibrations.wavenumbers[index]:.1f} cm-1 ({vibrations.irreps[index]})"
    inside = vibrations.wavenumbers[index] >= -vibrations.noise_floor
    return f"{text}, inside the noise and imaginary by its scan" if inside else text


def _way_on(vibrations: Vibrations, complex_id: str, state: str, group: str) -> str:
    """Say what leads on from an imaginary mode that is not the breaking of the parent group by HS."""
    if any(vibrations.irreps[i] == pointgroup.irreps(group)[0] for i in vibrations.imaginary):
        command = f"python -m spincross leave-saddle --complex {complex_id} --state {state} --group {group}"
        return f"; `{command}`, with the other options of this run, lets it start anew beside this saddle"
    return f"; {state} itself breaks {group} and needs a point_group that it keeps"


def displaced(molecule: Molecule, mode: Array, coordinate: float, group: str = "C1") -> Molecule:
    """Move along a mass-weighted unit mode (3N,) by Q in amu^1/2 angstrom; to C1, unless the mode keeps the group."""
    shift = mode / np.sqrt(np.repeat(molecule.masses, 3)) * coordinate * ANGSTROM_TO_BOHR
    return molecule.at(molecule.positions + shift.reshape(-1, 3), group)


def animation(molecule: Molecule, mode: Array, amplitude: float, frames: int = 24) -> list[Array]:
    """Return positions (N, 3), bohr, over one period of Q = amplitude sin(phase); amplitude in amu^1/2 angstrom."""
    phases = 2 * np.pi * np.arange(frames) / frames
    return [displaced(molecule, mode, amplitude * float(np.sin(phase))).positions for phase in phases]


def shifted_by(molecule: Molecule, mode: Array, shift: float) -> float:
    """Return the Q (amu^1/2 angstrom) at which the atom that moves most has moved so far (angstrom)."""
    cartesian = (mode / np.sqrt(np.repeat(molecule.masses, 3))).reshape(-1, 3)
    return float(shift / np.linalg.norm(cartesian, axis=1).max())


def first_coordinate(molecule: Molecule, mode: Array, wavenumber: float) -> float:
    """Return the Q (amu^1/2 angstrom) of the first point: FIRST_DROP on a harmonic curve, LARGEST_SHIFT at most."""
    farthest, frequency = shifted_by(molecule, mode, LARGEST_SHIFT), abs(wavenumber) / HARTREE_TO_PER_CM
    unit = np.sqrt(AMU_TO_ELECTRON_MASS) * ANGSTROM_TO_BOHR
    return float(min(farthest, np.sqrt(2 * FIRST_DROP) / max(frequency * unit, 1e-30)))


def well_wavenumber(place: float, depth: float) -> float:
    """Return the wavenumber (cm-1) of the curvature -4 depth / Q^2 at Q = 0 of a Q^2 + b Q^4, as a positive number.

    Parameters
    ----------
    place : |Q| of its minima, amu^1/2 angstrom
    depth : their depth, kJ/mol, positive
    """
    curvature = 4.0 * depth / HARTREE_TO_KJ_PER_MOL / (AMU_TO_ELECTRON_MASS * (place * ANGSTROM_TO_BOHR) ** 2)
    return float(np.sqrt(curvature)) * HARTREE_TO_PER_CM


def scan(
    molecule: Molecule, mode: Array, wavenumber: float, energy: Callable[[Molecule, str], float], points: int
) -> Scan:
    """Compute E(Q) at Q = 0 and at least `points` on one side; where the molecule relaxes from, on the other side, too.

    The first displacement is halved until it leads downwards, or doubled as long as it leads farther down; points near
    the lowest one follow, or, if that is the farthest, beyond it.

    Parameters
    ----------
    wavenumber : of the mode, cm-1
    energy : energy (Eh) of a geometry without symmetry, kept by its name: centre, plus_0, plus_1, ..., minus_1 (the
        image of plus_1), again_2 (the centre, solved from plus_2)
    """
    forward, up, numbers, failures = list[float](), list[float](), list[int](), list[str]()

    def at(q: float) -> bool:
        """Compute the energy (Eh) at Q > 0, kept by its number; a failure is none where others lead down."""
        number = len(up) + len(failures)
        try:
            value = energy(displaced(molecule, mode, q), f"plus_{number}")
        except (NotConverged, WrongState) as error:
            if not up or min(up) >= centre - LOWER:
                raise
            failures.append(f"the point at Q = {q:.3f} amu^1/2 angstrom was left out of the scan: {error}")
            return False
        up.append(value)
        forward.append(q)
        numbers.append(number)
        return True

    still = molecule.at(molecule.positions, "C1")
    centre, farthest = energy(still, "centre"), shifted_by(molecule, mode, WIDEST)
    at(first_coordinate(molecule, mode, wavenumber))
    while up[-1] >= centre - LOWER and len(up) <= MOST_HALVINGS:
        at(forward[-1] / 2)
    while up[-1] == min(up) and forward[-1] == max(forward) <= farthest / 2 and len(up) <= MOST_HALVINGS:
        if not at(forward[-1] * 2):
            break
    for q in _more(forward, up, farthest)[: max(points - len(up), 0)]:
        at(q)
    again = energy(still, f"again_{numbers[int(np.argmin(forward))]}")
    order = np.argsort(forward)
    coordinates, energies = np.array(forward)[order], np.array(up)[order]
    names = ("",) * len(order) + ("centre", *(f"plus_{numbers[k]}" for k in order))
    coordinates = np.concatenate([-coordinates[::-1], [0.0], coordinates])
    found = Scan(
        coordinates, np.concatenate([energies[::-1], [centre], energies]), names, again=again, failures=tuple(failures)
    )
    q, number = float(coordinates[found.start]), names[found.start].removeprefix("plus_")
    return replace(found, image=energy(displaced(molecule, mode, -q), f"minus_{number}"))


def _more(forward: list[float], up: list[float], farthest: float) -> list[float]:
    """Return where more points are worth most: about the lowest one, or beyond it where nothing was computed.

    None lies farther out than `farthest`; where the lowest one does, more lie between it and the centre.
    """
    lowest = forward[int(np.argmin(up))]
    steps = [*range(2, 100), *np.arange(15, 0, -2) / 16] if lowest == max(forward) else np.arange(1.0, 100.0) / 2
    places = [float(lowest * k) for k in steps if np.abs(np.array(forward) / (lowest * k) - 1.0).min() > 0.1]
    return [q for q in places if q <= farthest * (1 + 1e-9)]


def distortion(parent: Molecule, relaxed: Molecule) -> Array:
    """Return the mass-weighted distortion (3N,), amu^1/2 bohr, parent -> relaxed; both share atoms and order."""
    moved = pointgroup.aligned(relaxed.positions, parent.positions, parent.masses)
    return np.asarray(np.repeat(np.sqrt(parent.masses), 3) * (moved - parent.positions).reshape(-1))


def distortion_overlap(parent: Molecule, relaxed: Molecule, mode: Array) -> float:
    """Return |overlap| of the distortion with a mass-weighted unit mode (3N,)."""
    change = distortion(parent, relaxed)
    return float(abs(change @ mode) / np.linalg.norm(change))


def harmonic_parts(parent: Molecule, relaxed: Molecule, found: Vibrations) -> tuple[float, float]:
    """Return the energies of the distortion on the parent's Hessian, kJ/mol: within the group, breaking it.

    The first costs energy where the parent is a minimum within its group; both are estimates, exact for a small
    distortion.
    """
    along = found.modes.T @ distortion(parent, relaxed) * np.sqrt(AMU_TO_ELECTRON_MASS)
    curvatures = np.sign(found.wavenumbers) * (found.wavenumbers / HARTREE_TO_PER_CM) ** 2
    energies = 0.5 * curvatures * along**2 * HARTREE_TO_KJ_PER_MOL
    within = np.array(found.irreps) == pointgroup.irreps(parent.point_group)[0]
    return float(energies[within].sum()), float(energies[~within].sum())


def breaking_share(parent: Molecule, relaxed: Molecule) -> float:
    """Return the share of the (squared) distortion that is not totally symmetric in the parent's group."""
    change = distortion(parent, relaxed)
    kept = pointgroup.symmetrise_vectors(parent.numbers, parent.positions, change.reshape(-1, 3), parent.point_group)
    return float(1.0 - np.sum(kept**2) / (change @ change))
