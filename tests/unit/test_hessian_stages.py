"""A Hessian in bundles, of formaldehyde in a small basis: planned, computed, gathered, and what is refused."""

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest

import sample_gpu
from spincross import (
    checkpoints,
    electronic,
    files,
    force_constants,
    hessian_stages,
    soft_modes,
    vibration_stages,
    vibrations,
)
from spincross.errors import StaleData, WrongState
from spincross.molecule import Molecule
from spincross.units import AMU_TO_ELECTRON_MASS, HARTREE_TO_PER_CM


def test_bundles_in_any_order_gather_to_the_hessian_of_one_process(small_settings, optimised, tmp_path):
    whole, parts = tmp_path / "whole/C2/vibrations", tmp_path / "parts/C2/vibrations"
    hessian_stages.compute_hessian(small_settings, "h2co", "LS", optimised, whole, tmp_path / "work")
    hessian_stages.plan_displacements(small_settings, "h2co", "LS", optimised, parts)
    plan = files.read_json(parts / "plan.json")
    assert plan["seconds_per_gradient"] == 25.0
    assert [last - first for first, last in plan["bundles"]] == [3, 3, 3, 3, 3]
    outputs = [parts / f"displacements/{k}.npz" for k in range(len(plan["bundles"]))]
    for k in reversed(range(len(outputs))):
        hessian_stages.compute_bundle(
            small_settings, "h2co", "LS", optimised, parts / "plan.json", k, outputs[k], tmp_path / "other work"
        )
    hessian_stages.gather_hessian(small_settings, "h2co", "LS", optimised, outputs, parts, tmp_path / "other work")
    found = [files.read_arrays(folder / "hessian.npz") for folder in (whole, parts)]
    np.testing.assert_allclose(found[0]["hessian"], found[1]["hessian"], atol=1e-6)
    np.testing.assert_allclose(found[0]["dipole_derivatives"], found[1]["dipole_derivatives"], atol=1e-4)
    facts = files.read_json(parts / "hessian.json")
    assert facts["displacements"] == plan["displacements"]
    assert facts["surface_residual_hartree"] < 1e-6

    assert np.abs(files.read_arrays(outputs[0])["s_squared"]).max() < 1e-9
    facts["provenance"]["versions"]["pyscf"] = "2.13.0"  # the Hessian of an older version, analysed today
    files.write_json(parts / "hessian.json", facts)
    with pytest.raises(StaleData, match="is not complete"):
        hessian_stages.gather_hessian(small_settings, "h2co", "LS", optimised, outputs[:-1], parts, tmp_path)
    vibration_stages.analyse_vibrations(small_settings, "h2co", "LS", optimised, parts)
    described = files.read_json(parts / "vibrations.json")
    assert sum(described["modes_per_irrep"].values()) == len(described["infrared_intensities_km_per_mol"]) == 6
    assert described["dipole_sum_rule_e"] < 1e-3
    assert described["hessian_versions"]["pyscf"] == "2.13.0" != described["provenance"]["versions"]["pyscf"]


def wavenumber_along(molecule, mode, surface):
    """Return the wavenumber (cm-1) of a mode from two gradients a small step apart."""
    direction = (mode / np.sqrt(np.repeat(molecule.masses, 3) * AMU_TO_ELECTRON_MASS)).reshape(-1, 3)
    step = 5e-3 / np.abs(direction).max()
    sides = [surface.point(molecule.at(molecule.positions + s * step * direction, "C1")).gradient for s in (1, -1)]
    return vibrations.wavenumbers(np.array([np.sum(direction * (sides[0] - sides[1])) / (2 * step)]))[0]


def test_a_mode_that_the_hessian_puts_inside_the_floor_is_settled_by_larger_steps(small_settings, optimised, tmp_path):
    folder = tmp_path / "LS/C2/vibrations"
    hessian_stages.compute_hessian(small_settings, "h2co", "LS", optimised, folder, tmp_path / "work")
    stored = files.read_arrays(folder / "hessian.npz")
    symbols, positions, _ = files.read_xyz(optimised / "geometry.xyz")
    molecule = Molecule(symbols, positions, 0, "C2").symmetrised()
    found = vibrations.normal_modes(molecule, stored["hessian"])
    lowest = found.modes[:, 0] * np.sqrt(np.repeat(molecule.masses, 3) * AMU_TO_ELECTRON_MASS)
    wrong = stored["hessian"] - (found.wavenumbers[0] / HARTREE_TO_PER_CM) ** 2 * np.outer(lowest, lowest)
    guess = checkpoints.load_orbitals(optimised / "orbitals.npz")
    surface = small_settings.hessian.surface(small_settings.level, small_settings.state("h2co", "LS"), guess)
    rows = hessian_stages.settled_modes(molecule, wrong, surface, tmp_path / "work")
    assert [row["verdict"] for row in rows] == ["real"]
    assert abs(rows[0]["wavenumber_per_cm"]) < 20
    expected = wavenumber_along(molecule, found.modes[:, 0], soft_modes.finer(surface))
    assert rows[0]["second_step_wavenumber_per_cm"] == pytest.approx(expected, rel=0.01)
    assert rows[0]["scan_wavenumber_per_cm"] == pytest.approx(expected, rel=0.01)
    coarse = files.read_json(optimised / "optimise.json")["energy_hartree"]
    fine = electronic.solve(molecule, replace(small_settings.level, grid_level=2), surface.state, guess).energy
    assert rows[0]["scan_grid_level"] == small_settings.level.grid_level + 2
    assert rows[0]["scan_energy_hartree"][3] == pytest.approx(fine, abs=1e-8)
    assert abs(fine - coarse) > 1e-5


@pytest.mark.parametrize(("name", "grid", "moves"), [("cpu", 0, False), ("gpu", 1, True)])
def test_an_analytic_hessian_says_its_grid_and_on_a_gpu_takes_that_of_displaced_gradients(
    small_settings, optimised, tmp_path, monkeypatch, name, grid, moves
):
    if name == "gpu":
        sample_gpu.installed(monkeypatch, [])
    content = deepcopy(small_settings.config)
    content["hessian"]["method"] = "analytic"
    content["levels"][content["level"]]["device"] = name
    settings = replace(small_settings, config=content)
    folder = tmp_path / "LS/C2/vibrations"
    hessian_stages.compute_hessian(settings, "h2co", "LS", optimised, folder, tmp_path / "work")
    facts = files.read_json(folder / "hessian.json")
    assert (facts["grid_level"], facts["grid_response"]) == (grid, moves)
    assert (facts["provenance"]["device"], facts["provenance"].get("gpu")) == (name, "Stand-in 1" if moves else None)
    assert ("cutensor" in facts["provenance"]["versions"]) == moves
    vibration_stages.analyse_vibrations(settings, "h2co", "LS", optimised, folder)
    found = files.read_json(folder / "vibrations.json")["hessian_settings"]
    assert (found["grid_level"], found["grid_response"]) == (grid, moves)


@pytest.mark.parametrize(("method", "grid"), [("analytic", 0), ("finite differences", 2)])
def test_each_hessian_says_the_grids_and_the_step_it_was_made_with(small_settings, optimised, tmp_path, method, grid):
    """No setting of a Hessian stands for another."""
    content = deepcopy(small_settings.config)
    content["hessian"] |= {"method": method, "displacement_grid_level": 2, "response_grid_level": 1, "step": 0.007}
    settings, folder = replace(small_settings, config=content), tmp_path / "LS/C2/vibrations"
    hessian_stages.compute_hessian(settings, "h2co", "LS", optimised, folder, tmp_path / "work")
    vibration_stages.analyse_vibrations(settings, "h2co", "LS", optimised, folder)
    assert files.read_json(folder / "vibrations.json")["hessian_settings"] == {
        "grid_level": grid, "grid_response": method != "analytic", "response_grid_level": 1, "step_bohr": 0.007,
    }  # fmt: skip


def test_a_resumed_hessian_counts_what_earlier_starts_spent(small_settings, optimised, tmp_path, monkeypatch):
    content = deepcopy(small_settings.config)
    content["hessian"]["method"] = "analytic"
    whole = force_constants.analytic

    def resumed(*arguments, **options):
        return replace(whole(*arguments, **options), seconds_before=1000.0)

    monkeypatch.setattr(force_constants, "analytic", resumed)
    folder = tmp_path / "LS/C2/vibrations"
    settings = replace(small_settings, config=content)
    hessian_stages.compute_hessian(settings, "h2co", "LS", optimised, folder, tmp_path / "work")
    assert 1000.0 < files.read_json(folder / "hessian.json")["provenance"]["wall_seconds"] < 2000.0


@pytest.mark.parametrize(("key", "change"), [("energy_hartree", 2e-5), ("s_squared", 0.02)])
@pytest.mark.parametrize(("method", "grid"), [("analytic", 0), ("finite differences", 0), ("finite differences", 1)])
def test_a_hessian_of_another_state_than_that_optimised_is_refused(
    small_settings, optimised, tmp_path, method, grid, key, change
):
    """Energies of a coarse grid are compared with none of another grid, <S^2> always."""
    config = deepcopy(small_settings.config)
    config["hessian"] |= {"method": method, "displacement_grid_level": grid}
    settings = replace(small_settings, config=config)
    source = files.read_json(optimised / "optimise.json")
    files.write_json(tmp_path / "optimise/optimise.json", source | {key: source[key] + change})
    for name in ("geometry.xyz", "orbitals.npz"):
        (tmp_path / "optimise" / name).write_bytes((optimised / name).read_bytes())
    folder = tmp_path / "LS/C2/vibrations"

    def compute():
        hessian_stages.compute_hessian(settings, "h2co", "LS", tmp_path / "optimise", folder, tmp_path / "work")

    if grid == 1 and key == "energy_hartree":
        compute()
        assert (folder / "hessian.json").exists()
        return
    with pytest.raises(WrongState, match="another electronic state"):
        compute()
    assert not (folder / "hessian.json").exists()


@pytest.mark.parametrize(
    ("grid", "energy", "s_squared", "same"),
    [(3, 9e-6, 0.0, True), (3, 1.1e-5, 0.0, False), (4, 2.9e-3, 0.0, True), (4, -3.1e-3, 0.0, False),
     (2, 0.5, 0.0, True), (4, 0.0, 0.011, False)],
)  # fmt: skip
def test_states_are_told_apart_by_energy_and_spin(grid, energy, s_squared, same):
    source = {"energy_hartree": -100.0, "s_squared": 6.0, "provenance": {"state": "HS", "level": {"grid_level": 3}}}
    if same:
        hessian_stages.require_same_state(source, grid, -100.0 + energy, 6.0 + s_squared)
        return
    with pytest.raises(WrongState, match="the optimisation of HS at -100.000000 Eh"):
        hessian_stages.require_same_state(source, grid, -100.0 + energy, 6.0 + s_squared)
