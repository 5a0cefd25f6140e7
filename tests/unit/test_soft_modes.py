"""Modes inside the noise floor: what larger steps say about them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sample_molecules import PEROXIDE, springs
from spincross import checkpoints, electronic, files, force_constants, soft_modes, symmetry_mode, vibrations
from spincross.displacements import Point, Surface
from spincross.levels import Level, State
from spincross.molecule import Molecule
from spincross.units import AMU_TO_ELECTRON_MASS, HARTREE_TO_PER_CM

ROOT = Path(__file__).resolve().parents[2]


def surface(wave, quartic=0.0, noise=0.0, energy_noise=0.0, which=0):
    """Return a mode of springs, put at `wave` (cm-1), and points with noisy gradients and energies."""
    hessian = springs(PEROXIDE)
    found = vibrations.normal_modes(PEROXIDE, hessian)
    roots = np.sqrt(np.repeat(PEROXIDE.masses, 3) * AMU_TO_ELECTRON_MASS)
    mode = found.modes[:, which]
    old, new = found.wavenumbers[which] / HARTREE_TO_PER_CM, wave / HARTREE_TO_PER_CM
    hessian = hessian + (np.sign(new) * new**2 - old**2) * np.outer(mode * roots, mode * roots)
    rng = np.random.default_rng(0)

    def point(molecule, name):
        shift = (molecule.positions - PEROXIDE.positions).reshape(-1)
        q = (mode * roots) @ shift
        gradient = hessian @ shift + 4 * quartic * q**3 * mode * roots + noise * rng.normal(size=12)
        energy = -100 + shift @ hessian @ shift / 2 + quartic * q**4 + energy_noise * rng.normal()
        return Point(gradient.reshape(-1, 3), np.zeros(3), energy, 1, 0.0)

    return mode, point


@pytest.mark.parametrize("wave", [-40.0, 40.0])
def test_a_second_step_and_a_scan_return_the_curvature_of_a_quartic_well(wave):
    mode, point = surface(wave, quartic=1e-9)
    found = soft_modes.settle(PEROXIDE, mode, 0, point)
    assert found.scan == pytest.approx(wave, rel=1e-3)
    # a central difference over Q has the curvature plus 4 b Q^2
    steeper = np.sign(wave) * (wave / HARTREE_TO_PER_CM) ** 2 + 4e-9 * found.coordinates[4] ** 2
    assert found.second_step == pytest.approx(np.sign(steeper) * np.sqrt(abs(steeper)) * HARTREE_TO_PER_CM, rel=1e-6)
    assert found.verdict == ("real" if wave > 0 else "imaginary")
    assert list(found.coordinates) == sorted(found.coordinates)
    assert found.energies[3] == -100.0


def test_noise_of_the_gradient_that_hides_a_mode_at_the_first_step_does_not_at_the_second():
    mode, point = surface(-40.0, noise=2e-6)
    # at a step of 5e-3 bohr this noise looks like a hydrogen's force constant of 2e-6 / 5e-3 Eh/bohr2
    assert np.sqrt(2e-6 / 5e-3 / AMU_TO_ELECTRON_MASS) * HARTREE_TO_PER_CM > 2 * 40
    assert soft_modes.settle(PEROXIDE, mode, 0, point).verdict == "imaginary"


@pytest.mark.parametrize("quartic", [0.0, 1e-8])
def test_a_mode_whose_harmonic_part_is_noise_stays_undetermined_also_in_a_steep_quartic_well(quartic):
    mode, point = surface(2.0, quartic)
    found = soft_modes.settle(PEROXIDE, mode, 0, point)
    assert found.scan == pytest.approx(2.0, rel=1e-3)
    assert found.harmonic == pytest.approx((2.0 / HARTREE_TO_PER_CM) ** 2 * found.coordinates[-1] ** 2 / 2, rel=1e-3)
    assert (np.ptp(found.energies) > 1000 * found.harmonic) == (quartic > 0)
    assert found.verdict == "undetermined"


def test_routes_that_disagree_leave_a_mode_undetermined():
    settled = soft_modes.Settled(0, -100.0, 100.0, np.arange(-10.0, 11.0, 10.0), np.array([1e-5, 0.0, 1e-5]))
    assert settled.harmonic > soft_modes.ENERGY_NOISE
    assert settled.verdict == "undetermined"


@pytest.mark.parametrize("fallen", [["mode_0000_2plus"], ["mode_0000_1plus", "mode_0000_1minus"], ["undisplaced"]])
def test_a_point_of_the_scan_in_another_state_leaves_the_mode_undetermined_and_is_told(fallen):
    mode, point = surface(40.0, quartic=1e-9)

    def jumping(molecule, name):
        found = point(molecule, name)
        return replace(found, energy=found.energy - 3e-4) if name in fallen else found

    assert soft_modes.settle(PEROXIDE, mode, 0, point).verdict == "real"
    found = soft_modes.settle(PEROXIDE, mode, 0, jumping)
    assert found.verdict == "undetermined"
    assert "of 7 of its scan lies 3.0e-04 Eh off the curve of its slopes (allowed" in found.failure
    assert found.facts(1.0)["failure"] == found.failure


def test_the_scan_is_told_in_the_coordinate_of_the_other_scans():
    """Q in amu^1/2 angstrom: its last point moves the liveliest atom by the last shift, in bohr."""
    mode, point = surface(40.0)
    q = soft_modes.settle(PEROXIDE, mode, 0, point).facts(40.0)["scan_q_amu_half_angstrom"]
    moved = symmetry_mode.displaced(PEROXIDE, mode, q[-1]).positions - PEROXIDE.positions
    assert np.linalg.norm(moved, axis=1).max() == pytest.approx(soft_modes.SHIFTS[-1], rel=1e-6)


def counted(point):
    """Return what computes points, and a list of the names and groups asked for."""
    asked = []

    def counting(molecule, name):
        asked.append((name, molecule.point_group))
        return point(molecule, name)

    return counting, asked


@pytest.mark.parametrize(("irrep", "group"), [("A", "C2"), ("B", "C1")])
def test_a_symmetric_mode_keeps_the_group_and_one_that_breaks_it_is_computed_one_way(irrep, group):
    """Without the group both ways are computed, and say the same."""
    waves = vibrations.normal_modes(PEROXIDE, springs(PEROXIDE))
    which = waves.irreps.index(irrep)
    mode, point = surface(-40.0, quartic=1e-9, which=which)
    asked, free = counted(point), counted(point)
    found = soft_modes.settle(PEROXIDE, mode, which, asked[0])
    plain = soft_modes.settle(PEROXIDE.at(PEROXIDE.positions, "C1"), mode, which, free[0])
    assert found.second_step == pytest.approx(plain.second_step, rel=1e-3)
    assert found.scan == pytest.approx(plain.scan, rel=1e-3)
    np.testing.assert_allclose(found.energies, plain.energies, atol=1e-9)
    assert len(free[1]) == 7
    assert len(asked[1]) == (7 if irrep == "A" else 4)
    assert asked[1][0] == ("undisplaced", "C2")
    assert {kind for name, kind in asked[1][1:]} == {group}


@pytest.mark.parametrize(("level", "expected"), [(0, 2), (3, 5), (8, 9), (9, 9)])
def test_larger_steps_are_taken_two_grid_levels_higher_up_to_the_finest(level, expected):
    tight = Level(grid_level=level, scf_energy_tolerance=1e-11)
    coarse = Surface(tight, State("LS", 1), (np.eye(2), np.eye(2)))
    assert soft_modes.finer(coarse) == replace(coarse, level=replace(tight, grid_level=expected))


def computed(level, state, orbitals):
    """Return what computes points on the finer grid of a level, each one once."""
    fine, done = soft_modes.finer(force_constants.Settings().surface(level, state, orbitals)), {}

    def point(geometry, name):
        if name not in done:
            done[name] = fine.point(geometry)
        return done[name]

    return point


@pytest.fixture(scope="module")
def still():
    """Formaldehyde at its minimum (PBE0/STO-3G, grid 5), and its points there."""
    places = [[0, 0, 0], [0, 0, 2.35037152], [1.77261842, 0, -1.16114407], [-1.77261842, 0, -1.16114407]]
    molecule = Molecule(("C", "O", "H", "H"), np.array(places), 0, "C2")
    level, state = Level(basis="sto-3g", device="cpu"), State("LS", 1)
    return molecule, computed(level, state, electronic.solve(molecule, level, state).orbitals)


@pytest.mark.parametrize("axis", range(3))
def test_a_rigid_rotation_stays_undetermined(still, axis):
    molecule, point = still
    _, rotations = vibrations.rigid_motions(molecule.masses, molecule.positions)
    turning = rotations[:, axis] * np.sqrt(np.repeat(molecule.masses, 3))
    found = soft_modes.settle(molecule, turning / np.linalg.norm(turning), axis, point)
    assert np.abs(point(molecule, "undisplaced").gradient).max() < 1e-6  # a slope would bend the straight path
    assert np.ptp(found.energies) > 10 * soft_modes.ENERGY_NOISE  # bonds stretch on it, as the fourth power
    assert abs(found.harmonic) < soft_modes.ENERGY_NOISE
    assert found.verdict == "undetermined"


def test_the_torsion_of_the_triplet_is_imaginary_with_the_wavenumber_of_its_hessian():
    place = ROOT / "structures/reference/h2co/pbe0_def2-svp/HS/C2"
    symbols, positions, _ = files.read_xyz(place / "optimise/geometry.xyz")
    molecule = Molecule(symbols, positions, 0, "C2").symmetrised()
    full = vibrations.normal_modes(molecule, files.read_arrays(place / "vibrations/hessian.npz")["hessian"])
    orbitals = checkpoints.load_orbitals(place / "optimise/orbitals.npz")
    point = computed(Level(grid_level=1, device="cpu"), State("HS", 3), orbitals)  # finer: the grid of the record
    found = soft_modes.settle(molecule, full.modes[:, 0], 0, point)
    assert full.wavenumbers[0] == pytest.approx(-653, abs=1)
    assert found.second_step == pytest.approx(full.wavenumbers[0], rel=0.01)
    assert found.scan == pytest.approx(full.wavenumbers[0], rel=0.01)
    assert found.verdict == "imaginary"
