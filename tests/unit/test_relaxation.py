"""An unstable state is followed down, relaxed again and reported; failures follow the configuration."""

from dataclasses import replace

import numpy as np
import pytest

from sample_h2co import EXCITED, H2CO, LEVEL
from spincross import descent, optimise, relaxation
from spincross.errors import BadInput, NotConverged, SymmetryLost, WrongState
from spincross.levels import State
from spincross.orbital_rotations import Rotation, Stability
from test_gates import LIMITS, WARN

SMALL = replace(LEVEL, basis="sto-3g", grid_level=0)
SETTINGS = optimise.Settings(coarse_grid_level=0, convergence="GAU", coarse_convergence="GAU_LOOSE")


def task(work, occupation, limits=LIMITS):
    return relaxation.Task(H2CO, SMALL, State("HS", 3, occupation), None, limits, SETTINGS, work)


@pytest.fixture(scope="module")
def start():
    """Orbitals of the excited triplet at the start."""
    return relaxation.descent.electronic.solve(H2CO, SMALL, State("HS", 3, EXCITED)).orbitals


def test_an_excited_triplet_ends_as_the_lowest_one_and_the_way_is_told(start, tmp_path):
    found, facts = relaxation.relax(task(tmp_path / "a", EXCITED), start)
    direct, plain = relaxation.relax(task(tmp_path / "b", None))
    assert found.solution.energy == pytest.approx(direct.solution.energy, abs=1e-5)
    assert found.solution.occupation == direct.solution.occupation != EXCITED
    (row,) = facts["followed_instabilities"]
    assert row["energy_after_hartree"] < row["energy_before_hartree"] - 0.05
    assert row["eigenvalue_hartree"] < 0 < facts["stability_eigenvalue_hartree"]
    assert "was unstable" in facts["warnings"][0]
    assert plain["followed_instabilities"] == plain["warnings"] == []
    assert len(found.steps) > len(direct.steps)


def test_a_minimum_above_a_step_on_the_way_to_it_is_another_state(tmp_path, monkeypatch):
    """Only steps on the surface of the result count; a coarser grid has other energies."""
    whole = optimise.optimise

    def changed(grid):
        def found(*arguments, **options):
            result = whole(*arguments, **options)
            energy = result.solution.energy - 1e-3
            last = result.steps[-1]
            return replace(result, steps=[last | {"energy_hartree": energy, "grid_level": grid}, *result.steps])

        return found

    monkeypatch.setattr(optimise, "optimise", changed(SMALL.grid_level))
    with pytest.raises(WrongState, match="at its start or on the way: an SCF fell into another electronic state"):
        relaxation.relax(task(tmp_path, None))
    monkeypatch.setattr(optimise, "optimise", changed(SMALL.grid_level - 1))
    assert relaxation.relax(task(tmp_path, None))[1]["warnings"] == []


def test_a_minimum_above_the_energy_it_started_from_is_another_state(tmp_path):
    """The start is the lowest point of a scan, or the saddle that was left."""
    low = replace(task(tmp_path, None), start_energy=-1e3)
    with pytest.raises(WrongState, match="at its start or on the way"):
        relaxation.relax(low)
    _, facts = relaxation.relax(replace(low, limits=WARN))
    (said,) = facts["warnings"]
    assert "at its start or on the way" in said


def test_a_lower_solution_that_is_lost_on_the_way_is_an_error(start, tmp_path, monkeypatch):
    whole = optimise.optimise

    def lost(molecule, level, state, folder, *arguments, **options):
        result = whole(molecule, level, state, folder, *arguments, **options)
        raised = replace(result.solution, energy=result.solution.energy + 0.05)
        return replace(result, solution=raised) if folder.name == "followed" else result

    monkeypatch.setattr(optimise, "optimise", lost)
    with pytest.raises(WrongState, match="the lower solution of HS at .* was lost on the way to"):
        relaxation.relax(task(tmp_path, EXCITED), start)


def test_a_failed_descent_is_an_error_or_a_warning(start, tmp_path, monkeypatch):
    def lost(*arguments):
        raise SymmetryLost("lower by 3.00 kJ/mol, breaks the group by 0.500 electrons")

    monkeypatch.setattr(descent, "follow", lost)
    with pytest.raises(SymmetryLost, match=r"3\.00"):
        relaxation.relax(task(tmp_path, EXCITED), start)
    found, facts = relaxation.relax(task(tmp_path, EXCITED, WARN), start)
    assert found.solution.occupation == EXCITED
    assert ["3.00 kJ/mol" in facts["warnings"][0], "unstable" in facts["warnings"][1]] == [True, True]


def test_a_stability_test_that_does_not_end_is_an_error_or_a_warning(start, tmp_path, monkeypatch):
    monkeypatch.setattr(relaxation.gates.orbital_rotations, "MAX_CYCLES", 1)
    with pytest.raises(NotConverged, match="found no lowest rotation of block A in 1 rounds"):
        relaxation.relax(task(tmp_path, EXCITED), start)
    found, facts = relaxation.relax(task(tmp_path, EXCITED, WARN), start)
    assert found.solution.occupation == EXCITED
    assert facts["stability_blocks"] == []
    (said,) = facts["warnings"]
    assert said.startswith("gate failed: the stability test found no lowest rotation of block A")


def test_no_test_and_no_descent_where_stability_is_off(start, tmp_path):
    found, facts = relaxation.relax(task(tmp_path, EXCITED, LIMITS | {"stability": False}), start)
    assert found.solution.occupation == EXCITED
    assert facts["stability_eigenvalue_hartree"] is None
    assert facts["stability_blocks"] == []
    assert facts["warnings"] == ["the stability of HS was not tested (gates.stability: false)"]
    assert np.isfinite(found.solution.energy)


def test_a_second_run_is_refused_as_long_as_the_first_one_tests_and_follows(start, tmp_path, monkeypatch):
    seen = []

    def tested(solution, limits, sharp):
        with pytest.raises(BadInput, match="in use by another run"):
            relaxation.relax(task(tmp_path, EXCITED), start)
        seen.append(solution)
        return Stability((Rotation("A", 0.1, []),))

    monkeypatch.setattr(relaxation.gates, "stability", tested)
    relaxation.relax(task(tmp_path, EXCITED), start)
    assert len(seen) == 1


def test_a_state_of_the_wrong_spin_is_refused_before_a_step_is_taken(tmp_path):
    strict = LIMITS | {"s_squared_error": 0.0}
    with pytest.raises(WrongState, match=r"<S2> of HS is 2\.\d+"):
        relaxation.relax(task(tmp_path, None, strict))
    assert not list(tmp_path.rglob("steps.jsonl"))
