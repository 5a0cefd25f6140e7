"""The paper's Landau figures: their curves are the closed forms, their files are there, the same each time."""

import math
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from spincross import conclusions, drawings, files, landau_curves, paper_figures
from spincross.errors import BadInput
from spincross.landau import landau_account, no_landau
from spincross.landau_maps import phase_diagram
from spincross.landau_model import LandauModel

PAPER = {"a1": 0.6, "T_SC": 235.0, "C": 35.0, "b": 10.0, "D": -6.5, "E": -12.2}
EQ4 = LandauModel(**PAPER)


@cache
def account():
    """Return the account of the paper's parameters."""
    return landau_account(PAPER, np.linspace(100.0, 400.0, 61).tolist())


def test_figure_1_holds_the_closed_forms_of_eq_1_and_eq_2():
    rows = landau_curves.figure_1(EQ4, account()["a0_window"])
    t = paper_figures.column(rows, "a", "temperature_K")
    below = np.maximum(0.0, 235.0 - t)
    assert paper_figures.column(rows, "a", "eta") == pytest.approx(np.sqrt(0.06 * below), abs=1e-10)
    assert paper_figures.column(rows, "a", "S_SB") == pytest.approx(-(0.6**2) * below / 20.0, abs=1e-10)
    q = np.clip(np.cbrt(0.6 * (t - 235.0) / 35.0), -1.0, 1.0)
    assert paper_figures.column(rows, "b", "q") == pytest.approx(q, abs=1e-10)
    assert paper_figures.column(rows, "b", "S_SC") == pytest.approx(0.6 * q, abs=1e-10)


def test_ascending_symmetry_breaking_costs_entropy_in_eq_3_and_gains_it_in_eq_1_alone():
    rows = landau_curves.figure_1(EQ4, account()["a0_window"])
    t, cost = (paper_figures.column(rows, "c", name) for name in ("temperature_K", "S_SB"))
    assert cost.max() == 0.0 and cost[t > 260.0].max() < -0.01
    assert paper_figures.column(rows, "c", "S_total")[-1] > paper_figures.column(rows, "c", "S_total")[0]
    assert paper_figures.column(rows, "c, eq. 1 alone with a0 < 0", "S_SB")[-1] > 0.0


def test_figure_1_shows_the_models_own_a0_where_it_has_one():
    own = replace(EQ4, a0=0.01, T_c=50.0)
    rows = landau_curves.figure_1(own, account()["a0_window"])
    t, q, cost = (paper_figures.column(rows, "c", name)[-1] for name in ("temperature_K", "q", "S_SB"))
    assert cost == pytest.approx(-0.005 * float(own.eta_squared(t, q)))


def test_the_gain_of_eq_1_alone_stands_beside_a_model_with_its_own_negative_a0():
    """S_SB = +a0^2 (T - T_SC) / 2b above T_SC, whatever the sign in the model; the title tells that sign."""
    own = replace(EQ4, a0=-0.02, T_c=300.0)
    rows = landau_curves.figure_1(own, None)
    t, gain = (paper_figures.column(rows, "c, eq. 1 alone with a0 < 0", name) for name in ("temperature_K", "S_SB"))
    assert gain == pytest.approx(0.02**2 * np.maximum(0.0, t - 235.0) / 20.0, abs=1e-12)
    titles = [axes.get_title() for axes in paper_figures.figure_1(rows, own).axes]
    assert "(c) ascending, eq. 3, a0 < 0" in titles
    paper = landau_curves.of_panel_c(EQ4, account()["a0_window"])
    titles = [
        a.get_title() for a in paper_figures.figure_1(landau_curves.figure_1(EQ4, account()["a0_window"]), paper).axes
    ]
    assert "(c) ascending, eq. 3, a0 > 0" in titles


def test_a_model_whose_low_spin_breaks_the_symmetry_fills_its_drawings():
    """With D of the other sign eta is largest at q = -1: sqrt(-2 w / b), w = -D + E / 2."""
    descending = landau_account(PAPER | {"D": 6.5}, np.linspace(100.0, 400.0, 61).tolist())
    largest = math.sqrt(2.0 * (6.5 + 6.1) / 10.0)
    assert landau_curves.full_eta(replace(EQ4, D=6.5)) == pytest.approx(largest)
    rows = landau_curves.figure_2(descending)
    q, eta = (paper_figures.column(rows, "heating", name) for name in ("q", "eta_normalised"))
    assert eta[q == -1.0] == pytest.approx(1.0) and eta[q == 1.0] == pytest.approx(0.0)


def test_a_phase_diagram_shows_the_phases_that_are_there():
    """Neighbours of kind 0 and 3 have nothing of kind 1 and 2 between them."""
    found = phase_diagram(EQ4, "D", np.linspace(-10.0, -7.0, 31), np.linspace(100.0, 400.0, 41))
    canvas = paper_figures.figure_phases(found)
    (mesh,) = canvas.axes[0].collections[:1]
    assert {int(k) for k in np.asarray(mesh.get_array()).ravel()} == {int(k) for k in found.phase.ravel()}


def test_drawings_do_not_depend_on_the_units_of_energy():
    scaled = replace(EQ4, **{name: 60.0 * getattr(EQ4, name) for name in ("a1", "C", "b", "D", "E")})
    assert landau_curves.largest_eta(scaled) == pytest.approx(landau_curves.largest_eta(EQ4))
    assert landau_curves.valley_height(scaled, 226.5) == pytest.approx(60.0 * landau_curves.valley_height(EQ4, 226.5))


def test_figure_2_has_eta_of_one_in_the_high_spin_phase():
    rows = landau_curves.figure_2(account())
    for branch in ("heating", "cooling"):
        q, eta = (paper_figures.column(rows, branch, name) for name in ("q", "eta_normalised"))
        assert eta[q == 1.0] == pytest.approx(1.0) and eta[q < 0] == pytest.approx(0.0)


def test_the_valley_along_eta_is_the_lowest_energy_at_each_eta():
    eta, q = np.linspace(-2.0, 2.0, 41), np.linspace(-1.0, 1.0, 4001)
    _, valley = landau_curves.valley_along_eta(EQ4, 225.0, eta)
    brute = EQ4.energy(225.0, q[None], eta[:, None]).min(axis=1)
    assert np.all(valley <= brute + 1e-12) and valley == pytest.approx(brute, abs=1e-5)
    low, high = EQ4.minima(225.0)
    assert valley.min() == pytest.approx(min(low.energy, high.energy), abs=0.1)


def test_figure_5_has_three_surfaces_and_both_cuts_at_five_temperatures():
    rows = landau_curves.figure_5(account())
    assert len({row["temperature_K"] for row in rows if row["panel"] == "a"}) == 3
    for panel in ("b, along q", "b, along eta"):
        assert len({row["temperature_K"] for row in rows if row["panel"] == panel}) == 5
    for row in rows:
        energy = float(EQ4.energy(row["temperature_K"], row["q"], row["eta"]))
        assert row["G"] == pytest.approx(energy, abs=1e-9), row
    inside = [row for row in rows if row["panel"] == "a" and abs(row["q"]) == 1.2]
    assert inside and max(abs(row["eta"]) for row in rows) >= math.sqrt(2.52)


def test_every_figure_is_written_as_svg_png_and_tsv(tmp_path):
    files.write_json(tmp_path / "landau.json", account())
    conclusions.draw_landau(tmp_path / "landau.json", tmp_path)
    for name in ("figure_1", "figure_2", "figure_5"):
        assert (tmp_path / f"{name}.svg").read_text().startswith("<?xml")
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert len((tmp_path / f"{name}.tsv").read_text().splitlines()) > 100


def test_a_complex_without_parameters_is_not_drawn(tmp_path):
    files.write_json(tmp_path / "landau.json", no_landau("none are known"))
    with pytest.raises(BadInput, match="nothing to draw"):
        conclusions.draw_landau(tmp_path / "landau.json", tmp_path)


def test_a_phase_diagram_is_drawn_the_same_each_time():
    found = phase_diagram(EQ4, "E", np.linspace(-20.0, -5.0, 11), np.linspace(150.0, 300.0, 13))
    first, second = (drawings.svg_text(paper_figures.figure_phases(found)) for _ in range(2))
    assert first == second and "hysteresis" in first
