"""The branches of the Landau model: spinodals, jumps, gradual curves, and which jumps make one hysteresis."""

import math
from dataclasses import replace

import numpy as np
import pytest

from sample_provenance import fulfils
from spincross.landau import LandauModel, landau_account
from spincross.landau_branches import equal_energy_temperature, follow, one_hysteresis, settled, spinodals
from test_landau import EQ2, EQ4, PAPER


@pytest.fixture(scope="module")
def jumps():
    return spinodals(EQ4)


def test_spinodals_do_not_depend_on_the_steps(jumps):
    coarse = follow(EQ4, [150.0, 300.0], heating=False, step=50.0).main_jump
    assert coarse.temperature == pytest.approx(jumps[1].temperature, rel=1e-9)


def test_a_hysteresis_far_narrower_than_the_step_is_found():
    a0 = 0.024375
    up, down = spinodals(replace(EQ4, a0=a0, T_c=800.0 - 25.2 / a0))
    assert 0.0 < up.temperature - down.temperature < 0.1


def test_branches_follow_their_minimum_until_it_is_gone():
    grid = np.array([150.0, 170.0, 180.0, 220.0, 230.0, 240.0])
    heating, cooling = follow(EQ4, grid, heating=True), follow(EQ4, grid, heating=False)
    assert heating.q[:2] == pytest.approx([-1.0, -1.0])
    assert heating.q[4] == pytest.approx(np.cbrt(-3.0 / 35.0)) and heating.q[5] == 1.0
    assert cooling.q[3:] == pytest.approx([1.0, 1.0, 1.0]) and cooling.q[2] < -0.9
    assert heating.eta[:5] == pytest.approx(0.0) and cooling.eta[3] == pytest.approx(math.sqrt(2.52))


def test_a_gradual_crossover_has_no_jump_and_says_so():
    account = landau_account({"a1": 0.6, "T_SC": 235.0, "C": 35.0, "b": 10.0, "B": 5.0}, [200.0, 250.0])
    assert account["temperature_up_K"] is None and account["jumps"]["cooling"] is None
    assert account["statements"][0].startswith("No jump in range")
    assert account["a0_window"] is None
    fulfils(account, "landau")


def test_a_symmetry_that_breaks_without_a_jump_is_said():
    """B > 0 makes q gradual; w < 0 from q > 0 on, which is T > T_SC."""
    grid = np.arange(200.5, 300.0, 1.0)
    statements = landau_account(PAPER | {"B": 20.0}, grid)["statements"]
    assert statements[0].startswith("No jump in range")
    assert statements[1] == "Symmetry breaks without a jump on heating between 234.5 and 235.5 K."


def test_jumps_of_different_steps_are_no_hysteresis():
    """E > 0 and a0 > 0 let the symmetry break on heating and come back in a second step."""
    account = landau_account(PAPER | {"D": 0.0, "E": 30.0, "a0": 0.05, "T_c": 600.0}, [150.0, 300.0])
    up, down = account["temperature_up_K"], account["temperature_down_K"]
    assert down > up
    assert account["barriers"] is None and account["equal_energy_temperature_K"] is None
    assert "belong to different steps" in account["statements"][0]
    assert not any("a hysteresis of" in text for text in account["statements"])


def test_symmetry_that_breaks_in_a_jump_from_where_w_vanishes_is_ascending():
    """With a0 the low-spin branch ends at w = 0, where eta is zero but for rounding."""
    account = landau_account(PAPER | {"a0": 0.02, "T_c": 100.0}, [150.0, 300.0])
    assert any("ascending symmetry breaking" in text for text in account["statements"])
    assert {p["domains"] for well in account["wells"] for p in well["stationary_points"] if p["eta"] < 1e-6} == {1}


def test_a_first_order_spin_transition_without_coupling_has_its_textbook_spinodals():
    model = replace(EQ2, B=-10.0)
    up, down = spinodals(model)
    fold = 2.0 / 3.0 * 10.0 * math.sqrt(10.0 / (3.0 * 35.0)) / 0.6
    assert (up.temperature, down.temperature) == pytest.approx((235.0 + fold, 235.0 - fold), rel=1e-9)
    assert equal_energy_temperature(model, up, down) == pytest.approx(235.0, rel=1e-9)


def test_sliding_from_the_barrier_top_reaches_a_minimum():
    low, top, _high = EQ4.stationary_points(225.0)
    assert settled(EQ4, 225.0, top.q - 1e-6).q == pytest.approx(low.q)


def test_steps_of_two_hystereses_are_not_joined_to_one():
    """Heating: LS to a middle state at 232.7 K, that to HS at 251.3 K; cooling: back at 237.2 and at 215.6 K."""
    two = {"a1": 0.6, "T_SC": 235.0, "C": 15.0, "b": 3.0, "D": 0.0, "E": 30.0, "a0": 0.02, "T_c": 535.0}
    model = LandauModel(**two)
    up, down = spinodals(model)
    assert up.temperature == pytest.approx(251.25, abs=0.01) and down.temperature == pytest.approx(215.60, abs=0.01)
    assert len(model.minima(235.0)) == 1  # between the loops nothing is bistable
    for end in (up.temperature, down.temperature):  # by brute force: a minimum comes or goes there
        assert sorted(len(model.minima(t)) for t in (end - 0.05, end + 0.05)) == [1, 2]
    assert not one_hysteresis(model, up, down)
    account = landau_account(two)
    assert account["barriers"] is None and account["equal_energy_temperature_K"] is None
    assert any("belong to different steps of a transition in several" in line for line in account["statements"])
    assert one_hysteresis(EQ4, *spinodals(EQ4))
