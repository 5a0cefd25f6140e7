"""From CIF files to molecules: what comes back is whole and exact, and what cannot be right is refused."""

import importlib.util
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from sample_crystals import (
    ACETONITRILE_COMPLEX,
    BUILT,
    DATA,
    SCHEMAS,
    STRUCTURES,
    complexes,
    edited,
    extract,
    refused,
)
from sample_provenance import fulfils
from spincross import cif, completeness, crystal, files, matching, pointgroup
from spincross.errors import BadInput, BadStructure
from spincross.molecule import Molecule
from spincross.units import BOHR_TO_ANGSTROM

# --- shipped complexes and schemas ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("complex_id", "formula", "donors"),
    [
        ("h2co", "CH2O", 0),
        ("fe-aai2-ncs2", "C6H12FeN6S2", 6),
        ("fe-pmi2-ncs2", "C14H12FeN6S2", 6),
        ("fe-phen2-ncs2", "C26H16FeN6S2", 6),
        ("fe-pm-pea2-ncs2", "C42H28FeN6S2", 6),
        ("fe-pm-pea2-ncs2-imine", "C42H28FeN6S2", 6),
    ],
)
def test_every_shipped_complex_is_one_whole_molecule_in_exact_c2(complex_id: str, formula: str, donors: int) -> None:
    found = crystal.extract_molecule(complex_id, complexes()[complex_id], STRUCTURES)
    fulfils(found.facts, "molecule")
    for molecule in (found.low_spin, found.high_spin):
        assert molecule.formula == formula
        assert pointgroup.deviation(molecule.numbers, molecule.positions, "C2") < 1e-10
    assert len(found.facts["bonds_angstrom"]) == donors
    assert found.low_spin.symbols == found.high_spin.symbols
    assert found.facts["warnings"] == []
    assert found.facts["rmsd_to_exact_group_angstrom"] < 1e-6


def test_shipped_complexes_fit_their_schema_and_unknown_keys_do_not() -> None:
    schema = json.loads((SCHEMAS / "complexes.schema.json").read_text())
    validator = jsonschema.Draft202012Validator(schema)
    content = complexes()
    validator.validate(content)
    assert list(validator.iter_errors(content | {"Upper_Case": content["h2co"]}))
    assert list(validator.iter_errors({"h2co": content["h2co"] | {"colour": "none"}}))


@pytest.mark.parametrize("complex_id", BUILT)
@pytest.mark.parametrize("state", ["low_spin", "high_spin"])
def test_a_built_model_comes_back_from_its_cif_in_place_and_order(complex_id: str, state: str) -> None:
    symbols, positions, comment = files.read_xyz(STRUCTURES / complex_id / f"{state}.xyz")
    found = getattr(crystal.extract_molecule(complex_id, complexes()[complex_id], STRUCTURES), state)
    assert found.symbols == symbols
    assert np.abs(found.positions - positions).max() * BOHR_TO_ANGSTROM < 1e-6
    assert "built model" in comment
    assert "BUILT MODEL" in (STRUCTURES / complex_id / f"{state}.cif").read_text()


# --- right answers ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "group", "site", "metal"),
    [
        ("two_fold.cif", "C2", "C2", "Zn"),
        ("mirror.cif", "Cs", "Cs", "Zn"),
        ("inversion.cif", "Ci", "Ci", "Pd"),
        ("across_edge.cif", "C2", "C1", "Zn"),
        ("two_independent.cif", "C2", "C1", "Zn"),
        ("whole_with_duplicates.cif", "C2", "C2", "Zn"),
        ("whole_in_p1.cif", "C2", "C1", "Zn"),
        ("disorder_groups.cif", "C1", "C1", "Zn"),
        ("disorder_plain.cif", "C1", "C1", "Zn"),
        ("disorder_solvent.cif", "C2", "C1", "Zn"),
    ],
)
def test_the_whole_complex_comes_back_with_its_site_symmetry(name: str, group: str, site: str, metal: str) -> None:
    found = extract(name, point_group=group, metal=metal)
    molecule = found.low_spin
    assert len(molecule.symbols) == 15
    assert molecule.formula == ACETONITRILE_COMPLEX.replace("Zn", metal)
    assert found.facts["site_symmetry"] == site
    assert found.facts["coordination_number"] == 4
    assert pointgroup.deviation(molecule.numbers, molecule.positions, group) < 1e-10
    lengths = sorted(bond["length"] for bond in found.facts["bonds_angstrom"])
    assert lengths == pytest.approx([2.0, 2.0, 2.25, 2.25], abs=1e-4)
    assert found.facts["cif"]["temperature_K"] == 100.0


def test_the_axis_is_given_in_the_frame_of_the_cell_and_is_z_in_that_of_the_molecule() -> None:
    facts = extract("two_fold.cif").facts
    assert facts["axis_cell"] == pytest.approx([0.0, 0.0, 1.0])
    mirror = extract("mirror.cif", point_group="Cs").facts
    assert mirror["axis_cell"] == pytest.approx([0.0, 1.0, 0.0])
    assert mirror["atom_permutation"][:3] == [0, 1, 2]


def test_of_two_independent_molecules_the_first_is_taken_with_a_warning() -> None:
    assert "several independent" in extract("two_independent.cif").facts["warnings"][0]


def test_another_independent_molecule_is_taken_by_the_label_of_its_metal() -> None:
    first, second = (extract("two_independent.cif", metal_site=label) for label in ("Zn1", "Zn1B"))
    assert first.facts["warnings"] == second.facts["warnings"] == []
    assert np.array_equal(first.low_spin.positions, extract("two_independent.cif").low_spin.positions)
    assert first.raw_low.crystal.labels[0] == "Zn1"
    refused("two_independent.cif", "no complex holds the atom Zn2; correct metal_site (Zn1, Zn1B)", metal_site="Zn2")


def test_one_atom_of_many_that_is_not_listed_is_noticed() -> None:
    """Two per cent of a hundred atoms are two atoms."""
    rows = cif.read_crystal(DATA / "two_fold.cif")
    block = cif.Block("x", {"_chemical_formula_sum": "C100 H101", "_cell_formula_units_z": 1})
    symbols = tuple("C" * 100 + "H" * 100)
    large = replace(rows, symbols=symbols, occupancies=np.ones(200), block=block)
    with pytest.raises(BadStructure, match="H: 101 declared, 100 listed"):
        completeness.check_formula(large, accept=False)


def test_one_of_several_blocks_is_chosen_by_name() -> None:
    second = extract("several_blocks.cif", block="second").facts
    assert second["cif"]["space_group"] == "Pccn (56)"
    assert "block second was taken out of first, second" in second["warnings"][0]
    assert extract("several_blocks.cif", block="first").facts["cif"]["space_group"] == "P2_1/c (14)"


def test_one_of_two_species_is_chosen_by_formula() -> None:
    assert extract("two_complexes.cif", species="C4H6Cl2N2Zn").facts["atoms"] == 15


def test_a_metal_free_molecule_is_taken_when_it_is_the_only_kind(tmp_path: Path) -> None:
    """Calcium stands for an atom without d electrons."""
    text = (DATA / "two_fold.cif").read_text()
    (tmp_path / "free.cif").write_text(text.replace("Zn", "Ca"))
    free = extract("free.cif", tmp_path, metal=None, accept_missing_hydrogen=True)
    assert free.facts["coordination_number"] is None
    refused("two_fold.cif", "the molecule holds Zn, but the entry says metal: null", metal=None)


def test_operators_are_taken_from_the_space_group_name_when_none_are_listed(tmp_path: Path) -> None:
    text = (DATA / "mirror.cif").read_text()
    start, end = text.index("loop_\n_space_group_symop"), text.index("loop_\n_atom_site")
    (tmp_path / "named.cif").write_text(text[:start] + text[end:])
    assert extract("named.cif", tmp_path, point_group="Cs").facts["cif"]["space_group"] == "Pnma (62)"


@pytest.mark.parametrize(("name", "how"), [("disorder_groups.cif", "groups"), ("disorder_plain.cif", "occupancies")])
def test_the_major_part_of_clear_disorder_is_kept_and_named(name: str, how: str) -> None:
    found = extract(name, point_group="C1")
    words = [w for w in found.facts["warnings"] if "disorder resolved by" in w]
    assert len(words) == 1
    assert how in words[0]
    assert "kept Cl1 (occupancy 0.60), left out Cl1B" in words[0]


def test_disorder_of_a_solvent_is_a_warning() -> None:
    assert "disordered atoms outside the complex: O1, O2" in " ".join(extract("disorder_solvent.cif").facts["warnings"])


def test_counter_ions_give_the_charge_of_the_complex() -> None:
    found = extract("salt.cif", charge=1, multiplicity={"LS": 2})
    assert found.facts["cif"]["charge_from_other_ions"] == 1.0
    assert {s["formula"]: s["count"] for s in found.facts["cif"]["species"]} == {"C4H6Cl2N2Zn": 4, "Br": 4, "H2O": 4}
    accepted = extract("salt.cif", accept_charge_imbalance=True)
    assert "neutral if" in " ".join(accepted.facts["warnings"])
    assert extract("two_complexes.cif", species=ACETONITRILE_COMPLEX).facts["cif"]["charge_from_other_ions"] is None


def test_charges_of_a_moiety_formula_are_used(tmp_path: Path) -> None:
    moiety = "_chemical_formula_moiety 'C4 H6 Cl2 N2 Zn, Cl4 Zn 2-'\n_cell_length_a 17"
    name = edited(tmp_path, "two_complexes.cif", "_cell_length_a 17", moiety)
    refused(name, "has the charge +2", folder=tmp_path, species=ACETONITRILE_COMPLEX)


def test_missing_hydrogen_can_be_accepted_and_none_is_added() -> None:
    found = extract("missing_hydrogen.cif", accept_missing_hydrogen=True)
    assert found.facts["formula"] == "C4Cl2N2Zn"
    assert "hydrogen atoms are missing" in " ".join(found.facts["warnings"])


def test_a_structure_is_not_taken_for_another_origin_in_silence() -> None:
    assert "set `origin: cif`" in " ".join(extract("two_fold.cif", origin="built model").facts["warnings"])
    measured = complexes()["fe-phen2-ncs2"] | {"origin": "cif"}
    notes = crystal.extract_molecule("fe-phen2-ncs2", measured, STRUCTURES).facts["warnings"]
    assert "says it is a built model" in " ".join(notes)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("C1 C 0.483073 0.250000 0.229491 1", "C1 C 0.483073 0.550000 0.429491 1", ("C1", "bonded to nothing")),
        ("H1 H 0.563733", "H1 H 0.763733", ("H1", "bonded to nothing")),
        ("H1 H 0.563733 0.250000 0.364206 1\n", "", ("hydrogen atoms are missing", "C2")),
        ("Cl1 Cl 0.250000 0.403093 0.007212", "Cl1 Cl 0.25 0.3 0.182", ("apart", "Cl1")),
        ("Cl1 Cl 0.250000 0.403093 0.007212 1\n", "", ("formula",)),
        ("_cell_length_a 11", "_cell_length_a 1.2", ("share", "too many")),
        ("0.007212 1", "0.007212 7", ("Cl1", "occupancy")),
    ],
)
def test_a_damage_that_leaves_a_fragment_is_refused(tmp_path: Path, old: str, new: str, words: tuple[str, ...]) -> None:
    text = (DATA / "two_fold.cif").read_text()
    assert old in text
    if words != ("formula",):  # the checks must also work where no formula is declared
        text = text.replace("_chemical_formula_sum", "_chemical_formula_iupac")
    (tmp_path / "edited.cif").write_text(text.replace(old, new))
    refused("edited.cif", *words, folder=tmp_path)


def test_the_generator_writes_the_crystals_of_this_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = importlib.util.spec_from_file_location("make_cifs", DATA / "make_cifs.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr("sys.argv", ["make_cifs.py", str(tmp_path)])
    module.main()
    kept, written = ({p.name: p.read_text().split() for p in folder.glob("*.cif")} for folder in (DATA, tmp_path))
    assert kept.keys() == written.keys()
    for name, words in kept.items():
        for word, other in zip(words, written[name], strict=True):
            assert word == other or float(word) == pytest.approx(float(other), abs=1e-5), name


def test_an_accepted_formula_mismatch_becomes_a_warning() -> None:
    found = extract("short_formula.cif", accept_formula_mismatch=True)
    assert "O: 1 declared, 0 listed" in found.facts["warnings"][0]


def test_occupancies_that_hold_the_site_multiplicity_are_whole_atoms(tmp_path: Path) -> None:
    name = edited(tmp_path, "two_fold.cif", "0.250000 0.250000 0.100000 1", "0.250000 0.250000 0.100000 0.5")
    assert extract(name, tmp_path).facts["atoms"] == 15


# --- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("disorder_even.cif", ("Cl1", "Cl1B", "disordered")),
        ("disorder_unlike.cif", ("Cl1", "Br1", "disordered")),
        ("salt.cif", ("neutral if C4H6Cl2N2Zn has the charge +1", "the entry says +0", "accept_charge_imbalance")),
        ("polymer.cif", ("extended network",)),
        ("missing_hydrogen.cif", ("hydrogen atoms are missing", "C2", "C4")),
        ("several_blocks.cif", ("first", "second", "block")),
        ("short_formula.cif", ("H: 8 declared, 6 listed", "O: 1 declared, 0 listed")),
        ("wrong_operators.cif", ("do not form a group",)),
        ("wrong_number.cif", ("14", "15")),
        ("two_complexes.cif", ("2 kinds of species", "Cl4Zn")),
        ("nowhere.cif", ("does not exist",)),
    ],
)
def test_a_cif_that_gives_no_sure_answer_is_refused(name: str, words: tuple[str, ...]) -> None:
    refused(name, *words)


def test_a_missing_metal_is_refused_with_the_species_found() -> None:
    refused("two_fold.cif", "no Fe", ACETONITRILE_COMPLEX, metal="Fe")


def test_an_unknown_block_is_refused() -> None:
    refused("several_blocks.cif", "no block named third", block="third")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("_cell_length_a 11", "_cell_length_a ?", "cell"),
        ("_cell_angle_beta 90", "_cell_angle_beta 190", "cell"),
        ("'-x,-y,-z'", "'-x,-y,-w'", "operator"),
        ("0.250000 0.250000 0.100000 1", "? 0.250000 0.100000 1", "coordinates"),
        ("Zn1 Zn", "Qq1 Qq", "element"),
        ("'C4 H6 Cl2 N2 Zn'", "'C4 H6 Cl2 N2 Qq'", "formula"),
        ("'C4 H6 Cl2 N2 Zn'", "'C4 H6x2 Cl2 N2 Zn'", "formula"),
        ("_atom_site_fract_z", "_atom_site_fract_q", "coordinates"),
        ("_atom_site_fract", "_atom_site_cartn", "atom sites"),
        ("Cl1 Cl", "Zn2 Cu", "formula"),
        ("loop_\n_atom_site", "_atom_site_disorder_group 1\nloop_\n_atom_site", "has 1 values for 8 atoms"),
    ],
)
def test_a_damaged_cif_is_refused_in_one_sentence(tmp_path: Path, old: str, new: str, words: str) -> None:
    refused(edited(tmp_path, "two_fold.cif", old, new), words, folder=tmp_path)


def test_a_cell_of_too_many_atoms_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cif, "MOST_IMAGES", 8 * 8 - 1)
    refused("two_fold.cif", "8 atoms and 8 operators are too many")


@pytest.mark.parametrize(
    ("symbols", "places", "words"),
    [
        ("HCC", [[0, 0, 0], [1.2, 0, 0], [-1.2, 0, 0]], "atom H0 has 2 neighbours (C1, C2)"),
        ("CHHHHH", 1.1 * np.array([[0, 0, 0], *np.eye(3), *-np.eye(3)[:2]]), "atom C0 has 5 neighbours"),
        (("Zn", "Cl"), [[0, 0, 0], [2.25, 0, 0]], "the metal Zn0 has 1 neighbours"),
    ],
)
def test_atoms_with_too_many_neighbours_and_a_metal_with_one_are_refused(symbols: Any, places: Any, words: str) -> None:
    labels = [f"{symbol}{k}" for k, symbol in enumerate(symbols)]
    with pytest.raises(BadStructure, match=re.escape(words)):
        completeness.check_bonds("x", tuple(symbols), np.array(places, dtype=float), labels, "Zn")


@pytest.mark.parametrize(
    ("symbols", "shape", "words"),
    [(("Qq", "H", "X"), (3, 3), "unknown element symbols Qq, X"), (("H", "H"), (3, 3), "expected (2, 3)")],
)
def test_a_molecule_of_unknown_elements_or_with_a_place_too_many_is_refused(
    symbols: tuple[str, ...], shape: tuple[int, int], words: str
) -> None:
    with pytest.raises(BadStructure, match=re.escape(words)):
        Molecule(symbols, np.zeros(shape))


def test_two_elements_on_one_place_are_refused(tmp_path: Path) -> None:
    name = edited(tmp_path, "two_fold.cif", "Zn1 Zn", "Cu1 Cu 0.25 0.25 0.1 1\nZn1 Zn")
    refused(name, "Cu1 and Zn1", "one place", folder=tmp_path)


def test_missing_operators_without_a_useful_name_are_refused(tmp_path: Path) -> None:
    text = (DATA / "two_fold.cif").read_text()
    start, end = text.index("_space_group_name"), text.index("loop_\n_atom_site")
    (tmp_path / "bare.cif").write_text(text[:start] + text[end:])
    refused("bare.cif", "no symmetry operators", folder=tmp_path)


@pytest.mark.parametrize(
    "content", [b"", b"not a cif at all", b"data_x\nloop_\n_atom_site_label\n", b"\xff\xfe\x00data_\n"]
)
def test_a_file_that_is_no_cif_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "junk.cif").write_bytes(content)
    refused("junk.cif", folder=tmp_path)


def test_a_truncated_cif_is_refused_at_every_length(tmp_path: Path) -> None:
    whole = (DATA / "across_edge.cif").read_bytes()
    for length in range(0, len(whole) - 1, 67):
        (tmp_path / "cut.cif").write_bytes(whole[:length])
        with pytest.raises(BadInput):
            extract("cut.cif", tmp_path)


def test_a_point_group_that_the_molecule_does_not_have_is_refused_with_the_deviation() -> None:
    refused("across_edge.cif", "is not Ci", "largest deviation", point_group="Ci")


def test_multiplicities_must_fit_the_number_of_electrons() -> None:
    with pytest.raises(BadInput, match="cannot have multiplicity 2"):
        extract("two_fold.cif", multiplicity={"LS": 2})


def test_two_different_molecules_cannot_be_one_complex() -> None:
    iron, cobalt = (Molecule((s,), np.zeros((1, 3))) for s in ("Fe", "Co"))
    with pytest.raises(BadStructure, match="one molecule in both"):
        matching.matched(iron, cobalt, ("low", "high"))
