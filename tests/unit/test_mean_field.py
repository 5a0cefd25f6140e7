"""Start densities hold the electrons; fixed occupations are the same with and without symmetry-adapted orbitals."""

import os
import re
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from pyscf import gto, lib
from pyscf.df.hessian import rhf as df_rhf
from pyscf.df.hessian import uhf as df_uhf

from sample_h2co import EXCITED, H2CO, LEVEL
from spincross import electronic, mean_field, symmetric_fitting
from spincross.device import CPU
from spincross.errors import BadInput, CannotWrite, WrongState
from spincross.levels import State


def test_carried_orbitals_hold_the_electrons(triplet):
    mol = mean_field.build_mol(H2CO.at(H2CO.positions * 1.01), LEVEL, 3)
    density = mean_field.density_from(triplet[0].orbitals, mol)
    overlap = mol.intor("int1e_ovlp")
    assert [float(np.trace(d @ overlap)) for d in density] == pytest.approx([9.0, 7.0], abs=1e-10)


@pytest.mark.parametrize("multiplicity", [1, 3])
def test_a_carried_density_has_its_orbitals_with_it(multiplicity, singlet, triplet):
    """PySCF builds exchange from them, in a third of the time."""
    orbitals = (singlet if multiplicity == 1 else triplet[0]).orbitals
    mol = mean_field.build_mol(H2CO.at(H2CO.positions * 1.01), LEVEL, multiplicity)
    density = mean_field.density_from(orbitals, mol)
    method = mean_field.kohn_sham(mol, LEVEL)
    from_orbitals = method.get_k(mol, density)
    assert density.mo_coeff.shape[-1] == density.mo_occ.shape[-1] == orbitals[0].shape[1]
    assert from_orbitals == pytest.approx(method.get_k(mol, np.array(density)), abs=1e-10)


def test_orbitals_of_another_basis_are_refused(singlet):
    mol = mean_field.build_mol(H2CO, replace(LEVEL, basis="sto-3g"), 1)
    with pytest.raises(WrongState, match="functions"):
        mean_field.density_from(singlet.orbitals, mol)


def test_electrons_per_irrep_are_those_of_the_symmetry_adapted_scf(triplet):
    found = triplet[0].mean_field.get_irrep_nelec()
    assert triplet[0].occupation == tuple(found[name] for name in ("A", "B"))


@pytest.mark.parametrize(("multiplicity", "occupation"), [(3, EXCITED), (1, ((5, 5), (3, 3)))])
def test_a_fixed_occupation_without_adapted_orbitals_gives_pyscfs_energy(multiplicity, occupation):
    adapted = electronic.solve(H2CO, LEVEL, State("x", multiplicity, occupation))
    plain = mean_field.build_mol(H2CO, LEVEL, multiplicity, adapted=False)
    method = mean_field.kohn_sham(plain, LEVEL)
    mean_field.hold_occupation(method, plain, "C2", occupation, CPU)
    method.kernel(dm0=mean_field.density_from(adapted.orbitals, plain))
    assert not plain.symmetry
    assert method.e_tot == pytest.approx(adapted.energy, abs=1e-8)


def test_integrals_that_fit_neither_memory_nor_disk_are_refused_before_the_scf(monkeypatch, triplet):
    method = triplet[0].mean_field
    size = method.with_df.get_naoaux() * method.mol.nao * (method.mol.nao + 1) / 2 * 8e-6
    free = [0.9 * size]
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=free[0] * 1e6))
    with pytest.raises(CannotWrite, match=rf"take {size:.0f} MB, .* raise memory_mb \(1\)"):
        electronic.solve(H2CO, LEVEL, State("HS", 3), max_memory=1)
    state = State("HS", 3, triplet[0].occupation)
    inside = electronic.solve(H2CO, LEVEL, state, triplet[0].orbitals, max_memory=8000)
    free[0] = 1.1 * size
    outside = electronic.solve(H2CO, LEVEL, state, triplet[0].orbitals, max_memory=1)
    assert inside.energy == pytest.approx(outside.energy, abs=1e-9)


@pytest.mark.parametrize(("multiplicity", "functional"), [(1, "pbe0"), (3, "pbe0"), (3, "pbe")])
def test_a_hessian_without_room_is_refused_and_the_room_is_what_pyscf_writes(multiplicity, functional, monkeypatch):
    level = replace(LEVEL, grid_level=0, functional=functional)
    method = electronic.solve(H2CO, level, State("x", multiplicity)).mean_field
    module, opened = df_rhf if multiplicity == 1 else df_uhf, []

    def scratch(file=lib.H5TmpFile):
        """Open a scratch file and hold it, so that its size can be read."""
        opened.append(file())
        return opened[-1]

    with monkeypatch.context() as patched:
        patched.setattr(lib, "H5TmpFile", scratch)
        orbitals = method.mo_energy, method.mo_coeff, method.mo_occ
        module._partial_hess_ejk(method.Hessian(), *orbitals, with_k=functional == "pbe0")
    opened[0].flush()
    written = os.fstat(opened[0].id.get_vfd_handle()).st_size
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1.02 * written))
    mean_field.require_hessian_room(method)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=0.95 * written))
    with pytest.raises(CannotWrite, match=r"puts \d+ MB of integrals into .* finite differences"):
        mean_field.require_hessian_room(method)


@pytest.mark.parametrize("multiplicity", [1, 3])
def test_a_hessian_that_pyscf_refuses_for_memory_is_refused_in_a_sentence(multiplicity):
    method = electronic.solve(H2CO, replace(LEVEL, grid_level=0), State("x", multiplicity)).mean_field
    method.mol.max_memory = 0.4
    with pytest.raises(BadInput, match=r"needs memory_mb \d+, 0 is given") as refused:
        mean_field.require_hessian_room(method)
    needed = float(re.findall(r"memory_mb (\d+)", str(refused.value))[0])
    module = df_rhf if multiplicity == 1 else df_uhf
    orbitals = method.mo_energy, method.mo_coeff, method.mo_occ
    hessian = method.Hessian()
    hessian.max_memory = needed - 1
    with pytest.raises(RuntimeError, match="Memory not enough"):
        module._partial_hess_ejk(hessian, *orbitals)
    hessian.max_memory = needed
    module._partial_hess_ejk(hessian, *orbitals)


def test_a_scratch_folder_that_is_not_there_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(lib.param, "TMPDIR", str(tmp_path / "gone"))
    with pytest.raises(CannotWrite, match=r"gone cannot be written \(No such file"):
        electronic.solve(H2CO, LEVEL, State("HS", 3))


@pytest.mark.parametrize(
    ("atoms", "metals"), [("Se 0 0 0; Fe 0 0 2.4", [1]), ("I 0 0 0; Ru 0 0 2.6", [1]), ("Br 0 0 0; Br 0 0 2.3", [])]
)
def test_transition_metals_are_told_from_heavy_ligands_behind_core_potentials_too(atoms, metals):
    mol = gto.M(atom=atoms, basis="def2-svp", ecp="def2-svp", spin=None, verbose=0)
    assert mean_field.transition_metals(mol) == metals


def test_integrals_that_pyscf_would_put_on_a_full_disk_are_refused(monkeypatch, triplet):
    method = triplet[0].mean_field
    size = symmetric_fitting.megabytes(method.mol, method.with_df.get_naoaux())
    monkeypatch.setattr(lib, "current_memory", lambda: (0.0, 0.0))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=0.0))
    with pytest.raises(CannotWrite, match="make room"):
        electronic.solve(H2CO, LEVEL, State("HS", 3), max_memory=size / 0.95)


def test_an_scf_leaves_no_file_of_its_own(singlet):
    assert singlet.mean_field.chkfile is None
