"""Images of basis functions, and functions adapted to irreps, against integrals and PySCF."""

import numpy as np
import pytest
from pyscf import gto

from sample_groups import ATOMS, molecule, symmetric
from spincross import images
from spincross.errors import SymmetryLost


@pytest.mark.parametrize("group", ATOMS)
@pytest.mark.parametrize("basis", ["def2-svp", "def2-qzvp"])  # up to g functions
def test_integrals_of_a_molecule_in_the_group_are_their_own_images(group, basis):
    mol = molecule(group, basis=basis)
    mapped = images.of_molecule(mol)
    for name in ("int1e_ovlp", "int1e_nuc"):
        integrals = mol.intor(name)
        np.testing.assert_allclose(mapped.matrix(integrals), integrals, atol=1e-10)
        assert not mapped.symmetric(integrals + np.eye(len(integrals), k=1) * 1e-6)


@pytest.mark.parametrize("group", ATOMS)
def test_integrals_over_adapted_functions_fall_into_two_blocks_of_pyscfs_size(group):
    mol = molecule(group)
    functions = images.of_molecule(mol).adapted()
    overlap = functions.matrix(mol.intor("int1e_ovlp"))
    first, second = functions.parts
    assert np.abs(overlap[first, second]).max() < 1e-12
    sizes = dict(zip(mol.irrep_name, [block.shape[1] for block in mol.symm_orb], strict=True))
    assert [part.stop - part.start for part in functions.parts] == [sizes[name] for name in sorted(sizes, key=len)]


@pytest.mark.parametrize("group", ATOMS)
def test_adapted_functions_are_an_orthogonal_transformation(group):
    mol = molecule(group)
    functions = images.of_molecule(mol).adapted()
    random = np.random.default_rng(0).normal(size=(2, mol.nao, mol.nao))
    np.testing.assert_allclose(functions.matrix_back(functions.matrix(random)), random, atol=1e-12)
    to = functions.to(np.eye(mol.nao))
    np.testing.assert_allclose(to.T @ to, np.eye(mol.nao), atol=1e-12)
    np.testing.assert_allclose(functions.to.rows(random[0]), to.T @ random[0], atol=1e-12)


@pytest.mark.parametrize("group", ATOMS)
def test_the_image_of_an_image_is_the_thing_itself(group):
    mol = molecule(group)
    mapped = images.of_molecule(mol)
    random = np.random.default_rng(0).normal(size=(mol.nao, 3))
    np.testing.assert_array_equal(mapped.orbitals(mapped.orbitals(random)), random)
    vectors = np.random.default_rng(1).normal(size=(mol.natm, 3))
    mean = mapped.symmetrised(vectors)
    np.testing.assert_allclose(mapped.symmetrised(mean), mean, atol=1e-14)
    density = symmetric(mol, 1)[0]
    turned = mapped.orbitals(mapped.orbitals(density).T)
    np.testing.assert_allclose(turned, density, atol=1e-12)


def test_of_two_images_one_counts_twice_and_an_atom_on_the_element_once():
    mapped = images.of_molecule(molecule("C2"))
    assert mapped.orbits.tolist() == [1, 2, 0, 1]


def test_molecules_without_a_group_or_with_cartesian_functions_have_no_images():
    atoms = ATOMS["C2"]
    assert images.of_molecule(gto.M(atom=atoms, verbose=0)) is None
    assert images.of_molecule(gto.M(atom=atoms, symmetry="C2", cart=True, basis="def2-svp", verbose=0)) is None
    assert images.of_molecule(gto.M(atom="O 0 0 0; H 0 0.8 0.6; H 0 -0.8 0.6", symmetry="C2v", verbose=0)) is None


def test_a_molecule_that_lacks_the_operation_is_refused():
    with pytest.raises(SymmetryLost, match="no partner"):
        images.images(gto.M(atom="O 0 0 0; H 0 0.8 0.6; H 0 -0.9 0.6", verbose=0), "C2")
