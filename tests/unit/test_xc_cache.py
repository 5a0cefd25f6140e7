"""The cached integrator gives what PySCF's gives."""

import numpy as np
import pytest
from pyscf import dft, gto
from pyscf.dft import numint

from sample_groups import ATOMS, molecule, symmetric
from spincross.xc_cache import CachedNumInt


@pytest.fixture(scope="module")
def case():
    mol = gto.M(atom="O 0 0 0; H 0 0.76 0.59; H 0 -0.76 0.59", basis="def2-svp", verbose=0)
    grids = dft.gen_grid.Grids(mol).set(level=1)
    grids.build(with_non0tab=True)
    random = np.random.default_rng(0).normal(size=(2, mol.nao, mol.nao)) * 0.1
    start = dft.RKS(mol).get_init_guess(key="atom") / 2
    return mol, grids, np.array([start + r @ r.T * 0.01 for r in random])


@pytest.mark.parametrize("functional", ["pbe0", "pbe", "blyp"])
def test_closed_and_open_shell_integrals_equal_pyscfs(case, functional):
    mol, grids, densities = case
    for name, density in (("nr_rks", densities.sum(axis=0)), ("nr_uks", densities)):
        stock = getattr(numint.NumInt(), name)(mol, grids, functional, density)
        ours = getattr(CachedNumInt(1000), name)(mol, grids, functional, density)
        np.testing.assert_allclose(ours[0], stock[0], rtol=1e-9)
        assert ours[1] == pytest.approx(stock[1], rel=1e-10)
        np.testing.assert_allclose(ours[2], stock[2], atol=1e-8)


def test_the_kernel_potential_is_the_derivative_of_the_potential(case):
    mol, grids, densities = case
    ni = CachedNumInt(1000)
    change = densities * 0.1
    kernel = ni.cache_xc_kernel1(mol, grids, "pbe0", densities, spin=1)[2]
    step = 1e-4
    potentials = [ni.nr_uks(mol, grids, "pbe0", densities + s * step * change)[2] for s in (1, -1)]
    slope = (potentials[0] - potentials[1]) / (2 * step)
    found = ni.kernel_potential(mol, grids, kernel, np.array([change, -2 * change]))
    np.testing.assert_allclose(found, [slope, -2 * slope], atol=1e-6)
    single = CachedNumInt(1000, single=True).kernel_potential(mol, grids, kernel, change[None])[0]
    np.testing.assert_allclose(single, found[0], atol=1e-6 * np.abs(found[0]).max())


def test_what_is_forgotten_is_evaluated_anew(case):
    mol, grids, densities = case
    ni = CachedNumInt(1000)
    expected = ni.nr_uks(mol, grids, "pbe0", densities)[2]
    assert any(block.values is not None for block in ni._blocks)
    ni.forget()
    assert ni._blocks == []
    np.testing.assert_array_equal(ni.nr_uks(mol, grids, "pbe0", densities)[2], expected)


def test_in_single_precision_iron_and_small_changes_keep_their_digits():
    mol = gto.M(atom=ATOMS["C2"], basis="def2-svp", verbose=0)
    grids = dft.gen_grid.Grids(mol).set(level=0)
    grids.build(with_non0tab=True)
    start = dft.RKS(mol).get_init_guess(key="atom")
    random = np.random.default_rng(3).normal(size=(mol.nao, mol.nao))
    change = random + random.T
    changes = np.array([[change, 0.1 * change], [1e-8 * change, change * 0], [0 * change, 0 * change]])
    kernel = CachedNumInt(1000).cache_xc_kernel1(mol, grids, "pbe0", np.array([start, start]) / 2, spin=1)[2]
    expected = CachedNumInt(1000).kernel_potential(mol, grids, kernel, changes)
    for memory in (1000, 0):
        found = CachedNumInt(memory, single=True).kernel_potential(mol, grids, kernel, changes)
        for own, whole in zip(found, expected, strict=True):
            np.testing.assert_allclose(own, whole, atol=1e-6 * np.abs(whole).max())


def test_in_single_precision_what_is_far_away_is_left_out_and_no_number_is_subnormal(monkeypatch):
    mol = gto.M(atom="H 0 0 0; F 0 0 0.9; H 0 9 0; F 0 9 0.9", basis="def2-svp", verbose=0)
    grids = dft.gen_grid.Grids(mol).set(level=0)
    grids.build(with_non0tab=True)
    start = dft.RKS(mol).get_init_guess(key="atom")
    double, single = CachedNumInt(1000), CachedNumInt(1000, single=True)
    kernel = double.cache_xc_kernel1(mol, grids, "pbe0", start, spin=0)[2]
    change = 1e-9 * (np.diag(np.random.default_rng(2).random(mol.nao)) + start)[None, None]
    rounded, numbers = CachedNumInt._rounded, []
    monkeypatch.setattr(CachedNumInt, "_rounded", lambda *a: numbers.append(rounded(*a)) or numbers[-1])
    expected, found = (ni.kernel_potential(mol, grids, kernel, change) for ni in (double, single))
    np.testing.assert_allclose(found, expected, atol=1e-6 * np.abs(expected).max())
    counts = [[len(block.index) for block in ni._blocks] for ni in (double, single)]
    assert all(np.greater_equal(*counts))
    assert sum(counts[1]) < sum(counts[0])
    smallest = [np.abs(array[array != 0]).min() for array in numbers if array.dtype == np.float32 and array.any()]
    assert len(smallest) > 2 * len(single._blocks)
    assert min(smallest) * min(np.abs(b.values[b.values != 0]).min() for b in single._blocks) ** 2 > 1.2e-38


@pytest.mark.parametrize("functional", ["svwn", "tpss"])
def test_other_functionals_go_to_pyscf_unchanged(case, functional):
    mol, grids, densities = case
    stock = numint.NumInt().nr_uks(mol, grids, functional, densities)
    ours = CachedNumInt(1000).nr_uks(mol, grids, functional, densities)
    assert ours[1] == pytest.approx(stock[1], rel=1e-13)


def test_orbitals_that_do_not_fit_are_evaluated_anew(case):
    mol, grids, densities = case
    integrator = CachedNumInt(1e-6)
    assert integrator.nr_uks(mol, grids, "pbe0", densities)[1] == pytest.approx(
        numint.NumInt().nr_uks(mol, grids, "pbe0", densities)[1], rel=1e-13
    )
    assert all(block.values is None for block in integrator._blocks)


@pytest.mark.parametrize("group", ATOMS)
def test_in_a_group_the_points_of_one_of_two_images_are_enough(group):
    mol = molecule(group)
    grids = dft.gen_grid.Grids(mol).set(level=1)
    grids.build(with_non0tab=True)
    start = dft.RKS(mol).get_init_guess(key="atom") / 2
    densities = np.array([start, 0.9 * start]) + 1e-3 * symmetric(mol)
    ours = CachedNumInt(1000)
    found, stock = (ni.nr_uks(mol, grids, "pbe0", densities) for ni in (ours, numint.NumInt()))
    assert ours._points.size < grids.size
    np.testing.assert_allclose(found[0], stock[0], rtol=1e-9)
    assert found[1] == pytest.approx(stock[1], rel=1e-9)
    np.testing.assert_allclose(found[2], stock[2], atol=1e-7)
    broken = densities + 1e-3 * np.diag(np.random.default_rng(1).random(mol.nao))
    whole, expected = (ni.nr_uks(mol, grids, "pbe0", broken) for ni in (ours, numint.NumInt()))
    assert ours._points is grids
    np.testing.assert_allclose(whole[2], expected[2], atol=1e-7)


@pytest.mark.parametrize("group", ATOMS)
def test_the_kernel_of_a_symmetric_change_is_that_of_all_points(group):
    mol = molecule(group)
    plain = gto.M(atom=ATOMS[group], basis="def2-svp", verbose=0)
    grids = dft.gen_grid.Grids(mol).set(level=0)
    grids.build(with_non0tab=True)
    start = np.array([dft.RKS(mol).get_init_guess(key="atom") / 2] * 2)
    kernel = CachedNumInt(1000).cache_xc_kernel1(mol, grids, "pbe0", start, spin=1)[2]
    change = 0.01 * symmetric(mol)[None]
    whole = CachedNumInt(1000).kernel_potential(plain, grids, kernel, change)
    for kept in (True, False):
        for single, limit in ((False, 1e-8), (True, 1e-6 * np.abs(whole).max())):
            ours = CachedNumInt(1000, single)
            np.testing.assert_allclose(ours.kernel_potential(mol, grids, kernel, change, kept), whole, atol=limit)
            assert (ours._points is grids) != kept
