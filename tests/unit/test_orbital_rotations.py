"""The stability test against the whole orbital Hessian, block by block."""

from dataclasses import replace

import numpy as np
import pytest

from sample_h2co import EXCITED, H2CO, HYDROGEN, LEVEL
from spincross import electronic, irreps, orbital_rotations
from spincross.device import CPU
from spincross.errors import NotConverged
from spincross.levels import State
from spincross.orbital_rotations import Rotation, Stability

SMALL = replace(LEVEL, basis="sto-3g", grid_level=0)
WRONG_CLOSED = ((6, 6), (2, 2))
"""Electrons per irrep of a closed shell 1.1 Eh above the lowest one of H2CO."""


def whole(method):
    """Return the orbital Hessian of an unrestricted method, and the rotations' irreps, by way of every unit vector."""
    filled = [np.asarray(o) > 0 for o in method.mo_occ]
    product, diagonal = orbital_rotations._orbital_hessian(method, filled, 0, CPU)
    pairs = zip(method.mo_coeff, filled, strict=True)
    labels = np.concatenate([orbital_rotations._labels(method, "C2", c, o) for c, o in pairs])
    return product(np.eye(len(diagonal))), labels


@pytest.mark.parametrize("occupation", [None, EXCITED])
def test_every_block_of_an_open_shell_has_the_lowest_eigenvalue_of_its_part_of_the_whole_matrix(occupation):
    method = electronic.solve(H2CO, SMALL, State("x", 3, occupation)).mean_field
    matrix, labels = whole(method)
    assert np.abs(matrix[labels == "A"][:, labels == "B"]).max() < 1e-6
    found = {r.block: r.eigenvalue for r in orbital_rotations.lowest_rotations(method, "C2", 0)}
    expected = {name: np.linalg.eigvalsh(matrix[labels == name][:, labels == name])[0] for name in ("A", "B")}
    assert found == pytest.approx(expected, abs=1e-5)


def test_a_search_from_a_rough_one_is_sharp_and_in_its_blocks_only():
    """The kernel of another grid has another lowest eigenvalue; that of the whole matrix is found to 1e-7."""
    method = electronic.solve(H2CO, SMALL, State("x", 3)).mean_field
    matrix, labels = whole(method)
    own = matrix[labels == "B"][:, labels == "B"]
    expected = float(np.linalg.eigvalsh((own + own.T) / 2)[0])
    (rough,) = (r for r in orbital_rotations.lowest_rotations(method, "C2", 2) if r.block == "B")
    (found,) = orbital_rotations.lowest_rotations(method, "C2", 0, rough=[rough])
    assert (found.block, rough.noise, found.noise) == ("B", -orbital_rotations.UNSTABLE, orbital_rotations.SHARP)
    assert found.eigenvalue == pytest.approx(expected, abs=1e-7)
    assert abs(rough.eigenvalue - expected) > 1e-6


@pytest.mark.parametrize(
    ("eigenvalue", "noise", "undecided", "downward"),
    [(4e-4, 1e-3, True, False), (4e-4, 1e-4, False, False), (-4e-4, 1e-4, True, False), (-2e-3, 1e-4, False, True)],
)
def test_a_sharper_test_decides_about_a_small_positive_eigenvalue_and_follows_no_small_negative_one(
    eigenvalue, noise, undecided, downward
):
    tested = Stability((Rotation("A", 0.02, []), Rotation("B", eigenvalue, [], noise=noise)))
    assert bool(tested.undecided) == undecided
    assert (tested.downward is not None) == downward


@pytest.mark.parametrize("occupation", [((5, 5), (3, 3)), WRONG_CLOSED])
def test_every_block_of_a_closed_shell_has_the_lowest_eigenvalue_of_its_part_of_the_whole_matrix(occupation):
    method = electronic.solve(H2CO, SMALL, State("x", 1, occupation)).mean_field
    matrix, labels = whole(method.to_uks())
    half = len(labels) // 2
    alike, mixed, own = matrix[:half, :half], matrix[:half, half:], labels[:half]
    expected = {}
    for name, part in (("singlet", alike + mixed), ("triplet", alike - mixed)):
        for irrep in ("A", "B"):
            expected[f"{irrep} {name}"] = np.linalg.eigvalsh(part[own == irrep][:, own == irrep])[0]
    found = {r.block: r.eigenvalue for r in orbital_rotations.lowest_rotations(method, "C2", 0)}
    assert found == pytest.approx(expected, abs=1e-5)


def test_a_wrong_closed_shell_is_unstable_towards_another_one_though_its_triplet_rotation_lies_lower():
    method = electronic.solve(H2CO, SMALL, State("LS", 1, WRONG_CLOSED)).mean_field
    tested = Stability(tuple(orbital_rotations.lowest_rotations(method, "C2", 0)))
    assert tested.downward.block == "B singlet"
    assert tested.downward.eigenvalue > tested.spin_breaking.eigenvalue == tested.eigenvalue
    np.testing.assert_allclose(*tested.downward.mode, atol=1e-12)
    assert sum((m**2).sum() for m in tested.downward.mode) == pytest.approx(1.0)


def test_stretched_hydrogen_is_unstable_towards_an_open_shell_only():
    method = electronic.solve(HYDROGEN, LEVEL, State("LS", 1)).mean_field
    tested = Stability(tuple(orbital_rotations.lowest_rotations(method, "C1", 0)))
    assert tested.downward is None
    assert tested.spin_breaking.eigenvalue < -0.05
    np.testing.assert_allclose(tested.spin_breaking.mode[0], -tested.spin_breaking.mode[1], atol=1e-12)


def test_orbitals_that_left_the_group_are_searched_as_one_block():
    method = electronic.solve(H2CO, SMALL, State("x", 3)).mean_field
    filled = np.asarray(method.mo_occ[0]) > 0
    alpha = np.array(method.mo_coeff[0])
    own = irreps.adapted(method.mol, "C2").labels(alpha)
    a = next(k for k in np.flatnonzero(filled) if own[k] == "A")
    b = next(k for k in np.flatnonzero(~filled) if own[k] == "B")
    assert set(orbital_rotations._labels(method, "C2", alpha, filled)) == {"A", "B"}
    alpha[:, a] = np.cos(0.1) * alpha[:, a] + np.sin(0.1) * alpha[:, b]
    assert set(orbital_rotations._labels(method, "C2", alpha, filled)) == {"any"}


def two_kinds(seed, size=300, gap=0.05):
    """Return a matrix of two kinds that do not mix, its diagonal, and its lowest eigenvalue.

    The smallest diagonal elements lead to one kind; the lowest state is collective, of the other, and `gap` lower.
    """
    rng = np.random.default_rng(seed)
    kinds = np.arange(2 * size) % 2
    diagonal = 0.1 + 3 * np.sort(rng.random(2 * size))
    noise = 0.005 * rng.normal(size=(2 * size, 2 * size))
    matrix = np.diag(diagonal) + np.where(kinds[:, None] == kinds, noise + noise.T, 0.0)
    first, second = matrix[kinds == 0][:, kinds == 0], matrix[kinds == 1][:, kinds == 1]
    target = np.linalg.eigvalsh(first)[0] - gap
    shape = np.zeros(size)
    shape[10:30] = 1 / np.sqrt(20)
    # a rank-one change moves an eigenvalue to the target: 1 = k v.(M - target)^-1.v
    strength = 1 / (shape @ np.linalg.solve(second - target * np.eye(size), shape))
    matrix[np.ix_(kinds == 1, kinds == 1)] -= strength * np.outer(shape, shape)
    return matrix, diagonal, target


@pytest.mark.parametrize("seed", range(20))
def test_the_lowest_rotation_is_found_though_the_smallest_gaps_are_of_another_kind(seed):
    """What a symmetric molecule gives that is searched without its group.

    Of 40 seeds a search for one root missed 12. With a gap of 0.01 it missed 32 of 40, and the search as it is 4.
    """
    matrix, diagonal, lowest = two_kinds(seed)
    block = orbital_rotations.Block("any", np.arange(len(diagonal)), 0.0, 0, len(diagonal))
    value, vector = orbital_rotations._lowest(block, lambda rows: rows @ matrix, diagonal)
    assert value == pytest.approx(lowest, abs=1e-4)
    assert np.linalg.norm(matrix @ vector - lowest * vector) < 5e-3


def test_an_eigenvalue_that_is_not_found_is_an_error_with_its_bound(monkeypatch):
    method = electronic.solve(H2CO, SMALL, State("x", 3)).mean_field
    monkeypatch.setattr(orbital_rotations, "MAX_CYCLES", 2)
    with pytest.raises(NotConverged, match=r"block A in 2 rounds; its eigenvalue is at most \d\.\d{4} Eh"):
        orbital_rotations.lowest_rotations(method, "C2", 0)


def test_nothing_tested_says_so():
    assert Stability().facts() == {"stability_eigenvalue_hartree": None, "stability_blocks": []}
    one = Stability((Rotation("A", 0.02, []),))
    expected = {"rotations": "A", "eigenvalue_hartree": 0.02, "noise_hartree": 1e-3}
    assert one.facts()["stability_blocks"] == [expected]
    assert one.downward is None
