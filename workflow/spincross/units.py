"""Units and constants: one CODATA set (scipy's), the direction of each factor in its name.

Inside spincross: lengths in bohr, energies in hartree, masses in amu, temperatures in K, wavenumbers in cm-1.
XYZ files are in angstrom.
"""

from scipy import constants

BOHR_TO_ANGSTROM: float = constants.value("Bohr radius") / constants.angstrom
ANGSTROM_TO_BOHR: float = 1.0 / BOHR_TO_ANGSTROM
AMU_TO_ELECTRON_MASS: float = constants.value("atomic mass constant") / constants.value("electron mass")
HARTREE_TO_KJ_PER_MOL: float = constants.value("Hartree energy") * constants.N_A / 1000.0
HARTREE_TO_EV: float = constants.value("Hartree energy in eV")
HARTREE_TO_PER_CM: float = constants.value("hartree-inverse meter relationship") / 100.0

GAS_CONSTANT: float = constants.R
"""R in J/(mol K)."""
PER_CM_TO_KELVIN: float = constants.value("second radiation constant") * 100.0
"""h c / k: the temperature of one wavenumber, in K cm."""
PER_CM_TO_KJ_PER_MOL: float = constants.h * constants.c * 100.0 * constants.N_A / 1000.0

DEBYE_TO_ATOMIC_UNITS: float = 1e-21 / constants.c / constants.e / constants.value("Bohr radius")
"""One debye in e bohr."""
KM_PER_MOL_OF_DIPOLE_DERIVATIVE: float = (
    constants.e**2 / constants.atomic_mass * constants.N_A / (12.0 * constants.epsilon_0 * constants.c**2) / 1000.0
)
"""Integrated infrared intensity (km/mol) of a mode with a dipole derivative of 1 e/amu^1/2."""
