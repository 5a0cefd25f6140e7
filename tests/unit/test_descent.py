"""Unstable solutions are recognised and followed to the lower one."""

from dataclasses import replace

import numpy as np
import pytest

from sample_h2co import EXCITED, H2CO, HYDROGEN, LEVEL
from spincross import descent, electronic, response
from spincross.errors import SymmetryLost, WrongState
from spincross.levels import State


@pytest.fixture(scope="module")
def excited():
    found = electronic.solve(H2CO, LEVEL, State("HS", 3, EXCITED))
    return found, *response.lowest_mode(found.mean_field, 1)


def test_stretched_hydrogen_is_unstable_against_breaking_spin_and_formaldehyde_is_stable(singlet, triplet):
    stretched = electronic.solve(HYDROGEN, LEVEL, State("LS", 1))
    eigenvalue, mode = response.lowest_mode(stretched.mean_field, 1)
    assert eigenvalue < -0.05
    assert descent.breaks_spin(mode)
    assert response.lowest_mode(singlet.mean_field, 1)[0] > 0.01
    assert response.lowest_mode(triplet[0].mean_field, 1)[0] > 0.01


def test_an_excited_triplet_is_unstable_and_leads_down_to_the_lowest_one(excited, triplet):
    found, eigenvalue, mode = excited
    assert eigenvalue < -0.05
    lower = descent.follow(found, mode, H2CO, LEVEL, State("HS", 3, EXCITED), 1e-3)
    assert lower.occupation == triplet[0].occupation
    assert lower.energy == pytest.approx(triplet[0].energy, abs=1e-7)
    assert found.energy - lower.energy > 0.1


def test_a_lower_solution_that_breaks_the_group_is_an_error_with_numbers(excited):
    found, _, mode = excited
    with pytest.raises(SymmetryLost, match=r"kJ/mol breaks it by .* electrons"):
        descent.follow(found, mode, H2CO, LEVEL, State("HS", 3, EXCITED), -1.0)


def test_following_a_stable_solution_ends_where_it_was_and_is_an_error(triplet):
    _, mode = response.lowest_mode(triplet[0].mean_field, 1)
    with pytest.raises(WrongState, match="not lower"):
        descent.follow(triplet[0], mode, H2CO, LEVEL, State("HS", 3), 1e-3)


def test_turned_orbitals_stay_orthonormal_and_pi_half_exchanges_two():
    coefficients = np.eye(4)
    occupied = np.array([True, True, False, False])
    mode = np.array([[0.0, 1.0], [0.0, 0.0]])  # second occupied into first virtual
    found = descent.turned(coefficients, occupied, mode, np.pi / 2)
    np.testing.assert_allclose(np.abs(found), np.eye(4)[:, [0, 2]], atol=1e-12)
    small = descent.turned(coefficients, occupied, mode, 0.3)
    np.testing.assert_allclose(small.T @ small, np.eye(2), atol=1e-12)


def test_a_closed_shell_is_turned_both_spins_alike():
    high = replace(LEVEL, basis="sto-3g")
    found = electronic.solve(H2CO, high, State("LS", 1, ((6, 6), (2, 2))))
    eigenvalue, mode = response.lowest_mode(found.mean_field, 1)
    lower = electronic.solve(H2CO, high, State("LS", 1, ((5, 5), (3, 3))))
    assert eigenvalue < 0
    assert lower.energy < found.energy
    orbitals = descent._lowest_along(found, [mode[0], mode[0]])
    np.testing.assert_allclose(orbitals[0], orbitals[1], atol=1e-12)
