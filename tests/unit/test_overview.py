"""The table over all complexes and levels."""

import math
import os
from pathlib import Path

import sample_report
from sample_provenance import provenance
from spincross import conclusions, mode_entropy, overview
from spincross.files import read_json, write_json
from spincross.summary import summary_row
from spincross.units import GAS_CONSTANT, HARTREE_TO_KJ_PER_MOL

PAGE = Path(__file__).parents[2] / "workflow/report"


def test_a_row_has_a_cell_under_every_head():
    for data in (sample_report.sample(), sample_report.unbroken(), sample_report.of_size(1)):
        assert len(overview.cells(summary_row(data))) == len(overview.HEADS)


def test_every_number_stands_under_its_head():
    """Entropies from oscillators, R ln 3 and -R ln 2; Landau temperatures from the closed forms of test_landau."""
    low, high = (mode_entropy.harmonic_entropy(sample_report.WAVES[state][0], 298.15).sum() for state in ("LS", "HS"))
    terms = [high - low, GAS_CONSTANT * math.log(3.0), -GAS_CONSTANT * math.log(2.0)]
    entropies = [f"{value:+.1f}".replace("-", "−") for value in (*terms, sum(terms))]
    optimised = sample_report.sample()["optimise"]
    gap = (optimised["HS"]["energy_hartree"] - optimised["LS"]["energy_hartree"]) * HARTREE_TO_KJ_PER_MOL
    gap = f"{gap:+.1f}".replace("-", "−")
    expected = ["sample", "pbe0_def2-svp", "CH2O", "built model", "C2: yes", gap, "651i (B)", "8.93", "298.15"]
    expected += entropies
    recalled = "4"  # geometry, Hessian and vibrations of LS, and the scan
    assert overview.cells(summary_row(sample_report.sample())) == [*expected, "214.6, 235.0 (borrowed)", recalled]


def test_what_is_not_known_is_a_dash_and_no_zero():
    cells = dict(zip(overview.HEADS, overview.cells(summary_row(sample_report.unbroken())), strict=True))
    assert cells["mode (cm⁻¹)"] == "–"
    assert cells["Landau T down, T up (K)"] == "–"
    assert cells["HS breaks"] == "C2: no"


def test_the_table_and_the_report_give_one_answer():
    """Where the report leaves it open, the table does not say no."""
    data = sample_report.unbroken()
    data["vibrations"]["HS_parent"] |= {"undetermined_modes": [0], "irreps": ["B", "A", "A"]}
    row = summary_row(data)
    assert (row["broken"], row["answer"]) == ("no", "Open")
    assert dict(zip(overview.HEADS, overview.cells(row), strict=True))["HS breaks"] == "C2: open"


def test_rows_of_this_run_link_to_their_page_and_earlier_ones_to_their_numbers(tmp_path):
    row = summary_row(sample_report.sample())
    for name, level in (("a", "one"), ("a", "two"), ("<b>", "one")):
        content = row | {"complex": name, "level": level, "provenance": provenance()}
        write_json(tmp_path / name / level / "summary.json", content)
    conclusions.collect_summary([tmp_path / "a/two/summary.json"], PAGE, tmp_path)
    page = (tmp_path / "index.html").read_text()
    assert page.count('href="a/report.html"') == 1  # of the level that was run
    assert 'href="b/report.html"' not in page
    assert 'href="a/one/summary.json"' in page
    assert "&lt;b&gt;" in page and "<b>" not in page
    table = (tmp_path / "summary.tsv").read_text().splitlines()
    assert sorted(table[0].split("\t")) == sorted(row)
    assert [line.split("\t")[:2] for line in table[1:]] == [["a", "two"], ["<b>", "one"], ["a", "one"]]
    assert read_json(tmp_path / "a/one/summary.json")["level"] == "one"


def test_a_report_of_an_earlier_run_is_linked_where_it_is_of_the_level_summed_up_last(tmp_path):
    """A run of one complex takes no link from another; old files without a level are passed over."""
    row = summary_row(sample_report.sample())
    for k, (name, level) in enumerate((("a", "one"), ("b", "one"), ("b", "two"))):
        path = tmp_path / name / level / "summary.json"
        write_json(path, row | {"complex": name, "level": level, "provenance": provenance()})
        os.utime(path, (1000.0 + k, 1000.0 + k))
        (tmp_path / name / "report.html").write_text("")
    write_json(tmp_path / "old/one/summary.json", {"complex": "old"})
    conclusions.collect_summary([tmp_path / "a/one/summary.json"], PAGE, tmp_path)
    lines = (tmp_path / "index.html").read_text().split("<tr>")
    linked = {name: [f'href="{name}/report.html"' in line for line in lines if f"{name}/" in line] for name in "ab"}
    assert linked == {"a": [True], "b": [False, True]}
    assert "old" not in (tmp_path / "summary.tsv").read_text()
