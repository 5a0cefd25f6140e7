"""Density fitting over adapted functions against PySCF's."""

import gc
import platform

import numpy as np
import pytest
from pyscf import df, dft, gto, lib

from sample_groups import ATOMS, molecule, symmetric
from spincross import symmetric_fitting
from spincross.levels import Level
from spincross.mean_field import kohn_sham
from spincross.symmetric_fitting import SymmetricFitting

AUXILIARY = "def2-universal-jkfit"


def both(group, auxiliary=AUXILIARY):
    mol = molecule(group)
    return mol, SymmetricFitting(mol, auxiliary), df.DF(mol, auxiliary)


@pytest.mark.parametrize("group", ATOMS)
def test_coulomb_and_exchange_of_symmetric_matrices_are_pyscfs(group, monkeypatch):
    mol, ours, stock = both(group)
    monkeypatch.setattr(SymmetricFitting, "loop", None)  # nothing is turned back
    density = symmetric(mol)
    for matrices in (density, density[0]):
        for found, expected in zip(ours.get_jk(matrices), stock.get_jk(matrices), strict=True):
            np.testing.assert_allclose(found, expected, atol=1e-10)
    assert ours.get_jk(density, with_j=False)[0] is None
    assert ours.get_jk(density, with_k=False)[1] is None


@pytest.mark.parametrize("group", ATOMS)
def test_matrices_that_break_the_group_go_to_pyscf_and_come_out_right(group):
    mol, ours, stock = both(group)
    random = np.random.default_rng(3).normal(size=(mol.nao, mol.nao))
    for matrix, hermi in ((random + random.T, 1), (random, 0)):
        for found, expected in zip(ours.get_jk(matrix, hermi), stock.get_jk(matrix, hermi), strict=True):
            np.testing.assert_allclose(found, expected, atol=1e-10)


def test_blocks_of_integrals_give_pyscfs_four_index_integrals():
    mol, ours, stock = both("C2")
    rows, expected = np.vstack(list(ours.loop(100))), np.vstack(list(stock.loop()))
    assert rows.shape == expected.shape == (ours.get_naoaux(), mol.nao * (mol.nao + 1) // 2)
    np.testing.assert_allclose(np.vstack(list(ours.loop(10**6))), rows, atol=1e-14)
    pick = slice(0, None, 7)
    np.testing.assert_allclose(rows[:, pick].T @ rows, expected[:, pick].T @ expected, atol=1e-10)


def test_the_tensor_takes_half_the_memory_and_small_blocks_change_nothing(monkeypatch):
    mol, ours, stock = both("C2")
    expected, nbytes = ours.get_jk(symmetric(mol)), stock.build()._cderi.nbytes
    tensor = ours.adapted()
    assert sum(p.nbytes for p in tensor.packed) + tensor.mixed.nbytes == pytest.approx(nbytes / 2, rel=0.02)
    assert symmetric_fitting.megabytes(mol, ours.get_naoaux()) == pytest.approx(nbytes / 2e6, rel=0.02)
    monkeypatch.setattr(symmetric_fitting, "BLOCK_MEGABYTES", 0.01)
    for found, whole in zip(both("C2")[1].get_jk(symmetric(mol)), expected, strict=True):
        np.testing.assert_allclose(found, whole, atol=1e-10)


def test_without_memory_or_with_dependent_fitting_functions_it_is_pyscfs_object(monkeypatch, capsys):
    twice = gto.basis.load(AUXILIARY, "H")
    dependent = {"default": AUXILIARY, "H": [*twice, twice[0]]}
    mol, ours, stock = both("Cs", dependent)
    assert ours.adapted() is None
    assert ours.get_naoaux() == stock.get_naoaux()
    density = symmetric(mol)
    np.testing.assert_allclose(ours.get_jk(density)[1], stock.get_jk(density)[1], atol=1e-12)
    monkeypatch.setattr(symmetric_fitting, "WORTH_TELLING", 0.0)
    small = SymmetricFitting(molecule("Cs", max_memory=1), AUXILIARY)
    assert small.adapted() is None
    assert "MB: slow cycles, from the disk" in capsys.readouterr().out
    assert not isinstance(small._cderi, np.ndarray)
    alone = SymmetricFitting(molecule("C1", {"C1": ATOMS["Cs"]}, max_memory=1), AUXILIARY)
    assert alone.adapted() is None
    assert "MB: slow cycles, from the disk" in capsys.readouterr().out
    assert not isinstance(alone._cderi, np.ndarray)
    assert SymmetricFitting(molecule("C1", {"C1": ATOMS["Cs"]}), AUXILIARY).adapted() is None
    assert not capsys.readouterr().out


def test_what_an_earlier_scf_held_does_not_count():
    before = symmetric_fitting.room(8000)
    gc.disable()
    try:
        circle = [np.ones(25_000_000)]
        circle.append(circle)
        assert symmetric_fitting.room(8000) == pytest.approx(before - 0.9 * 200, abs=20)
        del circle
        assert symmetric_fitting.room(8000) == pytest.approx(before, abs=20)
    finally:
        gc.enable()


def test_small_matrices_of_the_other_irrep_and_unequal_triangles_are_noticed():
    mol, ours, stock = both("C2")
    random = np.random.default_rng(0).normal(size=(mol.nao, mol.nao))
    odd = random + random.T - ours.build().images.matrix(random + random.T)
    skew = random + ours.images.matrix(random)
    for matrix in (1e-11 * odd, skew):
        found, expected = (fit.get_jk(matrix)[1] for fit in (ours, stock))
        np.testing.assert_allclose(found, expected, atol=1e-10 * np.abs(expected).max())


def test_long_range_integrals_are_pyscfs():
    mol, ours, stock = both("Cs")
    density = symmetric(mol)
    found, expected = (fit.get_jk(density, omega=0.3)[1] for fit in (ours, stock))
    np.testing.assert_allclose(found, expected, atol=1e-9)
    np.testing.assert_allclose(ours.get_jk(density)[1], stock.get_jk(density)[1], atol=1e-10)


def test_a_reset_object_computes_the_integrals_of_its_new_molecule():
    mol, ours, _ = both("C2")
    density = symmetric(mol)
    before = ours.get_jk(density)[0]
    moved = mol.copy().set_geom_(mol.atom_coords() * 1.02, unit="Bohr")
    ours.reset(moved)
    expected = df.DF(moved, AUXILIARY).get_jk(density)[0]
    np.testing.assert_allclose(ours.get_jk(density)[0], expected, atol=1e-10)
    assert np.abs(before - expected).max() > 1e-3


def test_a_square_root_of_a_density_gives_it_back_and_has_its_rank():
    random = np.random.default_rng(0).normal(size=(12, 3))
    density = random @ np.diag([1.0, 1.0, -0.5]) @ random.T
    vectors, signs = symmetric_fitting.square_root(density)
    assert vectors.shape == (12, 3)
    np.testing.assert_allclose((vectors * signs) @ vectors.T, density, atol=1e-13)


def test_threads_do_not_change_the_numbers():
    mol, ours, _ = both("Cs")
    density, threads = symmetric(mol), lib.num_threads()
    found = []
    for count in (1, 2):
        with lib.with_omp_threads(count):
            found.append(ours.get_jk(density)[1])
    assert lib.num_threads() == threads
    np.testing.assert_allclose(found[0], found[1], atol=1e-11)


def test_where_an_irrep_has_no_functions_it_is_pyscfs():
    """Hydrogen along the axis of C2, with s functions only."""
    mol = gto.M(atom="H 0 0 0.4; H 0 0 -0.4", basis="sto-3g", symmetry="C2", verbose=0)
    level = Level(basis="sto-3g", grid_level=0, scf_energy_tolerance=1e-9, scf_gradient_tolerance=1e-5)
    method = kohn_sham(mol, level)
    method.kernel()
    assert method.with_df.adapted() is None
    stock = dft.RKS(mol, xc="pbe0").density_fit(auxbasis=level.auxiliary_basis)
    stock.grids.level = 0
    assert method.e_tot == pytest.approx(stock.kernel(), abs=1e-8)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc gives memory back when asked")
def test_freed_blocks_that_the_c_library_keeps_do_not_count():
    """Orbitals on the grid are many blocks below 32 MB; small arrays between them keep the heap from shrinking."""
    before = symmetric_fitting.room(8000)
    large = np.ones(4_000_000)  # freed, it lets glibc put blocks up to its size on the heap
    del large
    blocks, between = [], []
    for _ in range(40):
        blocks.append(np.ones(2_000_000))
        between.append(np.ones(1000))
    assert symmetric_fitting.room(8000) == pytest.approx(before - 0.9 * 640, abs=30)
    del blocks
    assert symmetric_fitting.room(8000) == pytest.approx(before, abs=30)
