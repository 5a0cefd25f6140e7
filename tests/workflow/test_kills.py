"""SIGKILL at random moments of SCF, gradient and optimiser update: nothing is lost but the gradient in work."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """Formaldehyde S0 and T1 at PBE0/def2-SVP on a small grid, killed 21 and 9 times."""
    folder = tmp_path_factory.mktemp("kills")
    content = yaml.safe_load((ROOT / "workflow/config/config.yaml").read_text())
    level = content["levels"]["pbe0_def2-svp"] | {"grid_level": 1, "device": "cpu"}
    content |= {"level": "small", "levels": {"small": level}, "reference": "ignore"}
    content["optimisation"] |= {"coarse_grid_level": 0}
    config = folder / "config.yaml"
    config.write_text(yaml.safe_dump(content))
    environment = os.environ | {"PYTHONPATH": str(ROOT / "workflow"), "OMP_NUM_THREADS": "1"}
    driver = [sys.executable, str(Path(__file__).with_name("kill_driver.py"))]
    command = [*driver, str(folder), str(config), str(ROOT / "structures")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(params=["LS", "HS"])
def found(both, request):
    return both[request.param]


def test_every_phase_was_hit_and_at_least_twenty_times_in_all(both):
    hits = [found["hits"] for found in both.values()]
    assert sum(sum(counts.values()) for counts in hits) >= 20
    assert min(sum(counts[phase] for counts in hits) for phase in hits[0]) >= 3


def test_no_kill_loses_more_than_the_gradient_in_work(found):
    assert found["shrunk"] == 0
    assert set(found["lost"]) <= {0, 1}
    assert found["duplicates"] == 0
    assert all(row["gradients"] <= found["reference"] + row["kills"] for row in found["begun"])
    assert any(row["kills"] > 0 for row in found["begun"])


def test_every_killed_run_ends_at_the_same_geometry_and_energy(found):
    places = np.array([[line.split()[1:] for line in frame] for frame in found["atoms"]], dtype=float)
    rmsd = np.sqrt(((places[1:] - places[0]) ** 2).sum(axis=2).mean(axis=1))
    assert len(rmsd) >= 1
    assert rmsd.max() < 1e-4
    assert np.abs(np.array(found["energies"]) - found["energies"][0]).max() < 1e-7
