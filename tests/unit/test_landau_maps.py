"""Phase diagrams: the same minima as one point at a time, known borders, guards."""

import math
from dataclasses import asdict, replace

import numpy as np
import pytest

from spincross.errors import BadInput
from spincross.landau import landau_account
from spincross.landau_maps import PHASES, cubic_roots, minima_of, phase_diagram
from spincross.landau_model import LandauModel

EQ4 = LandauModel(a1=0.6, T_SC=235.0, C=35.0, b=10.0, D=-6.5, E=-12.2)
EQ3 = replace(EQ4, B=-3.0, a0=0.03, T_c=150.0)


@pytest.mark.parametrize(
    "parameters",
    [
        {"a1": 0.5, "T_SC": 200.0, "C": 35.0, "b": 5.0, "D": -5.0},
        {"a1": 1.0, "T_SC": 235.0, "C": 35.0, "b": 10.0, "D": -50.0, "E": 20.0},
    ],
)
def test_round_parameters_whose_slope_vanishes_at_a_border_are_solved(parameters):
    """At whole kelvins two candidates lie a rounding error apart there."""
    model, grid = LandauModel(**parameters), np.arange(100.0, 400.0)
    found = minima_of(asdict(model), grid)
    for k, temperature in enumerate(grid):
        minima = model.minima(temperature)
        assert (len(minima), min(m.energy for m in minima)) == (found["minima"][k], pytest.approx(found["energy"][k]))
    assert landau_account(parameters | {"source": "round"})["temperature_up_K"] == pytest.approx(parameters["T_SC"])


def test_low_spin_gives_way_to_high_spin_low_symmetry_at_the_equal_energy_temperature():
    found = phase_diagram(EQ4, "D", [-6.5], [150.0, 220.0, 230.0, 400.0])
    names = [PHASES[k] for k in found.phase[0]]
    assert names == ["LS high symmetry", "LS high symmetry", "HS low symmetry", "HS low symmetry"]
    assert found.minima[0].tolist() == [1, 2, 2, 1]
    assert found.eta[0, -1] == pytest.approx(math.sqrt(2.52), abs=1e-10)


def test_spin_crossover_without_coupling_follows_the_cube_root():
    t = np.linspace(190.0, 280.0, 91)
    found = phase_diagram(replace(EQ4, D=0.0, E=0.0), "C", [20.0, 35.0, 60.0], t)
    for row, c in zip(found.q, (20.0, 35.0, 60.0), strict=True):
        # where T = T_SC the three roots fall together and each is known to the cube root of the last digit only
        assert row == pytest.approx(np.clip(np.cbrt(0.6 * (t - 235.0) / c), -1.0, 1.0), abs=1e-10)


@pytest.mark.parametrize("model", [EQ4, EQ3, replace(EQ4, B=8.0), replace(EQ4, D=3.0, E=-25.0), replace(EQ4, E=0.0)])
def test_every_point_has_the_minima_of_the_model_taken_alone(model):
    rng = np.random.default_rng(5)
    temperatures = rng.uniform(100.0, 320.0, 60)
    found = minima_of(asdict(model), temperatures)
    for k, t in enumerate(temperatures.tolist()):
        minima = model.minima(t)
        stable = min(minima, key=lambda m: m.energy)
        assert found["minima"][k] == len(minima)
        assert (found["q"][k], found["energy"][k]) == pytest.approx((stable.q, stable.energy), abs=1e-9)
        assert found["eta"][k] == pytest.approx(stable.eta, abs=1e-8)
        assert (found["q_lowest"][k], found["q_highest"][k]) == pytest.approx((minima[0].q, minima[-1].q), abs=1e-9)


def test_a_vanishing_leading_coefficient_leaves_the_other_roots():
    roots = cubic_roots(np.array([[0.0, 1.0, -0.5, 0.06], [1.0, 0.0, 0.0, -0.125]]))
    assert sorted(roots[0][np.abs(roots[0]) <= 1.0]) == pytest.approx([0.2, 0.3])
    assert roots[1][np.isfinite(roots[1])] == pytest.approx([0.5])


def test_rows_name_the_phase_of_every_point():
    rows = phase_diagram(EQ4, "E", [-12.2, -5.0], [200.0, 300.0]).rows()
    assert len(rows) == 4 and rows[1]["phase"] == "HS low symmetry" and rows[1]["E"] == -12.2


@pytest.mark.parametrize(
    ("name", "values", "temperatures", "words"),
    [
        ("F", [1.0], [200.0], "no Landau parameter"),
        ("b", [1.0, 0.0], [200.0], "no lower bound in eta"),
        ("C", [-1.0], [200.0], "no lower bound in q"),
        ("D", [math.nan], [200.0], "D must be a finite number"),
        ("D", [1.0], [-5.0], "positive, finite temperatures"),
        ("D", [1.0], [], "positive, finite temperatures"),
    ],
)
def test_planes_that_cannot_be_used_are_refused(name, values, temperatures, words):
    with pytest.raises(BadInput, match=words):
        phase_diagram(EQ4, name, values, temperatures)
