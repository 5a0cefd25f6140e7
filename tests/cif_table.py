"""Print what the molecule stage says of every CIF in some folders: `python tests/cif_table.py FOLDER ...`.

The metal is the first transition metal or zinc found; C2, Cs, Ci and C1 are tried in this order.
"""

import sys
from pathlib import Path

from spincross import crystal
from spincross.cif import read_blocks
from spincross.errors import BadInput

METALS = ("Fe", "Co", "Cr", "Zn", "Pd")


def verdict(path: Path) -> tuple[str, str]:
    """Return the facts of a file in columns and the verdict."""
    try:
        text = " ".join(str(b.get("_atom_site_type_symbol")) for b in read_blocks(path))
        metal = next((m for m in METALS if f"'{m}'" in text), None)
        for group in ("C2", "Cs", "Ci", "C1"):
            entry = {"title": "", "low_spin_structure": path.name, "origin": "cif", "source": "", "charge": 0}
            entry |= {"multiplicity": {}, "point_group": group, "metal": metal, "accept_charge_imbalance": True}
            try:
                facts = crystal.extract_molecule("x", entry, path.parent).facts
            except BadInput as error:
                if "is not " + group in str(error):
                    continue
                raise
            others = ", ".join(f"{s['count']} {s['formula']}" for s in facts["cif"]["species"])
            notes = "; ".join(facts["warnings"])
            return f"{others} | {facts['formula']}, {facts['atoms']} | {facts['site_symmetry']}", "taken. " + notes
        return "- | - | -", "refused: no group"
    except BadInput as error:
        return "- | - | -", f"refused: {error}"


def main() -> None:
    """Print one row per file."""
    print("file | species in the cell | complex, atoms | site symmetry | verdict")
    for folder in map(Path, sys.argv[1:]):
        for path in sorted(folder.glob("*.cif")):
            print(path.name, "|", *verdict(path)[:1], "|", verdict(path)[1])


if __name__ == "__main__":
    main()
