r"""Modes inside the noise floor of a Hessian: a larger step and an energy scan decide their sign.

The floor of a Hessian by finite differences is gradient noise over the step, that of an analytic one on a CPU a grid
that stands still. Along one mode e gradients can be taken a larger step apart,

.. math:: \lambda = \frac{e^T M^{-1/2} (g_+ - g_-)}{2 Q}, \qquad E(Q) = E_0 + \tfrac12 \lambda Q^2 + b Q^4,

with :math:`x = x_0 \pm M^{-1/2} e\, Q`: the first from gradients at the second step, the other fitted to the even part
of the energies at that step and beyond. Gradients have the grid response, so both routes see one integration grid: it
does not turn with the molecule, and they would agree on its noise. Therefore all of this happens on a finer grid than
that of the Hessian. Where both agree on the sign, and the harmonic part of the scan, lambda Q^2 / 2 at the largest
shift, exceeds the noise of the energy, the mode is settled; else it stays undetermined. Its wavenumber stays uncertain
in any case. The gradients at every point serve a check: energies that do not follow them belong to another state, or to
a curve that is no quartic, and leave the mode undetermined, too. A totally symmetric mode keeps the point group; along
one that breaks it both ways are the same, and one is computed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spincross import pointgroup
from spincross.displacements import SURFACE_TOLERANCE, Point, Surface
from spincross.levels import Level
from spincross.molecule import Molecule
from spincross.units import AMU_TO_ELECTRON_MASS, BOHR_TO_ANGSTROM, HARTREE_TO_PER_CM
from spincross.vibrations import wavenumbers

Array = NDArray[np.float64]

SHIFTS = (0.03, 0.1, 0.2)
"""Displacements (bohr) of the atom that moves most; the second step is the first, the scan has all."""
ENERGY_NOISE = 1e-6
"""Smallest harmonic part of a scan (Eh) that is no noise of the integration grid. Along rotations of formaldehyde
(PBE0/def2-SVP), where it should be zero, it is up to 1.4e-6 at grid 3 and 1e-7 at grid 5; large molecules have more."""
FINER = 2
"""Grid levels above that of the Hessian on which modes are settled: takes a factor of ten off the noise (see above),
and what it costs, some three times as long per gradient, falls on a few points only."""
FINEST = 9
"""PySCF's finest grid level."""
BEYOND_QUARTIC = 0.01
"""Part of the energy along a scan that a quartic may miss: the next even term is smaller by the square of the shift
over a bond length, (0.2 bohr / 2 bohr)^2."""


@dataclass(frozen=True)
class Settled:
    """What a second step and a scan found for one mode.

    Parameters
    ----------
    mode : index
    second_step, scan : wavenumbers, cm-1, from gradients and from energies; imaginary ones negative
    coordinates, energies : of the scan, me^1/2 bohr and Eh, ascending, Q = 0 included
    failure : why the scan says nothing, if so
    """

    mode: int
    second_step: float
    scan: float
    coordinates: Array
    energies: Array
    failure: str = ""

    @property
    def harmonic(self) -> float:
        """Harmonic part of the scan at its largest shift, lambda Q^2 / 2, Eh; negative for an imaginary wavenumber."""
        return float(np.sign(self.scan) * (self.scan / HARTREE_TO_PER_CM * self.coordinates[-1]) ** 2 / 2)

    @property
    def verdict(self) -> str:
        """`real`, `imaginary`, or `undetermined`: no curve, routes that disagree, a harmonic part that may be noise."""
        if self.failure or abs(self.harmonic) < ENERGY_NOISE or np.sign(self.second_step) != np.sign(self.scan):
            return "undetermined"
        return "real" if self.scan > 0 else "imaginary"

    def facts(self, wavenumber: float) -> dict[str, Any]:
        """Return everything for a result file, beside the wavenumber (cm-1) of the Hessian."""
        return {
            "mode_index": self.mode,
            "wavenumber_per_cm": wavenumber,
            "second_step_wavenumber_per_cm": self.second_step,
            "scan_wavenumber_per_cm": self.scan,
            "scan_q_amu_half_angstrom": self.coordinates / np.sqrt(AMU_TO_ELECTRON_MASS) * BOHR_TO_ANGSTROM,
            "scan_energy_hartree": self.energies,
            "scan_harmonic_hartree": self.harmonic,
            "verdict": self.verdict,
            "failure": self.failure,
        }


def finer(surface: Surface) -> Surface:
    """Return the surface on which modes are settled: the same with FINER grid levels more, at most FINEST."""
    return replace(surface, level=finer_level(surface.level))


def finer_level(level: Level) -> Level:
    """Return the level of that surface."""
    return replace(level, grid_level=min(level.grid_level + FINER, FINEST))


def settle(molecule: Molecule, mode: Array, index: int, point: Callable[[Molecule, str], Point]) -> Settled:
    """Probe one mass-weighted unit mode (3N,) of an irrep at larger steps.

    Parameters
    ----------
    molecule : the undisplaced geometry, in its point group
    point : computes a geometry on the finer grid, kept by its name; the undisplaced one, too
    """
    breaking = breaks_group(molecule, mode)
    group = "C1" if breaking else molecule.point_group
    direction = mode / np.sqrt(np.repeat(molecule.masses, 3) * AMU_TO_ELECTRON_MASS)
    largest = np.linalg.norm(direction.reshape(-1, 3), axis=1).max()
    steps = np.array([shift / largest for shift in SHIFTS])

    def at(number: int, sign: int) -> tuple[float, float]:
        """Return energy and slope at one shift, Eh and Eh/(me^1/2 bohr)."""
        moved = molecule.at(molecule.positions + sign * steps[number] * direction.reshape(-1, 3), group)
        found = point(moved, f"mode_{index:04d}_{number}{'plus' if sign > 0 else 'minus'}")
        return found.energy, float(direction @ found.gradient.reshape(-1))

    def both(number: int) -> tuple[tuple[float, float], tuple[float, float]]:
        """Return energies and slopes of one shift, forwards and backwards."""
        energy, slope = at(number, 1)
        if not breaking:
            return (energy, slope), at(number, -1)
        energy, slope = energy - steps[number] * centre[1], slope - centre[1]  # the noise of an SCF without the group
        return (energy, slope), (energy, -slope)

    still = point(molecule, "undisplaced")
    centre = still.energy, float(direction @ still.gradient.reshape(-1))
    pairs = [both(number) for number in range(len(steps))]
    centre = (centre[0], 0.0) if breaking else centre
    energies, slopes = np.array([*(b for _, b in reversed(pairs)), centre, *(a for a, _ in pairs)]).T
    coordinates = np.array([*-steps[::-1], 0.0, *steps])
    middle = len(steps)
    curvature = (slopes[middle + 1] - slopes[middle - 1]) / (2 * steps[0])
    even = (energies[middle + 1 :] + energies[middle - 1 :: -1]) / 2 - energies[middle]
    table = np.stack([steps**2 / 2, steps**4], axis=1)
    fitted = np.linalg.lstsq(table / table[-1], even, rcond=None)[0][0] / table[-1, 0]
    waves = wavenumbers(np.array([curvature, fitted]))
    failure = off_the_curve(coordinates, energies, slopes)
    return Settled(index, float(waves[0]), float(waves[1]), coordinates, energies, failure)


def breaks_group(molecule: Molecule, mode: Array) -> bool:
    """Tell whether an operation of the point group turns a mode (3N,) of one irrep round."""
    matrices = pointgroup.representation(molecule.numbers, molecule.positions, molecule.point_group)
    return any(float(mode @ matrix @ mode) < 0 for matrix in matrices)


def off_the_curve(coordinates: Array, energies: Array, slopes: Array) -> str:
    """Compare energies (Eh) along a mode with the integral of a cubic fitted to the slopes there, dE/dQ.

    Return a sentence if one misses it by more than SURFACE_TOLERANCE and BEYOND_QUARTIC of the largest rise together.
    """
    rises = np.polynomial.Polynomial.fit(coordinates, slopes, 3).integ(lbnd=0.0)(coordinates)
    misses = np.abs(energies - energies[len(energies) // 2] - rises)
    worst, allowed = int(np.argmax(misses)), SURFACE_TOLERANCE + BEYOND_QUARTIC * float(np.abs(rises).max())
    if misses[worst] <= allowed:
        return ""
    return (
        f"point {worst + 1} of {len(energies)} of its scan lies {misses[worst]:.1e} Eh off the curve of its slopes "
        f"(allowed {allowed:.1e}): the energy is no quartic, or an SCF fell into another electronic state"
    )
