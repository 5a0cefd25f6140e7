"""Dipole derivatives and infrared intensities."""

import numpy as np
import pytest

from sample_molecules import H2CO
from spincross import displacements, infrared, pointgroup
from spincross.units import DEBYE_TO_ATOMIC_UNITS, KM_PER_MOL_OF_DIPOLE_DERIVATIVE


def symmetric_derivatives(molecule, seed=0):
    """Return derivatives (3, 3N) that fulfil the point group: P D(g) = R P."""
    raw = np.random.default_rng(seed).normal(size=(3, molecule.positions.size))
    matrices = pointgroup.representation(molecule.numbers, molecule.positions, molecule.point_group)
    operations = pointgroup.operations(molecule.point_group)
    return sum(r.T @ raw @ d for r, d in zip(operations, matrices, strict=True)) / len(operations)


def test_a_dipole_that_bends_returns_its_slope():
    exact = symmetric_derivatives(H2CO)
    displaced = displacements.plan_displacements(H2CO, 5e-3)
    dipoles = []
    for geometry in displaced:
        shift = (geometry.positions - H2CO.positions).reshape(-1)
        dipoles.append([0, 0, 0.9] + exact @ shift + np.array([0, 0, 50.0]) * (shift @ shift))
    assert len(displaced) < 24
    np.testing.assert_allclose(infrared.dipole_derivatives(H2CO, displaced, dipoles), exact, atol=1e-9)


def test_displacements_that_do_not_span_all_directions_are_refused():
    displaced = displacements.plan_displacements(H2CO, 5e-3)[:2]
    with pytest.raises(ValueError, match="of 12 directions"):
        infrared.dipole_derivatives(H2CO, displaced, [np.zeros(3)] * 2)


def test_two_point_charges_absorb_as_in_the_textbook():
    # charges +-q on masses m1, m2: dmu/dQ = q (1/m1 + 1/m2)^1/2, and 42.2561 km/mol per (debye/angstrom)^2/amu
    masses, charge = np.array([1.0, 35.0]), 0.2
    derivatives = charge * np.hstack([np.eye(3), -np.eye(3)])
    reduced = 1.0 / (1.0 / masses).sum()
    mode = np.zeros((6, 1))
    mode[2, 0], mode[5, 0] = np.sqrt(reduced / masses[0]), -np.sqrt(reduced / masses[1])
    found = infrared.intensities(derivatives, masses, mode)
    assert found == pytest.approx([KM_PER_MOL_OF_DIPOLE_DERIVATIVE * charge**2 / reduced], rel=1e-12)
    debye_per_angstrom = charge / DEBYE_TO_ATOMIC_UNITS / 0.529177210903
    assert found == pytest.approx([42.2561 * debye_per_angstrom**2 / reduced], rel=1e-5)


def test_the_sum_rule_counts_the_charge():
    derivatives = np.hstack([0.7 * np.eye(3), 0.3 * np.eye(3)])
    assert infrared.dipole_sum_rule(derivatives, 1) == pytest.approx(0.0, abs=1e-12)
    assert infrared.dipole_sum_rule(derivatives, 0) == pytest.approx(1.0)
