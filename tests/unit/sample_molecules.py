"""Small molecules and springs between their atoms: Hessians known exactly."""

import numpy as np

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
