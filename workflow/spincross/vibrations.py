r"""Normal modes of a Hessian, and what moves in each.

Mass-weighted :math:`D = M^{-1/2} H M^{-1/2}`, translations and rotations projected out, diagonalised irrep by irrep;
:math:`\tilde\nu = \mathrm{sign}(\lambda)\sqrt{|\lambda|}`: imaginary wavenumbers are negative numbers, never dropped.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from spincross import pointgroup
from spincross.molecule import Molecule, ncs_groups, neighbours
from spincross.units import AMU_TO_ELECTRON_MASS, HARTREE_TO_PER_CM

Array = NDArray[np.float64]

TURNS = 10
"""Rounds in which a molecule is turned to where it is most symmetric."""
PAIRING_TOLERANCE = 4.0
"""Largest distance (bohr) from an atom to its partner's image for the parent's irreps to be read from a structure."""


@dataclass(frozen=True)
class Vibrations:
    """Normal modes of one geometry.

    Parameters
    ----------
    wavenumbers : (M,), cm-1, ascending, imaginary ones negative
    irreps : M names
    modes : (3N, M), orthonormal mass-weighted displacements
    translation_residual, rotation_residual : max |H t|, max |H r| before projection, Eh/bohr2
    noise_floor : cm-1; largest wavenumber that the Hessian gives to a translation or rotation instead of 0
    settled_imaginary : indices of modes inside the floor that larger steps showed to be imaginary
    """

    wavenumbers: Array
    irreps: tuple[str, ...]
    modes: Array
    translation_residual: float
    rotation_residual: float
    noise_floor: float
    settled_imaginary: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        """Check that the arrays belong together."""
        if not len(self.wavenumbers) == len(self.irreps) == self.modes.shape[1]:
            raise ValueError(
                f"{len(self.wavenumbers)} wavenumbers, {len(self.irreps)} irreps, modes {self.modes.shape}"
            )

    @property
    def imaginary(self) -> list[int]:
        """Indices of modes below minus the noise floor, and of those settled as imaginary."""
        below = {int(i) for i in np.flatnonzero(self.wavenumbers < -self.noise_floor)}
        return sorted(below | set(self.settled_imaginary))

    @property
    def undetermined(self) -> list[int]:
        """Indices of modes inside the noise floor, but for those settled as imaginary."""
        inside = {int(i) for i in np.flatnonzero(np.abs(self.wavenumbers) <= self.noise_floor)}
        return sorted(inside - set(self.settled_imaginary))


def external_motions(masses: Array, positions: Array) -> Array:
    """Return an orthonormal mass-weighted basis (3N, 6 or 5 or 3) of translations and rotations."""
    translations, rotations = rigid_motions(masses, positions)
    weighted = np.repeat(np.sqrt(masses), 3)[:, None] * np.hstack([translations, rotations])
    scaled = weighted / np.maximum(np.linalg.norm(weighted, axis=0), 1e-12)
    left, singular, _ = np.linalg.svd(scaled, full_matrices=False)
    return np.asarray(left[:, singular > 1e-4])


def without_rigid_motion(positions: Array, vector: Array) -> Array:
    """Return what is left of a Cartesian vector (3N,) orthogonal to every translation and rotation, without masses."""
    external = external_motions(np.ones(len(positions)), positions)
    return np.asarray(vector - external @ (external.T @ vector))


def rigid_motions(masses: Array, positions: Array) -> tuple[Array, Array]:
    """Return unit translations (3N, 3) and rotations (3N, 3) about the centre of mass; zero columns where none."""
    count = len(masses)
    centre = masses @ positions / masses.sum()
    translations = np.tile(np.eye(3), (count, 1))
    rotations = np.stack([np.cross(axis, positions - centre).reshape(-1) for axis in np.eye(3)], axis=1)
    norms = np.linalg.norm(rotations, axis=0)
    return translations / np.sqrt(count), rotations / np.where(norms > 1e-3, norms, np.inf)


def rotations_of(molecule: Molecule, irrep: str) -> Array:
    """Return an orthonormal mass-weighted basis (3N, n) of the rotations that belong to an irrep."""
    weighted = np.repeat(np.sqrt(molecule.masses), 3)[:, None] * rigid_motions(molecule.masses, molecule.positions)[1]
    scaled = weighted / np.maximum(np.linalg.norm(weighted, axis=0), 1e-12)
    basis = pointgroup.irrep_basis(molecule.numbers, molecule.positions, molecule.point_group)[irrep]
    left, singular, _ = np.linalg.svd(basis @ (basis.T @ scaled), full_matrices=False)
    return np.asarray(left[:, singular > 1e-2])


def internal_basis(molecule: Molecule) -> dict[str, Array]:
    """Return for every irrep an orthonormal mass-weighted basis (3N, n) free of translations and rotations."""
    external = external_motions(molecule.masses, molecule.positions)
    bases = {}
    for irrep, basis in pointgroup.irrep_basis(molecule.numbers, molecule.positions, molecule.point_group).items():
        left, singular, _ = np.linalg.svd(basis - external @ (external.T @ basis), full_matrices=False)
        bases[irrep] = left[:, singular > 0.5]
    return bases


def modes_per_irrep(molecule: Molecule) -> dict[str, int]:
    """Return the number of vibrations in every irrep; it follows from the places of the atoms alone."""
    return {irrep: basis.shape[1] for irrep, basis in internal_basis(molecule).items()}


def mass_weighted(molecule: Molecule, hessian: Array) -> Array:
    """Return M^-1/2 H M^-1/2 in atomic units of a Hessian (3N, 3N), Eh/bohr2."""
    weights = 1.0 / np.sqrt(np.repeat(molecule.masses, 3) * AMU_TO_ELECTRON_MASS)
    return np.asarray(hessian * np.outer(weights, weights))


def normal_modes(molecule: Molecule, hessian: Array) -> Vibrations:
    """Diagonalise a Hessian (3N, 3N), Eh/bohr2, irrep by irrep in the molecule's point group."""
    dynamical = mass_weighted(molecule, hessian)
    external = external_motions(molecule.masses, molecule.positions)
    values, vectors, names = [], [], []
    for irrep, internal in internal_basis(molecule).items():
        value, vector = np.linalg.eigh(internal.T @ dynamical @ internal)
        values.append(value)
        vectors.append(internal @ vector)
        names += [irrep] * len(value)
    eigenvalues = np.concatenate(values)
    order = np.argsort(eigenvalues, kind="stable")
    translations, rotations = rigid_motions(molecule.masses, molecule.positions)
    mistaken = np.abs(np.linalg.eigvalsh(external.T @ dynamical @ external)).max()
    return Vibrations(
        wavenumbers=wavenumbers(eigenvalues[order]),
        irreps=tuple(names[i] for i in order),
        modes=np.hstack(vectors)[:, order],
        translation_residual=float(np.abs(hessian @ translations).max()),
        rotation_residual=float(np.abs(hessian @ rotations).max()),
        noise_floor=float(wavenumbers(np.array([mistaken]))[0]),
    )


def wavenumbers(eigenvalues: Array) -> Array:
    """Return wavenumbers, cm-1, of mass-weighted eigenvalues in atomic units; imaginary ones negative."""
    return np.asarray(np.sign(eigenvalues) * np.sqrt(np.abs(eigenvalues)) * HARTREE_TO_PER_CM)


def reduced_masses(masses: Array, modes: Array) -> Array:
    """Return (M,) reduced masses, amu, of mass-weighted modes (3N, M)."""
    cartesian = modes / np.sqrt(np.repeat(masses, 3))[:, None]
    return np.asarray(1.0 / (cartesian**2).sum(axis=0))


def atom_fractions(modes: Array) -> Array:
    """Return (N, M): each atom's share of the mass-weighted motion of every mode."""
    return np.asarray((modes**2).reshape(-1, 3, modes.shape[1]).sum(axis=1))


def fragments(molecule: Molecule, metal: str | None) -> dict[str, list[int]]:
    """Return atom indices of the `core` (metal and its donors) and of the `ncs` groups; empty where there are none."""
    if metal is None or metal not in molecule.symbols:
        return {"core": [], "ncs": []}
    centre = molecule.symbols.index(metal)
    ncs = sorted(atom for group in ncs_groups(molecule, metal) for atom in group)
    return {"core": [centre, *sorted(neighbours(molecule)[centre])], "ncs": ncs}


def fragment_shares(groups: dict[str, list[int]], atom_shares: Array) -> dict[str, Array]:
    """Return the shares of each mode on fragments that do not overlap: core, ncs without donors, ligands; (M,) each.

    Parameters
    ----------
    groups : what `fragments` found
    atom_shares : (N, M) share of each atom in each mode, columns adding up to 1
    """
    core = atom_shares[groups["core"]].sum(axis=0)
    ncs = atom_shares[sorted(set(groups["ncs"]) - set(groups["core"]))].sum(axis=0)
    return {"core": core, "ncs": ncs, "ligands": 1.0 - core - ncs}


def parent_irrep_shares(molecule: Molecule, modes: Array, group: str) -> dict[str, Array] | None:
    """Return the share of each mode in every irrep of a parent group, (M,) each, adding up to 1.

    The share is <v|P|v> with the projector P made from the operations of the group and the pairing of atoms that
    moves them least. A structure that keeps the group gives 0 and 1. The molecule stands near the parent's frame, and
    is turned to where it is most symmetric.

    Parameters
    ----------
    modes : (3N, M), orthonormal mass-weighted displacements

    Returns
    -------
    None if an atom lies farther than PAIRING_TOLERANCE from its partner's image: the group is then no guide
    """
    places, turn, images = molecule.positions, np.eye(3), _images(molecule.numbers, molecule.positions, group)
    for _ in range(TURNS):
        if images is None:
            return None
        step = pointgroup.rotation_onto(places, np.mean([places[t] @ g for g, t in images], axis=0))
        places, turn = (places - places.mean(axis=0)) @ step + places.mean(axis=0), turn @ step
        images = _images(molecule.numbers, places, group)
    if images is None:
        return None
    fields = np.einsum("aim,ij->ajm", modes.reshape(len(places), 3, -1), turn)
    overlaps = [np.einsum("aim,ij,ajm->m", fields[target], operation, fields) for operation, target in images]
    return {
        name: np.asarray(sum(chi * o for chi, o in zip(pointgroup.CHARACTERS[group][name], overlaps, strict=True)))
        / pointgroup.order(group)
        for name in pointgroup.irreps(group)
    }


def _images(numbers: NDArray[np.int_], places: Array, group: str) -> list[tuple[Array, NDArray[np.intp]]] | None:
    """Return each operation of a group and the atom near every atom's image; None if one is farther than tolerated."""
    found = []
    for operation in pointgroup.operations(group):
        distances = np.linalg.norm((places @ operation.T)[:, None] - places[None], axis=2)
        distances[numbers[:, None] != numbers[None]] = 1e6
        _, target = linear_sum_assignment(distances**2)
        if distances[np.arange(len(target)), target].max() > PAIRING_TOLERANCE:
            return None
        found.append((operation, target))
    return found


def molden_text(molecule: Molecule, vibrations: Vibrations) -> str:
    """Return modes in Molden's format (imaginary wavenumbers negative); positions in bohr."""
    cartesian = vibrations.modes / np.sqrt(np.repeat(molecule.masses, 3))[:, None]
    lines = ["[Molden Format]", "[FREQ]", *(f"{w:12.4f}" for w in vibrations.wavenumbers), "[FR-COORD]"]
    lines += [
        f"{s:<3s}" + "".join(f"{x:16.8f}" for x in p) for s, p in zip(molecule.symbols, molecule.positions, strict=True)
    ]
    lines.append("[FR-NORM-COORD]")
    for index, mode in enumerate(cartesian.T):
        lines.append(f"vibration {index + 1}")
        lines += ["".join(f"{x:14.8f}" for x in row) for row in (mode / np.linalg.norm(mode)).reshape(-1, 3)]
    return "\n".join(lines) + "\n"


def within_floor(modes: list[int], wavenumbers: Array, floor: float) -> str:
    """Say of some modes, indices into (M,) wavenumbers in cm-1, that they lie inside the noise floor.

    >>> within_floor([0, 2], np.array([1.0, -4.0, 2.25]), 3.0)
    'modes 1 and 3 at 1.0 and 2.2 cm-1 lie inside the noise floor of 3.0 cm-1'
    """
    which, where = (
        " and ".join(", ".join(words).rsplit(", ", 1))
        for words in ([str(m + 1) for m in modes], [f"{wavenumbers[m]:.1f}" for m in modes])
    )
    names = f"mode {which} at {where} cm-1 lies" if len(modes) == 1 else f"modes {which} at {where} cm-1 lie"
    return f"{names} inside the noise floor of {floor:.1f} cm-1"
