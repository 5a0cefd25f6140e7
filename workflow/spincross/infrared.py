r"""Infrared intensities from dipole derivatives.

.. math:: I_k = \frac{N_A}{12 \epsilon_0 c^2} \left| \frac{\partial \mu}{\partial Q_k} \right|^2

in km/mol, with mass-weighted normal coordinates Q (Wilson, Decius, Cross, Molecular Vibrations, 1955, chapter 7). The
dipoles of the displaced geometries give the derivatives at no extra cost. Every displacement stands for its images
under the point group; where the set of all images holds -d with every d, a linear fit is a central difference. Of atoms
that lie more symmetric than their group (a planar molecule in C2, whose plane is one of phonopy's) phonopy plans one
side only, and what the dipole bends there is an error of the step times half its curvature.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spincross import pointgroup
from spincross.molecule import Molecule
from spincross.units import KM_PER_MOL_OF_DIPOLE_DERIVATIVE

Array = NDArray[np.float64]


def dipole_derivatives(molecule: Molecule, displaced: list[Molecule], dipoles: list[Array]) -> Array:
    """Return the dipole derivatives (3, 3N), e, of a molecule from dipoles (3,), e bohr, of displaced geometries.

    Raises
    ------
    ValueError
        if the displacements and their images do not span all 3N directions
    """
    shifts, moments = [], []
    matrices = pointgroup.representation(molecule.numbers, molecule.positions, molecule.point_group)
    for matrix, operation in zip(matrices, pointgroup.operations(molecule.point_group), strict=True):
        for geometry, dipole in zip(displaced, dipoles, strict=True):
            shifts.append(matrix @ (geometry.positions - molecule.positions).reshape(-1))
            moments.append(operation @ dipole)
    scale = float(np.abs(shifts).max())
    table = np.hstack([np.array(shifts) / scale, np.ones((len(shifts), 1))])
    solution, _, rank, _ = np.linalg.lstsq(table, np.array(moments), rcond=None)
    if rank < table.shape[1]:
        raise ValueError(f"displacements span {rank - 1} of {table.shape[1] - 1} directions")
    return np.asarray(solution[:-1].T / scale)


def dipole_sum_rule(derivatives: Array, charge: int) -> float:
    """Return how far (e) the derivatives (3, 3N) miss the sum rule: moving all atoms adds charge times the shift."""
    return float(np.abs(derivatives.reshape(3, -1, 3).sum(axis=1) - charge * np.eye(3)).max())


def intensities(derivatives: Array, masses: Array, modes: Array) -> Array:
    """Return the intensity (M,), km/mol, of mass-weighted unit modes (3N, M) from dipole derivatives (3, 3N), e."""
    slopes = derivatives @ (modes / np.sqrt(np.repeat(masses, 3))[:, None])
    return np.asarray(KM_PER_MOL_OF_DIPOLE_DERIVATIVE * (slopes**2).sum(axis=0))
