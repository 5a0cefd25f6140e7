"""The breaking mode: which one it is, the double well, the distortion."""

from dataclasses import replace

import numpy as np
import pytest

from spincross import conclusions, files, symmetry_mode
from spincross.errors import NotConverged, UnexpectedImaginaryMode, WrongState
from spincross.molecule import Molecule
from spincross.pointgroup import symmetrise_hessian
from spincross.units import AMU_TO_ELECTRON_MASS, ANGSTROM_TO_BOHR, HARTREE_TO_KJ_PER_MOL, HARTREE_TO_PER_CM
from spincross.vibrations import Vibrations, normal_modes

MOLECULE = Molecule(("O", "H", "H"), np.array([[0, 0, 0.0], [1.5, 0.4, 1.0], [-1.5, -0.4, 1.0]]), 0, "C2")

SOFT = -1.0
"""A wavenumber (cm-1) so small that scans begin at the largest displacement."""


def modes(wavenumbers, irreps, floor=5.0):
    return Vibrations(np.array(wavenumbers), tuple(irreps), np.eye(9)[:, : len(irreps)], 0.0, 0.0, floor)


def test_the_lowest_imaginary_mode_that_breaks_the_group_is_chosen():
    assert symmetry_mode.breaking_mode(modes([-90.0, -20.0, 50.0], "BBA"), "C2", "x") == 0


def test_a_mode_inside_the_noise_floor_breaks_nothing():
    assert symmetry_mode.breaking_mode(modes([-4.0, 20.0, 50.0], "BBA"), "C2", "x") is None


def test_a_mode_inside_the_noise_floor_that_larger_steps_show_to_be_imaginary_breaks_the_group():
    found = replace(modes([-4.0, 20.0, 50.0], "BBA"), settled_imaginary=(0,))
    assert symmetry_mode.breaking_mode(found, "C2", "x") == 0
    with pytest.raises(UnexpectedImaginaryMode, match="HS has imaginary modes"):
        symmetry_mode.require_minimum(found, "x", "HS", "C2")


def test_a_totally_symmetric_imaginary_mode_is_an_error_with_its_wavenumber():
    with pytest.raises(UnexpectedImaginaryMode, match=r"-90\.0.*leave-saddle --complex x --state HS --group C2"):
        symmetry_mode.breaking_mode(modes([-90.0, 20.0, 50.0], "ABA"), "C2", "x")


def test_a_minimum_is_required_for_an_entropy():
    symmetry_mode.require_minimum(modes([4.0, 20.0, 50.0], "BBA"), "x", "HS", "C2")
    with pytest.raises(UnexpectedImaginaryMode, match="LS itself breaks C2 and needs a point_group that it keeps"):
        symmetry_mode.require_minimum(modes([-9.0, 20.0, 50.0], "BBA"), "x", "LS", "C2")
    with pytest.raises(UnexpectedImaginaryMode, match="leave-saddle --complex x --state LS --group C2"):
        symmetry_mode.require_minimum(modes([-9.0, -8.0, 50.0], "BAA"), "x", "LS", "C2")
    with pytest.raises(UnexpectedImaginaryMode, match="HS has imaginary modes"):
        symmetry_mode.require_minimum(modes([-9.0, 20.0, 50.0], "BBA"), "x", "HS", "C2")


def test_a_scan_of_a_quartic_well_returns_its_minimum_and_depth():
    mode = np.zeros(9)
    mode[3], mode[6] = 1 / np.sqrt(2), -1 / np.sqrt(2)
    weights = np.sqrt(np.repeat(MOLECULE.masses, 3))

    def energy(moved, name):
        q = (weights * (moved.positions - MOLECULE.positions).reshape(-1)) @ mode * 0.529177210903
        return -10.0 - 2e-3 * q**2 + 4e-3 * q**4

    found = symmetry_mode.scan(MOLECULE, mode, SOFT, energy, 4)
    at_minimum, depth = found.double_well()
    assert at_minimum == pytest.approx(0.5, rel=1e-6)
    assert depth == pytest.approx(-(2e-3**2) / (4 * 4e-3) * HARTREE_TO_KJ_PER_MOL, rel=1e-6)
    assert found.asymmetry < 1e-12
    assert found.leads_down
    assert found.doubts(-10.0) == []
    assert symmetry_mode.Scan(found.coordinates, found.coordinates**2).double_well() == (0.0, 0.0)


@pytest.mark.parametrize(("gap", "coupling", "stiffness"), [(5e-4, 0.02, 0.4), (3e-4, 0.008, 0.15)])
def test_the_narrow_well_of_two_close_states_is_found(gap, coupling, stiffness):
    """Lower sheet of two states of different irreps, coupled by the mode (pseudo-Jahn-Teller); the minimum is exact."""
    mode, asked = np.eye(9)[3], []
    weights = np.sqrt(np.repeat(MOLECULE.masses, 3))

    def energy(moved, name):
        q = (weights * (moved.positions - MOLECULE.positions).reshape(-1)) @ mode * 0.529177210903
        asked.append(q)
        return -10.0 + stiffness * q**2 / 2 - np.hypot(gap, coupling * q) + gap

    found = symmetry_mode.scan(MOLECULE, mode, SOFT, energy, 3)
    depth = (coupling**2 / stiffness - gap) ** 2 * stiffness / coupling**2 / 2
    place = np.sqrt((coupling / stiffness) ** 2 - (gap / coupling) ** 2)
    first = symmetry_mode.displaced(MOLECULE, mode, symmetry_mode.first_coordinate(MOLECULE, mode, SOFT))
    assert energy(first, "plus_0") > -10.0
    assert found.energies.min() < -10.0
    assert found.energies.min() >= -10.0 - depth - 1e-12
    assert found.lowest == pytest.approx(place, rel=0.6)
    at_minimum, fitted = found.double_well()
    assert fitted < 0 < at_minimum
    assert found.asymmetry < 1e-12
    assert len(asked) <= 1 + (1 + symmetry_mode.MOST_HALVINGS) + 2
    assert [q for q in asked if q < 0] == pytest.approx([-found.coordinates[found.start]])


def test_a_mode_that_only_leads_upwards_ends_after_the_halvings_and_the_molecule_relaxes_from_far_away():
    """Near Q = 0 forces would be small everywhere."""
    mode = np.eye(9)[3]
    found = symmetry_mode.scan(MOLECULE, mode, SOFT, lambda moved, name: 1e-3 * (name not in ("centre", "again_5")), 3)
    assert len(found.coordinates) == 2 * (1 + symmetry_mode.MOST_HALVINGS) + 1
    assert found.lowest == 0.0
    assert found.double_well() == (0.0, 0.0)
    assert found.coordinates[found.start] == found.coordinates.max()
    assert found.names[found.start] == "plus_0"
    (doubt,) = found.doubts(0.0)
    assert "no point of the scan along the imaginary mode lies below Q = 0 (the lowest of them by 2.625 kJ" in doubt


@pytest.mark.parametrize(
    ("lower", "parent", "words"),
    [
        (4e-5, -10.0, "orbitals of the innermost point lead to a state lower by 0.105 kJ/mol than the parent's do"),
        (0.0, -9.99, "lies 26.255 kJ/mol below its energy in the group: the parent is not in its lowest state"),
        (0.0, -10.01, "lies 26.255 kJ/mol above its energy in the group: the scan began in a higher state"),
    ],
)
def test_a_centre_in_another_state_is_told(lower, parent, words):
    mode = np.eye(9)[3]
    energies = {"centre": -10.0, "again_0": -10.0 - lower}

    def higher(name):
        """Return an energy that rises from the first point on."""
        return energies[name] if name in energies else -10.001 + 1e-5 * int(name[-1])

    found = symmetry_mode.scan(MOLECULE, mode, SOFT, lambda moved, name: higher(name), 2)
    assert [words in doubt for doubt in found.doubts(parent)] == [True]
    assert found.doubts(-10.0) == ([] if lower == 0.0 else found.doubts(parent))


def test_a_well_wider_than_the_scan_is_said_and_not_fitted_away():
    """The energy falls as far as the scan goes: its lowest point is what is known of the depth."""
    found = symmetry_mode.scan(
        MOLECULE, np.eye(9)[3], SOFT, lambda moved, name: -10.0 - 1e-3 * float(np.abs(moved.positions[1, 0])), 2
    )
    (doubt,) = [text for text in found.doubts(-10.0) if "still falls at the end" in text]
    assert "the well is wider, and deeper than its lowest point" in doubt
    where, depth = found.double_well()
    assert depth == pytest.approx((found.energies.min() - found.centre) * HARTREE_TO_KJ_PER_MOL)
    assert depth < 0
    assert where == found.lowest == found.coordinates.max()


def test_the_depth_is_never_less_than_that_of_a_computed_point():
    """A sextic well, whose quartic fit has no minimum."""
    q = np.array([-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0])
    rise = -1e-3 * q**2 - 2e-4 * q**4 + 4e-5 * q**6
    where, depth = symmetry_mode.Scan(q, rise).double_well()
    assert depth <= rise.min() * HARTREE_TO_KJ_PER_MOL
    assert where > 0


def test_a_wall_far_outside_the_well_does_not_enter_its_fit():
    """Three inner points on a Q^4 - a Q^2 curve, the outermost far above it: their quartic has depth a^2 / 4b."""
    q, place, depth = np.array([0.1, 0.2, 0.75]), 0.13, 1e-4
    rise = depth * ((q / place) ** 4 - 2 * (q / place) ** 2)
    rise[-1] = 5e-3
    found = symmetry_mode.Scan(np.r_[-q[::-1], 0.0, q], np.r_[rise[::-1], 0.0, rise]).double_well()
    assert found == pytest.approx((place, -depth * HARTREE_TO_KJ_PER_MOL), rel=1e-9)


def test_the_image_that_is_computed_is_that_of_the_lowest_point():
    """Of three points at 1, 2 and 3 steps the second is lowest; its image lies elsewhere here."""
    energies = {"centre": -10.0, "again_0": -10.0, "plus_0": -10.1, "plus_1": -10.3, "plus_2": -10.2, "minus_1": -10.25}
    found = symmetry_mode.scan(MOLECULE, np.eye(9)[3], SOFT, lambda moved, name: energies[name], 3)
    assert found.asymmetry == pytest.approx(0.05)
    assert np.array_equal(found.energies, [-10.2, -10.3, -10.1, -10.0, -10.1, -10.3, -10.2])
    assert found.names[3:] == ("centre", "plus_0", "plus_1", "plus_2")
    (doubt,) = found.doubts(-10.0)
    assert "E(Q) and E(-Q), the same by symmetry, differ by 131.275 kJ/mol" in doubt


def test_a_well_that_begins_in_a_higher_state_at_the_centre_is_doubted():
    energies = {"centre": -10.0, "again_0": -9.99, "plus_0": -10.1, "plus_1": -10.3, "plus_2": -10.2, "minus_1": -10.3}
    found = symmetry_mode.scan(MOLECULE, np.eye(9)[3], SOFT, lambda moved, name: energies[name], 3)
    (doubt,) = found.doubts(-10.0)
    assert "lead to a state higher by 26.255 kJ/mol" in doubt


@pytest.mark.parametrize("error", [NotConverged, WrongState])
def test_a_point_that_fails_beyond_one_that_leads_down_is_left_out_and_said(error):
    """The doubling ends there; names stay with their points, so that a scan done again finds them."""
    asked = []

    def energy(moved, name):
        asked.append(name)
        if name == "plus_1":
            raise error("no energy here")
        return {"centre": -10.0, "again_0": -10.0, "plus_2": -10.05, "plus_3": -10.0}.get(name, -10.1)

    found = symmetry_mode.scan(MOLECULE, np.eye(9)[3], SOFT, energy, 3)
    assert asked == ["centre", "plus_0", "plus_1", "plus_2", "plus_3", "again_0", "minus_0"]
    assert sorted(name for name in found.names if name) == ["centre", "plus_0", "plus_2", "plus_3"]
    assert "was left out of the scan: no energy here" in found.doubts(-10.0)[0]


def test_a_scan_whose_first_points_fail_is_an_error():
    def energy(moved, name):
        if name != "centre":
            raise NotConverged("no energy here")
        return -10.0

    with pytest.raises(NotConverged, match="no energy here"):
        symmetry_mode.scan(MOLECULE, np.eye(9)[3], SOFT, energy, 3)


def test_a_longer_scan_asks_for_the_points_of_a_shorter_one_under_the_same_names():
    """Here the last point is the lowest; its image differs."""
    mode, places = np.eye(9)[3], {3: {}, 5: {}}
    for points, seen in places.items():

        def energy(moved, name, seen=seen):
            seen[name] = moved.positions
            return 0.0 if name == "centre" else -moved.positions[1, 0]

        symmetry_mode.scan(MOLECULE, mode, SOFT, energy, points)
    assert sorted(places[3]) == ["again_0", "centre", "minus_2", "plus_0", "plus_1", "plus_2"]
    assert len(places[5]) == 8
    reach = symmetry_mode.WIDEST / 0.529177210903
    shifts = [np.abs(moved - MOLECULE.positions).max() for moved in places[5].values()]
    assert max(shifts) == pytest.approx(reach, rel=1e-6)
    assert all(np.array_equal(places[5][name], found) for name, found in places[3].items() if name != "minus_2")


def test_the_first_point_moves_the_liveliest_atom_by_the_set_amount():
    mode = np.eye(9)[3]
    moved = symmetry_mode.displaced(MOLECULE, mode, symmetry_mode.first_coordinate(MOLECULE, mode, SOFT))
    shift = np.linalg.norm(moved.positions - MOLECULE.positions, axis=1).max() * 0.529177210903
    assert shift == pytest.approx(symmetry_mode.LARGEST_SHIFT, rel=1e-6)
    assert moved.point_group == "C1"


@pytest.mark.parametrize("wavenumber", [-2000.0, -300.0])
def test_along_a_steep_mode_the_first_point_loses_a_set_energy_on_the_harmonic_curve(wavenumber):
    mode = np.eye(9)[3]
    q = symmetry_mode.first_coordinate(MOLECULE, mode, wavenumber)
    curvature = (wavenumber / HARTREE_TO_PER_CM) ** 2 * AMU_TO_ELECTRON_MASS * ANGSTROM_TO_BOHR**2
    expected = min(symmetry_mode.FIRST_DROP, curvature * symmetry_mode.first_coordinate(MOLECULE, mode, SOFT) ** 2 / 2)
    assert curvature * q**2 / 2 == pytest.approx(expected, rel=1e-9)
    assert q < symmetry_mode.first_coordinate(MOLECULE, mode, SOFT)


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        (1.0, [0.5, 1, 1.5, 2, 2.5]),  # lowest at the first point: twice as far leads up, the rest lies about it
        (3.0, [1, 2, 3, 4, 5]),  # doubled twice
        (0.2, [0.125, 0.25, 0.375, 0.5, 1]),  # halved until it leads down
        (1e3, [1, 2, 4, 8, 16, 32]),  # downhill all the way: as far as points are doubled
    ],
)
def test_points_gather_about_the_lowest_one(place, expected):
    """Of a harmonic and quartic well with its minimum at so many first steps."""
    mode, wavenumber = np.eye(9)[3], -20000.0
    first = symmetry_mode.first_coordinate(MOLECULE, mode, wavenumber)
    weights = np.sqrt(np.repeat(MOLECULE.masses, 3))

    def energy(moved, name):
        q = (weights * (moved.positions - MOLECULE.positions).reshape(-1)) @ mode * 0.529177210903 / first
        return 1e-3 * ((q / place) ** 4 - 2 * (q / place) ** 2) * min(place, 1e2) ** 2

    found = symmetry_mode.scan(MOLECULE, mode, wavenumber, energy, 5)
    assert found.coordinates[found.coordinates > 0] / first == pytest.approx(expected)


def test_the_overlap_of_a_small_displacement_along_a_mode_is_one():
    hessian = np.random.default_rng(0).normal(size=(9, 9))
    found = normal_modes(MOLECULE, hessian + hessian.T)
    for mode in found.modes.T:
        moved = symmetry_mode.displaced(MOLECULE, mode, 1e-4)
        assert symmetry_mode.distortion_overlap(MOLECULE, moved, mode) == pytest.approx(1.0, abs=1e-6)


def test_the_share_of_a_distortion_that_breaks_the_group_is_that_of_its_irreps():
    """A mode of A breaks nothing, one of B everything, and 3 parts B with 4 parts A 9/25."""
    hessian = np.random.default_rng(1).normal(size=(9, 9))
    found = normal_modes(MOLECULE, symmetrise_hessian(MOLECULE.numbers, MOLECULE.positions, hessian + hessian.T, "C2"))
    kept, broken = (found.modes[:, found.irreps.index(irrep)] for irrep in "AB")
    for mode, share in ((kept, 0.0), (broken, 1.0), (0.6 * broken + 0.8 * kept, 9 / 25)):
        moved = symmetry_mode.displaced(MOLECULE, mode, 1e-4)
        assert symmetry_mode.breaking_share(MOLECULE, moved) == pytest.approx(share, abs=1e-5)


def test_each_part_of_a_distortion_has_its_energy_on_the_parents_hessian():
    """3 parts B with 4 parts A: each costs what its force constant says, E = x H x / 2 with the Hessian itself."""
    hessian = np.random.default_rng(1).normal(size=(9, 9))
    whole = symmetrise_hessian(MOLECULE.numbers, MOLECULE.positions, hessian + hessian.T, "C2")
    found = normal_modes(MOLECULE, whole)
    kept, broken = (found.modes[:, found.irreps.index(irrep)] for irrep in "AB")
    moved = symmetry_mode.displaced(MOLECULE, 0.6 * broken + 0.8 * kept, 1e-4)
    energies = symmetry_mode.harmonic_parts(MOLECULE, moved, found)
    for energy, mode, part in zip(energies, (kept, broken), (0.8, 0.6), strict=True):
        shift = (symmetry_mode.displaced(MOLECULE, mode, part * 1e-4).positions - MOLECULE.positions).reshape(-1)
        assert energy == pytest.approx(shift @ whole @ shift / 2 * HARTREE_TO_KJ_PER_MOL, rel=1e-4)


def test_an_animation_swings_both_ways_about_the_parent_and_keeps_the_group_as_a_whole():
    mode = np.zeros(9)
    mode[3], mode[6] = 1 / np.sqrt(2), 1 / np.sqrt(2)  # x of both hydrogens: B
    frames = symmetry_mode.animation(MOLECULE, mode, 0.4)
    np.testing.assert_allclose(np.mean(frames, axis=0), MOLECULE.positions, atol=1e-12)
    quarter, three_quarters = frames[len(frames) // 4], frames[3 * len(frames) // 4]
    np.testing.assert_allclose(quarter, symmetry_mode.displaced(MOLECULE, mode, 0.4).positions, atol=1e-12)
    turned = (three_quarters @ np.diag([-1.0, -1.0, 1.0]))[[0, 2, 1]]
    np.testing.assert_allclose(turned, quarter, atol=1e-12)


def test_the_arrows_of_the_report_point_where_the_scan_moves_the_atoms(tmp_path):
    rng = np.random.default_rng(3)
    arrays = {"modes": np.linalg.qr(rng.normal(size=(9, 9)))[0], "masses": MOLECULE.masses}
    files.write_arrays(tmp_path / "vibrations/modes.npz", **arrays)
    moved = symmetry_mode.displaced(MOLECULE, arrays["modes"][:, 4], 0.1).positions - MOLECULE.positions
    found = np.array(conclusions.mode_vector(tmp_path, 4))
    assert found * 0.1 * ANGSTROM_TO_BOHR == pytest.approx(moved, abs=1e-12)
    assert conclusions.mode_vector(tmp_path, None) is None
