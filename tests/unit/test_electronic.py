"""SCF, gradients and states against PySCF's stock code and physics."""

import io

import numpy as np
import pytest
from pyscf import dft, lib
from pyscf.scf import diis as scf_diis
from pyscf.soscf import newton_ah

from sample_h2co import EXCITED, H2CO, HYDROGEN, LEVEL
from spincross import electronic, mean_field, orbital_rotations, quasi_newton
from spincross.device import CPU
from spincross.errors import NotConverged
from spincross.levels import State
from spincross.molecule import Molecule
from spincross.units import ANGSTROM_TO_BOHR


@pytest.mark.parametrize(("multiplicity", "method"), [(1, dft.RKS), (3, dft.UKS)])
def test_energy_equals_that_of_pyscfs_own_integrator(multiplicity, method):
    mol = mean_field.build_mol(H2CO.at(H2CO.positions, "C1"), LEVEL, multiplicity)
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


def test_a_warm_start_needs_fewer_cycles(singlet):
    moved = H2CO.at(H2CO.positions * 1.002)
    warm = electronic.solve(moved, LEVEL, State("LS", 1), singlet.orbitals)
    cold = electronic.solve(moved, LEVEL, State("LS", 1))
    assert warm.cycles < cold.cycles
    assert warm.energy == pytest.approx(cold.energy, abs=1e-8)


@pytest.mark.parametrize(("fits", "names"), [(True, ["DIIS", "direct minimisation"]), (False, ["DIIS"])])
def test_diis_goes_on_where_nothing_is_minimised_directly(triplet, monkeypatch, fits, names):
    monkeypatch.setattr(electronic, "DIIS_CYCLES", 4)
    monkeypatch.setattr(electronic, "NEAR", 10.0)
    monkeypatch.setattr(electronic.response, "fits", lambda method: fits)
    found = electronic.solve(H2CO, LEVEL, State("HS", 3, triplet[0].occupation))
    assert [rung["rung"] for rung in found.trace][:2] == names
    assert (found.trace[0]["cycles"] > 4) != fits
    assert found.energy == pytest.approx(triplet[0].energy, abs=1e-8)


@pytest.mark.parametrize("state", [State("HS", 3), State("LS", 1)])
def test_the_orbital_hessian_is_explored_from_the_fock_matrix_of_the_last_cycle(monkeypatch, state):
    seen, explored = [], quasi_newton.explored

    def checked(method, fock, grid_level):
        seen.append(np.abs(np.asarray(fock) - np.asarray(method.get_fock(dm=method.make_rdm1()))).max())
        return explored(method, fock, grid_level)

    monkeypatch.setattr(electronic, "DIIS_CYCLES", 4)
    monkeypatch.setattr(electronic, "NEAR", 10.0)
    monkeypatch.setattr(electronic, "ROUND_CYCLES", 2)
    monkeypatch.setattr(quasi_newton, "explored", checked)
    electronic.solve(H2CO, LEVEL, state)
    assert len(seen) >= 2
    assert max(seen) < 1e-9


def test_integrals_stay_in_memory_while_they_fit_and_go_to_disk_otherwise(triplet):
    state = State("HS", 3, triplet[0].occupation)
    outside = electronic.solve(H2CO, LEVEL, state, triplet[0].orbitals, max_memory=1)
    assert triplet[0].mean_field.with_df.adapted() is not None
    assert outside.mean_field.with_df.adapted() is None
    assert not isinstance(outside.mean_field.with_df._cderi, np.ndarray)
    assert outside.energy == pytest.approx(triplet[0].energy, abs=1e-9)
    np.testing.assert_allclose(electronic.gradient(outside), electronic.gradient(triplet[0]), atol=1e-6)


def test_an_scf_that_does_not_converge_is_an_error_with_every_rung():
    impossible = LEVEL.tightened(1e-30, 1e-30)
    rungs = "DIIS: 1 cycles.*direct minimisation: 1 cycles.*level shift, damping: 1 cycles.*second order: 1 cycles"
    with pytest.raises(NotConverged, match=rungs):
        electronic.solve(HYDROGEN, impossible, State("LS", 1), max_cycles=1)


def test_every_rung_leaves_its_reason_cycles_and_energy(triplet, monkeypatch):
    monkeypatch.setattr(electronic, "DIIS_CYCLES", 2)
    monkeypatch.setattr(electronic, "NEAR", 10.0)
    monkeypatch.setattr(electronic, "ROUNDS", 1)
    monkeypatch.setattr(electronic, "ROUND_CYCLES", 2)
    found = electronic.solve(H2CO, LEVEL, State("HS", 3, triplet[0].occupation))
    assert [rung["rung"] for rung in found.trace] == ["DIIS", "direct minimisation", "level shift, damping", "DIIS"]
    assert [rung["cycles"] for rung in found.trace][:2] == [2, 2]
    assert found.cycles == sum(rung["cycles"] for rung in found.trace)
    assert "superposition of atoms" in found.trace[0]["reason"]
    assert "orbital gradient" in found.trace[1]["reason"]
    assert found.trace[1]["newton_products"] > 1
    assert "after 4 cycles" in found.trace[2]["reason"]
    assert found.trace[-1]["converged"]
    assert found.trace[-1]["energy_hartree"] == pytest.approx(triplet[0].energy, abs=1e-8)


def test_damping_mixes_the_fock_matrices_of_its_rung_and_of_no_other(monkeypatch):
    """What goes into the extrapolation is (1 - 0.3) F + 0.3 F of the cycle before, measured on the matrices."""
    monkeypatch.setattr(electronic, "DIIS_CYCLES", 3)
    monkeypatch.setattr(electronic, "ROUNDS", 0)
    run, update, store = electronic.Ladder.run, scf_diis.CDIIS.update, lib.diis.DIIS.update
    shares, stored = {}, []

    def watched_store(diis, fock, **options):
        stored.append(np.array(fock))
        return store(diis, fock, **options)

    def watched_run(ladder, method, rung, *rest):
        found = shares.setdefault(f"{rung} {len(ladder.trace)}", [])

        def watched(diis, overlap, density, fock, *rest, f_prev=None):
            result = update(diis, overlap, density, fock, *rest, f_prev=f_prev)
            if f_prev is not None:
                change = f_prev - fock
                found.append(float(np.vdot(stored[-1] - fock, change) / np.vdot(change, change)))
            return result

        monkeypatch.setattr(scf_diis.CDIIS, "update", watched)
        run(ladder, method, rung, *rest)

    monkeypatch.setattr(lib.diis.DIIS, "update", watched_store)
    monkeypatch.setattr(electronic.Ladder, "run", watched_run)
    electronic.solve(H2CO, LEVEL, State("LS", 1))
    before, damped, after = shares.values()
    assert list(shares) == ["DIIS 0", "level shift, damping 1", "DIIS 2"]
    assert min(len(before), len(damped), len(after)) >= 2
    np.testing.assert_allclose(damped, 0.3, atol=1e-9)
    np.testing.assert_allclose(before + after, 0.0, atol=1e-9)


@pytest.mark.parametrize(("multiplicity", "occupation"), [(1, None), (3, None), (3, EXCITED)])
def test_the_last_rung_ends_at_the_state_of_the_first_and_serves_everything_after(
    monkeypatch, multiplicity, occupation
):
    state, run = State("x", multiplicity, occupation), electronic.Ladder.run
    expected = electronic.solve(H2CO, LEVEL, state)

    def short(ladder, method, rung, reason, density, max_cycles):
        run(ladder, method, rung, reason, density, max_cycles if rung == "second order" else 2)

    log, kernel = io.StringIO(), newton_ah.kernel

    def logged(method, *arguments, **options):
        method.stdout = log
        return kernel(method, *arguments, **options | {"verbose": 4})

    monkeypatch.setattr(newton_ah, "kernel", logged)
    monkeypatch.setattr(electronic.Ladder, "run", short)
    monkeypatch.setattr(electronic, "ROUNDS", 0)
    found = electronic.solve(H2CO, LEVEL, state)
    assert [rung["rung"] for rung in found.trace] == ["DIIS", "level shift, damping", "DIIS", "second order"]
    assert [rung["converged"] for rung in found.trace] == [False, False, False, True]
    assert log.getvalue().count("macro= ") == found.trace[-1]["cycles"] > 0
    assert found.energy == pytest.approx(expected.energy, abs=1e-8)
    assert found.occupation == expected.occupation
    np.testing.assert_allclose(electronic.gradient(found), electronic.gradient(expected), atol=2e-6)
    tested = [orbital_rotations.lowest_rotations(solution.mean_field, "C2", 0) for solution in (found, expected)]
    lowest = [min(row.eigenvalue for row in rows if not row.breaks_spin) for rows in tested]
    assert lowest[0] == pytest.approx(lowest[1], abs=1e-5)
    assert (lowest[0] < 0) == (occupation == EXCITED)


def test_the_lowest_triplet_of_formaldehyde_is_3a(triplet):
    # n -> pi*, 3A2 in C2v (Herzberg, Electronic Spectra of Polyatomic Molecules), which is 3A in C2
    terms = {row["term"]: row["energy_hartree"] for row in triplet[1]}
    assert min(terms, key=terms.get) == "3A"
    assert sorted(row["term"] for row in triplet[1]) == ["3A", "3B", "3B"]


def test_the_first_density_of_a_quintet_is_nearly_pure():
    """In STO-3G an electron of iron goes to a ligand: <S2> 6.47."""
    half = np.array([[0, 0, 2.0], [0, 1.1, 2.6], [0, 2.0, 2.0], [0, 1.1, 3.7], [0, -0.9, 2.4]])
    places = np.vstack([np.zeros((1, 3)), half, half * [1, -1, -1]]) * ANGSTROM_TO_BOHR
    molecule = Molecule(("Fe", *("N", "C", "H", "H", "H") * 2), places, 2, "C1")
    mol = mean_field.build_mol(molecule, LEVEL, 5, 2000)
    overlap = mol.intor("int1e_ovlp")
    alpha, beta = (density @ overlap for density in electronic.Ladder(mol, LEVEL, CPU).small_basis_density())
    assert 6 + np.trace(beta) - np.trace(alpha @ beta) == pytest.approx(6, abs=0.1)


def test_the_integrals_are_made_once_for_all_grids():
    ladder = electronic.Ladder(mean_field.build_mol(H2CO, LEVEL, 3), LEVEL, CPU)
    coarse, own = ladder.method(0), ladder.method()
    assert (coarse.grids.level, own.grids.level) == (0, LEVEL.grid_level)
    coarse.run()
    tensor = coarse.with_df.adapted()
    assert tensor is not None
    assert own.with_df.adapted() is tensor
    assert own.run().e_tot == pytest.approx(mean_field.kohn_sham(ladder.mol, LEVEL).run().e_tot, abs=1e-9)


def test_a_rung_that_takes_long_is_told_of_as_it_ends(monkeypatch, capsys):
    electronic.solve(H2CO, LEVEL, State("LS", 1))
    assert "DIIS" not in capsys.readouterr().out
    monkeypatch.setattr(electronic, "SILENCE", 0.0)
    found = electronic.solve(H2CO, LEVEL, State("LS", 1))
    told = capsys.readouterr().out
    assert "    DIIS: 8 cycles  E -114.28" in told
    assert "not converged" in told.splitlines()[0]
    assert len(told.splitlines()) == len(found.trace)
