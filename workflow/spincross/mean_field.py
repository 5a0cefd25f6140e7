"""PySCF's objects for one state at one geometry: molecule, Kohn-Sham method, start density, electrons per irrep."""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyscf import df, dft, gto, lib

from spincross import device, irreps, symmetric_fitting
from spincross.device import CPU, Device, to_numpy
from spincross.errors import BadInput, CannotWrite, WrongState
from spincross.files import writing
from spincross.levels import Level, Occupation, check_spin
from spincross.molecule import Molecule
from spincross.symmetric_fitting import SymmetricFitting
from spincross.xc_cache import CachedNumInt

Array = NDArray[np.float64]


D_BLOCK = frozenset((*range(21, 31), *range(39, 49), *range(72, 81)))
"""Atomic numbers of the transition metals with d electrons."""
INSTEAD = "take finite differences (hessian.method)"
"""What can be done without room for an analytic Hessian."""


def transition_metals(mol: gto.Mole) -> list[int]:
    """Return which atoms are transition metals; an effective core potential does not hide them."""
    return [i for i in range(mol.natm) if gto.charge(mol.atom_pure_symbol(i)) in D_BLOCK]


def build_mol(
    molecule: Molecule, level: Level, multiplicity: int, max_memory: float = 8000, adapted: bool = True
) -> gto.Mole:
    """Return PySCF's molecule; symmetry-adapted in the imposed group unless told otherwise (GPUs need it plain)."""
    check_spin(molecule, multiplicity)
    return gto.M(
        atom=list(zip(molecule.symbols, molecule.positions.tolist(), strict=True)),
        unit="Bohr",
        basis=level.basis,
        charge=molecule.charge,
        spin=multiplicity - 1,
        symmetry=molecule.point_group if adapted and molecule.point_group != "C1" else False,
        max_memory=max_memory,
        verbose=0,
    )


def kohn_sham(mol: gto.Mole, level: Level, place: Device = CPU) -> Any:
    """Return a fresh Kohn-Sham object on a device: RKS for a singlet, UKS otherwise; density fitting."""
    method = dft.RKS(mol) if mol.spin == 0 else dft.UKS(mol)
    method = method.density_fit(auxbasis=level.auxiliary_basis)
    method.xc = level.functional
    method.grids.level = level.grid_level
    method.conv_tol = level.scf_energy_tolerance
    method.conv_tol_grad = level.scf_gradient_tolerance
    method.chkfile = None  # restart data lies in the work folder
    method.diis_space = 15  # quintets have soft d-d rotations: 18 cycles against 22 with the default 8
    if place == CPU:
        method._numint = CachedNumInt(0.5 * mol.max_memory)
        method.with_df = SymmetricFitting(mol, level.auxiliary_basis)
    return device.moved(method, place)


def without_group(method: Any) -> Any:
    """Return a Kohn-Sham object of the CPU with the same orbitals and grid whose molecule has no point group."""
    if not method.mol.symmetry:
        return method
    mol = method.mol.copy()
    mol.symmetry = False
    mol.build(False, False)
    plain = (dft.RKS if mol.spin == 0 else dft.UKS)(mol).density_fit(auxbasis=method.with_df.auxbasis)
    plain.xc, plain.grids.level, plain._numint = method.xc, method.grids.level, method._numint
    plain.mo_coeff, plain.mo_occ, plain.mo_energy = map(np.array, (method.mo_coeff, method.mo_occ, method.mo_energy))
    plain.e_tot, plain.converged = method.e_tot, method.converged
    plain.grids.build(with_non0tab=True)
    return plain


def require_scratch(mol: gto.Mole, auxiliary_basis: str) -> None:
    """Raise CannotWrite if the fitted integrals fit neither into the memory nor into PySCF's folder for scratch files.

    A disk that runs full while they are written ends the process inside the HDF5 library.
    """
    auxiliary = df.addons.make_auxmol(mol, auxiliary_basis).nao
    needed = auxiliary * mol.nao * (mol.nao + 1) / 2 * 8e-6
    in_memory = symmetric_fitting.megabytes(mol, auxiliary)
    inside = symmetric_fitting.room(mol.max_memory)
    free = _free_scratch()
    if needed > free and in_memory > inside:
        raise CannotWrite(
            f"the fitted integrals take {needed:.0f} MB, {lib.param.TMPDIR} has {free:.0f} MB free: make room, name "
            f"another folder in PYSCF_TMPDIR, or raise memory_mb ({mol.max_memory:.0f})"
        )


def _free_scratch() -> float:
    """Return the room in PySCF's folder for scratch files, MB; CannotWrite if there is no such folder."""
    with writing(Path(lib.param.TMPDIR)):
        return shutil.disk_usage(lib.param.TMPDIR).free / 1e6


def require_hessian_room(method: Any) -> None:
    """Raise an error if PySCF's own analytic Hessian has no room for its derivative integrals.

    PySCF keeps them in its folder for scratch files: arrays of 3 nao^2 naux numbers, four for a closed shell, seven for
    an open one, one without exact exchange (df/hessian/rhf.py and uhf.py of PySCF 2.14).

    Parameters
    ----------
    method : Kohn-Sham object of the CPU with density fitting, converged or not

    Raises
    ------
    CannotWrite
        if the disk is too small; that ends the process inside the HDF5 library
    BadInput
        if the memory given is too small for what PySCF keeps there
    """
    mol, closed = method.mol, method.mol.spin == 0
    auxiliary = df.addons.make_auxmol(mol, method.with_df.auxbasis).nao
    exchange = dft.libxc.is_hybrid_xc(method.xc)  # PySCF's own question
    arrays = (4 if closed else 7) if exchange else 1
    require_free(arrays * 3 * mol.nao**2 * auxiliary * 8e-6)
    filled = max(mol.nelec)
    inside = auxiliary * filled * (filled + mol.nao) * 8e-6 / (0.8 if closed else 0.4)
    if exchange and inside > mol.max_memory:
        raise BadInput(
            f"the analytic Hessian needs memory_mb {math.ceil(inside)}, {mol.max_memory:.0f} is given: raise it, "
            f"or {INSTEAD}"
        )


def require_free(megabytes: float) -> None:
    """Raise CannotWrite if PySCF's folder for scratch files has no room for what an analytic Hessian puts there."""
    free = _free_scratch()
    if megabytes > free:
        raise CannotWrite(
            f"the analytic Hessian puts {megabytes:.0f} MB of integrals into {lib.param.TMPDIR}, which has "
            f"{free:.0f} MB free: make room, name another folder in PYSCF_TMPDIR, or {INSTEAD}"
        )


def density_from(orbitals: tuple[Array, Array], mol: gto.Mole) -> Array:
    """Carry occupied orbitals to a (moved) molecule: orthonormalised in its overlap, then their density.

    Returns (nao, nao) for a singlet, (2, nao, nao) otherwise. WrongState if the basis has another size.
    """
    overlap = mol.intor_symmetric("int1e_ovlp")
    for occupied in orbitals:
        if len(occupied) != len(overlap):
            raise WrongState(f"stored orbitals have {len(occupied)} functions, the molecule has {len(overlap)}")
    return tagged_density(orbitals[:1] if mol.spin == 0 else orbitals, overlap)


def tagged_density(orbitals: Sequence[Array], overlap: Array) -> Array:
    """Return the density of occupied orbitals, (nao, nocc) each, of a closed shell (one set) or of two spins.

    They are orthonormalised, and the density carries them: without, PySCF's exchange takes three times as long.
    """
    spins, nao, width = len(orbitals), len(overlap), max(o.shape[1] for o in orbitals)
    coefficients, filled = np.zeros((spins, nao, width)), np.zeros((spins, width))
    for spin, occupied in enumerate(orbitals):
        coefficients[spin, :, : occupied.shape[1]] = orthonormalised(occupied, overlap)
        filled[spin, : occupied.shape[1]] = 3 - spins
    densities = np.einsum("smi,si,sni->smn", coefficients, filled, coefficients, optimize=True)
    pick: Any = 0 if spins == 1 else slice(None)
    return lib.tag_array(densities[pick], mo_coeff=coefficients[pick], mo_occ=filled[pick])


def orthonormalised(orbitals: Array, overlap: Array) -> Array:
    """Return the orbitals (nao, n) nearest to these that are orthonormal in an overlap (nao, nao) (Loewdin)."""
    values, vectors = np.linalg.eigh(orbitals.T @ overlap @ orbitals)
    return np.asarray(orbitals @ (vectors / np.sqrt(values)) @ vectors.T)


def electrons_per_irrep(
    mol: gto.Mole, point_group: str, orbitals: tuple[Array, Array]
) -> tuple[tuple[int, int], ...] | None:
    """Return (alpha, beta) electrons per irrep of the group, None without one; rounded where the density breaks it."""
    if point_group == "C1":
        return None
    functions = irreps.adapted(mol, point_group)
    alpha, beta = (functions.counts(o).round().astype(int).tolist() for o in orbitals)
    return tuple(zip(alpha, beta, strict=True))


def hold_occupation(method: Any, mol: gto.Mole, point_group: str, occupation: Occupation, place: Device) -> None:
    """Fix the electrons per irrep: PySCF's way where the molecule is adapted, by each orbital's irrep otherwise."""
    if mol.symmetry:
        pairs = dict(zip(mol.irrep_name, occupation, strict=True))
        method.irrep_nelec = pairs if mol.spin else {name: a + b for name, (a, b) in pairs.items()}
        return
    functions = irreps.adapted(mol, point_group)

    def one_spin(energies: Array, coefficients: Array, electrons: list[int]) -> Array:
        """Return occupations 0 or 1 (n,) of one spin: of each irrep the lowest, as many as it has electrons."""
        labels = functions.shares(coefficients).argmax(axis=0)
        filled = np.zeros(len(energies))
        for irrep, count in enumerate(electrons):
            members = np.flatnonzero(labels == irrep)
            filled[members[np.argsort(energies[members], kind="stable")[:count]]] = 1.0
        return filled

    def get_occ(mo_energy: Any = None, mo_coeff: Any = None) -> Any:
        """Return the occupations of both spins on the method's device, as PySCF's function of this name."""
        energies = to_numpy(method.mo_energy if mo_energy is None else mo_energy)
        coefficients = to_numpy(method.mo_coeff if mo_coeff is None else mo_coeff)
        alpha, beta = ([pair[k] for pair in occupation] for k in (0, 1))
        if mol.spin == 0:
            return device.to_device(2 * one_spin(energies, coefficients, alpha), place)
        both = [one_spin(e, c, n) for e, c, n in zip(energies, coefficients, (alpha, beta), strict=True)]
        return device.to_device(np.array(both), place)

    method.get_occ = get_occ
