"""Harmonic and quasi-RRHO numbers are told apart wherever the report has both."""

from __future__ import annotations

import sample_report
from spincross import findings, report_tables
from spincross.summary import summary_row

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
