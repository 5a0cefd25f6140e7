"""Relaxing one state and making sure that it is the right one: optimise, test, follow an instability down, judge."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from spincross import checkpoints, descent, gates, optimise
from spincross.checkpoints import Orbitals
from spincross.electronic import Solution
from spincross.errors import NotConverged, SymmetryLost, WrongState
from spincross.files import Json, print_line
from spincross.levels import Level, State
from spincross.molecule import Molecule
from spincross.optimise import Optimisation
from spincross.orbital_rotations import Rotation, Stability
from spincross.units import HARTREE_TO_KJ_PER_MOL


@dataclass(frozen=True)
class Task:
    """What to relax: start geometry, level, state, metal, limits of the gates, how to optimise, work folder.

    And, where it is known, the energy of the start geometry (Eh).
    """

    molecule: Molecule
    level: Level
    state: State
    metal: str | None
    limits: Json
    settings: optimise.Settings
    work: Path
    start_energy: float = np.inf


def relax(task: Task, guess: Orbitals | None = None, hessian: Any = None) -> tuple[Optimisation, Json]:
    """Return the minimum of a state, and warnings, stability eigenvalue and what was followed for optimise.json.

    An unstable solution is followed down and relaxed again from its geometry, in the subfolder `followed`; then the
    gates are run.

    Raises
    ------
    NotConverged, WrongState, SymmetryLost, StaleData, BadInput
    """
    with checkpoints.locked(task.work):
        return _relaxed(task, guess, hessian)


def _relaxed(task: Task, guess: Orbitals | None, hessian: Any) -> tuple[Optimisation, Json]:
    def check(solution: Solution) -> None:
        """Raise WrongState, unless failures are to be warnings, if the state found at the start has another spin."""
        gates.judge_spin(solution, task.molecule, task.state, task.metal, task.limits)

    arguments = task.molecule, task.level, task.state, task.work, task.settings, guess, hessian
    result = optimise.optimise(*arguments, check=check)
    tested = gates.stability(result.solution, task.limits, sharp=True)
    followed: list[Json] = []
    warnings: list[str] = []
    if tested.downward is not None:
        try:
            result, tested, row = _followed(task, result, tested.downward, hessian)
            followed.append(row)
            gain = HARTREE_TO_KJ_PER_MOL * (row["energy_before_hartree"] - row["energy_after_hartree"])
            warnings.append(
                f"the first solution of {task.state.name} was unstable (orbital Hessian eigenvalue "
                f"{row['eigenvalue_hartree']:.4f} Eh); one lower by {gain:.1f} kJ/mol was followed and relaxed"
            )
        except (NotConverged, SymmetryLost, WrongState) as error:
            warnings = gates.failed(error, task.limits)
    warnings += gates.judge(result.solution, result.molecule, task.state, task.metal, task.limits, tested)
    warnings += gates.judge_descent(result.solution.energy, _lowest_on_the_way(task, result), task.state, task.limits)
    warnings += gates.judge_forces(result.steps, task.state, task.molecule.point_group, task.limits)
    facts = {
        "warnings": warnings,
        **tested.facts(),
        "followed_instabilities": followed,
    }
    return result, facts


def _lowest_on_the_way(task: Task, result: Optimisation) -> float:
    """Return the lowest energy (Eh) of the start and of the steps on the surface on which the result was found."""
    grids = [step["grid_level"] for step in result.steps]
    final = [s["energy_hartree"] for s, grid in zip(result.steps, grids, strict=True) if grid == grids[-1]]
    return min(task.start_energy, *final)


def _followed(
    task: Task, result: Optimisation, downward: Rotation, hessian: Any
) -> tuple[Optimisation, Stability, Json]:
    allowed, memory = task.limits["density_asymmetry"], task.settings.max_memory
    level, before = task.level, result.solution
    print_line(f"  unstable (eigenvalue {downward.eigenvalue:.4f} Eh): following it down")
    lower = descent.follow(before, downward.mode, result.molecule, level, task.state, allowed, memory)
    state = replace(task.state, occupation=lower.occupation)
    folder = task.work / "followed"
    again = optimise.optimise(result.molecule, level, state, folder, task.settings, lower.orbitals, hessian)
    row = {
        "eigenvalue_hartree": downward.eigenvalue,
        "energy_before_hartree": before.energy,
        "energy_after_hartree": lower.energy,
        "electrons_per_irrep_before": before.occupation,
        "electrons_per_irrep_after": lower.occupation,
    }
    if again.solution.energy > lower.energy + gates.LARGEST_RISE:
        raise WrongState(
            f"the lower solution of {task.state.name} at {lower.energy:.8f} Eh was lost on the way to "
            f"{again.solution.energy:.8f} Eh; remove {folder} and start anew"
        )
    whole = replace(again, steps=result.steps + again.steps, candidates=result.candidates)
    return whole, gates.stability(again.solution, task.limits, sharp=True), row
