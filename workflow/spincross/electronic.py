"""Electronic structure with PySCF: levels, the ladder to a converged SCF, the right state, gradients, populations.

A `Solution` is only ever made from an SCF that converged without damping or level shift.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyscf import dft, gto
from pyscf.scf import addons

from spincross import response
from spincross.errors import BadInput, NotConverged, WrongState
from spincross.files import fingerprint
from spincross.molecule import Molecule
from spincross.xc_cache import CachedNumInt

Array = NDArray[np.float64]

DIIS_CYCLES = 8
"""Cycles of DIIS before a Newton step is tried."""
NEWTON_START = 2e-2
"""Norm of the orbital gradient below which a Newton step is safe."""
NEWTON_STEPS = 3
NEWTON_GRID = 0
"""Grid of the kernel in Newton steps: it steers the step, not the solution."""


@dataclass(frozen=True)
class Level:
    """A level of theory; every field takes part in the fingerprint that guards stored data.

    Parameters
    ----------
    functional, basis, auxiliary_basis : names known to PySCF (libxc for the functional)
    grid_level : PySCF's grid level, 0 to 9
    scf_energy_tolerance : Eh
    scf_gradient_tolerance : norm of the orbital gradient
    """

    functional: str = "pbe0"
    basis: str = "def2-svp"
    auxiliary_basis: str = "def2-universal-jkfit"
    grid_level: int = 3
    scf_energy_tolerance: float = 1e-10
    scf_gradient_tolerance: float = 1e-5

    def tightened(self, energy: float, gradient: float) -> Level:
        """Return the same surface with other SCF thresholds."""
        return replace(self, scf_energy_tolerance=energy, scf_gradient_tolerance=gradient)

    def surface(self) -> dict[str, Any]:
        """Return what defines the energy surface: everything but the SCF thresholds."""
        return {k: v for k, v in asdict(self).items() if not k.startswith("scf_")}


@dataclass(frozen=True)
class State:
    """A spin state: name (LS, HS), multiplicity 2S+1, and electrons per irrep as ((alpha, beta), ...) or None."""

    name: str
    multiplicity: int
    occupation: tuple[tuple[int, int], ...] | None = None


@dataclass(frozen=True)
class Solution:
    """A converged SCF.

    Parameters
    ----------
    energy : Eh
    orbitals : occupied alpha and beta orbitals, (nao, n_alpha) and (nao, n_beta)
    s_squared : <S^2>
    occupation : electrons per irrep of the imposed group, None without symmetry
    trace : one entry per rung of the ladder: rung, cycles, energy_hartree, converged
    mean_field : PySCF's object
    """

    energy: float
    orbitals: tuple[Array, Array]
    s_squared: float
    occupation: tuple[tuple[int, int], ...] | None
    trace: list[dict[str, Any]]
    mean_field: Any = field(repr=False)

    @property
    def cycles(self) -> int:
        """SCF cycles over all rungs."""
        return sum(rung["cycles"] for rung in self.trace)


def check_level(level: Level, symbols: Iterable[str]) -> None:
    """Raise BadInput if PySCF does not know the functional or has no basis for an element."""
    try:
        dft.libxc.parse_xc(level.functional)
    except Exception as error:  # libxc's parser raises KeyError, ValueError and others
        raise BadInput(
            f"functional {level.functional!r} is unknown to libxc; correct `functional` in the level"
        ) from error
    for key in ("basis", "auxiliary_basis"):
        for symbol in sorted(set(symbols)):
            try:
                gto.basis.load(getattr(level, key), symbol)
            except Exception as error:  # BasisNotFoundError, KeyError or parser errors
                name = getattr(level, key)
                raise BadInput(f"{key} {name!r} is unknown to PySCF or lacks {symbol}; correct `{key}`") from error


def check_spin(molecule: Molecule, multiplicity: int) -> None:
    """Raise BadInput if the multiplicity does not fit the number of electrons."""
    if multiplicity < 1 or multiplicity > molecule.electrons + 1 or (molecule.electrons - multiplicity) % 2 == 0:
        raise BadInput(
            f"charge {molecule.charge} gives {molecule.electrons} electrons, which cannot have multiplicity "
            f"{multiplicity}; correct `charge` or `multiplicity` of the complex"
        )


def build_mol(molecule: Molecule, level: Level, multiplicity: int, max_memory: float = 8000) -> gto.Mole:
    """Return PySCF's molecule; symmetry-adapted in the imposed group."""
    check_spin(molecule, multiplicity)
    return gto.M(
        atom=list(zip(molecule.symbols, molecule.positions.tolist(), strict=True)),
        unit="Bohr",
        basis=level.basis,
        charge=molecule.charge,
        spin=multiplicity - 1,
        symmetry=molecule.point_group if molecule.point_group != "C1" else False,
        max_memory=max_memory,
        verbose=0,
    )


def mean_field(mol: gto.Mole, level: Level) -> Any:
    """Return a fresh Kohn-Sham object: RKS for a singlet, UKS otherwise; density fitting."""
    method = dft.RKS(mol) if mol.spin == 0 else dft.UKS(mol)
    method = method.density_fit(auxbasis=level.auxiliary_basis)
    method.xc = level.functional
    method.grids.level = level.grid_level
    method.conv_tol = level.scf_energy_tolerance
    method.conv_tol_grad = level.scf_gradient_tolerance
    method.diis_space = 15  # quintets have soft d-d rotations: 18 cycles against 22 with the default 8
    method._numint = CachedNumInt(0.5 * mol.max_memory)
    return method


def density_from(orbitals: tuple[Array, Array], mol: gto.Mole) -> Array:
    """Carry occupied orbitals to a (moved) molecule: orthonormalised in its overlap, then the density.

    Returns (nao, nao) for a singlet, (2, nao, nao) otherwise. WrongState if the basis has another size.
    """
    overlap = mol.intor_symmetric("int1e_ovlp")
    densities = []
    for occupied in orbitals:
        if len(occupied) != len(overlap):
            raise WrongState(f"stored orbitals have {len(occupied)} functions, the molecule has {len(overlap)}")
        values, vectors = np.linalg.eigh(occupied.T @ overlap @ occupied)
        orthonormal = occupied @ (vectors / np.sqrt(values)) @ vectors.T
        densities.append(orthonormal @ orthonormal.T)
    return densities[0] + densities[1] if mol.spin == 0 else np.array(densities)


def _run(method: Any, rung: str, density: Array | None, max_cycles: int, trace: list[dict[str, Any]]) -> None:
    start = time.perf_counter()
    method.max_cycle = max_cycles
    method.kernel(dm0=density)
    trace.append(
        {
            "rung": rung,
            "cycles": int(method.cycles),
            "energy_hartree": float(method.e_tot),
            "converged": bool(method.converged),
            "seconds": round(time.perf_counter() - start, 2),
        }
    )


def _small_basis_density(mol: gto.Mole, level: Level, trace: list[dict[str, Any]]) -> Array:
    """Return the density of a rough minimal-basis SCF, projected: iron's cold starts swing by 100 Eh without it."""
    small = mol.copy()
    small.basis = "sto-3g"
    small.build(False, False)
    method = mean_field(small, replace(level, grid_level=0)).set(level_shift=0.3, conv_tol=1e-4, conv_tol_grad=1e-1)
    method.init_guess = "atom"
    _run(method, "minimal basis, level shift", None, 50, trace)
    return np.asarray(addons.project_dm_nr2nr(small, np.asarray(method.make_rdm1()), mol))


def _cold_guess(mol: gto.Mole, level: Level, trace: list[dict[str, Any]]) -> Array:
    if not any(21 <= z <= 80 for z in mol.atom_charges()):
        return np.asarray(mean_field(mol, level).get_init_guess(key="atom"))
    density = _small_basis_density(mol, level, trace)
    method = mean_field(mol, replace(level, grid_level=0)).set(level_shift=0.2, conv_tol=1e-3, conv_tol_grad=3e-1)
    _run(method, "coarse grid, level shift", density, 25, trace)
    return np.asarray(method.make_rdm1())


def solve(
    molecule: Molecule,
    level: Level,
    state: State,
    guess: tuple[Array, Array] | None = None,
    max_memory: float = 8000,
    max_cycles: int = 60,
) -> Solution:
    """Converge one state at one geometry.

    Parameters
    ----------
    molecule : geometry, in the exact group
    guess : occupied orbitals of a neighbouring geometry; a cold start without
    max_memory : MB for PySCF and the orbital cache

    Raises
    ------
    NotConverged
        if DIIS, level shift followed by DIIS, and second order all fail; the message lists every rung
    """
    mol = build_mol(molecule, level, state.multiplicity, max_memory)
    trace: list[dict[str, Any]] = []
    density = density_from(guess, mol) if guess is not None else _cold_guess(mol, level, trace)
    method = mean_field(mol, level)
    if state.occupation is not None and mol.symmetry:
        method.irrep_nelec = _irrep_nelec(mol, state.occupation)
    _run(method, "DIIS", density, min(max_cycles, DIIS_CYCLES), trace)
    for _ in range(NEWTON_STEPS):
        if not method.converged and _nearly(method):
            fx = response.induced_potential(method, min(level.grid_level, NEWTON_GRID))
            _run(method, "Newton step, DIIS", response.newton_density(method, fx), 4, trace)
    if not method.converged:
        method.set(level_shift=0.25, damp=0.3, conv_tol=1e-6, conv_tol_grad=1e-2)
        _run(method, "level shift", np.asarray(method.make_rdm1()), max_cycles, trace)
        method.set(level_shift=0.0, damp=0.0, conv_tol=level.scf_energy_tolerance)
        method.conv_tol_grad = level.scf_gradient_tolerance
        _run(method, "DIIS", np.asarray(method.make_rdm1()), max_cycles, trace)
    if not method.converged:
        newton = method.newton().set(conv_tol=level.scf_energy_tolerance, conv_tol_grad=level.scf_gradient_tolerance)
        _run(newton, "second order", np.asarray(method.make_rdm1()), max_cycles, trace)
        method = newton
    if not method.converged:
        rungs = "; ".join(f"{t['rung']}: {t['cycles']} cycles to {t['energy_hartree']:.6f} Eh" for t in trace)
        raise NotConverged(f"SCF of state {state.name} (multiplicity {state.multiplicity}) did not converge: {rungs}")
    return _solution(method, mol, trace)


def _nearly(method: Any) -> bool:
    """Tell whether a solution is close enough for a Newton step: norm of the orbital gradient below NEWTON_START."""
    slope = method.get_grad(method.mo_coeff, method.mo_occ)
    return bool(np.linalg.norm(slope) < NEWTON_START)


def _solution(method: Any, mol: gto.Mole, trace: list[dict[str, Any]]) -> Solution:
    coefficients, occupations = np.asarray(method.mo_coeff), np.asarray(method.mo_occ)
    if mol.spin == 0:
        occupied = coefficients[:, occupations > 0]
        orbitals, s_squared = (occupied, occupied), 0.0
    else:
        orbitals = (coefficients[0][:, occupations[0] > 0], coefficients[1][:, occupations[1] > 0])
        s_squared = float(method.spin_square()[0])
    plain = tuple(np.array(o, dtype=float) for o in orbitals)
    occupation = _occupation(method, mol) if mol.symmetry else None
    return Solution(float(method.e_tot), (plain[0], plain[1]), s_squared, occupation, trace, method)


def _irrep_nelec(mol: gto.Mole, occupation: tuple[tuple[int, int], ...]) -> dict[str, Any]:
    pairs = dict(zip(mol.irrep_name, occupation, strict=True))
    return {k: (a, b) for k, (a, b) in pairs.items()} if mol.spin else {k: a + b for k, (a, b) in pairs.items()}


def _occupation(method: Any, mol: gto.Mole) -> tuple[tuple[int, int], ...]:
    counts = method.get_irrep_nelec()
    values = [counts[name] for name in mol.irrep_name]
    return tuple((int(v[0]), int(v[1])) if mol.spin else (int(v) // 2, int(v) // 2) for v in values)


def gradient(solution: Solution) -> Array:
    """Return the nuclear gradient (N, 3), Eh/bohr, with the response of the integration grid."""
    method = solution.mean_field.nuc_grad_method()
    method.grid_response = True
    return np.asarray(method.kernel())


def spin_populations(solution: Solution) -> Array:
    """Return Mulliken spin populations (N,); zeros for a closed shell."""
    mol = solution.mean_field.mol
    alpha, beta = (o @ o.T for o in solution.orbitals)
    per_function = np.einsum("ij,ji->i", alpha - beta, mol.intor_symmetric("int1e_ovlp"))
    return np.array([per_function[start:stop].sum() for _, _, start, stop in mol.aoslice_by_atom()])


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


def frontier_levels(solution: Solution, metal: int | None, window: int = 10) -> dict[str, list[dict[str, Any]]]:
    """Return `window` orbitals on each side of the gap per spin.

    Each has energy_hartree, occupied, irrep (None without symmetry) and metal_fraction (Mulliken; None without metal).
    """
    method, mol = solution.mean_field, solution.mean_field.mol
    overlap = mol.intor_symmetric("int1e_ovlp")
    closed = mol.spin == 0
    levels = {}
    for k, name in enumerate(("alpha", "beta")):
        coefficients = method.mo_coeff if closed else method.mo_coeff[k]
        energies = np.asarray(method.mo_energy if closed else method.mo_energy[k])
        occupied = np.asarray(method.mo_occ if closed else method.mo_occ[k]) > 0
        labels = getattr(coefficients, "orbsym", None)
        names = dict(zip(mol.irrep_id, mol.irrep_name, strict=True)) if mol.symmetry else {}
        order = np.argsort(energies)
        gap = int(occupied.sum())
        shares = _metal_shares(np.asarray(coefficients), overlap, mol, metal)
        levels[name] = [
            {
                "energy_hartree": float(energies[i]),
                "occupied": bool(occupied[i]),
                "irrep": names.get(int(labels[i])) if labels is not None else None,
                "metal_fraction": None if shares is None else float(shares[i]),
            }
            for i in order[max(0, gap - window) : gap + window]
        ]
    return levels


def _metal_shares(coefficients: Array, overlap: Array, mol: gto.Mole, metal: int | None) -> Array | None:
    if metal is None:
        return None
    first, last = mol.aoslice_by_atom()[metal][2:]
    return np.asarray(np.einsum("mi,mi->i", coefficients[first:last], overlap[first:last] @ coefficients))


def dipole(solution: Solution) -> Array:
    """Return the dipole moment (3,), debye."""
    return np.asarray(solution.mean_field.dip_moment(unit="Debye", verbose=0))
