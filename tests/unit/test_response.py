"""The low-rank response equals PySCF's, and so do stability eigenvalues."""

import numpy as np
import pytest
from pyscf import scf
from pyscf.hessian import rhf, uhf

from spincross import electronic, response
from spincross.electronic import Level, State
from spincross.molecule import Molecule
from spincross.units import ANGSTROM_TO_BOHR

LEVEL = Level(grid_level=1, scf_energy_tolerance=1e-11, scf_gradient_tolerance=1e-7)
ATOMS = np.array([[0, 0, 0], [0, 0, 1.22], [0.94, 0.2, -0.57], [-0.94, 0.1, -0.57]]) * ANGSTROM_TO_BOHR
H2CO = Molecule(("C", "O", "H", "H"), ATOMS)


@pytest.fixture(scope="module", params=[1, 3])
def method(request):
    return electronic.solve(H2CO, LEVEL, State("x", request.param)).mean_field


def test_induced_potential_equals_pyscfs(method):
    stock = (rhf if np.ndim(method.mo_occ) == 1 else uhf).gen_vind(method, method.mo_coeff, method.mo_occ)
    size = sum(int((o > 0).sum()) * len(o) for o in np.atleast_2d(method.mo_occ))
    changes = np.random.default_rng(0).normal(size=(2, size))
    expected = np.asarray(stock(changes)).reshape(2, -1)
    found = response.induced_potential(method, LEVEL.grid_level)(changes)
    np.testing.assert_allclose(found, expected, atol=2e-6 * np.abs(expected).max())


def test_lowest_rotation_is_half_of_pyscfs_stability_eigenvalue(method):
    # PySCF's orbital Hessian of a UHF carries a factor 2, that of RHF -> UHF (triplet) a factor 2 as well.
    if np.ndim(method.mo_occ) == 1:
        hop, diagonal = scf.stability._gen_hop_rhf_external(method, with_symmetry=False)[2:4]
    else:
        hop, diagonal = scf.stability._gen_hop_uhf_internal(method, with_symmetry=False)[1:3]
    size = len(diagonal)
    matrix = np.array([hop(row) for row in np.eye(size)[:, :]])
    lowest = float(np.linalg.eigvalsh((matrix + matrix.T) / 2)[0]) / 2
    assert response.lowest_rotation(method, LEVEL.grid_level) == pytest.approx(lowest, abs=2e-4)
