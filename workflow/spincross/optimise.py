"""Geometry optimisation of one state that holds its point group and loses no step.

A restart replays the optimiser from its first step: geometries whose gradient is stored are answered from there, so a
killed run repeats one gradient at most and ends where it would have ended. The surface far from the minimum is a coarse
one (small grid, loose SCF), and so are the states tried at the start; the last steps, and every other number
reported, are on the level asked for.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spincross import electronic, pointgroup
from spincross.candidates import lowest_state
from spincross.checkpoints import Orbitals, StepFile, load_orbitals, store_orbitals
from spincross.electronic import Solution
from spincross.errors import NotConverged, StaleData, SymmetryLost, WrongState
from spincross.files import Report, print_line, read_arrays, read_json, write_arrays, write_json
from spincross.group_optimizer import GroupEngine, relax
from spincross.levels import Level, State, read_occupation
from spincross.molecule import Molecule
from spincross.quasi_newton import Curvature

Array = NDArray[np.float64]
StartHessian = Callable[[Molecule, Level, State, Orbitals], Array | None]

SAME_ENERGY = 1e-6
"""Largest difference of energies (Eh) of one state at one geometry on the final surface."""
SAME_START = 1e-3
"""Largest difference of a start coordinate (bohr) at which work is resumed: CIFs round, molecules do not change."""


@dataclass(frozen=True)
class Settings:
    """How to optimise.

    Parameters
    ----------
    convergence : geomeTRIC's set for the final surface (GAU_TIGHT: gradient below 1e-5 Eh/bohr, root mean square)
    coarse_convergence : the same for the coarse surface, of which only the gradient counts
    coarse_grid_level : grid of the coarse surface
    max_steps : per surface
    symmetry_tolerance : largest part of a gradient (Eh/bohr) that may break the group before it is symmetrised
    max_memory : MB
    """

    convergence: str = "GAU_TIGHT"
    coarse_convergence: str = "GAU"
    coarse_grid_level: int = 1
    max_steps: int = 100
    symmetry_tolerance: float = 1e-4
    max_memory: float = 8000


@dataclass(frozen=True)
class Optimisation:
    """A minimum of one state.

    Parameters
    ----------
    molecule, solution : the final geometry, exactly in its group, and its SCF
    gradient : (N, 3), Eh/bohr, of the last step
    steps : every step on the way, on both surfaces, as in steps.jsonl
    candidates : states tried at the start geometry; empty where orbitals were given
    """

    molecule: Molecule
    solution: Solution
    gradient: Array
    steps: list[dict[str, Any]]
    candidates: list[dict[str, Any]]


class SurfaceEngine(GroupEngine):
    """Energy and gradient of one state on one surface, exactly in the group, each stored as it is finished."""

    def __init__(
        self, molecule: Molecule, level: Level, state: State, orbitals: Orbitals, curvature: Curvature | None,
        file: StepFile, folder: Path, settings: Settings, report: Report,
    ) -> None:  # fmt: skip
        super().__init__(molecule)
        self.level, self.state, self.orbitals, self.curvature = level, state, orbitals, curvature
        self.file, self.folder, self.settings, self.report = file, folder, settings, report
        self.accepted = orbitals, curvature
        self.steps: list[dict[str, Any]] = []
        self.began = time.perf_counter()

    def calc_new(self, coords: Array, dirname: str) -> dict[str, Any]:
        """Return energy (Eh) and flat gradient (3N,), Eh/bohr, at flat coordinates in bohr."""
        positions = np.asarray(coords).reshape(-1, 3)
        drift = pointgroup.deviation(self.molecule.numbers, positions, self.molecule.point_group)
        molecule = self.molecule.at(positions).symmetrised()
        step = self.file.find(molecule.positions)
        if step is None:
            step = self._compute(molecule, drift)
        if all(step is not other for other in self.steps):
            self.steps.append(step)
        return {"energy": step["energy_hartree"], "gradient": np.array(step["gradient_hartree_per_bohr"]).reshape(-1)}

    def save_guess_files(self, dirname: str) -> None:
        """Keep what the next SCF begins with, on disk, too; geomeTRIC calls this when it takes a step."""
        if self.orbitals is not self.accepted[0]:
            store_orbitals(self.folder / "orbitals.npz", self.orbitals)
        self.accepted = self.orbitals, self.curvature

    def load_guess_files(self, dirname: str) -> None:
        """Go back to what was kept; geomeTRIC calls this when it rejects a step, maybe one in a higher state."""
        self.orbitals, self.curvature = self.accepted

    def solve(self, molecule: Molecule) -> Solution:
        """Solve at a geometry from what is known of the last one."""
        memory = self.settings.max_memory
        return electronic.solve(molecule, self.level, self.state, self.orbitals, memory, curvature=self.curvature)

    def _compute(self, molecule: Molecule, drift: float) -> dict[str, Any]:
        start = time.perf_counter()
        solution = self.solve(molecule)
        scf_seconds = time.perf_counter() - start
        raw = electronic.gradient(solution)
        gradient = pointgroup.symmetrise_vectors(molecule.numbers, molecule.positions, raw, molecule.point_group)
        asymmetry = float(np.abs(raw - gradient).max())
        if asymmetry > self.settings.symmetry_tolerance:
            raise SymmetryLost(
                f"the forces of state {self.state.name} break {molecule.point_group} by {asymmetry:.2e} Eh/bohr "
                f"(allowed {self.settings.symmetry_tolerance:.0e}): the density left the group; try another "
                "occupation, or raise gates.gradient_asymmetry"
            )
        self.orbitals, self.curvature = solution.orbitals, solution.curvature
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
            f"{solution.cycles} cycles  {step['seconds']:.0f} s  elapsed {time.perf_counter() - self.began:.0f} s"
        )
        return step


def optimise(
    molecule: Molecule,
    level: Level,
    state: State,
    folder: Path,
    settings: Settings = Settings(),
    guess: Orbitals | None = None,
    hessian: Array | StartHessian | None = None,
    report: Report = print_line,
    check: Callable[[Solution], Any] = lambda solution: None,
) -> Optimisation:
    """Relax one state in its point group, resuming from `folder` where work is found there; the caller has it locked.

    Parameters
    ----------
    molecule : start geometry in the exact group
    folder : work folder; holds state.json, candidates, orbitals.npz, start_hessian_*.npz,
        coarse/steps.jsonl, final/steps.jsonl
    guess : occupied orbitals near the start; without them every candidate occupation is tried from cold
    hessian : (3N, 3N), Eh/bohr2, at (or near) the start geometry, or a function that computes it from start, coarse
        level, state and orbitals (called once, its result kept in `folder`); geomeTRIC's guess without
    check : looks at the state found at the start, and may raise before a step is taken

    Raises
    ------
    NotConverged, SymmetryLost, StaleData, BadInput
    WrongState
        if the SCF after the last step is in another state
    """
    molecule, header = _header(molecule, level, state, folder)
    coarse = replace(level, grid_level=min(settings.coarse_grid_level, level.grid_level)).tightened(1e-8, 1e-4)
    candidates, state, orbitals = _start(molecule, coarse, state, folder, header, settings, guess, report, check)
    if callable(hessian):
        hessian = kept_hessian(folder, hessian, (molecule, coarse, state, orbitals))
    surfaces = [(coarse, settings.coarse_convergence, "coarse"), (level, settings.convergence, "final")]
    steps: list[dict[str, Any]] = []
    curvature: Curvature | None = None
    for surface, convergence, name in surfaces:
        file = _step_file(folder / name, header, surface)
        if file.dropped:
            report(f"  {file.path}: {file.dropped} damaged line(s) not used")
        engine = SurfaceEngine(molecule, surface, state, orbitals, curvature, file, folder, settings, report)
        positions, hessian = relax(engine, convergence, settings.max_steps, hessian, name == "coarse")
        molecule, orbitals, curvature = molecule.at(positions), engine.orbitals, engine.curvature
        steps += engine.steps
    solution = replace(engine.solve(molecule), curvature=None)  # of no use to what comes after
    last = file.find(molecule.positions)
    if last is None:
        raise NotConverged("the optimiser ended on a geometry without a gradient; remove the work folder")
    if abs(solution.energy - last["energy_hartree"]) > SAME_ENERGY:
        raise WrongState(
            f"the last step of {state.name} has {last['energy_hartree']:.8f} Eh, the SCF at its geometry ended at "
            f"{solution.energy:.8f} Eh: another electronic state; remove {folder} and start anew"
        )
    store_orbitals(folder / "orbitals.npz", solution.orbitals)
    return Optimisation(molecule, solution, np.array(last["gradient_hartree_per_bohr"]), steps, candidates)


def _step_file(folder: Path, header: dict[str, Any], surface: Level) -> StepFile:
    thresholds = {k: v for k, v in surface.theory().items() if k.startswith("scf_")}
    return StepFile(folder / "steps.jsonl", header | {"grid_level": surface.grid_level} | thresholds)


def _check_same_state(file: StepFile, molecule: Molecule, solution: Solution) -> None:
    """Raise StaleData if a state searched anew is not the one whose steps are stored."""
    stored = file.find(molecule.positions)
    if stored is not None and abs(stored["energy_hartree"] - solution.energy) > electronic.SAME_STATE:
        raise StaleData(
            f"{file.path} holds steps of a state that differs by {abs(stored['energy_hartree'] - solution.energy):.1e} "
            "Eh from the one found now; remove its folder"
        )


def kept_hessian(
    folder: Path, compute: StartHessian, arguments: tuple[Molecule, Level, State, Orbitals]
) -> Array | None:
    """Return the start Hessian kept under its name in the work folder, or compute and keep it; None without one.

    StaleData if it was made for another geometry.
    """
    path, molecule = folder / f"start_hessian_{compute.__name__}.npz", arguments[0]
    if not path.exists():
        hessian = compute(*arguments)
        if hessian is None:
            return None
        write_arrays(path, hessian=hessian, positions=molecule.positions)
    stored = read_arrays(path)
    places = stored["positions"]
    if places.shape != molecule.positions.shape or np.abs(places - molecule.positions).max() > SAME_START:
        raise StaleData(f"{path} was made for another start geometry; remove it")
    return stored["hessian"]


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
    guess: Orbitals | None, report: Report, check: Callable[[Solution], Any],
) -> tuple[list[dict[str, Any]], State, Orbitals]:  # fmt: skip
    """Find the lowest candidate state at the start geometry, or read it from the work folder."""
    path, kept = folder / "state.json", folder / "orbitals.npz"
    if path.exists() and kept.exists():
        stored = read_json(path)
        occupation = read_occupation(stored["occupation"])
        report(f"  resuming in {folder.name}")
        return stored["candidates"], replace(state, occupation=occupation), load_orbitals(kept)
    if guess is None:
        tried = folder / "candidates"
        solution, candidates = lowest_state(molecule, level, state, settings.max_memory, report=report, folder=tried)
        check(solution)
        steps = _step_file(folder / "coarse", header, level)
        _check_same_state(steps, molecule, solution)
        guess, occupation = solution.orbitals, solution.occupation
    else:
        candidates, occupation = [], state.occupation
    store_orbitals(folder / "orbitals.npz", guess)
    write_json(path, {"header": header, "candidates": candidates, "occupation": occupation})
    return candidates, replace(state, occupation=occupation), guess
