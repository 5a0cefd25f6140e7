"""A Hessian in bundles, from the recorded triplet of formaldehyde, with a small basis: planned, killed, gathered."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from spincross import config, electronic, files, optimise, vibration_stages
from spincross.errors import StaleData
from spincross.molecule import Molecule

ROOT = Path(__file__).resolve().parents[2]
CALIBRATION = {"grid_level_per_step": [0, 1, 1], "seconds_per_step": [1.0, 20.0, 30.0]}


@pytest.fixture(scope="module")
def settings():
    content = config.read_yaml(ROOT / "workflow/config/config.yaml") | {"complexes": ["h2co"]}
    content["levels"][content["level"]] |= {"basis": "sto-3g", "grid_level": 0}
    content["hessian"]["displacements_per_job"] = 3
    return config.load(content, ROOT / "structures")


@pytest.fixture(scope="module")
def optimised(settings, tmp_path_factory):
    """A geometry near the minimum of this level, with everything the stages read."""
    folder = tmp_path_factory.mktemp("results") / "LS/C2/optimise"
    places = np.array([[0, 0, 0], [0, 0, 2.30], [1.74, 0.3, -1.08], [-1.74, -0.3, -1.08]])
    molecule = Molecule(("C", "O", "H", "H"), places, 0, "C2")
    state = settings.state("h2co", "LS")
    solution = electronic.solve(molecule, settings.level, state)
    optimise.store_orbitals(folder / "orbitals.npz", solution.orbitals)
    files.write_xyz(folder / "geometry.xyz", molecule.symbols, [molecule.positions], [""])
    facts = {"level": asdict(settings.level), "state": "LS", "multiplicity": 1, "point_group": "C2", "converged": True}
    content = {"provenance": facts, **facts, "energy_hartree": solution.energy} | CALIBRATION
    files.write_json(folder / "optimise.json", content)
    return folder


def test_bundles_in_any_order_gather_to_the_hessian_of_one_process(settings, optimised, tmp_path):
    whole, parts = tmp_path / "whole/C2/vibrations", tmp_path / "parts/C2/vibrations"
    vibration_stages.compute_hessian(settings, "h2co", "LS", optimised, whole, tmp_path / "work")
    vibration_stages.plan_displacements(settings, "h2co", "LS", optimised, parts)
    plan = files.read_json(parts / "plan.json")
    assert plan["seconds_per_gradient"] == 25.0
    assert [last - first for first, last in plan["bundles"]] == [3, 3, 3, 3, 2]
    outputs = [parts / f"displacements/{k}.npz" for k in range(len(plan["bundles"]))]
    for k in reversed(range(len(outputs))):
        vibration_stages.compute_bundle(
            settings, "h2co", "LS", optimised, parts / "plan.json", k, outputs[k], tmp_path / "other work"
        )
    vibration_stages.gather_hessian(settings, "h2co", "LS", optimised, outputs, parts)
    found = [files.read_arrays(folder / "hessian.npz") for folder in (whole, parts)]
    np.testing.assert_allclose(found[0]["hessian"], found[1]["hessian"], atol=1e-6)
    np.testing.assert_allclose(found[0]["dipole_derivatives"], found[1]["dipole_derivatives"], atol=1e-4)
    facts = files.read_json(parts / "hessian.json")
    assert facts["displacements"] == plan["displacements"]
    assert facts["surface_residual_hartree"] < 1e-6

    with pytest.raises(StaleData, match="is not complete"):
        vibration_stages.gather_hessian(settings, "h2co", "LS", optimised, outputs[:-1], parts)
    vibration_stages.analyse_vibrations(settings, "h2co", "LS", optimised, parts)
    described = files.read_json(parts / "vibrations.json")
    assert sum(described["modes_per_irrep"].values()) == len(described["infrared_intensities_km_per_mol"]) == 6
    assert described["dipole_sum_rule_e"] < 1e-3
