r"""Stability of a converged SCF: the lowest eigenvalue of the orbital Hessian over all real rotations.

Rotations of different irreps do not mix, nor do those of a closed shell that turn both spins alike (towards another
closed shell) or against each other (towards an open one, RKS -> UKS); an eigensolver that starts in one of these blocks
never leaves it. So each block is searched by itself. Seeger, Pople, J. Chem. Phys. 1977, 66, 3045.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyscf import lib

from spincross import device, irreps, response
from spincross.device import CPU, Device
from spincross.errors import NotConverged

Array = NDArray[np.float64]

UNSTABLE = -1e-3
"""Eigenvalue of the orbital Hessian (Eh) below which a solution is called unstable, and followed: the noise of a kernel
on a coarse grid is up to 9e-4 Eh, and less far below zero there is hardly anything to gain."""
SHARP = 1e-4
"""The same noise where the kernel is on the grid of the SCF and the search goes on to SHARP_TOLERANCE."""
TOLERANCE, SHARP_TOLERANCE = 1e-5, 1e-8
"""Change of an eigenvalue (Eh) at which Davidson's method ends; the residual is then below the square root, and what is
left in the eigenvalue is the residual squared over the distance to the next one."""
MAX_CYCLES = 100
"""Rounds of Davidson's method per block."""
BROKEN = 1e-2
"""Density (electrons) between different irreps above which a solution has none, and all rotations are one block."""


@dataclass(frozen=True)
class Rotation:
    """The lowest rotation of one block.

    Parameters
    ----------
    block : irrep of the rotation, for a closed shell with `singlet` or `triplet`
    eigenvalue : Eh; negative: a lower solution lies this way
    mode : one matrix (virtual, occupied) per spin, of norm 1 together
    breaks_spin : a closed shell's alpha and beta orbitals turn against each other
    noise : size (Eh) below which the eigenvalue may be zero
    """

    block: str
    eigenvalue: float
    mode: list[Array] = field(repr=False)
    breaks_spin: bool = False
    noise: float = -UNSTABLE

    @property
    def undecided(self) -> bool:
        """Whether the eigenvalue is zero within the noise, or so little below zero that it is not followed."""
        return UNSTABLE <= self.eigenvalue <= self.noise


@dataclass(frozen=True)
class Stability:
    """Outcome of a stability test: the lowest rotation of every block; none where it was not tested.

    `failure` says why a test that was asked for gave none.
    """

    rotations: tuple[Rotation, ...] = ()
    failure: str = ""

    @property
    def eigenvalue(self) -> float | None:
        """Lowest eigenvalue of all blocks, Eh."""
        return min((r.eigenvalue for r in self.rotations), default=None)

    @property
    def downward(self) -> Rotation | None:
        """Rotation to follow: the lowest one towards a lower solution of the same kind (RKS or UKS), if any."""
        return self._lowest_unstable(False)

    @property
    def spin_breaking(self) -> Rotation | None:
        """Lowest rotation of a closed shell towards an open one, if it is unstable."""
        return self._lowest_unstable(True)

    @property
    def undecided(self) -> list[Rotation]:
        """Rotations on the brink, see `Rotation.undecided`."""
        return [r for r in self.rotations if r.undecided]

    def _lowest_unstable(self, breaks_spin: bool) -> Rotation | None:
        found = [r for r in self.rotations if r.breaks_spin == breaks_spin and r.eigenvalue < UNSTABLE]
        return min(found, key=lambda r: r.eigenvalue, default=None)

    def facts(self) -> dict[str, Any]:
        """Return everything for a result file."""
        return {
            "stability_eigenvalue_hartree": self.eigenvalue,
            "stability_blocks": [
                {"rotations": r.block, "eigenvalue_hartree": r.eigenvalue, "noise_hartree": r.noise}
                for r in self.rotations
            ],
        }


def lowest_rotations(
    mean_field: Any, point_group: str, grid_level: int, place: Device = CPU, rough: Sequence[Rotation] = ()
) -> list[Rotation]:
    """Return the lowest rotation of every block.

    Where the integrals do not fit into the memory they are read from disk, several times slower.

    Parameters
    ----------
    mean_field : converged Kohn-Sham object of the CPU
    point_group : group that the density keeps
    grid_level : grid of the kernel; on a GPU it is the SCF's own
    place : where the response is computed
    rough : what a search on a coarser grid found; only their blocks are searched, from them, to the noise SHARP

    Raises
    ------
    NotConverged
        if an eigenvalue is not found: what there is of it is an upper bound
    """
    closed = not mean_field.mol.spin
    method = mean_field.to_uks() if closed else mean_field
    filled = [np.asarray(o) > 0 for o in method.mo_occ]
    apply, diagonal = _orbital_hessian(method, filled, grid_level, place)
    labels = np.concatenate([_labels(method, point_group, c, o) for c, o in zip(method.mo_coeff, filled, strict=True)])
    shapes = [(int((~o).sum()), int(o.sum())) for o in filled]
    found, before = [], {r.block: np.concatenate([m.reshape(-1) for m in r.mode]) for r in rough}
    for block in _blocks(labels, shapes[0][0] * shapes[0][1] if closed else None):
        if before and block.name not in before:
            continue
        value, vector = _lowest(block, apply, diagonal, before.get(block.name))
        parts = np.split(block.spread(vector[None])[0], [shapes[0][0] * shapes[0][1]])
        mode = [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]
        found.append(Rotation(block.name, value, mode, block.sign < 0, SHARP if before else -UNSTABLE))
    return found


@dataclass(frozen=True)
class Block:
    """Rotations that do not mix with others.

    Parameters
    ----------
    index : where they stand among all rotations; of a closed shell only those of alpha orbitals
    sign : of beta against alpha rotations of a closed shell, 0 for an open one
    half, total : number of alpha rotations, and of all
    """

    name: str
    index: NDArray[np.intp]
    sign: float
    half: int
    total: int

    def spread(self, rows: Array) -> Array:
        """Return rotations of this block (n, own) among all rotations (n, total)."""
        full = np.zeros((len(rows), self.total))
        full[:, self.index] = rows
        if self.sign:
            full[:, self.index + self.half] = self.sign * rows
            full /= np.sqrt(2.0)
        return full

    def gather(self, full: Array) -> Array:
        """Return the part of rotations (n, total) in this block, (n, own)."""
        own = full[:, self.index]
        return (own + self.sign * full[:, self.index + self.half]) / np.sqrt(2.0) if self.sign else own


def _blocks(labels: NDArray[np.str_], half: int | None) -> list[Block]:
    """Return the blocks of labelled rotations; `half` is the number of alpha rotations of a closed shell."""
    if half is None:
        return [Block(str(n), np.flatnonzero(labels == n), 0.0, 0, len(labels)) for n in np.unique(labels)]
    signs = {"singlet": 1.0, "triplet": -1.0}
    return [
        Block(f"{name} {spin}", np.flatnonzero(labels[:half] == name), sign, half, len(labels))
        for name in np.unique(labels[:half])
        for spin, sign in signs.items()
    ]


def _orbital_hessian(
    method: Any, filled: list[NDArray[np.bool_]], grid_level: int, place: Device
) -> tuple[Callable[[Array], Array], Array]:
    """Return the product of the orbital Hessian with rows of rotations, and the orbital energy gaps (its diagonal)."""
    if place == CPU:
        possible = response.possible(method)
        fx = (response.induced_potential if possible else response.stock_potential)(method, grid_level)
    else:
        fx = response.full_potential(device.moved(method, place))
    mask = np.concatenate([((~o)[:, None] & np.ones(int(o.sum()), dtype=bool)).reshape(-1) for o in filled])
    gaps = [e[:, None] - e[o] for e, o in zip(method.mo_energy, filled, strict=True)]
    diagonal = np.concatenate([g.reshape(-1) for g in gaps])[mask]

    def product(rows: Array) -> Array:
        """Return the orbital Hessian times rotations; both (rows, allowed rotations), Eh."""
        full = np.zeros((len(rows), len(mask)))
        full[:, mask] = rows
        return np.asarray(diagonal * rows + fx(full)[:, mask])

    return product, diagonal


def _labels(method: Any, point_group: str, coefficients: Array, filled: NDArray[np.bool_]) -> NDArray[np.str_]:
    """Return the irrep of every rotation (virtual, occupied) of one spin, flat; in groups with one or two irreps."""
    functions = irreps.adapted(method.mol, point_group)
    if functions.asymmetry(np.asarray(coefficients)[:, filled]) > BROKEN:
        return np.full(int((~filled).sum() * filled.sum()), "any")
    own = functions.shares(np.asarray(coefficients)).argmax(axis=0)
    differ = own[~filled][:, None] != own[filled]
    return np.array([functions.names[0], functions.names[-1]])[differ.astype(int).reshape(-1)]


def _lowest(
    block: Block, apply: Callable[[Array], Array], diagonal: Array, rough: Array | None = None
) -> tuple[float, Array]:
    """Return the lowest eigenvalue and its unit vector; starts are the smallest gaps and mixtures of all rotations.

    One more start is what a rough search found among all rotations (total,); the tolerance is then sharp.

    Two roots are sought. With one, a search can end on the lowest rotation of a kind that the smallest gaps have:
    on an iron complex, symmetric but searched without its group, at 0.0074 Eh where 0.0003 Eh was lower.
    """
    gaps = diagonal[block.index]
    starts = [np.eye(1, len(gaps), int(k)).reshape(-1) for k in np.argsort(gaps)[:2]]
    mixtures = np.random.default_rng(1).normal(size=(3, len(gaps))) / np.maximum(gaps, 0.05) ** 2
    starts += list(mixtures / np.linalg.norm(mixtures, axis=1)[:, None])

    tolerance = TOLERANCE if rough is None else SHARP_TOLERANCE
    if rough is not None:
        starts.insert(0, block.gather(rough[None])[0])

    def product(rows: list[Array]) -> list[Array]:
        """Return the Hessian of the block times each vector of its rotations, as PySCF's Davidson solver asks."""
        return list(block.gather(apply(block.spread(np.array(rows)))))

    done, values, vectors = lib.davidson1(
        product, starts, gaps, tol=tolerance, max_cycle=MAX_CYCLES, nroots=min(2, len(gaps)), verbose=0
    )
    if not all(done):
        raise NotConverged(
            f"the stability test found no lowest rotation of block {block.name} in {MAX_CYCLES} rounds; its eigenvalue "
            f"is at most {values[0]:.4f} Eh; set gates.stability: false to go on without the test"
        )
    return float(values[0]), np.asarray(vectors[0]) / np.linalg.norm(vectors[0])
