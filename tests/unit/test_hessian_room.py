"""An analytic Hessian that will have no room is said before the optimisation and refused before its SCF."""

import re
import shutil
import sys
from copy import deepcopy
from dataclasses import replace
from types import SimpleNamespace

import pytest
from pyscf import lib

from sample_h2co import H2CO, LEVEL
from spincross import electronic, fitted_response, force_constants, stages
from spincross.errors import BadInput, CannotWrite, Stopped
from spincross.levels import State

STATES = {1: State("LS", 1), 3: State("HS", 3)}


@pytest.fixture
def memory(monkeypatch):
    """Let the process hold 100 MB, whatever it really holds."""
    monkeypatch.setattr(lib, "current_memory", lambda: (100.0, 100.0))


@pytest.fixture
def disk(monkeypatch):
    """Return a function that sets the free space, MB."""
    return lambda free: monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1e6 * free))


@pytest.mark.parametrize("multiplicity", STATES)
@pytest.mark.parametrize("group", ["C2", "C1"])
def test_too_little_memory_is_refused_before_the_scf_and_what_is_asked_for_is_enough(
    memory, monkeypatch, group, multiplicity
):
    molecule, state = H2CO.at(H2CO.positions, group), STATES[multiplicity]
    with monkeypatch.context() as before, pytest.raises(BadInput, match=r"raise memory_mb \(100\) to") as refused:
        before.setattr(electronic, "solve", lambda *a: pytest.fail("the SCF began"))
        settings = force_constants.Settings(max_memory=100)
        force_constants.analytic_hessian(molecule, LEVEL, state, (), settings)
    enough = int(re.findall(r"to (\d+)", str(refused.value))[0])
    electronic.require_hessian_room(molecule, LEVEL, state, enough)
    found = electronic.solve(molecule, LEVEL, state, max_memory=enough)
    assert fitted_response.in_memory(found.mean_field)
    assert not fitted_response.in_memory(electronic.solve(molecule, LEVEL, state, max_memory=enough - 2).mean_field)


@pytest.mark.parametrize("functional", ["pbe0", "pbe", "tpssh", "camb3lyp"])
def test_a_full_disk_is_refused_where_the_functional_needs_one(disk, functional):
    level = replace(LEVEL, functional=functional)
    disk(0.0)
    if functional == "pbe":
        electronic.require_hessian_room(H2CO, level, STATES[1], 8000)
        return
    with pytest.raises(CannotWrite, match=r"puts (\d+) MB of integrals into .*: make room, name another") as refused:
        electronic.require_hessian_room(H2CO, level, STATES[1], 8000)
    needed = int(re.findall(r"puts (\d+) MB", str(refused.value))[0])
    assert (needed > 5) == (functional != "pbe0")  # PySCF's arrays; here only the occupied orbitals'
    disk(needed + 1)
    electronic.require_hessian_room(H2CO, level, STATES[1], 8000)


@pytest.mark.parametrize(
    ("method", "place", "said"),
    [("analytic", "cpu", True), ("analytic", "gpu", False), ("finite differences", "cpu", False)],
)
def test_the_optimisation_says_it_first(small_settings, disk, capsys, monkeypatch, tmp_path, method, place, said):
    content = deepcopy(small_settings.config)
    content["hessian"]["method"] = method
    monkeypatch.setattr(stages.device, "chosen", lambda name: place)
    disk(0.0)

    def relax(*args):
        raise Stopped("the optimisation begins")

    monkeypatch.setattr(stages.relaxation, "relax", relax)
    with pytest.raises(Stopped):
        start = stages.Start(H2CO, STATES[1], {})
        stages.optimise_from(replace(small_settings, config=content), "h2co", start, tmp_path, tmp_path)
    assert ("after this, the analytic Hessian puts" in capsys.readouterr().out) == said


def test_displacements_that_cannot_be_planned_are_told_first(small_settings, capsys, monkeypatch, tmp_path):
    content = deepcopy(small_settings.config)
    content["hessian"]["method"] = "finite differences"
    monkeypatch.setattr(stages.relaxation, "relax", lambda *args: (_ for _ in ()).throw(Stopped("begun")))
    monkeypatch.setitem(sys.modules, "phonopy", None)
    with pytest.raises(Stopped):
        start = stages.Start(H2CO, STATES[1], {})
        stages.optimise_from(replace(small_settings, config=content), "h2co", start, tmp_path, tmp_path)
    assert "after this, finite differences need phonopy" in capsys.readouterr().out


def test_orbitals_that_the_scf_cached_make_room_for_the_integrals():
    found = electronic.solve(H2CO, replace(LEVEL, basis="sto-3g", grid_level=0), STATES[1])
    assert found.mean_field._numint._blocks
    electronic.hessian_columns(found, [0], 0, lambda text: None)
    assert not found.mean_field._numint._blocks
