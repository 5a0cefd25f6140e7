"""What a report claims: verdicts and the three sentences of the answer."""

from __future__ import annotations

import copy

import pytest

import sample_report
from spincross import answer, findings


def verdicts(data: findings.Json) -> dict[str, str]:
    """Return the verdict of every claim by its first words."""
    return {claim.text: claim.verdict for claim in findings.claims(data)}


def test_an_imaginary_mode_of_the_minimum_is_not_supported() -> None:
    """The claim of a minimum fails when a mode is imaginary."""
    data = sample_report.sample()
    data["vibrations"]["HS"] |= {
        "imaginary_modes": [0],
        "wavenumbers_per_cm": [-30.0, *sample_report.WAVES["HS"][0][1:]],
    }
    assert verdicts(data)["HS in C1 is a minimum: all modes are real."] == "not supported"


def test_a_mode_inside_the_noise_makes_a_claim_uncertain() -> None:
    """Modes inside the floor are unknown; a breaking mode near the floor is not certain either."""
    data = sample_report.sample()
    data["vibrations"]["LS"]["undetermined_modes"] = [0]
    data["vibrations"]["HS_parent"]["noise_floor_per_cm"] = 400.0
    found = verdicts(data)
    assert found["LS in C2 is a minimum: all modes are real."] == "uncertain" and found["HS breaks C2."] == "uncertain"


@pytest.mark.parametrize(
    ("inside", "inside_quasi", "expected"),
    [
        ((True, True), (True, True), "supported"),
        ((True, True), (True, False), "uncertain"),
        ((True, True), (False, False), "uncertain"),
        ((True, False), (False, False), "uncertain"),
        ((False, False), (False, True), "uncertain"),
        ((False, False), (False, False), "not supported"),
    ],
)
def test_calorimetry_supports_the_total_only_on_both_branches(
    inside: tuple[bool, bool], inside_quasi: tuple[bool, bool], expected: str
) -> None:
    """One branch alone, or one treatment alone, leaves it open."""
    data = sample_report.sample()
    for branch, harmonic, quasi in zip(("heating", "cooling"), inside, inside_quasi, strict=True):
        data["entropy"]["verdict"][branch] |= {"inside_band": harmonic, "inside_band_quasi_rrho": quasi}
    assert verdicts(data)["The total entropy agrees with calorimetry."] == expected


def settled(verdict: str) -> findings.Json:
    """Return data in which the first mode of LS lies inside the noise and larger steps have a verdict on it."""
    data = sample_report.sample()
    row = {"mode_index": 0, "verdict": verdict, "wavenumber_per_cm": 1.2, "scan_energy_hartree": [4e-7, 0.0, 4e-7]}
    row |= {"second_step_wavenumber_per_cm": 9.8, "scan_wavenumber_per_cm": -7.6, "scan_harmonic_hartree": -2e-7}
    data["vibrations"]["LS"] |= {"settled_modes": [row], "undetermined_modes": [0]}
    return data


@pytest.mark.parametrize(("verdict", "expected"), [("real", "not supported"), ("undetermined", "uncertain")])
def test_a_parent_mode_settled_as_real_breaks_nothing(verdict: str, expected: str) -> None:
    """Whether HS keeps the group is open only while the sign of a mode is."""
    data = sample_report.unbroken()
    data["vibrations"]["HS_parent"] |= settled(verdict)["vibrations"]["LS"] | {"state": "HS"}
    assert verdicts(data)["HS breaks C2."] == expected
    assert answer.sentences(data)[0].startswith("Open: HS in C2" if expected == "uncertain" else "No: HS keeps C2")
    data["vibrations"]["HS_parent"]["irreps"] = ["A", *data["vibrations"]["HS_parent"]["irreps"][1:]]
    assert verdicts(data)["HS breaks C2."] == "not supported"  # a mode that keeps the group does not break it


def test_doubts_about_the_scan_leave_a_broken_group_uncertain() -> None:
    """And the brink is told beside the numbers."""
    data = sample_report.sample()
    assert verdicts(data)["HS breaks C2."] == "supported"
    data["optimise"]["HS_parent"]["stability_blocks"] = [{"rotations": "B", "eigenvalue_hartree": 7e-4}]
    claim = next(c for c in findings.claims(data) if c.text == "HS breaks C2.")
    assert claim.verdict == "supported"
    assert "on the brink of breaking C2" in claim.evidence
    data["optimise"]["HS_parent"]["stability_blocks"] = [{"rotations": "B", "eigenvalue_hartree": -7e-3}]
    claim = next(c for c in findings.claims(data) if c.text == "HS breaks C2.")
    assert claim.verdict == "uncertain"
    assert "unstable towards breaking C2" in claim.evidence
    data["optimise"]["HS_parent"]["stability_blocks"] = []
    claim = next(c for c in findings.claims(data) if c.text == "HS breaks C2.")
    assert claim.verdict == "supported"
    assert "no test of its electrons for rotations of irrep B, which break C2, is on record" in claim.evidence
    data["mode"]["warnings"] = ["E(Q) jumps"]
    claim = next(c for c in findings.claims(data) if c.text == "HS breaks C2.")
    assert claim.verdict == "uncertain"
    assert "doubts about the scan: 1" in claim.evidence


@pytest.mark.parametrize(
    ("block", "open_"),
    [
        ({"rotations": "B", "eigenvalue_hartree": 7e-4}, True),
        ({"rotations": "B", "eigenvalue_hartree": 7e-4, "noise_hartree": 1e-4}, False),
        ({"rotations": "A", "eigenvalue_hartree": 7e-4}, False),
        ({"rotations": "B triplet", "eigenvalue_hartree": 7e-4}, True),
        ({"rotations": "B", "eigenvalue_hartree": 7e-3}, False),
    ],
)
def test_electrons_on_the_brink_of_breaking_the_group_leave_it_open(block: findings.Json, open_: bool) -> None:
    """Their sign decides that of the curvature; rotations that keep the group do not."""
    data = sample_report.unbroken()
    others = [b for b in data["optimise"]["HS_parent"]["stability_blocks"] if b["rotations"] not in block["rotations"]]
    data["optimise"]["HS_parent"]["stability_blocks"] = [block, *others]
    assert verdicts(data)["HS breaks C2."] == ("uncertain" if open_ else "not supported")
    _, mode, entropy = answer.sentences(data)
    assert ("ΔS_SB for zero" in mode, "no cost of symmetry breaking is counted" in entropy) == (open_, open_)
    assert ("on the brink of breaking C2 (orbital Hessian eigenvalue 0.00070" in answer.sentences(data)[0]) == open_
    data["optimise"]["HS_parent"]["stability_blocks"] = [block | {"eigenvalue_hartree": -0.02}, *others]
    unstable = "Open" if block["rotations"][0] == "B" else "No"
    assert answer.sentences(data)[0].startswith(unstable)
    assert ("unstable towards breaking C2" in answer.sentences(data)[0]) == (unstable == "Open")


@pytest.mark.parametrize(("excess", "expected"), [(0.01, "supported"), (0.2, "uncertain"), (0.6, "not supported")])
def test_spin_contamination_is_judged_by_its_size(excess: float, expected: str) -> None:
    """The limits are those of the gates."""
    data = sample_report.sample()
    data["optimise"]["HS"]["s_squared"] = 2.0 + excess
    assert verdicts(data)["The states have the spin asked for."] == expected


def test_entropy_that_does_not_pay_is_said() -> None:
    """A negative total turns the claim and the sentence."""
    data = sample_report.sample()
    entropy = data["entropy"] = copy.deepcopy(data["entropy"])
    entropy[findings.BREAKING] = -50.0
    for key in (findings.TOTAL, findings.TOTAL_QUASI):
        entropy[key] = [value - 44.24 for value in entropy[key]]
    assert "entropy does not pay for it." in answer.sentences(data)[2]
    assert verdicts(data)["Vibrations and spin pay the entropy cost of the broken symmetry."] == "not supported"


@pytest.mark.parametrize("broken", [True, False])
def test_what_the_entropy_does_at_this_level_is_said_beside_it(broken: bool) -> None:
    """A state that is the lower one throughout has no crossover, whatever the entropy; a temperature is no promise."""
    data = sample_report.sample() if broken else sample_report.unbroken()
    account = data["entropy"] = data["entropy"] | {"adiabatic_energy_difference_kJ_per_mol": -70.96}
    account["crossover"] = {"temperature_K": None, "stable_below": "HS", "text": ""}
    end = " At this level (HS minus LS −71.0 kJ/mol) HS has the lower Gibbs energy up to 2000 K: it shows no crossover."
    assert answer.sentences(data)[2].endswith(end)
    account |= {"adiabatic_energy_difference_kJ_per_mol": 12.3}
    account["crossover"] = {"temperature_K": 180.4, "stable_below": "LS", "text": ""}
    assert "(HS minus LS +12.3 kJ/mol) both states have the same Gibbs energy at 180 K" in answer.sentences(data)[2]


@pytest.mark.parametrize("blocks", [None, [], [{"rotations": "A", "eigenvalue_hartree": 0.01}]])
def test_electrons_that_were_not_tested_for_breaking_the_group_leave_it_open(
    blocks: list[findings.Json] | None,
) -> None:
    """A curvature has the wrong sign beyond an electronic instability, so none that was looked for is not enough."""
    data = sample_report.unbroken()
    data["optimise"]["HS_parent"]["stability_blocks"] = blocks
    assert answer.sentences(data)[0].startswith("Open: HS in C2 has no imaginary mode")
    assert verdicts(data)["HS breaks C2."] == "uncertain"


def test_a_claim_of_breaking_tells_what_each_part_of_the_distortion_gives() -> None:
    """On the parent's Hessian; soft modes within the group make their share large without gaining anything."""
    data = sample_report.sample()
    data["mode"]["breaking_share_of_distortion"] = 0.07
    claim = next(c for c in findings.claims(data) if c.text == "HS breaks C2.")
    assert claim.verdict == "supported" and answer.sentences(data)[0].startswith("Yes")
    parts = "the part of the distortion that breaks C2 gives −11.40 kJ/mol, that within C2 +0.21"
    assert parts in claim.evidence


def test_a_gain_beyond_the_downward_curvature_is_a_doubt() -> None:
    """A relaxed structure that fell into another fold gains more than a well along the mode can."""
    data = sample_report.sample()
    data["mode"] |= {"energy_lowering_kJ_per_mol": 10.0, "distortion_breaking_kJ_per_mol": -0.3}
    claim = next(c for c in findings.claims(data) if c.text == "HS breaks C2.")
    assert claim.verdict == "uncertain" and "the gain is more than the downward curvature gives" in claim.evidence
    assert answer.sentences(data)[0].startswith("Probably")


def test_a_cost_that_is_not_due_is_not_called_paid() -> None:
    """A well without a localised vibration breaks nothing; what the totals are without the term stands beside them."""
    data = sample_report.sample()
    paid = "Vibrations and spin pay the entropy cost of the broken symmetry."
    claim = next(c for c in findings.claims(data) if c.text == paid)
    total = findings.at_standard(data["entropy"], findings.TOTAL) + 5.763
    assert f"; {findings.number(total, 1, True)} and " in claim.evidence and "without ΔS_SB" in claim.evidence
    data["mode"]["energy_lowering_kJ_per_mol"] = 0.5
    assert "Vibrations and spin would pay the entropy cost of a broken symmetry." in verdicts(data)


def test_two_starts_that_ended_in_one_state_count_once() -> None:
    """Energies in hartree, 1e-9 apart; another term at the same energy is another state."""
    rows = [(-1.0, 42), (-0.999, 43), (-0.999 + 1e-9, 43), (-0.999, 42), (None, 43)]
    tried = [{"energy_hartree": e, "electrons_per_irrep": [[50, 47], [43, b]]} for e, b in rows]
    found, failed = findings.tried_states({"candidates": tried, "multiplicity": 5, "point_group": "C2"})
    assert found == [(0.0, "5B"), (pytest.approx(2.6255, abs=1e-4), "5A"), (pytest.approx(2.6255, abs=1e-4), "5B")]
    assert failed == ["5A"]
    alone = [{"energy_hartree": -1.0, "electrons_per_irrep": [[93, 89]]}]
    assert findings.tried_states({"candidates": alone, "multiplicity": 5, "point_group": "C1"})[0] == [(0.0, "5A")]


def test_what_is_gained_is_told_with_its_sign() -> None:
    """Along the mode alone, too; a minimum that lies higher gains nothing and has no barrier to cross."""
    data = sample_report.sample()
    assert "lies 8.93 kJ/mol lower (8.11 kJ/mol along the mode alone)." in answer.sentences(data)[1]
    data["mode"]["energy_lowering_kJ_per_mol"] = -0.012
    mode = answer.sentences(data)[1]
    assert "lies 0.01 kJ/mol higher. Nothing is gained by leaving C2" in mode
    assert "barrier" not in mode


def test_without_a_group_there_is_nothing_to_break() -> None:
    """The claim is not tested, whatever else is missing."""
    data = sample_report.unbroken()
    for state in data["optimise"].values():
        state |= {"point_group": "C1", "stability_blocks": []}
    breaking, mode, _ = answer.sentences(data)
    assert breaking == "No: both states were computed without symmetry (C1), so there is none to break."
    assert "ΔS_SB is zero" in mode
    assert verdicts(data)["HS breaks C1."] == "not tested"


def test_an_imaginary_mode_inside_the_noise_is_shown_as_its_scan_has_it() -> None:
    """The Hessian's own number may even be positive."""
    row = settled("imaginary")["vibrations"]["LS"]
    assert findings.imaginary(row | {"imaginary_modes": [0], "irreps": ["B"]}) == ["8i cm⁻¹ (B)"]


def test_an_unknown_verdict_is_refused() -> None:
    """Only four words exist."""
    with pytest.raises(ValueError, match="maybe"):
        findings.Claim("x", "maybe", "y")


def test_the_answer_is_as_sure_as_the_claims() -> None:
    """A mode hardly outside the noise, and a total whose band reaches below zero, are not a plain yes."""
    data = sample_report.sample()
    data["vibrations"]["HS_parent"]["noise_floor_per_cm"] = 500.0
    data["entropy"][findings.BAND_LOW] = [-50.0 for _ in data["entropy"][findings.BAND_LOW]]
    breaking, _, payment = answer.sentences(data)
    assert breaking.startswith("Probably") and "stays open" in payment
    assert answer.sentences(sample_report.sample())[0].startswith("Yes")


@pytest.mark.parametrize(("lowering", "word", "verdict"), [(3.8, "Hardly", "uncertain"), (4.0, "Yes", "supported")])
def test_a_well_shallower_than_half_a_quantum_is_no_broken_symmetry(lowering: float, word: str, verdict: str) -> None:
    """651.4 cm-1 x 11.96 J/mol per cm-1 / 2 = 3.896 kJ/mol; the second sentence says what it means."""
    data = sample_report.sample()
    data["mode"]["energy_lowering_kJ_per_mol"] = lowering
    assert findings.half_quantum(data["mode"]) == pytest.approx(3.8962, abs=1e-3)
    breaking, mode, _ = answer.sentences(data)
    assert breaking.startswith(word) and verdicts(data)["HS breaks C2."] == verdict
    assert ("on average the molecule keeps C2" in mode) == (word == "Hardly")
