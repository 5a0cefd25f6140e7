"""A quick look at one irrep, and what vibrations.json says."""

from dataclasses import replace

import numpy as np
import pytest

from sample_molecules import springs
from spincross import files, hessian_stages, mode_entropy, vibration_stages, vibrations
from spincross.units import AMU_TO_ELECTRON_MASS, HARTREE_TO_PER_CM


def test_a_probe_writes_what_it_found_and_what_it_cost(small_settings, optimised, tmp_path):
    vibration_stages.probe_instability(
        small_settings, "h2co", "LS", "B", optimised, tmp_path / "out", tmp_path / "work"
    )
    found = files.read_json(tmp_path / "out/probe_B.json")
    assert found["verdict"] == "stable"
    assert found["noise_floor_per_cm"] > 0
    assert found["gradients"] <= 6 < found["gradients_of_full_hessian"] == 14


@pytest.mark.parametrize(
    ("verdict", "imaginary", "undetermined", "words"),
    [
        ("imaginary", [0], [], "say it is imaginary"),
        ("real", [], [0], "say it is real, its wavenumber is uncertain"),
        ("undetermined", [], [0], "do not decide either"),
    ],
)
def test_the_verdict_on_a_mode_inside_the_floor_reaches_vibrations_json(
    small_settings, optimised, tmp_path, verdict, imaginary, undetermined, words
):
    source, molecule = hessian_stages.optimised_molecule(small_settings, "h2co", optimised)
    held = springs(molecule) + 1e-4 * np.eye(12)  # breaks the sum rule: a noise floor of some 30 cm-1
    lowest = vibrations.normal_modes(molecule, held)
    weighted = lowest.modes[:, 0] * np.sqrt(np.repeat(molecule.masses, 3) * AMU_TO_ELECTRON_MASS)
    softer = (lowest.wavenumbers[0] ** 2 - 5.0**2) / HARTREE_TO_PER_CM**2
    hessian = held - softer * np.outer(weighted, weighted)
    files.write_arrays(tmp_path / "hessian.npz", hessian=hessian, positions=molecule.positions)
    row = {"mode_index": 0, "wavenumber_per_cm": 0.0, "second_step_wavenumber_per_cm": 8.0, "verdict": verdict}
    row |= {"scan_wavenumber_per_cm": 8.0, "scan_q_amu_half_angstrom": [], "scan_energy_hartree": []}
    row |= {"scan_harmonic_hartree": 0.0, "scan_grid_level": 2}
    facts = {"provenance": hessian_stages.hessian_provenance(optimised, source), "settled_modes": [row]}
    method = {"method": "analytic", "step": 5e-3, "displacement_grid_level": 1, "response_grid_level": 1}
    facts |= {"method": method, "sum_rule_hartree_per_bohr2": 1e-4}
    files.write_json(tmp_path / "hessian.json", facts)
    entry = small_settings.entry("h2co") | {"metal": "O"}  # stands for one: the core is O and its neighbour C
    settings = replace(small_settings, complexes={"h2co": entry})
    vibration_stages.analyse_vibrations(settings, "h2co", "LS", optimised, tmp_path)
    found = files.read_json(tmp_path / "vibrations.json")
    assert abs(found["wavenumbers_per_cm"][0]) < found["noise_floor_per_cm"] < found["wavenumbers_per_cm"][1]
    assert (found["imaginary_modes"], found["undetermined_modes"]) == (imaginary, undetermined)
    assert [words in warning for warning in found["warnings"]] == [True]
    assert found["settled_modes"][0]["verdict"] == verdict
    assert [sum(column) for column in zip(*found["fragment_fractions"].values(), strict=True)] == pytest.approx([1] * 6)
    assert len(found["reduced_masses_amu"]) == 6
    hydrogen = (files.read_arrays(tmp_path / "modes.npz")["modes"][6:] ** 2).sum(axis=0)
    assert found["fragment_fractions"]["core"] == pytest.approx(1.0 - hydrogen)
    assert found["wavenumbers_per_cm"][0] == pytest.approx(5.0, abs=1e-3)
    real = found["wavenumbers_per_cm"][len(imaginary) :]
    assert found["zero_point_energy_kJ_per_mol"] == pytest.approx(mode_entropy.zero_point_energy(real))
