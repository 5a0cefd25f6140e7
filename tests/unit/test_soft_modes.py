"""Modes inside the noise floor: what larger steps say about them."""

import numpy as np
import pytest

from sample_molecules import PEROXIDE, springs
from spincross import soft_modes, vibrations
from spincross.displacements import Point
from spincross.units import AMU_TO_ELECTRON_MASS, HARTREE_TO_PER_CM


def surface(wave, quartic=0.0, noise=0.0, energy_noise=0.0):
    """Return modes of springs whose first one is put at `wave` (cm-1), and points with noisy gradients and energies."""
    hessian = springs(PEROXIDE)
    found = vibrations.normal_modes(PEROXIDE, hessian)
    roots = np.sqrt(np.repeat(PEROXIDE.masses, 3) * AMU_TO_ELECTRON_MASS)
    mode = found.modes[:, 0]
    old, new = found.wavenumbers[0] / HARTREE_TO_PER_CM, wave / HARTREE_TO_PER_CM
    hessian = hessian + (np.sign(new) * new**2 - old**2) * np.outer(mode * roots, mode * roots)
    rng = np.random.default_rng(0)

    def point(molecule, name):
        shift = (molecule.positions - PEROXIDE.positions).reshape(-1)
        q = (mode * roots) @ shift
        gradient = hessian @ shift + 4 * quartic * q**3 * mode * roots + noise * rng.normal(size=12)
        energy = -100 + shift @ hessian @ shift / 2 + quartic * q**4 + energy_noise * rng.normal()
        return Point(gradient.reshape(-1, 3), np.zeros(3), energy, 1, 0.0)

    return mode, point


@pytest.mark.parametrize("wave", [-40.0, 40.0])
def test_a_second_step_and_a_scan_return_the_curvature_of_a_quartic_well(wave):
    mode, point = surface(wave, quartic=1e-9)
    found = soft_modes.settle(PEROXIDE, mode, 0, -100.0, point)
    assert found.scan == pytest.approx(wave, rel=1e-3)
    # a central difference over Q has the curvature plus 4 b Q^2
    steeper = np.sign(wave) * (wave / HARTREE_TO_PER_CM) ** 2 + 4e-9 * found.coordinates[4] ** 2
    assert found.second_step == pytest.approx(np.sign(steeper) * np.sqrt(abs(steeper)) * HARTREE_TO_PER_CM, rel=1e-6)
    assert found.verdict == ("real" if wave > 0 else "imaginary")
    assert list(found.coordinates) == sorted(found.coordinates)
    assert found.energies[3] == -100.0


def test_noise_of_the_gradient_that_hides_a_mode_at_the_first_step_does_not_at_the_second():
    mode, point = surface(-40.0, noise=2e-6)
    # at a step of 5e-3 bohr this noise looks like a hydrogen's force constant of 2e-6 / 5e-3 Eh/bohr2
    assert np.sqrt(2e-6 / 5e-3 / AMU_TO_ELECTRON_MASS) * HARTREE_TO_PER_CM > 2 * 40
    assert soft_modes.settle(PEROXIDE, mode, 0, -100.0, point).verdict == "imaginary"


def test_a_mode_along_which_the_energy_hardly_moves_stays_undetermined():
    mode, point = surface(2.0)
    assert soft_modes.settle(PEROXIDE, mode, 0, -100.0, point).verdict == "undetermined"


def test_routes_that_disagree_leave_a_mode_undetermined():
    settled = soft_modes.Settled(0, -5.0, 5.0, np.arange(-1.0, 2.0), np.array([1e-5, 0.0, 1e-5]))
    assert settled.verdict == "undetermined"
