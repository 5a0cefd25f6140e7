r"""How far six donors are from a regular octahedron: zeta, Sigma and Theta, straight from their published definitions.

.. math::
    \zeta = \sum_{i=1}^{6} |d_i - \bar d|, \qquad
    \Sigma = \sum_{i=1}^{12} |90^\circ - \varphi_i|, \qquad
    \Theta = \sum_{i=1}^{24} |60^\circ - \theta_i|

:math:`d` are the metal-donor distances (zeta: Buron-Le Cointe et al., Phys. Rev. B 2012, 85, 064114),
:math:`\varphi` the 12 cis angles donor-metal-donor (Sigma: Drew et al., J. Chem. Soc., Chem. Commun. 1995, 1035;
Guionneau et al., J. Mater. Chem. 2002, 12, 2546), and :math:`\theta` the 24 angles between neighbouring donors of
opposite triangular faces, seen along the pseudo-threefold axes (Theta: Marchivie et al., Acta Cryst. B 2005, 61, 25).
All are 0 for a regular octahedron. The papers leave the projection open for a distorted one; here the axis runs from
the centroid of a face to that of the opposite face, and the angles have their corner at the metal.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations, product

import numpy as np
from ase.geometry import get_angles
from numpy.typing import NDArray

from spincross.errors import BadStructure

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Octahedron:
    """Shape of one metal site.

    Parameters
    ----------
    zeta : angstrom
    sigma, theta : degrees
    volume : of the polyhedron of donors, cubic angstrom
    """

    zeta: float
    sigma: float
    theta: float
    volume: float


def shape(metal: Array, donors: Array) -> Octahedron:
    """Return the shape of an octahedral site.

    Parameters
    ----------
    metal : (3,) angstrom
    donors : (6, 3) angstrom

    Raises
    ------
    BadStructure
        if there are not six donors in three trans pairs
    """
    if donors.shape != (6, 3):
        raise BadStructure(f"octahedral parameters need six donors, found {len(donors)}")
    vectors = donors - metal
    lengths = np.linalg.norm(vectors, axis=1)
    pairs = trans_pairs(vectors)
    cis = [a for a, pair in zip(_angles(vectors), combinations(range(6), 2), strict=True) if pair not in pairs]
    return Octahedron(
        zeta=float(np.abs(lengths - lengths.mean()).sum()),
        sigma=float(np.abs(np.array(cis) - 90.0).sum()),
        theta=float(sum(np.abs(twist_angles(vectors, face) - 60.0).sum() for face in faces(pairs))),
        volume=sum(_tetrahedron(vectors[list(face)]) for face in product(*pairs)),
    )


def _angles(vectors: Array) -> Array:
    """Return the 15 angles between six vectors, degrees."""
    first, second = np.array(list(combinations(range(6), 2))).T
    return np.asarray(get_angles(vectors[first], vectors[second]))


def trans_pairs(vectors: Array) -> list[tuple[int, int]]:
    """Return the three pairs of opposite donors: the pairing with the largest sum of angles."""
    angle = dict(zip(combinations(range(6), 2), _angles(vectors), strict=True))
    pairings = [[(0, a), pair, rest] for a in range(1, 6) for pair, rest in _halves([k for k in range(1, 6) if k != a])]
    best = max(pairings, key=lambda pairing: sum(angle[pair] for pair in pairing))
    smallest = min(angle[pair] for pair in best)
    if smallest < 120.0:
        raise BadStructure(f"the six donors form no octahedron: a trans angle would be {smallest:.0f} degrees")
    return best


def _halves(four: list[int]) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Return the three ways to split four indices into two pairs."""
    first, *others = four
    return [((first, k), tuple(j for j in others if j != k)) for k in others]  # type: ignore[misc]


def faces(pairs: list[tuple[int, int]]) -> list[tuple[tuple[int, int, int], tuple[int, int, int]]]:
    """Return the four pairs of opposite triangular faces: one donor of each trans pair, and their partners."""
    (a, d), (b, e), (c, f) = pairs
    return [((a, b, c), (d, e, f)), ((a, b, f), (d, e, c)), ((a, e, c), (d, b, f)), ((d, b, c), (a, e, f))]


def twist_angles(vectors: Array, opposite: tuple[tuple[int, int, int], tuple[int, int, int]]) -> Array:
    """Return the six angles (degrees) between neighbouring donors of two opposite faces, seen along their axis."""
    first, second = (vectors[list(face)] for face in opposite)
    axis = first.mean(axis=0) - second.mean(axis=0)
    axis /= np.linalg.norm(axis)
    flat = np.vstack([first, second])
    flat = flat - np.outer(flat @ axis, axis)
    right = flat[0] / np.linalg.norm(flat[0])
    azimuth = np.degrees(np.arctan2(flat @ np.cross(axis, right), flat @ right))
    # walking round the axis, donors of the two faces alternate: each gap is one angle between the faces
    order = np.argsort(azimuth)
    return np.diff(np.append(azimuth[order], azimuth[order[0]] + 360.0))


def _tetrahedron(corners: Array) -> float:
    """Return the volume between the origin and a face."""
    return float(abs(np.linalg.det(corners))) / 6.0
