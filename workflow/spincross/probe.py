r"""The lowest modes of one irrep without a Hessian: a quick look whether a structure is stable against a distortion.

A product of the Hessian with a direction is a difference of two gradients; for a direction that an operation of the
group turns into its opposite, :math:`g(-d) = D(g)\, g(d)` and one gradient is enough. Davidson's method
(J. Comput. Phys. 1975, 17, 87; PySCF's implementation) finds the lowest eigenvalues from tens of products, with a cheap
Hessian as its preconditioner. Every direction tried is kept on disk; products within their span cost nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyscf import lib

from spincross import pointgroup, vibrations
from spincross.displacements import Point, Surface, breaking_part, kept_point, require_one_surface
from spincross.errors import BadInput, NotConverged, StaleData
from spincross.files import Report, print_line, read_arrays
from spincross.molecule import Molecule
from spincross.units import AMU_TO_ELECTRON_MASS, HARTREE_TO_PER_CM

Array = NDArray[np.float64]

UNIT_PER_CM = 100.0
"""Eigenvalues are handled in units of (100 cm-1)^2, where soft modes are of the order of one."""
RESIDUAL = 0.05
"""Norm of the residual, in that unit, at which a mode is found: at most 5 cm-1 at 50 cm-1, less with its square."""
MIXED = 0.3
"""Part of a random direction in the start vectors, lest these are exact modes of one parity."""
IN_SPAN = 1e-6
"""Part of a direction outside the span of those tried below which it needs no gradient."""


@dataclass
class HessianProducts:
    """Products of the mass-weighted Hessian, in (100 cm-1)^2, with vectors in the basis of one irrep.

    Parameters
    ----------
    molecule : undisplaced geometry
    basis : (3N, n), orthonormal mass-weighted basis of the irrep's vibrations
    opposite : operation matrix (3N, 3N) that turns every direction of the irrep around; None for the totally symmetric
    surface : where gradients are computed
    centre : the undisplaced geometry there
    folder : work folder; directions found there are taken up
    step : displacement (bohr) of the atom that moves most
    """

    molecule: Molecule
    basis: Array
    opposite: Array | None
    surface: Surface
    centre: Point
    folder: Path
    step: float
    report: Report
    directions: list[Array] = field(default_factory=list)
    products: list[Array] = field(default_factory=list)
    others: int = 0

    def __post_init__(self) -> None:
        """Take up the directions of a killed run."""
        while (path := self.folder / f"direction_{len(self.directions):04d}_plus/point.npz").exists():
            shift = self._shift(path)
            weighted = shift * np.sqrt(np.repeat(self.molecule.masses, 3))
            vector = self.basis.T @ weighted / np.linalg.norm(weighted)
            if abs(np.linalg.norm(vector) - 1) > 1e-6 or abs(_largest(shift) / self.step - 1) > 1e-6:
                raise StaleData(f"{path} belongs to another geometry, irrep or step; remove its folder")
            self._compute(vector)

    def _shift(self, path: Path) -> Array:
        positions = read_arrays(path)["positions"]
        if positions.shape != self.molecule.positions.shape:
            raise StaleData(f"{path} belongs to another molecule; remove its folder")
        return np.asarray(positions - self.molecule.positions).reshape(-1)

    def _compute(self, vector: Array) -> None:
        """Add the product of a unit vector (n,): one or two gradients; WrongState if they leave the surface."""
        product = self._product(self.basis @ vector, f"direction_{len(self.directions):04d}")
        self.directions.append(vector)
        self.products.append(self.basis.T @ product)

    def _product(self, weighted: Array, name: str) -> Array:
        """Return the product (3N,) with a mass-weighted unit displacement (3N,) of the irrep."""
        roots = np.sqrt(np.repeat(self.molecule.masses, 3))
        shift = weighted / roots
        scale = self.step / _largest(shift)
        sides = {"plus": scale * shift} | ({"minus": -scale * shift} if self.opposite is None else {})
        moved = [self.molecule.at(self.molecule.positions + s.reshape(-1, 3), "C1") for s in sides.values()]
        points = [
            kept_point(geometry, self.surface, self.folder, f"{name}_{side}", self.report)
            for geometry, side in zip(moved, sides, strict=True)
        ]
        still = breaking_part(self.molecule, self.centre.gradient).reshape(-1)
        forward, last = points[0].gradient.reshape(-1) - still, points[-1].gradient.reshape(-1) - still
        bend = (forward - (last if self.opposite is None else self.opposite @ forward)) / 2
        along = np.outer(shift, bend) / (scale * shift @ shift)  # what this direction knows of the Hessian
        require_one_surface(self.molecule, moved, points, along, self.centre, f"{name}: displacement")
        return np.asarray(bend / roots / scale / AMU_TO_ELECTRON_MASS * (HARTREE_TO_PER_CM / UNIT_PER_CM) ** 2)

    def __call__(self, vector: Array) -> Array:
        """Return the product with a vector (n,), from what is known where it lies in the span of the directions."""
        inside, rest = np.zeros_like(vector), vector.copy()
        for _ in range(2):  # the second round takes away what rounding left
            for direction, product in zip(self.directions, self.products, strict=True):
                part = float(direction @ rest)
                rest = rest - part * direction
                inside = inside + part * product
        left = float(np.linalg.norm(rest))
        if left < IN_SPAN * float(np.linalg.norm(vector)):
            return inside
        self._compute(rest / left)
        return np.asarray(inside + left * self.products[-1])

    def lowest(self, count: int) -> list[Array]:
        """Return the lowest vectors (n,) of the Hessian in the span of the directions tried, none where none was."""
        if not self.directions:
            return []
        tried = np.array(self.directions)
        inside = tried @ np.array(self.products).T
        return list(np.linalg.eigh((inside + inside.T) / 2)[1].T[:count] @ tried)

    def noise_floor(self, rotations: Array) -> float:
        """Return the largest wavenumber (cm-1) that the surface gives to rotations of the irrep, (3N, k) orthonormal.

        They should have none; a grid that does not turn with the molecule gives them one.
        """
        products = [self._product(r, f"rotation_{number}") for number, r in enumerate(rotations.T)]
        self.others = len(products)
        mixed = rotations.T @ np.reshape(products, (len(products), -1)).T
        found = to_wavenumbers(np.asarray(np.linalg.eigvalsh((mixed + mixed.T) / 2), dtype=float))
        return float(np.abs(found).max(initial=0.0))

    @property
    def gradients(self) -> int:
        """Number of gradients behind the products so far, the undisplaced one included."""
        return 1 + (len(self.directions) + self.others) * (2 if self.opposite is None else 1)


def to_wavenumbers(eigenvalues: Array) -> Array:
    """Return wavenumbers, cm-1, of eigenvalues in (100 cm-1)^2; imaginary ones negative."""
    return np.asarray(np.sign(eigenvalues) * np.sqrt(np.abs(eigenvalues)) * UNIT_PER_CM)


def _errors(eigenvalues: Array, residuals: Array) -> Array:
    """Return how far (cm-1) wavenumbers may be off where eigenvalues in (100 cm-1)^2 are off by the residuals."""
    edges = to_wavenumbers(eigenvalues[:, None] + residuals[:, None] * [-1.0, 1.0])
    return np.asarray(np.abs(edges - to_wavenumbers(eigenvalues)[:, None]).max(axis=1))


def _mixed(values: Array, vectors: Array) -> Array:
    """Return a unit vector (n,) of all modes (eigenvalues (n,), vectors in columns) at random, soft ones above all.

    Atoms that lie more symmetric than the point group would keep the search among modes of one parity without it.
    """
    weights = np.random.default_rng(0).standard_normal(len(values)) / np.maximum(values, 0.1)
    mixed = vectors @ weights
    return np.asarray(mixed / np.linalg.norm(mixed))


def _largest(shift: Array) -> float:
    return float(np.linalg.norm(shift.reshape(-1, 3), axis=1).max())


def opposite_operation(molecule: Molecule, irrep: str) -> Array | None:
    """Return the matrix (3N, 3N) of an operation under which the irrep changes sign, None for the symmetric one."""
    names = pointgroup.irreps(molecule.point_group)
    if irrep not in names:
        raise BadInput(f"{molecule.point_group} has no irrep {irrep!r}; choose from {', '.join(names)}")
    characters = pointgroup.CHARACTERS[molecule.point_group][irrep]
    matrices = pointgroup.representation(molecule.numbers, molecule.positions, molecule.point_group)
    return next((matrix for matrix, chi in zip(matrices, characters, strict=True) if chi < 0), None)


def require_rotation(molecule: Molecule, irrep: str) -> None:
    """Raise BadInput where no rotation is of the irrep, so that the noise of its modes cannot be measured."""
    if vibrations.rotations_of(molecule, irrep).shape[1] == 0:
        raise BadInput(
            f"no rotation is of irrep {irrep} in {molecule.point_group}, so the noise of its modes cannot be measured "
            "by rotations; compute the Hessian"
        )


@dataclass(frozen=True)
class Probe:
    """The lowest modes of an irrep: wavenumbers (k,), cm-1; mass-weighted modes (3N, k); what they cost.

    `errors` are bounds (cm-1) on the distance to an exact wavenumber, not necessarily the lowest, from the norms of the
    residuals; `noise_floor` (cm-1) is what the surface gives to rotations of the irrep.
    """

    wavenumbers: Array
    errors: Array
    modes: Array
    gradients: int
    noise_floor: float

    @property
    def verdict(self) -> str:
        """`stable` or `unstable` by the lowest mode; `not decided` where its error or the floor hides the sign."""
        lowest, hidden = self.wavenumbers[0], max(self.errors[0], self.noise_floor)
        if abs(lowest) <= hidden:
            return "not decided"
        return "stable" if lowest > 0 else "unstable"


def lowest_modes(
    molecule: Molecule, irrep: str, guess_hessian: Array, surface: Surface, folder: Path, step: float,
    count: int = 1, report: Report = print_line, max_cycles: int = 60,
) -> Probe:  # fmt: skip
    """Find the lowest `count` vibrations of one irrep.

    Parameters
    ----------
    guess_hessian : cheap Hessian (3N, 3N), Eh/bohr2, for start and preconditioner
    max_cycles : of Davidson's method, each of one product for every mode that is not found yet

    Raises
    ------
    BadInput
        for an irrep that the group does not have, or without vibrations
    NotConverged
        if the residuals are not small after `max_cycles`; the next call goes on
    WrongState
        if a displaced SCF fell into another electronic state: its energy misses the parabola of the gradients
    """
    opposite = opposite_operation(molecule, irrep)
    basis = vibrations.internal_basis(molecule)[irrep]
    size = basis.shape[1]
    if size == 0:
        raise BadInput(f"{molecule.formula} has no vibration of irrep {irrep}")
    count = min(count, size)
    centre = kept_point(molecule.at(molecule.positions, "C1"), surface, folder, "undisplaced", report)
    products = HessianProducts(molecule, basis, opposite, surface, centre, folder, step, report)
    scaled = vibrations.mass_weighted(molecule, guess_hessian) * (HARTREE_TO_PER_CM / UNIT_PER_CM) ** 2
    values, vectors = np.linalg.eigh(basis.T @ scaled @ basis)

    def correction(residual: Array, value: float, *_: Any) -> Array:
        """Return a residual (size,) divided by the gaps of the guess Hessian to an eigenvalue, in its eigenvectors."""
        gaps = values - value
        return np.asarray(vectors @ ((vectors.T @ residual) / np.where(np.abs(gaps) < 0.1, 0.1, gaps)))

    def apply(batch: list[Array]) -> list[Array]:
        """Return the Hessian times each vector (size,), (100 cm-1)^2, and report the gradients taken so far."""
        found = [products(vector) for vector in batch]
        report(f"  {products.gradients} gradients")
        return found

    starts = products.lowest(count + 1) or list(vectors.T[: count + 1] + MIXED * _mixed(values, vectors))
    done, eigenvalues, found = lib.davidson1(
        apply, starts, correction, tol=RESIDUAL, tol_residual=RESIDUAL, nroots=count, max_cycle=max_cycles,
        max_space=max_cycles, lindep=1e-10, verbose=0,
    )  # fmt: skip
    residuals = np.array([np.linalg.norm(products(x) - e * x) for e, x in zip(eigenvalues, found, strict=True)])
    if not all(done):
        raise NotConverged(
            f"the lowest modes of irrep {irrep} are not found after {products.gradients} gradients: residuals "
            f"{', '.join(f'{r:.2f}' for r in residuals)} (100 cm-1)^2, allowed {RESIDUAL}; run again to go on"
        )
    waves = to_wavenumbers(eigenvalues)
    errors = _errors(np.asarray(eigenvalues), residuals)
    floor = products.noise_floor(vibrations.rotations_of(molecule, irrep))
    return Probe(waves, errors, basis @ np.array(found).T, products.gradients, floor)
