"""The exchange-correlation gradient against PySCF's, which differentiates every weight by every atom."""

import gc
import weakref

import numpy as np
import pytest
from pyscf.dft import gen_grid, radi
from pyscf.grad import rks, uks

from spincross import electronic, xc_gradient
from spincross.electronic import Level, State
from spincross.molecule import Molecule
from spincross.units import ANGSTROM_TO_BOHR

BENT = np.array([[0, 0, 0], [0.05, 0, 1.22], [0.94, 0.13, -0.57], [-0.94, -0.03, -0.47]]) * ANGSTROM_TO_BOHR
MOLECULE = Molecule(("C", "O", "H", "H"), BENT)


def solved(functional, multiplicity, grid_level=0):
    level = Level(functional=functional, grid_level=grid_level, scf_energy_tolerance=1e-9, scf_gradient_tolerance=1e-5)
    return electronic.solve(MOLECULE, level, State("x", multiplicity)).mean_field


def pyscfs(method, density):
    module = rks if density.ndim == 2 else uks
    moved, potential = module.get_vxc_full_response(method._numint, method.mol, method.grids, method.xc, density)
    pairs = (potential[None] * density) if density.ndim == 2 else potential * density[:, None]
    for atom, (_, _, start, stop) in enumerate(method.mol.aoslice_by_atom()):
        moved[atom] += 2 * pairs.reshape(-1, 3, *density.shape[-2:])[:, :, start:stop].sum(axis=(0, 2, 3))
    return moved


@pytest.mark.parametrize("multiplicity", [1, 3])
@pytest.mark.parametrize("functional", ["pbe0", "bp86"])
def test_it_equals_pyscfs(functional, multiplicity):
    method = solved(functional, multiplicity)
    density = np.asarray(method.make_rdm1())
    np.testing.assert_allclose(xc_gradient.gradient(method, density), pyscfs(method, density), atol=1e-9)


@pytest.mark.parametrize("multiplicity", [1, 3])
@pytest.mark.parametrize("functional", ["pbe0", "bp86", "tpssh", "camb3lyp", "lda,vwn"])
def test_nuclear_gradients_equal_pyscfs(functional, multiplicity):
    """Of the last three, which the module does not cover, PySCF computes everything."""
    method = solved(functional, multiplicity)
    stock = method.nuc_grad_method()
    stock.grid_response = True
    np.testing.assert_allclose(xc_gradient.gradient_method(method).kernel(), stock.kernel(), atol=1e-9)


@pytest.mark.parametrize("multiplicity", [1, 3])
def test_memory_is_free_after_a_gradient_without_waiting_for_the_garbage_collector(multiplicity):
    """Else the next SCF of a job finds no room for its fitted integrals, and reads them from disk in every cycle."""
    gc.disable()
    try:
        solution = electronic.solve(MOLECULE, Level(basis="sto-3g", grid_level=0), State("x", multiplicity))
        integrator = weakref.ref(solution.mean_field._numint)
        electronic.gradient(solution)
        del solution
        assert integrator() is None
    finally:
        gc.enable()


def test_only_plain_ggas_on_the_default_partition_leave_pyscf():
    """Else the comparison above would compare PySCF with itself, or another partition would get wrong weights."""
    method = solved("pbe0", 1)
    assert "get_veff" in vars(xc_gradient.gradient_method(method))
    method.grids.radii_adjust = radi.becke_atomic_radii_adjust
    assert "get_veff" not in vars(xc_gradient.gradient_method(method))
    assert "get_veff" not in vars(xc_gradient.gradient_method(solved("tpssh", 1)))


def test_a_point_that_no_atom_is_near_moves_nothing():
    partition = xc_gradient.Partition.of(solved("pbe", 1).mol)
    points = np.array([[0.0, 0.0, 1e3], [1e3, 0.0, 0.0]])
    assert not partition.response(0, points, np.array([1e-17, 0.0])).any()
    assert partition.response(0, np.empty((0, 3)), np.empty(0)).shape == (4, 3)


def test_a_point_deep_in_the_cell_of_another_atom_weighs_next_to_nothing_and_so_does_its_response():
    """Near the axis, beyond the other atom, its own cell function is 1e-17, which 1 - p rounds to zero."""
    partition = xc_gradient.Partition.of(solved("pbe", 1).mol)
    axis = (partition.places[1] - partition.places[0]) / np.linalg.norm(partition.places[1] - partition.places[0])
    across = np.cross(axis, [1.0, 0.0, 0.0])
    points = partition.places[1] + np.array([d * axis + s * across for d in (0.5, 2.0) for s in (0.0, 1e-2, 0.1, 0.2)])
    found = partition.response(0, points, np.full(len(points), 2e-16))
    assert np.abs(found).max() < 1e-12


def test_the_response_of_the_weights_is_their_derivative():
    """Against central differences of PySCF's own weights, unequal atoms, every coordinate."""
    mol = solved("pbe", 1).mol
    places, step = mol.atom_coords(), 1e-5
    around = np.random.default_rng(1).normal(size=(40, 3))
    values = np.random.default_rng(2).normal(size=40)

    def weights(moved):
        copy = mol.set_geom_(moved, unit="Bohr", inplace=False)
        shells = {s: (around, np.ones(40)) for s in ("C", "O", "H")}
        grids = gen_grid.Grids(copy)
        return grids.get_partition(copy, shells, grids.radii_adjust, concat=False)[1][1]

    slopes = np.zeros((4, 3))
    for place in np.ndindex(4, 3):
        shift = np.zeros((4, 3))
        shift[place] = step
        slopes[place] = values @ (weights(places + shift) - weights(places - shift)) / (2 * step)
    found = xc_gradient.Partition.of(mol).response(1, places[1] + around, values * weights(places))
    np.testing.assert_allclose(found, slopes, atol=1e-8)
