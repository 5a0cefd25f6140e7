"""The response by irreps against the one that knows no group, and against PySCF's Coulomb and exchange matrices."""

import numpy as np
import pytest
from pyscf import gto

from sample_groups import converged
from spincross import fitted_response, images, orbital_rotations, xc_gradient
from spincross.fitted_response import FittedResponse, integrals_of
from spincross.levels import Level
from spincross.mean_field import kohn_sham


def occupied(method):
    pairs = (
        [(method.mo_coeff, method.mo_occ)] if method.mol.spin == 0 else zip(method.mo_coeff, method.mo_occ, strict=True)
    )
    return [np.asarray(c)[:, np.asarray(o) > 0] for c, o in pairs]


def random_changes(method, orbitals, kind):
    """Return two changes (2, nao, nocc) of each spin whose densities are symmetric, antisymmetric or neither."""
    mapped, changes = images.of_molecule(method.mol), []
    for number, c in enumerate(orbitals):
        y = np.random.default_rng(number).normal(size=(2, *c.shape)) * np.reshape([1.0, 1e-6], (2, 1, 1))
        signs = np.sign(np.einsum("mi,mi->i", mapped.orbitals(c), c))  # +1 or -1: the irrep of every orbital
        image = np.array([mapped.orbitals(one) for one in y]) * signs
        changes.append({"symmetric": y + image, "antisymmetric": y - image, "mixed": y}[kind])
    return changes


def from_matrices(method, orbitals, changes, hybrid):
    found = []
    for one in zip(*changes, strict=True):
        halves = np.array([y @ c.T for y, c in zip(one, orbitals, strict=True)])
        densities = halves + halves.transpose(0, 2, 1)
        coulomb, exchange = method.with_df.get_jk(densities, 1)
        total = (2.0 if len(changes) == 1 else 1.0) * coulomb.sum(axis=0)
        found.append([(total - hybrid * k) @ c for k, c in zip(exchange, orbitals, strict=True)])
    return [np.array(spin) for spin in zip(*found, strict=True)]


def compare(found, expected, sizes):
    """Compare changes (k, nao, nocc) of each spin, each with its own size (k,)."""
    for ours, full, size in zip(found, expected, sizes, strict=True):
        np.testing.assert_allclose(ours / size[:, None, None], full / size[:, None, None], atol=2e-6)


@pytest.fixture(scope="module", params=[("C2", 0), ("C2", 2), ("Cs", 2), ("Ci", 0)], ids=str)
def method(request):
    return converged(request.param[0], spin=request.param[1])


@pytest.mark.parametrize("kind", ["symmetric", "antisymmetric", "mixed"])
@pytest.mark.parametrize(("hybrid", "keep"), [(0.25, True), (0.25, False), (0.0, True)])
def test_it_is_that_of_full_matrices(method, kind, hybrid, keep):
    orbitals = occupied(method)
    changes = random_changes(method, orbitals, kind)
    integrals = integrals_of(method, orbitals)
    assert len(integrals.counts()) == 2
    found = FittedResponse(integrals, orbitals, hybrid, keep)(changes, 4.0 if len(orbitals) == 1 else 2.0)
    with_exchange = from_matrices(method, orbitals, changes, 0.25)  # without it the response may vanish by symmetry
    sizes = [np.abs(whole).max(axis=(1, 2)) for whole in with_exchange]
    compare(found, from_matrices(method, orbitals, changes, hybrid), sizes)


def test_orbitals_of_no_irrep_are_taken_without_the_group(method):
    orbitals = occupied(method)
    mixed = [c @ np.linalg.qr(np.random.default_rng(5).normal(size=(c.shape[1],) * 2))[0] for c in orbitals]
    integrals = integrals_of(method, mixed)
    assert len(integrals.counts()) == 1
    changes = random_changes(method, orbitals, "mixed")
    found = FittedResponse(integrals, mixed, 0.25, True)(changes, 4.0 if len(orbitals) == 1 else 2.0)
    expected = from_matrices(method, mixed, changes, 0.25)
    compare(found, expected, [np.abs(one).max(axis=(1, 2)) for one in expected])


def test_a_symmetric_change_leaves_two_of_four_blocks_out(method):
    orbitals = occupied(method)
    response = FittedResponse(integrals_of(method, orbitals), orbitals, 0.25, False)
    for kind, count in (("symmetric", 2), ("antisymmetric", 2), ("mixed", 4)):
        changes = random_changes(method, orbitals, kind)
        for spin, change in zip(response.spins, changes, strict=True):
            blocks = spin.split(change)
            assert len(blocks) == count
            np.testing.assert_allclose(spin.joined(blocks, 2), change, atol=1e-12)


@pytest.mark.parametrize(("functional", "hybrid"), [("pbe0", 0.25), ("bp86", 0.0)])
def test_memory_is_what_the_arrays_take(method, functional, hybrid):
    orbitals = occupied(method)
    response = FittedResponse(integrals_of(method, orbitals), orbitals, hybrid, True)
    kept = sum(matrix.nbytes for block in response.kept for matrix in block) / 1e6
    assert bool(kept) == bool(hybrid)
    halves = sum(x.nbytes for spin in response.spins for part in (*spin.x, *spin.o) for x in part) / 1e6
    sets = 2 if len(orbitals) == 1 else 1  # a closed shell has one set of orbitals, and counts two
    same = method.copy().set(xc=functional)
    for keep, expected in ((False, sets * halves), (True, kept + sets * halves)):
        # irreps of unequal size
        assert fitted_response.megabytes(same, keep=keep) == pytest.approx(expected, rel=0.15)


@pytest.mark.parametrize("spin", [0, 2])
def test_irreps_without_occupied_orbitals_are_left_out(spin):
    """Hydrogen in Ci: one irrep is empty, and of the triplet's beta spin both are."""
    mol = gto.M(atom="H 0 0 0.4; H 0 0 -0.4", basis="def2-svp", symmetry="Ci", spin=spin, verbose=0)
    method = kohn_sham(mol, Level(grid_level=0, scf_energy_tolerance=1e-9, scf_gradient_tolerance=1e-5))
    method.kernel()
    orbitals = occupied(method)
    changes = [np.random.default_rng(0).normal(size=(1, *c.shape)) for c in orbitals]
    found = FittedResponse(integrals_of(method, orbitals), orbitals, 0.25, False)(changes, 2.0 if spin else 4.0)
    for one, expected in zip(found, from_matrices(method, orbitals, changes, 0.25), strict=True):
        np.testing.assert_allclose(one, expected, atol=2e-6)
    assert all(row.eigenvalue > 0 for row in orbital_rotations.lowest_rotations(method, "Ci", 0))
    assert np.abs(xc_gradient.gradient_method(method).kernel()[:, :2]).max() < 1e-8
