"""Does the GPU of this host give the numbers of its CPU? What every stage needs of it, of water and its cation.

The GPU's analytic Hessian has the response of the integration grid, PySCF's has not; so it is compared with central
differences of the CPU's gradients, which have it.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spincross import device, electric_field, electronic, gpu_libraries, orbital_rotations
from spincross.electronic import Solution
from spincross.errors import DeviceDiffers
from spincross.files import print_line
from spincross.levels import Level, State
from spincross.molecule import Molecule

Array = NDArray[np.float64]

LEVEL = Level(scf_energy_tolerance=1e-11, scf_gradient_tolerance=1e-7)
STEP = 3e-3
"""Displacement (bohr): what the fourth derivatives add to a difference stays near 1e-5 Eh/bohr2."""
PLACES = np.array([[0.0, 0.0, 0.0], [0.0, 1.43, 1.11], [0.0, -1.43, 1.11]])
CASES = {
    "H2O, RKS": (Molecule(("O", "H", "H"), PLACES, 0, "C2"), State("singlet", 1)),
    "H2O+, UKS": (Molecule(("O", "H", "H"), PLACES, 1, "C2"), State("doublet", 2)),
}


@dataclass(frozen=True)
class Check:
    """What was compared, its unit, the largest difference of GPU and CPU, the one allowed, and the time (s) of each."""

    what: str
    unit: str
    difference: float
    allowed: float
    gpu_seconds: float
    cpu_seconds: float

    @property
    def passed(self) -> bool:
        """Whether the difference is a number within what is allowed."""
        return self.difference <= self.allowed

    def __str__(self) -> str:
        """Return the difference in words."""
        return f"{self.what} differs by {self.difference:.1e} {self.unit} (allowed {self.allowed:.0e})"


def checks(molecule: Molecule, state: State, level: Level) -> Iterator[Check]:
    """Yield what GPU and CPU make of a molecule: energy, stability, gradient, Hessian, dipoles; all without its group.

    At last the energy in its group, if it has one, with the electrons of each irrep held.

    BadInput without a GPU; DeviceDiffers if one did not compute what was compared, its memory being too small.
    """
    levels, plain = [replace(level, device=name) for name in ("gpu", "cpu")], molecule.at(molecule.positions, "C1")
    (gpu, gpu_seconds), (cpu, cpu_seconds) = (_timed(electronic.solve, plain, each, state) for each in levels)
    _require(gpu.device == "gpu", "SCF")
    yield Check("energy", "Eh", abs(gpu.energy - cpu.energy), 1e-7, gpu_seconds, cpu_seconds)
    yield _compared("stability", "Eh", 1e-4, _eigenvalues, (gpu, level.grid_level), (cpu, level.grid_level))
    yield _compared("gradient", "Eh/bohr", 1e-6, electronic.gradient, (gpu,), (cpu,))
    atoms = list(range(len(molecule.symbols)))
    (columns, dipoles), gpu_seconds = _timed(electronic.hessian_columns, gpu, atoms, level.grid_level, print_line)
    _require(dipoles is None, "Hessian")
    expected, cpu_seconds = _timed(_differences, plain, levels[1], state, cpu)
    yield Check("Hessian", "Eh/bohr2", float(np.abs(columns - expected).max()), 1e-4, gpu_seconds, cpu_seconds)
    fields = [(molecule, solution, print_line) for solution in (gpu, cpu)]
    yield _compared("dipole derivative", "e", 1e-3, electric_field.dipole_derivatives, *fields)
    if molecule.point_group != "C1":
        held = replace(state, occupation=electronic.solve(molecule, levels[1], state).occupation)
        yield _compared("energy in its group", "Eh", 1e-7, _energy, *[(molecule, each, held) for each in levels])


def _compared(
    what: str, unit: str, allowed: float, work: Callable[..., Any], on_gpu: tuple[Any, ...], on_cpu: tuple[Any, ...]
) -> Check:
    """Do work with the arguments of either device and compare the numbers."""
    (found, gpu_seconds), (expected, cpu_seconds) = (_timed(work, *arguments) for arguments in (on_gpu, on_cpu))
    return Check(what, unit, float(np.abs(found - expected).max()), allowed, gpu_seconds, cpu_seconds)


def _energy(molecule: Molecule, level: Level, state: State) -> float:
    return electronic.solve(molecule, level, state).energy


def _eigenvalues(solution: Solution, grid_level: int) -> Array:
    """Return the lowest eigenvalue of every block of the orbital Hessian, Eh, on the device of the solution."""
    place = device.CPU if solution.device == "cpu" else device.GPU[0]
    found = orbital_rotations.lowest_rotations(solution.mean_field, "C1", grid_level, place)
    return np.array([rotation.eigenvalue for rotation in found])


def _differences(molecule: Molecule, level: Level, state: State, centre: Solution) -> Array:
    """Return the Hessian (3N, 3N), Eh/bohr2, from central differences of gradients."""
    columns = []
    for shift in STEP * np.eye(molecule.positions.size):
        ends = (molecule.at(molecule.positions + sign * shift.reshape(-1, 3)) for sign in (1.0, -1.0))
        ahead, behind = (
            electronic.gradient(electronic.solve(end, level, state, centre.orbitals)).reshape(-1) for end in ends
        )
        columns.append((ahead - behind) / (2 * STEP))
    return np.array(columns).T


def _timed(work: Callable[..., Any], *arguments: Any) -> tuple[Any, float]:
    start = time.perf_counter()
    found = work(*arguments)
    return found, time.perf_counter() - start


def _require(on_gpu: bool, what: str) -> None:
    if not on_gpu:
        raise DeviceDiffers(f"the {what} ended on the CPU: the GPU's memory is too small for it, or in use")


def described() -> str:
    """Return the GPU's model, memory and libraries in a line."""
    memory = import_module("cupy").cuda.runtime.memGetInfo()[1] / 2**30
    versions = {"gpu4pyscf": gpu_libraries.load().__version__} | gpu_libraries.versions()
    listed = ", ".join(f"{name} {version}" for name, version in versions.items())
    return f"{device.facts('gpu')['gpu']}, {memory:.1f} GiB, {listed}"


def main(words: list[str]) -> None:
    """Compare, print a line for each number; BadInput without a GPU, DeviceDiffers with the numbers that differ."""
    argparse.ArgumentParser(prog="python -m spincross check-gpu", description=__doc__).parse_args(words)
    device.chosen("gpu")
    print_line(described())
    wrong = []
    for name, (molecule, state) in CASES.items():
        for check in checks(molecule, state, LEVEL):
            seconds = f"GPU {check.gpu_seconds:.1f} s, CPU {check.cpu_seconds:.1f} s"
            print_line(f"{name}: {check}, {seconds}{'' if check.passed else '  WRONG'}")
            wrong += [] if check.passed else [f"{name}: {check}"]
    if wrong:
        raise DeviceDiffers(f"GPU and CPU of this host do not give the same: {'; '.join(wrong)}; set device: cpu")
