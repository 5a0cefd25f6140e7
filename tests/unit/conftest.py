"""What several test files look at: solutions of formaldehyde, and an optimised state at a small level."""

import numpy as np
import pytest

import sample_settings
from sample_h2co import H2CO, LEVEL
from spincross import candidates, checkpoints, device, electronic, files
from spincross.errors import Stopped
from spincross.levels import State
from spincross.molecule import Molecule

CALIBRATION = {"grid_level_per_step": [0, 1, 1], "seconds_per_step": [1.0, 20.0, 30.0]}


@pytest.fixture
def device_chosen_anew():
    """What `auto` found is not remembered from or for other tests."""
    device.chosen.cache_clear()
    yield
    device.chosen.cache_clear()


@pytest.fixture
def stop_at_third_scf(monkeypatch):
    """The third SCF from here on raises Stopped, as --stop-after does; all are listed as they begin."""
    solve, calls = electronic.solve, []

    def stopped(*arguments, **options):
        calls.append(arguments)
        if len(calls) == 3:
            raise Stopped("time is over")
        return solve(*arguments, **options)

    monkeypatch.setattr(electronic, "solve", stopped)
    return calls


@pytest.fixture(scope="session")
def singlet():
    return electronic.solve(H2CO, LEVEL, State("LS", 1))


@pytest.fixture(scope="session")
def triplet():
    return candidates.lowest_state(H2CO, LEVEL, State("HS", 3))


@pytest.fixture(scope="session")
def small_settings():
    return sample_settings.small_settings()


@pytest.fixture(scope="session")
def optimised(small_settings, tmp_path_factory):
    """A geometry near the minimum of this level, with everything the stages read."""
    folder = tmp_path_factory.mktemp("results") / "LS/C2/optimise"
    places = np.array([[0, 0, 0], [0, 0, 2.30], [1.74, 0.3, -1.08], [-1.74, -0.3, -1.08]])
    molecule = Molecule(("C", "O", "H", "H"), places, 0, "C2")
    state = small_settings.state("h2co", "LS")
    solution = electronic.solve(molecule, small_settings.level, state)
    checkpoints.store_orbitals(folder / "orbitals.npz", solution.orbitals)
    files.write_xyz(folder / "geometry.xyz", molecule.symbols, [molecule.positions], [""])
    facts = {
        "level": small_settings.named_level(),
        "state": "LS",
        "multiplicity": 1,
        "point_group": "C2",
        "converged": True,
    }
    content = {"provenance": facts, **facts, "energy_hartree": solution.energy, "s_squared": 0.0} | CALIBRATION
    files.write_json(folder / "optimise.json", content)
    return folder
