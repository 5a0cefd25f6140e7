"""Memory and time asked for, against what was measured."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from spincross import files, resources
from spincross.force_constants import Settings
from spincross.levels import Level
from spincross.soft_modes import finer_level

ROOT = Path(__file__).resolve().parents[2]
DEFAULT = ROOT / "structures/fe-pm-pea2-ncs2/low_spin.xyz"
PEAK = """
import sys
from sample_h2co import H2CO
from spincross import electronic
from spincross.levels import Level, State
level = Level(basis=sys.argv[1], scf_energy_tolerance=1e-6, scf_gradient_tolerance=1e-3, device="cpu")
electronic.gradient(electronic.solve(H2CO.at(H2CO.positions, "C1"), level, State("HS", 3)))
print(next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) / 1024)
"""
"""Prints the peak of the resident memory, MB; ru_maxrss would begin with that of the parent process."""


def test_the_79_atom_complex_has_879_functions_and_a_tensor_of_14_gb():
    need = resources.size_of(DEFAULT, Level())
    assert need.functions == 879
    assert need.auxiliary * 879 * 880 / 2 * 8e-9 == pytest.approx(14.3, abs=0.1)


def test_the_table_of_79_atoms_says_what_the_code_asks_for():
    need = resources.size_of(DEFAULT, Settings().displaced_level(Level()))
    text = (ROOT / "workflow/COSTS.md").read_text()
    fine = resources.size_of(DEFAULT, finer_level(Settings().displaced_level(Level())))
    few, more, most, all_of_it = (
        round(resources.memory_mb(need, limit) / 1000) for limit in (8000, 64000, 80000, 400000)
    )
    assert most == all_of_it
    assert f"| orbital and auxiliary functions | {need.functions} and {need.auxiliary} |" in text
    memory = f"| memory of a job with `memory_mb` 8000, 64000, and 80000 or more | {few} GB, {more} GB, {most} GB |"
    assert memory in text
    asked = [round(resources.hessian_memory_mb(fine, least) / 1000) for least in (8200, 16200)]
    assert f"| 8200 and 16200 | from the counts; its job asks for {asked[0]} and {asked[1]} GB with them |" in text
    packed = need.auxiliary * need.functions * (need.functions + 1) / 2 * 8e-6
    assert 7900 < packed / 2 / 0.9 + 100 < 8200  # some 200 MB of the process itself are on top
    assert 15900 < packed / 0.9 + 100 < 16200
    assert f"| one displaced gradient of HS on 8 cores | {resources.gradient_seconds(need, 8) / 60:.0f} min |" in text
    four_jobs = 238 / 4 * resources.gradient_seconds(need, 16) / 3600
    assert f"| the same, 64 cores in four jobs of 16 | {four_jobs:.0f} h |" in text
    assert (
        f"| optimisation, 100 gradients on 8 cores | {100 * resources.gradient_seconds(need, 8) / 3600:.0f} h |" in text
    )


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of a process is read from Linux's /proc")
@pytest.mark.parametrize("basis", ["def2-svp", "def2-tzvpp"])
def test_the_peak_holds_what_is_used_and_not_twice_as_much(basis):
    folders = os.pathsep.join([str(ROOT / "workflow"), str(ROOT / "tests/unit")])
    environment = os.environ | {"PYTHONPATH": folders, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", PEAK, basis], env=environment, capture_output=True, text=True, check=True
    )
    used = float(done.stdout)
    need = resources.size(("C", "O", "H", "H"), Level(basis=basis))
    assert used < resources.peak_mb(need, 8000) < 2 * used
    assert resources.memory_mb(need, 8000) == resources.SMALLEST_MB


def test_the_peak_holds_what_the_stand_in_took_and_not_twice_as_much():
    """Most memory resident, MB, two threads: optimised geometries (LS) on grid 3, displaced ones (LS, HS) on grid 4."""
    for grid, measured in ((3, 4550), (4, 6394), (4, 6741)):
        need = resources.size_of(ROOT / "structures/fe-aai2-ncs2/low_spin.xyz", Level(grid_level=grid))
        assert measured < resources.memory_mb(need, 8000) < 2 * measured


def test_integrals_of_the_response_are_unpacked_only_where_they_fit_into_what_is_left():
    need = resources.size_of(ROOT / "structures/fe-phen2-ncs2/low_spin.xyz", Level())
    unpacked = need.auxiliary * need.functions**2 * 4e-6
    assert resources.peak_mb(need, 10000) + unpacked < resources.peak_mb(need, 64000)
    for limit in (8000, 64000):
        assert resources.peak_mb(need, limit, in_group=True) < 0.55 * resources.peak_mb(need, limit)


def test_a_job_larger_than_the_machine_says_so_before_it_begins(monkeypatch, capsys):
    symbols, level = ("C", "O", "H", "H"), Level()
    resources.report_shortage(symbols, level, 8000, "C2")
    assert capsys.readouterr().out == ""
    monkeypatch.setattr(resources.machine, "memory_mb", lambda: 200.0)
    resources.report_shortage(symbols, level, 8000, "C2")
    assert "takes up to 0 GB, the machine has 0 GB: lower memory_mb (8000)" in capsys.readouterr().out


def test_integrals_that_go_through_the_disk_although_there_is_memory_are_told_how_much_they_need(monkeypatch, capsys):
    symbols, _, _ = files.read_xyz(DEFAULT)
    monkeypatch.setattr(resources.machine, "memory_mb", lambda: 24000.0)
    resources.report_shortage(symbols, Level(), 8000, "C2")
    said = capsys.readouterr().out
    assert "may not fit into memory_mb (8000)" in said
    enough = int(said.split("memory_mb=")[1])
    # The SCF of a later step found 2985 MB taken, and keeps integrals that fit into nine tenths of what is left.
    assert enough > 879 * 880 / 4 * 4636 * 8e-6 / 0.9 + 2985
    resources.report_shortage(symbols, Level(), enough, "C2")
    assert capsys.readouterr().out == ""
    monkeypatch.setattr(resources.machine, "memory_mb", lambda: 20500.0)
    resources.report_shortage(symbols, Level(), 8000, "C2")
    assert capsys.readouterr().out == ""


def test_memory_and_time_grow_with_the_complex():
    small = resources.size_of(ROOT / "structures/fe-aai2-ncs2/low_spin.xyz", Level())
    large = resources.size_of(DEFAULT, Level())
    assert resources.memory_mb(small, 64000) < resources.memory_mb(large, 64000)
    assert resources.memory_mb(large, 8000) < resources.memory_mb(large, 64000)
    potentials = 2 * 3 * 79 * 879**2 * 8e-6  # 2.9 GB, held twice while they are added up
    assert resources.hessian_memory_mb(large, 64000) > resources.memory_mb(large, 64000) + 2 * potentials
    assert resources.gradient_seconds(small, 2) == pytest.approx(245.0)
    assert resources.runtime_minutes(small, 8, 1) < resources.runtime_minutes(large, 8, 1)
    assert resources.runtime_minutes(large, 16, 4) < resources.runtime_minutes(large, 8, 4)
    assert resources.runtime_minutes(large, 8, 4, attempt=3) == 3 * resources.runtime_minutes(large, 8, 4)
    assert resources.runtime_minutes(large, 8, 100, attempt=3) == resources.LONGEST_MINUTES


def test_a_molecule_that_is_not_made_yet_is_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        resources.size_of(tmp_path / "geometry.xyz", Level())
