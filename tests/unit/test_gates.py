"""A wrong state is refused with its numbers."""

from types import SimpleNamespace

import numpy as np
import pytest

from spincross import electronic, gates, response
from spincross.electronic import State
from spincross.errors import WrongState

LIMITS = {"s_squared_warning": 0.1, "s_squared_error": 0.5, "metal_spin_high": [3.4, 4.1], "stability": False}


def result(s_squared):
    molecule = SimpleNamespace(symbols=("Fe", "N"))
    return SimpleNamespace(solution=SimpleNamespace(s_squared=s_squared), molecule=molecule)


def test_spin_contamination_is_a_warning_then_an_error():
    assert gates.judge(result(2.05), State("HS", 3), None, LIMITS)["warnings"] == []
    assert "2.300" in gates.judge(result(2.3), State("HS", 3), None, LIMITS)["warnings"][0]
    with pytest.raises(WrongState, match=r"2\.600"):
        gates.judge(result(2.6), State("HS", 3), None, LIMITS)


def test_iron_without_its_four_unpaired_electrons_is_refused(monkeypatch):
    monkeypatch.setattr(electronic, "spin_populations", lambda solution: np.array([2.9, 1.1]))
    with pytest.raises(WrongState, match=r"2\.90"):
        gates.judge(result(6.01), State("HS", 5), "Fe", LIMITS)


@pytest.mark.parametrize(("eigenvalue", "count"), [(-0.05, 1), (0.05, 0)])
def test_an_unstable_solution_is_said_with_its_eigenvalue(monkeypatch, eigenvalue, count):
    monkeypatch.setattr(response, "lowest_rotation", lambda mean_field, grid: eigenvalue)
    converged = result(2.0)
    converged.solution.mean_field = None
    found = gates.judge(converged, State("HS", 3), None, LIMITS | {"stability": True})
    assert found["stability_eigenvalue_hartree"] == eigenvalue
    assert len([text for text in found["warnings"] if f"{eigenvalue:.4f}" in text]) == count
