"""SCF, gradients and states against PySCF's stock code and physics."""

from dataclasses import replace

import numpy as np
import pytest
from pyscf import dft

from spincross import candidates, electronic, response
from spincross.electronic import Level, State
from spincross.errors import BadInput, NotConverged, WrongState
from spincross.molecule import Molecule
from spincross.units import ANGSTROM_TO_BOHR

LEVEL = Level(grid_level=1, scf_energy_tolerance=1e-10, scf_gradient_tolerance=1e-6)
PLANAR = np.array([[0, 0, 0], [0, 0, 1.22], [0.94, 0.03, -0.57], [-0.94, -0.03, -0.57]]) * ANGSTROM_TO_BOHR
H2CO = Molecule(("C", "O", "H", "H"), PLANAR, 0, "C2")
HYDROGEN = Molecule(("H", "H"), np.array([[0, 0, 0], [0, 0, 2.2]]) * ANGSTROM_TO_BOHR)


@pytest.fixture(scope="module")
def singlet():
    return electronic.solve(H2CO, LEVEL, State("LS", 1))


@pytest.fixture(scope="module")
def triplet():
    return candidates.lowest_state(H2CO, LEVEL, State("HS", 3))


@pytest.mark.parametrize(("multiplicity", "method"), [(1, dft.RKS), (3, dft.UKS)])
def test_energy_equals_that_of_pyscfs_own_integrator(multiplicity, method):
    mol = electronic.build_mol(H2CO.at(H2CO.positions, "C1"), LEVEL, multiplicity)
    stock = method(mol).density_fit(auxbasis=LEVEL.auxiliary_basis)
    stock.xc, stock.grids.level, stock.conv_tol = "pbe0", 1, 1e-10
    stock.kernel()
    ours = electronic.solve(H2CO.at(H2CO.positions, "C1"), LEVEL, State("x", multiplicity))
    assert ours.energy == pytest.approx(stock.e_tot, abs=1e-8)


def test_gradient_is_the_slope_of_the_energy(singlet):
    gradient = electronic.gradient(singlet)
    step = 1e-3
    energies = []
    for sign in (1, -1):
        moved = H2CO.positions.copy()
        moved[1, 2] += sign * step
        energies.append(electronic.solve(H2CO.at(moved), LEVEL, State("LS", 1), singlet.orbitals).energy)
    assert gradient[1, 2] == pytest.approx((energies[0] - energies[1]) / (2 * step), abs=2e-6)


def test_gradient_with_grid_response_has_no_net_force(singlet):
    np.testing.assert_allclose(electronic.gradient(singlet).sum(axis=0), 0, atol=1e-9)


def test_spin_populations_add_up_to_the_unpaired_electrons(triplet):
    assert electronic.spin_populations(triplet[0]).sum() == pytest.approx(2.0, abs=1e-6)


def test_a_warm_start_needs_fewer_cycles(singlet):
    moved = H2CO.at(H2CO.positions * 1.002)
    warm = electronic.solve(moved, LEVEL, State("LS", 1), singlet.orbitals)
    cold = electronic.solve(moved, LEVEL, State("LS", 1))
    assert warm.cycles < cold.cycles
    assert warm.energy == pytest.approx(cold.energy, abs=1e-8)


def test_carried_orbitals_hold_the_electrons(triplet):
    mol = electronic.build_mol(H2CO.at(H2CO.positions * 1.01), LEVEL, 3)
    density = electronic.density_from(triplet[0].orbitals, mol)
    overlap = mol.intor("int1e_ovlp")
    assert [float(np.trace(d @ overlap)) for d in density] == pytest.approx([9.0, 7.0], abs=1e-10)


def test_orbitals_of_another_basis_are_refused(singlet):
    mol = electronic.build_mol(H2CO, replace(LEVEL, basis="sto-3g"), 1)
    with pytest.raises(WrongState, match="functions"):
        electronic.density_from(singlet.orbitals, mol)


def test_an_scf_that_does_not_converge_is_an_error_with_every_rung():
    impossible = LEVEL.tightened(1e-30, 1e-30)
    with pytest.raises(NotConverged, match="second order"):
        electronic.solve(HYDROGEN, impossible, State("LS", 1), max_cycles=1)


def test_stretched_hydrogen_is_unstable_and_formaldehyde_is_not(singlet, triplet):
    stretched = electronic.solve(HYDROGEN, LEVEL, State("LS", 1))
    assert response.lowest_rotation(stretched.mean_field, 1) < -0.05
    assert response.lowest_rotation(singlet.mean_field, 1) > 0.01
    assert response.lowest_rotation(triplet[0].mean_field, 1) > 0.01


@pytest.mark.parametrize(
    ("level", "word"),
    [
        (replace(LEVEL, functional="pbezero"), "functional"),
        (replace(LEVEL, basis="def9-svp"), "basis"),
        (replace(LEVEL, auxiliary_basis="nothing"), "auxiliary_basis"),
    ],
)
def test_unknown_names_in_a_level_are_refused_by_key(level, word):
    with pytest.raises(BadInput, match=word):
        electronic.check_level(level, ["H"])


@pytest.mark.parametrize(("charge", "multiplicity"), [(0, 2), (1, 1), (0, 0), (0, 19)])
def test_impossible_multiplicities_are_refused(charge, multiplicity):
    with pytest.raises(BadInput, match="multiplicity"):
        electronic.check_spin(replace(H2CO, charge=charge), multiplicity)
