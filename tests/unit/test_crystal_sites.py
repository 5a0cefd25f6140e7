"""Real crystals, and random molecules on random sites of the common space groups: they come back whole."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import spglib
from ase.geometry import cellpar_to_cell
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from sample_crystals import (
    DATA,
    HALL_NUMBERS,
    SHARED,
    cif_text,
    extract,
    lattice,
    needs_shared,
    refused,
)
from spincross import cif, completeness, crystal, disorder, species
from spincross.units import BOHR_TO_ANGSTROM

# --- real crystals ----------------------------------------------------------------------------------------------------


@needs_shared
def test_the_relative_in_pccn_gives_the_31_atom_cation_on_the_two_fold() -> None:
    found = extract("8102326.cif", SHARED, metal="Cr", charge=1, multiplicity={"LS": 4})
    assert (found.facts["formula"], found.facts["atoms"]) == ("C12H12Cl2CrN2O2", 31)
    assert found.facts["site_symmetry"] == "C2"
    lengths = sorted(bond["length"] for bond in found.facts["bonds_angstrom"])
    assert lengths == pytest.approx([1.975, 1.975, 2.059, 2.059, 2.316, 2.316], abs=1e-3)
    counts = {s["formula"]: s["count"] for s in found.facts["cif"]["species"]}
    assert counts == {"C12H12Cl2CrN2O2": 4, "Cl": 4, "H2O": 8}


@needs_shared
def test_the_shortfall_of_two_hydrogens_is_refused_or_reported() -> None:
    refused("1100974.cif", "H: 12 declared, 10 listed", folder=SHARED, charge=-2)
    found = extract("1100974.cif", SHARED, charge=-2, accept_formula_mismatch=True)
    assert (found.facts["formula"], found.facts["site_symmetry"]) == ("Cl4Zn", "C2")
    assert "10 listed" in found.facts["warnings"][0]


@needs_shared
def test_both_halves_of_a_disordered_group_are_never_returned() -> None:
    wanted = {"metal": "Fe", "charge": 0, "point_group": "Ci"}
    found = crystal.read_raw(SHARED / "7011014.cif", wanted).molecule
    assert (found.formula, len(found.symbols)) == ("C24H60Cl2Fe2N4O2Si4", 98)
    refused("7011014.cif", "holds 2 transition metals (Fe, Fe)", folder=SHARED, metal="Fe", point_group="Ci")


@needs_shared
def test_an_extended_network_is_refused() -> None:
    refused("7051132.cif", "extended network", folder=SHARED, metal="Co")


# --- any molecule, any place ------------------------------------------------------------------------------------------


def fixed_point(operations: Any, op: int, site: np.ndarray) -> np.ndarray | None:
    """Return a point on the symmetry element of an operation of order two, None if it has none (screw, glide)."""
    rotation, shift = operations["rotations"][op], operations["translations"][op]
    if np.array_equal(rotation, np.eye(3)) or not np.array_equal(rotation @ rotation, np.eye(3)):
        return None
    twice = rotation @ shift + shift
    for cells in itertools.product((-1, 0, 1), repeat=3):
        if np.abs(twice + rotation @ cells + cells).max() < 1e-9:
            return (site + rotation @ site + shift + cells) / 2.0
    return None


def random_star(rng: np.random.Generator, count: int, turn: np.ndarray | None) -> np.ndarray | None:
    """Return places (n, 3) in angstrom around the origin 1.95 away and 1.7 apart, in pairs under a rotation matrix."""
    for _ in range(60):
        directions = rng.normal(size=(count, 3))
        arms = 1.95 * directions / np.linalg.norm(directions, axis=1)[:, None]
        arms = arms if turn is None else np.vstack([arms, arms @ turn.T])
        gaps = np.linalg.norm(arms[:, None] - arms[None], axis=2) + 9.0 * np.eye(len(arms))
        if gaps.min() > 1.7:
            return arms
    return None


@settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(
    number=st.sampled_from(sorted(HALL_NUMBERS)),
    special=st.booleans(),
    seed=st.integers(0, 2**20),
    elements=st.lists(st.sampled_from(["F", "Cl", "Br", "O", "N"]), min_size=2, max_size=4),
)
def test_a_random_molecule_on_a_random_site_comes_back_whole(
    tmp_path: Path, number: int, special: bool, seed: int, elements: list[str]
) -> None:
    rng = np.random.default_rng(seed)
    operations = cif.quiet(spglib.get_symmetry_from_database, HALL_NUMBERS[number])
    assert cif.quiet(spglib.get_spacegroup_type, HALL_NUMBERS[number]).number == number
    rotations, shifts = operations["rotations"], operations["translations"]
    cell = np.asarray(cellpar_to_cell(lattice(number)))
    site, turn = rng.random(3), None
    elements = elements[:2] if special else elements
    for op in rng.permutation(len(rotations)) if special else ():
        point = fixed_point(operations, op, site)
        if point is not None:
            site, turn = point, cell.T @ rotations[op] @ np.linalg.inv(cell.T)
            break
    images = rotations @ site + shifts - site
    apart = np.linalg.norm((images - np.rint(images)) @ cell, axis=1)
    assume(np.sort(apart)[1 if turn is None else 2 :].min(initial=99.0) > 7.5)
    arms = random_star(rng, len(elements), turn)
    assume(arms is not None)
    positions = np.vstack([np.zeros(3), arms])
    fractional = positions[: len(elements) + 1] @ np.linalg.inv(cell) + site
    # each atom is listed at any of its equivalent places and wrapped into the cell; partners under the element are not
    chosen = rng.integers(0, len(rotations), len(fractional))
    listed = [rotations[o] @ f + shifts[o] for o, f in zip(chosen, fractional, strict=True)]
    (tmp_path / "random.cif").write_text(cif_text(lattice(number), operations, ["Zn", *elements], np.array(listed) % 1))
    bare = {"accept_missing_hydrogen": True}  # oxygen and nitrogen alone on the metal
    found = extract("random.cif", tmp_path, point_group="C1", multiplicity={}, **bare)
    symbols = ["Zn", *elements, *(elements if turn is not None else [])]
    assert sorted(found.low_spin.symbols) == sorted(symbols)
    if turn is None:
        assert found.low_spin.symbols == tuple(symbols)
    else:
        assert found.facts["site_symmetry"] != "C1"
    lengths = [np.sort(np.linalg.norm(p[:, None] - p[None], axis=2).ravel()) for p in
               (found.low_spin.positions * BOHR_TO_ANGSTROM, positions)]  # fmt: skip
    assert np.abs(lengths[0] - lengths[1]).max() < 1e-4


def test_a_cell_reader_keeps_each_atom_once() -> None:
    found = cif.read_crystal(DATA / "two_fold.cif")
    assert len(found.symbols) == 4 * 15
    assert found.symbols.count("Zn") == 4


@pytest.mark.parametrize(
    ("hall", "site", "name"),
    [(388, [0.0, 0.0, 0.0], "D2d"), (227, [0.0, 0.0, 0.0], "D2h"), (355, [0.0, 0.0, 0.0], "S4")],
)
def test_larger_site_groups_are_recognised_by_name(tmp_path: Path, hall: int, site: list[float], name: str) -> None:
    operations = cif.quiet(spglib.get_symmetry_from_database, hall)
    kind = cif.quiet(spglib.get_spacegroup_type, hall)
    cell = [12.0, 12.0, 15.0, 90.0, 90.0, 90.0]
    arms = [[0.0, 0.0, 2.0]] if name == "D2h" else [[1.3, 0.0, 1.5]] if name == "S4" else [[1.3, 1.3, 1.1]]
    places = np.vstack([np.zeros((1, 3)), arms]) / cell[:3] + site
    (tmp_path / "high.cif").write_text(cif_text(cell, operations, ["Zn", "Cl"], places))
    found = extract("high.cif", tmp_path, point_group="C1", multiplicity={})
    assert found.facts["site_symmetry"] == name, kind.international_short


def test_every_point_group_that_spglib_names_has_a_schoenflies_symbol() -> None:
    """Of all 530 settings."""
    found = [cif.quiet(spglib.get_symmetry_from_database, hall)["rotations"] for hall in range(1, 531)]
    names = {cif.quiet(spglib.get_pointgroup, rotations)[0].strip() for rotations in found}
    assert names == set(species.SCHOENFLIES)


FAN = np.array([[np.cos(a), np.sin(a), -0.33] for a in np.radians([0.0, 120.0, 240.0])])


@pytest.mark.parametrize(
    ("symbols", "places", "bare"),
    [
        ("CCCC", [[0, 0, 0], *(1.46 * FAN)], True),  # a methine carbon without its hydrogen
        ("CCCC", [[0, 0, 0], *(1.46 * FAN * [1, 1, 0])], False),  # the same, planar
        ("OC", [[0, 0, 0], [0, 0, 1.43]], True),  # an alcohol
        ("OC", [[0, 0, 0], [0, 0, 1.22]], False),  # a carbonyl
        ("NC", [[0, 0, 0], [0, 0, 1.47]], True),  # an amine
        ("NC", [[0, 0, 0], [0, 0, 1.15]], False),  # a nitrile
    ],
)
def test_a_bare_single_bond_or_corner_asks_for_a_hydrogen(symbols: str, places: list[Any], bare: bool) -> None:
    vectors = np.array(places)
    found = completeness._has_room(tuple(symbols), vectors, 0, list(range(1, len(symbols))))
    assert found is bare


@pytest.mark.parametrize(("length", "bare"), [(2.1, True), (1.65, False)])
def test_water_on_a_metal_needs_hydrogen_and_an_oxo_ligand_does_not(length: float, bare: bool) -> None:
    assert completeness._has_room(("O", "Fe"), np.array([[0.0, 0, 0], [0, 0, length]]), 0, [1]) is bare


@pytest.mark.parametrize("assembly", [None, "A"])
@pytest.mark.parametrize(
    ("groups", "shares", "left_out"),
    [
        ("1212", [0.6, 0.4, 0.7, 0.3], [1, 3]),  # two disordered places that share the numbers of their groups
        ("1212", [0.4, 0.6, 0.4, 0.6], [0, 2]),
        ("1212", [0.5, 0.5, 0.7, 0.3], [3]),  # the first place stays undecided
        ("....", [0.6, 0.4, 0.7, 0.3], [1, 3]),
        (["-1", "-1", "-1", "-1"], [0.5] * 4, []),  # on a symmetry element
        ("....", [0.6, 0.3, 0.7, 0.3], [3]),
    ],
)
def test_each_disordered_place_is_resolved_by_itself(
    groups: Any, shares: list[float], left_out: list[int], assembly: str | None
) -> None:
    places = np.array([[0.1, 0.1, 0.1], [0.14, 0.1, 0.1], [0.5, 0.5, 0.5], [0.54, 0.5, 0.5]])
    rows = disorder.Rows(["A", "B", "C", "D"], ["Cl"] * 4, np.array(shares), [assembly] * 4, list(groups), places)
    kept, notes = disorder.resolve(rows, 20.0 * np.eye(3), np.eye(3, dtype=int)[None], np.zeros((1, 3)))
    assert kept == [k for k in range(4) if k not in left_out]
    assert bool(notes) is bool(left_out)
