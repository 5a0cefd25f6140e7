"""The level diagram: which levels stand side by side, how they are drawn, and the signs of d levels."""

from __future__ import annotations

import pytest

import sample_report
from spincross import level_diagram
from spincross.report import with_kinds
from spincross.units import HARTREE_TO_EV


def test_near_degenerate_levels_stand_side_by_side() -> None:
    """Two levels within the limit share the width; a lone one takes all of it."""
    ends = level_diagram._side_by_side([-10.0, -9.98, -5.0])
    assert ends[0][1] < ends[1][0] and ends[2] == pytest.approx((0.02, 0.98))


def test_the_orbital_diagram_tells_occupied_from_empty_and_shows_the_metal_share() -> None:
    """Line style and hover text carry it."""
    levels = [{"energy_hartree": -0.3, "occupied": True, "irrep": "A", "metal_fraction": 0.8}]
    levels.append({"energy_hartree": 0.1, "occupied": False, "irrep": "B", "metal_fraction": 0.1})
    low, high, *_ = level_diagram.orbital_levels({"LS": {"alpha": levels, "beta": []}})["data"]
    assert (low["line"]["dash"], high["line"]["dash"]) == ("solid", "dot")
    assert low["line"]["width"] > high["line"]["width"]
    assert "metal share 80 %" in low["hovertext"] and "-8.16 eV" in low["hovertext"]


def test_signs_of_close_levels_share_a_line() -> None:
    """Three t2g-like levels within SIGN_EV are one text, an eg-like one far above has its own."""
    kinds = [(-0.300, "t2g-like"), (-0.299, "t2g-like"), (-0.290, "t2g-like"), (-0.1, None), (0.05, "eg-like")]
    levels = [{"energy_hartree": e, "occupied": e < 0, "metal_fraction": 0.8, "kind": k} for e, k in kinds]
    signs = [t for t in level_diagram.orbital_levels({"LS": {"alpha": levels}})["data"] if t["mode"] == "text"]
    assert [t["text"] for t in signs] == [["3 t<sub>2g</sub>", "e<sub>g</sub>"]]
    assert signs[0]["y"] == pytest.approx([-0.295 * HARTREE_TO_EV, 0.05 * HARTREE_TO_EV], abs=1e-3)


def test_d_levels_carry_their_sign_in_the_level_diagram() -> None:
    """The mark follows the energy of its own spin, and other levels stay bare."""
    optimised = sample_report.optimised("HS", 4, "computed")
    levels = optimised["orbitals"]["beta"]
    near = {"energy_hartree": levels[3]["energy_hartree"], "kind": "eg-like", "d_fraction": 0.5}
    optimised["d_levels"] = {"alpha": [], "beta": [near]}
    marked = with_kinds(optimised)
    assert [level["kind"] for level in marked["beta"]] == [None, None, None, "eg-like", None, None]
    drawn = level_diagram.orbital_levels({"HS": marked})["data"]
    assert sum((t["text"] for t in drawn if t["mode"] == "text"), []) == ["e<sub>g</sub>"]


def test_d_levels_below_the_frontier_orbitals_are_drawn() -> None:
    """With their own share of d, beside the levels that were there."""
    optimised = sample_report.optimised("HS", 4, "computed")
    count, lowest = len(optimised["orbitals"]["alpha"]), optimised["orbitals"]["alpha"][0]["energy_hartree"]
    deep = {"energy_hartree": lowest - 0.2, "kind": "t2g-like", "d_fraction": 0.4, "irrep": "B", "occupied": True}
    optimised["d_levels"] = {"alpha": [deep], "beta": []}
    marked = with_kinds(optimised)["alpha"]
    assert len(marked) == count + 1
    drawn = level_diagram.orbital_levels({"HS": {"alpha": marked}})["data"]
    assert sum((t["text"] for t in drawn if t["mode"] == "text"), []) == ["t<sub>2g</sub>"]
    assert "metal share 40 %, t2g-like" in drawn[0]["hovertext"]
