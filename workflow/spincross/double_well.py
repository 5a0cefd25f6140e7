r"""Levels of the motion along one mode, on the computed curve of its scan.

.. math:: H = \tfrac12 P^2 + E(Q), \qquad E(Q) = E(-Q)

All other modes stand still, so this is the well of the scan and not that of the relaxed molecule. Where the lowest
level lies above Q = 0, the top of the barrier, the molecule is not on one side of it. E is a cubic spline in Q^2; the
basis is that of sinc functions of D. T. Colbert, W. H. Miller, J. Chem. Phys. 1992, 96, 1982.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from spincross.units import AMU_TO_ELECTRON_MASS, ANGSTROM_TO_BOHR, HARTREE_TO_PER_CM

Array = NDArray[np.float64]

FEWEST = 4
"""Points with Q >= 0 that a cubic needs."""
POINTS = 401
"""Sinc functions of the basis."""
BEYOND = 1.5
"""How far the curve is continued, as a straight line in Q^2, in lengths of the scan, to see whether it reaches."""
EDGE = 1.0
"""Change of a level (cm-1), from a wall at the end of the scan to the continued curve, that tells a scan too short."""


def levels(coordinates: Array, rise: Array, count: int = 2) -> Array | None:
    """Return the lowest levels, cm-1 from Q = 0; None where the scan does not reach as far as the motion.

    That is tested strictly: a wall at its end, the worst continuation, must not move them.

    Parameters
    ----------
    coordinates : (M,) of the scan, amu^1/2 angstrom, ascending; those below zero are not used
    rise : (M,) energies from Q = 0, Eh
    """
    ahead = coordinates >= 0
    q, energy = coordinates[ahead] * ANGSTROM_TO_BOHR * np.sqrt(AMU_TO_ELECTRON_MASS), rise[ahead]
    if len(q) < FEWEST:
        return None
    curve = CubicSpline(q**2, energy)
    end, slope = float(q[-1]), float(curve(q[-1] ** 2, 1))

    def continued(place: Array) -> Array:
        """Return the curve, Eh, with a straight line in Q^2 beyond the scan."""
        inside = np.minimum(place**2, end**2)
        return np.asarray(curve(inside) + slope * (place**2 - inside))

    found = [lowest(edge, continued, count) * HARTREE_TO_PER_CM for edge in (end, BEYOND * end)]
    return found[1] if float(np.abs(found[0] - found[1]).max()) < EDGE else None


def lowest(edge: float, curve: Callable[[Array], Array], count: int) -> Array:
    """Return the lowest levels, Eh, of a particle of unit mass on a curve between walls at -edge and +edge."""
    q, step = np.linspace(-edge, edge, POINTS, retstep=True)
    apart = np.arange(POINTS)[:, None] - np.arange(POINTS)
    kinetic = np.where(apart == 0, np.pi**2 / 3.0, 2.0 / np.where(apart == 0, 1, apart) ** 2) * (-1.0) ** apart
    return np.asarray(np.linalg.eigvalsh(kinetic / (2.0 * step**2) + np.diag(curve(q)))[:count])
