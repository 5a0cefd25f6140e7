"""From CIF and XYZ files to molecules: what comes back is whole and exact, and what cannot be right is refused."""

import importlib.util
import itertools
import json
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import spglib
import yaml
from ase.geometry import cellpar_to_cell
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from sample_provenance import fulfils
from spincross import cif, completeness, crystal, disorder, files, matching, orientation, pointgroup
from spincross.errors import BadInput, BadStructure
from spincross.molecule import Molecule
from spincross.units import BOHR_TO_ANGSTROM

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


def test_one_of_several_blocks_is_chosen_by_name() -> None:
    second = extract("several_blocks.cif", block="second").facts
    assert second["cif"]["space_group"] == "Pccn (56)"
    assert "block second was taken out of first, second" in second["warnings"][0]
    assert extract("several_blocks.cif", block="first").facts["cif"]["space_group"] == "P2_1/c (14)"


def test_one_of_two_species_is_chosen_by_formula() -> None:
    assert extract("two_complexes.cif", species="C4H6Cl2N2Zn").facts["atoms"] == 15


def test_a_metal_free_molecule_is_taken_when_it_is_the_only_kind() -> None:
    assert extract("two_fold.cif", metal=None).facts["coordination_number"] is None


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
    numbers = {}
    for folder in (DATA, tmp_path):
        found = {path.name: path.read_text().split() for path in folder.glob("*.cif")}
        numbers[folder] = found
    assert numbers[DATA].keys() == numbers[tmp_path].keys()
    for name, words in numbers[DATA].items():
        assert len(words) == len(numbers[tmp_path][name])


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
    ],
)
def test_a_damaged_cif_is_refused_in_one_sentence(tmp_path: Path, old: str, new: str, words: str) -> None:
    refused(edited(tmp_path, "two_fold.cif", old, new), words, folder=tmp_path)


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


# --- XYZ --------------------------------------------------------------------------------------------------------------


def stand_in(state: str = "low_spin") -> Molecule:
    """Return the 27-atom complex."""
    symbols, positions, _ = files.read_xyz(STRUCTURES / "fe-aai2-ncs2" / f"{state}.xyz")
    return Molecule(symbols, positions, 0, "C2")


def write_turned(path: Path, molecule: Molecule, seed: int, noise: float = 0.0) -> None:
    """Write a molecule in a random orientation."""
    rng = np.random.default_rng(seed)
    turned = molecule.positions @ Rotation.random(random_state=seed).as_matrix() + rng.normal(0, 3, 3)
    files.write_xyz(path, molecule.symbols, [turned + rng.normal(0, noise + 1e-12, turned.shape)], [""])


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_axis_of_an_xyz_file_is_found_in_any_orientation(tmp_path: Path, seed: int) -> None:
    write_turned(tmp_path / "turned.xyz", stand_in(), seed, noise=0.02)
    found = extract("turned.xyz", tmp_path, metal="Fe")
    assert 0.0 < found.facts["rmsd_to_exact_group_angstrom"] < 0.05
    assert np.abs(found.low_spin.positions[0]).max() < 1e-9
    assert pointgroup.deviation(found.low_spin.numbers, found.low_spin.positions, "C2") < 1e-10


def bent_high_spin(folder: Path, degrees: float) -> None:
    """Write the HS stand-in as high.xyz with its last NCS turned about the nitrogen, and the LS one as low.xyz."""
    high = stand_in("high_spin")
    positions = high.positions.copy()
    axis = np.cross(positions[-1] - positions[-3], [0.2, 0.5, 0.9])
    turn = Rotation.from_rotvec(np.radians(degrees) * axis / np.linalg.norm(axis)).as_matrix()
    positions[-3:] = (positions[-3:] - positions[-3]) @ turn.T + positions[-3]
    files.write_xyz(folder / "high.xyz", high.symbols, [positions], [""])
    files.write_xyz(folder / "low.xyz", high.symbols, [stand_in().positions], [""])


def test_an_xyz_file_without_the_axis_is_refused(tmp_path: Path) -> None:
    bent_high_spin(tmp_path, 30.0)
    refused("high.xyz", "is not C2", "largest deviation", folder=tmp_path, metal="Fe")


def test_a_large_shift_to_the_exact_group_is_reported(tmp_path: Path) -> None:
    molecule = stand_in()
    positions = molecule.positions.copy()
    positions[13] += 0.5
    files.write_xyz(tmp_path / "bent.xyz", molecule.symbols, [positions], [""])
    assert "made exactly C2" in extract("bent.xyz", tmp_path, metal="Fe").facts["warnings"][0]


def test_two_molecules_in_an_xyz_file_are_refused(tmp_path: Path) -> None:
    files.write_xyz(tmp_path / "two.xyz", ("Zn", "Cl", "Ar"), [np.diag([0.0, 4.0, 40.0])], [""])
    refused("two.xyz", "bonded together", folder=tmp_path, point_group="C1")


def test_an_xyz_file_without_the_metal_is_refused() -> None:
    refused("h2co.xyz", "no Zn", folder=STRUCTURES / "h2co")


def test_the_mirror_plane_and_the_inversion_centre_are_found_in_any_orientation(tmp_path: Path) -> None:
    for name, group, metal in (("mirror.cif", "Cs", "Zn"), ("inversion.cif", "Ci", "Pd")):
        molecule = extract(name, point_group=group, metal=metal).low_spin
        write_turned(tmp_path / "turned.xyz", molecule, 5)
        found = extract("turned.xyz", tmp_path, point_group=group, metal=metal).low_spin
        assert pointgroup.deviation(found.numbers, found.positions, group) < 1e-10


def test_turning_to_z_is_the_identity_for_an_axis_along_z() -> None:
    for axis in ([0, 0, 1.0], [0, 0, -1.0]):
        assert np.array_equal(orientation.turn_to_z(np.array(axis)), np.eye(3))
    matrix = orientation.turn_to_z(np.array([1.0, 2.0, -0.5]))
    assert matrix @ matrix.T == pytest.approx(np.eye(3), abs=1e-12)
    assert np.abs(matrix @ np.array([1.0, 2.0, -0.5]))[:2].max() < 1e-12


# --- LS and HS --------------------------------------------------------------------------------------------------------


def test_a_shuffled_high_spin_structure_is_renumbered_like_the_low_spin_one() -> None:
    low, high = stand_in(), stand_in("high_spin")
    shuffle = np.random.default_rng(4).permutation(len(high.symbols))
    mixed = Molecule(tuple(high.symbols[k] for k in shuffle), high.positions[shuffle] * [-1, 1, 1], 0, "C2")
    found, notes = matching.matched(low, mixed, ("low", "high"))
    assert found.symbols == low.symbols
    crystal.check_same_operation(("low", "high"), low, found)
    distances = [np.linalg.norm(m.positions[:, None] - m.positions[None], axis=2) for m in (found, high)]
    assert distances[0] == pytest.approx(distances[1], abs=1e-8)
    assert matching._distance(high, found) < 1e-6
    assert len(notes) == 2


def test_a_high_spin_crystal_without_the_two_fold_is_made_c2_and_renumbered(tmp_path: Path) -> None:
    high = stand_in("high_spin")
    rng = np.random.default_rng(8)
    shuffle = rng.permutation(len(high.symbols))
    noisy = high.positions * BOHR_TO_ANGSTROM + rng.normal(0.0, 0.05, high.positions.shape)
    turned = noisy[shuffle] @ Rotation.random(random_state=3).as_matrix()
    operations = cif.quiet(spglib.get_symmetry_from_database, HALL_NUMBERS[14])
    fractional = turned @ np.linalg.inv(np.asarray(cellpar_to_cell(lattice(14)))) + [0.02, 0.27, 0.99]
    symbols = [high.symbols[k] for k in shuffle]
    (tmp_path / "high.cif").write_text(cif_text(lattice(14), operations, symbols, fractional % 1.0))
    low = (STRUCTURES / "fe-aai2-ncs2" / "low_spin.cif").read_text()
    (tmp_path / "low.cif").write_text(low)
    found = extract("low.cif", tmp_path, high_spin_structure="high.cif", metal="Fe", multiplicity={"LS": 1, "HS": 5})
    facts = found.facts["high_spin"]
    assert (found.facts["site_symmetry"], facts["site_symmetry"]) == ("C2", "C1")
    assert 0.01 < facts["rmsd_to_exact_group_angstrom"] < 0.1
    assert "renumbered" in " ".join(found.facts["warnings"])
    assert found.high_spin.symbols == found.low_spin.symbols
    assert pointgroup.deviation(found.high_spin.numbers, found.high_spin.positions, "C2") < 1e-10
    assert matching._distance(high, found.high_spin) < 0.1


def test_a_moderately_distorted_high_spin_structure_is_symmetrised_and_reported(tmp_path: Path) -> None:
    bent_high_spin(tmp_path, 25.0)
    entry_changes = {"metal": "Fe", "high_spin_structure": "high.xyz", "multiplicity": {"LS": 1, "HS": 5}}
    found = extract("low.xyz", tmp_path, **entry_changes)
    assert pointgroup.deviation(found.high_spin.numbers, found.high_spin.positions, "C2") < 1e-10
    assert np.abs(found.high_spin.positions[0]).max() < 1e-9
    assert 0.1 < found.facts["high_spin"]["rmsd_to_exact_group_angstrom"] < 0.5
    assert "its start was symmetrised with the atom pairs of LS (RMSD 0." in " ".join(found.facts["warnings"])


def test_a_high_spin_structure_too_far_from_the_group_is_refused(tmp_path: Path) -> None:
    bent_high_spin(tmp_path, 75.0)
    changes = {"metal": "Fe", "high_spin_structure": "high.xyz", "multiplicity": {"LS": 1, "HS": 5}}
    with pytest.raises(BadStructure, match=r"high\.xyz: the molecule is not C2: RMSD .* leave high_spin_structure out"):
        extract("low.xyz", tmp_path, **changes)


def test_structures_with_different_bonds_are_refused() -> None:
    low = stand_in()
    broken = low.positions.copy()
    broken[[13, 26]] *= 2.0
    with pytest.raises(BadStructure, match="different bonds"):
        matching.matched(low, low.at(broken), ("low", "high"))


def test_structures_whose_group_pairs_other_atoms_are_refused() -> None:
    square = np.array([[1.0, 1, 0], [-1, -1, 0], [1, -1, 0], [-1, 1, 0]]) * 3
    low = Molecule(("H",) * 4, square, 0, "C2")
    high = Molecule(("H",) * 4, square[[0, 2, 1, 3]], 0, "C2")
    with pytest.raises(BadStructure, match="pairs the atoms"):
        crystal.check_same_operation(("low", "high"), low, high)


# --- real crystals ----------------------------------------------------------------------------------------------------


@needs_shared
def test_the_relative_in_pccn_gives_the_31_atom_cation_on_the_two_fold() -> None:
    found = extract("8102326.cif", SHARED, metal="Cr", charge=1, multiplicity={"LS": 4})
    assert (found.facts["formula"], found.facts["atoms"]) == ("C12H12Cl2CrN2O2", 31)
    assert found.facts["site_symmetry"] == "C2"
    lengths = sorted(bond["length"] for bond in found.facts["bonds_angstrom"])
    assert lengths == pytest.approx([1.975, 1.975, 2.059, 2.059, 2.316, 2.316], abs=1e-3)
    counts = {s["formula"]: s["count"] for s in found.facts["cif"]["species"]}
    assert counts == {"C12H12Cl2CrN2O2": 4, "Cl": 4, "H2O": 8}


@needs_shared
def test_the_shortfall_of_two_hydrogens_is_refused_or_reported() -> None:
    refused("1100974.cif", "H: 12 declared, 10 listed", folder=SHARED, charge=-2)
    found = extract("1100974.cif", SHARED, charge=-2, accept_formula_mismatch=True)
    assert (found.facts["formula"], found.facts["site_symmetry"]) == ("Cl4Zn", "C2")
    assert "10 listed" in found.facts["warnings"][0]


@needs_shared
def test_both_halves_of_a_disordered_group_are_never_returned() -> None:
    found = extract("7011014.cif", SHARED, metal="Fe", point_group="Ci", multiplicity={})
    assert (found.facts["formula"], found.facts["atoms"]) == ("C24H60Cl2Fe2N4O2Si4", 98)


@needs_shared
def test_an_extended_network_is_refused() -> None:
    refused("7051132.cif", "extended network", folder=SHARED, metal="Co")


# --- any molecule, any place ------------------------------------------------------------------------------------------

HALL_NUMBERS = {1: 1, 2: 2, 4: 6, 5: 9, 9: 39, 14: 81, 15: 90, 19: 115, 29: 143, 33: 164, 56: 266, 61: 290, 62: 292}
"""The ten most common space groups of the Cambridge database (P1, P-1, P21, C2/c, P21/c ...) and C2, Pca21, Pccn."""


def lattice(number: int) -> list[float]:
    """Return a roomy cell that the space group allows."""
    angles = [83.0, 97.0, 104.0] if number < 3 else [90.0, 105.0, 90.0] if number < 16 else [90.0, 90.0, 90.0]
    return [27.0, 25.0, 29.0, *angles]


def fixed_point(operations: Any, op: int, site: np.ndarray) -> np.ndarray | None:
    """Return a point on the symmetry element of an operation of order two, None if it has none (screw, glide)."""
    rotation, shift = operations["rotations"][op], operations["translations"][op]
    if np.array_equal(rotation, np.eye(3)) or not np.array_equal(rotation @ rotation, np.eye(3)):
        return None
    twice = rotation @ shift + shift
    for cells in itertools.product((-1, 0, 1), repeat=3):
        if np.abs(twice + rotation @ cells + cells).max() < 1e-9:
            return (site + rotation @ site + shift + cells) / 2.0
    return None


def random_star(rng: np.random.Generator, count: int, turn: np.ndarray | None) -> np.ndarray | None:
    """Return places (n, 3) in angstrom around the origin 1.95 away and 1.7 apart, in pairs under a rotation matrix."""
    for _ in range(60):
        directions = rng.normal(size=(count, 3))
        arms = 1.95 * directions / np.linalg.norm(directions, axis=1)[:, None]
        arms = arms if turn is None else np.vstack([arms, arms @ turn.T])
        gaps = np.linalg.norm(arms[:, None] - arms[None], axis=2) + 9.0 * np.eye(len(arms))
        if gaps.min() > 1.7:
            return arms
    return None


@settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(
    number=st.sampled_from(sorted(HALL_NUMBERS)),
    special=st.booleans(),
    seed=st.integers(0, 2**20),
    elements=st.lists(st.sampled_from(["F", "Cl", "Br", "O", "N"]), min_size=2, max_size=4),
)
def test_a_random_molecule_on_a_random_site_comes_back_whole(
    tmp_path: Path, number: int, special: bool, seed: int, elements: list[str]
) -> None:
    rng = np.random.default_rng(seed)
    operations = cif.quiet(spglib.get_symmetry_from_database, HALL_NUMBERS[number])
    assert cif.quiet(spglib.get_spacegroup_type, HALL_NUMBERS[number]).number == number
    rotations, shifts = operations["rotations"], operations["translations"]
    cell = np.asarray(cellpar_to_cell(lattice(number)))
    site, turn = rng.random(3), None
    elements = elements[:2] if special else elements
    for op in rng.permutation(len(rotations)) if special else ():
        point = fixed_point(operations, op, site)
        if point is not None:
            site, turn = point, cell.T @ rotations[op] @ np.linalg.inv(cell.T)
            break
    images = rotations @ site + shifts - site
    apart = np.linalg.norm((images - np.rint(images)) @ cell, axis=1)
    assume(np.sort(apart)[1 if turn is None else 2 :].min(initial=99.0) > 7.5)
    arms = random_star(rng, len(elements), turn)
    assume(arms is not None)
    positions = np.vstack([np.zeros(3), arms])
    fractional = positions[: len(elements) + 1] @ np.linalg.inv(cell) + site
    # each atom is listed at any of its equivalent places and wrapped into the cell; partners under the element are not
    chosen = rng.integers(0, len(rotations), len(fractional))
    listed = [rotations[o] @ f + shifts[o] for o, f in zip(chosen, fractional, strict=True)]
    (tmp_path / "random.cif").write_text(cif_text(lattice(number), operations, ["Zn", *elements], np.array(listed) % 1))
    found = extract("random.cif", tmp_path, point_group="C1", multiplicity={})
    symbols = ["Zn", *elements, *(elements if turn is not None else [])]
    assert sorted(found.low_spin.symbols) == sorted(symbols)
    if turn is None:
        assert found.low_spin.symbols == tuple(symbols)
    else:
        assert found.facts["site_symmetry"] != "C1"
    lengths = [np.sort(np.linalg.norm(p[:, None] - p[None], axis=2).ravel()) for p in
               (found.low_spin.positions * BOHR_TO_ANGSTROM, positions)]  # fmt: skip
    assert np.abs(lengths[0] - lengths[1]).max() < 1e-4


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


def test_a_cell_reader_keeps_each_atom_once() -> None:
    found = cif.read_crystal(DATA / "two_fold.cif")
    assert len(found.symbols) == 4 * 15
    assert found.symbols.count("Zn") == 4


@pytest.mark.parametrize(
    ("hall", "site", "name"),
    [(388, [0.0, 0.0, 0.0], "D2d"), (227, [0.0, 0.0, 0.0], "D2h"), (355, [0.0, 0.0, 0.0], "S4")],
)
def test_larger_site_groups_are_recognised_by_name(tmp_path: Path, hall: int, site: list[float], name: str) -> None:
    operations = cif.quiet(spglib.get_symmetry_from_database, hall)
    kind = cif.quiet(spglib.get_spacegroup_type, hall)
    cell = [12.0, 12.0, 15.0, 90.0, 90.0, 90.0]
    arms = [[0.0, 0.0, 2.0]] if name == "D2h" else [[1.3, 0.0, 1.5]] if name == "S4" else [[1.3, 1.3, 1.1]]
    places = np.vstack([np.zeros((1, 3)), arms]) / cell[:3] + site
    (tmp_path / "high.cif").write_text(cif_text(cell, operations, ["Zn", "Cl"], places))
    found = extract("high.cif", tmp_path, point_group="C1", multiplicity={})
    assert found.facts["site_symmetry"] == name, kind.international_short


FAN = np.array([[np.cos(a), np.sin(a), -0.33] for a in np.radians([0.0, 120.0, 240.0])])


@pytest.mark.parametrize(
    ("symbols", "places", "bare"),
    [
        ("CCCC", [[0, 0, 0], *(1.46 * FAN)], True),  # a methine carbon without its hydrogen
        ("CCCC", [[0, 0, 0], *(1.46 * FAN * [1, 1, 0])], False),  # the same, planar
        ("OC", [[0, 0, 0], [0, 0, 1.43]], True),  # an alcohol
        ("OC", [[0, 0, 0], [0, 0, 1.22]], False),  # a carbonyl
        ("NC", [[0, 0, 0], [0, 0, 1.47]], True),  # an amine
        ("NC", [[0, 0, 0], [0, 0, 1.15]], False),  # a nitrile
    ],
)
def test_a_bare_single_bond_or_corner_asks_for_a_hydrogen(symbols: str, places: list[Any], bare: bool) -> None:
    vectors = np.array(places)
    found = completeness._has_room(tuple(symbols), vectors, 0, list(range(1, len(symbols))))
    assert found is bare


@pytest.mark.parametrize(("length", "bare"), [(2.1, True), (1.65, False)])
def test_water_on_a_metal_needs_hydrogen_and_an_oxo_ligand_does_not(length: float, bare: bool) -> None:
    assert completeness._has_room(("O", "Fe"), np.array([[0.0, 0, 0], [0, 0, length]]), 0, [1]) is bare


@pytest.mark.parametrize("assembly", [None, "A"])
@pytest.mark.parametrize(
    ("groups", "shares", "left_out"),
    [
        ("1212", [0.6, 0.4, 0.7, 0.3], [1, 3]),  # two disordered places that share the numbers of their groups
        ("1212", [0.4, 0.6, 0.4, 0.6], [0, 2]),
        ("1212", [0.5, 0.5, 0.7, 0.3], [3]),  # the first place stays undecided
        ("....", [0.6, 0.4, 0.7, 0.3], [1, 3]),
        (["-1", "-1", "-1", "-1"], [0.5] * 4, []),  # on a symmetry element
        ("....", [0.6, 0.3, 0.7, 0.3], [3]),
    ],
)
def test_each_disordered_place_is_resolved_by_itself(
    groups: Any, shares: list[float], left_out: list[int], assembly: str | None
) -> None:
    places = np.array([[0.1, 0.1, 0.1], [0.14, 0.1, 0.1], [0.5, 0.5, 0.5], [0.54, 0.5, 0.5]])
    rows = disorder.Rows(["A", "B", "C", "D"], ["Cl"] * 4, np.array(shares), [assembly] * 4, list(groups), places)
    kept, notes = disorder.resolve(rows, 20.0 * np.eye(3), np.eye(3, dtype=int)[None], np.zeros((1, 3)))
    assert kept == [k for k in range(4) if k not in left_out]
    assert bool(notes) is bool(left_out)
