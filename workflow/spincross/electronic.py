"""Electronic structure with PySCF: the ladder to a converged SCF, gradients, columns of the Hessian.

A `Solution` is only ever made from an SCF that converged without damping or level shift. Every rung of the ladder
leaves its reason, cycles and energy in the trace.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from pyscf import gto
from pyscf.scf import addons

from spincross import device, gpu_hessian, mean_field, quasi_newton, response, xc_gradient
from spincross.checkpoints import Keep, anew
from spincross.device import CPU, Device, to_numpy
from spincross.errors import NotConverged
from spincross.files import fingerprint, print_line
from spincross.levels import Level, Occupation, State
from spincross.mean_field import (
    build_mol,
    density_from,
    electrons_per_irrep,
    hold_occupation,
    kohn_sham,
    transition_metals,
)
from spincross.molecule import Molecule
from spincross.quasi_newton import Curvature

Array = NDArray[np.float64]
T = TypeVar("T")

DIIS_CYCLES = 8
"""Cycles of DIIS before direct minimisation is tried."""
DIIS_ALONE = 25
"""Cycles of DIIS where that is not possible: a slow tail ends in fewer than a start with a level shift takes."""
NEAR = 2e-2
"""Norm of the orbital gradient below which second order is safe."""
ROUNDS, ROUND_CYCLES = 3, 15
"""Times that the orbital Hessian is explored, and cycles of direct minimisation after each."""
WARM_CYCLES = 25
"""Cycles of direct minimisation from a neighbour's orbitals and curvature."""
PRODUCT_GRID = 0
"""Grid of the kernel in products with the orbital Hessian: it steers the steps, not the solution."""
SILENCE = 60.0
"""Seconds of a rung above which it is told of as it ends."""
RECHECK_TOLERANCE = 1e-7
"""Largest difference (Eh) of a GPU energy from the one computed afresh from its density."""
SAME_STATE = 1e-5
"""Largest difference of energies (Eh) of one state at one geometry, converged in two ways."""
SMALL = 100
"""Basis functions up to which a GPU energy is also compared with the CPU's."""


@dataclass(frozen=True)
class Solution:
    """A converged SCF.

    Parameters
    ----------
    energy : Eh
    orbitals : occupied alpha and beta orbitals, (nao, n_alpha) and (nao, n_beta)
    s_squared : <S^2>
    occupation : electrons per irrep of the imposed group, None without symmetry
    point_group : the group imposed
    trace : one entry per rung of the ladder: rung, reason, cycles, energy_hartree, converged, seconds; where the
        orbital Hessian was explored before those cycles, also newton_products (of it with vectors) and newton_seconds
    mean_field : PySCF's object on the CPU, arrays in numpy
    engine : the same on the device that solved it (`mean_field` itself on the CPU)
    curvature : what direct minimisation learned of the orbital Hessian; None where DIIS alone converged
    """

    energy: float
    orbitals: tuple[Array, Array]
    s_squared: float
    occupation: Occupation | None
    point_group: str
    trace: list[dict[str, Any]]
    mean_field: Any = field(repr=False)
    engine: Any = field(repr=False)
    curvature: Curvature | None = field(default=None, repr=False)

    @property
    def device(self) -> str:
        """Where the SCF was solved in the end, `cpu` or `gpu`."""
        return "cpu" if self.engine is self.mean_field else "gpu"

    @property
    def fitting(self) -> Any:
        """The fitted integrals of an SCF on a CPU, for other states at this geometry; None on a GPU."""
        return getattr(self.mean_field, "with_df", None) if self.device == "cpu" else None

    @property
    def cycles(self) -> int:
        """SCF cycles over all rungs; products with the orbital Hessian between them are none."""
        return sum(rung["cycles"] for rung in self.trace)


@dataclass
class Ladder:
    """The rungs that one SCF climbed, and what climbs them on one device; all grids share the integrals.

    `fock` is the Fock matrix of the last cycle on a CPU, made from the orbitals that the cycle ended with.
    """

    mol: gto.Mole
    level: Level
    place: Device
    trace: list[dict[str, Any]] = field(default_factory=list)
    fitting: Any = None
    fock: Any = None

    def remember(self, environment: dict[str, Any]) -> None:
        """Keep the Fock matrix of a cycle, as PySCF's callback."""
        self.fock = environment["fock"]

    def run(self, method: Any, rung: str, reason: str, density: Array, max_cycles: int) -> None:
        """Converge a method from a density, at most `max_cycles`, and add the rung."""
        start = time.perf_counter()
        method.max_cycle = max_cycles
        method.kernel(dm0=density)
        self.tell(method, rung, reason, start)

    def tell(self, method: Any, rung: str, reason: str, start: float, **facts: Any) -> None:
        """Add a rung as it ends, with more facts."""
        seconds = time.perf_counter() - start
        row = {
            "rung": rung,
            "reason": reason,
            "cycles": int(method.cycles),
            "energy_hartree": float(method.e_tot),
            "converged": bool(method.converged),
            "seconds": round(seconds, 2),
            **facts,
        }
        self.trace.append(row)
        if seconds > SILENCE:
            print_line(
                f"    {rung}: {row['cycles']} cycles  E {row['energy_hartree']:.8f} Eh  {seconds:.0f} s"
                + ("" if row["converged"] else "  not converged")
            )

    def method(self, grid_level: int | None = None) -> Any:
        """Return a fresh Kohn-Sham object, on another grid if asked."""
        grid = self.level.grid_level if grid_level is None else grid_level
        method = kohn_sham(self.mol, replace(self.level, grid_level=grid), self.place)
        if self.place == CPU:
            self.fitting = method.with_df = self.fitting or method.with_df
            method.callback = self.remember
        return method

    def start(self, guess: tuple[Array, Array] | None) -> tuple[Array, str]:
        """Return a start density from the orbitals of a neighbour, or a cold one, and what it is."""
        return self.cold_guess() if guess is None else (density_from(guess, self.mol), "orbitals of a neighbour")

    def cold_guess(self) -> tuple[Array, str]:
        """Return a start density, and what it is."""
        if not transition_metals(self.mol):
            return np.asarray(kohn_sham(self.mol, self.level).get_init_guess(key="atom")), "superposition of atoms"
        method = self.method(0).set(level_shift=0.2, conv_tol=1e-3, conv_tol_grad=3e-1)
        density = self.small_basis_density()
        self.run(method, "coarse grid, level shift", "settles the projected density", density, 25)
        return method.make_rdm1(), "density of the coarse grid"

    def small_basis_density(self) -> Array:
        """Return the density of a rough minimal-basis SCF, projected; always on the CPU.

        PySCF's minao has four contractions of 20 primitives in a shell of iron, nothing for a GPU. In STO-3G an
        electron of high-spin iron goes to the ligands.
        """
        small = self.mol.copy()
        small.basis = "minao"
        small.build(False, False)
        method = kohn_sham(small, replace(self.level, grid_level=0))
        method.set(level_shift=0.3, conv_tol=1e-4, conv_tol_grad=1e-1)
        start = np.asarray(kohn_sham(small, self.level).get_init_guess(key="atom"))
        reason = "cold start with a metal: larger bases swing by 100 Eh"
        self.run(method, "minimal basis, level shift", reason, start, 50)
        return np.asarray(addons.project_dm_nr2nr(small, method.make_rdm1(), self.mol))

    def can_minimise(self, method: Any) -> bool:
        """Tell whether energies are minimised directly: not on a GPU, where a cycle is cheap."""
        return self.place == CPU and response.possible(method)

    def minimise(
        self, method: Any, curvature: Curvature, max_cycles: int, reason: str, start: float, **facts: Any
    ) -> Curvature | None:
        """Turn the orbitals of a method down the energy, add the rung, and return what `quasi_newton.minimise` does."""
        found, self.fock = quasi_newton.minimise(method, curvature, max_cycles)
        ending = "" if found else "; ended on orbitals that are not the lowest"
        self.tell(method, "direct minimisation", reason + ending, start, **facts)
        return found

    def explore_and_minimise(self, method: Any, max_cycles: int) -> Curvature | None:
        """Explore the orbital Hessian and minimise, up to ROUNDS times; return what was learned of a converged SCF."""
        curvature = None
        for _ in range(ROUNDS):
            slope = float(np.linalg.norm(method.get_grad(method.mo_coeff, method.mo_occ, self.fock)))
            if method.converged or not slope < NEAR:
                break
            start = time.perf_counter()
            known, products = quasi_newton.explored(method, self.fock, min(self.level.grid_level, PRODUCT_GRID))
            reason = f"near the solution: orbital gradient {slope:.1e}"
            facts = {"newton_products": products, "newton_seconds": round(time.perf_counter() - start, 2)}
            curvature = self.minimise(method, known, min(max_cycles, ROUND_CYCLES), reason, start, **facts)
            if curvature is None:
                break
        return curvature if method.converged else None

    def level_shift(self, method: Any, max_cycles: int) -> None:
        """Converge roughly with level shift and damping, then again without.

        PySCF's `damp` stops where DIIS begins, in the second cycle; `diis_damp` mixes in every cycle. gpu4pyscf has no
        such mixing.
        """
        name = "level shift, damping" if self.place == CPU else "level shift"
        method.set(level_shift=0.25, diis_damp=0.3, conv_tol=1e-6, conv_tol_grad=1e-2)
        before = f"not converged after {sum(rung['cycles'] for rung in self.trace)} cycles"
        self.run(method, name, before, method.make_rdm1(), max_cycles)
        method.set(level_shift=0.0, diis_damp=0.0, conv_tol=self.level.scf_energy_tolerance)
        method.conv_tol_grad = self.level.scf_gradient_tolerance
        self.run(method, "DIIS", "converges again without aids", method.make_rdm1(), max_cycles)

    def is_near(self, method: Any) -> bool:
        """Tell whether an SCF on a GPU ended unconverged where second order is safe: level shift would lead away."""
        if self.place == CPU or method.converged:
            return False
        fock = method.get_fock(dm=method.make_rdm1())
        return float(np.linalg.norm(to_numpy(method.get_grad(method.mo_coeff, method.mo_occ, fock)))) < NEAR

    def second_order(self, method: Any, max_cycles: int, reason: str) -> Any:
        """Return what a second-order solver converged; as itself it would not see a changed Hamiltonian later on.

        PySCF's solver does not count its (macro) cycles.
        """

        def count(environment: dict[str, Any]) -> None:
            """Keep the number of cycles, as PySCF's callback."""
            newton.cycles = environment.get("imacro", -1) + 1

        newton = method.newton().set(conv_tol=self.level.scf_energy_tolerance, callback=count, cycles=0)
        newton.conv_tol_grad = self.level.scf_gradient_tolerance
        self.run(newton, "second order", reason, method.make_rdm1(), max_cycles)
        return newton.undo_soscf()


def solve(
    molecule: Molecule,
    level: Level,
    state: State,
    guess: tuple[Array, Array] | None = None,
    max_memory: float = 8000,
    max_cycles: int = 60,
    curvature: Curvature | None = None,
    fitting: Any = None,
) -> Solution:
    """Converge one state at one geometry, on the device of the level.

    Parameters
    ----------
    molecule : geometry, in the exact group
    guess : occupied orbitals of a neighbouring geometry; a cold start without
    max_memory : MB for PySCF and the orbital cache
    curvature : of the solution at that neighbour, which it then starts from
    fitting : `Solution.fitting` of another state at this very geometry, whose integrals are taken on a CPU

    Raises
    ------
    NotConverged
        if DIIS, direct minimisation, level shift followed by DIIS, and second order all fail; with every rung
    CannotWrite
        if integrals that do not fit into the memory do not fit on the disk either
    """

    def work(place: Device) -> Solution:
        """Solve on one device."""
        return _solve(molecule, level, state, guess, max_memory, max_cycles, curvature, fitting, place)

    return device.with_fallback(level.device, work)


def _solve(
    molecule: Molecule, level: Level, state: State, guess: tuple[Array, Array] | None, max_memory: float,
    max_cycles: int, curvature: Curvature | None, fitting: Any, place: Device,
) -> Solution:  # fmt: skip
    mol = build_mol(molecule, level, state.multiplicity, max_memory, adapted=place == CPU)
    if place == CPU:
        mean_field.require_scratch(mol, level.auxiliary_basis)
    ladder = Ladder(mol, level, place, fitting=fitting if place == CPU else None)
    method = ladder.method()
    if state.occupation is not None and molecule.point_group != "C1":
        hold_occupation(method, mol, molecule.point_group, state.occupation, place)
    direct = ladder.can_minimise(method)
    if curvature is not None and direct and curvature.frame.spans_all(method.get_ovlp()):
        reason, since = "start from orbitals and curvature of a neighbour", time.perf_counter()
        curvature = curvature.at(method.get_ovlp())
        curvature = ladder.minimise(method, curvature, min(max_cycles, WARM_CYCLES), reason, since)
        if curvature is not None and not method.converged:
            curvature = ladder.explore_and_minimise(method, max_cycles)
    if not method.converged:
        density, origin = ladder.start(guess)
        first = min(max_cycles, DIIS_CYCLES if direct else DIIS_ALONE)
        ladder.run(method, "DIIS", f"start from {origin}", density, first)
        curvature = ladder.explore_and_minimise(method, max_cycles) if direct else None
    if not direct and ladder.is_near(method):
        method = ladder.second_order(method, min(max_cycles, DIIS_ALONE), "DIIS is slow near the solution")
    if not method.converged:
        ladder.level_shift(method, max_cycles)
    if not method.converged:
        method = ladder.second_order(method, max_cycles, "neither DIIS nor level shift converged")
    if not method.converged:
        rungs = "; ".join(f"{t['rung']}: {t['cycles']} cycles to {t['energy_hartree']:.6f} Eh" for t in ladder.trace)
        text = f"SCF of state {state.name} (multiplicity {state.multiplicity}) did not converge: {rungs}"
        raise NotConverged(text, ladder.trace)
    return _solution(method, molecule, ladder, curvature)


def _solution(method: Any, molecule: Molecule, ladder: Ladder, curvature: Curvature | None) -> Solution:
    mol, host = ladder.mol, method
    method.callback = None
    if ladder.place != CPU:
        host = kohn_sham(mol, ladder.level)
        host.mo_coeff, host.mo_occ, host.mo_energy = map(to_numpy, (method.mo_coeff, method.mo_occ, method.mo_energy))
        host.e_tot, host.converged = float(method.e_tot), True
        _recheck(method, host)
    coefficients, occupations = np.asarray(host.mo_coeff), np.asarray(host.mo_occ)
    if mol.spin == 0:
        occupied = np.array(coefficients[:, occupations > 0], dtype=float)
        orbitals, s_squared = (occupied, occupied), 0.0
    else:
        alpha, beta = (np.array(c[:, o > 0], dtype=float) for c, o in zip(coefficients, occupations, strict=True))
        orbitals, s_squared = (alpha, beta), float(host.spin_square()[0])
    occupation = electrons_per_irrep(mol, molecule.point_group, orbitals)
    found = float(method.e_tot), orbitals, s_squared, occupation, molecule.point_group, ladder.trace, host, method
    return Solution(*found, curvature)


def _recheck(method: Any, host: Any) -> None:
    """Compare a GPU energy with the one computed afresh from its density, and for small molecules with the CPU's."""
    density = method.make_rdm1()
    found = {"on the GPU": float(method.energy_tot(density))}
    if host.mol.nao <= SMALL:
        found["on the CPU"] = float(host.energy_tot(to_numpy(density)))
    for where, energy in found.items():
        if not abs(energy - host.e_tot) < RECHECK_TOLERANCE:
            raise NotConverged(
                f"the GPU's SCF energy {host.e_tot:.8f} Eh is not that of its density, computed afresh {where}: "
                f"{energy:.8f} Eh (allowed {RECHECK_TOLERANCE:.0e}); set device: cpu"
            )


def gradient(solution: Solution) -> Array:
    """Return the nuclear gradient (N, 3), Eh/bohr, with the response of the integration grid."""
    return on_its_device(solution, _gradient, "the gradient")


def on_its_device(solution: Solution, work: Callable[[Any], T], name: str) -> T:
    """Do work with the object of the device that solved it; where a GPU's memory runs out, as `in_smaller_blocks`.

    Parameters
    ----------
    work : takes a Kohn-Sham object of either device
    name : of the work, for what is said
    """
    if solution.device == "cpu":
        return work(solution.mean_field)

    def on_cpu() -> T:
        """Do it with the twin on the CPU, whose integrals need room there."""
        fitting = solution.mean_field.with_df
        if fitting._cderi is None and getattr(fitting, "tensor", None) is None:
            mean_field.require_scratch(solution.mean_field.mol, fitting.auxbasis)
        return work(solution.mean_field)

    return device.in_smaller_blocks(lambda: work(solution.engine), on_cpu, name)


def _gradient(method: Any) -> Array:
    return to_numpy(xc_gradient.gradient_method(method).kernel())


def require_hessian_room(molecule: Molecule, level: Level, state: State, max_memory: float) -> None:
    """Raise CannotWrite or BadInput if an analytic Hessian on a CPU will have no room on the disk or in the memory."""
    response.require_room(kohn_sham(build_mol(molecule, level, state.multiplicity, max_memory), level))


def hessian_columns(
    solution: Solution, atoms: list[int], grid_level: int, report: Any, keep: Keep = anew
) -> tuple[Array, Array | None]:
    """Return columns (3N, 3n) of the analytic Hessian, Eh/bohr2, and dipole derivatives (3, 3n), e, of n atoms.

    They are kept as they finish. On a GPU all columns are computed, with the response of the integration grid, and no
    dipole derivatives.
    """
    if solution.device == "cpu":
        return response.hessian_columns(solution.mean_field, atoms, grid_level, report, keep)

    def on_gpu() -> tuple[Array, Array | None]:
        """Return the columns out of the whole Hessian."""
        blocks = keep("gpu_hessian", lambda: {"hessian": gpu_hessian.hessian(solution.engine, report, keep)})["hessian"]
        return np.asarray(blocks[:, atoms].transpose(0, 2, 1, 3).reshape(-1, 3 * len(atoms))), None

    def on_cpu() -> tuple[Array, Array | None]:
        """Return the columns, computed alone."""
        response.require_room(solution.mean_field)
        return response.hessian_columns(solution.mean_field, atoms, grid_level, report, keep)

    return device.in_smaller_blocks(on_gpu, on_cpu, "the Hessian")


def level_fingerprint(level: Level, state: State, molecule: Molecule) -> str:
    """Return a checksum of surface, state and atoms (not positions) that guards stored data."""
    return fingerprint(
        {
            "surface": level.surface(),
            "multiplicity": state.multiplicity,
            "symbols": molecule.symbols,
            "charge": molecule.charge,
            "point_group": molecule.point_group,
        }
    )
