"""Small molecules and springs between their atoms: Hessians known exactly."""

from dataclasses import dataclass

import numpy as np

from spincross.displacements import Point
from spincross.molecule import Molecule
from spincross.units import ANGSTROM_TO_BOHR

PLACES = np.array([[0, 0, 0], [0, 0, 1.2], [0.94, 0.2, -0.57], [-0.94, -0.2, -0.57]]) * ANGSTROM_TO_BOHR
H2CO = Molecule(("C", "O", "H", "H"), PLACES, 0, "C2")
TWISTED = np.array([[0.73, 0, 0], [-0.73, 0, 0], [0.9, 0.85, 0.5], [-0.9, -0.85, 0.5]]) * ANGSTROM_TO_BOHR
PEROXIDE = Molecule(("O", "O", "H", "H"), TWISTED, 0, "C2")
"""Not planar: springs along the pairs of a planar molecule do not hold its atoms in the plane."""


def springs(molecule, stiffness=0.3):
    """Return the Hessian of springs along every pair: exact sum rules for translations and rotations."""
    count = len(molecule.symbols)
    hessian = np.zeros((count, 3, count, 3))
    for i in range(count):
        for j in range(i):
            unit = molecule.positions[i] - molecule.positions[j]
            block = stiffness * np.outer(unit, unit) / (unit @ unit)
            for a, b, sign in ((i, i, 1), (j, j, 1), (i, j, -1), (j, i, -1)):
                hessian[a, :, b] += sign * block
    return hessian.reshape(3 * count, 3 * count)


@dataclass
class Harmonic:
    """Stands for a surface of electronic structure: energies and gradients of a Hessian, counted; one call may jump."""

    molecule: Molecule
    hessian: np.ndarray
    calls: int = 0
    jump_at: int = 0

    def key(self, molecule):
        return "harmonic"

    def point(self, molecule):
        self.calls += 1
        shift = (molecule.positions - self.molecule.positions).reshape(-1)
        energy = -100.0 + 0.5 * shift @ self.hessian @ shift - (3e-4 if self.calls == self.jump_at else 0.0)
        return Point((self.hessian @ shift).reshape(-1, 3), np.zeros(3), energy, 1, 0.0)
