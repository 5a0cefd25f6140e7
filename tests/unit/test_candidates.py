"""Which of the states of one multiplicity is the lowest."""

import numpy as np
import pytest

from spincross import candidates, electronic
from spincross.levels import Level, State
from spincross.molecule import Molecule
from spincross.units import ANGSTROM_TO_BOHR

LEVEL = Level(grid_level=0, scf_energy_tolerance=1e-8, scf_gradient_tolerance=1e-4)
FORMALDEHYDE = np.array([[0, 0, 0], [0, 0, 1.22], [0.94, 0.03, -0.57], [-0.94, -0.03, -0.57]]) * ANGSTROM_TO_BOHR
BENT = np.array([[0, 0, 0], [1.5, 0, 0.9], [-1.5, 0, 0.9]]) * ANGSTROM_TO_BOHR
QUINTET = State("HS", 5)


@pytest.fixture(scope="module")
def difluoride():
    """Iron(II) difluoride, bent: a quintet with one beta electron for five d orbitals."""
    molecule = Molecule(("Fe", "F", "F"), BENT, 0, "C2")
    return molecule, electronic.solve(molecule, LEVEL, QUINTET)


def test_without_a_metal_the_irreps_are_tried_and_all_are_listed():
    molecule = Molecule(("C", "O", "H", "H"), FORMALDEHYDE, 0, "C2")
    solution, table = candidates.lowest_state(molecule, LEVEL, State("HS", 3))
    energies = [row["energy_hartree"] for row in table if row["energy_hartree"] is not None]
    assert len(table) == 3
    assert solution.energy == min(energies)


def test_a_start_moves_one_d_electron_and_nothing_else(difluoride):
    molecule, solution = difluoride
    starts = candidates.d_swaps(solution)
    overlap = solution.mean_field.mol.intor_symmetric("int1e_ovlp")
    assert len(starts) == candidates.T2G_LEFT
    for occupation, (alpha, beta) in starts:
        assert np.array_equal(alpha, solution.orbitals[0])
        kept = np.linalg.svd(solution.orbitals[1].T @ overlap @ beta)[1]
        assert np.allclose(kept[:-1], 1, atol=1e-8)
        assert kept[-1] < 1e-6
        assert sum(a + b for a, b in occupation) == molecule.electrons


def test_a_state_that_began_in_the_wrong_d_orbital_is_left(difluoride):
    """From every start, also from the highest of the states, the same lowest energy is found."""
    molecule, first = difluoride
    lowest, _ = candidates.lowest_state(molecule, LEVEL, QUINTET)
    others = [electronic.solve(molecule, LEVEL, State("HS", 5, o), s) for o, s in candidates.d_swaps(first)]
    worst = max([first, *others], key=lambda s: s.energy)
    assert worst.energy > lowest.energy + 1e-4
    state = State("HS", 5, worst.occupation)
    again, table = candidates.lowest_state(molecule, LEVEL, state, guess=worst.orbitals)
    assert table[0]["energy_hartree"] == pytest.approx(worst.energy, abs=1e-6)
    assert again.energy == pytest.approx(lowest.energy, abs=1e-6)


def test_a_closed_shell_and_a_molecule_without_a_metal_have_no_d_electron_to_move():
    for multiplicity in (1, 3):
        molecule = Molecule(("C", "O", "H", "H"), FORMALDEHYDE, 0, "C2")
        assert candidates.d_swaps(electronic.solve(molecule, LEVEL, State("x", multiplicity))) == []
