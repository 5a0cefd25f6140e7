"""Gradients in an electric field."""

import numpy as np
import pytest

from sample_h2co import HYDROGEN
from spincross import electric_field, electronic
from spincross.device import CPU
from spincross.errors import NotConverged
from spincross.levels import Level, State


@pytest.fixture(scope="module")
def solution():
    level = Level(basis="sto-3g", grid_level=1, scf_energy_tolerance=1e-11, scf_gradient_tolerance=1e-7, device="cpu")
    return electronic.solve(HYDROGEN, level, State("LS", 1))


@pytest.fixture(scope="module")
def hydrogen(solution):
    return solution.mean_field


def energy(mean_field, shift, field):
    """Return the energy (Eh) with the second atom moved along z, in a field along z."""
    mol = mean_field.mol.copy()
    places = mol.atom_coords()
    places[1, 2] += shift
    mol.set_geom_(places, unit="Bohr")
    method = mean_field.copy()
    # a reset would move the grid and the fitted integrals of the fixture, too
    method.grids, method.with_df = method.grids.copy(), method.with_df.copy()
    method.reset(mol)
    core = method.get_hcore() + field * mol.intor_symmetric("int1e_r")[2]
    method.get_hcore = lambda *_: core
    method.max_cycle = 100
    return method.kernel() - field * (mol.atom_charges() @ places[:, 2])


def test_the_gradient_in_a_field_is_the_slope_of_the_energy(hydrogen):
    strength, step = 0.01, 2e-3
    found = electric_field.gradient_in_field(hydrogen, np.array([0.0, 0.0, strength]))[1, 2]
    slope = (energy(hydrogen, step, strength) - energy(hydrogen, -step, strength)) / (2 * step)
    without = electric_field.gradient_in_field(hydrogen, np.zeros(3))[1, 2]
    assert found == pytest.approx(slope, abs=2e-6)
    assert abs(found - without) > 1e-4


def test_an_scf_in_the_field_that_does_not_converge_is_an_error(hydrogen, monkeypatch):
    monkeypatch.setattr(electric_field, "MAX_CYCLES", 1)
    with pytest.raises(NotConverged, match=r"SCF in a field of 1e-02 a\.u\. did not converge"):
        electric_field.gradient_in_field(hydrogen, np.array([0.0, 0.0, 0.01]))


def test_a_molecule_without_a_dipole_absorbs_nothing(solution):
    found = electric_field.dipole_derivatives(HYDROGEN, solution, lambda text: None)
    stretch = found[:, [2, 5]] @ [1.0, -1.0]
    np.testing.assert_allclose(stretch, 0.0, atol=1e-5)


def test_a_solution_of_the_second_order_solver_feels_the_field_too(hydrogen):
    ladder = electronic.Ladder(hydrogen.mol, Level(basis="sto-3g", grid_level=1, scf_gradient_tolerance=1e-7), CPU)
    second = ladder.second_order(hydrogen, 50, "asked for")
    field = np.array([0.0, 0.0, 0.01])
    expected = electric_field.gradient_in_field(hydrogen, field)
    np.testing.assert_allclose(electric_field.gradient_in_field(second, field), expected, atol=1e-6)
