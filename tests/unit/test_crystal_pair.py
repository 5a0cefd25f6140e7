"""LS and HS crystal of one complex: what crystal.json says of two measured crystals, and of built models."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import spglib
import yaml
from ase.geometry import cellpar_to_cell

from sample_provenance import fulfils
from spincross import __main__ as command
from spincross import crystal, crystal_pair, files
from spincross.cif import quiet, read_crystal
from spincross.errors import BadStructure
from spincross.molecule import Molecule
from spincross.units import BOHR_TO_ANGSTROM

ROOT = Path(__file__).resolve().parents[2]
STRUCTURES = ROOT / "structures"
LOW_CELL = [20.0, 16.0, 18.0, 90.0, 90.0, 90.0]
HIGH_CELL = [20.4, 16.3, 18.2, 90.0, 93.1, 90.0]
ENTRY = {
    "title": "pair", "low_spin_structure": "low.cif", "high_spin_structure": "high.cif", "origin": "cif",
    "source": "test", "charge": 0, "multiplicity": {"LS": 1, "HS": 5}, "point_group": "C2", "metal": "Fe",
}  # fmt: skip


def write_cif(path: Path, cell: list[float], hall: int, symbols: tuple[str, ...], places: np.ndarray) -> None:
    """Write a CIF from Cartesian places (angstrom) around the site 1/4, 1/4, 0.1."""
    operations = quiet(spglib.get_symmetry_from_database, hall)
    keys = ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma")
    lines = [
        "data_x",
        "_diffrn_ambient_temperature 90(1)",
        *(f"_cell_{k} {v}" for k, v in zip(keys, cell, strict=True)),
    ]
    lines += ["loop_", "_space_group_symop_operation_xyz"]
    for rotation, shift in zip(operations["rotations"], operations["translations"], strict=True):
        parts = ["".join(f"{'+' if c > 0 else '-'}{'xyz'[k]}" for k, c in enumerate(row) if c) for row in rotation]
        lines.append("'" + ",".join(p + "+1/2" * int(t > 0) for p, t in zip(parts, shift, strict=True)) + "'")
    lines += ["loop_", "_atom_site_label", *(f"_atom_site_fract_{x}" for x in "xyz")]
    fractional = places @ np.linalg.inv(np.asarray(cellpar_to_cell(cell))) + [0.25, 0.25, 0.1]
    rows = zip(symbols, fractional, strict=True)
    lines += [f"{s}{i} {x:.6f} {y:.6f} {z:.6f}" for i, (s, (x, y, z)) in enumerate(rows)]
    path.write_text("\n".join(lines) + "\n")


@pytest.fixture
def pair(tmp_path: Path) -> dict[str, Any]:
    """Return crystal.json of the 35-atom model in a Pccn cell (LS, on the axis) and in a P21/c cell (HS, distorted)."""
    for state, cell, hall, noise in (("low", LOW_CELL, 266, 0.0), ("high", HIGH_CELL, 81, 0.04)):
        symbols, positions, _ = files.read_xyz(STRUCTURES / f"fe-pmi2-ncs2/{state}_spin.xyz")
        places = positions * BOHR_TO_ANGSTROM + np.random.default_rng(2).normal(0.0, noise + 1e-9, positions.shape)
        half = 18 if state == "low" else 35
        write_cif(tmp_path / f"{state}.cif", cell, hall, symbols[:half], places[:half])
    found = crystal.extract_molecule("pair", ENTRY, tmp_path)
    facts = crystal_pair.crystal_facts("pair", ENTRY, found)
    fulfils(facts, "crystal")
    return facts


def test_the_lost_twofold_shows_in_the_reflections_and_in_the_strain(pair: dict[str, Any]) -> None:
    assert pair["not_compared"] is None
    groups = pair["space_groups"]
    assert (groups["LS"], groups["HS"]) == ("Pccn (56)", "P2_1/c (14)")
    assert (groups["relation_of_HS_to_LS"], groups["index"]) == ("subgroup", 2)
    assert pair["reflections"]["extinct_in_LS_allowed_in_HS"] == [
        {"class": "0kl", "condition": "l odd"},
        {"class": "hk0", "condition": "h+k odd"},
    ]
    assert pair["reflections"]["extinct_in_HS_allowed_in_LS"] == []
    beta = np.radians(93.1)
    assert pair["strain"]["e13"] == pytest.approx(0.5 * 18.2 * np.cos(beta) / 18.0)
    volumes = 20.0 * 16.0 * 18.0, 20.4 * 16.3 * 18.2 * np.sin(beta)
    assert pair["strain"]["volume"] == pytest.approx(volumes[1] / volumes[0] - 1.0)
    for state, given, volume in zip(("LS", "HS"), (LOW_CELL, HIGH_CELL), volumes, strict=True):
        cell = pair["cells"][state]
        assert cell["lengths_angstrom"] + cell["angles_degrees"] == pytest.approx(given)
        assert (cell["complexes_per_cell"], cell["temperature_K"]) == (4, 90.0)
        assert cell["volume_angstrom3"] == pytest.approx(volume)
        assert cell["volume_per_complex_angstrom3"] == pytest.approx(volume / 4)


def test_cells_that_are_not_alike_have_neither_strain_nor_reflections_to_compare(
    tmp_path: Path, pair: dict[str, Any]
) -> None:
    """Indices of a doubled cell are those of another lattice."""
    doubled = [*HIGH_CELL[:2], 2 * HIGH_CELL[2], *HIGH_CELL[3:]]
    symbols, positions, _ = files.read_xyz(STRUCTURES / "fe-pmi2-ncs2/high_spin.xyz")
    write_cif(tmp_path / "high.cif", doubled, 81, symbols, positions * BOHR_TO_ANGSTROM)
    found = crystal_pair.crystal_facts("pair", ENTRY, crystal.extract_molecule("pair", ENTRY, tmp_path))
    fulfils(found, "crystal")
    assert found["space_groups"]["relation_of_HS_to_LS"] == "no common cell"
    assert [found["space_groups"][k] for k in ("index", "setting_of_HS")] == [None, None]
    assert (found["strain"], found["reflections"]) == (None, None)


def test_a_cell_that_its_operators_change_is_refused(tmp_path: Path) -> None:
    """Pccn asks for right angles; bonds of a molecule on a symmetry element would come out unlike its images."""
    symbols, positions, _ = files.read_xyz(STRUCTURES / "fe-pmi2-ncs2/low_spin.xyz")
    for beta, refused in ((90.0, False), (93.0, True)):
        write_cif(tmp_path / "x.cif", [*LOW_CELL[:4], beta, 90.0], 266, symbols[:18], positions[:18] * BOHR_TO_ANGSTROM)
        if refused:
            with pytest.raises(BadStructure, match="the symmetry operators do not fit the cell 20.000, 16.000, 18.000"):
                read_crystal(tmp_path / "x.cif")
        else:
            assert len(read_crystal(tmp_path / "x.cif").symbols) == 4 * 35


def test_crystals_of_different_compounds_have_no_strain(tmp_path: Path, pair: dict[str, Any]) -> None:
    """Water in one of them makes another compound."""
    symbols, positions, _ = files.read_xyz(STRUCTURES / "fe-pmi2-ncs2/high_spin.xyz")
    far = np.array([[8.5, 2.0, 3.5], [9.1, 2.0, 4.2], [7.9, 2.0, 4.2]])
    places = np.vstack([positions * BOHR_TO_ANGSTROM, far])
    write_cif(tmp_path / "high.cif", HIGH_CELL, 81, (*symbols, "O", "H", "H"), places)
    found = crystal_pair.crystal_facts("pair", ENTRY, crystal.extract_molecule("pair", ENTRY, tmp_path))
    assert found["not_compared"].startswith("the crystals hold different species (LS C")
    assert "HS C" in found["not_compared"] and "H2O" in found["not_compared"]
    assert found["strain"] is None


def test_bonds_angles_and_octahedra_are_those_of_the_files(pair: dict[str, Any]) -> None:
    low, high = (pair["octahedra"][s] for s in ("LS", "HS"))
    assert sorted(b["length"] for b in low["bonds_angstrom"]) == pytest.approx(
        np.repeat([1.94, 1.95, 1.97], 2), abs=1e-4
    )
    assert len(low["angles"]) == 15
    assert [len(s["bends"]) for s in (low, high)] == [2, 2]
    assert low["bends"][0]["degrees"] == pytest.approx(low["bends"][1]["degrees"], abs=1e-3)
    assert abs(high["bends"][0]["degrees"] - high["bends"][1]["degrees"]) > 0.1
    # the mean of the six is 1.9533: 2 (0.0133 + 0.0033 + 0.0167)
    assert low["zeta_angstrom"] == pytest.approx(2 * (0.0133 + 0.0033 + 0.0167), abs=1e-3)
    assert low["sigma_degrees"] < high["sigma_degrees"]
    assert low["theta_degrees"] < high["theta_degrees"]
    assert low["volume_angstrom3"] < high["volume_angstrom3"]


def test_a_straight_ligand_bends_by_180_degrees_wherever_it_points() -> None:
    rng = np.random.default_rng(0)
    for direction in rng.standard_normal((20, 3)):
        along = direction / np.linalg.norm(direction) / BOHR_TO_ANGSTROM
        molecule = Molecule(("Fe", "N", "C", "S"), np.outer([0.0, 2.0, 3.17, 4.8], along))
        facts = crystal_pair.site_facts(molecule, "Fe")
        assert facts is not None
        assert facts["bends"] == [{"atoms": [0, 1, 2], "degrees": pytest.approx(180.0, abs=1e-4)}]


def test_the_cell_of_a_built_model_is_not_compared(tmp_path: Path) -> None:
    command.main(["crystal", "--complex", "fe-pmi2-ncs2", "--results", str(tmp_path)])
    facts = files.read_json(tmp_path / "fe-pmi2-ncs2/molecule/crystal.json")
    assert facts["not_compared"] == "built model: its cell is invented"
    assert [facts[k] for k in ("cells", "strain", "space_groups", "reflections")] == [None] * 4
    assert facts["octahedra"]["HS"]["sigma_degrees"] > facts["octahedra"]["LS"]["sigma_degrees"]


@pytest.mark.parametrize("complex_id", ["h2co", "fe-aai2-ncs2"])
def test_every_other_complex_has_a_crystal_json_too(complex_id: str) -> None:
    entry = yaml.safe_load((STRUCTURES / "complexes.yaml").read_text())[complex_id]
    facts = crystal_pair.crystal_facts(complex_id, entry, crystal.extract_molecule(complex_id, entry, STRUCTURES))
    assert facts["not_compared"]
    assert (facts["octahedra"]["LS"] is None) == (entry["metal"] is None)


def test_one_measured_crystal_alone_is_not_compared_with_itself(tmp_path: Path) -> None:
    symbols, positions, _ = files.read_xyz(STRUCTURES / "fe-pmi2-ncs2/low_spin.xyz")
    write_cif(tmp_path / "low.cif", LOW_CELL, 266, symbols[:18], positions[:18] * BOHR_TO_ANGSTROM)
    entry = {k: v for k, v in ENTRY.items() if k != "high_spin_structure"}
    facts = crystal_pair.crystal_facts("one", entry, crystal.extract_molecule("one", entry, tmp_path))
    assert facts["not_compared"] == "one structure was given for both spin states"
