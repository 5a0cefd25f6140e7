"""Solutions of formaldehyde that several test files look at; computed once."""

import pytest

from sample_h2co import H2CO, LEVEL
from spincross import candidates, electronic
from spincross.levels import State


@pytest.fixture(scope="session")
def singlet():
    return electronic.solve(H2CO, LEVEL, State("LS", 1))


@pytest.fixture(scope="session")
def triplet():
    return candidates.lowest_state(H2CO, LEVEL, State("HS", 3))
