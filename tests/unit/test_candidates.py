"""Which of the states of one multiplicity is the lowest."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from pyscf import gto

from spincross import candidates, electronic, symmetric_fitting
from spincross.errors import NotConverged, StaleData, Stopped, WrongState
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
    starts = candidates.d_swaps(solution, molecule)
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
    others = [electronic.solve(molecule, LEVEL, State("HS", 5, o), s) for o, s in candidates.d_swaps(first, molecule)]
    worst = max([first, *others], key=lambda s: s.energy)
    assert worst.energy > lowest.energy + 1e-4
    state = State("HS", 5, worst.occupation)
    again, table = candidates.lowest_state(molecule, LEVEL, state, guess=worst.orbitals)
    assert table[0]["energy_hartree"] == pytest.approx(worst.energy, abs=1e-6)
    assert again.energy == pytest.approx(lowest.energy, abs=1e-6)


def test_all_candidates_share_one_set_of_integrals(difluoride, monkeypatch):
    """They lie at one geometry; a second set beside the first may not fit into the memory and go through the disk."""
    molecule, _ = difluoride
    built, build = [], symmetric_fitting.SymmetricFitting.build

    def counting(self):
        built.append(self)
        return build(self)

    monkeypatch.setattr(symmetric_fitting.SymmetricFitting, "build", counting)
    best, table = candidates.lowest_state(molecule, LEVEL, QUINTET)
    whole = [fitting for fitting in built if fitting.mol.nao == best.mean_field.mol.nao]  # not of the minimal basis
    assert len(table) > 1 and len(whole) == 1
    alone = electronic.solve(molecule, LEVEL, State("HS", 5, best.occupation), best.orbitals)
    assert best.energy == pytest.approx(alone.energy, abs=1e-8)


def test_both_terms_of_the_quintet_are_tried_each_with_its_ladder(difluoride):
    """In C2 the t2g-like orbitals are two of one irrep and one of the other: 5A and 5B both exist."""
    molecule, first = difluoride
    _, table = candidates.lowest_state(molecule, LEVEL, QUINTET)
    assert {row["term"] for row in table} == {"5A", "5B"}
    assert len(table) == 1 + candidates.T2G_LEFT
    names = [rung["rung"] for rung in table[0]["rungs"]]
    assert names[:3] == ["minimal basis, level shift", "coarse grid, level shift", "DIIS"]
    assert table[0]["rungs"][2]["reason"] == "start from density of the coarse grid"
    for row in table:
        assert row["rungs"][-1]["converged"]
        assert row["rungs"][-1]["energy_hartree"] == row["energy_hartree"]
        assert row["cycles"] == sum(rung["cycles"] for rung in row["rungs"])
    assert all(row["rungs"][0]["reason"] == "start from orbitals of a neighbour" for row in table[1:])


H2CO = Molecule(("C", "O", "H", "H"), FORMALDEHYDE, 0, "C2")
TRIPLET = State("HS", 3)


def counted(monkeypatch, fail=None, error=None):
    """Count SCFs from here on; the one numbered `fail` ends with the error."""
    solve, calls = electronic.solve, []

    def counting(*arguments, **more):
        calls.append(arguments)
        if len(calls) == fail:
            raise error
        return solve(*arguments, **more)

    monkeypatch.setattr(electronic, "solve", counting)
    return calls


@pytest.mark.parametrize("moment", [1, 2, 3])
def test_a_search_that_was_stopped_repeats_only_the_candidate_in_work(monkeypatch, tmp_path, moment):
    whole, table = candidates.lowest_state(H2CO, LEVEL, TRIPLET)
    with monkeypatch.context() as patch:
        counted(patch, moment, Stopped("time is over"))
        with pytest.raises(Stopped):
            candidates.lowest_state(H2CO, LEVEL, TRIPLET, folder=tmp_path)
    calls = counted(monkeypatch)
    found, rows = candidates.lowest_state(H2CO, LEVEL, TRIPLET, folder=tmp_path)
    again = 1 if moment > 1 else 0  # the lowest is the first here; its orbitals are kept, not its integrals
    assert len(calls) == len(table) - (moment - 1) + again
    assert found.energy == pytest.approx(whole.energy, abs=1e-7)
    assert [row["term"] for row in rows] == [row["term"] for row in table]
    assert [row["energy_hartree"] for row in rows] == pytest.approx([row["energy_hartree"] for row in table], abs=1e-6)
    assert found.cycles <= 4 or not again


def test_a_finished_search_costs_one_warm_scf_and_keeps_what_it_cost(monkeypatch, tmp_path):
    _, table = candidates.lowest_state(H2CO, LEVEL, TRIPLET, folder=tmp_path)
    calls = counted(monkeypatch)
    found, rows = candidates.lowest_state(H2CO, LEVEL, TRIPLET, folder=tmp_path)
    assert (len(calls), rows) == (1, table)
    assert found.cycles < table[0]["cycles"]


@pytest.mark.parametrize(
    "change",
    [
        {"molecule": H2CO.at(H2CO.positions * 1.001)},
        {"level": replace(LEVEL, functional="pbe")},
        {"level": LEVEL.tightened(1e-9, 1e-5)},
        {"state": State("LS", 1)},
    ],
)
def test_a_search_of_another_molecule_level_or_state_is_not_used(monkeypatch, tmp_path, change):
    candidates.lowest_state(H2CO, LEVEL, TRIPLET, folder=tmp_path)
    calls = counted(monkeypatch)
    with pytest.raises(StaleData, match=r"candidates\.json belongs to another"):
        candidates.lowest_state(**{"molecule": H2CO, "level": LEVEL, "state": TRIPLET, "folder": tmp_path} | change)
    assert calls == []


def test_a_candidate_that_does_not_converge_is_listed_with_its_rungs_and_no_error(monkeypatch, tmp_path):
    rungs = [{"rung": "DIIS", "reason": "x", "cycles": 7, "energy_hartree": -1.0, "converged": False, "seconds": 0.1}]
    counted(monkeypatch, 2, NotConverged("no", rungs))
    found, table = candidates.lowest_state(H2CO, LEVEL, TRIPLET, folder=tmp_path)
    assert (table[1]["energy_hartree"], table[1]["cycles"], table[1]["rungs"]) == (None, 7, rungs)
    assert found.energy == min(row["energy_hartree"] for row in table if row["energy_hartree"] is not None)
    with pytest.raises(NotConverged), monkeypatch.context() as patch:
        counted(patch, 1, NotConverged("no", rungs))
        candidates.lowest_state(H2CO, LEVEL, TRIPLET)


def test_a_closed_shell_and_a_molecule_without_a_metal_have_no_d_electron_to_move():
    for multiplicity in (1, 3):
        molecule = Molecule(("C", "O", "H", "H"), FORMALDEHYDE, 0, "C2")
        assert candidates.d_swaps(electronic.solve(molecule, LEVEL, State("x", multiplicity)), molecule) == []


OCTAHEDRON = np.vstack([np.zeros(3), 2.0 * np.eye(3), -2.0 * np.eye(3)]) * ANGSTROM_TO_BOHR
BETA_D = {"xy": 10, "yz": 11, "z2": 12, "xz": 13, "x2-y2": 14}
"""Places of iron's d functions in PySCF's minimal basis, in its order, after 1s 2s 3s 4s and two sets of p."""


def octahedral(filled: list[str], empty: tuple[str, ...] = ()) -> tuple[SimpleNamespace, Molecule]:
    """Return a bare metal in an octahedron whose orbitals are its functions: beta d ones filled, alpha ones empty.

    The e_g-like ones are the lowest of all, as they are in no octahedron: only the shape tells them apart.
    """
    mol = gto.M(atom=[("Fe", (0, 0, 0))], basis="minao", spin=4, charge=0, verbose=0)
    energies = np.arange(mol.nao) * 0.1
    energies[[BETA_D["z2"], BETA_D["x2-y2"]]] = -5.0
    occupied = np.isin(np.arange(mol.nao), [*range(10), *(BETA_D[name] for name in filled)]) * 1.0
    alpha = np.isin(np.arange(mol.nao), [*range(10), *(BETA_D[name] for name in BETA_D if name not in empty)]) * 1.0
    method = SimpleNamespace(
        mol=mol, mo_coeff=[np.eye(mol.nao)] * 2, mo_energy=[energies] * 2, mo_occ=[alpha, occupied]
    )
    orbitals = (np.eye(mol.nao)[:, alpha > 0], np.eye(mol.nao)[:, occupied > 0])
    return SimpleNamespace(mean_field=method, orbitals=orbitals, point_group="C1"), Molecule(
        ("Fe", *["N"] * 6), OCTAHEDRON, 0, "C1"
    )


@pytest.mark.parametrize(
    ("filled", "moved"),
    [
        (["xy"], [["yz"], ["xz"]]),
        (["xy", "xz"], [["yz", "xz"], ["xy", "yz"]]),
        (["z2"], [["xy"], ["yz"], ["xz"]]),
        (["xy", "yz", "xz"], []),
        ([], []),
    ],
    ids=["d6: the electron", "d7: the hole", "an e_g electron is put right", "d8: nothing to move", "d5: nothing"],
)
def test_in_an_octahedron_the_t2g_like_orbitals_are_tried_and_no_other(filled, moved):
    solution, molecule = octahedral(filled)
    names = {place: name for name, place in BETA_D.items()}
    found = [
        sorted(names[int(k)] for k in np.flatnonzero(beta.sum(axis=1)) if int(k) in names)
        for _, (_, beta) in candidates.d_swaps(solution, molecule)
    ]
    assert sorted(found) == sorted(map(sorted, moved))


@pytest.mark.parametrize(
    ("filled", "empty", "moved"),
    [
        ([], ("x2-y2",), ["xy", "xz", "yz", "x2-y2"]),
        (["xy", "yz", "xz"], ("z2",), ["xy", "xz", "yz", "z2"]),
        (["xy", "yz", "xz"], (), None),
        ([], ("z2", "x2-y2"), None),
    ],
    ids=["d4 high spin", "d7 low spin", "d8", "d3"],
)
def test_the_one_electron_or_hole_of_two_e_g_like_orbitals_is_tried_in_the_other(filled, empty, moved):
    solution, molecule = octahedral(filled, empty)
    names = {place: name for name, place in BETA_D.items()}
    found = [
        sorted(names[int(k)] for k in np.flatnonzero(alpha.sum(axis=1)) if int(k) in names)
        for _, (alpha, beta) in candidates.d_swaps(solution, molecule)
        if np.array_equal(beta, solution.orbitals[1])
    ]
    assert found == ([] if moved is None else [sorted(moved)])


def test_a_search_done_again_that_ends_in_another_state_is_an_error(monkeypatch, tmp_path):
    candidates.lowest_state(H2CO, LEVEL, TRIPLET, folder=tmp_path)
    solve = electronic.solve

    def higher(*arguments, **more):
        found = solve(*arguments, **more)
        return replace(found, energy=found.energy + 1e-3)

    monkeypatch.setattr(electronic, "solve", higher)
    with pytest.raises(WrongState, match="its SCF done again ended at .* remove .* to search anew"):
        candidates.lowest_state(H2CO, LEVEL, TRIPLET, folder=tmp_path)


def test_a_search_whose_damaged_orbitals_were_deleted_begins_anew(monkeypatch, tmp_path):
    whole, table = candidates.lowest_state(H2CO, LEVEL, TRIPLET, folder=tmp_path)
    (tmp_path / "candidate_1.npz").write_bytes(b"cut off")
    with pytest.raises(StaleData, match=r"candidate_1\.npz cannot be read .*delete it and run again"):
        candidates.lowest_state(H2CO, LEVEL, TRIPLET, folder=tmp_path)
    (tmp_path / "candidate_1.npz").unlink()
    found, rows = candidates.lowest_state(H2CO, LEVEL, TRIPLET, folder=tmp_path)
    assert len(rows) == len(table)
    assert found.energy == pytest.approx(whole.energy, abs=1e-7)
