"""The low-rank response equals PySCF's, and so do stability eigenvalues."""

import numpy as np
import pytest
from pyscf import gto, lib
from pyscf.hessian import rhf, uhf
from pyscf.scf import stability
from pyscf.soscf.newton_ah import gen_g_hop_uhf

from spincross import electronic, orbital_rotations, response
from spincross.errors import NotConverged
from spincross.levels import Level, State
from spincross.molecule import Molecule
from spincross.units import ANGSTROM_TO_BOHR

LEVEL = Level(grid_level=1, scf_energy_tolerance=1e-11, scf_gradient_tolerance=1e-7)
ATOMS = np.array([[0, 0, 0], [0, 0, 1.22], [0.94, 0.2, -0.57], [-0.94, 0.1, -0.57]]) * ANGSTROM_TO_BOHR
H2CO = Molecule(("C", "O", "H", "H"), ATOMS)


@pytest.fixture(scope="module", params=[1, 3])
def method(request):
    return electronic.solve(H2CO, LEVEL, State("x", request.param)).mean_field


@pytest.mark.parametrize("functional", ["pbe0", "bp86"])
def test_induced_potential_equals_pyscfs(method, functional, monkeypatch):
    method = method.copy().set(xc=functional)  # any orbitals will do
    stock = (rhf if np.ndim(method.mo_occ) == 1 else uhf).gen_vind(method, method.mo_coeff, method.mo_occ)
    size = sum(int((o > 0).sum()) * len(o) for o in np.atleast_2d(method.mo_occ))
    changes = np.random.default_rng(0).normal(size=(3, size)) * [[1.0], [1e-6], [0.0]]
    expected = np.asarray(stock(changes)).reshape(3, -1)
    for at_once in (1, 2, 7):
        monkeypatch.setattr(response, "AT_ONCE", at_once)
        found = response.induced_potential(method, LEVEL.grid_level)(changes)
        assert not found[2].any()
        for own, whole in zip(found[:2], expected, strict=False):
            np.testing.assert_allclose(own, whole, atol=2e-6 * np.abs(whole).max())


def test_a_small_memory_takes_fewer_changes_at_once():
    mol = gto.M(atom="He 0 0 0", basis="def2-svp", verbose=0, max_memory=8000)
    assert response.changes_at_once(mol, 2) == response.AT_ONCE
    mol.max_memory = 0.01
    assert response.changes_at_once(mol, 2) == 1


@pytest.mark.parametrize("functional", ["tpssh", "camb3lyp", "lda,vwn"])
def test_functionals_that_are_no_plain_gga_respond_through_pyscf(functional):
    level = Level(functional=functional, grid_level=0, scf_energy_tolerance=1e-9, scf_gradient_tolerance=1e-5)
    found = electronic.solve(H2CO, level, State("x", 3))
    assert not any("minimisation" in rung["rung"] for rung in found.trace)
    method = found.mean_field
    hop, diagonal = gen_g_hop_uhf(method, method.mo_coeff, method.mo_occ, with_symmetry=False)[1:]
    guesses = [np.eye(1, len(diagonal), int(k))[0] for k in np.argsort(diagonal)[:3]]
    lowest = lib.davidson1(lambda rows: [hop(r) for r in rows], guesses, diagonal, tol=1e-6, verbose=0)[1][0]
    rows = orbital_rotations.lowest_rotations(method, "C1", level.grid_level)
    assert min(row.eigenvalue for row in rows) == pytest.approx(lowest, abs=2e-4)


@pytest.mark.parametrize("multiplicity", [1, 3])
def test_the_hessian_of_a_range_separated_hybrid_is_pyscfs(multiplicity):
    level = Level(functional="camb3lyp", grid_level=0, scf_energy_tolerance=1e-10, scf_gradient_tolerance=1e-6)
    method = electronic.solve(H2CO, level, State("x", multiplicity)).mean_field
    found = response.hessian_columns(method, [1], level.grid_level, print)[0]
    stock = method.Hessian().kernel()[:, 1].reshape(12, 3)
    np.testing.assert_allclose(found, stock, atol=1e-6)


def test_first_order_orbitals_that_do_not_converge_are_a_named_error(method, monkeypatch):
    monkeypatch.setattr(rhf.HessianBase, "max_cycle", 1)
    with pytest.raises(NotConverged, match=r"first-order orbitals of atoms 2: Krylov.* near an instability"):
        response.hessian_columns(method, [1], 0, print)


def test_full_densities_induce_the_same_potential(method):
    unrestricted = method if np.ndim(method.mo_occ) == 2 else method.to_uks()
    size = sum(int((o > 0).sum()) * len(o) for o in unrestricted.mo_occ)
    changes = np.random.default_rng(0).normal(size=(2, size))
    expected = response.induced_potential(unrestricted, LEVEL.grid_level)(changes)
    found = response.full_potential(unrestricted)(changes)
    np.testing.assert_allclose(found, expected, atol=2e-6 * np.abs(expected).max())


def test_lowest_rotation_agrees_with_pyscfs_stability_analysis(method):
    if np.ndim(method.mo_occ) == 1:
        hop, diagonal = stability._gen_hop_rhf_external(method, with_symmetry=False)[2:4]
    else:
        hop, diagonal = gen_g_hop_uhf(method, method.mo_coeff, method.mo_occ, with_symmetry=False)[1:]
    guesses = [np.eye(1, len(diagonal), int(k))[0] for k in np.argsort(diagonal)[:3]]
    lowest = lib.davidson1(lambda rows: [hop(r) for r in rows], guesses, diagonal, tol=1e-6, verbose=0)[1][0]
    rows = orbital_rotations.lowest_rotations(method, "C1", LEVEL.grid_level)
    assert min(row.eigenvalue for row in rows) == pytest.approx(lowest, abs=2e-4)
