"""Figures: plotly accepts every one, units stand at the axes, numbers are those of the data."""

from __future__ import annotations

from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest

import sample_report
from spincross import drawings, figures, landau_view, pointgroup, scenes
from spincross.report import all_figures

KEYS = ("data", "layout", "frames")
CASES = [
    sample_report.sample,
    sample_report.unbroken,
    lambda: sample_report.of_size(1),
    lambda: sample_report.of_size(300),
]


@pytest.mark.parametrize("make", CASES)
def test_plotly_accepts_every_figure_and_heights_are_fixed(make: Any) -> None:
    """A figure with a wrong key raises here and would be silent in the page."""
    for name, figure in all_figures(make()).items():
        go.Figure(**{k: v for k, v in figure.items() if k in KEYS})
        assert figure["layout"]["height"] > 0, name


def test_every_axis_with_numbers_names_its_unit() -> None:
    """Titles carry a unit in brackets, or the meaning of the ends."""
    for name, figure in all_figures(sample_report.sample()).items():
        for key, axis in figure["layout"].items():
            if key.startswith(("xaxis", "yaxis")) and axis.get("visible", True) and axis.get("type") != "category":
                text = axis["title"]["text"]
                assert "(" in text or text in ("η", "optimiser step", "SCF cycles", "") or "Landau units" in text, (
                    f"{name} {key}"
                )


def test_the_double_well_is_relative_to_the_parent_and_two_sided() -> None:
    """Zero at Q = 0, the same on both sides, minima at +-0.6, in kJ/mol."""
    trace, scan = figures.double_well(sample_report.broken_mode())["data"]
    x, y = np.array(trace["x"]), np.array(trace["y"])
    assert y[x == 0] == pytest.approx(0.0) and y == pytest.approx(y[::-1])
    assert abs(x[y.argmin()]) == pytest.approx(0.6)
    assert scan["y"][scan["x"].index(0.6)] == pytest.approx(2625.5 * (0.026 * 0.6**4 - 0.018 * 0.6**2), abs=1e-3)


def test_the_optimisers_history_is_in_kj_per_mol_above_the_last_step() -> None:
    """2 and 1 millihartree above the third step; the last has no logarithm."""
    (trace,) = figures.optimiser_history({"LS": {"energies_hartree_per_step": [-1.0, -1.001, -1.002]}})["data"]
    assert trace["y"] == pytest.approx([5.251, 2.6255], rel=1e-3)


def test_a_broadened_sum_climbs_half_a_step_at_each_mode_and_ends_at_the_last_sum() -> None:
    """Two modes far apart, one up by 5 and one down by 2."""
    grid, sums = figures.broadened([200.0, 400.0], [5.0, 3.0])
    at = np.interp([0.0, 200.0, 300.0, 400.0, 460.0], grid, sums)
    assert at == pytest.approx([0.0, 2.5, 5.0, 4.0, 3.0], abs=1e-3)


def test_a_narrow_well_is_shown_with_its_points_not_with_the_walls_far_outside() -> None:
    """All points stay in the data; the window ends at 4.5 times |Q| of the lowest, the fit's curve at 3."""
    mode = sample_report.broken_mode()
    q = np.array([-1.5, -0.75, -0.2, -0.1, 0.0, 0.1, 0.2, 0.75, 1.5])
    energy = mode["parent_energy_hartree"] + 1e-4 * ((q / 0.1) ** 4 - 2 * (q / 0.1) ** 2)
    mode |= {"scan_q_amu_half_angstrom": q.tolist(), "scan_energy_hartree": energy.tolist()}
    mode |= {"q_at_minimum_amu_half_angstrom": 0.1, "scan_minimum_kJ_per_mol": -0.26}
    figure = figures.double_well(mode)
    assert figure["layout"]["xaxis"]["range"] == pytest.approx([-0.4725, 0.4725])
    assert figure["data"][1]["x"] == pytest.approx(q.tolist())
    assert max(figure["data"][0]["x"]) == pytest.approx(0.3)
    assert figure["layout"]["yaxis"]["range"][1] < 10


def test_the_waterfall_ends_at_the_sum_of_its_terms() -> None:
    """Each bar starts where the one before ended; the total starts at zero."""
    figure = figures.waterfall([("a", 10.0), ("b", 5.0), ("c", -3.0)], (1.0, 2.0), (11.0, 13.0))
    bar = figure["data"][0]
    assert bar["base"] == [0.0, 10.0, 15.0, 0.0] and bar["y"] == [10.0, 5.0, -3.0, 12.0]
    error = figure["data"][1]["error_y"]
    assert (error["arrayminus"], error["array"]) == ([1.0], [2.0])
    assert (figure["layout"]["shapes"][0]["y0"], figure["layout"]["shapes"][0]["y1"]) == (11.0, 13.0)


def test_the_spectra_show_every_mode_with_imaginary_ones_negative() -> None:
    """Nothing is dropped: as many sticks as modes, the imaginary one left of zero."""
    vibrations = sample_report.sample()["vibrations"]
    data = figures.spectra(vibrations)["data"]
    sticks = [v for trace in data for v in trace["x"][::3]]
    assert sorted(sticks) == sorted(w for v in vibrations.values() for w in v["wavenumbers_per_cm"])
    assert min(sticks) == -651.4


def test_modes_without_symmetry_are_not_drawn_as_totally_symmetric() -> None:
    """The label A of C1 says nothing about that of C2."""
    data = figures.spectra(sample_report.sample()["vibrations"])["data"]
    styles = {trace["name"]: trace["marker"]["color"] for trace in data}
    assert set(styles) == {"irrep A", "irrep B", "no symmetry (C1)"} and len(set(styles.values())) == 3


def test_structures_are_laid_on_each_other_by_a_proper_rotation() -> None:
    """A turned and shifted copy comes back; the mirror image does not."""
    rng = np.random.default_rng(3)
    positions = rng.standard_normal((6, 3))
    turn, _ = np.linalg.qr(rng.standard_normal((3, 3)))
    turn *= np.linalg.det(turn)
    moved, rotation, shift = scenes.fit(positions @ turn + 2.0, positions)
    assert moved == pytest.approx(positions) and np.linalg.det(rotation) == pytest.approx(1.0)
    assert (positions @ turn + 2.0) @ rotation + shift == pytest.approx(positions)
    assert pointgroup.rms_distance(positions * [1, 1, -1], positions) > 0.1


def test_the_animated_mode_is_scaled_to_its_largest_motion() -> None:
    """The structure at rest, and a vector along the mode."""
    positions, vector = np.array([r[1:] for r in sample_report.FRAME]), np.array(sample_report.VECTOR)
    motion = scenes.animated_mode(["C", "O", "H", "H"], positions, vector, [])["motion"]
    moved = np.array(motion["vector"])
    assert motion["positions"] == pytest.approx(positions)
    assert np.linalg.norm(moved, axis=1).max() == pytest.approx(scenes.LARGEST_MOTION, abs=1e-3)
    assert (moved * vector).sum() / np.linalg.norm(moved) / np.linalg.norm(vector) == pytest.approx(1.0, abs=1e-4)
    assert sorted(map(tuple, motion["pairs"])) == [(0, 1), (0, 2), (0, 3)]


def test_an_overlay_lays_equal_structures_on_each_other() -> None:
    """A turned and shifted copy comes back onto the first."""
    positions = np.array([r[1:] for r in sample_report.BENT])
    turned = positions @ np.array([[0.0, 1, 0], [-1, 0, 0], [0, 0, 1]]) + 3.0
    drawn = scenes.overlay(["C", "O", "H", "H"], positions, turned, ("one", "two"))["data"]
    for name in "xyz":
        assert drawn[3][name] == pytest.approx(drawn[1][name], abs=2e-3)


def test_thiocyanates_are_named_beyond_their_sulphur() -> None:
    """The label stands on the line from N through C."""
    positions = np.array([[0.0, 0, 0], [2.0, 0, 0], [3.2, 0, 0], [4.8, 0, 0]])
    bonds = [{"atoms": [0, 1], "symbols": ["Fe", "N"], "length": 2.0}]
    angles = [
        {"atoms": [0, 1, 2], "kind": "Fe-N-C", "angle": 180.0},
        {"atoms": [1, 0, 2], "kind": "N-Fe-C", "angle": 0.0},
    ]
    optimised = {"metal_bonds_angstrom": bonds, "metal_angles_degree": angles}
    drawn = scenes.structure(list("FNCS"), positions, optimised, False, 5.0, {"x": 1.0, "y": 0.0, "z": 0.0})["data"]
    labels = [t for t in drawn if t.get("text") == ["NCS 1"]]
    assert len(labels) == 1 and labels[0]["x"] == pytest.approx([3.2 + scenes.BEYOND_SULPHUR])


@pytest.mark.parametrize("half", [5.0, 9.0])
def test_a_large_molecule_can_be_seen_around_its_metal(half: float) -> None:
    """In a cube about the metal, wherever it lies; a small one shows its bonds as it is."""
    optimised = {"metal_bonds_angstrom": [{"atoms": [1, 0], "symbols": ["Fe", "N"], "length": 2.0}]}
    places = np.array([[0.0, 0, 0], [0, 0, 2.0]])
    drawn = scenes.structure(["N", "Fe"], places, optimised, False, half, {"x": 1.0, "y": 0.0, "z": 0.0})
    size = scenes.AROUND_METAL
    windows = {"molecule": [[-9.0, 9.0]] * 3, "metal": [[-size, size], [-size, size], [2.0 - size, 2.0 + size]]}
    assert drawn.get("windows") == (windows if half > 5 else None)


def test_infrared_intensities_scale_the_sticks_and_nothing_is_lost() -> None:
    """The strongest reaches 1, a silent one keeps a short stick, and without intensities all are equal."""
    found = sample_report.vibrations("LS", "computed")
    assert set(figures.stick_heights(found)) == {1.0}
    heights = figures.stick_heights(found | {"infrared_intensities_km_per_mol": [10.0, 0.0, 5.0, 1.0, 2.0, 40.0]})
    assert heights == [0.25, 0.05, 0.125, 0.05, 0.05, 1.0]


def test_a_flat_molecule_is_seen_from_its_broad_side() -> None:
    """The camera stands where the molecule is thinnest."""
    eye = scenes.view_direction(np.array([r[1:] for r in sample_report.FRAME]))
    assert abs(eye["y"]) > 3 * abs(eye["x"])


def test_the_first_view_keeps_the_bond_lengths_apart() -> None:
    """Two labels behind each other in the usual view turn the camera; nothing is turned where they are apart."""
    flat = np.array([r[1:] for r in sample_report.FRAME])
    usual = scenes.view_direction(flat)
    axes = scenes.view(np.array(list(usual.values())))
    hidden, apart = 9 * axes[0] + np.array([-axes[2], axes[2]]), 9 * axes[0] + np.array([-axes[0], axes[0]])
    assert scenes.view_direction(flat, [(apart, flat)]) == usual
    turned = scenes.view_direction(flat, [(apart, flat), (hidden, flat)])
    seen = hidden @ scenes.view(np.array(list(turned.values()))).T
    assert turned != usual and np.abs(seen[1] - seen[0])[:2].max() > scenes.CLEAR


def test_spin_up_and_spin_down_have_different_colours() -> None:
    """Zero is pale, the ends are the colours of the palette."""
    assert scenes.spin_colours([1.0, -1.0, 0.0]) == ["#d55e00", "#0072b2", "#f5f5f5"]


def test_the_axis_is_drawn_for_c2_only() -> None:
    """A mirror or a centre has no axis."""
    data = sample_report.sample()
    counts = [len(scenes.structures(data["geometries"], data["optimise"], g)[0]["LS"]["data"]) for g in ("C2", "Cs")]
    assert counts[0] == counts[1] + 1


def test_the_landau_branches_step_at_the_spinodals() -> None:
    """Both ends of the jump are drawn at T_up and T_down of the closed forms."""
    landau = sample_report.sample()["landau"]
    heating = landau_view.branches(landau)["data"][0]
    steps = [t for t, u in zip(heating["x"], heating["x"][1:], strict=False) if t == u]
    assert steps == pytest.approx([235.0]) and landau["temperature_down_K"] == pytest.approx(214.57, abs=0.01)


def test_landau_claims_test_only_a_complex_with_its_own_parameters() -> None:
    """Borrowed parameters give `not tested`; own ones are compared with experiment."""
    data = sample_report.sample()
    assert [c.verdict for c in landau_view.claims(data["landau"], data["entry"])] == ["not tested"]
    own = data["landau"] | {"borrowed_from": None, "source": "10.1039/d4mh01318b, equation 4"}
    entry = data["entry"] | {"landau": sample_report.LANDAU_PARAMETERS}
    found = landau_view.claims(own, entry)
    assert found[0].verdict == "uncertain" and "214.6 K, measured 219.0 K" in found[0].evidence
    without = landau_view.claims(own | {"temperature_down_K": None}, entry)
    assert without[0].text == found[0].text
    assert (without[0].verdict, without[0].evidence) == (
        "not supported",
        "the model has no jump on cooling, where one was measured",
    )
    assert "with D, E and b of eq. 4" in found[1].text
    assert (found[1].verdict, found[1].evidence.startswith("at most −0.24 ")) == ("not supported", True)
    own["a0_window"] |= {"entropy_symmetry_breaking_bound_J_per_mol_K": -6.0}
    assert landau_view.claims(own, entry)[1].verdict == "supported"
    assert len(landau_view.claims(own | {"source": "a fit of our own"}, entry)) == 1  # 800 K is the paper's


def test_static_drawings_are_svg_and_repeat_exactly() -> None:
    """The same input gives the same text, so that results do not change without a reason."""
    drawn = all_figures(sample_report.sample())
    first, second = drawings.fallbacks(drawn), drawings.fallbacks(drawn)
    assert set(first) == set(drawings.STATIC) and first == second
    assert all(text.startswith("<svg") and "<script" not in text for text in first.values())


def test_every_molecule_has_a_still_for_print_with_each_atom_once() -> None:
    """The same input gives the same drawing."""
    drawn = all_figures(sample_report.sample())
    stills = drawings.stills(drawn)
    assert set(stills) == {n for n in drawn if n.startswith(("scene", "overlay", "animation"))}
    canvas = drawings._projected(drawn["scene-HS"])
    (points,) = [c for c in canvas.axes[0].collections]
    assert len(points.get_offsets()) == 4
    assert stills == drawings.stills(drawn)


def test_barriers_vanish_at_the_ends_of_the_hysteresis() -> None:
    """From LS at the upper end, from HS at the lower one."""
    up, down = (t["y"] for t in all_figures(sample_report.sample())["landau-barriers"]["data"])
    assert up[0] > up[-1] == pytest.approx(0.0, abs=1e-3)
    assert down[-1] > down[0] == pytest.approx(0.0, abs=1e-3)
