"""LS and HS from files that do not belong together, or whose contents leave a question open: refused or said."""

import re
from pathlib import Path

import numpy as np
import pytest
import spglib
from ase.geometry import cellpar_to_cell

from sample_crystals import (
    ACETONITRILE_COMPLEX,
    STRUCTURES,
    cif_text,
    edited,
    extract,
    lattice,
    refused,
)
from spincross import cif, completeness, conformers, files, pointgroup, species
from spincross.errors import BadStructure
from spincross.molecule import Molecule, metal_bonds
from spincross.units import ANGSTROM_TO_BOHR, BOHR_TO_ANGSTROM

SPINS = {"metal": "Fe", "multiplicity": {"LS": 1, "HS": 5}}


def test_two_isomers_are_refused_and_the_angle_is_named() -> None:
    """The pyridine nitrogens are trans in one, the imine nitrogens in the other."""
    imine = {"high_spin_structure": "fe-pm-pea2-ncs2-imine/high_spin.cif"}
    with pytest.raises(BadStructure, match=r"are different isomers: the angle N\d+-Fe1-N\d+ is \d+ degrees in LS"):
        extract("fe-pm-pea2-ncs2/low_spin.cif", STRUCTURES, **SPINS, **imine)
    own = {"high_spin_structure": "fe-pm-pea2-ncs2/high_spin.cif"}
    extract("fe-pm-pea2-ncs2/low_spin.cif", STRUCTURES, **SPINS, **own)


@pytest.mark.parametrize(("swapped", "differs"), [((1, 3), True), ((1, 2), False)])
def test_donors_that_change_from_trans_to_cis_make_another_isomer(swapped: tuple[int, int], differs: bool) -> None:
    """Exchanging both ends of one axis changes no angle."""
    places = np.array([[0, 0, 0], [1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]]) * 2.0
    low = Molecule(("Fe", *"N" * 6), places * ANGSTROM_TO_BOHR)
    order = list(range(7))
    order[swapped[0]], order[swapped[1]] = order[swapped[1]], order[swapped[0]]
    found = conformers.other_isomer(low, low.at(low.positions[order] * 1.05), "Fe")
    assert (found is not None) == differs
    if found:
        assert found == "the angle N2-Fe1-N3 is 180 degrees in LS and 90 in HS"


def test_exchanged_structures_are_said() -> None:
    low, high = (f"fe-aai2-ncs2/{state}_spin.xyz" for state in ("low", "high"))
    right = extract(low, STRUCTURES, **SPINS, high_spin_structure=high).facts["warnings"]
    wrong = extract(high, STRUCTURES, **SPINS, high_spin_structure=low).facts["warnings"]
    said = [any("are the structures of both states exchanged?" in text for text in texts) for texts in (right, wrong)]
    assert said == [False, True]


def two_blocks(folder: Path) -> str:
    """Write both states of the stand-in into one CIF and return its name."""
    texts = [(STRUCTURES / f"fe-aai2-ncs2/{state}_spin.cif").read_text() for state in ("low", "high")]
    named = []
    for text, name in zip(texts, ("8102326", "RT"), strict=True):
        head = next(line for line in text.splitlines() if line.startswith("data_"))
        named.append(text.replace(head, f"data_{name}", 1))
    (folder / "both.cif").write_text("\n".join(named))
    return "both.cif"


def test_each_state_has_its_own_block(tmp_path: Path) -> None:
    """A number is a name; one block for both is said where the entry names a file for each."""
    name = two_blocks(tmp_path)
    refused(name, "block", folder=tmp_path, **SPINS)
    both = {"high_spin_structure": name}
    found = extract(name, tmp_path, **SPINS, **both, block={"LS": 8102326, "HS": "RT"})
    means = [np.mean([b["length"] for b in metal_bonds(m, "Fe")]) for m in (found.low_spin, found.high_spin)]
    assert means[0] < 2.0 < means[1]
    same = extract(name, tmp_path, **SPINS, **both, block=8102326)
    assert "HS starts from the same molecule as LS" in " ".join(same.facts["warnings"])
    assert np.array_equal(same.low_spin.positions, same.high_spin.positions)


def test_the_block_of_a_state_is_looked_for_in_its_own_file(tmp_path: Path) -> None:
    name = two_blocks(tmp_path)
    (tmp_path / "own.cif").write_text((STRUCTURES / "fe-aai2-ncs2/high_spin.cif").read_text())
    block = {"LS": "8102326", "HS": cif.read_blocks(tmp_path / "own.cif")[0].name}
    found = extract(name, tmp_path, **SPINS, high_spin_structure="own.cif", block=block)
    assert found.facts["high_spin"]["cif"]["block"] == block["HS"]


def test_a_charge_that_cannot_be_checked_is_said_and_a_declared_one_is_used(tmp_path: Path) -> None:
    found = extract("two_complexes.cif", species=ACETONITRILE_COMPLEX)
    assert f"the charge +0 of {ACETONITRILE_COMPLEX} is unchecked" in " ".join(found.facts["warnings"])
    moiety = "_chemical_formula_moiety 'C4 H6 Cl2 N2 Zn 2+'\n_cell_length_a 17"
    name = edited(tmp_path, "two_complexes.cif", "_cell_length_a 17", moiety)
    words = f"_chemical_formula_moiety gives {ACETONITRILE_COMPLEX} the charge +2, but the entry says +0"
    refused(name, words, "accept_charge_imbalance", folder=tmp_path, species=ACETONITRILE_COMPLEX)
    accepted = extract(name, tmp_path, species=ACETONITRILE_COMPLEX, accept_charge_imbalance=True)
    assert words in " ".join(accepted.facts["warnings"])
    right = extract(name, tmp_path, species=ACETONITRILE_COMPLEX, charge=2)
    assert "charge" not in " ".join(right.facts["warnings"])


def test_donors_without_their_hydrogen_are_said() -> None:
    """Amines and imines of the stand-in; its bent NCS and pyridines need none."""
    symbols, positions, _ = files.read_xyz(STRUCTURES / "fe-aai2-ncs2/high_spin.xyz")
    labels, places = [f"{s}{k + 1}" for k, s in enumerate(symbols)], positions * BOHR_TO_ANGSTROM
    assert completeness.check_hydrogen("x", symbols, places, labels) == []
    nitrogens = {k for k, s in enumerate(symbols) if s == "N"}
    on_nitrogen = [
        k
        for k, s in enumerate(symbols)
        if s == "H" and np.linalg.norm(places[list(nitrogens)] - places[k], axis=1).min() < 1.2
    ]
    left = [k for k in range(len(symbols)) if k not in on_nitrogen]
    bare = tuple(symbols[k] for k in left)
    (note,) = completeness.check_hydrogen("x", bare, places[left], [labels[k] for k in left])
    owners = {labels[k] for k in nitrogens if np.linalg.norm(places[on_nitrogen] - places[k], axis=1).min() < 1.2}
    assert "look as if hydrogen were missing" in note
    assert {word.strip(",") for word in note.split()} & set(labels) == owners
    symbols, positions, _ = files.read_xyz(STRUCTURES / "fe-phen2-ncs2/high_spin.xyz")
    assert completeness.check_hydrogen("x", symbols, positions * BOHR_TO_ANGSTROM, list(symbols)) == []


def test_another_axis_of_a_molecule_with_several_is_put_right(tmp_path: Path) -> None:
    """A square keeps the axis along x in LS and the one along y in HS, each distorted by 0.03 angstrom."""
    square = np.array([[0, 0, 0], [2.2, 0, 0], [-2.2, 0, 0], [0, 2.2, 0], [0, -2.2, 0.0]])
    arms = np.vstack([square, square[1:] * 1.5])
    symbols = ("Fe", *"NNNN", *"CCCC")
    for name, moved in (("low", [1, 5]), ("high", [3, 7])):
        places = arms.copy()
        places[moved] *= 1.02
        files.write_xyz(tmp_path / f"{name}.xyz", symbols, [places * ANGSTROM_TO_BOHR], [""])
    found = extract("low.xyz", tmp_path, **SPINS, high_spin_structure="high.xyz")
    pairs = [
        pointgroup.permutations(m.numbers, m.positions, "C2")[-1].tolist() for m in (found.low_spin, found.high_spin)
    ]
    assert pairs[0] == pairs[1]


def test_alkali_ions_near_a_ligand_are_ions_of_their_own(tmp_path: Path) -> None:
    operations = {"rotations": np.eye(3, dtype=int)[None], "translations": np.zeros((1, 3))}
    places = np.array([[0, 0, 0], [2.4, 0, 0], [-2.4, 0, 0], [5.5, 0.4, 0.0]])
    fractional = places @ np.linalg.inv(np.asarray(cellpar_to_cell(lattice(1)))) + 0.3
    (tmp_path / "salt.cif").write_text(cif_text(lattice(1), operations, ["Zn", "S", "S", "K"], fractional))
    found = species.find_species(cif.read_crystal(tmp_path / "salt.cif"))
    assert sorted(s.formula for s in found) == ["K", "S2Zn"]


@pytest.mark.parametrize(
    ("name", "point_group", "number", "hall"),
    [
        ("P 1 21/c 1", "2/m", 14, "-P 2ybc"),
        ("P 21/c", "2/m", 14, "-P 2ybc"),
        ("P 21/n", "2/m", 14, "-P 2yn"),
        ("C 2/c", "2/m", 15, "-C 2yc"),
        ("P 21 21 21", "222", 19, "P 2ac 2ab"),
        ("P n a 21", "mm2", 33, "P 2c -2n"),
    ],
)
def test_operations_are_read_from_the_name_alone(name: str, point_group: str, number: int, hall: str) -> None:
    """A short monoclinic name stands for the unique axis b (International Tables A)."""
    found = cif._operations_by_name("x", cif.Block("x", {"_symmetry_space_group_name_h-m": name}))
    assert spglib.get_pointgroup(found[0])[0].strip() == point_group
    assert cif.space_group(*found).number == number
    by_hall = cif._operations_by_name("x", cif.Block("x", {"_symmetry_space_group_name_hall": hall}))
    assert np.array_equal(found[0], by_hall[0])
    assert np.allclose(found[1], by_hall[1])


@pytest.mark.parametrize(
    ("label", "formula", "element"),
    [
        ("HO1A", "C6 H12 Cr O2", "H"),
        ("HO1A", "C6 Ho O2", "Ho"),
        ("CO1", "C6 H12 Cr O2", "C"),
        ("CO1", "C6 Co O2", "Co"),
        ("FE1", "C6 Fe O2", "Fe"),
        ("FE1", "", "Fe"),
    ],
)
def test_a_label_without_a_type_symbol_is_an_element_of_the_formula(label: str, formula: str, element: str) -> None:
    declared = set(re.findall("[A-Z][a-z]?", formula))
    assert cif._element("x", ".", label, declared) == element
    assert cif._element("x", "Ho", label, declared) == "Ho"


def test_deuterium_is_taken_as_hydrogen_and_said(tmp_path: Path) -> None:
    operations = {"rotations": np.eye(3, dtype=int)[None], "translations": np.zeros((1, 3))}
    places = np.array([[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]])
    fractional = places @ np.linalg.inv(np.asarray(cellpar_to_cell(lattice(1)))) + 0.3
    (tmp_path / "heavy.cif").write_text(cif_text(lattice(1), operations, ["O", "D", "H"], fractional))
    found = cif.read_crystal(tmp_path / "heavy.cif")
    assert found.symbols == ("O", "H", "H")
    assert any("deuterium (D" in note and "ordinary H" in note for note in found.notes)
    (tmp_path / "light.cif").write_text(cif_text(lattice(1), operations, ["O", "H", "H"], fractional))
    assert not any("deuterium" in note for note in cif.read_crystal(tmp_path / "light.cif").notes)
