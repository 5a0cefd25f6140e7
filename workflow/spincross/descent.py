r"""Following an unstable solution down to a lower one.

The unstable mode :math:`\kappa` of the orbital Hessian turns the occupied orbitals, :math:`C_{occ} \to C e^{\theta K}`
with :math:`K = \kappa - \kappa^T`; the angle of lowest energy starts an SCF without symmetry. The solution found there
is of use only if its density keeps the imposed group; it is then converged again with its electrons per irrep fixed.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spincross import device, electronic, irreps, mean_field
from spincross.electronic import Solution
from spincross.errors import SymmetryLost, WrongState
from spincross.levels import Level, State
from spincross.molecule import Molecule
from spincross.quasi_newton import Frame
from spincross.units import HARTREE_TO_KJ_PER_MOL

Array = NDArray[np.float64]

ANGLES = np.array([0.05, 0.1, 0.2, 0.4, 0.7, 1.0, 1.3, np.pi / 2])
"""Angles tried along the mode, both ways; pi/2 exchanges two orbitals altogether."""
LOWER = 1e-6
"""Energy (Eh) that following a mode must gain to count as another solution."""


def asymmetry(solution: Solution, molecule: Molecule) -> float:
    """Return the largest part (electrons) of the alpha or beta density that breaks the imposed group."""
    functions = irreps.adapted(solution.mean_field.mol, molecule.point_group)
    return max(functions.asymmetry(orbitals) for orbitals in solution.orbitals)


def turned(coefficients: Array, occupied: NDArray[np.bool_], mode: Array, angle: float) -> Array:
    """Return occupied orbitals (nao, nocc) turned by an angle along a mode (virtual, occupied)."""
    ordered = np.hstack([coefficients[:, occupied], coefficients[:, ~occupied]])
    frame = Frame((ordered,), (int(occupied.sum()),), (np.zeros(len(occupied), dtype=int),))
    return frame.turned(angle * mode.reshape(-1)).occupied[0]


def _lowest_along(method: Any, mode: list[Array]) -> tuple[Array, Array]:
    """Return the occupied orbitals of lowest energy along a mode, from the Kohn-Sham object of either device."""
    closed = method.mol.spin == 0
    found, filled = device.to_numpy(method.mo_coeff), device.to_numpy(method.mo_occ) > 0
    coefficients, occupied = ([found] * 2, [filled] * 2) if closed else (list(found), list(filled))
    scale = np.sqrt(2.0) if closed else 1.0  # a closed shell turns both spins by the same matrix, each of norm 1/sqrt 2
    tried = []
    for angle in np.concatenate([ANGLES, -ANGLES]) * scale:
        alpha, beta = (turned(c, o, m, angle) for c, o, m in zip(coefficients, occupied, mode, strict=True))
        density = alpha @ alpha.T + beta @ beta.T if closed else np.array([alpha @ alpha.T, beta @ beta.T])
        tried.append((float(method.energy_tot(device.alike(density, method.mo_coeff))), (alpha, beta)))
    return min(tried, key=lambda pair: pair[0])[1]


def follow(
    solution: Solution, mode: list[Array], molecule: Molecule, level: Level, state: State, tolerance: float,
    max_memory: float = 8000,
) -> Solution:  # fmt: skip
    """Return the lower solution that an unstable mode leads to, converged in the imposed group.

    Parameters
    ----------
    mode : per spin (virtual, occupied), from `orbital_rotations.lowest_rotations`
    tolerance : largest asymmetry (electrons) of a density that keeps the group

    Raises
    ------
    SymmetryLost
        if the lower solution breaks the group
    WrongState
        if the SCF fell back to where it came from
    """
    orbitals = electronic.on_its_device(solution, partial(_lowest_along, mode=mode), "the energies along the mode")
    free = electronic.solve(
        molecule.at(molecule.positions, "C1"), level, replace(state, occupation=None), orbitals, max_memory
    )
    gain = solution.energy - free.energy
    if gain < LOWER:
        raise WrongState(
            f"the solution of {state.name} at {solution.energy:.8f} Eh is unstable, but following its mode ended at "
            f"{free.energy:.8f} Eh, not lower; try another start"
        )
    broken = asymmetry(free, molecule)
    if broken > tolerance:
        raise SymmetryLost(
            f"the solution of {state.name} in {molecule.point_group} is unstable: one lower by "
            f"{gain * HARTREE_TO_KJ_PER_MOL:.2f} kJ/mol breaks it by {broken:.3f} electrons (allowed {tolerance})"
        )
    if molecule.point_group == "C1":
        return free
    occupation = mean_field.electrons_per_irrep(free.mean_field.mol, molecule.point_group, free.orbitals)
    held = electronic.solve(molecule, level, replace(state, occupation=occupation), free.orbitals, max_memory)
    if abs(held.energy - free.energy) > electronic.SAME_STATE:
        raise WrongState(
            f"the lower solution of {state.name} at {free.energy:.8f} Eh was lost in {molecule.point_group}, where the "
            f"SCF ended at {held.energy:.8f} Eh; try another start"
        )
    return held
