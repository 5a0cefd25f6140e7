"""Judging a converged state: whether it is the state asked for.

Converged is not enough. A state must have the right <S^2>, the metal the right spin, its density must keep the imposed
group, and no lower solution may lie nearby. A failed gate is an error, or, where the configuration says so, a warning.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from spincross import descent, device, fitted_response, orbital_rotations, populations, response
from spincross.electronic import Solution
from spincross.errors import NotConverged, SpincrossError, SymmetryLost, WrongState
from spincross.files import Json, print_line
from spincross.levels import State
from spincross.molecule import Molecule
from spincross.orbital_rotations import Rotation, Stability

Array = NDArray[np.float64]

WAY_ON = "gates.on_failure: warning goes on with it, and the report says so"
"""What the error of a failed gate ends with."""
METAL_SPIN_LEAST, METAL_SPIN_PART = 0.5, 0.2
"""Unpaired electrons, and part of all of them, that may be off the metal: iron(III) of high spin keeps 4.1 of 5."""
LARGEST_RISE = 5e-5
"""Largest rise (Eh) from start to minimum: an iron complex of 27 atoms turned by 10 degrees in the integration grid
changed by 1.6e-5, and larger ones may by more."""
STABILITY_GRID = 0
"""Grid of the kernel in the stability test: the sign of the lowest eigenvalue does not need more."""


def ideal_s_squared(multiplicity: int) -> float:
    """Return S(S+1).

    >>> ideal_s_squared(5)
    6.0
    """
    spin = (multiplicity - 1) / 2
    return spin * (spin + 1)


def stability(solution: Solution, limits: Json, sharp: bool = False) -> Stability:
    """Test a solution against rotations of its orbitals, of any symmetry; nothing where the configuration says so.

    On the device that solved it. NotConverged if it finds no lowest rotation, where a failed gate is an error.

    Parameters
    ----------
    sharp : rotations that are zero within the noise are searched again on the grid of the SCF
    """
    if not limits["stability"]:
        return Stability()
    host = solution.mean_field
    if solution.device == "cpu" and not response.fits(host):
        needed, given = fitted_response.megabytes(host, keep=False), host.mol.max_memory
        print_line(f"  stability test from integrals on disk: in memory they need {needed:.0f} MB of {given:.0f} MB")
    try:
        found = _rotations(solution, STABILITY_GRID)
        undecided, grid = [r for r in found if sharp and r.undecided], int(host.grids.level)
        if undecided:
            names = ", ".join(f"{r.eigenvalue:.5f} Eh ({r.block})" for r in undecided)
            print_line(f"  orbital Hessian eigenvalue {names}, zero within the noise of the test: again on grid {grid}")
            found = _sharper(solution, grid, found, undecided)
    except NotConverged as error:
        return Stability(failure=failed(error, limits)[0])
    return Stability(tuple(found))


def _sharper(solution: Solution, grid_level: int, found: list[Rotation], undecided: list[Rotation]) -> list[Rotation]:
    """Return the rotations found, undecided ones searched again; as they were if that search finds none."""
    try:
        sharper = {r.block: r for r in _rotations(solution, grid_level, undecided)}
    except NotConverged as error:
        print_line(f"  {error}; the rough one stands")
        return found
    return [sharper.get(r.block, r) for r in found]


def _rotations(solution: Solution, grid_level: int, rough: Sequence[Rotation] = ()) -> list[Rotation]:
    host, group = solution.mean_field, solution.point_group
    return device.with_fallback(
        solution.device, lambda place: orbital_rotations.lowest_rotations(host, group, grid_level, place, rough)
    )


def failed(error: SpincrossError, limits: Json) -> list[str]:
    """Raise the error of a failed gate, with the way to go on, or return its sentence where failures are warnings."""
    if limits["on_failure"] == "error":
        if WAY_ON not in str(error):
            error.args = (f"{error} ({WAY_ON})", *error.args[1:])
        raise error
    return [f"gate failed: {error}"]


def judge(
    solution: Solution, molecule: Molecule, state: State, metal: str | None, limits: Json, tested: Stability
) -> list[str]:
    """Check a state; return its warnings.

    Raises
    ------
    WrongState
        if <S^2> or the metal's spin population is out of its window, or a lower solution lies nearby, with the numbers
    SymmetryLost
        if the density breaks the imposed group
    """
    return [
        *judge_spin(solution, molecule, state, metal, limits),
        *_density(solution, molecule, state, limits),
        *_unstable(state, tested, limits),
    ]


def judge_spin(solution: Solution, molecule: Molecule, state: State, metal: str | None, limits: Json) -> list[str]:
    """Check <S^2> and the metal's spin population; return warnings, raises WrongState as `judge`."""
    return [
        *_spin_contamination(solution, state, limits),
        *_metal_spin(solution, molecule, state, metal, limits),
    ]


def _spin_contamination(solution: Solution, state: State, limits: Json) -> list[str]:
    ideal, found = ideal_s_squared(state.multiplicity), solution.s_squared
    text = f"<S2> of {state.name} is {found:.3f}, the pure state has {ideal:.3f}"
    if abs(found - ideal) > limits["s_squared_error"]:
        advice = "not the state asked for; try another start or ligand, or raise gates.s_squared_error"
        return failed(WrongState(f"{text}: {advice}"), limits)
    return [text] if abs(found - ideal) > limits["s_squared_warning"] else []


def _metal_spin(solution: Solution, molecule: Molecule, state: State, metal: str | None, limits: Json) -> list[str]:
    if metal is None:
        return []
    unpaired = state.multiplicity - 1
    population = float(populations.spin_populations(solution)[molecule.symbols.index(metal)])
    if metal != "Fe" or state.multiplicity != 5:
        far = abs(population - unpaired) > max(METAL_SPIN_LEAST, METAL_SPIN_PART * unpaired)
        text = (
            f"the spin population of {metal} in {state.name} is {population:.2f}, of {unpaired} unpaired electrons: "
            "the others are on the ligands; check that this is the state you mean"
        )
        return [text] if far else []
    low, high = limits["metal_spin_high"]
    if low <= population <= high:
        return []
    text = (
        f"the spin population of Fe in {state.name} is {population:.2f}, outside {low} to {high}: "
        "not high-spin iron(II); try another start, or change gates.metal_spin_high"
    )
    return failed(WrongState(text), limits)


def _density(solution: Solution, molecule: Molecule, state: State, limits: Json) -> list[str]:
    allowed, broken = limits["density_asymmetry"], descent.asymmetry(solution, molecule)
    if broken <= allowed:
        return []
    text = (
        f"the density of {state.name} breaks {molecule.point_group} by {broken:.2e} electrons (allowed {allowed:.0e}): "
        "try another occupation, or raise gates.density_asymmetry"
    )
    return failed(SymmetryLost(text), limits)


def judge_descent(energy: float, start: float, state: State, limits: Json) -> list[str]:
    """Check that a minimum does not lie above the lowest geometry on the way to it, both Eh; return the warning.

    Raises
    ------
    WrongState
        if it does, by more than LARGEST_RISE
    """
    if energy < start + LARGEST_RISE:
        return []
    error = WrongState(
        f"{state.name} relaxed to {energy:.8f} Eh, above {start:.8f} Eh at its start or on the way: an SCF fell into "
        "another electronic state, or there is no minimum near; the energies of all steps are in its steps.jsonl"
    )
    return failed(error, limits)


def judge_forces(steps: list[Json], state: State, group: str, limits: Json) -> list[str]:
    """Check that the forces of every step kept the group; raises SymmetryLost, or returns its sentence."""
    allowed = limits["gradient_asymmetry"]
    worst = max((step.get("gradient_asymmetry_hartree_per_bohr", 0.0) for step in steps), default=0.0)
    if worst <= allowed:
        return []
    text = f"the forces of state {state.name} broke {group} by up to {worst:.2e} Eh/bohr (allowed {allowed:.0e})"
    return failed(SymmetryLost(f"{text}: try another occupation, or raise gates.gradient_asymmetry"), limits)


def _unstable(state: State, tested: Stability, limits: Json) -> list[str]:
    if not tested.rotations:
        return [tested.failure or f"the stability of {state.name} was not tested (gates.stability: false)"]
    warnings, text = [], f"the solution of {state.name} is unstable: orbital Hessian eigenvalue"
    if tested.downward is not None:
        lower = f"{tested.downward.eigenvalue:.4f} Eh (rotations {tested.downward.block}), a lower state lies nearby"
        warnings += failed(WrongState(f"{text} {lower}"), limits)
    if tested.spin_breaking is not None:
        warnings.append(f"{text} {tested.spin_breaking.eigenvalue:.4f} Eh, towards an open-shell singlet (RKS to UKS)")
    return [*warnings, *(_undecided(state, row) for row in tested.undecided)]


def _undecided(state: State, rotation: Rotation) -> str:
    return (
        f"the solution of {state.name} is on the brink of instability: orbital Hessian eigenvalue "
        f"{rotation.eigenvalue:.5f} Eh (rotations {rotation.block}, noise {rotation.noise:.0e}); another state "
        "is close, and curvatures along modes of this irrep may hang on it"
    )
