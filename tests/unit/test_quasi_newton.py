"""Direct minimisation: slopes and turns against energies, its step against PySCF's orbital Hessian, its ends."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from pyscf.scf import hf
from pyscf.soscf.newton_ah import gen_g_hop_rhf, gen_g_hop_uhf
from scipy.linalg import expm

from sample_h2co import EXCITED, H2CO, HYDROGEN, LEVEL
from spincross import electronic, irreps, mean_field, orbital_rotations, quasi_newton
from spincross.device import CPU
from spincross.errors import NotConverged
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


@pytest.mark.parametrize(("multiplicity", "group"), [(3, "C1"), (3, "C2"), (1, "C1")])
def test_the_first_step_after_exploring_is_newtons(monkeypatch, multiplicity, group):
    """By PySCF's orbital Hessian: as near as asked, down to the single precision of the products."""
    method, _, fock = unconverged(H2CO.at(H2CO.positions, group), multiplicity)
    frame = Frame.of(method)
    frame.give(method)
    slope, gaps = frame.slope_and_gaps(fock)
    stock = gen_g_hop_uhf if multiplicity == 3 else gen_g_hop_rhf
    gradient, hop, _ = stock(method, method.mo_coeff, method.mo_occ, with_symmetry=False)
    scale = 1.0 if multiplicity == 3 else 2.0  # PySCF's slope and product of a closed shell are twice ours
    np.testing.assert_allclose(gradient, scale * slope, atol=1e-10)
    left = []
    for precision in (5e-2, 1e-2, 1e-3):
        monkeypatch.setattr(quasi_newton, "PRECISION", precision)
        curvature, products = quasi_newton.explored(method, fock, LEVEL.grid_level)
        step = curvature.step(slope, gaps, 10.0)
        left.append(np.linalg.norm(hop(step) / scale + slope) / np.linalg.norm(slope))
        assert left[-1] < precision
        assert products == len(curvature.pairs)
    bare = Curvature(frame).step(slope, gaps, 10.0)
    assert np.linalg.norm(hop(bare) / scale + slope) / np.linalg.norm(slope) > 0.2
    assert left[2] < 0.1 * left[0]


def test_a_step_is_shortened_and_uphill_pairs_are_not_learned(begun):
    _, frame, fock = begun
    slope, gaps = frame.slope_and_gaps(fock)
    curvature = Curvature(frame)
    assert np.linalg.norm(curvature.step(slope, gaps, 1e-3)) == pytest.approx(1e-3)
    assert curvature.learned(slope, -slope) is curvature
    assert curvature.learned(slope, 1e-6 * slope) is curvature
    known = curvature.learned(slope, 2 * slope)
    np.testing.assert_allclose(known.step(slope, gaps, 10.0), -0.5 * slope, atol=1e-12)  # the secant equation
    for _ in range(quasi_newton.PAIRS):
        known = known.learned(slope, slope)
    known = known.learned(slope, 4 * slope)
    assert len(known.pairs) == quasi_newton.PAIRS
    np.testing.assert_allclose(known.step(slope, gaps, 10.0), -0.25 * slope, atol=1e-12)  # the oldest were left out


def test_the_step_does_not_depend_on_the_orbitals_that_span_the_spaces(begun):
    method, frame, fock = begun
    frame = replace(frame, irreps=tuple(np.zeros_like(k) for k in frame.irreps))  # as without a group
    rng, overlap = np.random.default_rng(1), method.get_ovlp()
    slope, _ = frame.slope_and_gaps(fock)
    curvature = Curvature(frame)
    for _ in range(3):
        turn = rng.normal(size=len(slope))
        curvature = curvature.learned(turn, turn + 0.1 * rng.normal(size=len(slope)))
    other = curvature.over(mixed_within(frame, rng), overlap)
    gaps = np.ones_like(slope)
    steps = [c.step(c.frame.slope_and_gaps(fock)[0], gaps, 10.0) for c in (curvature, other)]
    first, second = (over_functions(c.frame, step) for c, step in zip((curvature, other), steps, strict=True))
    np.testing.assert_allclose(first, second, atol=1e-10)


@pytest.mark.parametrize("multiplicity", [1, 3])
def test_what_is_learned_is_returned_over_the_canonical_orbitals(multiplicity):
    """From converged orbitals mixed among themselves, so that the only change is back to the canonical ones."""
    method = electronic.solve(H2CO.at(H2CO.positions, "C1"), TIGHT, State("x", multiplicity)).mean_field
    rng, canonical = np.random.default_rng(2), Frame.of(method)
    mixed = mixed_within(canonical, rng)
    turn = rng.normal(size=sum(part.size for part in mixed.parts(mixed.kept)))
    found, _ = quasi_newton.minimise(method, Curvature(mixed, ((turn, turn),)), 20)
    np.testing.assert_allclose(found.frame.slope_and_gaps(method.get_fock())[0], 0, atol=1e-6)
    for before, after in zip(over_functions(mixed, turn), over_functions(found.frame, found.pairs[0][0]), strict=True):
        np.testing.assert_allclose(after, before, atol=1e-4)
    off_diagonal = [
        m[:n, :n] - np.diag(m.diagonal()[:n])
        for m, n in zip(found.frame.matrices(method.get_fock()), found.frame.filled, strict=True)
    ]
    assert max(np.abs(m).max() for m in off_diagonal) < 1e-8


def mixed_within(frame, rng):
    """Return other orbitals of the same occupied and virtual spaces."""
    mixed = tuple(
        np.hstack([part @ np.linalg.qr(rng.normal(size=(part.shape[1],) * 2))[0] for part in (c[:, :n], c[:, n:])])
        for c, n in zip(frame.orbitals, frame.filled, strict=True)
    )
    return replace(frame, orbitals=mixed)


def over_functions(frame, flat):
    """Return a flat turn over the basis functions, (nao, nao) of each spin."""
    return [v @ p @ o.T for v, p, o in zip(frame.virtual, frame.parts(flat), frame.occupied, strict=True)]


def by_diis(monkeypatch, molecule, state):
    """Return the solution of DIIS alone."""
    with monkeypatch.context() as patch:
        patch.setattr(electronic.Ladder, "can_minimise", lambda ladder, method: False)
        found = electronic.solve(molecule, TIGHT, state)
    assert [rung["rung"] for rung in found.trace] == ["DIIS"]
    return found


@pytest.mark.parametrize("threshold", [1e-6, 2e-2])
@pytest.mark.parametrize(("multiplicity", "group"), [(1, "C2"), (3, "C2"), (3, "C1"), (1, "C1")])
def test_it_ends_where_diis_does(monkeypatch, multiplicity, group, threshold):
    """Also with nearly dependent basis functions, which PySCF leaves out."""
    monkeypatch.setattr(hf, "overlap_zero_eigenvalue_threshold", threshold)
    molecule, state = H2CO.at(H2CO.positions, group), State("x", multiplicity)
    expected = by_diis(monkeypatch, molecule, state)
    monkeypatch.setattr(electronic, "DIIS_CYCLES", 4)
    monkeypatch.setattr(electronic, "NEAR", 10.0)
    found = electronic.solve(molecule, TIGHT, state)
    assert [rung["rung"] for rung in found.trace] == ["DIIS", "direct minimisation"]
    method = found.mean_field
    assert np.linalg.norm(method.get_grad(method.mo_coeff, method.mo_occ)) < TIGHT.scf_gradient_tolerance
    assert method.energy_tot(method.make_rdm1()) == pytest.approx(found.energy, abs=1e-11)
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
    assert warm.energy == pytest.approx(by_diis(monkeypatch, moved, state).energy, abs=1e-9)


def test_dependent_functions_are_left_out_at_each_geometry_anew(monkeypatch):
    """The neighbour's orbitals lack another function: in their space the energy converges off by 1e-5 Eh or more."""
    monkeypatch.setattr(hf, "overlap_zero_eigenvalue_threshold", 2e-2)
    monkeypatch.setattr(electronic, "DIIS_CYCLES", 4)
    monkeypatch.setattr(electronic, "NEAR", 10.0)
    molecule, state = H2CO.at(H2CO.positions, "C1"), State("LS", 1)
    first = electronic.solve(molecule, TIGHT, state)
    moved = molecule.at(molecule.positions * 1.002)
    found = electronic.solve(moved, TIGHT, state, first.orbitals, curvature=first.curvature)
    assert found.trace[0]["rung"] == "DIIS"
    assert found.energy == pytest.approx(by_diis(monkeypatch, moved, state).energy, abs=1e-9)
    overlap, whole = first.mean_field.get_ovlp(), first.mean_field.mol.nao
    full = replace(first.curvature.frame, orbitals=(np.eye(whole),))
    assert not first.curvature.frame.spans_all(overlap) and not full.spans_all(overlap)
    monkeypatch.setattr(hf, "overlap_zero_eigenvalue_threshold", 1e-6)
    assert full.spans_all(overlap) and not first.curvature.frame.spans_all(overlap)


@pytest.mark.parametrize(("near", "next_rung"), [(10.0, "direct minimisation"), (1e-12, "DIIS")])
def test_a_neighbours_curvature_that_does_not_suffice_is_replaced_where_it_led_to(monkeypatch, near, next_rung):
    """By exact products; far from the solution DIIS begins again."""
    molecule, state = H2CO.at(H2CO.positions, "C1"), State("HS", 3)
    monkeypatch.setattr(electronic, "DIIS_CYCLES", 4)
    monkeypatch.setattr(electronic, "NEAR", 10.0)
    first = electronic.solve(molecule, TIGHT, state)
    monkeypatch.setattr(electronic, "WARM_CYCLES", 2)
    monkeypatch.setattr(electronic, "NEAR", near)
    moved = molecule.at(molecule.positions * 1.01)
    found = electronic.solve(moved, TIGHT, state, first.orbitals, curvature=first.curvature)
    assert [rung["rung"] for rung in found.trace[:2]] == ["direct minimisation", next_rung]
    assert ("newton_products" in found.trace[1]) == (near == 10.0)
    assert found.energy == pytest.approx(by_diis(monkeypatch, moved, state).energy, abs=1e-9)


@pytest.fixture(scope="module")
def saddle():
    """An unstable state of formaldehyde, turned by 0.1 rad along the rotation that leads down, and that eigenvalue."""
    method = mean_field.without_group(electronic.solve(H2CO, LEVEL, State("HS", 3, EXCITED)).mean_field)
    lowest = min(orbital_rotations.lowest_rotations(method, "C1", LEVEL.grid_level), key=lambda r: r.eigenvalue)
    frame = Frame.of(method)
    flat = np.concatenate([mode.reshape(-1) for mode in lowest.mode])
    moved = method.copy().set(conv_tol_grad=LEVEL.scf_gradient_tolerance)
    frame.turned(0.1 * flat).give(moved)
    return moved, lowest.eigenvalue


def test_near_a_saddle_it_leads_down(saddle):
    """Newton's step leads back up to it."""
    method, eigenvalue = saddle
    assert eigenvalue < -0.01
    fock, before = np.asarray(method.get_fock(dm=method.make_rdm1())), method.energy_tot(method.make_rdm1())
    curvature, _ = quasi_newton.explored(method, fock, LEVEL.grid_level)
    method = method.copy()
    quasi_newton.minimise(method, curvature, 3)
    assert method.e_tot < before - 1e-4


def test_exploring_ends_where_the_energy_bends_down(saddle, monkeypatch):
    method, _ = saddle
    fock = np.asarray(method.get_fock(dm=method.make_rdm1()))
    bends, plain = [], quasi_newton._product

    def product(*given):
        change = plain(*given)
        bends.append(given[3] @ change)
        return change

    monkeypatch.setattr(quasi_newton, "_product", product)
    curvature, products = quasi_newton.explored(method, fock, LEVEL.grid_level)
    assert bends[-1] < 0 < min(bends[:-1], default=1.0)
    assert len(curvature.pairs) == products - 1 == len(bends) - 1


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
    assert copy.e_tot < before - 1e-6


def test_a_step_is_halved_until_the_energy_falls_and_the_next_may_be_long_again(monkeypatch):
    """One angle, slope -0.1 Eh everywhere and a jump at 0.1 rad, of which no pair learns."""
    angles = []

    def point(method, frame, core, overlap):
        angle = float(np.arctan2(frame.orbitals[0][1, 0], frame.orbitals[0][0, 0]))
        angles.append(angle)
        energy = -0.1 * angle + (1.0 if 0.1 < angle < 0.55 else 0.0)
        return quasi_newton._Point(frame, np.eye(2), energy, np.array([-0.1]), np.array([0.05]))

    monkeypatch.setattr(quasi_newton, "_point", point)
    method = SimpleNamespace(
        get_ovlp=lambda: np.eye(2), get_hcore=lambda: np.zeros((2, 2)), conv_tol=0, conv_tol_grad=0
    )
    method.mol = SimpleNamespace(symmetry=False)
    frame = Frame((np.eye(2),), (1,), (np.zeros(2, dtype=int),))
    quasi_newton.minimise(method, Curvature(frame), 5)
    np.testing.assert_allclose(angles, [0, 0.5, 0.25, 0.125, 0.0625, 0.5625], atol=1e-12)


@pytest.mark.parametrize(("multiplicity", "scale"), [(1, 2.0), (3, 1.0)])
def test_converged_means_by_pyscfs_slope_which_of_a_closed_shell_is_twice_the_slope_here(
    monkeypatch, multiplicity, scale
):
    method, frame, fock = unconverged(H2CO, multiplicity)
    slope = float(np.linalg.norm(frame.slope_and_gaps(fock)[0]))
    monkeypatch.setattr(Curvature, "step", lambda self, slope, gaps, longest: np.zeros_like(slope))
    ends = []
    for share in (0.9, 1.1):
        method.set(conv_tol=1.0, conv_tol_grad=scale * slope / share)
        quasi_newton.minimise(method, Curvature(frame), 1)
        ends.append(method.converged)
    assert ends == [True, False]
    assert np.linalg.norm(method.get_grad(method.mo_coeff, method.mo_occ)) == pytest.approx(scale * slope, rel=1e-6)


def antibonding():
    """Return the ground state of hydrogen, and a frame with both electrons in the antibonding orbital.

    Its slope is zero by symmetry.
    """
    ground = electronic.solve(HYDROGEN, LEVEL, State("LS", 1))
    orbitals = np.array(ground.mean_field.mo_coeff)
    order = [1, 0, *range(2, orbitals.shape[1])]
    return ground, Frame((orbitals[:, order],), (1,), (np.zeros(len(order), dtype=int),))


def test_orbitals_that_are_not_the_lowest_do_not_count():
    ground, frame = antibonding()
    method = ground.mean_field.copy()
    assert quasi_newton.minimise(method, Curvature(frame), 5)[0] is None
    assert not method.converged
    assert method.e_tot > ground.energy + 0.1
    found = electronic.solve(HYDROGEN, LEVEL, State("LS", 1), ground.orbitals, curvature=Curvature(frame))
    assert [rung["rung"] for rung in found.trace] == ["direct minimisation", "DIIS"]
    assert "not the lowest" in found.trace[0]["reason"]
    assert "orbitals of a neighbour" in found.trace[1]["reason"]
    assert found.energy == pytest.approx(ground.energy, abs=1e-8)
    assert found.curvature is None


def test_orbitals_that_are_not_the_lowest_are_not_minimised_again(monkeypatch):
    monkeypatch.setattr(electronic, "NEAR", 10.0)
    _, frame = antibonding()
    method = mean_field.kohn_sham(mean_field.build_mol(HYDROGEN, LEVEL, 1), LEVEL)
    frame.give(method)
    ladder = electronic.Ladder(method.mol, LEVEL, CPU)
    method.converged = False
    ladder.fock = np.asarray(method.get_fock(dm=method.make_rdm1()))
    assert ladder.explore_and_minimise(method, 10) is None
    assert len(ladder.trace) == 1


def test_held_electrons_stay_in_their_irreps(monkeypatch):
    """An excited triplet with negative gaps between irreps, into which round-off would grow by ten a cycle."""
    occupation = ((4, 4), (5, 3))
    monkeypatch.setattr(electronic, "DIIS_CYCLES", 6)
    monkeypatch.setattr(electronic, "NEAR", 10.0)
    found = electronic.solve(H2CO, LEVEL, State("HS", 3, occupation))
    assert [rung["rung"] for rung in found.trace] == ["DIIS", "direct minimisation"]
    assert found.occupation == occupation
    functions = irreps.adapted(found.mean_field.mol, "C2")
    assert max(functions.asymmetry(o) for o in found.orbitals) < 1e-9
    frame = found.curvature.frame
    assert 0 < frame.kept.mean() < 1
    assert not any(pair[k][frame.kept == 0].any() for pair in found.curvature.pairs for k in (0, 1))


def test_what_was_learned_of_an_scf_that_failed_is_not_handed_on(monkeypatch):
    monkeypatch.setattr(electronic, "DIIS_CYCLES", 3)
    monkeypatch.setattr(electronic, "NEAR", 10.0)
    monkeypatch.setattr(electronic, "ROUND_CYCLES", 1)
    found = electronic.solve(H2CO, LEVEL, State("LS", 1))
    rungs = [rung["rung"] for rung in found.trace]
    assert rungs == ["DIIS", *["direct minimisation"] * electronic.ROUNDS, "level shift, damping", "DIIS"]
    assert found.curvature is None


def test_every_rung_keeps_to_the_cycles_it_is_given_and_products_to_their_grid(monkeypatch):
    monkeypatch.setattr(electronic, "DIIS_CYCLES", 4)
    monkeypatch.setattr(electronic, "NEAR", 10.0)
    grids, plain = [], quasi_newton.explored
    monkeypatch.setattr(quasi_newton, "explored", lambda *given: (grids.append(given[2]), plain(*given))[1])
    state = State("LS", 1)
    known = electronic.solve(H2CO, LEVEL, state)
    assert LEVEL.grid_level > electronic.PRODUCT_GRID
    assert set(grids) == {electronic.PRODUCT_GRID}
    moved, impossible = H2CO.at(H2CO.positions * 1.01), LEVEL.tightened(1e-30, 1e-30)
    with pytest.raises(NotConverged) as error:
        electronic.solve(moved, impossible, state, known.orbitals, max_cycles=1, curvature=known.curvature)
    rungs = [(rung["rung"], rung["cycles"]) for rung in error.value.rungs]
    assert rungs[:5] == [*[("direct minimisation", 1)] * 4, ("DIIS", 1)]
    assert {cycles for _, cycles in rungs} == {1}


def test_far_from_the_solution_nothing_is_minimised(monkeypatch):
    monkeypatch.setattr(electronic, "DIIS_CYCLES", 3)
    monkeypatch.setattr(electronic, "NEAR", 1e-12)
    rungs = [rung["rung"] for rung in electronic.solve(H2CO, LEVEL, State("LS", 1)).trace]
    assert rungs == ["DIIS", "level shift, damping", "DIIS"]
