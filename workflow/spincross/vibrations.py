r"""Hessians and normal modes.

Mass-weighted :math:`D = M^{-1/2} H M^{-1/2}`, translations and rotations projected out, diagonalised irrep by irrep;
:math:`\tilde\nu = \mathrm{sign}(\lambda)\sqrt{|\lambda|}`: imaginary wavenumbers are negative numbers, never dropped.

On the CPU, PySCF's analytic Kohn-Sham Hessian leaves out that the integration grid moves with the atoms (PySCF issues
3437, 3339), which breaks the sum rule. Two ways around it: finite differences of gradients that have the grid response,
or the analytic Hessian with its diagonal blocks rebuilt from the sum rule, H[A,A] = -sum over B != A of H[A,B].
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from phonopy import Phonopy
from phonopy.structure.atoms import PhonopyAtoms
from scipy.optimize import linear_sum_assignment

from spincross import electronic, pointgroup, response
from spincross.electronic import Level, State
from spincross.errors import BadInput, StaleData
from spincross.files import fingerprint, read_arrays, write_arrays
from spincross.molecule import Molecule, neighbours
from spincross.optimise import Orbitals, Report, locked, print_line
from spincross.units import AMU_TO_ELECTRON_MASS, HARTREE_TO_PER_CM

Array = NDArray[np.float64]

CELL_MARGIN = 30.0
"""Room (bohr) around the molecule in the periodic cell that phonopy needs."""
PAIRING_TOLERANCE = 4.0
"""Largest distance (bohr) from an atom to its partner's image for the parent's irreps to be read from a structure."""


@dataclass(frozen=True)
class Settings:
    """How to get a Hessian.

    Parameters
    ----------
    method : `analytic` (diagonal blocks rebuilt) or `finite differences`
    step : displacement of finite differences, bohr
    response_grid_level : grid of the exchange-correlation kernel in the analytic route
    scf_energy_tolerance, scf_gradient_tolerance : of the undisplaced and every displaced SCF
    max_memory : MB
    """

    method: str = "finite differences"
    step: float = 5e-3
    response_grid_level: int = 1
    scf_energy_tolerance: float = 1e-11
    scf_gradient_tolerance: float = 1e-7
    max_memory: float = 8000


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
    """

    wavenumbers: Array
    irreps: tuple[str, ...]
    modes: Array
    translation_residual: float
    rotation_residual: float
    noise_floor: float

    def __post_init__(self) -> None:
        """Check that the arrays belong together."""
        if not len(self.wavenumbers) == len(self.irreps) == self.modes.shape[1]:
            raise ValueError(
                f"{len(self.wavenumbers)} wavenumbers, {len(self.irreps)} irreps, modes {self.modes.shape}"
            )

    @property
    def imaginary(self) -> list[int]:
        """Indices of modes below minus the noise floor."""
        return [int(i) for i in np.flatnonzero(self.wavenumbers < -self.noise_floor)]

    @property
    def undetermined(self) -> list[int]:
        """Indices of modes inside the noise floor."""
        return [int(i) for i in np.flatnonzero(np.abs(self.wavenumbers) <= self.noise_floor)]


def external_motions(masses: Array, positions: Array) -> Array:
    """Return an orthonormal mass-weighted basis (3N, 6 or 5 or 3) of translations and rotations."""
    translations, rotations = rigid_motions(masses, positions)
    weighted = np.repeat(np.sqrt(masses), 3)[:, None] * np.hstack([translations, rotations])
    scaled = weighted / np.maximum(np.linalg.norm(weighted, axis=0), 1e-12)
    left, singular, _ = np.linalg.svd(scaled, full_matrices=False)
    return np.asarray(left[:, singular > 1e-4])


def rigid_motions(masses: Array, positions: Array) -> tuple[Array, Array]:
    """Return unit translations (3N, 3) and rotations (3N, 3) about the centre of mass; zero columns where none."""
    count = len(masses)
    centre = masses @ positions / masses.sum()
    translations = np.tile(np.eye(3), (count, 1))
    rotations = np.stack([np.cross(axis, positions - centre).reshape(-1) for axis in np.eye(3)], axis=1)
    norms = np.linalg.norm(rotations, axis=0)
    return translations / np.sqrt(count), rotations / np.where(norms > 1e-3, norms, np.inf)


def normal_modes(molecule: Molecule, hessian: Array) -> Vibrations:
    """Diagonalise a Hessian (3N, 3N), Eh/bohr2, irrep by irrep in the molecule's point group."""
    masses, positions = molecule.masses, molecule.positions
    weights = 1.0 / np.sqrt(np.repeat(masses, 3) * AMU_TO_ELECTRON_MASS)
    dynamical = hessian * np.outer(weights, weights)
    external = external_motions(masses, positions)
    values, vectors, names = [], [], []
    for irrep, basis in pointgroup.irrep_basis(molecule.numbers, positions, molecule.point_group).items():
        left, singular, _ = np.linalg.svd(basis - external @ (external.T @ basis), full_matrices=False)
        internal = left[:, singular > 0.5]
        value, vector = np.linalg.eigh(internal.T @ dynamical @ internal)
        values.append(value)
        vectors.append(internal @ vector)
        names += [irrep] * len(value)
    eigenvalues = np.concatenate(values)
    order = np.argsort(eigenvalues, kind="stable")
    translations, rotations = rigid_motions(masses, positions)
    mistaken = np.abs(np.linalg.eigvalsh(external.T @ dynamical @ external)).max()
    return Vibrations(
        wavenumbers=_wavenumbers(eigenvalues[order]),
        irreps=tuple(names[i] for i in order),
        modes=np.hstack(vectors)[:, order],
        translation_residual=float(np.abs(hessian @ translations).max()),
        rotation_residual=float(np.abs(hessian @ rotations).max()),
        noise_floor=float(_wavenumbers(np.array([mistaken]))[0]),
    )


def _wavenumbers(eigenvalues: Array) -> Array:
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
    near = neighbours(molecule)
    centre = molecule.symbols.index(metal)
    ncs = []
    for donor in near[centre]:
        for carbon in near[donor] - {centre}:
            ends = near[carbon] - {donor}
            if molecule.symbols[carbon] == "C" and [molecule.symbols[e] for e in ends] == ["S"]:
                ncs += [donor, carbon, *ends]
    return {"core": [centre, *sorted(near[centre])], "ncs": sorted(ncs)}


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
    moves them least. A structure that keeps the group gives 0 and 1. The molecule stands in the parent's frame.

    Parameters
    ----------
    modes : (3N, M), orthonormal mass-weighted displacements

    Returns
    -------
    None if an atom lies farther than PAIRING_TOLERANCE from its partner's image: the group is then no guide
    """
    overlaps = []
    for operation in pointgroup.operations(group):
        images = molecule.positions @ operation.T
        distances = np.linalg.norm(images[:, None] - molecule.positions[None], axis=2)
        distances[molecule.numbers[:, None] != molecule.numbers[None]] = 1e6
        _, target = linear_sum_assignment(distances**2)
        if distances[np.arange(len(target)), target].max() > PAIRING_TOLERANCE:
            return None
        fields = modes.reshape(len(target), 3, -1)
        overlaps.append(np.einsum("aim,ij,ajm->m", fields[target], operation, fields))
    return {
        name: np.asarray(sum(chi * o for chi, o in zip(pointgroup.CHARACTERS[group][name], overlaps, strict=True)))
        / pointgroup.order(group)
        for name in pointgroup.irreps(group)
    }


def rebuilt_diagonal(hessian: Array) -> Array:
    """Replace the diagonal blocks of a (3N, 3N) Hessian by minus the sum of the others, and symmetrise."""
    count = len(hessian) // 3
    blocks = ((hessian + hessian.T) / 2).reshape(count, 3, count, 3).copy()
    for atom in range(count):
        blocks[atom, :, atom] = 0.0
        block = -blocks[atom].sum(axis=1)
        blocks[atom, :, atom] = (block + block.T) / 2
    return blocks.reshape(3 * count, 3 * count)


def analytic_hessian(
    molecule: Molecule, level: Level, state: State, guess: Orbitals, settings: Settings, report: Report = print_line
) -> tuple[Array, float]:
    """Return the analytic Hessian (3N, 3N), Eh/bohr2, diagonal blocks rebuilt, and max |sum rule| before that.

    Only atoms that the point group does not relate are displaced; the rest follows by symmetry.
    """
    solution = electronic.solve(molecule.at(molecule.positions, "C1"), level, state, guess, settings.max_memory)
    unique = unique_atoms(molecule)
    columns = response.hessian_columns(solution.mean_field, unique, settings.response_grid_level, report)
    full = _completed(molecule, columns, unique)
    blocks = full.reshape(len(molecule.symbols), 3, -1, 3)
    residual = float(np.abs(blocks.sum(axis=2)).max())
    rebuilt = rebuilt_diagonal(full)
    return pointgroup.symmetrise_hessian(molecule.numbers, molecule.positions, rebuilt, molecule.point_group), residual


def unique_atoms(molecule: Molecule) -> list[int]:
    """Return the first atom of every orbit of the point group."""
    images = pointgroup.permutations(molecule.numbers, molecule.positions, molecule.point_group)
    return sorted({int(min(p[i] for p in images)) for i in range(len(molecule.symbols))})


def _completed(molecule: Molecule, columns: Array, unique: list[int]) -> Array:
    """Fill (3N, 3N) from the columns (3N, 3n) of unique atoms: H[p(i), p(j)] = R H[i, j] R^T."""
    count = len(molecule.symbols)
    matrices = pointgroup.representation(molecule.numbers, molecule.positions, molecule.point_group)
    images = pointgroup.permutations(molecule.numbers, molecule.positions, molecule.point_group)
    full, times = np.zeros((3 * count, 3 * count)), np.zeros(count)
    for matrix, image, op in zip(matrices, images, pointgroup.operations(molecule.point_group), strict=True):
        for k, atom in enumerate(unique):
            target = int(image[atom])
            full[:, 3 * target : 3 * target + 3] += matrix @ columns[:, 3 * k : 3 * k + 3] @ op.T
            times[target] += 1
    return full / np.repeat(times, 3)


def phonopy_cell(molecule: Molecule) -> Phonopy:
    """Put the molecule in a large cell, lengths in bohr, so that phonopy can plan displacements by symmetry."""
    span = np.ptp(molecule.positions, axis=0) + CELL_MARGIN
    edge = float(span.max())
    lattice = np.diag([edge, edge * 1.07, edge * 1.13])  # three different edges: no symmetry but the molecule's
    cell = PhonopyAtoms(
        symbols=list(molecule.symbols), positions=molecule.positions + lattice.diagonal() / 2, cell=lattice
    )
    return Phonopy(cell, supercell_matrix=np.eye(3, dtype=int), primitive_matrix="P", symprec=1e-5)


def plan_displacements(molecule: Molecule, step: float) -> list[Molecule]:
    """Return the symmetry-reduced displaced geometries (C1), central differences, step in bohr."""
    phonon = phonopy_cell(molecule)
    phonon.generate_displacements(distance=step, is_plusminus="auto", is_diagonal=False)
    displaced = []
    for atom, *shift in phonon.displacements:
        positions = molecule.positions.copy()
        positions[int(atom)] += shift
        displaced.append(molecule.at(positions, "C1"))
    return displaced


def hessian_from_gradients(molecule: Molecule, gradients: list[Array], step: float) -> tuple[Array, float]:
    """Assemble displaced gradients (N, 3), Eh/bohr, into a Hessian (3N, 3N); also its sum-rule residual."""
    phonon = phonopy_cell(molecule)
    phonon.generate_displacements(distance=step, is_plusminus="auto", is_diagonal=False)
    phonon.forces = -np.array(gradients)
    phonon.produce_force_constants()
    count = len(molecule.symbols)
    raw = np.asarray(phonon.force_constants).transpose(0, 2, 1, 3).reshape(3 * count, 3 * count)
    residual = float(np.abs(raw.reshape(count, 3, count, 3).sum(axis=2)).max())
    rebuilt = rebuilt_diagonal(raw)
    return pointgroup.symmetrise_hessian(molecule.numbers, molecule.positions, rebuilt, molecule.point_group), residual


def displaced_gradient(
    molecule: Molecule, level: Level, state: State, guess: Orbitals, path: Path, key: str, max_memory: float
) -> tuple[Array, int]:
    """Return one gradient (N, 3) and its SCF cycles, read from `path` if it holds this very one.

    StaleData if the file belongs to another geometry, level or step.
    """
    key = fingerprint([key, np.round(molecule.positions, 8).tolist()])
    if path.exists():
        stored = read_arrays(path)
        if str(stored["key"]) != key:
            raise StaleData(f"{path} belongs to another geometry, level or step; remove its folder")
        return stored["gradient"], 0
    solution = electronic.solve(molecule, level, state, guess, max_memory)
    gradient = electronic.gradient(solution)
    write_arrays(path, gradient=gradient, key=np.array(key))
    return gradient, solution.cycles


def finite_difference_hessian(
    molecule: Molecule, level: Level, state: State, guess: Orbitals, settings: Settings, folder: Path,
    report: Report = print_line,
) -> tuple[Array, float]:  # fmt: skip
    """Return the Hessian (3N, 3N) from central differences of gradients, and max |sum rule| before enforcing it.

    Every gradient is stored in `folder` as it finishes; a restart repeats none of them.
    """
    displaced = plan_displacements(molecule, settings.step)
    key = electronic.level_fingerprint(level, state, molecule)
    central = electronic.solve(molecule.at(molecule.positions, "C1"), level, state, guess, settings.max_memory)
    gradients = []
    for index, geometry in enumerate(displaced):
        start = time.perf_counter()
        path = folder / f"displacement_{index:04d}.npz"
        gradient, cycles = displaced_gradient(geometry, level, state, central.orbitals, path, key, settings.max_memory)
        gradients.append(gradient)
        seconds = time.perf_counter() - start
        report(f"  displacement {index + 1}/{len(displaced)}  {cycles} cycles  {seconds:.1f} s")
    return hessian_from_gradients(molecule, gradients, settings.step)


def compute_hessian(
    molecule: Molecule, level: Level, state: State, guess: Orbitals, settings: Settings, folder: Path,
    report: Report = print_line,
) -> tuple[Array, float]:  # fmt: skip
    """Return Hessian (3N, 3N), Eh/bohr2, and its sum-rule residual by the method asked for; BadInput for another."""
    tight = level.tightened(settings.scf_energy_tolerance, settings.scf_gradient_tolerance)
    with locked(folder):
        if settings.method == "analytic":
            return analytic_hessian(molecule, tight, state, guess, settings, report)
        if settings.method == "finite differences":
            return finite_difference_hessian(molecule, tight, state, guess, settings, folder, report)
    raise BadInput(f"hessian method {settings.method!r} is unknown; use 'analytic' or 'finite differences'")


def check_geometry(stored: dict[str, NDArray[Any]], molecule: Molecule, name: str) -> None:
    """Raise StaleData if a stored Hessian belongs to another geometry."""
    if stored["positions"].shape != molecule.positions.shape:
        raise StaleData(f"{name} holds {len(stored['positions'])} atoms, the geometry has {len(molecule.symbols)}")
    shift = float(np.abs(stored["positions"] - molecule.positions).max())
    if shift > 1e-5:
        raise StaleData(f"{name} belongs to a geometry that differs by {shift:.1e} bohr; compute it again")


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
