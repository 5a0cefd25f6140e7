"""The report: what it says, that it loads nothing, that hostile text stays text, that odd cases make sense."""

from __future__ import annotations

import json
import re
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sample_report
from spincross import answer, files, findings
from spincross.conclusions import state_geometry
from spincross.files import read_arrays
from spincross.report import (
    all_figures,
    embed,
    entropy_notes,
    prose,
    render_report,
    safe_link,
    warnings,
    waterfall_caption,
)
from spincross.report_tables import (
    duration,
    fitted_text,
    literature_table,
    mode_table,
    settled_table,
    stability_text,
    stage_table,
    state_table,
    tried_text,
)
from spincross.summary import summary_row
from spincross.units import (
    AMU_TO_ELECTRON_MASS,
    ANGSTROM_TO_BOHR,
    BOHR_TO_ANGSTROM,
    HARTREE_TO_KJ_PER_MOL,
    HARTREE_TO_PER_CM,
)
from test_findings import settled, verdicts

TEMPLATE = Path(__file__).parents[2] / "workflow" / "report"
RECORDS = Path(__file__).parents[2] / "structures/reference/fe-aai2-ncs2/pbe0_def2-svp"
HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\"'&"
CASES = {
    "broken": sample_report.sample,
    "no calorimetry": lambda: sample_report.sample(calorimetry=False),
    "no landau": lambda: sample_report.sample(landau=False),
    "unbroken": lambda: sample_report.unbroken(calorimetry=False),
    "one atom": lambda: sample_report.of_size(1),
    "300 atoms": lambda: sample_report.of_size(300),
}


@cache
def page(case: str = "broken") -> str:
    """Return the page of a case."""
    return render_report(CASES[case](), TEMPLATE)


class Loads(HTMLParser):
    """Collect what a browser would load, the headings, and tags without their end."""

    VOID = {"meta", "link", "br", "img", "input", "hr"}

    def __init__(self, text: str) -> None:
        """Read the page."""
        super().__init__()
        self.loads: list[str] = []
        self.tags: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep tag names and every source."""
        self.tags.append(tag)
        self.open += [] if tag in self.VOID else [tag]
        found = dict(attrs)
        self.loads += [v or "" for k, v in found.items() if k in ("src", "srcset", "data", "poster", "action")]
        self.loads += [found.get("href") or ""] if tag == "link" else []

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take elements such as path in SVG as closed."""
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Check that tags close in order."""
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-3:]}"
        self.open.pop()


def visible(text: str) -> str:
    """Return what a reader sees, without scripts and tags."""
    text = re.sub(r"<(script|style|noscript).*?</\1>", " ", text, flags=re.DOTALL)
    for entity, sign in (("&lt;", "<"), ("&gt;", ">"), ("&#34;", '"'), ("&#39;", "'"), ("&amp;", "&")):
        text = re.sub(r"<[^>]+>", "", text).replace(entity, sign) if entity == "&lt;" else text.replace(entity, sign)
    return " ".join(text.split())


@pytest.mark.parametrize("case", CASES)
def test_every_case_gives_one_whole_page_below_fifteen_megabytes(case: str) -> None:
    """Odd cases are rendered too, with closed tags and one title."""
    found = Loads(without_plotly(case))
    assert found.open == []
    assert (found.tags.count("title"), found.tags.count("h1"), found.tags.count("main")) == (1, 1, 1)
    assert len(page(case).encode()) < 15e6
    assert "None" not in visible(without_plotly(case)) and "nan" not in visible(without_plotly(case)).split()


@pytest.mark.parametrize("case", CASES)
def test_the_page_loads_nothing_from_outside(case: str) -> None:
    """No source, no stylesheet, no import: the page is whole in itself."""
    own = without_plotly(case)
    assert Loads(own).loads == []
    assert not re.search(r"@import|url\(\s*['\"]?https?:|fetch\(|XMLHttpRequest|importScripts", own)
    assert not re.search(r"href=['\"]https?:", own)


@cache
def sample_plotly() -> str:
    """Return plotly's own script."""
    from plotly.offline import get_plotlyjs

    return str(get_plotlyjs())


def without_plotly(case: str = "broken") -> str:
    """Return the page of a case without plotly's script."""
    return page(case).replace(sample_plotly(), "")


@pytest.mark.parametrize("case", CASES)
def test_every_id_is_used_once_and_every_inner_link_has_its_place(case: str) -> None:
    """Two elements of one name would let scripts, labels and links reach the wrong one."""
    own = without_plotly(case)
    names = re.findall(r'\sid="([^"]+)"', own)
    assert sorted(names) == sorted(set(names))
    assert set(re.findall(r'(?:href="#|\sfor="|aria-labelledby=")([^"]+)"', own)) <= set(names)


def test_plotly_is_inlined_once() -> None:
    """The library is there, and only once."""
    assert page().count(sample_plotly()) == 1


def test_the_answer_names_the_mode_the_energy_and_the_entropy() -> None:
    """Three sentences, made from the numbers."""
    breaking, mode, entropy = answer.sentences(sample_report.sample())
    assert breaking.startswith("Yes: held in C2") and "651i cm⁻¹ (B)" in breaking and "1.7 cm⁻¹" in breaking
    assert "irrep B" in mode and "8.93 kJ/mol lower" in mode
    assert "+9.1" in entropy and "−5.8" in entropy and "entropy pays for it." in entropy


def test_the_answer_says_no_when_hs_keeps_the_group() -> None:
    """Without a mode there is nothing to pay."""
    breaking, mode, entropy = answer.sentences(sample_report.unbroken())
    assert breaking.startswith("No: HS keeps C2") and "ΔS_SB is zero" in mode and "no cost" in entropy


def test_entropies_are_told_with_their_temperatures_and_what_they_are() -> None:
    """The total where calorimetry was made, the state that is stable, and that the cost of breaking is a count."""
    data = sample_report.sample()
    entropy = data["entropy"]
    up, down = (
        entropy["entropy_total_difference_J_per_mol_K"][entropy["temperatures_K"].index(t)] for t in (235.0, 219.0)
    )
    assert f"the total is {up:+.1f} at 235 K, {down:+.1f} at 219 K.".replace("+-", "−") in waterfall_caption(data)
    assert waterfall_caption(sample_report.sample(calorimetry=False)).endswith("in this treatment.")
    data["entropy"]["crossover"] |= {"temperature_K": None, "stable_below": "HS"}
    notes = " ".join(entropy_notes(data))
    assert "Equal Gibbs energies: no such temperature up to 2000 K, HS has the lower one throughout." in notes
    assert "the whole order-disorder value" in notes
    data["entropy"]["crossover"] |= {"temperature_K": 321.4, "stable_below": "LS"}
    assert "Equal Gibbs energies: 321 K, LS has the lower one below it." in " ".join(entropy_notes(data))
    assert "order-disorder" not in " ".join(entropy_notes(sample_report.unbroken()))


def test_every_number_of_the_states_and_the_account_is_on_the_page() -> None:
    """Energies, spins, imaginary modes, cycles, origins, and each entropy at each temperature."""
    data, text = sample_report.sample(), visible(without_plotly())
    for value in (
        "−114.283900",
        "285.92",
        "276.99",
        "2.012 (2.00)",
        "651i",
        "7 (5 to 13)",
        "recalled, recalled",
        "1 min 02 s",
        "8.930",
        "0.970",
    ):
        assert value in text, value
    entropy = data["entropy"]
    for key in (findings.HARMONIC, findings.QUASI, findings.TOTAL):
        for value in entropy[key]:
            assert findings.number(value, 2, True) in text
    for value in (62.8, 67.6, 58.9):
        assert findings.number(value, 1) in text
    for name, value in data["landau"]["parameters"].items():
        assert name.replace("_", "") in text and findings.number(value, 1).rstrip("0").rstrip(".") in text


def test_energies_stand_as_state_minus_ls_and_differences_from_the_literature_as_ours_minus_published() -> None:
    """0.1089 and 0.1055 hartree are 285.92 and 276.99 kJ/mol; both HS lie above LS. The paper has 58.9."""
    data = sample_report.sample()
    assert ["energy relative to LS (kJ/mol)", "0.00", "285.92", "276.99"] in state_table(data)["rows"]
    row = summary_row(data)
    found = [row[f"energy_{state}_minus_LS_kJ_per_mol"] for state in ("HS_parent", "HS")]
    assert found == pytest.approx([285.917, 276.990], abs=1e-3)
    ours = findings.at_standard(data["entropy"], findings.HARMONIC)
    assert 0.0 < ours < 58.9
    published = ["ΔS_vib, 298.15 K here (J/(K mol))", "58.90", f"{ours:.2f}", f"−{58.9 - ours:.2f}"]
    assert published in literature_table(data)["rows"]


def test_the_page_says_plainly_what_is_not_known() -> None:
    """Built model, borrowed parameters, basis set, no prediction of T1/2, imaginary modes kept."""
    text = visible(without_plotly())
    for sentence in (
        "The structure is a built model",
        "The Landau parameters are borrowed from fe-pm-pea2-ncs2",
        "basis set is not stated in its main text",
        "are not predictions of T½",
        "never dropped or made real",
        "a warning of the molecule stage",
    ):
        assert sentence in text, sentence


def test_both_terms_of_a_state_are_reported_with_their_energies() -> None:
    """The quintet of the iron stand-in, from its record: 5A lies 1.9 kJ/mol below 5B."""
    path = TEMPLATE.parents[1] / "structures/reference/fe-aai2-ncs2/pbe0_def2-svp/HS/C2/optimise/optimise.json"
    found = json.loads(path.read_text())
    energies = {tuple(map(tuple, r["electrons_per_irrep"])): r["energy_hartree"] for r in found["candidates"]}
    a, b = energies[(39, 37), (37, 35)], energies[(39, 36), (37, 36)]
    text = tried_text(found)
    assert text.startswith("5A 0.0; 5B ")
    assert f"5B {(b - a) * 2625.4996:.1f};" in text
    failed = {"electrons_per_irrep": [[39, 36], [37, 36]], "energy_hartree": None}
    assert tried_text(found | {"candidates": [found["candidates"][0], failed]}) == ("5A 0.0; 5B not converged")
    assert tried_text(found | {"candidates": []}) == "–"


def test_a_warning_of_a_gate_reaches_the_head_of_the_page() -> None:
    """Spin contamination beyond the limit is said before any number."""
    data = sample_report.sample()
    sentence = "<S2> of HS is 6.260, the pure state has 6.000"
    data["optimise"]["HS"]["warnings"] = [sentence]
    assert any(sentence in text for text in warnings(data))
    text = render_report(data, TEMPLATE)
    assert text.index("of HS is 6.260") < text.index('id="answer"')


def test_two_conformers_are_said_at_the_head_of_the_page() -> None:
    """HS of the stand-in and an older LS, whose chelate rings are folded to the other side."""
    data = sample_report.sample()
    assert not any("conformer" in text for text in warnings(data))
    data["entry"]["metal"] = "Fe"
    older = read_arrays(TEMPLATE.parents[1] / "tests/data/fe-aai2-ncs2_LS_displaced.npz")
    places = older["positions"] * BOHR_TO_ANGSTROM
    data["geometries"]["LS"] = {"symbols": older["symbols"].tolist(), "positions_angstrom": places.tolist()}
    data["geometries"]["HS"] = state_geometry(RECORDS / "HS/C2")
    said = [text for text in warnings(data) if "conformer" in text]
    assert len(said) == 1
    assert "(the torsion Fe1-N3-C5-C4 is 15 degrees in LS and -27 in HS)" in said[0]


def test_warnings_come_before_the_answer() -> None:
    """The banner stands above the first section."""
    assert page().index("Read this first") < page().index('id="answer"')


def test_a_case_without_landau_says_so_in_a_sentence() -> None:
    """No empty section."""
    text = visible(without_plotly("no landau"))
    assert "there is no Landau model" in text and "borrowed" not in text
    assert "landau-branches" not in all_figures(CASES["no landau"]())


def test_a_case_without_calorimetry_has_no_verdict_on_it() -> None:
    """The claim is absent and a sentence says why."""
    text = visible(without_plotly("no calorimetry"))
    assert "agrees with calorimetry" not in text and "gives no calorimetric value" in text


def test_an_unbroken_case_has_no_double_well_and_no_animation() -> None:
    """The figures of the mode are replaced by a sentence."""
    figures = all_figures(CASES["unbroken"]())
    assert not {"well", "animation", "share"} & set(figures)
    assert "There is no double well to draw" in visible(without_plotly("unbroken"))


def test_hostile_text_is_shown_as_text() -> None:
    """Ids, titles, warnings, irreps, links and texts of every stage cannot become markup."""
    data = sample_report.sample()
    data["complex"] = data["level_name"] = data["entry"]["title"] = data["mode"]["text"] = HOSTILE
    data["molecule"] |= {"formula": HOSTILE, "warnings": [HOSTILE]}
    data["entry"]["literature"] = {HOSTILE: HOSTILE}
    data["entry"]["landau"]["borrowed_from"] = data["landau"]["borrowed_from"] = HOSTILE
    data["vibrations"]["LS"]["irreps"][0] = "<img src=x>"
    data["links"] = {HOSTILE: 'x" onclick="alert(1)'}
    text = render_report(data, TEMPLATE)
    text = text.replace(sample_plotly(), "")
    clean, found = Loads(without_plotly()), Loads(text)
    assert found.tags.count("script") == clean.tags.count("script") and "img" not in found.tags
    assert found.loads == []
    assert HOSTILE in visible(text).replace("−", "-")
    assert "<img" not in text


def test_json_in_the_page_cannot_end_its_script() -> None:
    """The embedded figure survives a round trip and holds no tag."""
    content = {"text": HOSTILE + "\u2028"}
    assert "<" not in embed(content) and json.loads(str(embed(content))) == content
    with pytest.raises(ValueError):
        embed({"x": float("nan")})


@pytest.mark.parametrize(
    ("path", "expected"), [("a/b.json", "a/b.json"), ("javascript:alert(1)", ""), ("/etc/x", ""), ("//host/x", "")]
)
def test_links_are_relative_or_none(path: str, expected: str) -> None:
    """Nothing with a scheme or a host becomes a link."""
    assert safe_link(path) == expected


def test_prose_sets_minus_signs_and_subscripts_after_escaping() -> None:
    """Identifiers and DOIs keep their hyphens."""
    assert (
        prose("q = -1, -R ln 2, 5 cm-1, ΔS_vib, def2-svp <b>")
        == "q = −1, −R ln 2, 5 cm⁻¹, ΔS<sub>vib</sub>, def2-svp &lt;b&gt;"
    )


def test_the_summary_row_is_complete_and_makes_a_table(tmp_path: Path) -> None:
    """Same columns for every case, numbers as numbers, one line each."""
    rows = [summary_row(make()) for make in CASES.values()]
    assert all(list(row) == list(rows[0]) for row in rows)
    assert rows[0]["broken"] == "yes" and rows[0]["irrep"] == "B" and rows[0]["wavenumber_per_cm"] == -651.4
    assert rows[0]["landau_temperature_up_K"] == pytest.approx(235.0) and rows[2]["landau_temperature_up_K"] == ""
    assert all(value is not None for row in rows for value in row.values())
    files.write_table(tmp_path / "summary.tsv", rows)
    lines = (tmp_path / "summary.tsv").read_text().splitlines()
    assert len(lines) == 1 + len(rows) and {line.count("\t") for line in lines} == {len(rows[0]) - 1}


def test_a_missing_key_is_an_error_and_not_an_empty_place() -> None:
    """The page never hides a number that a stage did not write."""
    data = sample_report.sample()
    del data["vibrations"]["HS"]["noise_floor_per_cm"]
    with pytest.raises(KeyError, match="noise_floor"):
        render_report(data, TEMPLATE)


@pytest.mark.parametrize(("verdict", "expected"), [("real", "supported"), ("undetermined", "uncertain")])
def test_a_second_step_and_a_scan_decide_the_claim_and_are_shown(verdict: str, expected: str) -> None:
    """A mode inside the noise that larger steps show to be real leaves a minimum a minimum."""
    data = settled(verdict)
    assert verdicts(data)["LS in C2 is a minimum: all modes are real."] == expected
    evidence = next(claim.evidence for claim in findings.claims(data) if claim.text.startswith("LS in C2"))
    assert ("real by a second step and a scan" in evidence) == (verdict == "real")
    assert settled_table(data)["rows"] == [["LS, 1", "1.2", "9.8", "7.6i", "1.05, 0.00", "−0.53", verdict]]
    shown = visible(render_report(data, TEMPLATE).replace(sample_plotly(), ""))
    assert "Modes inside the noise floor" in shown and f"{verdict}, inside the noise" in shown
    assert "Modes inside the noise floor" not in visible(without_plotly())


def test_the_mode_table_has_the_barrier_the_overlap_and_the_difference_of_both_ways() -> None:
    """What a reader needs to judge the scan."""
    rows = {name.split(":")[0].split(",")[0]: value for name, value in mode_table(sample_report.sample())["rows"]}
    assert rows["energy lowering after relaxation"] == "8.930"
    assert rows["overlap of Q with the relaxed distortion"] == "0.970"
    assert rows["|E(Q) − E(−Q)|"] == "2e-09"


def test_stability_is_shown_for_every_block_of_rotations() -> None:
    """Records made before have one number."""
    blocks = [{"rotations": "A", "eigenvalue_hartree": 0.01234}, {"rotations": "B", "eigenvalue_hartree": 0.02}]
    optimised = {"point_group": "C2", "stability_eigenvalue_hartree": 0.01234}
    assert stability_text(optimised | {"stability_blocks": blocks}) == "0.0123 (A), 0.0200 (B)"
    assert stability_text(optimised | {"stability_blocks": blocks[:1]}) == "0.0123 (A), – (B)"
    assert stability_text(optimised) == "0.0123, irreps not told apart"
    assert stability_text(optimised | {"point_group": "C1"}) == "0.0123"
    assert stability_text(optimised | {"stability_eigenvalue_hartree": None, "stability_blocks": []}) == "–"


@pytest.mark.parametrize("make", [sample_report.sample, sample_report.unbroken])
def test_electrons_that_were_not_tested_are_read_first(make: Any) -> None:
    """The sign and the size of a breaking mode hang on them; a tested state far from the brink is no warning."""
    data = make()
    assert not any("electrons" in text for text in warnings(data))
    hardly = {"rotations": "B", "eigenvalue_hartree": 7e-4, "noise_hartree": 1e-4}
    firmly = {"rotations": "A", "eigenvalue_hartree": 7e-4, "noise_hartree": 1e-4}
    data["optimise"]["HS_parent"]["stability_blocks"] = [hardly, firmly]  # those of A keep the group
    (said,) = [text for text in warnings(data) if "electrons" in text]
    assert "close to the brink of breaking C2 (orbital Hessian eigenvalue 0.0007 hartree for rotations B)" in said
    data["optimise"]["HS_parent"]["stability_blocks"] = []
    (said,) = [text for text in warnings(data) if "electrons" in text]
    assert said.startswith("HS in C2: no test of its electrons for rotations of irrep B, which break C2, is on record")
    assert said.endswith("take the sign of the imaginary mode, not its digits.") == data["mode"]["broken"]


def test_the_wavenumber_of_the_fit_is_that_of_its_curvature() -> None:
    """E = k Q^2 / 2 with k = 4 depth / Q^2: of a quartic well made from 500i cm-1, and none from a lowest point."""
    data = sample_report.sample()
    k = (500.0 / HARTREE_TO_PER_CM) ** 2 * AMU_TO_ELECTRON_MASS * ANGSTROM_TO_BOHR**2
    place, depth = 0.2, k * 0.2**2 / 4
    q = np.array([-0.3, -0.15, 0.0, 0.15, 0.3])
    energy = depth * ((q / place) ** 4 - 2 * (q / place) ** 2)
    data["mode"] |= {
        "scan_q_amu_half_angstrom": q.tolist(),
        "scan_energy_hartree": (energy + data["mode"]["parent_energy_hartree"]).tolist(),
        "scan_minimum_kJ_per_mol": -depth * HARTREE_TO_KJ_PER_MOL,
        "q_at_minimum_amu_half_angstrom": place,
    }
    assert dict(mode_table(data)["rows"])["wavenumber from the curvature of that fit at Q = 0 (cm⁻¹)"] == "500i"
    data["mode"]["scan_minimum_kJ_per_mol"] = energy.min() * HARTREE_TO_KJ_PER_MOL
    assert fitted_text(data["mode"]) == "–"


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, "–"), (12.34, "12.3 s"), (245.0, "4 min 05 s"), (7380.0, "2 h 03 min")]
)
def test_durations_are_readable(seconds: float | None, text: str) -> None:
    """Seconds, minutes, hours."""
    assert duration(seconds) == text


def test_a_recalled_hessian_or_scan_is_marked_although_its_analysis_is_live() -> None:
    """The analysis is always computed; what it rests on may come from a record."""
    data = sample_report.sample()
    data["vibrations"]["HS"]["hessian_origin"] = "recalled"
    assert data["vibrations"]["HS"]["provenance"]["origin"] == "computed"
    origins = {row[0]: row[1] for row in stage_table(data)["rows"]}
    assert origins["Hessian HS minimum"] == origins["scan along the mode"] == "recalled"
    assert origins["vibrations HS minimum"] == "computed"
    before, after = summary_row(sample_report.sample()), summary_row(data)
    assert after["stages_recalled"] == before["stages_recalled"] + 1
