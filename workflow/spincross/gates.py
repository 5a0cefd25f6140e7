"""Judging an optimised state: is it the state asked for, and what describes it.

Converged is not enough. A state must have the right <S^2>, the metal the right spin, and no lower solution nearby.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from spincross import electronic, pointgroup, response
from spincross.electronic import Level, State
from spincross.errors import WrongState
from spincross.files import Json
from spincross.molecule import Molecule, metal_bonds
from spincross.optimise import Optimisation
from spincross.units import BOHR_TO_ANGSTROM

Array = NDArray[np.float64]

STABILITY_GRID = 0
"""Grid of the kernel in the stability test: the sign of the lowest eigenvalue does not need more."""
UNSTABLE = -1e-3
"""Eigenvalue of the orbital Hessian (Eh) below which a solution is called unstable."""


def ideal_s_squared(multiplicity: int) -> float:
    """Return S(S+1).

    >>> ideal_s_squared(5)
    6.0
    """
    spin = (multiplicity - 1) / 2
    return spin * (spin + 1)


def judge(result: Optimisation, state: State, metal: str | None, limits: Json) -> Json:
    """Check a state; return its warnings and the outcome of the stability test.

    Raises
    ------
    WrongState
        if <S^2> or the metal's spin population is out of its window, with the numbers
    """
    warnings = [*_spin_contamination(result, state, limits), *_metal_spin(result, state, metal, limits)]
    lowest = None
    if limits["stability"]:
        lowest = response.lowest_rotation(result.solution.mean_field, STABILITY_GRID)
        if lowest < UNSTABLE:
            warnings.append(
                f"the solution is unstable: orbital Hessian eigenvalue {lowest:.4f} Eh, a lower state lies nearby"
            )
    return {"warnings": warnings, "stability_eigenvalue_hartree": lowest}


def _spin_contamination(result: Optimisation, state: State, limits: Json) -> list[str]:
    ideal, found = ideal_s_squared(state.multiplicity), result.solution.s_squared
    text = f"<S2> of {state.name} is {found:.3f}, the pure state has {ideal:.3f}"
    if abs(found - ideal) > limits["s_squared_error"]:
        raise WrongState(
            f"{text}: not the state asked for; try another start or ligand, or raise gates.s_squared_error"
        )
    return [text] if abs(found - ideal) > limits["s_squared_warning"] else []


def _metal_spin(result: Optimisation, state: State, metal: str | None, limits: Json) -> list[str]:
    if metal != "Fe" or state.multiplicity != 5:
        return []
    low, high = limits["metal_spin_high"]
    population = electronic.spin_populations(result.solution)[result.molecule.symbols.index(metal)]
    if not low <= population <= high:
        raise WrongState(
            f"the spin population of Fe in {state.name} is {population:.2f}, outside {low} to {high}: "
            "not high-spin iron(II); try another start, or change gates.metal_spin_high"
        )
    return []


def describe(result: Optimisation, state: State, metal: str | None, level: Level) -> Json:
    """Return what optimise.json holds beside provenance and warnings."""
    molecule, solution, steps = result.molecule, result.solution, result.steps
    centre = molecule.symbols.index(metal) if metal else None
    populations = electronic.spin_populations(solution)
    return {
        "level": {key: value for key, value in vars(level).items()},
        "state": state.name,
        "multiplicity": state.multiplicity,
        "point_group": molecule.point_group,
        "energy_hartree": solution.energy,
        "s_squared": solution.s_squared,
        "s_squared_ideal": ideal_s_squared(state.multiplicity),
        "metal_spin_population": None if centre is None else float(populations[centre]),
        "spin_populations": populations,
        "gradient_max_hartree_per_bohr": float(np.abs(result.gradient).max()),
        "gradient_rms_hartree_per_bohr": float(np.sqrt((result.gradient**2).mean())),
        "steps": len(steps),
        "scf_cycles_per_step": [step["scf_cycles"] for step in steps],
        "seconds_per_step": [step["seconds"] for step in steps],
        "energies_hartree_per_step": [step["energy_hartree"] for step in steps],
        "grid_level_per_step": [step["grid_level"] for step in steps],
        "wall_seconds": round(sum(step["seconds"] for step in steps), 1),
        "candidates": result.candidates,
        "electrons_per_irrep": solution.occupation,
        "deviation_from_group_bohr": pointgroup.deviation(molecule.numbers, molecule.positions, molecule.point_group),
        "dipole_debye": electronic.dipole(solution),
        "orbitals": electronic.frontier_levels(solution, centre),
        "metal_bonds_angstrom": metal_bonds(molecule, metal),
        "metal_angles_degree": _angles(molecule, metal),
    }


def _angles(molecule: Molecule, metal: str | None) -> list[dict[str, Any]]:
    """Return donor-metal-donor angles and the metal-N-C angles of the NCS groups, degrees."""
    if metal is None:
        return []
    centre = molecule.symbols.index(metal)
    donors = sorted(row["atoms"][1] for row in metal_bonds(molecule, metal))
    rows = [_angle(molecule, a, centre, b) for n, a in enumerate(donors) for b in donors[n + 1 :]]
    return rows + [_angle(molecule, centre, donor, carbon) for donor, carbon in _ncs_bends(molecule, donors)]


def _angle(molecule: Molecule, a: int, apex: int, b: int) -> dict[str, Any]:
    left, right = molecule.positions[a] - molecule.positions[apex], molecule.positions[b] - molecule.positions[apex]
    cosine = left @ right / np.linalg.norm(left) / np.linalg.norm(right)
    kind = "-".join(molecule.symbols[i] for i in (a, apex, b))
    return {"atoms": [a, apex, b], "kind": kind, "angle": float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))}


def _ncs_bends(molecule: Molecule, donors: list[int]) -> list[tuple[int, int]]:
    """Return (N, C) of every donor whose carbon lies within a bond of a sulfur."""
    positions, symbols = molecule.positions * BOHR_TO_ANGSTROM, molecule.symbols
    pairs = []
    for donor in donors:
        distances = np.linalg.norm(positions - positions[donor], axis=1)
        for carbon in np.flatnonzero((distances < 1.35) & (np.array(symbols) == "C")):
            to_sulfur = np.linalg.norm(positions - positions[carbon], axis=1)[np.array(symbols) == "S"]
            if len(to_sulfur) and to_sulfur.min() < 1.8:
                pairs.append((donor, int(carbon)))
    return pairs
