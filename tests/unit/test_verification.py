"""Records are recomputed: energies, gradients, and modes of Hessians against displaced gradients."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import jsonschema
import numpy as np
import pytest

from sample_molecules import H2CO, PEROXIDE, Harmonic, springs
from sample_provenance import fulfils
from spincross import (
    config,
    displacements,
    files,
    force_constants,
    pointgroup,
    reference,
    schemas,
    soft_modes,
    verification,
    vibrations,
)
from spincross.errors import BadInput, Unreproduced

ROOT = Path(__file__).resolve().parents[2]
DEFAULT = config.read_yaml(ROOT / "workflow/config/config.yaml")
ROW = {"complex": "h2co", "state": "LS", "point_group": "C2", "same": True, "text": "one sentence"}
POINT = ROW | {"energy_difference_hartree": 1e-9, "gradient_difference_hartree_per_bohr": -1e-8}
HESSIAN = ROW | {
    "wavenumbers_per_cm": [500.0],
    "recomputed_wavenumbers_per_cm": [500.4],
    "allowed_differences_per_cm": [2.0],
    "steps_bohr": [5e-3],
}
LOOSE = PEROXIDE.at(PEROXIDE.positions, "C1")


@pytest.mark.parametrize(("molecule", "per_mode"), [(PEROXIDE, 1), (LOOSE, 2)])
def test_a_harmonic_surface_gives_back_the_wavenumbers_of_its_hessian(molecule, per_mode, tmp_path):
    surface = Harmonic(molecule, springs(molecule))
    exact = vibrations.normal_modes(molecule, surface.hessian)
    modes = verification.tested_modes(exact, pointgroup.irreps(molecule.point_group)[-1])
    for _ in range(2):  # the second time from what is kept
        found = verification.along_modes(molecule, exact, modes, surface, tmp_path, 5e-3)
        np.testing.assert_allclose(found, exact.wavenumbers[modes], atol=1e-4)
        assert surface.calls == 1 + per_mode * len(modes)


class Sloping(Harmonic):
    """A harmonic surface with a slope, the same everywhere, that breaks the group: noise of an SCF without it."""

    def point(self, molecule):
        """Return the point, its gradient and energy shifted."""
        found, slope = super().point(molecule), np.zeros((4, 3))
        slope[0], slope[1] = [0.0, 1e-4, 0.0], [0.0, 1e-4, 0.0]  # irrep B under the axis along z
        energy = found.energy + float((slope * (molecule.positions - self.molecule.positions)).sum())
        return replace(found, gradient=found.gradient + slope, energy=energy)


def test_a_slope_that_breaks_the_group_is_no_curvature(tmp_path):
    """Displacements on one side would take it for one: along modes, in whole Hessians and of modes in the noise."""
    surface = Sloping(PEROXIDE, springs(PEROXIDE))
    exact = vibrations.normal_modes(PEROXIDE, surface.hessian)
    modes = verification.tested_modes(exact, "B")
    found = verification.along_modes(PEROXIDE, exact, modes, surface, tmp_path, 5e-3)
    np.testing.assert_allclose(found, exact.wavenumbers[modes], atol=1e-3)
    on_axis = Sloping(H2CO, springs(H2CO))  # two of its atoms are their own images
    *moved, still = displacements.planned_geometries(H2CO, 5e-3)
    points, centre = [on_axis.point(m) for m in moved], on_axis.point(still)
    whole = force_constants.from_points(H2CO, points, 5e-3, centre).hessian
    assert np.abs(whole - on_axis.hessian).max() < 1e-7
    assert np.abs(force_constants.from_points(H2CO, points, 5e-3).hessian - on_axis.hessian).max() > 1e-3
    mode = exact.modes[:, modes[0]]
    settled = soft_modes.settle(PEROXIDE, mode, modes[0], lambda molecule, name: surface.point(molecule))
    assert (settled.second_step, settled.scan) == pytest.approx([exact.wavenumbers[modes[0]]] * 2, rel=1e-4)


def test_a_verification_of_nothing_is_an_error(monkeypatch, tmp_path):
    settings = config.load(DEFAULT, ROOT / "structures")
    monkeypatch.setattr(reference, "available", lambda whole: [])
    with pytest.raises(BadInput, match=r"no reference record of level 'pbe0_def2-svp' fits .*: nothing was verified"):
        verification.verify_reference(settings, tmp_path / "verify.json", tmp_path / "work")
    assert not (tmp_path / "verify.json").exists()


def test_modes_of_one_irrep_outside_the_floor_are_tested_from_the_lowest_to_the_highest():
    waves, irreps = np.array([-300.0, -2, 5, 40, 90, 200, 800]), ("B", "B", "A", "B", "A", "B", "B")
    found = vibrations.Vibrations(waves, irreps, np.eye(9)[:, :7], 0, 0, noise_floor=3.0)
    assert verification.tested_modes(found, "B") == [0, 5, 6]
    assert verification.tested_modes(found, "A") == [2, 4]


def test_shipped_records_of_formaldehydes_ground_state_are_reproduced(tmp_path):
    settings = config.load(DEFAULT, ROOT / "structures")
    point = verification.verify_point(settings, "h2co", "LS", "C2", tmp_path)
    assert point["same"], point["text"]
    hessian = verification.verify_hessian(settings, "h2co", "LS", "C2", tmp_path)
    assert hessian["same"], hessian["text"]
    assert len(hessian["wavenumbers_per_cm"]) == 3


@pytest.mark.parametrize(
    ("energy", "slope", "same"),
    [(5e-7, 5e-6, True), (2e-6, 0.0, False), (-2e-6, 0.0, False), (0.0, 2e-5, False), (0.0, -2e-5, False)],
)
def test_an_energy_or_one_element_of_a_gradient_that_differs_is_not_the_same(
    monkeypatch, tmp_path, energy, slope, same
):
    settings = config.load(DEFAULT, ROOT / "structures")
    record = files.read_json(reference.folder(settings, "h2co", "LS", "C2", "optimise") / "optimise.json")
    gradient = np.array(record["gradient_hartree_per_bohr"])
    gradient[1, 2] += slope
    found = SimpleNamespace(energy=record["energy_hartree"] + energy, gradient=gradient)
    monkeypatch.setattr(verification.displacements, "kept_point", lambda *arguments: found)
    row = verification.verify_point(settings, "h2co", "LS", "C2", tmp_path)
    assert row["same"] is same
    assert row["energy_difference_hartree"] == pytest.approx(energy, abs=1e-9)
    assert row["gradient_difference_hartree_per_bohr"] == pytest.approx(abs(slope), abs=1e-12)


@pytest.mark.parametrize(
    ("shift", "after", "same", "steps"),
    [(1.5, 0, True, [5e-3] * 3), (2.5, 1.5, True, [5e-3, 5e-3, 5e-4]), (2.5, 2.5, False, [5e-3, 5e-3, 5e-4])],
)
def test_a_mode_that_misses_is_tested_again_with_a_smaller_step(monkeypatch, tmp_path, shift, after, same, steps):
    settings = config.load(DEFAULT, ROOT / "structures")

    def shifted(molecule, recorded, modes, surface, work, step):
        off = [0.0, 0.0, shift] if step == 5e-3 else [after]
        return recorded.wavenumbers[modes] - np.array(off)

    monkeypatch.setattr(verification, "along_modes", shifted)
    found = verification.verify_hessian(settings, "h2co", "LS", "C2", tmp_path)
    assert found["same"] is same
    np.testing.assert_allclose(found["steps_bohr"], steps)
    assert ("with 0.0005 bohr" in found["text"]) == (steps[2] < 5e-3)


def test_below_a_hundred_the_noise_floor_of_the_record_is_allowed(monkeypatch, tmp_path):
    settings = config.load(DEFAULT, ROOT / "structures")
    monkeypatch.setattr(
        verification, "along_modes", lambda molecule, recorded, modes, *rest: recorded.wavenumbers[modes]
    )
    found = verification.verify_hessian(settings, "fe-aai2-ncs2", "LS", "C2", tmp_path)
    place = reference.folder(settings, "fe-aai2-ncs2", "LS", "C2", "vibrations")
    exact = vibrations.normal_modes(
        verification._recorded(settings, "fe-aai2-ncs2", "LS", "C2"),
        files.read_arrays(place / "hessian.npz")["hessian"],
    )
    assert found["wavenumbers_per_cm"][0] < 100
    np.testing.assert_allclose(found["allowed_differences_per_cm"], [exact.noise_floor, 2, 2])


def test_gradients_are_compared_element_by_element_where_the_record_has_them():
    old, new = np.array([[0.0, 0.0, 3e-5], [0.0, 0.0, -3e-5]]), np.array([[3e-5, 0.0, 0.0], [-3e-5, 0.0, 0.0]])
    record = {"gradient_max_hartree_per_bohr": 3e-5}
    assert verification._gradient_difference(record, new) == 0.0
    full = record | {"gradient_hartree_per_bohr": old.tolist()}
    assert verification._gradient_difference(full, new) == pytest.approx(3e-5)
    assert verification._gradient_difference(full, old) == 0.0


def test_a_record_that_is_not_reproduced_is_an_error_after_the_report_is_written(monkeypatch, tmp_path):
    settings = config.load(DEFAULT | {"complexes": ["h2co"]}, ROOT / "structures")
    bad = HESSIAN | {"same": False, "text": "modes at 510.0 (500.0) cm-1"}
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.setattr(verification, "verify_point", lambda *arguments: POINT)
    monkeypatch.setattr(verification, "verify_hessian", lambda *arguments: bad)
    with pytest.raises(Unreproduced, match=r"h2co LS C2: modes at 510\.0 \(500\.0\)"):
        verification.verify_reference(settings, tmp_path / "verify.json", work)
    assert not work.exists()  # another run computes again
    kept = [ROOT.glob(f"structures/reference/*/*/*/*/{stage}/record.json") for stage in ("optimise", "vibrations")]
    written = files.read_json(tmp_path / "verify.json")
    schemas.validator("verify_reference").validate(written)
    large = list(ROOT.glob("structures/reference/fe-pm-pea2-ncs2/*/HS/*/*/record.json"))  # 79 atoms: LS only
    assert len(written["records"]) == sum(len(list(found)) for found in kept) - len(large) > 0
    name = "h2co/LS/C2/vibrations/hessian.npz"
    path = ROOT / "structures/reference/h2co/pbe0_def2-svp/LS/C2/vibrations/hessian.npz"
    assert written["provenance"]["inputs_sha256"][name] == files.sha256_of(path)
    assert written["provenance"]["level"]["name"] == "pbe0_def2-svp"


@pytest.mark.parametrize("wrong", [ROW, POINT | HESSIAN, {k: v for k, v in POINT.items() if "gradient" not in k}])
def test_a_row_tells_of_a_point_or_of_a_hessian(wrong):
    for row in (POINT, HESSIAN):
        fulfils({"records": [row]}, "verify_reference")
    with pytest.raises(jsonschema.ValidationError):
        fulfils({"records": [wrong]}, "verify_reference")


def test_of_large_molecules_only_low_spin_is_recomputed(monkeypatch, tmp_path):
    settings, done = config.load(DEFAULT | {"complexes": ["h2co"]}, ROOT / "structures"), []

    def note(settings, complex_id, state, group, work):
        done.append(state)
        return POINT

    monkeypatch.setattr(verification, "verify_point", note)
    monkeypatch.setattr(verification, "verify_hessian", note)
    monkeypatch.setattr(verification, "_recorded", lambda *arguments: SimpleNamespace(symbols=("C",) * 79))
    verification.verify_reference(settings, tmp_path / "verify.json", tmp_path / "work")
    assert len(done) >= 2 and set(done) == {"LS"}
