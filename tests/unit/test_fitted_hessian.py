"""Derivatives of the fitted Coulomb and exchange energy against those of PySCF, which keeps other quantities."""

import os
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from pyscf import dft, gto, lib
from pyscf.df.hessian import rhf as df_rhf
from pyscf.df.hessian import uhf as df_uhf

from spincross import fitted_hessian, fitted_potentials, response
from spincross.errors import CannotWrite

ATOMS = "O 0 0 0.1; C 0.1 0.2 1.3; H 0 0.95 1.9; H 0.2 -0.9 1.9"


def converged(multiplicity, functional, auxiliary="def2-universal-jkfit"):
    """A molecule without symmetry; that the SCF has not quite converged does not matter to either route."""
    mol = gto.M(atom=ATOMS, basis="def2-svp", spin=multiplicity - 1, max_memory=8000, verbose=0)
    method = (dft.RKS if multiplicity == 1 else dft.UKS)(mol).density_fit(auxbasis=auxiliary)
    method.xc, method.grids.level, method.max_cycle = functional, 0, 8
    method.kernel()
    return method


CASES = [(1, "pbe0"), (3, "pbe0"), (1, "pbe"), (3, "pbe")]


@pytest.fixture(params=CASES, ids=lambda case: f"{case[1]}-{case[0]}", scope="module")
def method(request):
    return converged(*request.param)


def share(method):
    return method._numint.hybrid_coeff(method.xc, spin=method.mol.spin)


def stock(method):
    return df_rhf if np.ndim(method.mo_occ) == 1 else df_uhf


@pytest.mark.parametrize("memory", [8000, 2])
def test_second_derivatives_equal_pyscfs_in_blocks_of_any_size(method, memory):
    """In 2 MB orbitals are paired two with three, and integrals computed shell by shell."""
    orbitals = method.mo_energy, method.mo_coeff, method.mo_occ
    _, coulomb, exchange = stock(method)._partial_hess_ejk(method.Hessian(), *orbitals, with_k=share(method) != 0)
    fitting = fitted_hessian.fitting_of(method)
    fitting.mol.max_memory = memory
    found = fitted_hessian.second_derivatives(fitting)
    fitting.mol.max_memory = 8000
    np.testing.assert_allclose(found, coulomb - share(method) * exchange, atol=1e-8)


@pytest.mark.parametrize("memory", [8000, 2])
def test_first_order_potentials_equal_pyscfs_in_blocks_of_any_size(method, memory):
    expected = np.zeros((np.ndim(method.mo_occ), method.mol.natm, 3, method.mol.nao, method.mol.nao))
    derivatives = stock(method)._gen_jk(method.Hessian(), method.mo_coeff, method.mo_occ, with_k=share(method) != 0)
    for atom, _, coulomb, exchange in derivatives:
        for spin, target in enumerate(expected):
            k = (0.5 * exchange if len(expected) == 1 else exchange[spin]) if share(method) else 0.0
            target[atom] = coulomb - share(method) * k
    fitting = fitted_hessian.fitting_of(method)
    found = np.ones_like(expected)
    fitting.mol.max_memory = memory
    fitted_potentials.add_potentials(fitting, found)
    fitting.mol.max_memory = 8000
    np.testing.assert_allclose(found - 1, expected, atol=1e-11)


def test_the_scratch_file_has_the_size_that_is_asked_for_first(method, monkeypatch):
    sizes, blocks = [], fitted_hessian._moved_block

    def watched(*args):
        """Note the size of the scratch file, then go on."""
        opened[-1].flush()
        sizes.append(os.fstat(opened[-1].id.get_vfd_handle()).st_size)
        return blocks(*args)

    opened, make = [], lib.H5TmpFile
    monkeypatch.setattr(lib, "H5TmpFile", lambda: opened.append(make()) or opened[-1])
    monkeypatch.setattr(fitted_hessian, "_moved_block", watched)
    fitting = fitted_hessian.fitting_of(method)
    fitted_hessian.second_derivatives(fitting)
    if not share(method):
        assert opened == []
        return
    needed = fitted_hessian.scratch_megabytes(fitting.mol, fitting.auxiliary.nao)
    assert max(sizes) / 1e6 == pytest.approx(needed, rel=0.02)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=0.95e6 * needed))
    lines = []
    with pytest.raises(CannotWrite, match=r"puts \d+ MB of integrals into .* finite differences"):
        response.skeleton(method.Hessian(), lines.append)
    assert lines == []


def test_linearly_dependent_fitting_functions_are_left_to_pyscf():
    doubled = {
        element: [*gto.basis.load("def2-universal-jkfit", element), *gto.basis.load("def2-universal-jkfit", element)]
        for element in "COH"
    }
    method = converged(1, "pbe0", doubled)
    assert fitted_hessian.fitting_of(method) is None
    hessian = method.Hessian()
    np.testing.assert_allclose(response.skeleton(hessian)[0], hessian.partial_hess_elec(), atol=1e-9)
