r"""Dipole derivatives from nuclear gradients in an electric field, for analytic Hessians of a GPU.

On the CPU the first-order orbitals of the Hessian give them at no cost (`response.py`).

With :math:`E(F) = E_0 - F \cdot \mu`,

.. math:: \frac{\partial \mu_a}{\partial x} = -\frac{\partial^2 E}{\partial F_a \partial x}
          = -\frac{g_x(F_a) - g_x(-F_a)}{2 F_a}.

The field adds :math:`+F \cdot r` to the Hamiltonian of the electrons and :math:`-Z F` to the gradient of a nucleus.
Where an operation of the group turns the field around, one gradient gives the other: four instead of six in C2.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spincross import device, electronic, pointgroup, response, xc_gradient
from spincross.checkpoints import Keep, anew
from spincross.electronic import Solution
from spincross.errors import NotConverged
from spincross.files import Report
from spincross.molecule import Molecule

Array = NDArray[np.float64]

MAX_CYCLES = 100
STRENGTH = 1e-3
"""Field, atomic units: weak beside an atom's, and the SCF's noise over it stays below 1e-4 e."""


def gradient_in_field(mean_field: Any, field: Array) -> Array:
    """Return the nuclear gradient (N, 3), Eh/bohr, of a converged Kohn-Sham object in a uniform field (3,), a.u.

    The object may be one of PySCF's or, on a GPU, of gpu4pyscf's.

    NotConverged if the SCF in the field does not converge.
    """
    mol = mean_field.mol
    without = mean_field.get_hcore()
    core = device.to_numpy(without) + np.einsum("a,aij->ij", field, mol.intor_symmetric("int1e_r"))
    method = mean_field.copy()
    method.get_hcore = lambda *_: device.alike(core, without)
    method.max_cycle = MAX_CYCLES
    method.kernel(dm0=mean_field.make_rdm1())
    if not method.converged:
        strength = np.abs(field).max()
        raise NotConverged(f"SCF in a field of {strength:.0e} a.u. did not converge: E {method.e_tot:.8f} Eh")
    work = xc_gradient.gradient_method(method)
    density = device.to_numpy(method.make_rdm1())
    moving = response.moving_dipoles(mol, density if density.ndim == 2 else density.sum(axis=0))
    return device.to_numpy(work.kernel()) - np.einsum("a,anx->nx", field, moving) - np.outer(mol.atom_charges(), field)


def dipole_derivatives(molecule: Molecule, solution: Solution, report: Report, keep: Keep = anew) -> Array:
    """Return the dipole derivatives (3, 3N), e, of a molecule from its solution without symmetry, on its device.

    Each direction of the field is kept as it finishes.
    """
    operations = pointgroup.operations(molecule.point_group)
    matrices = pointgroup.representation(molecule.numbers, molecule.positions, molecule.point_group)

    def gradient(field: Array) -> Array:
        """Return the flat gradient (3N,), Eh/bohr, in a field (3,), atomic units."""
        work = partial(gradient_in_field, field=field)
        return electronic.on_its_device(solution, work, "the gradient in a field").reshape(-1)

    def along(axis: int) -> dict[str, Array]:
        """Return one row of the derivatives, under the name it is kept by."""
        field = STRENGTH * np.eye(3)[axis]
        turned = next((d for r, d in zip(operations, matrices, strict=True) if r[axis, axis] < 0), None)
        forward = gradient(field)
        backward = gradient(-field) if turned is None else turned @ forward
        report(f"  gradients in a field along {'xyz'[axis]}")
        return {"row": (backward - forward) / (2 * STRENGTH)}

    return np.array([keep(f"field_{'xyz'[k]}", partial(along, k))["row"] for k in range(3)])
