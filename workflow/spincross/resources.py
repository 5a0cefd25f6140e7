r"""What a DFT job needs of a machine: memory and time from the size of the complex, to ask a scheduler for.

Memory: the fitted three-index integrals, :math:`N_\mathrm{aux} N (N+1) / 2` numbers for N functions, kept in memory
up to the limit that PySCF is given and on disk above it, twice while they are made; the orbitals and their gradients
on the grid, 4 N numbers a point, kept up to half the limit, and twice more on the points of one call; N x N matrices;
and, for products with the orbital Hessian, the integrals half transformed in single precision where they fit into the
limit, and once more unpacked where that fits into what is left of it. In a point group of order 2 integrals, points
and their half transforms are halved.

Time: one SCF from a near density and its gradient grows with about the third power of N between 300 and 900 functions.
It is a rough estimate from a displaced quintet, the dearest case measured; the scheduler is asked for three times it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pyscf import df, gto

from spincross import machine
from spincross.files import print_line, read_xyz
from spincross.levels import Level
from spincross.xc_cache import BLOCKS_AT_ONCE, POINTS_PER_BLOCK

POINTS_PER_ATOM = {0: 2000, 1: 5000, 2: 8000, 3: 13000, 4: 20000, 5: 28000, 6: 45000, 7: 60000, 8: 80000, 9: 100000}
"""Grid points per atom at each of PySCF's levels, rounded up."""
BASE_MB = 150.0
"""The interpreter and its libraries, MB: 121 to 135 measured."""
SMALLEST_MB = 1500
"""Asked for in any case, MB: with less PySCF works in small blocks."""
MARGIN = 1.1
"""Memory asked for over the peak reckoned, which measured ones passed by up to 1 %."""
MATRICES = 140
"""Square matrices alive at once: DIIS keeps 15 Fock matrices and errors of two spins, direct minimisation pairs as
large as 55, 127 as it ends with those of the last step beside it (measured, formaldehyde)."""
RESPONSE = 1.9
"""Its integrals, unpacked and half transformed, over the unpacked ones alone: 1.91 in [Fe(phen)2(NCS)2], 1.86 with 79
atoms, 2.0 in the stand-in."""
ROOM = 1.6
"""memory_mb over the fitted integrals from which on they stay in memory at every step: 1.53 measured with 79 atoms."""
BYTES = 8e-6
"""MB of one number."""
MEASURED_FUNCTIONS, MEASURED_CORE_SECONDS = 295, 490.0
"""[Fe(2-aminoacetaldimine)2(NCS)2], quintet, def2-SVP, grid 4: 245 s on two cores for 15 cycles and a gradient. A
singlet takes 95 s, a step of an optimisation half of either."""
LARGEST_SCREENED = 450
"""Functions that matter on a block of grid points in large molecules."""
SAFETY = 3.0
"""Time asked for over time estimated."""
LONGEST_MINUTES = 10080
"""A week, what partitions rarely exceed; a job that is stopped then goes on where it was."""


@dataclass(frozen=True)
class Size:
    """Numbers that memory and time follow: atoms, orbital functions, auxiliary functions, grid points."""

    atoms: int
    functions: int
    auxiliary: int
    points: int


@cache
def size(symbols: tuple[str, ...], level: Level) -> Size:
    """Count the functions of a molecule at a level."""
    functions = auxiliary = 0
    for symbol in set(symbols):
        atom = gto.M(atom=[(symbol, (0, 0, 0))], basis=level.basis, spin=None, verbose=0)
        fitted = df.addons.make_auxmol(atom, level.auxiliary_basis)
        functions += symbols.count(symbol) * atom.nao
        auxiliary += symbols.count(symbol) * fitted.nao
    return Size(len(symbols), functions, auxiliary, len(symbols) * POINTS_PER_ATOM[level.grid_level])


def size_of(xyz: Path, level: Level) -> Size:
    """Count the functions of the molecule in an XYZ file; FileNotFoundError where it is not made yet."""
    Path(xyz).stat()
    return size(read_xyz(Path(xyz))[0], level)


def integrals_mb(need: Size, in_group: bool) -> float:
    """Return the memory (MB) of the fitted integrals, in a group of order 2 or not."""
    return (0.5 if in_group else 1.0) * need.auxiliary * need.functions * (need.functions + 1) / 2 * BYTES


def peak_mb(need: Size, limit: float, in_group: bool = False) -> float:
    """Return the memory (MB) that SCF and gradient take, in a group of order 2 or not, where PySCF is told a limit."""
    share = 0.5 if in_group else 1.0
    cube = need.auxiliary * need.functions**2 * BYTES / 2
    tensor = integrals_mb(need, in_group)
    held = (1 if in_group and tensor < limit else 2) * min(tensor, limit)
    orbitals = min(0.5 * limit, share * 4 * need.points * min(need.functions, LARGEST_SCREENED) * BYTES)
    matrices = MATRICES * need.functions**2 * BYTES
    halves = share * (RESPONSE - 1) * cube
    unpacked = (0.375 if in_group else 1.0) * cube
    spare = limit - BASE_MB - held - orbitals
    response = halves + unpacked if halves + unpacked < spare else halves if max(halves, tensor) < limit else 0.0
    evaluated = 2 * 4 * BLOCKS_AT_ONCE * POINTS_PER_BLOCK * need.functions * BYTES
    return BASE_MB + matrices + held + orbitals + evaluated + response


def memory_mb(need: Size, limit: float) -> int:
    """Return the memory (MB) to ask for, for a job that tells PySCF a limit (MB): above the peak, or SMALLEST_MB."""
    return round(max(SMALLEST_MB, MARGIN * peak_mb(need, limit)))


def hessian_memory_mb(need: Size, limit: float) -> int:
    """Return the memory (MB) to ask for, for an analytic Hessian: first-order potentials of two spins come twice."""
    potentials = 2 * 3 * need.atoms * need.functions**2 * BYTES
    return round(memory_mb(need, limit) + MARGIN * 2 * potentials)


def report_shortage(symbols: tuple[str, ...], level: Level, limit: float, point_group: str) -> None:
    """Say so where SCF and gradient take more memory than the machine has, or integrals more than they are given.

    Linux would kill the former without a word; the latter go through the disk, and an SCF cycle takes three times as
    long (LS with 79 atoms on two cores: 28 s instead of 8 to 10 s).
    """
    need, in_group, there = size(symbols, level), point_group != "C1", machine.memory_mb()
    peak, enough = peak_mb(need, limit, in_group), math.ceil(ROOM * integrals_mb(need, in_group) / 100) * 100
    if peak > there:
        print_line(
            f"  takes up to {peak / 1e3:.0f} GB, the machine has {there / 1e3:.0f} GB: lower memory_mb ({limit:.0f})"
        )
    elif enough > limit and peak_mb(need, enough, in_group) < there:
        print_line(
            f"  the fitted integrals may not fit into memory_mb ({limit:.0f}), which makes an SCF cycle some three "
            f"times as long: this machine has room for memory_mb={enough}"
        )


def gradient_seconds(need: Size, threads: int) -> float:
    """Estimate the time (s) of one SCF from a near density and its gradient."""
    return MEASURED_CORE_SECONDS / threads * (need.functions / MEASURED_FUNCTIONS) ** 3


def hessian_gradients(need: Size) -> int:
    """Return in how many displaced gradients an analytic Hessian is done: no more than atoms.

    Measured: 5 (LS), 8 (HS) and 13 (HS without symmetry) with 27 atoms, 13 (LS) with 51.
    """
    return need.atoms


def runtime_minutes(need: Size, threads: int, gradients: int, attempt: int = 1) -> int:
    """Return the time (minutes) to ask for, for a job of so many gradients; 20 at least, more after a failure."""
    once = max(20, round(SAFETY * gradients * gradient_seconds(need, threads) / 60))
    return min(attempt * once, LONGEST_MINUTES)
