"""The Landau account: closed forms first, then brute force and numerical derivatives, then every guard."""

import json
import math
from dataclasses import asdict, replace

import numpy as np
import pytest

from sample_provenance import fulfils
from spincross.errors import BadInput
from spincross.landau import LandauModel, a0_window, barriers, branch_rows, covering, landau_account, no_landau
from spincross.landau_branches import (
    border_release,
    equal_energy_temperature,
    spinodals,
)

PAPER = {
    "a1": 0.6,
    "T_SC": 235.0,
    "C": 35.0,
    "b": 10.0,
    "D": -6.5,
    "E": -12.2,
    "source": "eq. 4",
    "borrowed_from": None,
}
EQ4 = LandauModel.from_parameters(PAPER)
EQ2 = LandauModel(a1=0.6, T_SC=235.0, C=35.0, b=10.0)
EQ3 = replace(EQ4, B=-3.0, a0=0.03, T_c=150.0)
ENTROPY = {
    "temperatures_K": [219.0, 235.0, 298.15],
    "entropy_spin_difference_J_per_mol_K": 13.38,
    "entropy_vibrational_difference_harmonic_J_per_mol_K": [58.9, 58.9, 58.9],
    "entropy_symmetry_breaking_J_per_mol_K": -5.76,
    "entropy_total_difference_J_per_mol_K": [66.52, 66.52, 66.52],
    "verdict": {"heating": {"measured_J_per_mol_K": 62.8}, "cooling": {"measured_J_per_mol_K": 67.6}},
}


@pytest.fixture(scope="module")
def jumps():
    return spinodals(EQ4)


@pytest.fixture(scope="module")
def account():
    return landau_account(PAPER, list(np.linspace(150.0, 260.0, 111)), ENTROPY)


def gradient(model, temperature, q, eta, step=0.01):
    """Return (dG/dq, dG/deta), (2,): five-point differences, exact for the quartic G."""
    moves, weights = step * np.array([-2.0, -1.0, 1.0, 2.0]), np.array([1.0, -8.0, 8.0, -1.0]) / (12.0 * step)
    energies = model.energy(temperature, q + moves, eta), model.energy(temperature, q, eta + moves)
    return np.array([values @ weights for values in energies])


def hessian(model, temperature, q, eta, step=1e-4):
    """Return the second derivatives of G over (q, eta), (2, 2), by central differences of `gradient`."""
    columns = [gradient(model, temperature, q + dq, eta + de) - gradient(model, temperature, q - dq, eta - de)
               for dq, de in ((step, 0.0), (0.0, step))]  # fmt: skip
    return np.array(columns) / (2 * step)


# closed forms


@pytest.mark.parametrize("temperature", [180.0, 200.0, 234.9, 235.0, 235.1, 260.0, 290.0])
def test_spin_crossover_alone_follows_the_cube_root(temperature):
    (minimum,) = EQ2.minima(temperature)
    reduced = 0.6 * (temperature - 235.0)
    assert minimum.q == pytest.approx(np.cbrt(reduced / 35.0), abs=1e-10)
    assert minimum.eta == 0.0
    assert minimum.energy == pytest.approx(-0.75 * np.cbrt(reduced**4 / 35.0), abs=1e-10)
    assert float(EQ2.entropy_spin_crossover(minimum.q)) == pytest.approx(0.6 * np.cbrt(reduced / 35.0), abs=1e-10)


@pytest.mark.parametrize("temperature", [50.0, 150.0, 199.0, 201.0, 250.0])
def test_symmetry_breaking_alone_follows_the_square_root(temperature):
    model = replace(EQ2, a0=0.03, T_c=200.0)
    (minimum,) = model.minima(temperature)
    below = max(200.0 - temperature, 0.0)
    assert minimum.eta == pytest.approx(math.sqrt(0.03 / 10.0 * below), abs=1e-10)
    energy = -((0.03 * below) ** 2) / 40.0
    assert minimum.energy - float(model.spin_energy(temperature, minimum.q)) == pytest.approx(energy, abs=1e-10)
    assert model.entropy_symmetry_breaking(minimum.eta) == pytest.approx(-(0.03**2) * below / 20.0, abs=1e-10)


def test_eta_squared_at_full_high_spin_is_2_52():
    assert float(EQ4.eta_squared(300.0, 1.0)) == pytest.approx(2.52, abs=1e-12)
    q = np.linspace(-1.0, 1.0, 41)
    assert EQ4.eta_squared(200.0, q) == pytest.approx(np.maximum(0.0, -(2 * -6.5 * q + -12.2 * q**2) / 10.0))


def test_low_spin_saturates_and_q_leaves_one_where_the_closed_forms_say():
    assert border_release(EQ4, -1.0) == pytest.approx(235.0 - 35.0 / 0.6, abs=1e-9)
    coupling = (2 * -6.5 - 12.2) * (2 * -6.5 + 2 * -12.2) / 20.0
    assert coupling == pytest.approx(47.124)
    assert border_release(EQ4, 1.0) == pytest.approx(235.0 - (coupling - 35.0) / 0.6, abs=1e-9)


def test_low_spin_loses_stability_exactly_at_t_sc(jumps):
    assert jumps[0].temperature == pytest.approx(235.0, rel=1e-9)
    assert jumps[0].before == pytest.approx((0.0, 0.0), abs=1e-9)
    assert jumps[0].after == pytest.approx((1.0, math.sqrt(2.52)))


def test_the_high_spin_branch_ends_at_a_fold(jumps):
    _, down = jumps
    # g' = g'' = 0 of the cubic, eliminated by hand: 3 c3 q^2 + 2 c2 q + c1 = 0
    c3, c2, c1 = 35.0 - 12.2**2 / 10.0, -3.0 * 6.5 * 12.2 / 10.0, -2.0 * 6.5**2 / 10.0
    q = (-2.0 * c2 + math.sqrt(4.0 * c2**2 - 12.0 * c3 * c1)) / (6.0 * c3)
    temperature = 235.0 + (c3 * q**3 + c2 * q**2 + c1 * q) / 0.6
    assert down.before[0] == pytest.approx(q, abs=1e-9)
    assert down.temperature == pytest.approx(temperature, rel=1e-9)
    assert (q, temperature, down.after[0]) == pytest.approx((0.938, 214.57, -0.70), abs=0.006)


def test_both_phases_have_one_energy_between_the_spinodals(jumps):
    temperature = equal_energy_temperature(EQ4, *jumps)
    # low spin on the cube root, high spin at q = 1
    low = -0.75 * np.cbrt((0.6 * (temperature - 235.0)) ** 4 / 35.0)
    high = 0.6 * (235.0 - temperature) + 35.0 / 4.0 - 10.0 / 4.0 * 2.52**2
    assert low == pytest.approx(high, abs=1e-9)
    assert jumps[1].temperature < temperature < jumps[0].temperature


# two routes


@pytest.mark.parametrize("model", [EQ4, EQ3, replace(EQ4, B=8.0), replace(EQ4, D=3.0, E=-25.0)])
@pytest.mark.parametrize("temperature", [150.0, 216.0, 228.0, 234.0, 250.0])
def test_minima_agree_with_a_brute_force_grid(model, temperature):
    q, eta = np.linspace(-1.0, 1.0, 801), np.linspace(0.0, 3.0, 601)
    energy = model.energy(temperature, q[:, None], eta[None])
    padded = np.pad(energy, 1, constant_values=np.inf)
    padded[:, 0] = padded[:, 2]  # eta -> -eta
    shifts = [padded[1 + i : 802 + i, 1 + j : 602 + j] for i in (-1, 0, 1) for j in (-1, 0, 1) if i or j]
    found = [(q[i], eta[j]) for i, j in np.argwhere(np.all([energy < s for s in shifts], axis=0))]
    ours = model.minima(temperature)
    for minimum in ours:
        assert any(abs(minimum.q - a) < 0.01 and abs(minimum.eta - b) < 0.02 for a, b in found), (minimum, found)
    assert min(m.energy for m in ours) <= energy.min() + 1e-12
    assert energy.min() == pytest.approx(min(m.energy for m in ours), abs=0.01)


@pytest.mark.parametrize("temperature", [205.0, 214.7, 226.0])
def test_stationary_points_have_no_gradient_and_the_right_curvature(temperature):
    for model in (EQ4, EQ3):
        for point in model.stationary_points(temperature):
            slope = gradient(model, temperature, point.q, point.eta)
            assert slope[1] == pytest.approx(0.0, abs=1e-9)
            if abs(point.q) < 1.0:
                assert slope[0] == pytest.approx(0.0, abs=1e-9)
                curvatures = np.linalg.eigvalsh(hessian(model, temperature, point.q, point.eta))
                assert (curvatures[0] < 0) == (point.kind == "unstable")


def test_the_entropy_is_minus_the_derivative_of_the_energy():
    q, h = 0.37, 0.8
    found = float(EQ3.entropy_spin_crossover(q) + EQ3.entropy_symmetry_breaking(h))
    assert found == pytest.approx(float(EQ3.energy(220.5, q, h) - EQ3.energy(221.5, q, h)), rel=1e-9)


def test_the_slope_along_q_is_the_derivative_of_the_energy_along_q():
    q = np.linspace(-0.99, 0.99, 67)
    for model in (EQ4, EQ3):
        numeric = (model.energy_along_q(222.0, q + 1e-6) - model.energy_along_q(222.0, q - 1e-6)) / 2e-6
        assert model.slope(222.0, q) == pytest.approx(numeric, abs=1e-5)  # the curvature jumps at a region border


def test_the_barrier_is_the_lowest_pass_on_the_surface():
    low, high = EQ4.minima(225.0)
    q = np.linspace(low.q, high.q, 4001)
    lowest_path = EQ4.energy(225.0, q[:, None], np.linspace(0.0, 1.7, 1701)[None]).min(axis=1)
    assert EQ4.barrier(225.0, low, high) == pytest.approx(lowest_path.max() - low.energy, abs=1e-4)
    assert EQ4.barrier(225.0, high, low) == pytest.approx(lowest_path.max() - high.energy, abs=1e-4)


@pytest.mark.parametrize("model", [EQ4, EQ3])
def test_barriers_are_saddles_on_the_whole_surface_in_both_domains(model):
    up, down = spinodals(model)
    found = barriers(model, up, down)
    assert found["G_LH"][-1] == pytest.approx(0.0, abs=1e-6) and found["G_HL"][0] == pytest.approx(0.0, abs=1e-6)
    for t, q, eta in list(zip(*(found[k] for k in ("temperature_K", "q_saddle", "eta_saddle")), strict=True))[1:-1]:
        for sign in (1.0, -1.0):
            assert gradient(model, t, q, sign * eta) == pytest.approx([0.0, 0.0], abs=1e-8)
            curvatures = np.linalg.eigvalsh(hessian(model, t, q, sign * eta))
            assert curvatures[0] < 0.0 < curvatures[1]
    assert min(found["G_LH"] + found["G_HL"]) > -1e-9


def test_high_spin_has_two_domains_and_low_spin_one():
    low, minus, plus = EQ4.domains(225.0)
    assert low.eta == 0.0 and plus.eta == -minus.eta == pytest.approx(math.sqrt(2.52))
    assert EQ4.energy(225.0, plus.q, plus.eta) == EQ4.energy(225.0, minus.q, minus.eta)


def test_no_saddle_is_said_where_there_is_one_minimum():
    (only,) = EQ4.minima(150.0)
    with pytest.raises(BadInput, match="no saddle"):
        EQ4.barrier(150.0, only, only)


def test_stability_is_told_apart_and_symmetric_about_the_equal_energy_temperature(jumps):
    temperature = equal_energy_temperature(EQ4, *jumps)
    assert [m.kind for m in EQ4.minima(temperature - 1.0)] == ["stable", "metastable"]
    assert [m.kind for m in EQ4.minima(temperature + 1.0)] == ["metastable", "stable"]
    assert [m.kind for m in EQ4.minima(150.0)] == ["stable"]


def test_the_full_change_counts_the_symmetry_that_low_spin_has_lost():
    """D > 0 breaks it at q = -1: eta^2 = -2 w / b there and at q = 1."""
    parameters = PAPER | {"D": 6.5, "a0": 0.02, "T_c": 100.0}
    account = landau_account(parameters, [150.0, 300.0], ENTROPY)
    at = account["equal_energy_temperature_K"] or 235.0
    low, high = (max(0.0, -0.2 * (0.01 * (at - 100.0) + 6.5 * q - 6.1)) for q in (-1.0, 1.0))
    assert low > 1.0 > 0.5 > high
    found = account["entropy_check"]["full"]["entropy_symmetry_breaking_J_per_mol_K"]
    assert found == pytest.approx(-0.01 * (high - low) * 72.28 / 1.2)


@pytest.mark.parametrize(("t_sc", "reaches"), [(420.0, (100.0, 504.0)), (235.0, (100.0, 400.0))])
def test_the_branches_reach_beyond_both_ends_of_the_hysteresis(t_sc, reaches):
    assert covering(PAPER | {"T_SC": t_sc}, 100.0, 400.0) == pytest.approx(reaches, rel=1e-6)


def test_branches_begin_below_the_lower_end_of_a_cold_hysteresis(jumps):
    """Eq. 4 has no temperature but T_SC: its ends move with it."""
    assert covering(PAPER | {"T_SC": 100.0}, 100.0, 400.0)[0] == pytest.approx(0.8 * (jumps[1].temperature - 135.0))


# the account


def test_the_account_gives_the_numbers_of_the_paper(account):
    assert account["temperature_up_K"] == pytest.approx(235.0, abs=1e-6)
    assert account["temperature_down_K"] == pytest.approx(214.57, abs=0.005)
    assert account["saturation_temperature_K"] == pytest.approx(176.67, abs=0.005)
    assert account["q_leaves_one_temperature_K"] == pytest.approx(214.79, abs=0.005)


def test_the_accounts_fit_their_schema(account):
    for content in (account, no_landau("no parameters are known for this complex")):
        fulfils(content, "landau")
        json.dumps(content, allow_nan=False)


def test_a_complex_without_parameters_has_rows_for_no_branch():
    assert branch_rows(no_landau("none")) == []


def test_rows_hold_both_branches(account):
    rows = branch_rows(account)
    assert len(rows) == 222 and {row["branch"] for row in rows} == {"heating", "cooling"}
    physical = {f"{key}_J_per_mol_K" for key in ("S_SC", "S_SB", "S_total")}
    assert set(rows[0]) == {"branch", "temperature_K", "q", "eta", "G", "S_SC", "S_SB"} | physical
    highest = max(row["S_total_J_per_mol_K"] for row in rows)
    assert highest == pytest.approx(72.28 / 2.0)  # half of dS_SC above the middle, q = 0


def test_the_full_landau_change_is_the_computed_spin_crossover_entropy(account):
    check = account["entropy_check"]
    assert check["unit_J_per_mol_K"] == pytest.approx((13.38 + 58.9) / 1.2)
    assert check["full"]["entropy_total_J_per_mol_K"] == pytest.approx(72.28)
    assert check["heating"]["entropy_jump_J_per_mol_K"] == pytest.approx(72.28 / 2.0)
    assert check["cooling"]["measured_J_per_mol_K"] == 67.6
    assert any("Eq. 4 has no a0 term" in s for s in account["statements"])


def breaking_of_eq3(temperature, q):
    """Return -(a0/2) eta^2 of EQ3 with eta^2 = max(0, -2 w/b), written out."""
    return 0.03 / 10.0 * min(0.0, 0.015 * (temperature - 150.0) - 6.5 * q - 6.1 * q**2)


def test_with_a0_the_cost_of_symmetry_breaking_is_the_closed_form_in_jumps_rows_and_account():
    warming = ENTROPY | {"entropy_vibrational_difference_harmonic_J_per_mol_K": [50.0, 54.0, 58.9]}
    content = landau_account(asdict(EQ3), [200.0, 220.0, 228.0, 240.0, 250.0], warming)
    check, heating, equal = content["entropy_check"], content["jumps"]["heating"], content["equal_energy_temperature_K"]
    vibrational = 50.0 + 4.0 * (equal - 219.0) / (235.0 - 219.0)
    unit = (13.38 + vibrational) / 1.2
    assert check["temperature_K"] == equal == pytest.approx(228.39, abs=1e-3)
    assert check["unit_J_per_mol_K"] == pytest.approx(unit)
    assert (heating["q_before"], heating["q_after"]) == pytest.approx((-1.0 / math.sqrt(35.0), 1.0))
    for name, jump in content["jumps"].items():
        low, high = sorted((jump["q_before"], jump["q_after"]))
        broken = breaking_of_eq3(jump["temperature_K"], high) - breaking_of_eq3(jump["temperature_K"], low)
        parts = np.array([0.6 * (high - low), broken, 0.6 * (high - low) + broken])
        assert [jump["entropy_spin_crossover"], jump["entropy_symmetry_breaking"]] == pytest.approx(parts[:2])
        kinds = ("spin_crossover_", "symmetry_breaking_", "")
        assert [check[name][f"entropy_{kind}jump_J_per_mol_K"] for kind in kinds] == pytest.approx(unit * parts)
    full = unit * breaking_of_eq3(equal, 1.0)
    assert check["full"]["entropy_symmetry_breaking_J_per_mol_K"] == pytest.approx(full)
    assert check["full"]["entropy_total_J_per_mol_K"] == pytest.approx(13.38 + vibrational + full)
    for row in branch_rows(content):
        parts = np.array([0.6 * row["q"], breaking_of_eq3(row["temperature_K"], row["q"])])
        assert [row["S_SC"], row["S_SB"]] == pytest.approx(parts)
        found = [row[f"{key}_J_per_mol_K"] for key in ("S_SC", "S_SB", "S_total")]
        assert found == pytest.approx(unit * np.append(parts, parts.sum()))


def test_the_window_of_a0_is_the_one_worked_out_by_hand(account):
    window = account["a0_window"]
    assert window["condition_high_symmetry"] == pytest.approx(12.6)
    assert window["a0_largest"] == pytest.approx(0.0325)
    assert window["T_c_at_largest_K"] == pytest.approx(800.0 - 2.0 * 12.6 / 0.0325)
    # at q = 1 and T_up w = (a0/2)(235 - 800), so S_SB = a0 w / b
    bound = 0.0325 * 0.0325 / 2.0 * (235.0 - 800.0) / 10.0
    assert window["entropy_symmetry_breaking_bound"] == pytest.approx(bound)
    assert window["entropy_symmetry_breaking_bound_J_per_mol_K"] == pytest.approx(bound * 72.28 / 1.2)
    assert window["entropy_symmetry_breaking_strong_coupling_J_per_mol_K"] == pytest.approx(-2.5, abs=0.05)
    assert abs(window["entropy_symmetry_breaking_bound_J_per_mol_K"]) < abs(window["order_disorder_J_per_mol_K"])


def test_models_of_the_window_fulfil_both_constraints(account):
    for entry in account["a0_window"]["models"]:
        model = LandauModel(**(asdict(EQ4) | {"a0": entry["a0"], "T_c": entry["T_c_K"]}))
        assert float(model.eta_coefficient(800.0, 1.0)) == pytest.approx(0.0, abs=1e-9)
        assert float(model.eta_coefficient(0.0, -1.0)) > 0.0
        up, down = spinodals(model)
        ends = [end and end.temperature for end in (up, down)]
        assert [entry["temperature_up_K"], entry["temperature_down_K"]] == ends
        if up is None:
            assert entry["entropy_symmetry_breaking"] is None
            continue
        # eta^2 = -2 w / b where w < 0, so S = -(a0 / 2) eta^2 = a0 w / b
        low, high = (min(0.0, float(model.eta_coefficient(up.temperature, q))) for q in (-1.0, 1.0))
        assert entry["entropy_symmetry_breaking"] == pytest.approx(entry["a0"] / model.b * (high - low))
        assert entry["entropy_symmetry_breaking"] < 0.0


def test_the_computed_total_beside_the_model_is_read_between_its_temperatures():
    sloping = ENTROPY | {"entropy_total_difference_J_per_mol_K": [60.0, 64.0, 70.0]}
    check = landau_account(PAPER, [200.0, 250.0], sloping)["entropy_check"]
    at = check["temperature_K"]
    assert 219.0 < at < 235.0
    assert check["entropy_total_dft_J_per_mol_K"] == pytest.approx(60.0 + 4.0 * (at - 219.0) / 16.0)
    assert check["entropy_spin_crossover_dft_J_per_mol_K"] == pytest.approx(13.38 + 58.9)
    assert check["entropy_symmetry_breaking_dft_J_per_mol_K"] == -5.76


def test_symmetry_breaking_costs_entropy_only_with_positive_a0_in_eq_3():
    assert float(EQ3.entropy_symmetry_breaking(1.5)) < 0.0
    assert float(replace(EQ3, a0=-0.03).entropy_symmetry_breaking(1.5)) > 0.0


def test_the_sign_remark_is_computed(account):
    (remark,) = [line for line in account["statements"] if line.startswith("Sign of a0")]
    assert "a gain; in eq. 3" in remark and "a cost." in remark


def test_borrowed_parameters_are_called_borrowed():
    account = landau_account(PAPER | {"borrowed_from": "fe-pm-pea2-ncs2"}, [200.0, 250.0])
    assert account["borrowed_from"] == "fe-pm-pea2-ncs2" and "borrowed" in account["statements"][0]
    assert account["entropy_check"] is None
    fulfils(account, "landau")


def test_wells_lie_inside_the_hysteresis_and_half_its_width_below_and_above(account):
    below, inside, above = account["wells"]
    up, down = account["temperature_up_K"], account["temperature_down_K"]
    half = (up - down) / 2.0
    assert (below["temperature_K"], above["temperature_K"]) == pytest.approx((down - half, up + half))
    assert inside["temperature_K"] == account["equal_energy_temperature_K"]
    assert inside["barrier_low_to_high"] == pytest.approx(inside["barrier_high_to_low"], abs=1e-9)
    assert below["barrier_low_to_high"] is None


# guards


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"b": 0.0}, "no lower bound in eta"),
        ({"b": -1.0}, "no lower bound in eta"),
        ({"C": -35.0}, "no lower bound in q"),
        ({"a1": 0.0}, "a1 must be positive"),
        ({"T_SC": -1.0}, "T_SC must be positive"),
        ({"D": math.nan}, "D must be a finite number"),
        ({"E": "x"}, "E must be a finite number"),
        ({"F": 1.0}, "unknown keys F"),
        ({"C": None}, "no C"),
    ],
)
def test_parameters_that_cannot_be_used_are_refused(change, words):
    with pytest.raises(BadInput, match=words):
        LandauModel.from_parameters(PAPER | change)


@pytest.mark.parametrize("grid", [[200.0], [250.0, 200.0], [200.0, math.nan], [-1.0, 200.0], [200.0, 200.0]])
def test_temperatures_must_ascend(grid):
    with pytest.raises(BadInput, match="ascending"):
        landau_account(PAPER, grid)


def test_only_the_two_borders_have_a_release_temperature():
    with pytest.raises(BadInput, match="borders"):
        border_release(EQ4, 0.5)


def test_no_window_where_the_coupling_does_not_favour_high_spin():
    assert a0_window(replace(EQ4, D=1.0), None, 235.0) is None


@pytest.mark.parametrize(("change", "temperature_up"), [({"E": 20.0}, 235.0), ({}, 850.0)])
def test_no_window_without_broken_high_spin_or_with_a_transition_above_the_high_symmetry_phase(change, temperature_up):
    assert a0_window(replace(EQ4, **change), None, temperature_up) is None
