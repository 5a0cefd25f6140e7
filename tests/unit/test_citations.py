"""References that belong to a run."""

import re
from pathlib import Path

import pytest

import sample_report
from spincross import citations

SOURCE = (Path(__file__).parents[2] / "workflow/report/references.bib").read_text()


def test_every_reference_that_can_be_used_is_in_the_file_with_a_doi():
    data = sample_report.sample()
    data["molecule"]["metal"] = "Fe"
    pure = data["optimise"]["LS"]["level"] | {"auxiliary_basis": "def2-universal-jfit"}
    fitted = citations.used(data | {"optimise": data["optimise"] | {"LS": data["optimise"]["LS"] | {"level": pure}}})
    assert fitted ^ citations.used(data) == {"Weigend2006", "Weigend2008"}
    names = citations.used(data) | fitted
    data["optimise"]["LS"]["level"] = data["optimise"]["LS"]["level"] | {"functional": "BP86"}
    assert citations.used(data) - names == {"Becke1988", "Perdew1986"}
    names |= citations.used(data)
    text = citations.bibtex(SOURCE, names)
    assert len(re.findall(r"^@article\{", text, re.M)) == len(names) == SOURCE.count("@article")
    assert len(re.findall(r"^  doi = \{10\.\d{4,}/\S+\}$", text, re.M)) == SOURCE.count("@article")
    assert text.count("{") == text.count("}")


def test_only_what_a_run_used_is_quoted():
    data = sample_report.sample()
    for vibrations in data["vibrations"].values():
        vibrations["method"] = "analytic"
    data["optimise"]["LS"]["level"] = data["optimise"]["LS"]["level"] | {"functional": "bp86", "basis": "cc-pvdz"}
    assert not {"Adamo1999", "Weigend2005", "Bannwarth2019", "Togo2023"} & citations.used(data)


def test_a_reference_that_is_missing_is_an_error():
    with pytest.raises(KeyError, match="Nobody1900"):
        citations.bibtex(SOURCE, {"Nobody1900"})
