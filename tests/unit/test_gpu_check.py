"""The check of a GPU: what agrees passes, what does not is an error with the numbers."""

import sys
from dataclasses import replace

import pytest

import sample_gpu
from sample_h2co import HYDROGEN
from spincross import __main__, device, electronic, gpu_check
from spincross.errors import DeviceDiffers
from spincross.levels import State

LEVEL = replace(gpu_check.LEVEL, basis="sto-3g", grid_level=5)
SINGLET = State("singlet", 1)
IN_GROUP = HYDROGEN.at(HYDROGEN.positions, "C2")
PLAIN = HYDROGEN.at(HYDROGEN.positions, "C1")
pytestmark = pytest.mark.usefixtures("device_chosen_anew")


@pytest.fixture
def command(monkeypatch):
    """The command with hydrogen in place of water, on the stand-in."""
    sample_gpu.installed(monkeypatch, [])
    monkeypatch.setattr(gpu_check, "CASES", {"H2, RKS": (IN_GROUP, SINGLET)})
    monkeypatch.setattr(gpu_check, "LEVEL", LEVEL)


def test_the_cases_are_a_closed_and_an_open_shell():
    found = [(molecule.electrons, state.multiplicity) for molecule, state in gpu_check.CASES.values()]
    assert found == [(10, 1), (9, 2)]


def test_numbers_that_agree_pass_and_are_told_with_gpu_and_libraries(command, capsys):
    __main__.main(["check-gpu"])
    first, *lines = [line for line in capsys.readouterr().out.splitlines() if not line.startswith("  g")]
    assert first == "Stand-in 1, 139.8 GiB, gpu4pyscf 1.9.0, cupy 14.0.1, cutensor 2.5.1"
    names = ["energy", "stability", "gradient", "Hessian", "dipole derivative", "energy in its group"]
    assert [line.split(": ")[1].split(" differs")[0] for line in lines] == names
    assert all("(allowed 1e-0" in line and "GPU" in line and "WRONG" not in line for line in lines)


@pytest.mark.parametrize(("what", "moved"), [("energy", 2e-7), ("gradient", 2e-6), ("gradient", float("nan"))])
def test_a_number_that_differs_ends_the_command_with_it(command, monkeypatch, capsys, what, moved):
    solve, gradient = electronic.solve, electronic.gradient

    def shifted(*arguments):
        found = solve(*arguments)
        return replace(found, energy=found.energy + moved * (found.device == "gpu"))

    if what == "energy":
        monkeypatch.setattr(electronic, "solve", shifted)
    else:
        monkeypatch.setattr(electronic, "gradient", lambda s: gradient(s) + moved * (s.device == "gpu"))
    with pytest.raises(SystemExit) as ended:
        __main__.main(["check-gpu"])
    assert ended.value.code.startswith("DeviceDiffers: GPU and CPU of this host do not give the same: H2, RKS: ")
    assert f"{what} differs by {moved:.1e}" in ended.value.code
    assert "WRONG" in capsys.readouterr().out


def test_a_hessian_without_the_response_of_the_grid_is_found(monkeypatch):
    """The stand-in's own has none: on a coarse grid that shows."""
    sample_gpu.installed(monkeypatch, [])
    *others, hessian, _ = gpu_check.checks(PLAIN, SINGLET, replace(LEVEL, grid_level=0))
    assert all(check.passed for check in others)
    assert not hessian.passed
    assert hessian.difference > 1e-3


def test_a_gpu_that_hands_its_work_to_the_cpu_is_no_gpu_checked(command, monkeypatch):
    monkeypatch.setattr(device, "with_fallback", lambda requested, work: work(device.CPU))
    with pytest.raises(DeviceDiffers, match="the SCF ended on the CPU"):
        gpu_check.main([])


def test_without_a_gpu_it_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(SystemExit, match="BadInput: device: gpu, but there is no CUDA GPU that CuPy can use"):
        __main__.main(["check-gpu"])
