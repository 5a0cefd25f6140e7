"""The error band of the vibrational entropy difference, and modes inside the noise floor."""

import math

import numpy as np
import pytest

from spincross import mode_entropy as modes
from spincross.entropy import entropy_account
from spincross.entropy_terms import error_band, usable_modes
from spincross.errors import UnexpectedImaginaryMode
from spincross.units import GAS_CONSTANT
from test_entropy import pair, vibrations
from test_mode_entropy import WAVES


def test_the_systematic_part_is_a_common_factor_on_modes_below_100():
    low, high = pair(high_waves=np.append(0.8 * WAVES[:-1], 90.0))
    band = error_band(usable_modes(low), usable_modes(high), modes.harmonic_entropy, 2000.0)
    soft = sum(WAVES < 100), sum(np.array(high["wavenumbers_per_cm"]) < 100)
    assert band["systematic_up"] == pytest.approx((soft[1] - soft[0]) * -GAS_CONSTANT * math.log(0.9), rel=1e-3)
    spread = math.sqrt(sum(soft)) * GAS_CONSTANT * math.log(1.1 / 0.9) / 2.0
    assert band["random"] == pytest.approx(spread, rel=1e-3)


@pytest.mark.parametrize(
    ("treatment", "function"), [("", modes.harmonic_entropy), ("_quasi_rrho", modes.quasi_rrho_entropy)]
)
def test_the_band_adds_its_parts_in_quadrature_and_a_mode_of_low_spin_counts_the_other_way(treatment, function):
    """Five soft modes in HS, four in LS; one of LS, at 3 cm-1, counts as its floor, 5, and may lie from 2.5 to 7.1."""

    def entropy(waves):
        return function(waves, 298.15).sum()

    def softened(factor):
        return [np.array([factor * w if w < 100.0 else w for w in waves]) for waves in (lowest, highest)]

    lowest, highest = np.append(5.0, WAVES[1:]), 0.5 * WAVES
    centre = entropy(highest) - entropy(lowest)
    (low_soft, high_soft), (low_stiff, high_stiff) = softened(0.9), softened(1.1)
    spreads = [function(a, 298.15) - function(b, 298.15) for a, b in ((low_soft, low_stiff), (high_soft, high_stiff))]
    found, softest, stiffest = function([5.0, 2.5, 5.0 * math.sqrt(2.0)], 298.15)
    parts = {
        "systematic_down": centre - (entropy(high_stiff) - entropy(low_stiff)),
        "systematic_up": entropy(high_soft) - entropy(low_soft) - centre,
        "random": math.sqrt(sum((spread / 2.0) ** 2 for state in spreads for spread in state)),
        "undetermined_down": softest - found,
        "undetermined_up": found - stiffest,
    }
    down, up = (
        math.sqrt(sum(parts[name] ** 2 for name in (f"systematic_{way}", "random", f"undetermined_{way}")))
        for way in ("down", "up")
    )
    low, high = vibrations("LS", np.append(3.0, WAVES[1:])), vibrations("HS", highest, "C1", 5, -0.99)
    band = error_band(usable_modes(low), usable_modes(high), function, 298.15)
    assert band == pytest.approx(parts | {"down": down, "up": up}, rel=1e-9)
    account = entropy_account(low, high, {"broken": True}, [])
    stem = f"entropy_vibrational_difference{treatment}"
    limits = [account[f"{stem}_{end}_J_per_mol_K"][0] for end in ("low", "high")]
    assert limits == pytest.approx([centre - down, centre + up], rel=1e-9)
    if not treatment:
        assert {key: account["error_parts"][f"{key}_J_per_mol_K"] for key in parts} == {k: [band[k]] for k in parts}


def test_a_negative_mode_inside_the_floor_is_raised_said_and_widens_the_band():
    low, high = pair(high_waves=np.append(-2.0, WAVES[1:]))
    state = usable_modes(high)
    assert state.wavenumbers[0] == 5.0 and "counts as one at the floor" in state.warnings[0]
    both = usable_modes(pair(high_waves=np.concatenate([[-2.0, 4.0], WAVES[2:]]))[1])
    assert "modes 1 and 2 at -2.0 and 4.0 cm-1 lie inside" in both.warnings[0] and "count as ones" in both.warnings[0]
    band = error_band(usable_modes(low), state, modes.harmonic_entropy, 298.15)
    assert band["undetermined_up"] == pytest.approx(GAS_CONSTANT * math.log(2.0), rel=1e-3)
    assert band["undetermined_down"] == pytest.approx(GAS_CONSTANT * math.log(2.0) / 2.0, rel=1e-3)
    assert entropy_account(low, high, {"broken": True}, [])["warnings"] == list(state.warnings)


def test_the_sign_of_a_mode_inside_the_floor_changes_nothing():
    states = [usable_modes(vibrations("HS", np.append(wave, WAVES[1:]))) for wave in (-0.05, 0.05, 4.9)]
    assert [state.wavenumbers[0] for state in states] == [5.0, 5.0, 5.0]
    assert all("the error band is wider by it" in state.warnings[0] for state in states)


@pytest.mark.parametrize(
    ("scan", "verdict", "limits"),
    [
        (1.0, "real", (1.0, 5.0 * math.sqrt(2.0))),
        (20.0, "real", (2.5, 20.0)),
        (4.0, "real", (2.5, 5.0 * math.sqrt(2.0))),
        (1.0, "undetermined", (2.5, 5.0 * math.sqrt(2.0))),
    ],
)
def test_a_scan_that_puts_a_mode_farther_than_the_floor_widens_its_limits(scan, verdict, limits):
    row = {"mode_index": 0, "verdict": verdict, "scan_wavenumber_per_cm": scan}
    state = usable_modes(vibrations("HS", np.append(2.0, WAVES[1:]), settled_modes=[row]))
    assert tuple(state.limits[:, 0]) == pytest.approx(limits)
    assert state.wavenumbers[0] == 5.0
    assert np.array_equal(state.limits[:, 1:], np.array([WAVES[1:]] * 2))


def test_a_mode_inside_the_floor_that_its_scan_calls_imaginary_is_named_as_that():
    found = vibrations("HS", np.append(2.0, WAVES[1:]), imaginary_modes=[0], undetermined_modes=[])
    said = r"imaginary modes 2\.0 cm-1, imaginary by its scan \(noise floor 5\.0 cm-1\)"
    with pytest.raises(UnexpectedImaginaryMode, match=said):
        usable_modes(found)
