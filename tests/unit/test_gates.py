"""A wrong state is refused with its numbers."""

from types import SimpleNamespace

import numpy as np
import pytest

from spincross import electronic, gates
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
