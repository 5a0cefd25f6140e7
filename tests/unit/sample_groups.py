"""Molecules in each point group of order 2, with atoms on the element and off it, and random densities."""

import numpy as np
from pyscf import dft, gto

from spincross import images
from spincross.levels import Level
from spincross.mean_field import kohn_sham

ATOMS = {
    "C2": "Fe 0 0 0.3; N 1.2 0.5 1.9; N -1.2 -0.5 1.9; O 0 0 -1.6",
    "Cs": "C 0 0 0; O 1.2 0.1 0; H -0.5 0.3 0.9; H -0.5 0.3 -0.9",
    "Ci": "C 0.7 0.1 0; O 1.2 0.9 0.2; C -0.7 -0.1 0; O -1.2 -0.9 -0.2",
}
LIGHT = ATOMS | {"C2": "C 0 0 0; O 0 0 1.22; H 0.94 0.2 -0.57; H -0.94 -0.2 -0.57"}


def molecule(group, atoms=ATOMS, basis="def2-svp", spin=0, max_memory=4000):
    return gto.M(atom=atoms[group], basis=basis, symmetry=group, spin=spin, max_memory=max_memory, verbose=0)


def symmetric(mol, count=2, seed=0):
    """Return random symmetric matrices (count, nao, nao) that are their own images; not positive."""
    random = np.random.default_rng(seed).normal(size=(count, mol.nao, mol.nao))
    random += random.transpose(0, 2, 1)
    return random + images.of_molecule(mol).matrix(random)


def converged(group, functional="pbe0", spin=0, in_group=True):
    """Return a converged method of a light molecule; all of it PySCF's if not in its group."""
    mol = molecule(group, LIGHT, spin=spin)
    level = Level(functional=functional, grid_level=0, scf_energy_tolerance=1e-10, scf_gradient_tolerance=1e-6)
    if in_group:
        method = kohn_sham(mol, level)
    else:
        method = (dft.UKS if spin else dft.RKS)(mol, xc=functional).density_fit(auxbasis=level.auxiliary_basis)
        method.grids.level, method.conv_tol, method.conv_tol_grad = 0, 1e-10, 1e-6
    method.kernel()
    assert method.converged
    return method
