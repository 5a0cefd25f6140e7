r"""Modes inside the noise floor of a Hessian: a larger step and an energy scan decide their sign.

The floor of a finite-difference Hessian is gradient noise over the step. Along one mode e the step can be larger,

.. math:: \lambda = \frac{e^T M^{-1/2} (g_+ - g_-)}{2 Q}, \qquad E(Q) = E_0 + \tfrac12 \lambda Q^2 + b Q^4,

with :math:`x = x_0 \pm M^{-1/2} e\, Q`: the first from gradients at the second step, the other fitted to the even part
of the energies at that step and beyond. Where both agree on the sign and the energy moves by more than its own noise,
the mode is settled; else it stays undetermined. Its wavenumber stays uncertain in any case.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spincross.displacements import Point
from spincross.molecule import Molecule
from spincross.units import AMU_TO_ELECTRON_MASS, BOHR_TO_ANGSTROM
from spincross.vibrations import wavenumbers

Array = NDArray[np.float64]

SHIFTS = (0.03, 0.1, 0.2)
"""Displacements (bohr) of the atom that moves most; gradients are taken at the first, energies at all."""
ENERGY_NOISE = 1e-7
"""Smallest change of the energy (Eh) along a scan that is no noise of the integration grid."""


@dataclass(frozen=True)
class Settled:
    """What a second step and a scan found for one mode.

    Parameters
    ----------
    mode : index
    second_step, scan : wavenumbers, cm-1, from gradients and from energies; imaginary ones negative
    coordinates, energies : of the scan, me^1/2 bohr and Eh, ascending, Q = 0 included
    """

    mode: int
    second_step: float
    scan: float
    coordinates: Array
    energies: Array

    @property
    def verdict(self) -> str:
        """`real`, `imaginary`, or `undetermined` where the routes disagree or the energy hardly moves."""
        moved = np.abs(self.energies - self.energies[len(self.energies) // 2]).max()
        if moved < ENERGY_NOISE or np.sign(self.second_step) != np.sign(self.scan):
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
            "verdict": self.verdict,
        }


def settle(
    molecule: Molecule, mode: Array, index: int, energy: float, point: Callable[[Molecule, str], Point]
) -> Settled:
    """Probe one mass-weighted unit mode (3N,) at larger steps.

    Parameters
    ----------
    energy : of the undisplaced geometry, Eh
    point : computes a displaced geometry, kept by its name
    """
    direction = mode / np.sqrt(np.repeat(molecule.masses, 3) * AMU_TO_ELECTRON_MASS)
    largest = np.linalg.norm(direction.reshape(-1, 3), axis=1).max()
    steps = np.array([shift / largest for shift in SHIFTS])

    def both(number: int) -> list[Point]:
        moved = [molecule.positions + sign * steps[number] * direction.reshape(-1, 3) for sign in (1, -1)]
        names = (f"mode_{index:04d}_{number}{side}" for side in ("plus", "minus"))
        return [point(molecule.at(x, "C1"), name) for x, name in zip(moved, names, strict=True)]

    pairs = [both(number) for number in range(len(steps))]
    plus, minus = pairs[0]
    curvature = direction @ (plus.gradient - minus.gradient).reshape(-1) / (2 * steps[0])
    even = np.array([(a.energy + b.energy) / 2 - energy for a, b in pairs])
    table = np.stack([steps**2 / 2, steps**4], axis=1)
    fitted = np.linalg.lstsq(table / table[-1], even, rcond=None)[0][0] / table[-1, 0]
    waves = wavenumbers(np.array([curvature, fitted]))
    return Settled(
        index,
        float(waves[0]),
        float(waves[1]),
        np.array([*-steps[::-1], 0.0, *steps]),
        np.array([*(b.energy for _, b in reversed(pairs)), energy, *(a.energy for a, _ in pairs)]),
    )
