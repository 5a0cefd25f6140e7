"""The entropy account: its terms, what stands beside it, then every guard."""

import json
import math

import numpy as np
import pytest
from ase import units as ase_units
from ase.thermochemistry import HarmonicThermo
from scipy.optimize import brentq

from sample_provenance import fulfils
from spincross import mode_entropy as modes
from spincross.entropy import entropy_account, entropy_rows
from spincross.entropy_shares import mode_rows
from spincross.entropy_terms import spin_entropy, subgroup_index, symmetry_breaking_entropy, usable_modes
from spincross.errors import BadInput, Inhomogeneous, UnexpectedImaginaryMode
from spincross.units import GAS_CONSTANT, HARTREE_TO_KJ_PER_MOL
from test_mode_entropy import EV_TO_J_PER_MOL, WAVES

CALORIMETRY = {
    "heating_J_per_mol_K": 62.8,
    "cooling_J_per_mol_K": 67.6,
    "temperature_up_K": 235.0,
    "temperature_down_K": 219.0,
    "doi": "10.1039/d4mh01318b",
}


def vibrations(state, waves, group="C2", multiplicity=1, energy=-1.0, floor=5.0, **more):
    """Return the content of a vibrations.json."""
    return {
        "complex": "test",
        "level": {"functional": "PBE0", "basis": "def2-SVP"},
        "state": state,
        "point_group": group,
        "method": "analytic",
        "multiplicity": multiplicity,
        "energy_hartree": energy,
        "wavenumbers_per_cm": list(waves),
        "noise_floor_per_cm": floor,
        "imaginary_modes": [],
        "undetermined_modes": [i for i, w in enumerate(waves) if abs(w) <= floor],
    } | more


def pair(high_waves=0.8 * WAVES, **high):
    """Return LS in C2 and HS in C1."""
    arguments = {"group": "C1", "multiplicity": 5, "energy": -0.99} | high
    return vibrations("LS", WAVES), vibrations("HS", high_waves, **arguments)


def test_spin_and_symmetry_terms_are_r_ln_5_and_minus_r_ln_2():
    assert spin_entropy(1, 5) == pytest.approx(GAS_CONSTANT * math.log(5.0), rel=1e-15)
    assert symmetry_breaking_entropy(2) == pytest.approx(-5.7631, abs=1e-4)
    assert symmetry_breaking_entropy(1) == 0.0
    assert subgroup_index("C2", "C1", broken=True) == 2
    assert subgroup_index("C2", "C2", broken=False) == 1


# the account


@pytest.fixture(scope="module")
def account():
    low, high = pair(fragment_fractions=fragments(0.5))
    literature = {
        "entropy_vibrational_difference_J_per_mol_K": 58.9,
        "source": "text",
        "energy_lowering_kJ_per_mol": 9.6,
    }
    return entropy_account(
        low, high, {"broken": True, "energy_lowering_kJ_per_mol": 9.0}, [300.0, 100.0], CALORIMETRY, literature
    )


def test_the_account_fits_its_schema(account):
    fulfils(account, "entropy")
    json.dumps(account, allow_nan=False)


def test_calorimetric_and_standard_temperatures_are_included(account):
    assert account["temperatures_K"] == [100.0, 219.0, 235.0, 298.15, 300.0]


def test_the_total_is_the_sum_of_its_terms(account):
    other = account["entropy_spin_difference_J_per_mol_K"] + account["entropy_symmetry_breaking_J_per_mol_K"]
    for total, part in (("", "_harmonic"), ("_quasi_rrho", "_quasi_rrho")):
        vibrational = account[f"entropy_vibrational_difference{part}_J_per_mol_K"]
        assert account[f"entropy_total_difference{total}_J_per_mol_K"] == pytest.approx(
            [v + other for v in vibrational]
        )


def test_the_cumulative_curve_counts_every_mode_up_to_a_wavenumber_and_ends_at_the_difference(account):
    at = account["temperatures_K"].index(298.15)
    harmonic = account["entropy_vibrational_difference_harmonic_J_per_mol_K"][at]
    curve, low, high = account["cumulative"], WAVES, 0.8 * WAVES
    assert curve["wavenumbers_per_cm"] == sorted([*low, *high])
    for wave, found in zip(curve["wavenumbers_per_cm"], curve["entropy_J_per_mol_K"], strict=True):
        below = [modes.harmonic_entropy(w[w <= wave], curve["temperature_K"]).sum() for w in (low, high)]
        assert found == pytest.approx(below[1] - below[0])
    assert curve["entropy_J_per_mol_K"][-1] == pytest.approx(harmonic, rel=1e-12)


def test_scaling_all_modes_by_one_factor_gives_the_classical_difference():
    """R ln(1 / 0.8) a mode, where kT is far above every quantum: the next term falls with the square of it."""
    found = entropy_account(*pair(), {"broken": True}, [1.0e6])
    classical = len(WAVES) * -GAS_CONSTANT * math.log(0.8)
    at = found["temperatures_K"].index(1.0e6)
    assert found["entropy_vibrational_difference_harmonic_J_per_mol_K"][at] == pytest.approx(classical, rel=1e-5)


def test_energies_are_high_spin_minus_low_spin(account):
    assert account["adiabatic_energy_difference_kJ_per_mol"] == pytest.approx(0.01 * HARTREE_TO_KJ_PER_MOL)
    assert account["zero_point_energy_difference_kJ_per_mol"] == pytest.approx(-0.2 * modes.zero_point_energy(WAVES))


def energies_of_ase(temperature):
    """Return ΔH and ΔG of `pair`, kJ/mol: oscillators of ASE, the electronic difference, R ln 5 and -R ln 2."""
    low, high = (HarmonicThermo(factor * WAVES * ase_units.invcm) for factor in (1.0, 0.8))
    heat, entropy = (
        (getattr(high, name)(temperature, verbose=False) - getattr(low, name)(temperature, verbose=False))
        * EV_TO_J_PER_MOL
        for name in ("get_internal_energy", "get_entropy")
    )
    enthalpy = 0.01 * HARTREE_TO_KJ_PER_MOL + heat / 1000.0
    return enthalpy, enthalpy - temperature * (entropy + GAS_CONSTANT * math.log(5.0 / 2.0)) / 1000.0


def test_enthalpy_gibbs_energy_and_its_zero_agree_with_ase(account):
    at = account["temperatures_K"].index(235.0)
    ours = [account[f"{name}_difference_kJ_per_mol"][at] for name in ("enthalpy", "gibbs_energy")]
    assert ours == pytest.approx(energies_of_ase(235.0), rel=1e-6)
    crossover = brentq(lambda t: energies_of_ase(t)[1], 100.0, 1500.0)
    assert account["crossover"]["temperature_K"] == pytest.approx(crossover, rel=1e-6)


def test_where_high_spin_is_stable_in_the_cold_and_low_spin_in_the_heat_they_meet_the_other_way_round():
    low, high = pair(high_waves=1.5 * WAVES, energy=-1.01)
    account = entropy_account(low, high, {"broken": True}, [10.0, 1000.0])
    cold, _, hot = account["gibbs_energy_difference_kJ_per_mol"]
    assert cold < 0.0 < hot
    assert account["crossover"]["stable_below"] == "HS"
    meeting = account["crossover"]["temperature_K"]
    again = entropy_account(low, high, {"broken": True}, [meeting])
    assert again["gibbs_energy_difference_kJ_per_mol"][again["temperatures_K"].index(meeting)] == pytest.approx(
        0.0, abs=1e-6
    )


@pytest.mark.parametrize(("energy", "state"), [(-1.1, "HS"), (-0.8, "LS")])
def test_where_one_state_is_stable_throughout_it_is_named(energy, state):
    account = entropy_account(*pair(energy=energy), {"broken": True}, [10.0])
    assert account["crossover"]["temperature_K"] is None
    assert account["crossover"]["stable_below"] == state


def test_hessians_made_in_different_ways_are_said():
    low, high = pair()
    used = {"grid_level": 3, "response_grid_level": 3, "step_bohr": 0.005}
    low |= {"method": "analytic", "hessian_settings": used}
    high |= {"method": "analytic", "hessian_settings": used | {"response_grid_level": 1, "step_bohr": 0.01}}
    said = entropy_account(low, high, {"broken": True}, [100.0])["warnings"]
    assert said == [
        "the Hessians are not alike: the grid level of the exchange-correlation kernel in the orbital response is 3 "
        "for LS and 1 for HS; soft modes, and ΔS_vib, may differ by it"
    ]
    high["hessian_settings"] = used | {"step_bohr": 0.01}
    assert entropy_account(low, high, {"broken": True}, [100.0])["warnings"] == []
    low["hessian_settings"], high["hessian_settings"] = used | {"grid_response": False}, used | {"grid_response": True}
    assert entropy_account(low, high, {"broken": True}, [100.0])["warnings"] == [
        "the Hessians are not alike: the response of the grid itself (counted or not) is False for LS and True for HS; "
        "soft modes, and ΔS_vib, may differ by it"
    ]


@pytest.mark.parametrize(
    ("key", "name", "values"),
    [("grid_level", "the grid level", (3, 4)), ("step_bohr", "the step in bohr", (0.005, 0.01))],
)
def test_finite_differences_of_another_grid_or_step_are_said(key, name, values):
    low, high = pair()
    for content, value in zip((low, high), values, strict=True):
        settings = {"grid_level": 3, "step_bohr": 0.005, "response_grid_level": value} | {key: value}
        content |= {"method": "finite differences", "hessian_settings": settings}
    assert entropy_account(low, high, {"broken": True}, [100.0])["warnings"] == [
        f"the Hessians are not alike: {name} is {values[0]} for LS and {values[1]} for HS; soft modes, and ΔS_vib, may "
        "differ by it"
    ]


def test_quasi_rrho_below_50_k_is_said_to_be_wrong():
    """The rotor is classical: at 5 K its entropy of this molecule is negative, the exact one is not."""
    low, high = pair()
    account = entropy_account(low, high, {"broken": True}, [5.0, 49.0, 50.0])
    assert account["warnings"] == [
        "the rotor of quasi-RRHO is classical: below 50 K (here at 5, 49 K) its entropies are too low, and at last "
        "negative"
    ]
    assert account["entropy_vibrational_LS_quasi_rrho_J_per_mol_K"][0] < 0.0
    assert account["entropy_vibrational_LS_harmonic_J_per_mol_K"][0] >= 0.0


@pytest.mark.parametrize(("branch", "temperature", "measured"), [("heating", 235.0, 62.8), ("cooling", 219.0, 67.6)])
def test_the_verdict_has_both_treatments_apart(account, branch, temperature, measured):
    at, verdict = account["temperatures_K"].index(temperature), account["verdict"][branch]
    found = []
    for name, key in (("harmonic", ""), ("quasi_rrho", "_quasi_rrho")):
        value = account[f"entropy_total_difference{key}_J_per_mol_K"][at]
        assert verdict[f"computed_{name}_J_per_mol_K"] == value
        assert verdict[f"difference_{name}_J_per_mol_K"] == pytest.approx(value - measured, abs=1e-12)
        assert f"{value:.1f} {'harmonic' if name == 'harmonic' else 'quasi-RRHO'}" in verdict["text"]
        found.append(round(value, 1))
    assert found[0] != found[1]


def test_the_verdict_reads_each_branch_at_its_own_temperature(account):
    cooling = account["verdict"]["cooling"]
    at = account["temperatures_K"].index(219.0)
    assert cooling["computed_harmonic_J_per_mol_K"] == account["entropy_total_difference_J_per_mol_K"][at]
    assert cooling["difference_harmonic_J_per_mol_K"] == pytest.approx(cooling["computed_harmonic_J_per_mol_K"] - 67.6)
    assert "219 K" in cooling["text"] and cooling["inside_band"] is False


@pytest.mark.parametrize("treatment", ["", "_quasi_rrho"])
def test_a_measured_value_inside_the_band_and_no_other_is_said_to_agree(account, treatment):
    at = account["temperatures_K"].index(235.0)
    stem = f"entropy_total_difference{treatment}"
    lower, upper = (account[f"{stem}_{end}_J_per_mol_K"][at] for end in ("low", "high"))
    for value, inside in ((lower - 0.1, False), (lower + 0.1, True), (upper - 0.1, True), (upper + 0.1, False)):
        calorimetry = CALORIMETRY | {"heating_J_per_mol_K": value}
        verdict = entropy_account(*pair(), {"broken": True}, [], calorimetry)["verdict"]["heating"]
        assert verdict[f"inside_band{treatment}"] is inside
        said = f"(band {lower:.1f} to {upper:.1f}: {'agrees' if inside else 'disagrees'})"
        assert said in verdict["text"]


def test_without_calorimetry_there_is_no_verdict_and_without_breaking_no_symmetry_term():
    low, high = pair(group="C2")
    account = entropy_account(low, high, {"broken": False}, [298.15])
    assert account["verdict"] is None and account["subgroup_index"] == 1
    assert account["entropy_symmetry_breaking_J_per_mol_K"] == 0.0
    fulfils(account, "entropy")


def test_literature_stands_beside_our_harmonic_number(account):
    lowering, vibrational = account["literature_comparison"]
    assert lowering["difference"] == pytest.approx(-0.6)
    at = account["temperatures_K"].index(298.15)
    assert vibrational["computed"] == account["entropy_vibrational_difference_harmonic_J_per_mol_K"][at]


def fragments(core):
    """Return shares of every mode on three fragments."""
    return {name: [share] * len(WAVES) for name, share in (("core", core), ("ncs", 0.1), ("ligands", 0.9 - core))}


def test_fragments_weight_each_mode_by_its_share_and_add_up(account):
    at = account["temperatures_K"].index(298.15)
    assert account["fragments"]["core_J_per_mol_K"] is None  # LS of this pair has no fractions
    low, high = pair(fragment_fractions=fragments(0.5))
    both = entropy_account(low | {"fragment_fractions": fragments(0.5)}, high, {"broken": True}, [], CALORIMETRY)
    whole = account["entropy_vibrational_difference_harmonic_J_per_mol_K"][at]
    assert both["fragments"]["core_J_per_mol_K"] == pytest.approx(whole / 2.0)
    parts = [both["fragments"][f"{name}_J_per_mol_K"] for name in ("core", "ncs", "ligands")]
    assert sum(parts) == pytest.approx(whole, rel=1e-12)


def test_cumulative_sums_by_irrep_and_fragment_add_up_everywhere():
    irreps = {"A": np.linspace(0, 1, len(WAVES)).tolist(), "B": np.linspace(1, 0, len(WAVES)).tolist()}
    low, high = pair(fragment_fractions=fragments(0.2), parent_irrep_fractions=irreps)
    low |= {"fragment_fractions": fragments(0.3), "parent_irrep_fractions": irreps}
    account = entropy_account(low, high, {"broken": True}, [])
    curve = account["cumulative"]
    for key in ("by_irrep_J_per_mol_K", "by_fragment_J_per_mol_K"):
        assert np.sum(list(curve[key].values()), axis=0) == pytest.approx(np.array(curve["entropy_J_per_mol_K"]))
    assert sum(account["irreps"].values()) == pytest.approx(curve["entropy_J_per_mol_K"][-1])
    fulfils(account, "entropy")


def test_heat_capacity_and_zero_point_of_both_states_give_the_differences(account):
    for stem, unit in (("heat_capacity", "J_per_mol_K"), ("zero_point_energy", "kJ_per_mol")):
        low, high, change = (np.array(account[f"{stem}_{name}_{unit}"]) for name in ("LS", "HS", "difference"))
        assert change == pytest.approx(high - low) and np.all(low > 0)


def test_the_paper_stands_beside_with_its_slip_in_r_ln_5():
    low, high = pair()
    paper = {"entropy_total_difference_J_per_mol_K": 66.5, "doi": "10.1039/d4mh01318b"}
    account = entropy_account(low, high, {"broken": True}, [], CALORIMETRY, paper)
    rows = {row["quantity"]: row for row in account["literature_comparison"]}
    assert rows["entropy_spin_difference_J_per_mol_K"]["literature"] == 13.42
    assert rows["entropy_spin_difference_J_per_mol_K"]["computed"] == pytest.approx(13.38, abs=0.005)
    assert rows["entropy_symmetry_breaking_J_per_mol_K"]["difference"] == pytest.approx(0.0, abs=0.005)
    assert len(rows) == 4 and "13.38" in account["literature_note"]
    assert 58.9 + spin_entropy(1, 5) + symmetry_breaking_entropy(2) == pytest.approx(66.5, abs=0.05)


def test_the_table_of_modes_adds_up_to_the_account(account):
    low, high = pair()
    states = usable_modes(low), usable_modes(high)
    rows = list(mode_rows(low, high, states, account["temperatures_K"]))
    assert len(rows) == 2 * len(WAVES) * len(account["temperatures_K"])
    for treatment in ("harmonic", "quasi_rrho", "raised"):
        whole = account[f"entropy_vibrational_HS_{treatment}_J_per_mol_K"][2]
        found = [r for r in rows if r["state"] == "HS" and r["temperature_K"] == 235.0]
        assert sum(r[f"entropy_{treatment}_J_per_mol_K"] for r in found) == pytest.approx(whole)
    zero_point = sum(r["zero_point_energy_kJ_per_mol"] for r in rows if r["temperature_K"] == 100.0)
    assert zero_point == pytest.approx(1.8 * modes.zero_point_energy(WAVES))


def test_the_text_on_t_half_says_what_it_is_and_names_the_bias(account):
    text = account["crossover"]["text"]
    assert "T½ = ΔH/ΔS" in text and "not a prediction" in text and "exact exchange favours HS" in text


def test_rows_have_one_line_per_temperature_and_the_same_columns(account):
    rows = entropy_rows(account)
    assert [row["temperature_K"] for row in rows] == account["temperatures_K"]
    assert len({tuple(row) for row in rows}) == 1
    assert rows[0]["entropy_total_difference_J_per_mol_K"] == account["entropy_total_difference_J_per_mol_K"][0]


def test_different_hessian_methods_are_said():
    low, high = pair(method="finite differences")
    assert "finite differences" in entropy_account(low, high, {"broken": True}, [])["warnings"][0]


# guards


@pytest.mark.parametrize(
    "function", [modes.harmonic_entropy, modes.quasi_rrho_entropy, modes.raised_entropy, modes.heat_capacity]
)
def test_an_imaginary_mode_has_no_entropy(function):
    with pytest.raises(UnexpectedImaginaryMode, match=r"-300\.0"):
        function([-300.0, 100.0], 298.15)


def test_an_imaginary_mode_has_no_zero_point_energy():
    with pytest.raises(UnexpectedImaginaryMode):
        modes.zero_point_energy([-300.0])


def test_a_saddle_is_not_a_thermodynamic_state():
    low, high = pair(high_waves=np.append(-60.0, WAVES[1:]), imaginary_modes=[0])
    with pytest.raises(UnexpectedImaginaryMode, match="not a minimum"):
        entropy_account(low, high, {"broken": True}, [])


def test_a_zero_mode_without_a_noise_floor_is_an_error():
    with pytest.raises(UnexpectedImaginaryMode):
        usable_modes(vibrations("HS", [0.0, 100.0], floor=0.0))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"level": {"functional": "PBE0", "basis": "def2-TZVP"}}, "basis 'def2-SVP' against 'def2-TZVP'"),
        ({"wavenumbers_per_cm": list(WAVES[1:])}, "9 modes and HS has 8"),
        ({"complex": "other"}, "complex"),
        ({"masses_amu": [1.0]}, "masses"),
        ({"state": "LS"}, "states LS and HS"),
    ],
)
def test_states_made_differently_are_not_subtracted(change, words):
    low, high = pair()
    with pytest.raises(Inhomogeneous, match=words):
        entropy_account(low, high | change, {"broken": True}, [])


def test_states_of_two_pyscf_versions_are_told():
    """Not refused: all DFT is done by then."""
    low, high = pair()
    made = [{"hessian_versions": {"pyscf": v}} for v in ("2.13.0", "2.14.0")]
    text = "the Hessian of LS comes from PySCF 2.13.0 and that of HS from 2.14.0"
    assert text in entropy_account(low | made[0], high | made[1], {"broken": True}, [])["warnings"]
    assert text not in entropy_account(low | made[0], high | made[0], {"broken": True}, [])["warnings"]


@pytest.mark.parametrize("temperature", [0.0, -5.0, math.nan, math.inf])
def test_temperatures_must_be_positive(temperature):
    low, high = pair()
    with pytest.raises(BadInput, match="temperatures"):
        entropy_account(low, high, {"broken": True}, [temperature])
    with pytest.raises(BadInput, match="temperature"):
        modes.harmonic_entropy([100.0], temperature)


def test_other_bad_input_is_refused():
    with pytest.raises(BadInput, match="finite"):
        modes.harmonic_entropy([math.nan], 298.15)
    with pytest.raises(BadInput, match="finite"):
        usable_modes(vibrations("HS", []))
    with pytest.raises(BadInput, match="no proper subgroup"):
        subgroup_index("C1", "C1", broken=True)
    with pytest.raises(BadInput, match="multiplicities"):
        spin_entropy(0, 5)
    with pytest.raises(BadInput, match="index"):
        symmetry_breaking_entropy(0)
    short = {"core": [0.1], "ncs": [0.0], "ligands": [0.9]}
    low, high = pair(fragment_fractions=short)
    with pytest.raises(BadInput, match="one per mode"):
        entropy_account(low, high, {"broken": True}, [])
    overlapping = fragments(0.5) | {"ligands": [0.9] * len(WAVES)}
    with pytest.raises(BadInput, match="must not overlap"):
        entropy_account(low | {"fragment_fractions": overlapping}, high, {"broken": True}, [])
