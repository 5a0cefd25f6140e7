"""What optimise.json says of a converged state: energies, spins, orbitals, bonds and angles, the way there."""

from __future__ import annotations

from typing import Any

import numpy as np

from spincross import descent, pointgroup, populations
from spincross.files import Json
from spincross.gates import ideal_s_squared
from spincross.levels import Level, State
from spincross.molecule import Molecule, angle, metal_bonds, ncs_groups
from spincross.optimise import Optimisation


def describe(result: Optimisation, state: State, metal: str | None, level: Level) -> Json:
    """Return what optimise.json holds beside provenance and gates."""
    molecule, solution, steps = result.molecule, result.solution, result.steps
    centre = molecule.symbols.index(metal) if metal else None
    mulliken, loewdin = populations.spin_populations(solution), populations.loewdin_spin_populations(solution)
    return {
        "level": level.theory(),
        "state": state.name,
        "multiplicity": state.multiplicity,
        "point_group": molecule.point_group,
        "energy_hartree": solution.energy,
        "s_squared": solution.s_squared,
        "s_squared_ideal": ideal_s_squared(state.multiplicity),
        "metal_spin_population": None if centre is None else float(mulliken[centre]),
        "spin_populations": mulliken,
        "loewdin_spin_populations": loewdin,
        "ncs_spin_populations": [
            {"atoms": list(group), "mulliken": mulliken[list(group)], "loewdin": loewdin[list(group)]}
            for group in ncs_groups(molecule, metal)
        ],
        "gradient_max_hartree_per_bohr": float(np.abs(result.gradient).max()),
        "gradient_rms_hartree_per_bohr": float(np.sqrt((result.gradient**2).mean())),
        "gradient_hartree_per_bohr": result.gradient,
        "steps": len(steps),
        "scf_cycles_per_step": [step["scf_cycles"] for step in steps],
        "scf_rungs_per_step": [step["rungs"] for step in steps],
        "scf_rungs_final": solution.trace,
        "seconds_per_step": [step["seconds"] for step in steps],
        "energies_hartree_per_step": [step["energy_hartree"] for step in steps],
        "grid_level_per_step": [step["grid_level"] for step in steps],
        "wall_seconds": round(sum(step["seconds"] for step in steps), 1),
        "candidates": result.candidates,
        "electrons_per_irrep": solution.occupation,
        "deviation_from_group_bohr": pointgroup.deviation(molecule.numbers, molecule.positions, molecule.point_group),
        "density_asymmetry_electrons": descent.asymmetry(solution, molecule),
        "dipole_debye": populations.dipole(solution),
        "orbitals": populations.frontier_levels(solution, molecule, centre),
        "d_levels": populations.d_levels(solution, molecule, centre),
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
    return rows + [_angle(molecule, centre, donor, carbon) for donor, carbon, _ in ncs_groups(molecule, metal)]


def _angle(molecule: Molecule, a: int, apex: int, b: int) -> dict[str, Any]:
    kind = "-".join(molecule.symbols[i] for i in (a, apex, b))
    return {"atoms": [a, apex, b], "kind": kind, "angle": angle(molecule.positions, a, apex, b)}
