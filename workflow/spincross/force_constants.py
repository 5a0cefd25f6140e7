"""Hessians by two routes: finite differences of gradients, or analytic.

On the CPU, PySCF's analytic Kohn-Sham Hessian leaves out that the integration grid moves with the atoms (PySCF issues
3437, 3339), which breaks the sum rule. Two ways around it: finite differences of gradients that have the grid response,
or the analytic Hessian with its diagonal blocks rebuilt from the sum rule, H[A,A] = -sum over B != A of H[A,B].
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spincross import device, electric_field, electronic, pointgroup
from spincross.checkpoints import Arrays, Blocks, Keep, Orbitals, anew, parts_of
from spincross.displacements import Point, Surface, breaking_part, displaced_cell, plan_displacements
from spincross.errors import StaleData
from spincross.files import Report, fingerprint, print_line
from spincross.infrared import dipole_derivatives
from spincross.levels import Level, State
from spincross.molecule import Molecule

Array = NDArray[np.float64]
Check = Callable[[electronic.Solution], None]


@dataclass(frozen=True)
class Settings:
    """How to get a Hessian.

    Parameters
    ----------
    method : `analytic` (diagonal blocks rebuilt) or `finite differences`
    step : displacement of finite differences, bohr
    displacement_grid_level : grid of the displaced gradients where it is finer than that of the level
    response_grid_level : grid of the exchange-correlation kernel in the analytic route
    scf_energy_tolerance, scf_gradient_tolerance : of the undisplaced and every displaced SCF; it is the gradient that
        decides, and less than 1e-10 Eh would be near the rounding of energies of 4000 Eh
    max_memory : MB
    """

    method: str = "analytic"
    step: float = 5e-3
    displacement_grid_level: int = 4
    response_grid_level: int = 3
    scf_energy_tolerance: float = 1e-10
    scf_gradient_tolerance: float = 1e-7
    max_memory: float = 8000

    def surface(self, level: Level, state: State, guess: Orbitals) -> Surface:
        """Return where gradients are computed: this level with the tight SCF thresholds of derivatives."""
        tight = level.tightened(self.scf_energy_tolerance, self.scf_gradient_tolerance)
        return Surface(tight, state, guess, self.max_memory)

    def displaced_level(self, level: Level) -> Level:
        """Return the level of displaced gradients, on a finer grid.

        A grid does not turn with the molecule, and soft modes feel that: on the LS of the iron stand-in two modes of 51
        and 71 cm-1 come out 7.7 and 6.0 cm-1 too high on grid 3, 1.5 and 0.7 on grid 4.
        """
        return replace(level, grid_level=max(level.grid_level, self.displacement_grid_level))

    def displaced_surface(self, level: Level, state: State, guess: Orbitals) -> Surface:
        """Return where gradients are computed whose differences are taken."""
        return self.surface(self.displaced_level(level), state, guess)


@dataclass(frozen=True)
class ForceConstants:
    """A Hessian as computed.

    Parameters
    ----------
    hessian : (3N, 3N), Eh/bohr2, symmetrised, sum rules enforced
    sum_rule : what `sum_rule_residual` finds before that, Eh/bohr2
    dipole_derivatives : (3, 3N), e; None where the route gives none
    device : where an analytic Hessian was computed in the end, `cpu` or `gpu`; None for finite differences, whose jobs
        may have run on several machines
    seconds_before : what earlier starts spent on the parts of an analytic Hessian that this one found
    """

    hessian: Array
    sum_rule: float
    dipole_derivatives: Array | None = None
    device: str | None = None
    seconds_before: float = 0.0

    @property
    def grid_response(self) -> bool:
        """Whether the integration grid moved with the atoms; not so in PySCF's analytic Hessian on the CPU."""
        return self.device != "cpu"


def sum_rule_residual(hessian: Array) -> float:
    """Return the largest |sum over A of H[A,B]| or |sum over B of H[A,B]| of a raw Hessian (3N, 3N), Eh/bohr2.

    One sum is the net force on the molecule as one atom moves, zero with grid response; the other the forces as all
    atoms move together, which has the noise of every displaced SCF. Both are enforced, so both are measured.
    """
    count = len(hessian) // 3
    blocks = hessian.reshape(count, 3, count, 3)
    return max(float(np.abs(blocks.sum(axis=axis)).max()) for axis in (0, 2))


def rebuilt_diagonal(hessian: Array) -> Array:
    """Replace the diagonal blocks of a (3N, 3N) Hessian by minus the sum of the others, and symmetrise.

    What a block has that is not symmetric, the noise of both triangles, is projected out with the translations.
    """
    count = len(hessian) // 3
    blocks = ((hessian + hessian.T) / 2).reshape(count, 3, count, 3).copy()
    for atom in range(count):
        blocks[atom, :, atom] = 0.0
        block = -blocks[atom].sum(axis=1)
        blocks[atom, :, atom] = (block + block.T) / 2
    still = np.eye(3 * count) - np.tile(np.eye(3), (count, count)) / count
    return np.asarray(still @ blocks.reshape(3 * count, 3 * count) @ still)


def analytic_hessian(
    molecule: Molecule, level: Level, state: State, guess: Orbitals, settings: Settings, report: Report = print_line,
    keep: Keep = anew, check: Check = lambda solution: None,
) -> ForceConstants:  # fmt: skip
    """Return the analytic Hessian, diagonal blocks rebuilt, and on the CPU dipole derivatives.

    Only atoms that the point group does not relate are displaced; the rest follows by symmetry.

    Parameters
    ----------
    check : looks at the solution first, and may raise
    """
    on_cpu = device.chosen(level.device) == "cpu"
    group = molecule.point_group if on_cpu else "C1"  # GPUs know no irreps
    if on_cpu:
        electronic.require_hessian_room(molecule, level, state, settings.max_memory)
    solution = electronic.solve(molecule.at(molecule.positions, group), level, state, guess, settings.max_memory)
    check(solution)
    unique = unique_atoms(molecule)

    def columns() -> Arrays:
        """Return columns (3N, 3n) and, on a CPU, dipole derivatives (3, 3n) of the unique atoms."""
        grid_level = settings.response_grid_level
        found, moved = electronic.hessian_columns(solution, unique, grid_level, report, parts_of("columns", keep))
        return {"columns": found} if moved is None else {"columns": found, "dipoles": moved}

    parts = keep("columns", columns)  # whatever they were made of then goes, gigabytes in all
    matrices = pointgroup.representation(molecule.numbers, molecule.positions, molecule.point_group)
    full = _completed(molecule, parts["columns"], unique, matrices)
    rebuilt = rebuilt_diagonal(full)
    found = pointgroup.symmetrise_hessian(molecule.numbers, molecule.positions, rebuilt, molecule.point_group)
    operations = pointgroup.operations(molecule.point_group)
    if "dipoles" not in parts:
        return ForceConstants(found, sum_rule_residual(full), None, "gpu")
    derivatives = _completed(molecule, parts["dipoles"], unique, operations)
    return ForceConstants(found, sum_rule_residual(full), derivatives, "cpu")


def unique_atoms(molecule: Molecule) -> list[int]:
    """Return the first atom of every orbit of the point group."""
    images = pointgroup.permutations(molecule.numbers, molecule.positions, molecule.point_group)
    return sorted({int(min(p[i] for p in images)) for i in range(len(molecule.symbols))})


def _completed(molecule: Molecule, columns: Array, unique: list[int], matrices: Sequence[Array]) -> Array:
    """Fill (m, 3N) from the columns (m, 3n) of unique atoms: H[:, p(j)] = D H[:, j] R^T, one D (m, m) per operation."""
    count = len(molecule.symbols)
    images = pointgroup.permutations(molecule.numbers, molecule.positions, molecule.point_group)
    full, times = np.zeros((len(columns), 3 * count)), np.zeros(count)
    for matrix, image, op in zip(matrices, images, pointgroup.operations(molecule.point_group), strict=True):
        for k, atom in enumerate(unique):
            target = int(image[atom])
            full[:, 3 * target : 3 * target + 3] += matrix @ columns[:, 3 * k : 3 * k + 3] @ op.T
            times[target] += 1
    return full / np.repeat(times, 3)


def hessian_from_gradients(molecule: Molecule, gradients: list[Array], step: float) -> tuple[Array, float]:
    """Assemble displaced gradients (N, 3), Eh/bohr, into a Hessian (3N, 3N); also its sum-rule residual."""
    phonon = displaced_cell(molecule, step)
    phonon.forces = -np.array(gradients)
    phonon.produce_force_constants()
    count = len(molecule.symbols)
    raw = np.asarray(phonon.force_constants).transpose(0, 2, 1, 3).reshape(3 * count, 3 * count)
    rebuilt = rebuilt_diagonal(raw)
    symmetrised = pointgroup.symmetrise_hessian(molecule.numbers, molecule.positions, rebuilt, molecule.point_group)
    return symmetrised, sum_rule_residual(raw)


def analytic(
    molecule: Molecule, surface: Surface, settings: Settings, report: Report = print_line, folder: Path | None = None,
    check: Check = lambda solution: None,
) -> ForceConstants:  # fmt: skip
    """Return the analytic Hessian of a geometry and dipole derivatives, on a GPU from gradients in an electric field.

    Parameters
    ----------
    folder : keeps finished blocks, so that a killed run goes on; StaleData if they belong to another calculation
    check : as in `analytic_hessian`
    """
    level, state, guess = surface.level, surface.state, surface.guess
    key = fingerprint([surface.key(molecule), molecule.positions.round(6).tolist(), settings.response_grid_level])
    blocks = None if folder is None else Blocks(folder, key, report)
    keep = blocks.keep if blocks else anew
    found = analytic_hessian(molecule, level, state, guess, settings, report, keep, check)
    if found.dipole_derivatives is None:
        solution = electronic.solve(molecule.at(molecule.positions, "C1"), level, state, guess, surface.max_memory)
        found = replace(found, dipole_derivatives=electric_field.dipole_derivatives(molecule, solution, report, keep))
    return replace(found, seconds_before=blocks.seconds_before) if blocks else found


def from_points(molecule: Molecule, points: list[Point], step: float, centre: Point | None = None) -> ForceConstants:
    """Assemble all points of the planned displacements (step in bohr).

    Parameters
    ----------
    centre : the undisplaced point; what of its gradient breaks the group is taken from every other
    """
    still = 0.0 if centre is None else breaking_part(molecule, centre.gradient)
    found, residual = hessian_from_gradients(molecule, [p.gradient - still for p in points], step)
    derivatives = dipole_derivatives(molecule, plan_displacements(molecule, step), [p.dipole for p in points])
    return ForceConstants(found, residual, derivatives)


def check_geometry(stored: dict[str, NDArray[Any]], molecule: Molecule, name: str) -> None:
    """Raise StaleData if a stored Hessian belongs to another geometry."""
    if stored["positions"].shape != molecule.positions.shape:
        raise StaleData(f"{name} holds {len(stored['positions'])} atoms, the geometry has {len(molecule.symbols)}")
    shift = float(np.abs(stored["positions"] - molecule.positions).max())
    if shift > 1e-5:
        raise StaleData(f"{name} belongs to a geometry that differs by {shift:.1e} bohr; compute it again")
