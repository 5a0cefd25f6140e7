"""Octahedra and lattices against closed forms, and the reflections that tell one space group from another."""

import numpy as np
import pytest
import spglib
from ase.geometry import cellpar_to_cell
from scipy.spatial.transform import Rotation

from spincross import lattice, octahedron
from spincross.cif import quiet
from spincross.errors import BadStructure

ORTHORHOMBIC = [10.0, 20.0, 15.0, 90.0, 90.0, 90.0]
MONOCLINIC = [10.1, 20.3, 15.4, 90.0, 93.1, 90.0]
REGULAR = 2.0 * np.vstack([np.eye(3), -np.eye(3)])


def group(hall_number: int) -> lattice.Group:
    """Return a space group from spglib's table."""
    found = quiet(spglib.get_symmetry_from_database, hall_number)
    return lattice.Group(found["rotations"], found["translations"])


# --- octahedra --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_a_regular_octahedron_has_zero_zeta_sigma_and_theta_in_any_orientation_and_order(seed: int) -> None:
    rng = np.random.default_rng(seed)
    turn = Rotation.random(random_state=seed).as_matrix()
    found = octahedron.shape(turn @ [1.0, 2.0, 3.0], (REGULAR[rng.permutation(6)] + [1.0, 2.0, 3.0]) @ turn.T)
    assert (found.zeta, found.sigma, found.theta) == pytest.approx((0.0, 0.0, 0.0), abs=1e-4)
    assert found.volume == pytest.approx(4.0 / 3.0 * 2.0**3)


def test_elongation_along_one_axis_gives_zeta_of_eight_thirds_and_no_sigma() -> None:
    longer = REGULAR * np.array([1.0, 1.0, 1.15])
    found = octahedron.shape(np.zeros(3), longer)
    # two bonds are 0.3 longer: the mean rises by 0.1, four bonds miss it by 0.1 and two by 0.2
    assert found.zeta == pytest.approx(8.0 / 3.0 * 0.3)
    assert found.sigma == pytest.approx(0.0, abs=1e-6)


def test_a_trans_pair_bent_by_ten_degrees_gives_sigma_of_forty() -> None:
    angle = np.radians(10.0)
    bent = REGULAR.copy()
    bent[5] = 2.0 * np.array([np.sin(angle), 0.0, -np.cos(angle)])
    # toward +x by 10: cis angles to +x and -x change by 10 each, those to +-y by nothing
    assert octahedron.shape(np.zeros(3), bent).sigma == pytest.approx(20.0, abs=1e-6)
    bent[2] = 2.0 * np.array([np.sin(angle), 0.0, np.cos(angle)])
    assert octahedron.shape(np.zeros(3), bent).sigma == pytest.approx(40.0, abs=1e-6)


@pytest.mark.parametrize("polar", [45.0, 54.7356103, 62.0])
@pytest.mark.parametrize("twist", [60.0, 52.0, 40.0])
def test_a_trigonal_twist_shows_in_the_six_angles_about_its_axis(polar: float, twist: float) -> None:
    beta = np.radians(polar)
    upper = [[np.sin(beta) * np.cos(a), np.sin(beta) * np.sin(a), np.cos(beta)] for a in np.radians([0, 120, 240])]
    turned = np.radians([twist + 120 * k for k in range(3)])
    lower = [[np.sin(beta) * np.cos(a), np.sin(beta) * np.sin(a), -np.cos(beta)] for a in turned]
    vectors = 2.0 * np.array(upper + lower)
    found = np.sort(octahedron.twist_angles(vectors, ((0, 1, 2), (3, 4, 5))))
    assert found == pytest.approx(np.sort([twist] * 3 + [120.0 - twist] * 3), abs=1e-9)
    # closed form of the cis angles: cos phi = sin^2 cos(azimuth) +- cos^2
    within = np.degrees(np.arccos(np.sin(beta) ** 2 * np.cos(np.radians(120.0)) + np.cos(beta) ** 2))
    gaps = np.radians([twist, 120.0 - twist])
    across = np.degrees(np.arccos(np.sin(beta) ** 2 * np.cos(gaps) - np.cos(beta) ** 2))
    expected = 6 * abs(90 - within) + 3 * sum(abs(90 - a) for a in across)
    assert octahedron.shape(np.zeros(3), vectors).sigma == pytest.approx(expected, abs=1e-4)


def test_a_regular_octahedron_squeezed_along_a_threefold_axis_keeps_the_angles_about_it() -> None:
    axis = np.ones(3) / np.sqrt(3.0)
    squeezed = REGULAR - 0.1 * np.outer(REGULAR @ axis, axis)
    assert octahedron.twist_angles(squeezed, ((0, 1, 2), (3, 4, 5))) == pytest.approx(60.0)
    found = 0.0
    for signs in ([1, 1, 1], [1, 1, -1], [1, -1, 1], [-1, 1, 1]):  # the donors on one side; the other has its partners
        upper = squeezed[[k if sign > 0 else k + 3 for k, sign in enumerate(signs)]]
        along = upper.mean(axis=0) / np.linalg.norm(upper.mean(axis=0))
        for i, j in [(i, j) for i in range(3) for j in range(3) if i != j]:
            arms = [v - (v @ along) * along for v in (upper[i], -upper[j])]
            found += abs(60.0 - np.degrees(np.arccos(arms[0] @ arms[1] / np.prod(np.linalg.norm(arms, axis=1)))))
    assert 1.0 < octahedron.shape(np.zeros(3), squeezed).theta == pytest.approx(found)


def test_four_donors_or_a_pentagonal_pyramid_are_no_octahedron() -> None:
    with pytest.raises(BadStructure, match="six donors, found 4"):
        octahedron.shape(np.zeros(3), REGULAR[:4])
    pyramid = [[np.cos(a), np.sin(a), 0.0] for a in np.radians(np.arange(0, 360, 72))]
    with pytest.raises(BadStructure, match="no octahedron"):
        octahedron.shape(np.zeros(3), 2.0 * np.array([*pyramid, [0.0, 0.0, 1.0]]))


# --- extinctions ------------------------------------------------------------------------------------------------------


def test_reflections_extinct_in_pccn_and_allowed_in_p21c_are_0kl_with_l_odd_and_hk0_with_h_plus_k_odd() -> None:
    lost = lattice.lost_extinctions(group(266), group(81))
    assert lost == [{"class": "0kl", "condition": "l odd"}, {"class": "hk0", "condition": "h+k odd"}]
    assert lattice.lost_extinctions(group(81), group(266)) == []
    assert lattice.relation(group(266), group(81)) == ("subgroup", 2)


@pytest.mark.parametrize(
    ("hall", "expected"),
    [
        (81, [("h0l", "l odd"), ("0k0", "k odd")]),  # P2_1/c
        (90, [("hkl", "h+k odd"), ("h0l", "mixed parity")]),  # C2/c; h0l: h or l odd
        (115, [("h00", "h odd"), ("0k0", "k odd"), ("00l", "l odd")]),  # P2_12_12_1
    ],
)
def test_extinctions_against_the_empty_group_are_those_of_the_tables(
    hall: int, expected: list[tuple[str, str]]
) -> None:
    found = [(f["class"], f["condition"]) for f in lattice.lost_extinctions(group(hall), group(1))]
    assert found == expected


def test_a_group_does_not_depend_on_its_origin() -> None:
    shift = np.array([0.25, 0.25, 0.0])
    parent = group(266)
    moved = (parent.translations + shift - parent.rotations @ shift) % 1.0
    assert lattice.relation(lattice.Group(parent.rotations, moved), group(81)) == ("subgroup", 2)
    assert lattice.relation(group(81), parent) == ("supergroup", 2)
    assert lattice.relation(parent, parent) == ("same group", 1)
    assert lattice.relation(group(115), group(81)) == ("neither contains the other", None)


# --- cells ------------------------------------------------------------------------------------------------------------


def test_e13_is_half_c_cos_beta_over_c0() -> None:
    parent, cell = (lattice.standard(np.asarray(cellpar_to_cell(c))) for c in (ORTHORHOMBIC, MONOCLINIC))
    found = lattice.strain(parent, cell)
    beta = np.radians(93.1)
    assert found[0, 2] == pytest.approx(0.5 * 15.4 * np.cos(beta) / 15.0)
    assert np.diag(found) == pytest.approx([0.01, 0.015, 15.4 * np.sin(beta) / 15.0 - 1.0])
    assert found[[0, 1], [1, 2]] == pytest.approx(0.0, abs=1e-12)


def test_a_cell_in_another_setting_is_brought_to_the_parents() -> None:
    parent = np.asarray(cellpar_to_cell(ORTHORHOMBIC))
    cell = np.asarray(cellpar_to_cell(MONOCLINIC))
    assert np.array_equal(lattice.common_settings(parent, cell)[0], np.eye(3))
    turned = cell[[1, 2, 0]]
    monoclinic = lattice.transformed(group(81), np.eye(3, dtype=int)[[1, 2, 0]].T)
    setting = lattice.common_setting((parent, group(266)), (turned, monoclinic))
    assert setting is not None
    # beta and 180 degrees minus beta describe the same cell
    brought = lattice.standard(setting.T @ turned)
    assert np.abs(np.abs(brought) - np.abs(lattice.standard(cell))).max() < 1e-9
    back = lattice.transformed(monoclinic, setting)
    assert lattice.lost_extinctions(group(266), back) == lattice.lost_extinctions(group(266), group(81))
    assert lattice.common_settings(parent, np.eye(3) * 40.0) == []
    assert lattice.common_setting((parent, group(266)), (np.eye(3) * 40.0, group(81))) is None


@pytest.mark.parametrize(
    ("low", "high", "halls", "related"),
    [
        ([18.0, 16.0, 18.6, 90, 90, 90], [18.9, 16.4, 18.2, 90, 93.1, 90], (266, 81), ("subgroup", 2)),
        ([10.0, 10.25, 17.0, 90, 90, 90], [10.35, 10.05, 17.4, 90, 90, 90], (278, 278), ("same group", 1)),
        ([10.0, 15.0, 10.3, 90, 98, 90], [10.4, 15.3, 10.1, 90, 98, 90], (81, 81), ("same group", 1)),
    ],
)
def test_axes_nearer_to_each_other_than_the_strain_stay_where_the_groups_put_them(
    low: list[float], high: list[float], halls: tuple[int, int], related: tuple[str, int]
) -> None:
    """Cells alone would exchange two axes, and the same group, or a subgroup, would pass for an unrelated one."""
    cells = [np.asarray(cellpar_to_cell(c)) for c in (low, high)]
    pairs = [(cell, group(hall)) for cell, hall in zip(cells, halls, strict=True)]
    setting = lattice.common_setting(*pairs)
    assert setting is not None and np.array_equal(setting, np.eye(3))
    assert lattice.relation(pairs[0][1], lattice.transformed(pairs[1][1], setting)) == related
    turned = np.array([[0, 0, 1], [1, 0, 0], [0, 1, 0]])
    other = turned.T @ cells[1], lattice.transformed(pairs[1][1], turned)
    back = lattice.common_setting(pairs[0], other)
    assert back is not None
    assert lattice.relation(pairs[0][1], lattice.transformed(other[1], back)) == related


def test_a_monoclinic_n_setting_shows_the_same_lost_reflections() -> None:
    n_setting = np.array([[1, 0, 0], [0, 1, 0], [1, 0, 1]])
    cell = np.asarray(cellpar_to_cell(MONOCLINIC))
    other = lattice.transformed(group(81), n_setting)
    parent = np.asarray(cellpar_to_cell(ORTHORHOMBIC)), group(266)
    setting = lattice.common_setting(parent, (n_setting.T @ cell, other))
    assert setting is not None
    assert lattice.relation(group(266), lattice.transformed(other, setting)) == ("subgroup", 2)
