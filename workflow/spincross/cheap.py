"""A cheap Hessian to start an optimiser with: GFN2-xTB through tblite, central differences.

GFN2 is wrong for high-spin iron-nitrogen distances, but its force constants rank soft and stiff motions well.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spincross import pointgroup
from spincross.errors import NotConverged
from spincross.molecule import Molecule

Array = NDArray[np.float64]

STEP = 0.01
"""Displacement, bohr."""
SOFTEST = 3e-4
"""Smallest curvature kept, Eh/bohr2: away from GFN2's own minimum its soft modes may come out negative. That of a mode
at 20 cm-1 of an iron complex is 2e-4; with 2e-3 such modes were crept along."""


def gfn2_hessian(molecule: Molecule, multiplicity: int) -> Array:
    """Return a positive definite Hessian (3N, 3N), Eh/bohr2, in the molecule's group.

    Raises
    ------
    NotConverged
        if tblite is not installed or its SCF fails; a start without it is only slower
    """
    try:
        from tblite.interface import Calculator
    except ImportError as error:
        raise NotConverged("tblite is not installed: no GFN2 Hessian to start from") from error
    calculator = Calculator(
        "GFN2-xTB", molecule.numbers, molecule.positions, charge=float(molecule.charge), uhf=multiplicity - 1
    )
    calculator.set("verbosity", 0)
    size = molecule.positions.size
    hessian = np.zeros((size, size))
    result = None
    for index in range(size):
        sides = []
        for sign in (1.0, -1.0):
            positions = molecule.positions.copy()
            positions.reshape(-1)[index] += sign * STEP
            calculator.update(positions)
            try:
                result = calculator.singlepoint(result)
            except RuntimeError as error:
                raise NotConverged(f"GFN2 did not converge: {error}") from error
            sides.append(np.asarray(result.get("gradient")).reshape(-1))
        hessian[index] = (sides[0] - sides[1]) / (2 * STEP)
    symmetric = pointgroup.symmetrise_hessian(
        molecule.numbers, molecule.positions, (hessian + hessian.T) / 2, molecule.point_group
    )
    values, vectors = np.linalg.eigh(symmetric)
    return np.asarray((vectors * np.maximum(np.abs(values), SOFTEST)) @ vectors.T)
