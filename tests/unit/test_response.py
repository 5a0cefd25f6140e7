"""The low-rank response equals PySCF's, and so do stability eigenvalues."""

import numpy as np
import pytest
from pyscf import gto, lib
from pyscf.hessian import rhf, uhf
from pyscf.scf import stability
from pyscf.soscf.newton_ah import gen_g_hop_uhf
from scipy.linalg import expm

import sample_h2co
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
    assert not any("Newton" in rung["rung"] for rung in found.trace)
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


@pytest.fixture(scope="module")
def saddle():
    """An unstable state of formaldehyde, turned by 0.1 rad along the rotation that leads down, and that eigenvalue."""
    method = electronic.solve(sample_h2co.H2CO, LEVEL, State("HS", 3, sample_h2co.EXCITED)).mean_field
    lowest = min(orbital_rotations.lowest_rotations(method, "C2", LEVEL.grid_level), key=lambda r: r.eigenvalue)
    coefficients = []
    for c, occupied, mode in zip(method.mo_coeff, method.mo_occ, lowest.mode, strict=True):
        filled = np.asarray(occupied) > 0
        kappa = np.zeros((len(filled), len(filled)))
        kappa[np.ix_(~filled, filled)] = 0.1 * mode
        coefficients.append(np.asarray(c) @ expm(kappa - kappa.T))
    moved = method.copy()
    moved.mo_coeff = np.array(coefficients)
    return moved, lowest.eigenvalue


def test_a_newton_step_near_a_saddle_leads_down(saddle):
    """Newton's own leads back up to it: the step to a stationary point is reversed where the energy bends down."""
    method, eigenvalue = saddle
    assert eigenvalue < -0.01
    fock, density = np.asarray(method.get_fock(dm=method.make_rdm1())), method.make_rdm1()
    after, _ = response.newton_density(method, response.induced_potential(method, LEVEL.grid_level), fock, 1e-3)
    assert method.energy_tot(after) < method.energy_tot(density) - 1e-4


def test_a_long_newton_step_is_shortened(saddle, monkeypatch):
    """Near an instability it would be a turn of many rad."""
    method, lengths = saddle[0], []
    fock, fx = np.asarray(method.get_fock(dm=method.make_rdm1())), response.induced_potential(method, LEVEL.grid_level)

    def measured(moved, overlap):
        filled = [c[:, o > 0] for c, o in zip(method.mo_coeff, method.mo_occ, strict=True)]
        turns = [method.mo_coeff[k].T @ overlap @ (m - f) for k, (m, f) in enumerate(zip(moved, filled, strict=True))]
        lengths.append(np.sqrt(sum((turn**2).sum() for turn in turns)))

    monkeypatch.setattr(response, "tagged_density", measured)
    for longest in (0.5, 1e3, 1e-3):
        monkeypatch.setattr(response, "LARGEST_TURN", longest)
        response.newton_density(method, fx, fock)
    assert 1e-2 < lengths[0] == lengths[1] < 0.5
    assert lengths[2] == pytest.approx(1e-3)


def test_a_newton_step_squares_the_error():
    loose = electronic.solve(H2CO, LEVEL.tightened(1e-3, 3e-2), State("HS", 3)).mean_field
    exact = electronic.solve(H2CO, LEVEL, State("HS", 3)).mean_field
    fx = response.induced_potential(loose, LEVEL.grid_level)
    before = loose.energy_tot(loose.make_rdm1()) - exact.e_tot
    density, products = response.newton_density(loose, fx, np.asarray(loose.get_fock()), 1e-3)
    after = loose.energy_tot(density) - exact.e_tot
    assert before > 1e-8
    assert abs(after) < 0.05 * before
    assert products > 1
