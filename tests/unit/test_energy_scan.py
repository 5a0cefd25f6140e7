"""Points of a scan: started from their neighbours, on the lowest surface, kept."""

from dataclasses import replace

import numpy as np
import pytest

from sample_h2co import EXCITED, H2CO
from spincross import descent, electronic, files, gates, images, pointgroup, symmetry_mode
from spincross.displacements import Surface
from spincross.energy_scan import Walk
from spincross.errors import NotConverged, SymmetryLost, WrongState
from spincross.orbital_rotations import Rotation

Q = 0.2


@pytest.fixture(scope="module")
def ground(small_settings):
    return electronic.solve(H2CO, small_settings.level, small_settings.state("h2co", "HS"))


@pytest.fixture(scope="module")
def mode():
    """Break C2: a unit motion of irrep B."""
    basis = pointgroup.irrep_basis(H2CO.numbers, H2CO.positions, "C2")["B"]
    return basis[:, 0] + basis[:, -1]


def walk(settings, guess, work, lines):
    surface = Surface(settings.level, settings.state("h2co", "HS"), guess)
    return Walk(H2CO, surface, settings.config["gates"], work, lines.append)


def test_mirrored_orbitals_are_those_of_the_mirrored_geometry(small_settings, ground, mode):
    """The density of +Q, mirrored, is that of -Q solved by itself."""
    level, state = small_settings.level, small_settings.state("h2co", "HS")
    there, back = (
        electronic.solve(symmetry_mode.displaced(H2CO, mode, q), level, state, ground.orbitals) for q in (Q, -Q)
    )
    mapped = images.images(ground.mean_field.mol, "C2")
    for one, other in zip(there.orbitals, back.orbitals, strict=True):
        mirrored = mapped.orbitals(one)
        assert np.abs(one @ one.T - other @ other.T).max() > 1e-2
        assert np.abs(mirrored @ mirrored.T - other @ other.T).max() < 1e-4
        assert np.allclose(mapped.orbitals(mirrored), one)


def test_a_point_costs_less_from_its_neighbour_and_hardly_anything_from_its_image(
    small_settings, ground, mode, tmp_path
):
    lines = []
    found = walk(small_settings, ground.orbitals, tmp_path, lines)
    names = ("plus_0", Q), ("plus_1", Q * 1.1), ("minus_1", -Q * 1.1)
    energies = [found.energy(symmetry_mode.displaced(H2CO, mode, q), name) for name, q in names]
    first, second, image = (int(files.read_arrays(tmp_path / name / "energy.npz")["cycles"]) for name, _ in names)
    assert image <= 3 < second < first
    assert energies[2] == pytest.approx(energies[1], abs=1e-7)
    assert "plus_0: E" in lines[0]


def excited(settings, guess, work, lines):
    """Return a walk whose state is held in a higher one, an unstable solution."""
    found = walk(settings, guess, work, lines)
    return replace(found, surface=replace(found.surface, state=replace(found.surface.state, occupation=EXCITED)))


def test_a_point_that_falls_into_a_higher_state_is_followed_down(small_settings, ground, tmp_path):
    lines = []
    energy = excited(small_settings, ground.orbitals, tmp_path, lines).energy(H2CO, "centre")
    assert energy == pytest.approx(ground.energy, abs=1e-7)
    assert "unstable (eigenvalue -0." in lines[0]
    assert files.read_arrays(tmp_path / "centre/energy.npz")["stability"] > 0


def test_a_point_that_stays_in_a_higher_state_is_an_error_with_its_numbers(
    small_settings, ground, tmp_path, monkeypatch
):
    higher = excited(small_settings, ground.orbitals, tmp_path, [])
    held = electronic.solve(H2CO, small_settings.level, higher.surface.state)
    assert held.energy > ground.energy + 0.1
    monkeypatch.setattr(descent, "follow", lambda *arguments: held)
    said = r"centre, .* at -1\d\d\.\d+ Eh is unstable \(orbital Hessian eigenvalue -0\.\d+ Eh\)"
    for _ in range(2):  # computed, then found
        with pytest.raises(WrongState, match=said):
            higher.energy(H2CO, "centre")
    doubted = replace(higher, limits=higher.limits | {"on_failure": "warning"}, doubts=[])
    assert doubted.energy(H2CO, "centre") == held.energy
    assert [text.startswith("gate failed: centre, a point along the imaginary mode") for text in doubted.doubts] == [
        True
    ]
    assert higher.doubts == []


@pytest.mark.parametrize("failure", [NotConverged, SymmetryLost, WrongState])
def test_a_point_from_which_no_lower_state_is_reached_is_judged_as_it_is(
    small_settings, ground, tmp_path, monkeypatch, failure
):
    lines, higher = [], excited(small_settings, ground.orbitals, tmp_path, [])

    def follow(*arguments):
        raise failure("following its mode ended not lower")

    monkeypatch.setattr(descent, "follow", follow)
    found = replace(higher, limits=higher.limits | {"on_failure": "warning"}, report=lines.append)
    assert found.energy(H2CO, "centre") > ground.energy + 0.1
    assert "  following its mode ended not lower" in lines
    assert "is unstable" in found.doubts[0]


def test_a_point_without_the_test_that_was_asked_for_is_doubted(small_settings, ground, tmp_path, monkeypatch):
    untested = gates.Stability(failure="none found")
    monkeypatch.setattr(gates, "stability", lambda *arguments: untested)
    found = walk(small_settings, ground.orbitals, tmp_path, [])
    found.energy(H2CO, "centre")
    assert "no lowest rotation of its orbitals was found" in found.doubts[0]


def test_an_open_shell_below_a_closed_one_is_no_failure_of_a_point(small_settings, ground, tmp_path, monkeypatch):
    """RKS -> UKS is reported of an optimised state only: LS stays a closed shell."""
    tested = gates.Stability((Rotation("A singlet", 0.1, []), Rotation("B triplet", -0.2, [], breaks_spin=True)))
    monkeypatch.setattr(gates, "stability", lambda *arguments: tested)
    found = walk(small_settings, ground.orbitals, tmp_path, [])
    found.energy(H2CO, "centre")
    assert found.doubts == []


def test_a_point_starts_from_the_nearest_one_before_it_that_did_not_fail(
    small_settings, ground, mode, tmp_path, monkeypatch
):
    found = walk(small_settings, ground.orbitals, tmp_path, [])
    found.energy(symmetry_mode.displaced(H2CO, mode, 0.05), "plus_0")
    assert np.array_equal(found._guess("plus_2")[0], found.orbitals("plus_0")[0])
    assert found._guess("plus_0") is ground.orbitals


def test_the_centre_is_solved_again_from_the_orbitals_of_a_displaced_point(small_settings, ground, mode, tmp_path):
    found = walk(small_settings, ground.orbitals, tmp_path, [])
    found.energy(symmetry_mode.displaced(H2CO, mode, Q), "plus_0")
    (alpha, _), (guess, _) = found.orbitals("plus_0"), found._guess("again_0")
    assert np.array_equal(alpha, guess)
    assert found.energy(H2CO.at(H2CO.positions, "C1"), "again_0") == pytest.approx(ground.energy, abs=1e-7)
