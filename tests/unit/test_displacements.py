"""Displacements: how many, in which bundles, kept and refused."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sample_molecules import H2CO, springs
from spincross import displacements, electronic, files, force_constants
from spincross.displacements import Point, Surface
from spincross.errors import BadInput, BadStructure, StaleData, WrongState
from spincross.levels import Level, State
from spincross.molecule import Molecule

ROOT = Path(__file__).resolve().parents[2]
LEVEL = Level(basis="sto-3g", grid_level=0, scf_energy_tolerance=1e-9, scf_gradient_tolerance=1e-5)


def quiet(text):
    pass


def test_without_phonopy_the_other_route_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "phonopy", None)
    with pytest.raises(BadInput, match="hessian.method: analytic"):
        displacements.plan_displacements(H2CO, 5e-3)


def test_c2_halves_the_displacements_of_a_79_atom_complex_to_238():
    rng = np.random.default_rng(0)
    half = rng.uniform(-12, 12, size=(39, 3))
    turned = half @ np.diag([-1.0, -1.0, 1.0])
    molecule = Molecule(("Fe", *["C"] * 78), np.vstack([[[0, 0, 0]], half, turned]), 0, "C2")
    assert len(displacements.plan_displacements(molecule, 5e-3)) == 238


def test_the_default_complex_needs_238_gradients_in_c2():
    symbols, positions, _ = files.read_xyz(ROOT / "structures/fe-pm-pea2-ncs2/low_spin.xyz")
    molecule = Molecule(symbols, positions, 0, "C2").symmetrised()
    assert len(displacements.plan_displacements(molecule, 5e-3)) == 238


def test_without_a_point_group_symmetric_places_are_displaced_one_by_one():
    assert len(displacements.plan_displacements(H2CO.at(H2CO.positions, "C1"), 5e-3)) == 24


def test_places_more_symmetric_than_the_group_are_refused_before_any_gradient():
    rectangle = Molecule(("H",) * 4, np.array([[1, 2, 0], [-1, -2, 0], [1, -2, 0], [-1, 2, 0.0]]), 0, "C2")
    with pytest.raises(BadStructure, match=r"span 6 of 12 directions in C2: the atoms lie more symmetric"):
        displacements.plan_displacements(rectangle, 5e-3)


def test_bundles_are_even_and_hold_every_displacement_once():
    for count in (0, 1, 10, 238):
        for size in (1, 3, 7, 300):
            found = displacements.bundles(count, size)
            assert [i for bundle in found for i in bundle] == list(range(count))
            assert all(len(bundle) <= size for bundle in found)
            assert len(found) == -(-count // size)


def test_the_smallest_bundle_keeps_start_up_below_5_percent():
    for seconds in (0.5, 30.0, 100.0, 5000.0):
        size = displacements.smallest_bundle(seconds)

        def share(n, seconds=seconds):
            return displacements.STARTUP_SECONDS / (displacements.STARTUP_SECONDS + n * seconds)

        assert share(size) <= displacements.STARTUP_SHARE
        assert size == 1 or share(size - 1) > displacements.STARTUP_SHARE


@pytest.fixture(scope="module")
def hydrogen():
    molecule = Molecule(("H", "H"), np.array([[0.0, 0, 0], [0, 0, 1.4]]))
    state = State("LS", 1)
    surface = Surface(LEVEL, state, electronic.solve(molecule, LEVEL, state).orbitals)
    return surface, displacements.plan_displacements(molecule, 5e-3)


def test_a_killed_bundle_repeats_only_what_was_not_stored(hydrogen, tmp_path):
    surface, displaced = hydrogen
    displacements.compute_points(displaced, [0], surface, tmp_path, quiet)
    lines = []
    points = displacements.compute_points(displaced, range(len(displaced)), surface, tmp_path, lines.append)
    assert ["found" in line for line in lines] == [True] + [False] * (len(displaced) - 1)
    again = displacements.compute_points(displaced, range(len(displaced)), surface, tmp_path, lines.append)
    assert all("found" in line for line in lines[len(displaced) :])
    np.testing.assert_array_equal([p.gradient for p in points], [p.gradient for p in again])


@pytest.mark.parametrize("change", ["step", "geometry", "level", "state"])
def test_a_stale_point_is_refused(hydrogen, tmp_path, change):
    surface, displaced = hydrogen
    geometry = displaced[0]
    displacements.kept_point(geometry, surface, tmp_path, "displacement_0000", quiet)
    if change == "step":
        geometry = displacements.plan_displacements(Molecule(("H", "H"), np.array([[0.0, 0, 0], [0, 0, 1.4]])), 4e-3)[0]
    elif change == "geometry":
        geometry = geometry.at(geometry.positions + 1e-6)
    elif change == "level":
        surface = replace(surface, level=replace(LEVEL, grid_level=1))
    else:
        surface = replace(surface, state=State("HS", 3))
    with pytest.raises(StaleData, match="belongs to another"):
        displacements.kept_point(geometry, surface, tmp_path, "displacement_0000", quiet)


def test_points_stored_without_their_geometry_are_refused(hydrogen, tmp_path):
    surface, displaced = hydrogen
    files.write_arrays(tmp_path / "displacement_0000/point.npz", gradient=np.zeros((2, 3)), key=np.array("old"))
    with pytest.raises(StaleData, match="belongs to another"):
        displacements.kept_point(displaced[0], surface, tmp_path, "displacement_0000", quiet)


def test_every_displaced_scf_starts_from_the_undisplaced_orbitals_with_tight_thresholds(
    hydrogen, tmp_path, monkeypatch
):
    loose, displaced = hydrogen
    surface = force_constants.Settings().surface(LEVEL, loose.state, loose.guess)
    solve, seen = electronic.solve, []

    def noted(molecule, level, state, guess, memory):
        seen.append((guess, level.scf_energy_tolerance, level.scf_gradient_tolerance))
        return solve(molecule, level, state, guess, memory)

    monkeypatch.setattr(electronic, "solve", noted)
    displacements.compute_points(displaced, range(len(displaced)), surface, tmp_path, quiet)
    assert len(seen) == len(displaced) > 1
    assert all(guess is surface.guess and (energy, slope) == (1e-10, 1e-7) for guess, energy, slope in seen)


def points_on(hessian, displaced, energy=-100.0):
    shifts = [(m.positions - H2CO.positions).reshape(-1) for m in displaced]
    return [Point((hessian @ s).reshape(-1, 3), np.zeros(3), energy + 0.5 * s @ hessian @ s, 5, 1.0) for s in shifts]


def test_a_displaced_scf_in_another_state_is_an_error():
    hessian, displaced = springs(H2CO), displacements.plan_displacements(H2CO, 5e-3)
    points, (centre,) = points_on(hessian, displaced), points_on(hessian, [H2CO])
    assert displacements.require_one_surface(H2CO, displaced, points, hessian, centre) < 1e-12
    points[3] = replace(points[3], energy=points[3].energy - 3e-4)
    with pytest.raises(WrongState, match="displacement 3 lies 3.0e-04 Eh off"):
        displacements.require_one_surface(H2CO, displaced, points, hessian, centre)


def test_a_displaced_scf_of_another_spin_is_an_error_where_the_spin_is_known():
    """Files of before it was kept have none, and are judged by their energies alone."""
    hessian, displaced = springs(H2CO), displacements.plan_displacements(H2CO, 5e-3)
    points, (centre,) = points_on(hessian, displaced), points_on(hessian, [H2CO])
    points[2] = replace(points[2], s_squared=2.30)
    displacements.require_one_surface(H2CO, displaced, points, hessian, centre)
    known = replace(centre, s_squared=2.01)
    with pytest.raises(WrongState, match=r"displacement 2 has <S\^2> 2.300, the undisplaced molecule 2.010"):
        displacements.require_one_surface(H2CO, displaced, points, hessian, known)
    points[2] = replace(points[2], s_squared=2.012)
    displacements.require_one_surface(H2CO, displaced, points, hessian, known)


def test_a_point_keeps_its_spin(tmp_path, small_settings):
    surface = Surface(small_settings.level, small_settings.state("h2co", "HS"), None)
    for _ in range(2):  # computed, then found
        found = displacements.kept_point(H2CO, surface, tmp_path, "point", quiet)
        assert found.s_squared == pytest.approx(2.0, abs=0.05)
