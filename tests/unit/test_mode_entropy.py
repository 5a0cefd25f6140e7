"""Entropy, energy and heat capacity of oscillators: exact limits, then ASE, phonopy and numerical derivatives."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
from ase import units as ase_units
from ase.thermochemistry import HarmonicThermo, RRHOMode
from phonopy.phonon.thermal_properties import ThermalProperties
from phonopy.physical_units import get_physical_units

from spincross import mode_entropy as modes
from spincross.units import GAS_CONSTANT, PER_CM_TO_KELVIN

EV_TO_J_PER_MOL = ase_units.mol / ase_units.J
WAVES = np.array([12.0, 35.0, 80.0, 99.0, 180.0, 420.0, 1100.0, 2100.0, 3200.0])


def test_soft_modes_have_the_known_entropies():
    soft = [10.0, 20.0, 50.0, 100.0]
    assert modes.harmonic_entropy(soft, 298.15) == pytest.approx([33.5, 27.8, 20.2, 14.5], abs=0.05)
    assert modes.quasi_rrho_entropy(soft, 298.15) == pytest.approx([21.5, 18.6, 15.1, 13.2], abs=0.05)


def test_halving_a_soft_mode_adds_r_ln_2():
    gain = modes.harmonic_entropy([0.5], 298.15) - modes.harmonic_entropy([1.0], 298.15)
    assert gain[0] == pytest.approx(GAS_CONSTANT * math.log(2.0), rel=1e-5)


def test_entropy_vanishes_in_the_cold_without_overflow():
    assert modes.harmonic_entropy([3000.0], 1.0)[0] == 0.0
    assert modes.heat_capacity([3000.0], 1.0)[0] == 0.0


def test_heat_capacity_of_a_soft_mode_is_r():
    assert modes.heat_capacity([0.1], 298.15)[0] == pytest.approx(GAS_CONSTANT, rel=1e-6)


def test_stiff_modes_are_left_alone_by_all_treatments():
    harmonic = modes.harmonic_entropy([3000.0], 298.15)
    assert modes.raised_entropy([3000.0], 298.15) == pytest.approx(harmonic)
    assert modes.quasi_rrho_entropy([3000.0], 298.15) == pytest.approx(harmonic, abs=1e-4)


def test_modes_below_100_are_raised_to_it():
    assert modes.raised_entropy([10.0], 298.15) == pytest.approx(modes.harmonic_entropy([100.0], 298.15))


@pytest.mark.parametrize("temperature", [80.0, 235.0, 298.15])
def test_harmonic_entropy_and_energy_agree_with_ase(temperature):
    thermo = HarmonicThermo(WAVES * ase_units.invcm)
    entropy = thermo.get_entropy(temperature, verbose=False) * EV_TO_J_PER_MOL
    energy = thermo.get_internal_energy(temperature, verbose=False) * EV_TO_J_PER_MOL / 1000.0
    assert modes.harmonic_entropy(WAVES, temperature).sum() == pytest.approx(entropy, rel=1e-6)
    ours = modes.zero_point_energy(WAVES) + modes.thermal_energy(WAVES, temperature)
    assert ours == pytest.approx(energy, rel=1e-6)


@pytest.mark.parametrize("temperature", [80.0, 235.0, 298.15])
def test_quasi_rrho_agrees_with_ase(temperature):
    inertia = modes.AVERAGE_INERTIA * ase_units.kg * ase_units.m**2
    theirs = [
        RRHOMode(w * ase_units.invcm, inertia, tau=100.0).get_entropy(temperature, contributions=False) for w in WAVES
    ]
    theirs = np.array(theirs) * EV_TO_J_PER_MOL
    ours = modes.quasi_rrho_entropy(WAVES, temperature)
    assert ours.sum() == pytest.approx(theirs.sum(), rel=1e-6)
    assert ours == pytest.approx(theirs, abs=1e-5)  # ASE has CODATA 2014, which shows in the last digits of stiff modes


def test_entropy_is_minus_the_slope_of_the_helmholtz_energy():
    def helmholtz(t):
        x = WAVES * PER_CM_TO_KELVIN / t
        return GAS_CONSTANT * t * (x / 2.0 + np.log1p(-np.exp(-x))).sum()

    numeric = -(helmholtz(235.01) - helmholtz(234.99)) / 0.02
    assert modes.harmonic_entropy(WAVES, 235.0).sum() == pytest.approx(numeric, rel=1e-7)


def test_heat_capacity_is_the_slope_of_energy_and_of_entropy():
    energy = (modes.thermal_energy(WAVES, 235.01) - modes.thermal_energy(WAVES, 234.99)) / 0.02 * 1000.0
    entropy = (modes.harmonic_entropy(WAVES, 235.01) - modes.harmonic_entropy(WAVES, 234.99)).sum() / 0.02 * 235.0
    assert modes.heat_capacity(WAVES, 235.0).sum() == pytest.approx(energy, rel=1e-6)
    assert modes.heat_capacity(WAVES, 235.0).sum() == pytest.approx(entropy, rel=1e-6)


def test_harmonic_functions_agree_with_phonopy():
    """One q point with our wavenumbers as bands; each code with its own k and R, as phonopy keeps an older CODATA."""
    old = get_physical_units()
    mesh = SimpleNamespace(
        frequencies=(WAVES * PER_CM_TO_KELVIN * old.KB / old.THzToEv)[None],
        weights=np.array([1]),
        gamma_index=None,
        dynamical_matrix=SimpleNamespace(primitive=SimpleNamespace(Z=1)),
    )
    theirs = ThermalProperties(mesh)
    theirs.temperatures = [80.0, 235.0, 298.15]
    theirs.run()
    per_r = GAS_CONSTANT / (old.KB * old.EvTokJmol * 1000.0)
    entropies = [modes.harmonic_entropy(WAVES, t).sum() for t in theirs.temperatures]
    capacities = [modes.heat_capacity(WAVES, t).sum() for t in theirs.temperatures]
    assert entropies == pytest.approx(list(theirs.entropy * per_r), rel=1e-10)
    assert capacities == pytest.approx(list(theirs.heat_capacity * per_r), rel=1e-10)
    assert modes.zero_point_energy(WAVES) == pytest.approx(theirs.zero_point_energy * per_r, rel=1e-10)
