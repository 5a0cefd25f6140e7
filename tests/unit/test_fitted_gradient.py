"""Coulomb and exchange part of the gradient against PySCF's derivative matrices."""

import numpy as np
import pytest
from pyscf import dft, gto

import sample_groups
from spincross import fitted_gradient, xc_gradient
from spincross.xc_cache import CachedNumInt

PLACES = "O 0 0 0.1; C 0.1 0 1.3; H 0.9 0.2 1.9; H -0.9 -0.1 1.8"


def converged(spin, functional, max_memory=4000, auxiliary="def2-universal-jkfit"):
    mol = gto.M(atom=PLACES, spin=spin, basis="def2-svp", verbose=0, max_memory=max_memory)
    method = (dft.UKS if spin else dft.RKS)(mol, xc=functional).density_fit(auxbasis=auxiliary)
    method._numint = CachedNumInt(1000)
    method.grids.level = 0
    method.kernel()
    return method


def from_derivative_matrices(method):
    """Return Coulomb and exchange derivatives (N, 3) by PySCF's `get_jk`."""
    density, mol = np.asarray(method.make_rdm1()), method.mol
    densities = density[None] if density.ndim == 2 else density
    share = method._numint.hybrid_coeff(method.xc, spin=mol.spin) / (2 if len(densities) == 1 else 1)
    coulomb, exchange = method.nuc_grad_method().get_jk(mol, densities)
    potential = np.asarray(coulomb).sum(axis=0) - share * np.asarray(exchange)
    rows = 2 * np.einsum("sxij,sij->ix", potential, densities)
    part = coulomb.aux.sum(axis=(0, 1)) - share * np.trace(exchange.aux, axis1=0, axis2=1)
    return np.add.reduceat(rows, mol.aoslice_by_atom()[:, 2]) + part


@pytest.mark.parametrize(("spin", "functional"), [(0, "pbe0"), (2, "pbe0"), (0, "bp86"), (2, "b3lyp")])
def test_it_equals_that_of_derivative_matrices(spin, functional):
    method = converged(spin, functional)
    assert fitted_gradient.fitted_gradient(method) == pytest.approx(from_derivative_matrices(method), abs=1e-10)


def test_small_blocks_and_integrals_on_disk_change_nothing(monkeypatch):
    expected = fitted_gradient.fitted_gradient(converged(2, "pbe0"))
    method = converged(2, "pbe0", max_memory=1)
    assert not isinstance(method.with_df._cderi, np.ndarray)
    monkeypatch.setattr(fitted_gradient, "BLOCK_MEGABYTES", 0.001)
    assert fitted_gradient.fitted_gradient(method) == pytest.approx(expected, abs=1e-9)


def test_dependent_fitting_functions_are_left_to_pyscf():
    """Two shells of one exponent: PySCF drops a combination, and so must the gradient."""
    twice = gto.basis.load("def2-universal-jkfit", "H")
    auxiliary = {"default": "def2-universal-jkfit", "H": [*twice, twice[0]]}
    method = converged(0, "pbe0", auxiliary=auxiliary)
    assert fitted_gradient.fitted_gradient(method) is None
    usual = method.nuc_grad_method()
    usual.grid_response = True
    assert xc_gradient.gradient_method(method).kernel() == pytest.approx(usual.kernel(), abs=1e-9)


@pytest.mark.parametrize(("group", "spin"), [("C2", 0), ("C2", 2), ("Cs", 2), ("Ci", 0)])
def test_in_a_group_it_equals_that_of_derivative_matrices(group, spin):
    method = sample_groups.converged(group, spin=spin)
    assert fitted_gradient.fitted_gradient(method) == pytest.approx(from_derivative_matrices(method), abs=1e-9)


@pytest.mark.parametrize(("group", "spin"), [("C2", 2), ("Cs", 0), ("Ci", 2)])
def test_energy_and_whole_gradient_in_a_group_are_pyscfs(group, spin):
    ours, stock = (sample_groups.converged(group, spin=spin, in_group=way) for way in (True, False))
    assert ours.e_tot == pytest.approx(stock.e_tot, abs=1e-8)
    usual = stock.nuc_grad_method()
    usual.grid_response = True
    assert xc_gradient.gradient_method(ours).kernel() == pytest.approx(usual.kernel(), abs=2e-5)


def test_a_density_that_breaks_the_group_is_left_to_pyscf():
    method = sample_groups.converged("C2", functional="pbe")
    method.mo_coeff = np.array(method.mo_coeff)
    filled = np.flatnonzero(method.mo_occ)
    method.mo_coeff[:, filled[-1]] += 1e-3 * np.random.default_rng(0).normal(size=method.mol.nao)
    assert fitted_gradient.fitted_gradient(method) is None
