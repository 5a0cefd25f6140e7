"""The README's table of the iron stand-in is that of its records."""

import re
from pathlib import Path

import pytest

from spincross import __main__, files
from spincross.units import HARTREE_TO_KJ_PER_MOL

ROOT = Path(__file__).resolve().parents[2]
STATES = ("LS/C2", "HS/C2", "HS/C1")


@pytest.fixture(scope="module")
def recalled(tmp_path_factory):
    """Return the folder of what the records and the stages after them give."""
    folder = tmp_path_factory.mktemp("readme")
    for stage in ("chain", "entropy"):
        __main__.main([stage, "--complex", "fe-aai2-ncs2", "--results", str(folder), "--workdir", str(folder / "work")])
    return folder / "fe-aai2-ncs2/pbe0_def2-svp"


@pytest.fixture(scope="module")
def text():
    """Return the README with plain minus signs."""
    return (ROOT / "README.md").read_text().replace("−", "-")


def row(text, head):
    """Return the cells of the table's row that begins with a head."""
    (line,) = [line for line in text.splitlines() if line.startswith(f"| {head}")]
    return [cell.strip() for cell in line.strip("|").split("|")][1:]


def test_energies_bonds_and_spins(recalled, text):
    found = [files.read_json(recalled / state / "optimise/optimise.json") for state in STATES]
    relative = [(s["energy_hartree"] - found[0]["energy_hartree"]) * HARTREE_TO_KJ_PER_MOL for s in found]
    assert [float(cell) for cell in row(text, "energy (kJ/mol)")] == pytest.approx(relative, abs=0.005)
    for cell, state in zip(row(text, "Fe-N (Å)".replace("-", "–")), found, strict=True):
        lengths = sorted({round(bond["length"], 3) for bond in state["metal_bonds_angstrom"]})
        assert [float(number) for number in cell.split()] == lengths
    spins = [[s["s_squared"], s["metal_spin_population"]] for s in found]
    for cell, numbers in zip(row(text, "⟨S²⟩, spin of Fe"), spins, strict=True):
        assert [float(number) for number in cell.split(",")] == pytest.approx(numbers, abs=0.0005)


def test_modes(recalled, text):
    found = [files.read_json(recalled / state / "vibrations/vibrations.json") for state in STATES]
    for cell, state in zip(row(text, "imaginary modes"), found, strict=True):
        waves = [(state["wavenumbers_per_cm"][k], state["irreps"][k]) for k in state["imaginary_modes"]]
        assert cell == (", ".join(f"{-wave:.0f}i cm⁻¹ ({irrep})" for wave, irrep in waves) or "none")
    for cell, state in zip(row(text, "lowest real mode, noise floor"), found, strict=True):
        lowest = min(wave for wave in state["wavenumbers_per_cm"] if wave > 0)
        assert [float(number) for number in cell.split(",")] == pytest.approx(
            [lowest, state["noise_floor_per_cm"]], abs=0.05
        )


def test_entropies(recalled, text):
    account = files.read_json(recalled / "entropy/entropy.json")
    at = account["temperatures_K"].index(298.15)
    names = (
        "vibrational_difference_harmonic", "vibrational_difference_quasi_rrho", "spin_difference", "symmetry_breaking",
        "total_difference", "total_difference_quasi_rrho",
    )  # fmt: skip
    columns = [account[f"entropy_{name}_J_per_mol_K"] for name in names]
    expected = [column[at] if isinstance(column, list) else column for column in columns]
    (sentence,) = re.findall(r"ΔS_vib .* J/\(K mol\) at 298\.15 K", text)
    numbers = re.findall(r"(?<![\w.])-?\d+\.\d(?!\d)", sentence)
    assert [float(number) for number in numbers] == pytest.approx(expected, abs=0.05)
