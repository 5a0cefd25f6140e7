"""One transition metal, its usual spins, and no atom of it bare."""

from pathlib import Path

import numpy as np
import pytest

from sample_crystals import extract, refused
from spincross import completeness, files, one_metal
from spincross.errors import BadInput
from spincross.molecule import Molecule
from spincross.units import ANGSTROM_TO_BOHR

AXES = np.vstack([np.eye(3), -np.eye(3)])


def star(folder: Path, donor: str, length: float, donors: int = 6, metal: str = "Fe") -> str:
    """Write a metal with bare donors around it and return the name of the file."""
    places = np.vstack([np.zeros(3), length * AXES[:donors]]) * ANGSTROM_TO_BOHR
    files.write_xyz(folder / "star.xyz", (metal, *[donor] * donors), [places], [""])
    return "star.xyz"


@pytest.mark.parametrize(("donor", "length", "bare"), [("N", 2.2, True), ("O", 1.99, True), ("Cl", 2.3, False)])
def test_ammines_and_water_without_their_hydrogen_are_refused(tmp_path, donor, length, bare):
    name, spins = star(tmp_path, donor, length), {"LS": 1, "HS": 5}
    wanted = {"metal": "Fe", "charge": 2, "point_group": "Ci", "multiplicity": spins}
    if bare:
        refused(name, "hydrogen atoms are missing", f"{donor}2", folder=tmp_path, **wanted)
    else:
        assert extract(name, tmp_path, **wanted).facts["coordination_number"] == 6


@pytest.mark.parametrize(("donor", "length"), [("O", 1.62), ("N", 1.55)])
def test_oxido_and_nitrido_ligands_are_whole(tmp_path, donor, length):
    places = np.vstack([np.zeros(3), [0, 0, length], 2.3 * AXES[:2], 2.3 * AXES[3:5]]) * ANGSTROM_TO_BOHR
    files.write_xyz(tmp_path / "oxido.xyz", ("Fe", donor, *["Cl"] * 4), [places], [""])
    charge = 0 if donor == "O" else -1
    found = extract("oxido.xyz", tmp_path, metal="Fe", charge=charge, point_group="C1", multiplicity={})
    assert found.facts["coordination_number"] == 5


@pytest.mark.parametrize(
    ("symbols", "metal", "words"),
    [
        (("Fe", "N", "Fe"), "Fe", "holds 2 transition metals (Fe, Fe)"),
        (("Fe", "N", "Co"), "Fe", "holds 2 transition metals (Fe, Co)"),
        (("Fe", "N", "N"), None, "the molecule holds Fe, but the entry says metal: null"),
        (("Fe", "N", "N"), "N", "metal: N is no transition metal"),
    ],
)
def test_other_than_one_transition_metal_is_refused(symbols, metal, words):
    molecule = Molecule(symbols, np.diag([0.0, 3.0, 6.0]), 0, "C1")
    with pytest.raises(BadInput) as caught:
        one_metal.check_metal("x.cif", molecule, metal)
    assert words in str(caught.value)


@pytest.mark.parametrize("metal", ["Fe", None])
def test_one_metal_or_none_is_taken(metal):
    one_metal.check_metal("x.cif", Molecule((metal or "C", "N", "N"), np.diag([0.0, 3.0, 6.0]), 0, "C1"), metal)


@pytest.mark.parametrize(
    ("metal", "spins", "said"),
    [
        ("Fe", (1, 5), False),
        ("Fe", (2, 6), False),
        ("Fe", (1, 3), True),
        ("Co", (2, 4), False),
        ("Co", (2, 6), True),
        ("Zn", (1, 3), False),
    ],
)
def test_unusual_multiplicities_are_said_with_the_usual_ones(metal, spins, said):
    molecule = Molecule((metal, *["N"] * 6), np.vstack([np.zeros(3), 3.9 * AXES]), 0, "C1")
    notes = one_metal.remarks("x.cif", molecule, metal, {"LS": spins[0], "HS": spins[1]})
    assert [f"are unusual for {metal}; usual are" in note for note in notes] == [True] * said


def test_a_multiplicity_that_one_metal_cannot_have_is_refused():
    molecule = Molecule(("Fe", *["N"] * 6), np.vstack([np.zeros(3), 3.9 * AXES]), 0, "C1")
    with pytest.raises(BadInput, match=r"one Fe cannot have the multiplicity 109 \(HS\)"):
        one_metal.remarks("x.cif", molecule, "Fe", {"LS": 1, "HS": 109})


@pytest.mark.parametrize(("donors", "said"), [(3, True), (4, False), (6, False)])
def test_too_few_donors_are_said(donors, said):
    molecule = Molecule(("Fe", *["N"] * donors), np.vstack([np.zeros(3), 3.9 * AXES[:donors]]), 0, "C1")
    notes = one_metal.remarks("x.cif", molecule, "Fe", {"LS": 1, "HS": 5})
    assert [f"{donors} atoms are bonded to Fe" in note for note in notes] == [True] * said


def test_a_key_that_chooses_from_a_cif_is_refused_beside_an_xyz(tmp_path):
    name = star(tmp_path, "Cl", 2.3)
    wanted = {"metal": "Fe", "charge": 2, "point_group": "Ci", "multiplicity": {"LS": 1, "HS": 5}}
    refused(name, "is no CIF, from which `metal_site` could choose", folder=tmp_path, metal_site="Fe1", **wanted)


def test_an_xyz_file_with_more_atoms_than_it_says_is_refused(tmp_path):
    name = star(tmp_path, "Cl", 2.3)
    text = (tmp_path / name).read_text()
    (tmp_path / name).write_text(text.replace("7", "5", 1))
    with pytest.raises(BadInput, match="its first line says 5 atoms, but more follow"):
        files.read_xyz(tmp_path / name)
    (tmp_path / name).write_text(text + text)
    assert len(files.read_xyz(tmp_path / name)[0]) == 7


def azole(smiles: str):
    """Return symbols, positions in angstrom and labels of a molecule, or an anion, built from its SMILES."""
    chem = pytest.importorskip("rdkit.Chem")
    whole = chem.AddHs(chem.MolFromSmiles(smiles))
    pytest.importorskip("rdkit.Chem.AllChem").EmbedMolecule(whole, randomSeed=1)
    symbols = tuple(atom.GetSymbol() for atom in whole.GetAtoms())
    return symbols, whole.GetConformer().GetPositions(), [f"{s}{k + 1}" for k, s in enumerate(symbols)]


@pytest.mark.parametrize(
    ("smiles", "said"),
    [
        ("c1c[nH]cn1", False),
        ("c1c[n-]cn1", True),
        ("c1cc[n-]n1", True),
        ("Cn1ccnc1", False),
        ("c1nnc[n-]1", True),
        ("Cn1cnnc1", False),
        ("c1cocn1", False),
        ("c1cscn1", False),
        ("c1ccncc1", False),
        ("c1cncnc1", False),
        ("c1ccc2[n-]cnc2c1", True),
        ("c1ccc2[nH]cnc2c1", False),
        ("C1CNC=N1", False),
    ],
)
def test_an_azole_without_hydrogen_on_any_nitrogen_is_said(smiles, said):
    """The anions are what is left of imidazole, pyrazole, triazole and benzimidazole when their N-H is not located."""
    notes = completeness.check_hydrogen("x.cif", *azole(smiles), accept=True)
    assert any("is an anion, or a hydrogen is missing" in note for note in notes) == said
