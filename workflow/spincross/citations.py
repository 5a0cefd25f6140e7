"""BibTeX of what a run rests on: the question asked, the functional, the basis sets, the programs."""

from __future__ import annotations

import re
from typing import Any

Json = dict[str, Any]

ALWAYS = ("ValverdeMunoz2025", "Sun2020", "Lehtola2018", "Wang2016", "Grimme2012", "Larsen2017", "Molder2021")
"""Used in every run: the question, PySCF, libxc, geomeTRIC, quasi-RRHO, ASE, Snakemake."""


def used(data: Json) -> set[str]:
    """Return the names of the entries that a run used: those of every run, then by level, methods and metal."""
    level = data["optimise"]["LS"]["level"]
    methods = {v["method"] for v in data["vibrations"].values()}
    fitting = str(level.get("auxiliary_basis") or "").lower()
    depending = {
        "Adamo1999": level["functional"].lower() == "pbe0",
        "Becke1988": level["functional"].lower() == "bp86",
        "Perdew1986": level["functional"].lower() == "bp86",
        "Weigend2005": level["basis"].lower().startswith("def2"),
        "Weigend2006": fitting.endswith("-jfit"),
        "Weigend2008": fitting.endswith("-jkfit"),
        "Bannwarth2019": data["molecule"]["metal"] is not None,
        "Togo2023": "finite differences" in methods,
    }
    return {*ALWAYS, *(name for name, wanted in depending.items() if wanted)}


def bibtex(source: str, names: set[str]) -> str:
    """Return the named entries of a BibTeX file, in its order; KeyError if one is not there."""
    entries = re.split(r"\n\s*\n(?=@)", source.strip())
    found = {match[1]: entry for entry in entries if (match := re.match(r"@\w+\{([^,]+),", entry))}
    missing = names - set(found)
    if missing:
        raise KeyError(f"no reference for {', '.join(sorted(missing))}")
    return "\n\n".join(entry for name, entry in found.items() if name in names) + "\n"
