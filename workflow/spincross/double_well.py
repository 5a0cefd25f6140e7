r"""Levels of the motion along one mode in its fitted double well.

.. math:: H = \tfrac12 P^2 + \frac{d}{q^4} Q^4 - \frac{2 d}{q^2} Q^2

with the minima at :math:`\pm q` and the depth d below Q = 0. The other modes stand still, so this is the well of the
scan, not of the relaxed molecule. Where the lowest level lies above the barrier the molecule is not on one side of it.
Solved in the basis of sinc functions of D. T. Colbert, W. H. Miller, J. Chem. Phys. 1992, 96, 1982.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spincross.errors import BadInput
from spincross.units import AMU_TO_ELECTRON_MASS, ANGSTROM_TO_BOHR, HARTREE_TO_KJ_PER_MOL

Array = NDArray[np.float64]

POINTS = 401
"""Sinc functions of the basis."""
BEYOND = 5.0
"""How far it reaches beyond the minima, in lengths :math:`(P^2/Q^4)^{1/6}` of the quartic oscillator."""


def levels(place: float, depth: float, count: int = 2) -> Array:
    """Return the lowest levels, kJ/mol from Q = 0; positive ones lie above the barrier.

    Parameters
    ----------
    place : |Q| of the minima, amu^1/2 angstrom
    depth : their depth, kJ/mol, positive

    Raises
    ------
    BadInput
        if place or depth is not positive
    """
    if min(place, depth) <= 0:
        raise BadInput(f"a double well needs |Q| and depth above zero, found {place} and {depth}")
    minimum = place * ANGSTROM_TO_BOHR * np.sqrt(AMU_TO_ELECTRON_MASS)
    quartic = depth / HARTREE_TO_KJ_PER_MOL / minimum**4
    scale = quartic ** (1 / 3)  # energies in units of this, lengths of its root's inverse: H = P^2/2 + a Q^2 + Q^4
    return quartic_levels(-2.0 * quartic * minimum**2 / scale**2, count) * scale * HARTREE_TO_KJ_PER_MOL


def quartic_levels(square: float, count: int) -> Array:
    """Return the lowest levels of P^2/2 + a Q^2 + Q^4, without units; a is `square`."""
    edge = np.sqrt(max(0.0, -square / 2.0)) + BEYOND
    q, step = np.linspace(-edge, edge, POINTS, retstep=True)
    apart = np.arange(POINTS)[:, None] - np.arange(POINTS)
    kinetic = np.where(apart == 0, np.pi**2 / 3.0, 2.0 / np.where(apart == 0, 1, apart) ** 2) * (-1.0) ** apart
    energies = np.linalg.eigvalsh(kinetic / (2.0 * step**2) + np.diag(square * q**2 + q**4))
    return np.asarray(energies[:count])
