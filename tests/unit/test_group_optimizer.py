"""The optimiser steps within the point group, whatever lies downhill outside it."""

from dataclasses import replace

import numpy as np
import pytest

from sample_molecules import springs
from spincross import group_optimizer, pointgroup
from spincross.molecule import Molecule
from spincross.units import ANGSTROM_TO_BOHR

START = np.array([[0, 0, 0], [0, 0, 1.25], [0.97, 0.03, -0.57], [-0.97, -0.03, -0.57]]) * ANGSTROM_TO_BOHR
H2CO = Molecule(("C", "O", "H", "H"), START, 0, "C2")


class Model(group_optimizer.GroupEngine):
    """A harmonic surface around a molecule: energy and gradient are exact, and cost nothing."""

    def __init__(self, hessian, slope, molecule=H2CO):
        self.hessian, self.slope, self.energies = hessian, slope, []
        super().__init__(molecule)

    @property
    def steps(self):
        return [{"energy_hartree": self.energies[-1], "gradient_max_hartree_per_bohr": 0.0}]

    def calc_new(self, coords, dirname):
        moved = np.asarray(coords).reshape(-1) - self.molecule.positions.reshape(-1)
        self.energies.append(float(self.slope @ moved + moved @ self.hessian @ moved / 2))
        return {"energy": self.energies[-1], "gradient": self.slope + self.hessian @ moved}


def harmonic():
    """Return a Hessian with a soft allowed mode and a forbidden downward one, and a slope along the allowed ones."""
    representation = representation_of(H2CO)
    allowed = np.mean(representation, axis=0)
    rigid = rigid_motions(H2CO)
    outside = np.eye(12) - rigid @ rigid.T
    irreps = [np.linalg.svd(outside @ p @ outside)[0][:, :n] for p, n in ((allowed, 3), (np.eye(12) - allowed, 3))]
    curvatures = np.diag([0.005, 0.4, 0.9]), np.diag([-0.05, 0.3, 0.5])
    hessian = sum(m @ c @ m.T for m, c in zip(irreps, curvatures, strict=True))
    return hessian, irreps[0] @ np.array([3e-4, 3e-3, 3e-3]), allowed


def representation_of(molecule):
    return pointgroup.representation(molecule.numbers, molecule.positions, molecule.point_group)


def rigid_motions(molecule):
    """Return an orthonormal basis of translations and rotations, (3N, 6)."""
    axes = np.eye(3)
    columns = [np.tile(a, len(molecule.positions)) for a in axes]
    columns += [np.cross(a, molecule.positions).reshape(-1) for a in axes]
    return np.linalg.qr(np.array(columns).T)[0]


def test_a_downward_path_that_the_group_forbids_does_not_disturb_the_optimiser():
    hessian, slope, allowed = harmonic()
    engine = Model(hessian, slope)
    positions, _ = group_optimizer.relax(engine, "GAU_TIGHT", 30, hessian, False)
    lowest = -slope @ np.linalg.pinv(hessian) @ slope / 2
    assert max(np.diff(engine.energies)) < 1e-6
    assert engine.energies[-1] == pytest.approx(lowest, abs=1e-6)
    assert len(engine.energies) <= 10


def test_a_rough_run_ends_as_soon_as_its_gradient_is_small():
    """Along a mode softer than its start Hessian says, the energy goes on falling."""
    hessian, slope, allowed = harmonic()
    softest = np.linalg.svd(allowed @ hessian @ allowed)[0][:, 2]
    stiff, soft = hessian + 0.4 * np.outer(softest, softest), hessian - 4.9e-3 * np.outer(softest, softest)
    rough, whole = Model(soft, slope), Model(soft, slope)
    positions, last = group_optimizer.relax(rough, "GAU", 30, stiff, True)
    group_optimizer.relax(whole, "GAU", 30, stiff, False)
    left = slope + soft @ (positions - START).reshape(-1)
    assert np.sqrt((left**2).mean()) < 3e-4
    assert last.shape == (12, 12)
    assert len(rough.energies) < len(whole.energies)
    assert whole.energies[-1] < rough.energies[-1]


class Watched(Model):
    """Counts the steps that geomeTRIC takes and takes back."""

    def __init__(self, *arguments):
        self.taken = self.rejected = 0
        super().__init__(*arguments)

    def save_guess_files(self, dirname):
        self.taken += 1

    def load_guess_files(self, dirname):
        self.rejected += 1


@pytest.mark.parametrize("rough", [True, False])
def test_a_step_far_uphill_is_taken_back(rough):
    """From a Hessian of a tenth of the true size every step goes too far."""
    hessian, slope, allowed = harmonic()
    curved = allowed @ hessian @ allowed
    engine = Watched(curved, 10 * slope)
    group_optimizer.relax(engine, "GAU", 100, 0.1 * curved, rough)
    assert engine.rejected > 0
    assert engine.energies[-1] == pytest.approx(min(engine.energies), abs=1e-6)


def test_held_curvature_is_positive_everywhere_and_untouched_where_it_was():
    hessian, _, allowed = harmonic()
    hessian = hessian - 0.3 * np.outer(allowed[:, 2], allowed[:, 2])
    values, vectors = np.linalg.eigh(hessian)
    assert (values < -0.01).sum() == 2
    found = group_optimizer.held(H2CO, hessian)
    np.testing.assert_allclose(vectors.T @ found @ vectors, np.diag(np.abs(values)), atol=1e-12)


def test_a_start_from_the_hessian_of_a_saddle_leads_downwards():
    """Beside the saddle of a double well, in C1: the Hessian given is the saddle's, the surface curves up."""
    saddle, slope, _ = harmonic()
    values, vectors = np.linalg.eigh(saddle)
    well = saddle + 0.1 * np.outer(vectors[:, 0], vectors[:, 0])
    slope = slope + 2e-3 * vectors[:, 0]
    assert values[0] == pytest.approx(-0.05)
    engine = Model(well, slope, replace(H2CO, point_group="C1"))
    group_optimizer.relax(engine, "GAU_TIGHT", 30, saddle, False)
    assert max(np.diff(engine.energies)) < 1e-6
    assert engine.energies[-1] == pytest.approx(-slope @ np.linalg.pinv(well) @ slope / 2, abs=1e-6)
    assert len(engine.energies) <= 12


class Hill(Model):
    """The harmonic surface with a Gaussian hill, (Eh, bohr), across a mode (12,) at the start: there it curves down."""

    def __init__(self, hessian, slope, mode, height, width):
        self.mode, self.height, self.width = mode, height, width
        super().__init__(hessian, slope)

    def calc_new(self, coords, dirname):
        found = super().calc_new(coords, dirname)
        place = (np.asarray(coords).reshape(-1) - START.reshape(-1)) @ self.mode / self.width
        hill = self.height * np.exp(-(place**2) / 2)
        self.energies[-1] += hill
        return {"energy": found["energy"] + hill, "gradient": found["gradient"] - hill * place / self.width * self.mode}


@pytest.mark.parametrize(("height", "width"), [(1e-3, 0.2), (2e-3, 0.3)])
def test_a_place_that_curves_down_does_not_make_the_optimiser_forget(height, width):
    """With geomeTRIC's default 20 and 22 steps."""
    hessian, slope, allowed = harmonic()
    mode = np.linalg.svd(allowed @ hessian @ allowed)[0][:, 2]
    engine = Hill(hessian, slope, mode, height, width)
    positions, _ = group_optimizer.relax(engine, "GAU_TIGHT", 30, hessian, False)
    assert len(engine.energies) <= 12
    assert np.abs(engine.calc_new(positions, "")["gradient"]).max() < 3e-5


METHYL = [[0, 0, 0], [1.02, 0, -0.38], [-0.51, 0.88, -0.38], [-0.51, -0.88, -0.38]]
ISOTHIOCYANATE = np.array([*METHYL, [0, 0, 1.45], [0.1, 0, 2.64], [0.35, 0.03, 4.2]])
CH3NCS = Molecule(("C", "H", "H", "H", "N", "C", "S"), ISOTHIOCYANATE * ANGSTROM_TO_BOHR, 0, "C1")


class Twisted(group_optimizer.GroupEngine):
    """Springs around methyl isothiocyanate that turn with it, and the torque (3,), Eh, of a grid that does not."""

    def __init__(self, slope, torque):
        self.hessian, self.slope, self.torque, self.forces = springs(CH3NCS), slope, torque, []
        super().__init__(CH3NCS)

    @property
    def steps(self):
        return [{"energy_hartree": 0.0, "gradient_max_hartree_per_bohr": self.forces[-1]}]

    def calc_new(self, coords, dirname):
        found, start = np.asarray(coords).reshape(-1, 3), CH3NCS.positions
        turned = pointgroup.aligned(found, start)
        moved = (turned - start).reshape(-1)
        forces = (self.slope + self.hessian @ moved).reshape(-1, 3)
        self.forces.append(float(np.abs(forces).max()))
        centred = found - found.mean(axis=0)
        left, _, right = np.linalg.svd(centred.T @ (turned - turned.mean(axis=0)))
        gradient = forces @ (left @ right).T + np.cross(self.torque, centred)
        return {
            "energy": float(self.slope @ moved + moved @ self.hessian @ moved / 2),
            "gradient": gradient.reshape(-1),
        }


@pytest.mark.parametrize("torque", [0.0, 3e-6, 1e-5])
def test_the_torque_of_the_grid_does_not_hold_up_a_molecule_with_a_linear_group(torque):
    """With geomeTRIC's default, 60 steps do not suffice for the two torques."""
    slope = np.random.default_rng(3).normal(size=21) * 3e-3
    rigid = rigid_motions(CH3NCS)
    engine = Twisted(slope - rigid @ (rigid.T @ slope), torque * np.array([1.0, 1.0, 0.5]))
    group_optimizer.relax(engine, "GAU_TIGHT", 60, engine.hessian, False)
    assert len(engine.forces) <= 12
    assert engine.forces[-1] < 1e-4


@pytest.mark.parametrize("torque", [1e-4, 5e-4])
def test_what_takes_away_the_torque_leaves_the_forces_that_change_the_shape(torque):
    """A surface in a fixed frame, as that of a grid: its lowest shape without turning is known from linear algebra.

    The torque of an iron complex was 5e-4 Eh. By geomeTRIC's own measure, whose weights are masses, the optimiser ends
    elsewhere: higher, and with a gradient above its threshold.
    """
    rigid, hessian = rigid_motions(CH3NCS), springs(CH3NCS)
    slope = np.random.default_rng(3).normal(size=21) * 1e-3
    turning = np.cross(np.array([1.0, 1.0, 0.5]) / 1.5, CH3NCS.positions - CH3NCS.positions.mean(axis=0)).reshape(-1)
    slope += -rigid @ (rigid.T @ slope) + torque * turning / (turning @ turning)
    inside = np.eye(21) - rigid @ rigid.T
    best = -np.linalg.pinv(inside @ hessian @ inside, rcond=1e-9) @ slope
    engine = Model(hessian, slope, CH3NCS)
    positions, _ = group_optimizer.relax(engine, "GAU_TIGHT", 60, hessian, False)
    found = engine.calc_new(positions, "")
    assert len(engine.energies) <= 12
    assert found["energy"] == pytest.approx(slope @ best / 2, abs=1e-9)
    assert np.abs(inside @ found["gradient"]).max() < 1.5e-5


def test_a_positive_start_hessian_stays_positive_in_internal_coordinates_far_from_the_minimum():
    """geomeTRIC's own conversion makes it negative there, and then forgets it."""
    hessian = springs(H2CO) + 0.01 * np.eye(12)
    engine = Model(hessian, np.zeros(12))
    steep = pointgroup.symmetrise_vectors(H2CO.numbers, H2CO.positions, np.full((4, 3), 0.5) * START, "C2").reshape(-1)

    def lowest(kind):
        coordinates = kind(engine.frame, build=True, connect=True, addcart=False)
        return np.linalg.eigvalsh(coordinates.calcHess(START.reshape(-1), steep, hessian))[0]

    assert lowest(group_optimizer.HeldCoordinates) > 0
    assert lowest(group_optimizer.DelocalizedInternalCoordinates) < 0


def test_a_hessian_comes_back_from_internal_coordinates_as_it_went():
    coordinates = group_optimizer.HeldCoordinates(Model(None, None).frame, build=True, connect=True, addcart=False)
    rigid = rigid_motions(H2CO)
    outside = np.eye(12) - rigid @ rigid.T
    hessian = outside @ springs(H2CO) @ outside
    slope = np.random.default_rng(0).normal(size=12)
    inside = coordinates.calcHess(START.reshape(-1), slope, hessian)
    back = coordinates.calcHessCart(START.reshape(-1), np.ones(len(inside)), inside)
    np.testing.assert_allclose(back, hessian, atol=1e-8)
