"""What optimise.json says of a state: spins, levels, angles of a small thiocyanate."""

from dataclasses import replace

import numpy as np
import pytest

from sample_h2co import LEVEL
from spincross import electronic, mean_field, populations
from spincross.description import describe
from spincross.levels import State
from spincross.molecule import Molecule, ncs_groups
from spincross.optimise import Optimisation
from spincross.units import ANGSTROM_TO_BOHR

THIOCYANATE = np.array([[0, 0, 0], [0, 0, 2.0], [0, 0, 3.17], [0, 0, 4.8]]) * ANGSTROM_TO_BOHR


@pytest.fixture(scope="module")
def thiocyanate():
    """A guess of [Fe(NCS)]+, a quintet, in a small basis: not converged, and good enough to be described."""
    molecule, level = (
        Molecule(("Fe", "N", "C", "S"), THIOCYANATE, 1, "C1"),
        replace(LEVEL, basis="sto-3g", grid_level=0),
    )
    mol = mean_field.build_mol(molecule, level, 5)
    method = mean_field.kohn_sham(mol, level).set(max_cycle=2)
    method.kernel()
    filled = [np.asarray(c)[:, o > 0] for c, o in zip(method.mo_coeff, method.mo_occ, strict=True)]
    solution = electronic.Solution(method.e_tot, tuple(filled), 6.0, None, "C1", [], method, method)
    gradient = np.zeros((4, 3))
    gradient[1, 2] = -6e-3
    result = Optimisation(molecule, solution, gradient, [], [])
    return solution, describe(result, State("HS", 5), "Fe", level)


def test_a_description_has_both_spin_populations_of_the_metal_and_of_each_ncs(thiocyanate):
    solution, found = thiocyanate
    mulliken, loewdin = populations.spin_populations(solution), populations.loewdin_spin_populations(solution)
    assert np.abs(mulliken - loewdin).max() > 1e-3
    assert found["metal_spin_population"] == mulliken[0]
    np.testing.assert_array_equal(found["spin_populations"], mulliken)
    np.testing.assert_array_equal(found["loewdin_spin_populations"], loewdin)
    (row,) = found["ncs_spin_populations"]
    assert row["atoms"] == [1, 2, 3]
    np.testing.assert_array_equal(row["mulliken"], mulliken[1:])
    np.testing.assert_array_equal(row["loewdin"], loewdin[1:])


def test_a_description_has_the_metals_part_of_every_level_and_the_dipole(thiocyanate):
    solution, found = thiocyanate
    method = solution.mean_field
    rows, order = found["orbitals"]["alpha"], np.argsort(method.mo_energy[0])
    first = int(np.sum(method.mo_occ[0])) - 10
    overlap, iron = method.get_ovlp(), slice(*method.mol.aoslice_by_atom()[0][2:])
    for row, orbital in zip(rows, np.asarray(method.mo_coeff[0]).T[order][max(first, 0) :], strict=False):
        assert row["metal_fraction"] == pytest.approx(orbital[iron] @ (overlap @ orbital)[iron], abs=1e-9)
    density = np.asarray(method.make_rdm1()).sum(axis=0)
    electrons = -np.einsum("xij,ji->x", method.mol.intor("int1e_r"), density)
    moment = (electrons + method.mol.atom_charges() @ method.mol.atom_coords()) * 2.541746
    np.testing.assert_allclose(found["dipole_debye"], moment, atol=1e-4)


def test_a_description_has_angles_in_degrees_and_the_root_mean_square_of_the_gradient(thiocyanate):
    found = thiocyanate[1]
    (angle,) = found["metal_angles_degree"]
    assert (angle["atoms"], angle["kind"]) == ([0, 1, 2], "Fe-N-C")
    assert angle["angle"] == pytest.approx(180.0, abs=1e-4)
    assert found["gradient_max_hartree_per_bohr"] == 6e-3
    assert found["gradient_rms_hartree_per_bohr"] == pytest.approx(6e-3 / np.sqrt(12))


def test_ncs_groups_are_found_as_nitrogen_carbon_sulfur():
    line = np.array([[0, 0, 0], [0, 0, 2.0], [0, 0, 3.17], [0, 0, 4.8], [2.0, 0, 0]]) * ANGSTROM_TO_BOHR
    molecule = Molecule(("Fe", "N", "C", "S", "N"), line)
    assert ncs_groups(molecule, "Fe") == [(1, 2, 3)]
    assert ncs_groups(molecule, None) == []
    assert ncs_groups(Molecule(("Fe", "C", "C", "S", "N"), line), "Fe") == []
