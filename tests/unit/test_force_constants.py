"""Two routes to a Hessian, and its sum rules."""

import numpy as np
import pytest

from sample_molecules import H2CO, springs
from spincross import displacements, electronic, force_constants, infrared, vibrations
from spincross.errors import StaleData
from spincross.levels import Level, State


def test_rebuilt_diagonal_blocks_fulfil_the_sum_rule():
    rng = np.random.default_rng(0)
    rebuilt = force_constants.rebuilt_diagonal(rng.normal(size=(12, 12)))
    symmetric = rebuilt.reshape(4, 3, 4, 3)
    blocks = symmetric.sum(axis=2)
    np.testing.assert_allclose(blocks + blocks.transpose(0, 2, 1), 0, atol=1e-12)


def test_finite_differences_of_a_harmonic_surface_return_its_hessian():
    hessian = springs(H2CO)
    displaced = displacements.plan_displacements(H2CO, 5e-3)
    gradients = [(hessian @ (m.positions - H2CO.positions).reshape(-1)).reshape(-1, 3) for m in displaced]
    found, residual = force_constants.hessian_from_gradients(H2CO, gradients, 5e-3)
    assert len(displaced) < 24
    np.testing.assert_allclose(found, hessian, atol=1e-9)
    assert residual < 1e-9


@pytest.fixture(scope="module", params=[1, 3])
def routes(request, tmp_path_factory):
    level = Level(grid_level=1)
    state = State("x", request.param)
    settings = force_constants.Settings(response_grid_level=1)
    surface = settings.surface(level, state, electronic.solve(H2CO, level, state).orbitals)
    displaced = displacements.plan_displacements(H2CO, settings.step)
    folder = tmp_path_factory.mktemp("routes")
    points = displacements.compute_points(displaced, range(len(displaced)), surface, folder, lambda text: None)
    return {
        "analytic": force_constants.analytic(H2CO, surface, settings, lambda text: None),
        "finite differences": force_constants.from_points(H2CO, points, settings.step),
    }


def test_both_routes_agree_within_2_per_cm_in_every_mode(routes):
    first, second = (vibrations.normal_modes(H2CO, found.hessian) for found in routes.values())
    assert first.irreps == second.irreps
    np.testing.assert_allclose(first.wavenumbers, second.wavenumbers, atol=2.0)


def test_finite_differences_fulfil_the_sum_rule_and_the_analytic_route_does_not(routes):
    assert routes["finite differences"].sum_rule < 1e-9
    assert routes["analytic"].sum_rule > 1e-6


def test_a_hessian_of_another_geometry_is_refused():
    with pytest.raises(StaleData, match="differs"):
        force_constants.check_geometry({"positions": H2CO.positions + 1e-3}, H2CO, "hessian.npz")


def test_dipole_derivatives_in_a_field_equal_those_of_displacements(routes):
    fields, moved = (found.dipole_derivatives for found in routes.values())
    np.testing.assert_allclose(fields, moved, atol=2e-4)
    assert infrared.dipole_sum_rule(fields, 0) < 2e-4


def test_infrared_intensities_of_both_routes_agree_within_1_percent(routes):
    found = [
        infrared.intensities(route.dipole_derivatives, H2CO.masses, vibrations.normal_modes(H2CO, route.hessian).modes)
        for route in routes.values()
    ]
    np.testing.assert_allclose(found[0], found[1], rtol=0.01, atol=0.1)
