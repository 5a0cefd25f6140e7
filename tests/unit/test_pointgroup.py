"""Point groups act on positions, vectors and matrices as the theory of groups says."""

import numpy as np
import pytest

from spincross import pointgroup
from spincross.errors import BadInput, SymmetryLost

NUMBERS = np.array([8, 6, 6, 1, 1])
TWOFOLD = np.array([[0, 0, 1.0], [1.0, 0.5, -0.3], [-1.0, -0.5, -0.3], [0.2, 2.0, 0.7], [-0.2, -2.0, 0.7]])


@pytest.mark.parametrize("group", list(pointgroup.OPERATIONS))
def test_projectors_are_complete_and_idempotent(group):
    rng = np.random.default_rng(1)
    half = rng.normal(size=(4, 3)) * 3
    positions = np.vstack([half @ op.T for op in pointgroup.operations(group)])
    numbers = np.tile([6, 7, 8, 1], pointgroup.order(group))
    projectors = pointgroup.projectors(numbers, positions, group)
    np.testing.assert_allclose(sum(projectors.values()), np.eye(positions.size), atol=1e-12)
    for projector in projectors.values():
        np.testing.assert_allclose(projector @ projector, projector, atol=1e-12)


def test_irreps_of_c2_share_out_the_displacements():
    bases = pointgroup.irrep_basis(NUMBERS, TWOFOLD, "C2")
    assert {name: basis.shape[1] for name, basis in bases.items()} == {"A": 7, "B": 8}


def test_vectors_of_irrep_b_change_sign_under_c2():
    basis = pointgroup.irrep_basis(NUMBERS, TWOFOLD, "C2")["B"]
    rotation = pointgroup.representation(NUMBERS, TWOFOLD, "C2")[1]
    np.testing.assert_allclose(rotation @ basis, -basis, atol=1e-12)


def test_symmetrising_mends_a_small_deviation_and_only_once():
    noisy = TWOFOLD + np.random.default_rng(0).normal(0, 0.01, TWOFOLD.shape)
    mended = pointgroup.symmetrise_vectors(NUMBERS, noisy, noisy, "C2")
    assert pointgroup.deviation(NUMBERS, noisy, "C2") > 1e-3
    assert pointgroup.deviation(NUMBERS, mended, "C2") < 1e-14


def test_a_symmetrised_hessian_commutes_with_the_group():
    random = np.random.default_rng(0).normal(size=(15, 15))
    hessian = pointgroup.symmetrise_hessian(NUMBERS, TWOFOLD, random + random.T, "C2")
    rotation = pointgroup.representation(NUMBERS, TWOFOLD, "C2")[1]
    np.testing.assert_allclose(rotation @ hessian, hessian @ rotation, atol=1e-12)


def test_a_molecule_without_the_axis_is_refused_with_the_distance():
    moved = TWOFOLD.copy()
    moved[1] += [1.5, 0, 0]
    with pytest.raises(SymmetryLost, match="bohr"):
        pointgroup.permutations(NUMBERS, moved, "C2")


def test_an_unknown_group_is_refused():
    with pytest.raises(BadInput, match="D7h"):
        pointgroup.operations("D7h")


def test_alignment_undoes_a_rigid_motion():
    angle = 0.7
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    np.testing.assert_allclose(pointgroup.aligned(TWOFOLD @ turn.T + [1, 2, 3], TWOFOLD), TWOFOLD, atol=1e-12)
