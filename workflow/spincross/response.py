r"""First-order response of Kohn-Sham orbitals to nuclear displacements, density-fitted, for many displacements at once.

For first-order changes :math:`Y_\sigma = C U` the induced potential, projected on the occupied orbitals, is

.. math:: V Y = J C - a_x K[Y C^T + C Y^T] C + V_{xc}[Y C^T + C Y^T] C

with Coulomb and exchange parts from `fitted_response`. PySCF builds the potential of each perturbation from its full
density matrix; the low-rank form here needs a fifth of the work, and memory for it. PySCF's own Krylov solver calls it
(argument ``fx`` of ``Hessian.solve_mo1``).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyscf import df, dft, lib
from pyscf.hessian import rhf as rhf_hess
from pyscf.hessian import rks as rks_hess
from pyscf.hessian import uhf as uhf_hess
from pyscf.hessian import uks as uks_hess

from spincross import device, fitted_hessian, fitted_potentials, images, symmetric_fitting, xc_derivatives
from spincross.checkpoints import Keep, anew, mark, parts_of
from spincross.errors import BadInput, solving_first_order
from spincross.fitted_hessian import fitting_of
from spincross.fitted_response import FittedResponse, in_memory, integrals_of, megabytes
from spincross.mean_field import (
    INSTEAD,
    require_free,
    require_hessian_room,
    without_group,
)
from spincross.xc_cache import CachedNumInt, half_grid, plain_gga

Array = NDArray[np.float64]
AT_ONCE = 7
"""Changes for which orbitals on the grid, and integrals, are fetched from memory once, at most."""
CHANGES = 1 / 20
"""Part of the memory that PySCF was given for their matrices."""
BLOCK = 7
"""Atoms displaced at once; larger blocks take more memory for their first-order orbitals."""


def induced_potential(mean_field: Any, grid_level: int) -> Callable[[Array], Array]:
    """Return PySCF's ``fx``: first-order orbitals (n, sum of nmo * nocc) to induced potentials of the same shape.

    Parameters
    ----------
    mean_field : converged RKS or UKS with density fitting and a plain GGA
    grid_level : grid of the exchange-correlation kernel
    """
    mol, ni = mean_field.mol, CachedNumInt(0.5 * mean_field.mol.max_memory, single=True)
    closed = np.ndim(mean_field.mo_occ) == 1
    coefficients = [np.asarray(c) for c in ([mean_field.mo_coeff] if closed else mean_field.mo_coeff)]
    occupations = [np.asarray(o) for o in ([mean_field.mo_occ] if closed else mean_field.mo_occ)]
    occupied = [c[:, o > 0] for c, o in zip(coefficients, occupations, strict=True)]
    hybrid = ni.hybrid_coeff(mean_field.xc, spin=0 if closed else 1)
    at_once = changes_at_once(mol, len(occupied))
    fitted = FittedResponse(integrals_of(mean_field, occupied), occupied, hybrid, _kept(mean_field), at_once)
    grids = dft.gen_grid.Grids(mol).set(level=grid_level)
    grids.build(with_non0tab=True)
    density = np.asarray(mean_field.make_rdm1())
    kernel = ni.cache_xc_kernel1(mol, grids, mean_field.xc, density, spin=0 if closed else 1)[2]
    symmetric = kept_images(mean_field) is not None

    def several(changes: list[Array]) -> list[Array]:
        """Return the first-order potentials (n, orbitals, occupied) of each spin for its changes, of the same shape."""
        ys = [c @ u for c, u in zip(coefficients, changes, strict=True)]
        halves = np.stack([y @ o.T for y, o in zip(ys, occupied, strict=True)], axis=1)
        densities = (halves + halves.transpose(0, 1, 3, 2)) * (2.0 if closed else 1.0)
        potentials = ni.kernel_potential(mol, grids, kernel, densities, symmetric)
        fixed = fitted(ys, 4.0 if closed else 2.0)
        spins = zip(coefficients, occupied, fixed, potentials.transpose(1, 0, 2, 3), strict=True)
        return [c.T @ (f + v @ o) for c, o, f, v in spins]

    return _by_rows(several, coefficients, occupied, at_once)


def changes_at_once(mol: Any, spins: int) -> int:
    """Return how many changes share a pass: each has a matrix in every thread, and ten that are made of it."""
    each = (lib.num_threads() + 10) * spins * mol.nao**2 * 8e-6
    return max(1, min(AT_ONCE, int(CHANGES * mol.max_memory / each)))


def full_potential(engine: Any) -> Callable[[Array], Array]:
    """Return the same function by way of full densities and the object's own `gen_response`, on its SCF grid.

    For a GPU, where this is fast.

    Parameters
    ----------
    engine : converged UKS with density fitting, without symmetry, PySCF's or gpu4pyscf's
    """
    coefficients, occupations = list(device.to_numpy(engine.mo_coeff)), device.to_numpy(engine.mo_occ)
    occupied = [c[:, o > 0] for c, o in zip(coefficients, occupations, strict=True)]
    respond, width = engine.gen_response(hermi=1), max(o.shape[1] for o in occupied)

    def padded(orbitals: Array) -> Array:
        """Return (..., nao, k) with columns of zeros up to the width."""
        return np.pad(orbitals, [(0, 0)] * (orbitals.ndim - 1) + [(0, width - orbitals.shape[-1])])

    right = np.stack([padded(o) for o in occupied])

    def several(changes: list[Array]) -> list[Array]:
        """Return the first-order potentials (n, orbitals, occupied) of each spin for its changes, of the same shape."""
        left = np.stack([padded(c @ u) for c, u in zip(coefficients, changes, strict=True)])
        potentials = device.to_numpy(respond(device.factored(left, right, engine.mo_coeff)))
        return [c.T @ (v @ o) for c, v, o in zip(coefficients, potentials, occupied, strict=True)]

    return _by_rows(several, coefficients, occupied, 1)


def _by_rows(
    several: Callable[[list[Array]], list[Array]], coefficients: list[Array], occupied: list[Array], at_once: int
) -> Callable[[Array], Array]:
    """Return ``fx`` from a function of a few first-order changes: matrices (n, nmo, nocc) per spin."""
    shapes = [(c.shape[1], o.shape[1]) for c, o in zip(coefficients, occupied, strict=True)]
    borders = np.cumsum([a * b for a, b in shapes])

    def fx(orbitals: Array) -> Array:
        """Return the first-order potentials of first-order orbitals, both (n, sum of nmo * nocc)."""
        rows = orbitals.reshape(-1, borders[-1])
        out = np.empty_like(rows)
        for first in range(0, len(rows), at_once):
            few = rows[first : first + at_once]
            parts = np.split(few, borders[:-1], axis=1)
            found = several([part.reshape(len(few), *shape) for part, shape in zip(parts, shapes, strict=True)])
            out[first : first + at_once] = np.hstack([v.reshape(len(few), -1) for v in found])
        return out

    return fx


def stock_potential(mean_field: Any, grid_level: int) -> Callable[[Array], Array]:
    """Return what `induced_potential` does, from PySCF: slower, any functional, the fitted integrals on disk."""
    method = mean_field.copy()
    method.grids = dft.gen_grid.Grids(method.mol).set(level=grid_level)
    method.grids.build(with_non0tab=True)
    module = rhf_hess if np.ndim(method.mo_occ) == 1 else uhf_hess
    return module.gen_vind(method, np.asarray(method.mo_coeff), np.asarray(method.mo_occ))


def kept_images(mean_field: Any) -> images.Images | None:
    """Return the images under the molecule's group, None where it has none or the density does not keep it."""
    mapped = images.of_molecule(mean_field.mol)
    return mapped if mapped is not None and mapped.symmetric(np.asarray(mean_field.make_rdm1())) else None


def _kept(mean_field: Any) -> bool:
    """Tell whether the integrals of the response, unpacked, fit into what is left of PySCF's memory."""
    return bool(megabytes(mean_field, keep=True) < mean_field.mol.max_memory - symmetric_fitting.memory_in_use())


def fits(mean_field: Any) -> bool:
    """Tell whether `induced_potential` fits into the memory that PySCF was given."""
    return in_memory(mean_field) and megabytes(mean_field, keep=False) < float(mean_field.mol.max_memory)


def possible(mean_field: Any) -> bool:
    """Tell whether `induced_potential` covers the functional and fits into the memory."""
    return plain_gga(mean_field) and fits(mean_field)


def require_room(method: Any) -> None:
    """Raise an error if the analytic Hessian of a density-fitted Kohn-Sham object, before its SCF, has no room.

    CannotWrite if the disk is too small, BadInput if the memory is.
    """
    mol = method.mol
    if not plain_gga(method):
        require_hessian_room(method)
        return
    auxiliary = df.addons.make_auxmol(mol, method.with_df.auxbasis).nao
    if method._numint.hybrid_coeff(method.xc, spin=mol.spin):
        require_free(fitted_hessian.scratch_megabytes(mol, auxiliary))
    needed = symmetric_fitting.megabytes(mol, auxiliary)
    if needed > symmetric_fitting.room(mol.max_memory):
        enough = math.ceil(needed / symmetric_fitting.SHARE + symmetric_fitting.memory_in_use())
        raise BadInput(
            f"the analytic Hessian keeps {needed:.0f} MB of fitted integrals in memory: raise memory_mb "
            f"({mol.max_memory:.0f}) to {enough}, or {INSTEAD}"
        )


def skeleton(
    hessian: Any, report: Callable[[str], None] = lambda text: None, keep: Keep = anew,
    mapped: images.Images | None = None,
) -> tuple[Array, Any]:  # fmt: skip
    """Return PySCF's ``partial_hess_elec()`` and ``make_h1()`` of a density-fitted Kohn-Sham Hessian.

    (N, N, 3, 3), Eh/bohr2, and (N, 3, nao, nao) for a closed shell, two of them otherwise. Other functionals than plain
    GGAs, and linearly dependent fitting functions, go through PySCF as a whole.

    Parameters
    ----------
    keep : stores the second derivatives part by part, and the first-order potentials of exchange and correlation
    mapped : images under the group that the density keeps; where PySCF does it all, unused
    """
    method = hessian.base
    fitting = fitting_of(method, mapped) if plain_gga(method) else None
    if fitting is None:
        require_hessian_room(method)
        return np.asarray(hessian.partial_hess_elec()), hessian.make_h1(method.mo_coeff, method.mo_occ)
    if fitting.exchange:
        require_free(fitted_hessian.scratch_megabytes(fitting.mol, fitting.auxiliary.nao))
    explicit = fitted_hessian.second_derivatives(fitting, keep)
    report("second-derivative integrals")
    explicit += keep("one_electron", lambda: {"found": _one_electron(hessian)})["found"]
    of_xc = keep("exchange_correlation", partial(_exchange_correlation, method, mapped))
    explicit, potentials = explicit + of_xc["found"], of_xc["potentials"]
    report("derivatives of exchange and correlation")
    core = method.nuc_grad_method().hcore_generator(method.mol)
    for atom in range(method.mol.natm):
        potentials[:, atom] += core(atom)
    fitted_potentials.add_potentials(fitting, potentials)
    report("first-order Hamiltonians")
    return explicit, potentials[0] if len(potentials) == 1 else potentials


def _exchange_correlation(method: Any, mapped: images.Images | None) -> dict[str, Array]:
    """Return second derivatives `found` (N, N, 3, 3), and first-order `potentials` (spins, N, 3, nao, nao)."""
    if mapped is not None:
        method = method.copy()
        method.grids = half_grid(method.mol, method.grids, mapped.orbits)[0]
    pairs, potentials = xc_derivatives.second_derivatives(method)
    stock = rks_hess if len(potentials) == 1 else uks_hess
    diagonal = _diagonal(method, stock._get_vxc_diag(method.Hessian(), method.mo_coeff, method.mo_occ, 4000))
    if mapped is None:
        return {"found": pairs + diagonal, "potentials": potentials}
    mapped.symmetrise_first_order(potentials)
    return {"found": mapped.second_derivatives(pairs + diagonal), "potentials": potentials}


def _one_electron(hessian: Any) -> Array:
    """Return the second derivatives (N, N, 3, 3) of one-electron integrals and overlaps at fixed orbitals, Eh/bohr2."""
    method = hessian.base
    mol, core = method.mol, hessian.hcore_generator(method.mol)
    both_densities = method.make_rdm1(), method.nuc_grad_method().make_rdm1e()
    density, weighted = (np.asarray(d).reshape(-1, mol.nao, mol.nao).sum(axis=0) for d in both_densities)
    twice, both, _ = rhf_hess.get_ovlp(mol)
    functions = [slice(a, b) for _, _, a, b in mol.aoslice_by_atom()]
    found = np.zeros((mol.natm, mol.natm, 3, 3))
    for first, own in enumerate(functions):
        for second, other in enumerate(functions[: first + 1]):
            found[first, second] = np.einsum("xypq,pq->xy", core(first, second), density)
            found[first, second] -= 2 * np.einsum("xypq,pq->xy", both[:, :, own, other], weighted[own, other])
            found[second, first] = found[first, second].T
        found[first, first] -= 2 * np.einsum("xypq,pq->xy", twice[:, :, own], weighted[own])
    return found


def _diagonal(method: Any, potentials: Any) -> Array:
    """Return (N, N, 3, 3) with the terms in which one orbital moves twice."""
    density, nao = np.asarray(method.make_rdm1()), method.mol.nao
    found = np.zeros((method.mol.natm, method.mol.natm, 3, 3))
    for v, d in zip(np.reshape(potentials, (-1, 3, 3, nao, nao)), density.reshape(-1, nao, nao), strict=True):
        for atom, (first, last) in enumerate(method.mol.aoslice_by_atom()[:, 2:]):
            found[atom, atom] += 2.0 * np.einsum("xypq,pq->xy", v[:, :, first:last], d[first:last])
    return found


def hessian_columns(
    mean_field: Any, atoms: list[int], grid_level: int, report: Callable[[str], None], keep: Keep = anew
) -> tuple[Array, Array]:
    """Return what displacements of n atoms change: columns of the analytic Hessian, and dipole derivatives.

    (3N, 3n), Eh/bohr2, and (3, 3n), e. Right-hand sides and the Krylov solver are PySCF's, and the derivative integrals
    of functionals other than plain GGAs.

    Parameters
    ----------
    mean_field : converged RKS or UKS, in its point group or without; in it the response takes half the work and memory,
        second derivatives of three-index integrals, of exchange and of correlation half the work
    keep : stores the derivative integrals, each BLOCK of displaced atoms and, meanwhile, each iteration of its response
    """
    start = time.perf_counter()
    if isinstance(mean_field._numint, CachedNumInt):
        mean_field._numint.forget()
    hessian, mapped = without_group(mean_field).Hessian(), kept_images(mean_field)

    def timed(text: str) -> None:
        """Report a text with the seconds since the start."""
        report(f"  {text}  {time.perf_counter() - start:.0f} s")

    def integrals() -> dict[str, Array]:
        """Return what `skeleton` does, under the names it is kept by."""
        explicit, h1 = skeleton(hessian, timed, parts_of("integrals", keep), mapped)
        return {"explicit": explicit, "h1": np.asarray(h1)}

    parts = keep("integrals", integrals)
    fixed, h1 = parts["explicit"] + hessian.hess_nuc(), parts["h1"]
    density = np.asarray(mean_field.make_rdm1())
    moving = moving_dipoles(mean_field.mol, density if density.ndim == 2 else density.sum(axis=0))
    natoms, columns, dipoles = mean_field.mol.natm, [], []
    for first in range(0, len(atoms), BLOCK):
        block = atoms[first : first + BLOCK]
        name = f"response_{'_'.join(map(str, block))}"
        part = parts_of(name, keep)
        relaxed = keep(name, partial(_relaxed, mean_field, hessian, block, h1, grid_level, timed, part))
        columns.append(fixed[:, block].transpose(0, 2, 1, 3).reshape(3 * natoms, -1) + relaxed["columns"])
        nuclei = np.hstack([mean_field.mol.atom_charge(atom) * np.eye(3) for atom in block])
        dipoles.append(nuclei + moving[:, block].reshape(3, -1) + relaxed["dipoles"])
    return np.hstack(columns), np.hstack(dipoles)


def moving_dipoles(mol: Any, density: Array) -> Array:
    """Return how the electrons' dipole (3, N, 3), e, changes because basis functions move with their atoms."""
    slopes = mol.intor("int1e_irp").reshape(3, 3, mol.nao, mol.nao)  # <i| r_a d/db |j>
    per_function = 2 * np.einsum("abij,ij->ajb", slopes, density)
    return np.stack([per_function[:, a:b].sum(axis=1) for _, _, a, b in mol.aoslice_by_atom()], axis=1)


def _relaxed(
    mean_field: Any, hessian: Any, atoms: list[int], h1: Array, grid_level: int, report: Callable[[str], None],
    keep: Keep,
) -> dict[str, Array]:  # fmt: skip
    """Return what the relaxation of the orbitals adds to the `columns` (3N, 3n) and `dipoles` (3, 3n) of n atoms.

    Parameters
    ----------
    keep : stores each iteration; a solver begun again asks for the same ones, and catches up without computing
    """
    closed = np.ndim(mean_field.mo_occ) == 1
    coefficients, occupations = hessian.base.mo_coeff, mean_field.mo_occ
    length, count = sum(int((o > 0).sum()) * len(o) for o in np.atleast_2d(occupations)), 0

    def counted(orbitals: Array) -> Array:
        """Return the first-order potentials of first-order orbitals, and report the iteration."""
        nonlocal count
        count += 1
        rows = orbitals.reshape(-1, length)
        result = keep(mark(rows), lambda: {"potentials": apply(rows)})["potentials"]
        report(f"response iteration {count}: {len(rows)} vectors")
        return result

    apply = (induced_potential if plain_gga(mean_field) else stock_potential)(mean_field, grid_level)
    with solving_first_order(f"first-order orbitals of atoms {', '.join(str(a + 1) for a in atoms)}"):
        mo1, e1 = hessian.solve_mo1(mean_field.mo_energy, coefficients, occupations, h1, fx=counted, atmlst=atoms)
    spins = [(coefficients, occupations, mean_field.mo_energy, h1, mo1, e1)] if closed else [
        (coefficients[k], occupations[k], mean_field.mo_energy[k], h1[k], mo1[k], e1[k]) for k in (0, 1)
    ]  # fmt: skip
    columns = [_relaxation(mean_field.mol, atoms, c[:, o > 0], e0[o > 0], h, m, e) for c, o, e0, h, m, e in spins]
    position, share = mean_field.mol.intor_symmetric("int1e_r"), 2.0 if closed else 1.0
    dipoles = [_polarisation(position, atoms, c[:, o > 0], m) for c, o, _, _, m, _ in spins]
    return {"columns": np.asarray(share * sum(columns)), "dipoles": np.asarray(share * sum(dipoles))}


def _polarisation(position: Array, atoms: list[int], occupied: Array, mo1: Any) -> Array:
    """Return the dipole (3, 3n) of one spin's first-order orbitals, from integrals (3, nao, nao) of the position."""
    changes = np.array([mo1[a] for a in atoms]).reshape(3 * len(atoms), -1)
    return np.asarray(-2.0 * (position @ occupied).reshape(3, -1) @ changes.T)


def _relaxation(mol: Any, atoms: list[int], occupied: Array, energies: Array, h1: Any, mo1: Any, e1: Any) -> Array:
    """Return the orbital-relaxation part (3N, 3n) of one spin: contractions of h1 and S1 with first-order orbitals."""
    overlap = -mol.intor("int1e_ipovlp", comp=3)
    changes = np.array([mo1[a] for a in atoms]).reshape(3 * len(atoms), -1)
    weighted = np.array([mo1[a] * energies for a in atoms]).reshape(3 * len(atoms), -1)
    multipliers = np.array([e1[a] for a in atoms]).reshape(3 * len(atoms), -1)
    rows = []
    for atom in range(mol.natm):
        first, last = mol.aoslice_by_atom()[atom][2:]
        s1 = np.zeros_like(overlap)
        s1[:, first:last] += overlap[:, first:last]
        s1[:, :, first:last] += overlap[:, first:last].transpose(0, 2, 1)
        half = s1 @ occupied
        row = 2 * (h1[atom] @ occupied).reshape(3, -1) @ changes.T - 2 * half.reshape(3, -1) @ weighted.T
        rows.append(row - (occupied.T @ half).reshape(3, -1) @ multipliers.T)
    return np.vstack(rows)
