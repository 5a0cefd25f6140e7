"""Entries of one file, what comes of them, and refusals, for the tests of structures."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from spincross import crystal
from spincross.errors import BadInput

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "tests" / "data"
STRUCTURES = ROOT / "structures"
SHARED = ROOT.parent / "shared" / "cif"
SCHEMAS = ROOT / "workflow" / "schemas"
ACETONITRILE_COMPLEX = "C4H6Cl2N2Zn"

needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="the folder of real CIFs is not beside the repository")


def entry(name: str, **changes: Any) -> dict[str, Any]:
    """Return a complex entry for one file."""
    return {
        "title": name,
        "low_spin_structure": name,
        "origin": "cif",
        "source": "test",
        "charge": 0,
        "multiplicity": {"LS": 1},
        "point_group": "C2",
        "metal": "Zn",
    } | changes


def extract(name: str, folder: Path = DATA, **changes: Any) -> crystal.Extraction:
    """Extract the molecule of one file."""
    return crystal.extract_molecule("test", entry(name, **changes), folder)


BUILT = ["fe-aai2-ncs2", "fe-pmi2-ncs2", "fe-phen2-ncs2", "fe-pm-pea2-ncs2", "fe-pm-pea2-ncs2-imine"]


def complexes() -> dict[str, Any]:
    """Return the shipped complexes."""
    return yaml.safe_load((STRUCTURES / "complexes.yaml").read_text())


def refused(name: str, *words: str, folder: Path = DATA, **changes: Any) -> None:
    """Check that a file is refused in one line that holds the words and the file's name."""
    with pytest.raises(BadInput) as caught:
        extract(name, folder, **changes)
    message = str(caught.value)
    assert name in message
    assert "\n" not in message
    for word in words:
        assert word in message


def edited(tmp_path: Path, name: str, old: str, new: str) -> str:
    """Copy a CIF with one change and return its name."""
    text = (DATA / name).read_text()
    assert old in text
    (tmp_path / "edited.cif").write_text(text.replace(old, new))
    return "edited.cif"


HALL_NUMBERS = {1: 1, 2: 2, 4: 6, 5: 9, 9: 39, 14: 81, 15: 90, 19: 115, 29: 143, 33: 164, 56: 266, 61: 290, 62: 292}
"""The ten most common space groups of the Cambridge database (P1, P-1, P21, C2/c, P21/c ...) and C2, Pca21, Pccn."""


def lattice(number: int) -> list[float]:
    """Return a roomy cell that the space group allows."""
    angles = [83.0, 97.0, 104.0] if number < 3 else [90.0, 105.0, 90.0] if number < 16 else [90.0, 90.0, 90.0]
    return [27.0, 25.0, 29.0, *angles]


def cif_text(cellpar: list[float], operations: Any, symbols: list[str], fractional: np.ndarray) -> str:
    """Write a CIF by hand."""
    keys = ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma")
    lines = ["data_random", *(f"_cell_{k} {v}" for k, v in zip(keys, cellpar, strict=True)), "loop_"]
    lines += ["_space_group_symop_operation_xyz"]
    for rotation, shift in zip(operations["rotations"], operations["translations"], strict=True):
        parts = ["".join(f"{'+' if c > 0 else '-'}{'xyz'[k]}" for k, c in enumerate(row) if c) for row in rotation]
        lines.append(
            "'" + ",".join(p + f"+{round(12 * t)}/12" * int(t > 0) for p, t in zip(parts, shift, strict=True)) + "'"
        )
    lines += ["loop_", "_atom_site_label", *(f"_atom_site_fract_{x}" for x in "xyz")]
    lines += [
        f"{s}{i} {x:.7f} {y:.7f} {z:.7f}" for i, (s, (x, y, z)) in enumerate(zip(symbols, fractional, strict=True))
    ]
    return "\n".join(lines) + "\n"
