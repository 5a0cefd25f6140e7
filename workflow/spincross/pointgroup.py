r"""Point groups in standard orientation, and what they do to positions, gradients, Hessians and modes.

The principal axis is z and passes through the origin; the mirror of Cs is the xy plane. With the matrix :math:`R`
of an operation and its atom permutation :math:`p` (atom i goes to the place of atom p(i)), a vector field v over
the atoms turns into :math:`v'_{p(i)} = R v_i`. A mode belongs to the irrep whose projector leaves it unchanged:
:math:`P_\Gamma = |G|^{-1} \sum_g \chi_\Gamma(g) D(g)` (all groups here have one-dimensional irreps only).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spincross.errors import BadInput, SymmetryLost

Array = NDArray[np.float64]

_IDENTITY = np.eye(3)
OPERATIONS: dict[str, tuple[Array, ...]] = {
    "C1": (_IDENTITY,),
    "C2": (_IDENTITY, np.diag([-1.0, -1.0, 1.0])),
    "Cs": (_IDENTITY, np.diag([1.0, 1.0, -1.0])),
    "Ci": (_IDENTITY, -_IDENTITY),
}
"""Matrices of each supported group, the identity first."""

CHARACTERS: dict[str, dict[str, tuple[float, ...]]] = {
    "C1": {"A": (1.0,)},
    "C2": {"A": (1.0, 1.0), "B": (1.0, -1.0)},
    "Cs": {"A'": (1.0, 1.0), 'A"': (1.0, -1.0)},
    "Ci": {"Ag": (1.0, 1.0), "Au": (1.0, -1.0)},
}
"""Characters of each irrep in the order of OPERATIONS; the totally symmetric irrep comes first."""


def operations(group: str) -> tuple[Array, ...]:
    """Return the (3, 3) matrices of a group; BadInput if it is not supported."""
    if group not in OPERATIONS:
        raise BadInput(f"point group {group!r} is not supported; use one of {', '.join(OPERATIONS)}")
    return OPERATIONS[group]


def order(group: str) -> int:
    """Return the number of operations of a group."""
    return len(operations(group))


def irreps(group: str) -> tuple[str, ...]:
    """Return the irreps of a group, the totally symmetric one first."""
    operations(group)
    return tuple(CHARACTERS[group])


def permutation(
    numbers: NDArray[np.int_], positions: Array, operation: Array, tolerance: float = 0.5
) -> NDArray[np.int_]:
    """Find where an operation sends each atom.

    Parameters
    ----------
    numbers : (N,) atomic numbers
    positions : (N, 3), bohr
    operation : (3, 3) orthogonal matrix
    tolerance : largest distance between an image and the atom it falls on, bohr

    Returns
    -------
    (N,) integers p: atom i is sent onto atom p[i]

    Raises
    ------
    SymmetryLost
        if an image falls on no atom of its element, with the distance
    """
    images = positions @ operation.T
    distances = np.linalg.norm(images[:, None] - positions[None], axis=2)
    distances[numbers[:, None] != numbers[None]] = np.inf
    target = distances.argmin(axis=1)
    miss = distances.min(axis=1)
    worst = int(miss.argmax())
    if miss[worst] > tolerance or len(set(target.tolist())) != len(numbers):
        raise SymmetryLost(
            f"atom {worst} has no partner under the symmetry operation: its image is {miss[worst]:.3g} bohr "
            f"from the nearest atom of its element (tolerance {tolerance:.3g})"
        )
    return target


def permutations(
    numbers: NDArray[np.int_], positions: Array, group: str, tolerance: float = 0.5
) -> list[NDArray[np.int_]]:
    """Return one permutation per operation of the group (see `permutation`)."""
    return [permutation(numbers, positions, op, tolerance) for op in operations(group)]


def representation(numbers: NDArray[np.int_], positions: Array, group: str) -> list[Array]:
    """Return the (3N, 3N) matrices D(g) that carry a vector field over the atoms."""
    matrices: list[Array] = []
    for op, perm in zip(operations(group), permutations(numbers, positions, group), strict=True):
        place = np.zeros((len(numbers), len(numbers)))
        place[perm, np.arange(len(numbers))] = 1.0
        matrices.append(np.asarray(np.kron(place, op), dtype=np.float64))
    return matrices


def symmetrise_vectors(numbers: NDArray[np.int_], positions: Array, vectors: Array, group: str) -> Array:
    """Project an (N, 3) vector field (positions, gradient) on the totally symmetric irrep."""
    total = sum(d @ vectors.reshape(-1) for d in representation(numbers, positions, group))
    return np.asarray(total).reshape(-1, 3) / order(group)


def symmetrise_hessian(numbers: NDArray[np.int_], positions: Array, hessian: Array, group: str) -> Array:
    """Average a (3N, 3N) matrix over the group: D H D^T."""
    total = sum(d @ hessian @ d.T for d in representation(numbers, positions, group))
    return np.asarray(total) / order(group)


def deviation(numbers: NDArray[np.int_], positions: Array, group: str) -> float:
    """Return the largest atomic distance (bohr) between a geometry and its symmetrised image."""
    moved = symmetrise_vectors(numbers, positions, positions, group) - positions
    return float(np.linalg.norm(moved, axis=1).max())


def aligned(positions: Array, target: Array, weights: Array | None = None) -> Array:
    """Move and turn (N, 3) positions rigidly onto a target, (weighted) least squares.

    With the masses as weights (N,) the result fulfils Eckart's conditions to first order. Kabsch, Acta Cryst. A 1976,
    32, 922.
    """
    share = np.full(len(target), 1.0) if weights is None else weights
    share = share / share.sum()
    return np.asarray((positions - share @ positions) @ rotation_onto(positions, target, share) + share @ target)


def rotation_onto(positions: Array, target: Array, weights: Array | None = None) -> Array:
    """Return the matrix R (3, 3) of `aligned`: positions @ R lie as the target, their centres apart."""
    share = np.full(len(target), 1.0) if weights is None else weights
    share = share / share.sum()
    left, _, right = np.linalg.svd((share[:, None] * (positions - share @ positions)).T @ (target - share @ target))
    return np.asarray(left @ np.diag([1.0, 1.0, np.sign(np.linalg.det(left @ right))]) @ right)


def rms_distance(positions: Array, target: Array) -> float:
    """Return the root-mean-square distance of equal atoms (N, 3) after `aligned`, in the units of the input."""
    return float(np.sqrt(((aligned(positions, target) - target) ** 2).sum(axis=1).mean()))


def projectors(numbers: NDArray[np.int_], positions: Array, group: str) -> dict[str, Array]:
    """Return the (3N, 3N) projector of every irrep."""
    matrices = representation(numbers, positions, group)
    return {
        name: np.asarray(sum(chi * d for chi, d in zip(CHARACTERS[group][name], matrices, strict=True))) / order(group)
        for name in irreps(group)
    }


def irrep_basis(numbers: NDArray[np.int_], positions: Array, group: str) -> dict[str, Array]:
    """Return for every irrep an orthonormal (3N, n) basis of its displacement space."""
    bases = {}
    for name, projector in projectors(numbers, positions, group).items():
        values, vectors = np.linalg.eigh(projector)
        bases[name] = vectors[:, values > 0.5]
    return bases
