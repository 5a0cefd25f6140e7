"""Normal modes, noise floor, irreps and their counts; phonopy as the second opinion."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.vibrations.data import VibrationsData
from phonopy import Phonopy
from phonopy.structure.atoms import PhonopyAtoms
from pyscf import gto
from pyscf.hessian import thermo
from scipy.spatial.transform import Rotation

from sample_molecules import H2CO, PEROXIDE, springs
from spincross import displacements, files, mode_entropy, vibrations
from spincross.molecule import Molecule
from spincross.units import BOHR_TO_ANGSTROM, HARTREE_TO_EV, HARTREE_TO_PER_CM

ROOT = Path(__file__).resolve().parents[2]
DEFAULT = ROOT / "structures/fe-pm-pea2-ncs2/low_spin.xyz"
THZ_TO_PER_CM = 33.35640951981521


def test_a_diatomic_vibrates_at_the_root_of_k_over_mu():
    molecule = Molecule(("H", "H"), np.array([[0, 0, 0], [0, 0, 1.4]]))
    found = vibrations.normal_modes(molecule, springs(molecule, 0.37))
    reduced = molecule.masses[0] / 2 * 1822.888486
    assert found.wavenumbers == pytest.approx([np.sqrt(0.37 / reduced) * HARTREE_TO_PER_CM], rel=1e-8)


def test_modes_without_an_irrep_each_are_refused():
    with pytest.raises(ValueError, match=r"2 wavenumbers, 1 irreps, modes \(6, 2\)"):
        vibrations.Vibrations(np.zeros(2), ("A",), np.eye(6)[:, :2], 0.0, 0.0, 0.0)


def test_wavenumbers_equal_those_of_ase():
    hessian = springs(PEROXIDE)
    ours = vibrations.normal_modes(PEROXIDE, hessian).wavenumbers
    atoms = Atoms(PEROXIDE.symbols, PEROXIDE.positions * BOHR_TO_ANGSTROM, masses=PEROXIDE.masses)
    in_ev = hessian * 27.211386245981 / BOHR_TO_ANGSTROM**2
    theirs = VibrationsData.from_2d(atoms, in_ev).get_frequencies().real[6:]
    np.testing.assert_allclose(ours, np.sort(theirs), rtol=1e-6)


def test_modes_of_irrep_b_change_sign_under_c2():
    found = vibrations.normal_modes(PEROXIDE, springs(PEROXIDE))
    for mode, irrep in zip(found.modes.T.reshape(-1, 4, 3), found.irreps, strict=True):
        turned = (mode @ np.diag([-1, -1, 1]))[[1, 0, 3, 2]]
        np.testing.assert_allclose(turned, mode if irrep == "A" else -mode, atol=1e-10)
    assert sorted(found.irreps) == list("AAAABB")


def test_an_imaginary_mode_is_a_negative_number_and_is_kept():
    hessian = springs(PEROXIDE)
    base = vibrations.normal_modes(PEROXIDE, hessian)
    weights = np.sqrt(np.repeat(PEROXIDE.masses, 3) * 1822.888486)
    soft = base.modes[:, 0] * weights
    flipped = vibrations.normal_modes(
        PEROXIDE, hessian - 2 * (base.wavenumbers[0] / HARTREE_TO_PER_CM) ** 2 * np.outer(soft, soft)
    )
    assert flipped.wavenumbers[0] == pytest.approx(-base.wavenumbers[0], rel=1e-5)
    assert len(flipped.wavenumbers) == 6
    assert flipped.imaginary == [0]


def test_the_noise_floor_is_the_highest_wavenumber_that_broken_sum_rules_give_a_translation_or_rotation():
    """Springs leave both at zero; on top of them 1e-4 Eh/bohr2 on every atom acts alone."""
    clean = vibrations.normal_modes(PEROXIDE, springs(PEROXIDE))
    broken = vibrations.normal_modes(PEROXIDE, springs(PEROXIDE) + 1e-4 * np.eye(12))
    arms = PEROXIDE.positions - np.average(PEROXIDE.positions, axis=0, weights=PEROXIDE.masses)
    turns = np.stack([np.cross(axis, arms).ravel() for axis in np.eye(3)], axis=1)
    masses = np.repeat(PEROXIDE.masses, 3)[:, None]
    external, _ = np.linalg.qr(np.sqrt(masses) * np.hstack([np.tile(np.eye(3), (4, 1)), turns]))
    highest = np.linalg.eigvalsh(external.T @ (1e-4 / (masses * 1822.888486) * external)).max()
    assert clean.noise_floor < 1e-2
    assert broken.noise_floor == pytest.approx(np.sqrt(highest) * HARTREE_TO_PER_CM, rel=1e-6)
    assert broken.translation_residual == pytest.approx(5e-5, rel=1e-6)
    largest = np.abs(turns / np.linalg.norm(turns, axis=0)).max()
    assert broken.rotation_residual == pytest.approx(1e-4 * largest, rel=1e-6)


def test_molden_text_has_imaginary_modes_as_negative_numbers_and_motions_that_keep_the_centre_of_mass():
    found = vibrations.normal_modes(PEROXIDE, -springs(PEROXIDE))
    assert (found.wavenumbers < 0).all()
    text = vibrations.molden_text(PEROXIDE, found)
    _, waves, atoms, modes = re.split(r"\[FREQ\]|\[FR-COORD\]|\[FR-NORM-COORD\]", text)
    np.testing.assert_allclose(np.array(waves.split(), float), found.wavenumbers, atol=1e-4)
    rows = [line.split() for line in atoms.strip().splitlines()]
    assert [row[0] for row in rows] == list(PEROXIDE.symbols)
    np.testing.assert_allclose(np.array([row[1:] for row in rows], float), PEROXIDE.positions, atol=1e-7)
    blocks = re.split(r"vibration +\d+\n", modes)[1:]
    motions = np.array([block.split() for block in blocks], float).reshape(6, 4, 3)
    np.testing.assert_allclose(np.linalg.norm(motions, axis=(1, 2)), 1.0, atol=1e-6)
    np.testing.assert_allclose(PEROXIDE.masses @ motions, 0.0, atol=1e-6)
    weighted = (motions * np.sqrt(PEROXIDE.masses)[:, None]).reshape(6, 12)
    weighted /= np.linalg.norm(weighted, axis=1)[:, None]
    np.testing.assert_allclose(weighted, found.modes.T, atol=1e-6)


def test_the_default_complex_has_231_vibrations_116_of_a_and_115_of_b():
    symbols, positions, _ = files.read_xyz(DEFAULT)
    molecule = Molecule(symbols, positions, 0, "C2").symmetrised()
    # 39 pairs and iron on the axis: chi(C2) = -1, so 118 A + 119 B; minus 2 A and 4 B of translation and rotation
    assert len(symbols) == 79
    assert vibrations.modes_per_irrep(molecule) == {"A": 116, "B": 115}


def test_the_fragments_of_the_default_complex_are_its_metal_core_and_both_ncs_groups():
    symbols, positions, _ = files.read_xyz(DEFAULT)
    groups = vibrations.fragments(Molecule(symbols, positions, 0, "C2"), "Fe")
    assert sorted(symbols[i] for i in groups["core"]) == ["Fe", *"NNNNNN"]
    assert sorted(symbols[i] for i in groups["ncs"]) == list("CCNNSS")
    assert vibrations.fragments(H2CO, None) == {"core": [], "ncs": []}


def test_shares_on_metal_core_ncs_and_ligands_are_those_of_the_moving_atoms():
    symbols, positions, _ = files.read_xyz(DEFAULT)
    molecule = Molecule(symbols, positions, 0, "C2")
    groups = vibrations.fragments(molecule, "Fe")
    ring = next(i for i, s in enumerate(symbols) if s == "C" and i not in groups["ncs"])
    modes = np.zeros((len(symbols), 3, 4))
    modes[symbols.index("Fe"), 0, 0] = 1.0
    modes[symbols.index("S"), 1, 1] = 1.0
    modes[ring, 2, 2] = 1.0
    modes[symbols.index("S"), 0, 3], modes[ring, 0, 3] = 0.6, 0.8
    shares = vibrations.fragment_shares(groups, vibrations.atom_fractions(modes.reshape(-1, 4)))
    found = np.array([shares[name] for name in ("core", "ncs", "ligands")])
    np.testing.assert_allclose(found, [[1, 0, 0, 0], [0, 1, 0, 0.36], [0, 0, 1, 0.64]], atol=1e-12)


def test_reduced_masses_equal_those_of_pyscf():
    hessian = springs(PEROXIDE)
    ours = vibrations.normal_modes(PEROXIDE, hessian)
    mol = gto.M(atom=list(zip(PEROXIDE.symbols, PEROXIDE.positions, strict=True)), unit="bohr", verbose=0)
    theirs = thermo.harmonic_analysis(mol, hessian.reshape(4, 3, 4, 3).transpose(0, 2, 1, 3))
    np.testing.assert_allclose(
        vibrations.reduced_masses(PEROXIDE.masses, ours.modes), theirs["reduced_mass"], rtol=1e-3
    )


def test_without_distortion_a_mode_belongs_to_one_irrep_of_the_parent_and_a_mixture_to_both():
    found = vibrations.normal_modes(PEROXIDE, springs(PEROXIDE))
    shares = vibrations.parent_irrep_shares(PEROXIDE, found.modes, "C2")
    np.testing.assert_allclose(shares["A"], [name == "A" for name in found.irreps], atol=1e-10)
    mixed = 0.6 * found.modes[:, found.irreps.index("A")] + 0.8 * found.modes[:, found.irreps.index("B")]
    shares = vibrations.parent_irrep_shares(PEROXIDE, mixed[:, None], "C2")
    assert (shares["A"][0], shares["B"][0]) == pytest.approx((0.36, 0.64))
    torn = PEROXIDE.at(PEROXIDE.positions + np.array([[0, 9.0, 0], [0, 0, 0], [0, 0, 0], [0, 0, 0]]), "C1")
    assert vibrations.parent_irrep_shares(torn, found.modes, "C2") is None


def test_a_relaxed_molecule_that_stands_askew_has_the_same_irreps():
    """An optimisation without symmetry may turn it by some degrees against the parent's axis."""
    found = vibrations.normal_modes(PEROXIDE, springs(PEROXIDE))
    turn = Rotation.from_rotvec(np.radians([4.0, 3.0, 7.0])).as_matrix()
    askew = PEROXIDE.at(PEROXIDE.positions @ turn, "C1")
    modes = np.einsum("aim,ij->ajm", found.modes.reshape(4, 3, -1), turn).reshape(12, -1)
    shares = vibrations.parent_irrep_shares(askew, modes, "C2")
    np.testing.assert_allclose(shares["A"], [name == "A" for name in found.irreps], atol=1e-6)


def phonopy_of(molecule, hessian):
    """Return phonopy with our Hessian as force constants, in its default units (eV, angstrom, amu)."""
    phonon = displacements.phonopy_cell(molecule)
    lengths = phonon.unitcell.cell * BOHR_TO_ANGSTROM
    count = len(molecule.symbols)
    cell = PhonopyAtoms(
        symbols=list(molecule.symbols),
        scaled_positions=phonon.unitcell.scaled_positions,
        cell=lengths,
        masses=molecule.masses,
    )
    phonon = Phonopy(cell, supercell_matrix=np.eye(3, dtype=int), primitive_matrix="P", symprec=1e-5)
    blocks = hessian.reshape(count, 3, count, 3).transpose(0, 2, 1, 3)
    phonon.force_constants = blocks * HARTREE_TO_EV / BOHR_TO_ANGSTROM**2
    return phonon


def test_irreps_equal_those_of_phonopy():
    rng = np.random.default_rng(1)
    hessian = springs(PEROXIDE) + 1e-6 * np.diag(rng.uniform(1, 2, 12))
    hessian = vibrations.pointgroup.symmetrise_hessian(PEROXIDE.numbers, PEROXIDE.positions, hessian, "C2")
    ours = vibrations.normal_modes(PEROXIDE, hessian)
    phonon = phonopy_of(PEROXIDE, hessian)
    phonon.run_irreps([0, 0, 0])
    labels = [
        label
        for label, band in zip(phonon.irreps._ir_labels, phonon.irreps._degenerate_sets, strict=True)
        for _ in band
    ]
    assert labels[6:] == list(ours.irreps)


@pytest.fixture(scope="module", params=["h2co", "fe-aai2-ncs2"])
def recorded(request):
    """The recorded low-spin Hessian: molecule, our modes, phonopy; phonopy's wavenumbers and its six smallest."""
    place = ROOT / f"structures/reference/{request.param}/pbe0_def2-svp/LS/C2"
    stored, (symbols, _, _) = (
        files.read_arrays(place / "vibrations/hessian.npz"),
        files.read_xyz(place / "optimise/geometry.xyz"),
    )
    molecule = Molecule(symbols, stored["positions"], 0, "C2").symmetrised()
    phonon = phonopy_of(molecule, stored["hessian"])
    phonon.run_irreps([0, 0, 0], degeneracy_tolerance=1e-9)
    waves = phonon.irreps.frequencies * THZ_TO_PER_CM
    return vibrations.normal_modes(molecule, stored["hessian"]), phonon, waves, np.argsort(np.abs(waves))[:6]


def test_irreps_of_recorded_hessians_equal_those_of_phonopy(recorded):
    ours, phonon, waves, external = recorded
    labels = np.array(
        [
            label
            for label, band in zip(phonon.irreps._ir_labels, phonon.irreps._degenerate_sets, strict=True)
            for _ in band
        ]
    )
    internal = np.sort(np.setdiff1d(np.arange(len(waves)), external))
    assert list(labels[internal]) == list(ours.irreps)
    np.testing.assert_allclose(waves[internal], ours.wavenumbers, atol=0.01)


def test_entropies_of_recorded_hessians_equal_those_of_phonopy(recorded):
    ours, phonon, waves, external = recorded
    between = (np.abs(waves[external]).max() + ours.wavenumbers[0]) / 2
    phonon.run_mesh([1, 1, 1])
    phonon.run_thermal_properties(temperatures=[100.0, 298.15], cutoff_frequency=between / THZ_TO_PER_CM)
    for temperature, value in zip((100.0, 298.15), phonon.thermal_properties.entropy, strict=True):
        assert mode_entropy.harmonic_entropy(ours.wavenumbers, temperature).sum() == pytest.approx(value, rel=2e-5)


def test_entropy_equals_that_of_phonopy():
    hessian = springs(PEROXIDE)
    ours = vibrations.normal_modes(PEROXIDE, hessian)
    phonon = phonopy_of(PEROXIDE, hessian)
    phonon.run_mesh([1, 1, 1])
    phonon.run_thermal_properties(temperatures=[100.0, 298.15], cutoff_frequency=1.0)  # THz: leaves out 6 zeros
    theirs = phonon.thermal_properties.entropy
    for temperature, value in zip((100.0, 298.15), theirs, strict=True):
        assert mode_entropy.harmonic_entropy(ours.wavenumbers, temperature).sum() == pytest.approx(value, rel=1e-5)


def test_a_mode_settled_as_imaginary_counts_as_imaginary_and_no_longer_as_undetermined():
    found = vibrations.Vibrations(np.array([-60.0, -3.0, 2.0, 90.0]), ("A",) * 4, np.zeros((12, 4)), 0.0, 0.0, 10.0)
    assert (found.imaginary, found.undetermined) == ([0], [1, 2])
    settled = replace(found, settled_imaginary=(1,))
    assert (settled.imaginary, settled.undetermined) == ([0, 1], [2])
