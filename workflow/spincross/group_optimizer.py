"""geomeTRIC's optimiser, held in a point group."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from geometric.engine import Engine
from geometric.errors import GeomOptNotConvergedError
from geometric.internal import DelocalizedInternalCoordinates
from geometric.molecule import Molecule as GeometricMolecule
from geometric.optimize import Optimizer, OptParams
from numpy.typing import NDArray

from spincross import pointgroup, vibrations
from spincross.errors import NotConverged
from spincross.files import writing
from spincross.molecule import Molecule
from spincross.units import BOHR_TO_ANGSTROM

Array = NDArray[np.float64]


class GroupEngine(Engine):
    """What geomeTRIC asks for energies and gradients: a start geometry in the exact group, and the steps computed.

    Subclasses have `calc_new`, and `steps` with energy_hartree and gradient_max_hartree_per_bohr of each; where a step
    leaves something behind for the next one, also `save_guess_files` and `load_guess_files`.
    """

    steps: list[dict[str, Any]]

    def __init__(self, molecule: Molecule) -> None:
        self.frame = GeometricMolecule()
        self.frame.elem = list(molecule.symbols)
        self.frame.xyzs = [molecule.positions * BOHR_TO_ANGSTROM]
        self.frame.build_topology()
        super().__init__(self.frame)
        self.molecule = molecule


class HeldCoordinates(DelocalizedInternalCoordinates):
    """geomeTRIC's internal coordinates, in which a positive Cartesian Hessian stays positive."""

    def calcHess(self, xyz: Array, gradx: Array, hessx: Array) -> Array:  # noqa: N802 - geomeTRIC's name
        """Return a Cartesian Hessian in internal coordinates without what the gradient adds through their curvature.

        Far from the minimum that term makes some eigenvalues negative, and geomeTRIC then forgets the whole Hessian: on
        a model of iron's low spin the start Hessian was gone after the first step.
        """
        return np.asarray(super().calcHess(xyz, np.zeros_like(np.asarray(gradx)), hessx))

    def calcHessCart(self, xyz: Array, gradq: Array, hessq: Array) -> Array:  # noqa: N802 - geomeTRIC's name
        """Return the Cartesian Hessian of one in internal coordinates, the inverse of `calcHess`."""
        return np.asarray(super().calcHessCart(xyz, np.zeros_like(np.asarray(gradq)), hessq))


class GroupOptimizer(Optimizer):
    """geomeTRIC's optimiser with every step kept in the point group.

    Its internal coordinates need not form a symmetric set, so a symmetric gradient alone can give an asymmetric step.
    """

    X: Array
    H: Array
    gradx: Array

    def calcEnergyForce(self) -> None:  # noqa: N802 - geomeTRIC's name
        """Compute energy and gradient, and take from the gradient what moves or turns the molecule as a whole.

        The integration grid does not turn with the molecule: a torque of 5e-4 Eh was seen on an iron complex. Beside a
        nearly linear N-C-S an ill-conditioned internal coordinate takes it for a force, without end. geomeTRIC's own
        measure (subfrctor) weights with masses and so leaves a false force, there up to 1.4e-5 Eh/bohr on an atom.
        Steps are aligned without weights (`newCartesian`), and the same must hold here.
        """
        super().calcEnergyForce()
        self.gradx = vibrations.without_rigid_motion(self.X.reshape(-1, 3), self.gradx)

    def newCartesian(self, dy: Array) -> None:  # noqa: N802 - geomeTRIC's name
        """Take the internal step `dy` and project the displacement on the totally symmetric irrep.

        Internal coordinates leave the frame free, so the new geometry is first turned back onto the old one.
        """
        molecule: Molecule = self.engine.molecule
        old = self.X.reshape(-1, 3)
        super().newCartesian(dy)
        step = pointgroup.aligned(self.X.reshape(-1, 3), old) - old
        self.X = (old + pointgroup.symmetrise_vectors(molecule.numbers, old, step, molecule.point_group)).reshape(-1)

    def UpdateHessian(self) -> None:  # noqa: N802 - geomeTRIC's name
        """Learn from the last step, unless it went where the energy curves downwards.

        A molecule comes by such places on its way down a flat valley. No positive Hessian describes them, and geomeTRIC
        would forget all that it knows: on an iron complex a step of 0.06 angstrom was followed by three below 0.005.
        """
        kept = self.H.copy()
        super().UpdateHessian()
        if np.linalg.eigvalsh(self.H)[0] < min(self.params.epsilon, np.linalg.eigvalsh(kept)[0]):
            self.H = kept


def relax(
    engine: GroupEngine, convergence: str, max_steps: int, hessian: Array | None, rough: bool
) -> tuple[Array, Array | None]:
    """Run geomeTRIC on one surface; return positions (N, 3) in bohr and, of a rough run, the optimiser's last Hessian.

    Converged as in Q-Chem: the gradient, and the energy or the displacement. Along modes of 20 cm-1 a displacement of
    1e-5 angstrom asks for forces far below the noise of the grid. A rough run ends by its gradient alone: to creep
    along such modes is left to the next surface.
    """
    logging.getLogger("geometric").setLevel(logging.WARNING)
    start = engine.molecule.positions.reshape(-1).copy()
    coordinates = HeldCoordinates(engine.frame, build=True, connect=True, addcart=False)
    with writing(Path(tempfile.gettempdir())):
        temporary = tempfile.TemporaryDirectory()
    with temporary as scratch:
        options: dict[str, Any] = {"convergence_set": convergence, "maxiter": max_steps, "frequency": False}
        if rough:
            options["convergence_drms"] = np.inf  # the energy's threshold decides, too, whether a step uphill is taken
        parameters = OptParams(**options, qccnv=True, subfrctor=0, reset=False)
        if hessian is not None:
            parameters.hess_data = held(engine.molecule, hessian)
        optimizer = GroupOptimizer(start, engine.frame, coordinates, engine, scratch, parameters, print_info=False)
        try:
            optimizer.optimizeGeometry()
        except GeomOptNotConvergedError as error:
            last = engine.steps[-1]
            raise NotConverged(
                f"no {convergence} minimum in {len(engine.steps)} steps: E {last['energy_hartree']:.8f} Eh, "
                f"max|g| {last['gradient_max_hartree_per_bohr']:.2e} Eh/bohr; the steps are kept, raise max_steps"
            ) from error
        last_hessian = _cartesian_hessian(optimizer) if rough else None
    final = engine.molecule.at(optimizer.X.reshape(-1, 3)).symmetrised()
    return final.positions, last_hessian


def criterion(convergence: str) -> dict[str, Any]:
    """Return when `relax` ends: the gradient, and the energy or the displacement, with geomeTRIC's thresholds."""
    parameters = OptParams(convergence_set=convergence)
    return {
        "set": convergence,
        "rule": "gradient, and energy or displacement",
        "gradient_rms_hartree_per_bohr": parameters.Convergence_grms,
        "energy_change_hartree": parameters.Convergence_energy,
        "displacement_rms_angstrom": parameters.Convergence_drms,
    }


def held(molecule: Molecule, hessian: Array) -> Array:
    """Return a Hessian (3N, 3N) in the group with every curvature made positive: of the same size, upwards.

    A step is projected on the group. Dust along a forbidden downward direction would fill the whole trust radius, and
    what the projection leaves of such a step is bonds stretched to second order. Along an allowed one geomeTRIC shifts
    the whole Hessian: a start from a saddle's Hessian went 5.5 kJ/mol uphill in one step on an iron complex.
    """
    whole = pointgroup.symmetrise_hessian(molecule.numbers, molecule.positions, hessian, molecule.point_group)
    values, vectors = np.linalg.eigh(whole)
    return np.asarray((vectors * np.abs(values)) @ vectors.T)


def _cartesian_hessian(optimizer: Optimizer) -> Array:
    optimizer.UpdateHessian()
    return np.asarray(optimizer.IC.calcHessCart(optimizer.X, optimizer.G, optimizer.H))
