"""The builder: distances held to the last digit, exact C2, the isomer asked for, and refusals that say why."""

import importlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from ase import Atoms

from spincross import __main__ as command
from spincross import build, conformers, crystal, files, ligands, model_cif, placement, pointgroup
from spincross import species as species_of
from spincross.errors import BadInput, BadStructure, NotConverged
from spincross.molecule import Molecule, bonds
from spincross.units import ANGSTROM_TO_BOHR, BOHR_TO_ANGSTROM

STRUCTURES = Path(__file__).resolve().parents[2] / "structures"
GLYOXAL_DIIMINE = "N=CC=N"
PYRIDYLMETHANIMINE = "N=Cc1ccccn1"
LOW = placement.Distances(1.97, 1.95, 1.94)
BUILT = ["fe-pmi2-ncs2", "fe-phen2-ncs2", "fe-pm-pea2-ncs2", "fe-pm-pea2-ncs2-imine"]


@pytest.fixture(scope="module")
def small() -> dict[str, Molecule]:
    """Return [Fe(glyoxal diimine)2(NCS)2], 23 atoms, built in a few seconds."""
    for package in ("rdkit", "tblite"):
        pytest.importorskip(package)
    distances = {"LS": LOW, "HS": placement.Distances(2.20, 2.18, 2.06)}
    return build.build_complex(GLYOXAL_DIIMINE, "imine", distances, {"LS": 1, "HS": 5}, conformers=1, force=0.1)


def half_of(smiles: str, trans: str) -> tuple[tuple[str, ...], Any, Any]:
    """Return a placed, unrelaxed half."""
    pytest.importorskip("rdkit")
    return placement.place_half(ligands.embedded_ligands(smiles, trans, 1)[0], LOW)


def looks(molecule: Molecule) -> dict[str, float]:
    """Return what a chemist looks at: contacts (angstrom), the torsion N-C-C-N of a chelate, angles of the anion."""
    pairs = bonds(molecule.symbols, molecule.positions)
    atoms = Atoms(molecule.symbols, molecule.positions * BOHR_TO_ANGSTROM)
    ring = next(
        (first, carbon, other, second)
        for first in near(pairs, 0)
        for carbon in near(pairs, first)
        for other in near(pairs, carbon)
        for second in near(pairs, other)
        if 0 not in (carbon, other) and other != first and second != carbon and second in near(pairs, 0)
    )
    nitrogen, carbon, sulfur = range(len(atoms) - 3, len(atoms))
    return {
        "shortest_contact": build.shortest_contact(atoms, pairs),
        "chelate_torsion": (atoms.get_dihedral(*ring) + 180.0) % 360.0 - 180.0,
        "metal_N_C_angle": atoms.get_angle(0, nitrogen, carbon),
        "N_C_S_angle": atoms.get_angle(nitrogen, carbon, sulfur),
    }


def near(pairs: list[tuple[int, int]], atom: int) -> list[int]:
    """Return the atoms bonded to one."""
    return sorted(i + j - atom for i, j in pairs if atom in (i, j))


def test_a_built_model_has_exact_c2_and_the_distances_asked_for(small: dict[str, Molecule]) -> None:
    for state, wanted in (("LS", [1.94, 1.95, 1.97]), ("HS", [2.06, 2.18, 2.20])):
        molecule = small[state]
        assert molecule.formula == "C6H8FeN6S2"
        assert pointgroup.deviation(molecule.numbers, molecule.positions, "C2") < 1e-12
        lengths = np.linalg.norm(molecule.positions, axis=1) * BOHR_TO_ANGSTROM
        assert np.sort(lengths)[1:7] == pytest.approx(np.repeat(wanted, 2), abs=1e-9)
    assert small["LS"].symbols == small["HS"].symbols


def test_a_built_model_is_planar_where_it_should_be(small: dict[str, Molecule]) -> None:
    build.check_model(small["LS"], 2 * 7 + 4 + 6)
    look = looks(small["LS"])
    assert abs(look["chelate_torsion"]) < 10.0
    assert look["metal_N_C_angle"] > 130.0
    assert look["N_C_S_angle"] > 170.0


def test_a_built_model_comes_back_unchanged_through_its_cif(small: dict[str, Molecule], tmp_path: Path) -> None:
    model_cif.write_model(tmp_path, "low_spin", "small", small["LS"], "made for a test")
    entry = {"title": "t", "low_spin_structure": "low_spin.cif", "origin": "built model", "source": "t", "charge": 0}
    entry |= {"multiplicity": {"LS": 1}, "point_group": "C2", "metal": "Fe"}
    found = crystal.extract_molecule("small", entry, tmp_path).low_spin
    assert found.symbols == small["LS"].symbols
    assert np.abs(found.positions - small["LS"].positions).max() * BOHR_TO_ANGSTROM < 1e-6


@pytest.mark.parametrize("complex_id", ["fe-aai2-ncs2", *BUILT])
def test_molecules_of_neighbouring_cells_are_twelve_angstrom_apart(complex_id: str) -> None:
    entry = yaml.safe_load((STRUCTURES / "complexes.yaml").read_text())[complex_id]
    for key in ("low_spin_structure", "high_spin_structure"):
        cell = crystal.read_crystal(STRUCTURES / entry[key])
        found = species_of.find_species(cell)
        assert len(found) == 4
        places = [cell.fractional[s.atoms] + s.shifts for s in found]
        centre = places[0].mean(axis=0)
        for place in places[1:]:
            moved = place - np.rint(place.mean(axis=0) - centre)
            gaps = np.linalg.norm((moved[:, None] - places[0][None]) @ cell.cell, axis=2)
            assert gaps.min() > 12.0


@pytest.mark.parametrize(("trans", "kind"), [("pyridine", True), ("imine", False)])
def test_the_named_donors_are_mutually_trans(trans: str, kind: bool) -> None:
    symbols, half, fixed = half_of(PYRIDYLMETHANIMINE, trans)
    names, positions = placement.whole("Fe", symbols, half)
    donors = [k for k in np.flatnonzero(~np.isnan(fixed)) if k < len(half) - 3]
    neighbours = {k: sum(k in pair for pair in bonds(symbols, half * ANGSTROM_TO_BOHR)) for k in donors}
    ring = {k: symbols_near(symbols, half, k).count("C") == 2 for k in donors}
    along = {k: half[k] @ (half[k] * placement.TURN) / np.linalg.norm(half[k]) ** 2 for k in donors}
    trans_donor = min(along, key=lambda k: along[k])
    assert along[trans_donor] < -0.9
    assert ring[trans_donor] is kind
    assert len(names) == len(positions) == 2 * len(half) + 1
    assert neighbours[trans_donor] == 2


def symbols_near(symbols: tuple[str, ...], positions: Any, atom: int) -> list[str]:
    """Return the elements bonded to an atom."""
    pairs = bonds(symbols, positions * ANGSTROM_TO_BOHR)
    return [symbols[j if i == atom else i] for i, j in pairs if atom in (i, j)]


@pytest.mark.parametrize("complex_id", BUILT)
@pytest.mark.parametrize("state", ["low_spin", "high_spin"])
def test_a_shipped_built_model_has_no_clash(complex_id: str, state: str) -> None:
    entry = yaml.safe_load((STRUCTURES / "complexes.yaml").read_text())[complex_id]
    molecule = getattr(crystal.extract_molecule(complex_id, entry, STRUCTURES), state)
    look = looks(molecule)
    assert look["shortest_contact"] > 2.0
    assert look["metal_N_C_angle"] > 140.0
    assert look["N_C_S_angle"] > 175.0
    if (complex_id, state) == ("fe-pm-pea2-ncs2", "high_spin"):  # GFN2 twists this one, as its README says
        assert look["chelate_torsion"] == pytest.approx(-18.5, abs=0.1)
    else:
        assert abs(look["chelate_torsion"]) < 5.0


@pytest.mark.parametrize("complex_id", ["fe-aai2-ncs2", *BUILT])
def test_both_states_of_a_shipped_built_model_are_one_conformer(complex_id: str) -> None:
    entry = yaml.safe_load((STRUCTURES / "complexes.yaml").read_text())[complex_id]
    found = crystal.extract_molecule(complex_id, entry, STRUCTURES)
    assert not conformers.turns(found.low_spin, found.high_spin, "Fe")
    assert not any("conformers" in text for text in found.facts["warnings"])


def test_structures_in_different_conformers_are_said_before_anything_is_computed(tmp_path: Path) -> None:
    """LS of the stand-in as shipped, and an older one with its chelate rings folded to the other side as HS."""
    older = files.read_arrays(STRUCTURES.parent / "tests/data/fe-aai2-ncs2_LS_displaced.npz")
    files.write_xyz(tmp_path / "high.xyz", tuple(map(str, older["symbols"])), [older["positions"]], ["older LS"])
    (tmp_path / "low_spin.cif").write_text((STRUCTURES / "fe-aai2-ncs2/low_spin.cif").read_text())
    entry = yaml.safe_load((STRUCTURES / "complexes.yaml").read_text())["fe-aai2-ncs2"]
    entry |= {"low_spin_structure": "low_spin.cif", "high_spin_structure": "high.xyz"}
    found = crystal.extract_molecule("fe-aai2-ncs2", entry, tmp_path)
    assert any("different conformers (the torsion Fe1-N3-C5-C4 is -25" in text for text in found.facts["warnings"])


def in_a_ring_of_six(molecule: Molecule, atom: int) -> bool:
    """Tell whether a nitrogen's two carbons are joined by four bonds apart from it, as in pyridine."""
    near: dict[int, set[int]] = {k: set() for k in range(len(molecule.symbols))}
    for i, j in bonds(molecule.symbols, molecule.positions):
        if atom not in (i, j) and "Fe" not in (molecule.symbols[i], molecule.symbols[j]):
            near[i].add(j), near[j].add(i)
    pairs = [p for p in bonds(molecule.symbols, molecule.positions) if atom in p]
    start, end = (k for p in pairs for k in p if molecule.symbols[k] == "C")
    reached = [{start}]
    for _ in range(4):
        reached.append({k for j in reached[-1] for k in near[j]})
    return end in reached[4] and not any(end in step for step in reached[:4])


@pytest.mark.parametrize(("complex_id", "pyridine"), [("fe-pm-pea2-ncs2", True), ("fe-pm-pea2-ncs2-imine", False)])
@pytest.mark.parametrize("state", ["low_spin", "high_spin"])
def test_both_isomers_of_the_papers_complex_are_shipped(complex_id: str, pyridine: bool, state: str) -> None:
    entry = yaml.safe_load((STRUCTURES / "complexes.yaml").read_text())[complex_id]
    molecule = getattr(crystal.extract_molecule(complex_id, entry, STRUCTURES), state)
    iron = molecule.symbols.index("Fe")
    donors = [k for p in bonds(molecule.symbols, molecule.positions) if iron in p for k in p if k != iron]
    units = (molecule.positions[donors] - molecule.positions[iron]).T
    units = (units / np.linalg.norm(units, axis=0)).T
    image = [int(np.argmin(np.linalg.norm(units * placement.TURN - u, axis=1))) for u in units]
    trans = [donors[k] for k, partner in enumerate(image) if units[k] @ units[partner] < -0.9]
    assert len(trans) == 2
    assert [in_a_ring_of_six(molecule, k) for k in trans] == [pyridine] * 2


def test_the_command_line_builds_and_refuses_in_one_sentence(tmp_path: Path) -> None:
    pytest.importorskip("rdkit")
    with pytest.raises(SystemExit, match="BadInput: the SMILES 'C1CC' cannot be read"):
        command.main(["build", "nothing", "C1CC", "--folder", str(tmp_path)])


def test_a_bend_turns_the_anion_at_its_nitrogen_and_nothing_else() -> None:
    _, half, _ = half_of(GLYOXAL_DIIMINE, "imine")
    turns = [placement.bent(half, turn) for turn in (0.0, np.pi)]
    for found in turns:
        np.testing.assert_array_equal(found[:-2], half[:-2])
        np.testing.assert_allclose(np.linalg.norm(found[-2:] - half[-3], axis=1), [1.17, 2.79], atol=1e-12)
        to_carbon, to_sulphur = found[-2:] - found[-3]
        angle = np.degrees(np.arccos(-to_carbon @ half[-3] / 1.17 / np.linalg.norm(half[-3])))
        assert angle == pytest.approx(180.0 - placement.BEND, abs=1e-9)
        np.testing.assert_allclose(np.cross(to_carbon, to_sulphur), 0.0, atol=1e-12)
    middle = half[-3] * (1.0 + 2.79 * np.cos(np.radians(placement.BEND)) / 1.94)
    np.testing.assert_allclose((turns[0] + turns[1])[-1] / 2.0, middle, atol=1e-9)


def test_a_fold_turns_the_ligand_about_its_donors_and_nothing_else() -> None:
    pytest.importorskip("rdkit")
    ligand = ligands.embedded_ligands(GLYOXAL_DIIMINE, "imine", 1)[0]
    ligand = replace(ligand, positions=flat(ligand.positions))
    _, plain, fixed = placement.place_half(ligand, LOW)
    donors, angles = list(ligand.donors), []
    for fold in placement.FOLDS:
        _, half, held = placement.place_half(ligand, LOW, fold)
        np.testing.assert_array_equal(held, fixed)
        np.testing.assert_allclose(half[[*donors, -3, -2, -1]], plain[[*donors, -3, -2, -1]], atol=1e-9)
        np.testing.assert_allclose(distances_within(half[:-3]), distances_within(ligand.positions), atol=1e-9)
        metal_plane = np.cross(half[donors[0]], half[donors[1]])
        ligand_plane = np.linalg.svd(half[:-3] - half[:-3].mean(axis=0))[2][-1]
        cosine = abs(metal_plane @ ligand_plane) / np.linalg.norm(metal_plane)
        angles.append(np.degrees(np.arccos(min(cosine, 1.0))))
    assert angles == pytest.approx(np.abs(placement.FOLDS), abs=1e-4)


def flat(positions: Any) -> Any:
    """Return positions (n, 3) projected on their mean plane."""
    centred = positions - positions.mean(axis=0)
    normal = np.linalg.svd(centred)[2][-1]
    return centred - np.outer(centred @ normal, normal)


def distances_within(positions: Any) -> Any:
    """Return all distances between atoms."""
    return np.linalg.norm(positions[:, None] - positions[None], axis=-1)


def test_a_chelate_ring_keeps_the_side_it_was_folded_to_and_the_lowest_is_not_the_flat_start() -> None:
    """High spin with one saturated carbon in the ring: without the folds a model 6 kJ/mol higher was built."""
    for package in ("rdkit", "tblite"):
        pytest.importorskip(package)
    ligand = ligands.embedded_ligands("NCC=N", "amine", 1)[0]
    high = placement.Distances(2.20, 2.20, 2.06)
    energies = []
    for fold in placement.FOLDS:
        symbols, half, fixed = placement.place_half(ligand, high, fold)
        energies.append(build.relax(symbols, half, fixed, 5, force=0.1)[1])
    assert min(energies) < energies[0] - 0.03
    assert abs(energies[1] - energies[2]) > 0.03


def test_the_lowest_start_is_taken_and_one_that_fails_is_left_out() -> None:
    _, half, _ = half_of(GLYOXAL_DIIMINE, "imine")
    energies = iter([3.0, 2.0, None, 1.0, 4.0])

    def relax_one(start: Any) -> tuple[Any, float]:
        energy = next(energies)
        if energy is None:
            raise NotConverged("too few steps")
        return start, energy

    found = build.lowest(placement.anion_starts(half), relax_one)
    np.testing.assert_allclose(found, placement.bent(half, np.pi))
    assert next(energies, "all asked") == "all asked"


def test_of_the_wanted_starts_the_lowest_is_taken_and_of_all_where_none_is_wanted() -> None:
    starts = [np.full((1, 3), energy) for energy in (3.0, 1.0, 2.0)]

    def relax_one(start: Any) -> tuple[Any, float]:
        return start, float(start[0, 0])

    for wanted, expected in ((lambda half: half[0, 0] > 1.5, 2.0), (lambda half: False, 1.0)):
        assert build.lowest(starts, relax_one, wanted)[0, 0] == expected


def test_no_start_that_relaxes_is_an_error() -> None:
    def never(start: Any) -> Any:
        raise NotConverged("too few steps")

    with pytest.raises(NotConverged, match="no start of the model relaxed"):
        build.lowest([np.zeros((3, 3))], never)


# --- refusals ---------------------------------------------------------------------------------------------------------


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", absent)
    with pytest.raises(BadInput, match="needs rdkit"):
        ligands.chelating_pair(GLYOXAL_DIIMINE)


@pytest.mark.parametrize(
    ("smiles", "words"), [("C1CC", "cannot be read"), ("CCN", "0 chelating"), ("N=CC=NCC=N", "chelating")]
)
def test_a_ligand_without_one_chelating_pair_is_refused(smiles: str, words: str) -> None:
    pytest.importorskip("rdkit")
    with pytest.raises(BadInput, match=words):
        ligands.chelating_pair(smiles)


def test_donors_on_opposite_sides_of_a_double_bond_do_not_chelate() -> None:
    pytest.importorskip("rdkit")
    with pytest.raises(BadStructure, match="no conformer of 'N/C=C/N' with both donors on one side"):
        ligands.embedded_ligands("N/C=C/N", "amine", 1)


def test_an_unknown_kind_of_donor_is_refused_with_those_found() -> None:
    pytest.importorskip("rdkit")
    with pytest.raises(BadInput, match="pyridine, imine|imine, pyridine"):
        ligands.embedded_ligands(PYRIDYLMETHANIMINE, "amine", 1)


def test_too_few_steps_are_a_failure() -> None:
    pytest.importorskip("tblite")
    with pytest.raises(NotConverged, match="eV/angstrom"):
        build.relax(*half_of(GLYOXAL_DIIMINE, "imine"), 1, force=1e-4, steps=1)


def test_clashing_atoms_are_refused(small: dict[str, Molecule]) -> None:
    with pytest.raises(BadStructure, match="atoms clash"):
        build.check_model(small["LS"].at(small["LS"].positions * 0.7), 24)


def test_close_contacts_are_refused(small: dict[str, Molecule]) -> None:
    symbols, positions = small["LS"].symbols, small["LS"].positions
    beside = positions[-1] + np.array([0.0, 0.0, 1.68]) * ANGSTROM_TO_BOHR
    crowded = Molecule((*symbols, "He"), np.vstack([positions, beside]))
    with pytest.raises(BadStructure, match="angstrom apart"):
        build.check_model(crowded, len(bonds(symbols, positions)))


def test_a_molecule_in_another_order_is_not_written_as_a_built_cif(small: dict[str, Molecule]) -> None:
    with pytest.raises(BadStructure, match="lists its metal at the origin"):
        model_cif.cif_text("x", small["LS"].at(small["LS"].positions[::-1]), "")
