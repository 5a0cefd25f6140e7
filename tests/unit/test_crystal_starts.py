"""From XYZ files to molecules in the exact group, and HS starts that follow LS ones."""

from pathlib import Path

import numpy as np
import pytest
import spglib
from ase.geometry import cellpar_to_cell
from scipy.spatial.transform import Rotation

from sample_crystals import (
    HALL_NUMBERS,
    STRUCTURES,
    cif_text,
    extract,
    lattice,
    refused,
)
from spincross import cif, crystal, files, matching, orientation, pointgroup
from spincross.errors import BadStructure
from spincross.molecule import Molecule
from spincross.units import BOHR_TO_ANGSTROM

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


def test_a_distorted_low_spin_structure_is_averaged_only_where_the_entry_accepts_it(tmp_path: Path) -> None:
    """Up to 0.5 angstrom and without changed bonds; the refusal names the key, and says nothing of it beyond."""
    bent_high_spin(tmp_path, 25.0)
    refused("high.xyz", "is not C2", "set accept_distorted_low_spin", folder=tmp_path, metal="Fe")
    found = extract("high.xyz", tmp_path, metal="Fe", accept_distorted_low_spin=True)
    assert 0.1 < found.facts["rmsd_to_exact_group_angstrom"] < 0.5
    assert pointgroup.deviation(found.low_spin.numbers, found.low_spin.positions, "C2") < 1e-10
    assert "the molecule was made exactly C2, the largest shift was 0." in " ".join(found.facts["warnings"])
    bent_high_spin(tmp_path, 75.0)
    with pytest.raises(BadStructure, match="is not C2") as error:
        extract("high.xyz", tmp_path, metal="Fe", accept_distorted_low_spin=True)
    assert "accept_distorted" not in str(error.value)


def test_an_average_that_would_change_bonds_is_no_start(tmp_path: Path) -> None:
    """One C-S stretched by 0.5 angstrom, its image not: the mean is a quarter off both, even if accepted."""
    bent_high_spin(tmp_path, 15.0)
    symbols, positions, _ = files.read_xyz(tmp_path / "high.xyz")
    along = positions[-1] - positions[-2]
    positions[-1] += 0.5 / BOHR_TO_ANGSTROM * along / np.linalg.norm(along)
    files.write_xyz(tmp_path / "stretched.xyz", symbols, [positions], [""])
    with pytest.raises(BadStructure, match=r"is not C2: .*made exact, bonds would change by up to 0\.2"):
        extract("stretched.xyz", tmp_path, metal="Fe", accept_distorted_low_spin=True)


def test_a_bent_molecule_of_three_elements_has_no_axis() -> None:
    bent = Molecule(("O", "H", "Cl"), np.array([[0.0, 0, 0], [6, 0, 0], [0, 5, 0]]), 0, "C2")
    with pytest.raises(BadStructure, match="is not C2: no axis sends each atom near one of its element"):
        orientation.orient(bent, None)


def test_a_large_shift_to_the_exact_group_is_reported(tmp_path: Path) -> None:
    molecule = stand_in()
    positions = molecule.positions.copy()
    positions[13] += 0.5
    files.write_xyz(tmp_path / "bent.xyz", molecule.symbols, [positions], [""])
    notes = extract("bent.xyz", tmp_path, metal="Fe").facts["warnings"]
    assert ["made exactly C2" in note for note in notes] == [False, True]
    assert notes[0] == "bent.xyz: the charge +0 of C6H12FeN6S2 is unchecked: an XYZ file does not say it"


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
