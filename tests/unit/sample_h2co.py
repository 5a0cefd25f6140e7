"""Formaldehyde, hydrogen and a small level for tests of the electronic structure."""

import numpy as np

from spincross.levels import Level
from spincross.molecule import Molecule
from spincross.units import ANGSTROM_TO_BOHR

LEVEL = Level(grid_level=1, scf_energy_tolerance=1e-10, scf_gradient_tolerance=1e-6, device="cpu")
PLANAR = np.array([[0, 0, 0], [0, 0, 1.22], [0.94, 0.03, -0.57], [-0.94, -0.03, -0.57]]) * ANGSTROM_TO_BOHR
H2CO = Molecule(("C", "O", "H", "H"), PLANAR, 0, "C2")
HYDROGEN = Molecule(("H", "H"), np.array([[0, 0, 0], [0, 0, 2.2]]) * ANGSTROM_TO_BOHR)
EXCITED = ((5, 4), (4, 3))
"""Electrons per irrep of a triplet 0.18 Eh above the lowest one of H2CO."""
