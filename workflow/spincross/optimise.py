"""Geometry optimisation with geomeTRIC, driven through an engine of ours that holds the point group and loses no step.

Every gradient is appended to `steps.jsonl` in the work folder the moment it exists. A restart replays the optimiser
from its first step: geometries already in the file are answered from it, so a killed run repeats one gradient at most
and ends where it would have ended. The surface far from the minimum is a coarse one (small grid, loose SCF); the last
steps, and every number reported, are on the level asked for.
"""

from __future__ import annotations

import fcntl
import json
import logging
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from geometric.engine import Engine
from geometric.errors import GeomOptNotConvergedError
from geometric.internal import DelocalizedInternalCoordinates
from geometric.molecule import Molecule as GeometricMolecule
from geometric.optimize import Optimizer, OptParams
from numpy.typing import NDArray

from spincross import electronic, pointgroup
from spincross.candidates import lowest_state
from spincross.electronic import Solution
from spincross.errors import BadInput, NotConverged, StaleData, SymmetryLost
from spincross.files import read_arrays, read_json, replacing, write_arrays, write_json, writing
from spincross.levels import Level, State
from spincross.molecule import Molecule
from spincross.units import BOHR_TO_ANGSTROM

Array = NDArray[np.float64]
Orbitals = tuple[Array, Array]
Report = Callable[[str], None]
StartHessian = Callable[[Molecule, Level, State, Orbitals], Array | None]

SAME_GEOMETRY = 1e-6
"""Largest difference of a coordinate (bohr) at which a stored gradient answers for a geometry."""
SAME_STATE = 1e-5
"""Largest difference of energies (Eh) of one state at one geometry on the coarse surface, reached from two guesses."""
SAME_START = 1e-3
"""Largest difference of a start coordinate (bohr) at which work is resumed: CIFs round, molecules do not change."""


@dataclass(frozen=True)
class Settings:
    """How to optimise.

    Parameters
    ----------
    convergence : geomeTRIC's set for the final surface (GAU_TIGHT: gradient below 1e-5 Eh/bohr, root mean square)
    coarse_convergence : the same for the coarse surface
    coarse_grid_level : grid of the coarse surface
    max_steps : per surface
    symmetry_tolerance : largest part of a gradient (Eh/bohr) that may break the group before it is symmetrised
    max_memory : MB
    """

    convergence: str = "GAU_TIGHT"
    coarse_convergence: str = "GAU_LOOSE"
    coarse_grid_level: int = 1
    max_steps: int = 100
    symmetry_tolerance: float = 1e-4
    max_memory: float = 8000


@dataclass(frozen=True)
class Optimisation:
    """A minimum of one state: final molecule, its solution and gradient, and every step on the way."""

    molecule: Molecule
    solution: Solution
    gradient: Array
    steps: list[dict[str, Any]]
    candidates: list[dict[str, Any]]


def print_line(text: str) -> None:
    """Show progress at once."""
    print(text, flush=True)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a work folder for one process; BadInput if another one holds it, CannotWrite if it cannot be written."""
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "lock").open("w")
    with lock as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise BadInput(f"{folder} is in use by another run; wait for it or choose another --workdir") from error
        yield


@dataclass
class StepFile:
    """The steps of one surface, appended as they finish; damaged lines (a half-written last one) are dropped.

    Raises StaleData if the file was begun for another level, state, molecule or start geometry.
    """

    path: Path
    header: dict[str, Any]
    steps: list[dict[str, Any]] = field(default_factory=list)
    dropped: int = 0

    def __post_init__(self) -> None:
        """Read what is there, or begin the file."""
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        entries = [entry for entry in map(_parse, lines) if entry is not None]
        if entries and entries[0] != json.loads(json.dumps(self.header)):
            raise StaleData(f"{self.path} belongs to another level, state or start geometry; remove its folder")
        self.steps, self.dropped = entries[1:], len(lines) - len(entries)
        with replacing(self.path) as temporary:
            temporary.write_text("".join(json.dumps(e) + "\n" for e in entries or [self.header]))

    def append(self, step: dict[str, Any]) -> None:
        """Add one step and flush it to disk."""
        with writing(self.path), self.path.open("a") as handle:
            handle.write(json.dumps(step) + "\n")
        self.steps.append(step)

    def find(self, positions: Array) -> dict[str, Any] | None:
        """Return the step at these positions (N, 3), if any."""
        for step in self.steps:
            if np.abs(np.array(step["positions_bohr"]) - positions).max() < SAME_GEOMETRY:
                return step
        return None


def _parse(line: str) -> dict[str, Any] | None:
    try:
        return dict(json.loads(line))
    except ValueError:
        return None


class SurfaceEngine(Engine):
    """geomeTRIC engine: energy and gradient of one state on one surface, exactly in the group."""

    def __init__(
        self, molecule: Molecule, level: Level, state: State, orbitals: Orbitals, file: StepFile,
        folder: Path, settings: Settings, report: Report,
    ) -> None:  # fmt: skip
        self.frame = _geometric_molecule(molecule)
        super().__init__(self.frame)
        self.molecule, self.level, self.state, self.orbitals = molecule, level, state, orbitals
        self.file, self.folder, self.settings, self.report = file, folder, settings, report

    def calc_new(self, coords: Array, dirname: str) -> dict[str, Any]:
        """Return energy (Eh) and flat gradient (3N,), Eh/bohr, at flat coordinates in bohr."""
        positions = np.asarray(coords).reshape(-1, 3)
        drift = pointgroup.deviation(self.molecule.numbers, positions, self.molecule.point_group)
        molecule = self.molecule.at(positions).symmetrised()
        step = self.file.find(molecule.positions)
        if step is None:
            step = self._compute(molecule, drift)
        return {"energy": step["energy_hartree"], "gradient": np.array(step["gradient_hartree_per_bohr"]).reshape(-1)}

    def _compute(self, molecule: Molecule, drift: float) -> dict[str, Any]:
        start = time.perf_counter()
        solution = electronic.solve(molecule, self.level, self.state, self.orbitals, self.settings.max_memory)
        scf_seconds = time.perf_counter() - start
        raw = electronic.gradient(solution)
        gradient = pointgroup.symmetrise_vectors(molecule.numbers, molecule.positions, raw, molecule.point_group)
        asymmetry = float(np.abs(raw - gradient).max())
        if asymmetry > self.settings.symmetry_tolerance:
            raise SymmetryLost(
                f"the forces of state {self.state.name} break {molecule.point_group} by {asymmetry:.2e} Eh/bohr "
                f"(allowed {self.settings.symmetry_tolerance:.0e}): the density left the group; try another occupation"
            )
        self.orbitals = solution.orbitals
        store_orbitals(self.folder / "orbitals.npz", solution.orbitals)
        step = {
            "step": len(self.file.steps),
            "grid_level": self.level.grid_level,
            "energy_hartree": solution.energy,
            "gradient_max_hartree_per_bohr": float(np.abs(gradient).max()),
            "gradient_rms_hartree_per_bohr": float(np.sqrt((gradient**2).mean())),
            "gradient_asymmetry_hartree_per_bohr": asymmetry,
            "deviation_bohr": drift,
            "s_squared": solution.s_squared,
            "scf_cycles": solution.cycles,
            "rungs": solution.trace,
            "scf_seconds": round(scf_seconds, 2),
            "seconds": round(time.perf_counter() - start, 2),
            "positions_bohr": molecule.positions.tolist(),
            "gradient_hartree_per_bohr": gradient.tolist(),
        }
        self.file.append(step)
        self.report(
            f"  step {step['step']:3d}  grid {self.level.grid_level}  E {solution.energy:.8f} Eh  "
            f"max|g| {step['gradient_max_hartree_per_bohr']:.2e}  <S2> {solution.s_squared:.3f}  "
            f"{solution.cycles} cycles  {step['seconds']:.0f} s"
        )
        return step


class GroupOptimizer(Optimizer):
    """geomeTRIC's optimiser with every step kept in the point group.

    Its internal coordinates need not form a symmetric set, so a symmetric gradient alone can give an asymmetric step.
    """

    X: Array

    def newCartesian(self, dy: Array) -> None:  # noqa: N802 - geomeTRIC's name
        """Take the internal step `dy` and project the displacement on the totally symmetric irrep.

        Internal coordinates leave the frame free, so the new geometry is first turned back onto the old one.
        """
        molecule: Molecule = self.engine.molecule
        old = self.X.reshape(-1, 3)
        super().newCartesian(dy)
        step = pointgroup.aligned(self.X.reshape(-1, 3), old) - old
        self.X = (old + pointgroup.symmetrise_vectors(molecule.numbers, old, step, molecule.point_group)).reshape(-1)


def store_orbitals(path: Path, orbitals: Orbitals) -> None:
    """Keep occupied orbitals as a guess (single precision: they are only ever a start)."""
    write_arrays(path, alpha=orbitals[0].astype(np.float32), beta=orbitals[1].astype(np.float32))


def load_orbitals(path: Path) -> Orbitals:
    """Read a guess; StaleData if the file is damaged."""
    data = read_arrays(path)
    return data["alpha"].astype(float), data["beta"].astype(float)


def _geometric_molecule(molecule: Molecule) -> GeometricMolecule:
    frame = GeometricMolecule()
    frame.elem = list(molecule.symbols)
    frame.xyzs = [molecule.positions * BOHR_TO_ANGSTROM]
    frame.build_topology()
    return frame


def _relax(
    engine: SurfaceEngine, convergence: str, max_steps: int, hessian: Array | None, need_hessian: bool
) -> tuple[Array, Array | None]:
    """Run geomeTRIC on one surface; return positions (N, 3) in bohr and the optimiser's last Hessian.

    Converged as in Q-Chem: the gradient, and the energy or the displacement. Along modes of 20 cm-1 a displacement of
    1e-5 angstrom asks for forces far below the noise of the grid.
    """
    logging.getLogger("geometric").setLevel(logging.WARNING)
    start = engine.molecule.positions.reshape(-1).copy()
    coordinates = DelocalizedInternalCoordinates(engine.frame, build=True, connect=True, addcart=False)
    with writing(Path(tempfile.gettempdir())):
        temporary = tempfile.TemporaryDirectory()
    with temporary as scratch:
        options: dict[str, Any] = {"convergence_set": convergence, "maxiter": max_steps, "frequency": False}
        parameters = OptParams(**options, qccnv=True)
        if hessian is not None:
            parameters.hess_data = held(engine.molecule, hessian)
        optimizer = GroupOptimizer(start, engine.frame, coordinates, engine, scratch, parameters, print_info=False)
        try:
            optimizer.optimizeGeometry()
        except GeomOptNotConvergedError as error:
            last = engine.file.steps[-1]
            raise NotConverged(
                f"no {convergence} minimum in {len(engine.file.steps)} steps: E {last['energy_hartree']:.8f} Eh, "
                f"max|g| {last['gradient_max_hartree_per_bohr']:.2e} Eh/bohr; the steps are kept, raise max_steps"
            ) from error
        last_hessian = _cartesian_hessian(optimizer) if need_hessian else None
    final = engine.molecule.at(optimizer.X.reshape(-1, 3)).symmetrised()
    return final.positions, last_hessian


def held(molecule: Molecule, hessian: Array) -> Array:
    """Return a Hessian (3N, 3N) whose curvature is positive along every displacement that would leave the point group.

    The step is projected on the group. Dust along a forbidden downward direction would fill the whole trust radius, and
    what the projection leaves of such a step is bonds stretched to second order.
    """
    matrices = pointgroup.representation(molecule.numbers, molecule.positions, molecule.point_group)
    allowed = np.mean(matrices, axis=0)
    forbidden = np.eye(len(hessian)) - allowed
    values, vectors = np.linalg.eigh(forbidden @ hessian @ forbidden)
    return np.asarray(allowed @ hessian @ allowed + (vectors * np.abs(values)) @ vectors.T)


def _cartesian_hessian(optimizer: Optimizer) -> Array:
    optimizer.UpdateHessian()
    return np.asarray(optimizer.IC.calcHessCart(optimizer.X, optimizer.G, optimizer.H))


def optimise(
    molecule: Molecule,
    level: Level,
    state: State,
    folder: Path,
    settings: Settings = Settings(),
    guess: Orbitals | None = None,
    hessian: Array | StartHessian | None = None,
    report: Report = print_line,
) -> Optimisation:
    """Relax one state in its point group, resuming from `folder` where work is found there.

    Parameters
    ----------
    molecule : start geometry in the exact group
    folder : work folder; holds state.json, orbitals.npz, start_hessian.npz, coarse/steps.jsonl,
        final/steps.jsonl
    guess : occupied orbitals near the start; without them every candidate occupation is tried from cold
    hessian : (3N, 3N), Eh/bohr2, at (or near) the start geometry, or a function that computes it from start, coarse
        level, state and orbitals (called once, its result kept in `folder`); geomeTRIC's guess without

    Raises
    ------
    NotConverged, SymmetryLost, StaleData, BadInput
    """
    with locked(folder):
        molecule, header = _header(molecule, level, state, folder)
        coarse = replace(level, grid_level=min(settings.coarse_grid_level, level.grid_level)).tightened(1e-8, 1e-4)
        candidates, state, orbitals = _start(molecule, coarse, state, folder, header, settings, guess, report)
        if callable(hessian):
            hessian = _kept_hessian(folder / "start_hessian.npz", hessian, (molecule, coarse, state, orbitals))
        surfaces = [(coarse, settings.coarse_convergence, "coarse"), (level, settings.convergence, "final")]
        steps: list[dict[str, Any]] = []
        for surface, convergence, name in surfaces:
            file = StepFile(folder / name / "steps.jsonl", header | {"grid_level": surface.grid_level})
            if file.dropped:
                report(f"  {file.path}: {file.dropped} damaged line(s) not used")
            engine = SurfaceEngine(molecule, surface, state, orbitals, file, folder, settings, report)
            positions, hessian = _relax(engine, convergence, settings.max_steps, hessian, name == "coarse")
            molecule, orbitals = molecule.at(positions), engine.orbitals
            steps += file.steps
        solution = electronic.solve(molecule, level, state, orbitals, settings.max_memory)
        last = file.find(molecule.positions)
        if last is None:
            raise NotConverged("the optimiser ended on a geometry without a gradient; remove the work folder")
        store_orbitals(folder / "orbitals.npz", solution.orbitals)
        return Optimisation(molecule, solution, np.array(last["gradient_hartree_per_bohr"]), steps, candidates)


def _check_same_state(file: StepFile, molecule: Molecule, solution: Solution) -> None:
    """Raise StaleData if a state searched anew is not the one whose steps are stored."""
    stored = file.find(molecule.positions)
    if stored is not None and abs(stored["energy_hartree"] - solution.energy) > SAME_STATE:
        raise StaleData(
            f"{file.path} holds steps of a state that differs by {abs(stored['energy_hartree'] - solution.energy):.1e} "
            "Eh from the one found now; remove its folder"
        )


def _kept_hessian(
    path: Path, compute: StartHessian, arguments: tuple[Molecule, Level, State, Orbitals]
) -> Array | None:
    """Return the start Hessian from the work folder, or compute and keep it; None where there is none."""
    if not path.exists():
        hessian = compute(*arguments)
        if hessian is None:
            return None
        write_arrays(path, hessian=hessian)
    return read_arrays(path)["hessian"]


def _header(molecule: Molecule, level: Level, state: State, folder: Path) -> tuple[Molecule, dict[str, Any]]:
    """Return the start (the stored one, to the last digit, when resuming) and what identifies the work."""
    path = folder / "state.json"
    fingerprint = electronic.level_fingerprint(level, state, molecule)
    if path.exists():
        header = read_json(path)["header"]
        start = np.array(header["start_bohr"])
        same_start = start.shape == molecule.positions.shape and np.abs(start - molecule.positions).max() < SAME_START
        if header["fingerprint"] != fingerprint or not same_start:
            raise StaleData(f"{path} belongs to another level, state or start geometry; remove its folder")
        return molecule.at(start), header
    return molecule, {"fingerprint": fingerprint, "start_bohr": molecule.positions.tolist()}


def _start(
    molecule: Molecule, level: Level, state: State, folder: Path, header: dict[str, Any], settings: Settings,
    guess: Orbitals | None, report: Report,
) -> tuple[list[dict[str, Any]], State, Orbitals]:  # fmt: skip
    """Find the lowest candidate state at the start geometry, or read it from the work folder."""
    path, kept = folder / "state.json", folder / "orbitals.npz"
    if path.exists() and kept.exists():
        stored = read_json(path)
        occupation = tuple((a, b) for a, b in stored["occupation"]) if stored["occupation"] else None
        report(f"  resuming in {folder.name}")
        return stored["candidates"], replace(state, occupation=occupation), load_orbitals(kept)
    if guess is None:
        solution, candidates = lowest_state(molecule, level, state, settings.max_memory, report=report)
        steps = StepFile(folder / "coarse/steps.jsonl", header | {"grid_level": level.grid_level})
        _check_same_state(steps, molecule, solution)
        guess, occupation = solution.orbitals, solution.occupation
    else:
        candidates, occupation = [], state.occupation
    store_orbitals(folder / "orbitals.npz", guess)
    write_json(path, {"header": header, "candidates": candidates, "occupation": occupation})
    return candidates, replace(state, occupation=occupation), guess
