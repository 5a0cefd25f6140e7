r"""What a converged state looks like: spin populations, dipole, levels around the gap, d levels, orbitals for a viewer.

Mulliken spin populations are :math:`\sum_{\mu \in A} (P S)_{\mu\mu}` with the spin density P, Loewdin ones
:math:`\sum_{\mu \in A} (S^{1/2} P S^{1/2})_{\mu\mu}`. A d orbital :math:`\sum_m c_m d_m` is the traceless symmetric
tensor :math:`Q = \sum_m c_m T_m`; in the octahedron's frame its off-diagonal part is t2g-like and its diagonal part
e_g-like. That holds in any orientation and needs no irreps of the full octahedron.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyscf import gto
from pyscf.tools import molden

from spincross import irreps
from spincross.electronic import Solution
from spincross.files import replacing
from spincross.molecule import Molecule, metal_bonds

Array = NDArray[np.float64]

MOLDEN_WINDOW = 30
"""Orbitals on each side of the gap that go into the Molden file: 79 atoms have 879 of each spin."""

_TENSORS = (
    np.array([[0, 1, 0], [1, 0, 0], [0, 0, 0]]) / np.sqrt(2),
    np.array([[0, 0, 0], [0, 0, 1], [0, 1, 0]]) / np.sqrt(2),
    np.diag([-1.0, -1.0, 2.0]) / np.sqrt(6),
    np.array([[0, 0, 1], [0, 0, 0], [1, 0, 0]]) / np.sqrt(2),
    np.diag([1.0, -1.0, 0.0]) / np.sqrt(2),
)
"""Real d functions xy, yz, z^2, xz, x2-y2 as normalised traceless tensors."""


def spin_populations(solution: Solution) -> Array:
    """Return Mulliken spin populations (N,); zeros for a closed shell."""
    mol = solution.mean_field.mol
    alpha, beta = (o @ o.T for o in solution.orbitals)
    return _per_atom(mol, np.einsum("ij,ji->i", alpha - beta, mol.intor_symmetric("int1e_ovlp")))


def loewdin_spin_populations(solution: Solution) -> Array:
    """Return Loewdin spin populations (N,); zeros for a closed shell."""
    mol = solution.mean_field.mol
    root = _root(mol.intor_symmetric("int1e_ovlp"))
    alpha, beta = (((root @ o) ** 2).sum(axis=1) for o in solution.orbitals)
    return _per_atom(mol, alpha - beta)


def _root(overlap: Array) -> Array:
    values, vectors = np.linalg.eigh(overlap)
    return np.asarray((vectors * np.sqrt(values)) @ vectors.T)


def _per_atom(mol: gto.Mole, per_function: Array) -> Array:
    return np.array([per_function[start:stop].sum() for _, _, start, stop in mol.aoslice_by_atom()])


def dipole(solution: Solution) -> Array:
    """Return the dipole moment (3,), debye."""
    return np.asarray(solution.mean_field.dip_moment(unit="Debye", verbose=0))


def _spins(solution: Solution) -> list[tuple[str, Array, Array, NDArray[np.bool_]]]:
    """Return name, coefficients (nao, nmo), energies (Eh) and occupied flags of alpha and beta, by energy."""
    method = solution.mean_field
    closed = method.mol.spin == 0
    found = []
    for k, name in enumerate(("alpha", "beta")):
        coefficients, energies, occupations = (
            np.asarray(x if closed else x[k]) for x in (method.mo_coeff, method.mo_energy, method.mo_occ)
        )
        order = np.argsort(energies, kind="stable")
        found.append((name, coefficients[:, order], energies[order], occupations[order] > 0))
    return found


def frontier_levels(
    solution: Solution, molecule: Molecule, metal: int | None, window: int = 10
) -> dict[str, list[dict[str, Any]]]:
    """Return `window` orbitals on each side of the gap per spin.

    Each has energy_hartree, occupied, irrep (None without symmetry) and metal_fraction (Mulliken; None without metal).
    """
    mol = solution.mean_field.mol
    overlap = mol.intor_symmetric("int1e_ovlp")
    levels = {}
    for name, coefficients, energies, occupied in _spins(solution):
        gap = int(occupied.sum())
        pick = slice(max(0, gap - window), gap + window)
        shares = _metal_shares(coefficients[:, pick], overlap, mol, metal)
        rows = zip(energies[pick], occupied[pick], _labels(mol, molecule, coefficients[:, pick]), shares, strict=True)
        levels[name] = [
            {"energy_hartree": float(e), "occupied": bool(o), "irrep": irrep, "metal_fraction": share}
            for e, o, irrep, share in rows
        ]
    return levels


def _labels(mol: gto.Mole, molecule: Molecule, coefficients: Array) -> list[str | None]:
    if molecule.point_group == "C1":
        return [None] * coefficients.shape[1]
    return [*irreps.adapted(mol, molecule.point_group).labels(coefficients)]


def _metal_shares(coefficients: Array, overlap: Array, mol: gto.Mole, metal: int | None) -> list[float | None]:
    if metal is None:
        return [None] * coefficients.shape[1]
    first, last = mol.aoslice_by_atom()[metal][2:]
    shares = np.einsum("mi,mi->i", coefficients[first:last], overlap[first:last] @ coefficients)
    return [float(share) for share in shares]


def octahedral_frame(molecule: Molecule, metal: int) -> Array | None:
    """Return the axes (3, 3), in rows, of the octahedron around a metal with six donors; None for another number.

    The three pairs of donors that are most nearly trans give three directions; the nearest orthonormal set is taken.
    """
    donors = [row["atoms"][1] for row in metal_bonds(molecule, molecule.symbols[metal]) if row["atoms"][0] == metal]
    if len(donors) != 6:
        return None
    bonds = molecule.positions[donors] - molecule.positions[metal]
    units = bonds / np.linalg.norm(bonds, axis=1)[:, None]
    left, directions = list(range(6)), []
    for _ in range(3):
        first, second = min(
            ((a, b) for n, a in enumerate(left) for b in left[n + 1 :]),
            key=lambda pair: units[pair[0]] @ units[pair[1]],
        )
        directions.append(units[first] - units[second])
        left = [i for i in left if i not in (first, second)]
    u, _, v = np.linalg.svd(np.array(directions))
    return np.asarray(u @ v)


def eg_share(components: Array, frame: Array) -> Array:
    """Return the e_g-like part (n,), 0 to 1, of d orbitals.

    Parameters
    ----------
    components : (5, n) along the real d functions in PySCF's order xy, yz, z^2, xz, x2-y2
    frame : (3, 3), axes of the octahedron in rows
    """
    orbitals = np.einsum("mi,mab->iab", components, np.array([frame @ tensor @ frame.T for tensor in _TENSORS]))
    diagonal = np.einsum("iaa->ia", orbitals)
    return np.asarray((diagonal**2).sum(axis=1) / np.maximum((orbitals**2).sum(axis=(1, 2)), 1e-30))


def _atomic_d(mol: gto.Mole, metal: int) -> Array:
    """Return the overlap (5, nao) of the metal's atomic 3d functions (PySCF's minimal basis) with the basis."""
    place = {"atom": [(mol.atom_pure_symbol(metal), mol.atom_coord(metal))], "unit": "Bohr"}
    atom = gto.M(**place, basis="minao", spin=None, verbose=0)
    rows = [k for k, label in enumerate(atom.ao_labels(None)) if label[2] == "3d"]
    return np.asarray(gto.intor_cross("int1e_ovlp", atom, mol))[rows]


def d_parts(mol: gto.Mole, metal: int, frame: Array, coefficients: Array) -> tuple[Array, Array]:
    """Return how much of orbitals (nao, n) is atomic 3d of a metal (n,), and the e_g-like part of that (n,)."""
    components = _atomic_d(mol, metal) @ coefficients
    return (components**2).sum(axis=0), eg_share(components, frame)


def t2g_like(shares: Array, eg_fractions: Array) -> NDArray[np.intp]:
    """Return the places (3,) of the three orbitals with the largest t2g-like part of metal 3d, from `d_parts`."""
    return np.argsort(shares * (1 - eg_fractions))[-3:]


def d_levels(solution: Solution, molecule: Molecule, metal: int | None) -> dict[str, list[dict[str, Any]]] | None:
    """Return three t2g-like and two e_g-like orbitals per spin, by energy; None without an octahedron.

    They are those with the largest t2g- and e_g-like parts of metal 3d: in high spin the filled e_g-like ones share
    theirs with the ligands, so that by d character alone one of them would be missed. Each has energy_hartree,
    occupied, irrep, d_fraction (squared overlap with the atomic 3d functions), eg_fraction (of that part) and kind.
    """
    frame = None if metal is None else octahedral_frame(molecule, metal)
    if metal is None or frame is None:
        return None
    mol = solution.mean_field.mol
    levels = {}
    for spin, coefficients, energies, occupied in _spins(solution):
        shares, eg_fractions = d_parts(mol, metal, frame, coefficients)
        t2g = t2g_like(shares, eg_fractions)
        eg = [i for i in np.argsort(shares * eg_fractions) if i not in t2g][-2:]
        chosen = np.sort([*t2g, *eg])
        labels = _labels(mol, molecule, coefficients[:, chosen])
        levels[spin] = [
            {
                "energy_hartree": float(energies[i]),
                "occupied": bool(occupied[i]),
                "irrep": irrep,
                "d_fraction": float(shares[i]),
                "eg_fraction": float(eg_fractions[i]),
                "kind": "eg-like" if i in eg else "t2g-like",
            }
            for i, irrep in zip(chosen, labels, strict=True)
        ]
    return levels


def write_molden(path: Any, solution: Solution, molecule: Molecule) -> None:
    """Write the orbitals around the gap, alpha and beta, in Molden's format."""
    mol = solution.mean_field.mol
    with replacing(path) as temporary, temporary.open("w") as handle:
        molden.header(mol, handle)
        for name, coefficients, energies, occupied in _spins(solution):
            gap = int(occupied.sum())
            pick = slice(max(0, gap - MOLDEN_WINDOW), gap + MOLDEN_WINDOW)
            labels = [label or "A" for label in _labels(mol, molecule, coefficients[:, pick])]
            orbitals, occupations = coefficients[:, pick], occupied[pick].astype(float)
            spin = "Alpha" if name == "alpha" else "Beta"
            molden.orbital_coeff(mol, handle, orbitals, spin, labels, energies[pick], occupations)
