"""Direct minimisation: slopes and turns against energies, its step against PySCF's orbital Hessian, its ends."""

from dataclasses import replace

import numpy as np
import pytest
from pyscf.scf import hf
from pyscf.soscf.newton_ah import gen_g_hop_uhf
from scipy.linalg import expm

from sample_h2co import EXCITED, H2CO, HYDROGEN, LEVEL
from spincross import electronic, mean_field, orbital_rotations, quasi_newton
from spincross.levels import State
from spincross.quasi_newton import Curvature, Frame

TIGHT = LEVEL.tightened(1e-11, 1e-7)


def unconverged(molecule, multiplicity):
    """Return a Kohn-Sham object after a few cycles, its Frame and Fock matrix."""
    method = mean_field.kohn_sham(mean_field.build_mol(molecule, LEVEL, multiplicity), LEVEL).set(max_cycle=4)
    method.kernel()
    return method, Frame.of(method), np.asarray(method.get_fock(dm=method.make_rdm1()))


@pytest.fixture(scope="module", params=[(H2CO, 1), (H2CO, 3), (H2CO.at(H2CO.positions, "C1"), 3)], ids=str)
def begun(request):
    return unconverged(*request.param)


def energy(method, frame):
    return method.energy_tot(mean_field.tagged_density(frame.occupied, method.get_ovlp()))


def test_orbitals_given_to_a_method_are_its_own(begun):
    method, frame, _ = begun
    copy = method.copy()
    frame.give(copy)
    np.testing.assert_allclose(copy.make_rdm1(), method.make_rdm1(), atol=1e-12)
    assert Frame.of(copy).filled == frame.filled


def test_a_turn_is_the_exponential_of_its_matrix(begun):
    method, frame, _ = begun
    flat = 0.4 * np.random.default_rng(0).normal(
        size=sum(p.size for p in frame.parts(frame.slope_and_gaps(begun[2])[0]))
    )
    turned = frame.turned(flat)
    for before, after, part, n in zip(frame.orbitals, turned.orbitals, frame.parts(flat), frame.filled, strict=True):
        kappa = np.zeros((before.shape[1],) * 2)
        kappa[n:, :n], kappa[:n, n:] = part, -part.T
        np.testing.assert_allclose(after, before @ expm(kappa), atol=1e-10)
        np.testing.assert_allclose(after.T @ method.get_ovlp() @ after, np.eye(after.shape[1]), atol=1e-10)


def test_the_slope_is_that_of_the_energy(begun):
    method, frame, fock = begun
    slope, gaps = frame.slope_and_gaps(fock)
    turn = -slope / np.maximum(gaps, 0.05)
    turn *= 1e-3 / np.linalg.norm(turn)
    each = 4.0 if len(frame.filled) == 1 else 2.0
    ends = [energy(method, frame.turned(sign * turn)) for sign in (1, -1)]
    assert (ends[0] - ends[1]) / 2 == pytest.approx(each * slope @ turn, rel=1e-3)


def test_the_first_step_after_exploring_is_newtons(monkeypatch):
    """By PySCF's orbital Hessian: as near as asked, down to the single precision of the products."""
    method, frame, fock = unconverged(H2CO.at(H2CO.positions, "C1"), 3)
    slope, gaps = frame.slope_and_gaps(fock)
    gradient, hop, _ = gen_g_hop_uhf(method, method.mo_coeff, method.mo_occ, with_symmetry=False)
    np.testing.assert_allclose(gradient, slope, atol=1e-12)
    left = []
    for precision in (5e-2, 1e-2, 1e-3):
        monkeypatch.setattr(quasi_newton, "PRECISION", precision)
        curvature = quasi_newton.explored(method, fock, LEVEL.grid_level)
        step = curvature.step(slope, gaps, 10.0)
        left.append(np.linalg.norm(hop(step) + slope) / np.linalg.norm(slope))
        assert left[-1] < precision
    bare = Curvature(frame).step(slope, gaps, 10.0)
    assert np.linalg.norm(hop(bare) + slope) / np.linalg.norm(slope) > 0.2
    assert left[2] < 0.1 * left[0]


def test_a_step_is_shortened_and_uphill_pairs_are_not_learned(begun):
    _, frame, fock = begun
    slope, gaps = frame.slope_and_gaps(fock)
    curvature = Curvature(frame)
    assert np.linalg.norm(curvature.step(slope, gaps, 1e-3)) == pytest.approx(1e-3)
    assert curvature.learned(slope, -slope) is curvature
    known = curvature.learned(slope, 2 * slope)
    np.testing.assert_allclose(known.step(slope, gaps, 10.0), -0.5 * slope, atol=1e-12)  # the secant equation
    for _ in range(quasi_newton.PAIRS):
        known = known.learned(slope, slope)
    assert len(known.pairs) == quasi_newton.PAIRS
    np.testing.assert_allclose(known.step(slope, gaps, 10.0), -slope, atol=1e-12)


def test_the_step_does_not_depend_on_the_orbitals_that_span_the_spaces(begun):
    method, frame, fock = begun
    rng, overlap = np.random.default_rng(1), method.get_ovlp()
    slope, _ = frame.slope_and_gaps(fock)
    curvature = Curvature(frame)
    for _ in range(3):
        turn = rng.normal(size=len(slope))
        curvature = curvature.learned(turn, turn + 0.1 * rng.normal(size=len(slope)))
    mixed = tuple(
        np.hstack([part @ np.linalg.qr(rng.normal(size=(part.shape[1],) * 2))[0] for part in (c[:, :n], c[:, n:])])
        for c, n in zip(frame.orbitals, frame.filled, strict=True)
    )
    other = curvature.over(replace(frame, orbitals=mixed), overlap)
    gaps = np.ones_like(slope)
    steps = [c.step(c.frame.slope_and_gaps(fock)[0], gaps, 10.0) for c in (curvature, other)]
    first, second = (
        [v @ p @ o.T for v, p, o in zip(c.frame.virtual, c.frame.parts(step), c.frame.occupied, strict=True)]
        for c, step in zip((curvature, other), steps, strict=True)
    )
    np.testing.assert_allclose(first, second, atol=1e-10)


@pytest.mark.parametrize("threshold", [1e-6, 2e-2])
@pytest.mark.parametrize(("multiplicity", "group"), [(1, "C2"), (3, "C2"), (3, "C1"), (1, "C1")])
def test_it_ends_where_diis_does(monkeypatch, multiplicity, group, threshold):
    """Also with nearly dependent basis functions, which PySCF leaves out."""
    monkeypatch.setattr(hf, "overlap_zero_eigenvalue_threshold", threshold)
    molecule, state = H2CO.at(H2CO.positions, group), State("x", multiplicity)
    expected = electronic.solve(molecule, TIGHT, state)
    monkeypatch.setattr(electronic, "DIIS_CYCLES", 4)
    monkeypatch.setattr(electronic, "NEAR", 10.0)
    found = electronic.solve(molecule, TIGHT, state)
    assert [rung["rung"] for rung in found.trace] == ["DIIS", "direct minimisation"]
    assert found.energy == pytest.approx(expected.energy, abs=1e-9)
    assert found.occupation == expected.occupation
    for one, other in zip(found.mean_field.mo_energy, expected.mean_field.mo_energy, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    np.testing.assert_allclose(electronic.gradient(found), electronic.gradient(expected), atol=1e-6)
    assert found.curvature is not None
    dependent = [c.shape[1] < c.shape[0] for c in found.curvature.frame.orbitals]
    assert dependent == [threshold > 1e-3] * len(dependent)
    assert (
        found.curvature.frame.filled == tuple(o.shape[1] for o in found.orbitals)[: len(found.curvature.frame.filled)]
    )


@pytest.mark.parametrize(("multiplicity", "group"), [(1, "C2"), (3, "C2"), (3, "C1")])
def test_a_neighbour_starts_from_its_curvature(monkeypatch, multiplicity, group):
    molecule, state = H2CO.at(H2CO.positions, group), State("x", multiplicity)
    monkeypatch.setattr(electronic, "DIIS_CYCLES", 4)
    monkeypatch.setattr(electronic, "NEAR", 10.0)
    first = electronic.solve(molecule, TIGHT, state)
    moved = molecule.at(molecule.positions * 1.002)
    warm = electronic.solve(moved, TIGHT, state, first.orbitals, curvature=first.curvature)
    bare = replace(first.curvature, pairs=())
    without = electronic.solve(moved, TIGHT, state, first.orbitals, curvature=bare)
    assert [rung["rung"] for rung in warm.trace] == ["direct minimisation"]
    assert "curvature of a neighbour" in warm.trace[0]["reason"]
    assert warm.cycles < without.cycles
    assert warm.energy == pytest.approx(electronic.solve(moved, TIGHT, state).energy, abs=1e-9)


@pytest.fixture(scope="module")
def saddle():
    """An unstable state of formaldehyde, turned by 0.1 rad along the rotation that leads down, and that eigenvalue."""
    method = electronic.solve(H2CO, LEVEL, State("HS", 3, EXCITED)).mean_field
    lowest = min(orbital_rotations.lowest_rotations(method, "C2", LEVEL.grid_level), key=lambda r: r.eigenvalue)
    frame = Frame.of(method)
    flat = np.concatenate([mode.reshape(-1) for mode in lowest.mode])
    moved = method.copy()
    frame.turned(0.1 * flat).give(moved)
    return moved, lowest.eigenvalue


def test_near_a_saddle_it_leads_down(saddle):
    """Newton's step leads back up to it."""
    method, eigenvalue = saddle
    assert eigenvalue < -0.01
    fock, before = np.asarray(method.get_fock(dm=method.make_rdm1())), method.energy_tot(method.make_rdm1())
    curvature = quasi_newton.explored(method, fock, LEVEL.grid_level)
    quasi_newton.minimise(method, curvature, 3)
    assert method.e_tot < before - 1e-4


def test_a_step_uphill_is_taken_back(begun):
    """Pairs that promise far too little curvature lead beyond the minimum; the energy falls all the same."""
    method, frame, fock = begun
    slope, _ = frame.slope_and_gaps(fock)
    before = energy(method, frame)
    copy = method.copy()
    curvature, _ = quasi_newton.minimise(copy, Curvature(frame, ((slope, 1e-3 * slope),)), 1)
    assert copy.e_tot == pytest.approx(before, abs=1e-10)
    assert len(curvature.pairs) == 2
    quasi_newton.minimise(copy, curvature, 20)
    assert copy.e_tot < before


def test_orbitals_that_are_not_the_lowest_do_not_count():
    """Two electrons in the antibonding orbital of hydrogen: its slope is zero by symmetry."""
    ground = electronic.solve(HYDROGEN, LEVEL, State("LS", 1))
    orbitals = np.array(ground.mean_field.mo_coeff)
    frame = Frame((orbitals[:, [1, 0, *range(2, orbitals.shape[1])]],), (1,))
    method = ground.mean_field.copy()
    quasi_newton.minimise(method, Curvature(frame), 5)
    assert not method.converged
    assert method.e_tot > ground.energy + 0.1
    found = electronic.solve(HYDROGEN, LEVEL, State("LS", 1), ground.orbitals, curvature=Curvature(frame))
    assert [rung["rung"] for rung in found.trace] == ["direct minimisation", "DIIS"]
    assert found.energy == pytest.approx(ground.energy, abs=1e-8)
