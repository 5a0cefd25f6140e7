"""A cheap Hessian to start an optimiser with: GFN2-xTB through tblite, central differences.

GFN2 is wrong for high-spin iron-nitrogen distances, but its force constants rank soft and stiff motions well.
"""

from __future__ import annotations

from collections.abc import Callable

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
DOUBTFUL = -0.01
"""Curvature, Eh/bohr2, below which GFN2 is asked again with a longer step."""
LONG_STEP = 0.2
"""Displacement of that step, bohr: past a kink of GFN2, within a bond's harmonic range."""


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
    result = None

    def gradient(shift: Array) -> Array:
        """Return the gradient (3N,), Eh/bohr, of a geometry shifted by (3N,), bohr."""
        nonlocal result
        calculator.update(molecule.positions + shift.reshape(-1, 3))
        try:
            result = calculator.singlepoint(result)
        except RuntimeError as error:
            raise NotConverged(f"GFN2 did not converge: {error}") from error
        return np.asarray(result.get("gradient")).reshape(-1)

    rows = [_slope(gradient, direction, STEP) for direction in np.eye(molecule.positions.size)]
    hessian = (np.array(rows) + np.array(rows).T) / 2
    group = molecule.numbers, molecule.positions, hessian, molecule.point_group
    return upright(pointgroup.symmetrise_hessian(*group), gradient)


def _slope(gradient: Callable[[Array], Array], direction: Array, step: float) -> Array:
    """Return how the gradient (3N,) changes along a unit direction (3N,), Eh/bohr2, by central differences."""
    return (gradient(step * direction) - gradient(-step * direction)) / (2 * step)


def upright(hessian: Array, gradient: Callable[[Array], Array]) -> Array:
    """Return a Hessian (3N, 3N) with every curvature made positive, of the same size, and not below SOFTEST.

    A curvature far below zero is measured again with a longer step. It may be a kink of GFN2: in low-spin
    [Fe(phen)2(NCS)2] -3.7 Eh/bohr2 along iron's motion against both ligands, with the longer step 0.36, in PBE0 0.40.
    Made positive as it was, it held that motion fast: after seven steps PBE0's force along it was still 0.02 Eh/bohr.

    Parameters
    ----------
    gradient : of a shift (3N,) from the geometry, bohr; (3N,), Eh/bohr
    """
    values, vectors = np.linalg.eigh(hessian)
    for k in np.flatnonzero(values < DOUBTFUL):
        values[k] = vectors[:, k] @ _slope(gradient, vectors[:, k], LONG_STEP)
    return np.asarray((vectors * np.maximum(np.abs(values), SOFTEST)) @ vectors.T)
