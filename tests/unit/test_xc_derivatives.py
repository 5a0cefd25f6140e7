"""Derivatives of exchange and correlation against PySCF's own, which takes another way through the same integrals."""

import numpy as np
import pytest

import sample_groups
from spincross import electronic, response, xc_derivatives
from spincross.electronic import Level, State
from spincross.fitted_hessian import Fitting
from spincross.molecule import Molecule
from spincross.units import ANGSTROM_TO_BOHR

BENT = np.array([[0, 0, 0], [0.05, 0, 1.22], [0.94, 0.13, -0.57], [-0.94, -0.03, -0.47]]) * ANGSTROM_TO_BOHR
MOLECULE = Molecule(("C", "O", "H", "H"), BENT)


@pytest.mark.parametrize("multiplicity", [1, 3])
@pytest.mark.parametrize("functional", ["pbe0", "bp86"])
def test_the_skeleton_equals_pyscfs(functional, multiplicity):
    level = Level(functional=functional, grid_level=0, scf_energy_tolerance=1e-9, scf_gradient_tolerance=1e-5)
    hessian = electronic.solve(MOLECULE, level, State("x", multiplicity)).mean_field.Hessian()
    explicit, potentials = response.skeleton(hessian)
    stock = hessian.make_h1(hessian.base.mo_coeff, hessian.base.mo_occ)
    np.testing.assert_allclose(explicit, hessian.partial_hess_elec(), atol=1e-9)
    np.testing.assert_allclose(potentials, np.asarray(stock), atol=1e-9)


@pytest.mark.parametrize("spin", [0, 2])
@pytest.mark.parametrize("group", sample_groups.LIGHT)
def test_in_a_group_half_of_the_points_and_fitting_functions_give_the_same_skeleton(group, spin, monkeypatch):
    method = sample_groups.converged(group, spin=spin)
    mapped, hessian = response.kept_images(method), response.without_group(method).Hessian()
    points, functions, blocks, integrals = [], [], xc_derivatives.screened_blocks, Fitting._integrals

    def watched_blocks(mol, grids):
        points.append(grids.size)
        return blocks(mol, grids)

    def watched_integrals(fitting, name, *rest):
        functions.append(name)
        return integrals(fitting, name, *rest)

    monkeypatch.setattr(xc_derivatives, "screened_blocks", watched_blocks)
    monkeypatch.setattr(Fitting, "_integrals", watched_integrals)
    whole = response.skeleton(hessian)
    assert functions.count("int3c2e_ipip1") == 4
    half = response.skeleton(hessian, mapped=mapped)
    assert functions.count("int3c2e_ipip1") == 4 + np.count_nonzero(mapped.orbits) < 8
    assert points[1] < 0.9 * points[0]
    np.testing.assert_allclose(half[0], whole[0], atol=1e-7)
    np.testing.assert_allclose(half[1], whole[1], atol=1e-7)
    assert np.abs(whole[1]).max() > 1e-2


def test_a_density_without_the_group_is_not_halved():
    method = sample_groups.converged("C2")
    assert response.kept_images(method) is not None
    method.mo_coeff = method.mo_coeff + 1e-3 * np.random.default_rng(0).normal(size=method.mo_coeff.shape)
    assert response.kept_images(method) is None


def test_a_functional_without_a_gga_part_goes_through_pyscf():
    level = Level(functional="lda,vwn", grid_level=0, scf_energy_tolerance=1e-9, scf_gradient_tolerance=1e-5)
    hessian = electronic.solve(MOLECULE, level, State("x", 1)).mean_field.Hessian()
    np.testing.assert_allclose(response.skeleton(hessian)[0], hessian.partial_hess_elec(), atol=1e-9)


@pytest.mark.parametrize(("place", "weight"), [(500.0, 1.0), (1.0, 1e-30)])
def test_points_without_an_orbital_or_without_weight_add_nothing(place, weight):
    """Blocks of the grid where no orbital survives the screening, or where no atom changes the density."""
    level = Level(functional="pbe", grid_level=0, scf_energy_tolerance=1e-9, scf_gradient_tolerance=1e-5)
    method = electronic.solve(MOLECULE, level, State("x", 3)).mean_field
    expected = xc_derivatives.second_derivatives(method)
    grids, more = method.grids, np.full((20000, 3), place)
    grids.coords, grids.weights = np.vstack([grids.coords, more]), np.append(grids.weights, np.full(len(more), weight))
    table = grids.non0tab
    grids.non0tab = np.vstack([table, np.full((len(more), table.shape[1]), place < 100, dtype=table.dtype)])
    for found, wanted in zip(xc_derivatives.second_derivatives(method), expected, strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-12)
