"""Numbers inside the sentences about the Landau model."""

import pytest

from spincross import landau_text, landau_view
from spincross.landau import landau_account
from test_landau import ENTROPY, PAPER


@pytest.fixture(scope="module")
def account():
    return landau_account(PAPER, [150.0, 225.0, 260.0], ENTROPY)


def test_the_hysteresis_is_the_upper_end_less_the_lower_one(account):
    width = account["temperature_up_K"] - account["temperature_down_K"]
    assert width == pytest.approx(20.43, abs=0.01)  # 235 - 214.57, the closed forms of test_landau_branches
    assert account["statements"][0].startswith("q jumps on heating from 0.000 to 1.000 at 235.00 K")
    assert f": a hysteresis of {width:.2f} K." in account["statements"][0]


def test_the_jump_from_q_of_0_carries_half_of_the_entropy_from_minus_1_to_1(account):
    """Eq. 4 has no a0: S = a1 q, and one unit is 72.28 / 1.2 J/(mol K)."""
    (said,) = [line for line in account["statements"] if line.startswith("On heating the jump carries")]
    assert said == (
        "On heating the jump carries 36.1 J/(mol K), 50 % of the model's full change; calorimetry gives 62.8."
    )


def test_only_the_papers_model_is_called_eq_4():
    """B = 0 and a0 = 0 with a coupling."""
    for change, name in (({}, "Eq. 4"), ({"B": 5.0}, "This model")):
        lines = landau_account(PAPER | change, [150.0, 260.0])["statements"]
        assert f"{name} has no a0 term: its symmetry-breaking entropy is zero." in lines
    uncoupled = landau_account(PAPER | {"D": 0.0, "E": 0.0}, [150.0, 260.0])
    assert ["a0, T_c", "none"] in landau_view.parameter_table(uncoupled)["rows"]
    assert ["a0, T_c", "none (eq. 4)"] in landau_view.parameter_table(landau_account(PAPER, [150.0, 260.0]))["rows"]


def test_a_share_of_nothing_is_not_told():
    part = {"entropy_jump_J_per_mol_K": 3.0, "measured_J_per_mol_K": None}
    assert landau_text._share("cooling", part, 0.0) == "On cooling the jump carries 3.0 J/(mol K)."


def test_the_gain_of_eq_1_alone_is_a0_squared_over_2_b_per_kelvin(account):
    (said,) = [line for line in account["statements"] if line.startswith("Sign of a0")]
    a0 = account["a0_window"]["models"][-1]["a0"]
    assert f"= {a0**2 * 100.0 / 20.0:+.4f} Landau units 100 K above its transition, a gain" in said


def test_an_account_in_which_hs_gains_nothing_does_not_fit_the_model():
    """Its unit would be negative, and every number in J/(K mol) with it."""
    key = "entropy_vibrational_difference_harmonic_J_per_mol_K"
    found = landau_account(PAPER, [150.0, 260.0], ENTROPY | {key: [-100.0] * len(ENTROPY[key])})
    said = [line for line in found["statements"] if "One Landau unit would be -" in line]
    assert len(said) == 1 and said[0].endswith("they do not fit.")
    assert not any("the model's entropy from" in line for line in found["statements"])
