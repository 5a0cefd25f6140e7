"""Harmonic and quasi-RRHO numbers are told apart wherever the report has both."""

from __future__ import annotations

import math

import numpy as np

import sample_report
from spincross import double_well, findings, report, report_tables
from spincross.summary import summary_row
from spincross.units import GAS_CONSTANT, HARTREE_TO_KJ_PER_MOL

ENTROPY = {
    "temperatures_K": [298.15],
    findings.HARMONIC: [61.11],
    findings.BAND_LOW: [57.2],
    findings.BAND_HIGH: [64.3],
    findings.QUASI: [52.44],
    findings.SPIN: 13.38,
    findings.BREAKING: -5.76,
    findings.TOTAL: [68.73],
    findings.TOTAL_QUASI: [60.06],
}


def test_each_column_of_the_entropy_table_has_its_own_number() -> None:
    """Eight numbers, all unlike."""
    (row,) = report_tables.entropy_table(ENTROPY)["rows"]
    band = "57.2\N{NO-BREAK SPACE}to\N{NO-BREAK SPACE}64.3"
    assert row == ["298.15", "+61.11", band, "+52.44", "+13.38", "−5.76", "+68.73", "+60.06"]


def test_the_overview_has_both_treatments() -> None:
    """What all.tsv says of a complex."""
    data = sample_report.sample()
    data["entropy"] |= ENTROPY
    row = summary_row(data)
    assert (row[findings.HARMONIC], row[findings.QUASI], row[findings.TOTAL]) == (61.11, 52.44, 68.73)


def test_a_payment_that_only_the_harmonic_total_makes_is_uncertain() -> None:
    """Quasi-RRHO counts as much."""
    data = sample_report.sample()
    paid = "Vibrations and spin pay the entropy cost of the broken symmetry."
    assert {c.text: c.verdict for c in findings.claims(data)}[paid] == "supported"
    data["entropy"][findings.TOTAL_QUASI] = [-1.0] * len(data["entropy"]["temperatures_K"])
    assert {c.text: c.verdict for c in findings.claims(data)}[paid] == "uncertain"


def test_states_close_to_the_lowest_are_told_with_what_they_would_add() -> None:
    """By R ln 2 for one at the same energy; by d(RT ln z)/dT for others; one far away says nothing."""
    data = sample_report.sample()
    parent = data["optimise"]["HS_parent"]

    def near(*energies: float) -> list[str]:
        """Return the notes with these states, kJ/mol, each of another term."""
        rows = [(-1.0 + e / HARTREE_TO_KJ_PER_MOL, [[50, 47], [43, 42 + i]]) for i, e in enumerate(energies)]
        parent["candidates"] = [{"energy_hartree": e, "electrons_per_irrep": held} for e, held in rows]
        return report.near_states(data)

    assert near(0.0) == near(0.0, 40.0) == []
    assert "(3B 0.0, 3A 2.0 kJ/mol, one geometry, no spin-orbit coupling)" in near(0.0, 2.0)[0]

    def free(temperature: float) -> float:
        """Return RT ln z of both, kJ/mol."""
        thermal = GAS_CONSTANT * temperature / 1000
        return thermal * math.log(1 + math.exp(-2.0 / thermal))

    slope = 1000 * (free(298.16) - free(298.14)) / 0.02
    assert f"they would add {slope:.1f} J/(K mol) to the entropy of HS at 298.15 K" in near(0.0, 2.0)[0]
    assert near(0.0, 2.0)[0] in report.entropy_notes(data)


def test_the_source_of_a_calorimetric_value_is_quoted() -> None:
    """By what the entry has: a citation, a DOI, or both."""
    data = sample_report.sample()
    assert not any(note.startswith("Calorimetry") for note in report.entropy_notes(data))
    data["entropy"]["calorimetry"] |= {"doi": "10.1/x", "source": "A. Author 1974"}
    assert "Calorimetry: A. Author 1974, 10.1/x." in report.entropy_notes(data)


def test_without_thiocyanate_there_is_no_row_for_it() -> None:
    """Of its spins."""
    rows = report_tables.state_table(sample_report.sample())["rows"]
    assert not any(name.startswith("NCS") for name, *_ in rows)


def test_a_broken_symmetry_shows_in_the_spins_of_its_ligands() -> None:
    """Sums over N, C and S, one for each group."""
    data = sample_report.sample()
    data["molecule"]["metal"] = "Fe"
    for state, spins in (("HS_parent", (0.046, 0.046)), ("HS", (0.033, 0.059))):
        data["optimise"][state]["ncs_spin_populations"] = [{"mulliken": [s / 2, 0.0, s / 2]} for s in spins]
    rows = {row[0]: row[1:] for row in report_tables.state_table(data)["rows"]}
    assert rows["NCS spin populations"] == ["–", "0.046, 0.046", "0.033, 0.059"]


def test_a_file_is_called_what_it_is() -> None:
    """An XYZ file may be a measured structure, too."""
    data = sample_report.sample()
    data["molecule"]["origin"] = "cif"
    for name, word in (("x/low.cif", "a CIF"), ("x/low.xyz", "an XYZ file")):
        data["entry"] |= {"low_spin_structure": name, "source": "CCDC 1"}
        assert f"The structure was read from {word}: CCDC 1." in report.warnings(data)


def test_levels_in_the_well_are_given_as_far_as_the_scan_reaches() -> None:
    """Of the sample's quartic curve, from points that reach up to its walls and from three near its bottom."""
    mode = sample_report.sample()["mode"]

    def scanned(farthest: float, sign: int = 1) -> str:
        """Return the text for nine points of the curve."""
        q = np.linspace(-farthest, farthest, 9)
        energy = mode["parent_energy_hartree"] - sign * 0.018 * q**2 + 0.026 * q**4
        return report_tables.levels_text(
            mode | {"scan_q_amu_half_angstrom": q.tolist(), "scan_energy_hartree": energy.tolist()}
        )

    low, high = double_well.levels(q := np.linspace(-1.4, 1.4, 9), -0.018 * q**2 + 0.026 * q**4)
    assert scanned(1.4) == f"{-low:.0f} below the barrier, {high - low:.0f}"
    assert scanned(0.6) == "– (this scan tells none)"
    assert scanned(0.2, -1) == "– (no barrier)"


def test_a_mode_is_listed_with_its_shares_in_per_cent() -> None:
    """In the order of the column heads."""
    data = sample_report.sample()
    count = len(sample_report.WAVES["LS"][0])
    data["vibrations"]["LS"]["fragment_fractions"] = {
        name: [share] * count for name, share in (("ligands", 0.07), ("core", 0.61), ("ncs", 0.32))
    }
    data["vibrations"]["LS"]["infrared_intensities_km_per_mol"] = [12.34] * count
    data["vibrations"]["LS"]["reduced_masses_amu"] = [2.5] * count
    first = report_tables.modes_table(data)[0]
    assert dict(zip(report_tables.MODE_HEADS, [first["state"], *first["cells"], first["kind"]], strict=True)) == {
        "state": "LS", "no.": 1, "wavenumber (cm⁻¹)": 1201.5, "irrep": "B", "reduced mass (amu)": 2.5,
        "IR (km/mol)": 12.3, "core %": 61, "NCS %": 32, "ligands %": 7, "note": "",
    }  # fmt: skip
