"""Unstable solutions are recognised and followed to the lower one."""

from dataclasses import replace

import numpy as np
import pytest

from sample_h2co import EXCITED, H2CO, LEVEL
from spincross import descent, electronic, orbital_rotations
from spincross.errors import SymmetryLost, WrongState
from spincross.levels import State
from spincross.orbital_rotations import Stability


@pytest.fixture(scope="module")
def excited():
    found = electronic.solve(H2CO, LEVEL, State("HS", 3, EXCITED))
    return found, min(orbital_rotations.lowest_rotations(found.mean_field, "C2", 1), key=lambda r: r.eigenvalue)


def test_the_lowest_states_of_formaldehyde_are_stable(singlet, triplet):
    for solution in (singlet, triplet[0]):
        assert min(r.eigenvalue for r in orbital_rotations.lowest_rotations(solution.mean_field, "C2", 1)) > 0.01


def test_an_excited_triplet_is_unstable_and_leads_down_to_the_lowest_one(excited, triplet):
    found, rotation = excited
    assert rotation.eigenvalue < -0.05
    lower = descent.follow(found, rotation.mode, H2CO, LEVEL, State("HS", 3, EXCITED), 1e-3)
    assert lower.occupation == triplet[0].occupation
    assert lower.energy == pytest.approx(triplet[0].energy, abs=1e-7)
    assert found.energy - lower.energy > 0.1


def test_a_lower_solution_that_breaks_the_group_is_an_error_with_numbers(excited):
    found, rotation = excited
    with pytest.raises(SymmetryLost, match=r"kJ/mol breaks it by .* electrons"):
        descent.follow(found, rotation.mode, H2CO, LEVEL, State("HS", 3, EXCITED), -1.0)


def test_a_lower_solution_that_is_lost_in_the_group_is_an_error(excited, monkeypatch):
    (found, rotation), solve = excited, descent.electronic.solve

    def higher(molecule, *arguments):
        lower = solve(molecule, *arguments)
        return lower if molecule.point_group == "C1" else replace(lower, energy=lower.energy + 1e-3)

    monkeypatch.setattr(descent.electronic, "solve", higher)
    with pytest.raises(WrongState, match="was lost in C2, where the SCF ended at"):
        descent.follow(found, rotation.mode, H2CO, LEVEL, State("HS", 3, EXCITED), 1e-3)


def test_following_a_stable_solution_ends_where_it_was_and_is_an_error(triplet):
    mode = orbital_rotations.lowest_rotations(triplet[0].mean_field, "C2", 1)[0].mode
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


def test_a_wrong_closed_shell_is_followed_down_to_the_lowest_one():
    small, wrong = replace(LEVEL, basis="sto-3g"), State("LS", 1, ((6, 6), (2, 2)))
    found = electronic.solve(H2CO, small, wrong)
    tested = Stability(tuple(orbital_rotations.lowest_rotations(found.mean_field, "C2", 1)))
    assert found.energy - descent.follow(found, tested.downward.mode, H2CO, small, wrong, 1e-3).energy > 0.5
    orbitals = descent._lowest_along(found.mean_field, tested.downward.mode)
    np.testing.assert_allclose(orbitals[0], orbitals[1], atol=1e-12)
