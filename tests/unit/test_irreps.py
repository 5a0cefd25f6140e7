"""Irreps of orbitals and densities without a symmetry-adapted SCF."""

import numpy as np
import pytest

from sample_h2co import H2CO, LEVEL
from spincross import irreps, mean_field


def test_labels_are_those_of_pyscfs_symmetry_adapted_orbitals(triplet):
    method = triplet[0].mean_field
    functions = irreps.adapted(method.mol, "C2")
    names = dict(zip(method.mol.irrep_id, method.mol.irrep_name, strict=True))
    for coefficients in method.mo_coeff:
        assert functions.labels(np.asarray(coefficients)) == [names[k] for k in coefficients.orbsym]


def test_shares_of_an_orbital_add_up_to_one_and_a_mixture_has_both():
    mol = mean_field.build_mol(H2CO, LEVEL, 1, adapted=False)
    functions = irreps.adapted(mol, "C2")
    values, vectors = np.linalg.eigh(mol.intor_symmetric("int1e_ovlp"))
    orbitals = vectors / np.sqrt(values)
    shares = functions.shares(orbitals)
    np.testing.assert_allclose(shares.sum(axis=0), 1, atol=1e-10)
    pure = [int(np.flatnonzero(shares[irrep] > 0.999)[0]) for irrep in (0, 1)]
    mixture = orbitals[:, pure] @ np.array([[0.6], [0.8]])
    np.testing.assert_allclose(functions.shares(mixture)[:, 0], [0.36, 0.64], atol=1e-8)


def test_the_asymmetry_of_two_mixed_orbitals_is_the_exact_one(triplet):
    occupied = triplet[0].orbitals[0]
    functions = irreps.adapted(triplet[0].mean_field.mol, "C2")
    labels = functions.labels(occupied)
    a, b = occupied[:, labels.index("A")], occupied[:, labels.index("B")]
    angle = 0.3
    mixed = (np.cos(angle) * a + np.sin(angle) * b)[:, None]
    # |c><c| between the irreps is cos * sin, twice: norm sqrt(2) cos sin
    assert functions.asymmetry(mixed) == pytest.approx(np.sqrt(2) * np.cos(angle) * np.sin(angle), abs=1e-10)
    assert functions.asymmetry(occupied) < 1e-10
    assert functions.counts(occupied) == pytest.approx([labels.count("A"), labels.count("B")], abs=1e-10)
