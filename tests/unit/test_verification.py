"""Records are recomputed: energies, gradients, and Hessians against displaced gradients."""

from pathlib import Path
from types import SimpleNamespace

import jsonschema
import numpy as np
import pytest

from sample_molecules import PEROXIDE, springs
from sample_provenance import fulfils
from spincross import config, files, schemas, verification
from spincross.errors import Unreproduced
from spincross.molecule import Molecule

ROOT = Path(__file__).resolve().parents[2]
DEFAULT = config.read_yaml(ROOT / "workflow/config/config.yaml")
ROW = {"complex": "h2co", "state": "LS", "point_group": "C2", "same": True, "text": "one sentence"}
POINT = ROW | {"energy_difference_hartree": 1e-9, "gradient_difference_hartree_per_bohr": -1e-8}
HESSIAN = ROW | {"hessian_difference_hartree_per_bohr2": 1e-6}
LOOSE = PEROXIDE.at(PEROXIDE.positions, "C1")


@pytest.mark.parametrize(("molecule", "count"), [(PEROXIDE, 1), (LOOSE, 2)])
def test_a_harmonic_surface_gives_back_its_hessian_with_one_gradient_in_a_group(molecule, count):
    hessian, calls = springs(molecule), []

    def gradient(positions):
        calls.append(positions)
        return (hessian @ (positions - molecule.positions).reshape(-1)).reshape(-1, 3)

    for v in verification.directions(molecule, 3):
        calls.clear()
        np.testing.assert_allclose(
            verification.central_difference(molecule, v, 5e-3, gradient), hessian @ v, atol=1e-10
        )
        assert len(calls) == count


@pytest.mark.parametrize("molecule", [PEROXIDE, LOOSE, Molecule(("H",), np.zeros((1, 3)))])
def test_directions_are_three_different_unit_vectors(molecule):
    found = verification.directions(molecule, 3)
    overlaps = np.array(found) @ np.array(found).T
    np.testing.assert_allclose(np.diag(overlaps), 1)
    assert len(found) == 3
    assert np.abs(overlaps - np.eye(3)).max() < 0.99


def test_shipped_records_of_formaldehydes_ground_state_are_reproduced():
    settings = config.load(DEFAULT, ROOT / "structures")
    point = verification.verify_point(settings, "h2co", "LS", "C2")
    assert point["same"], point["text"]
    hessian = verification.verify_hessian(settings, "h2co", "LS", "C2")
    assert hessian["same"], hessian["text"]


def test_gradients_are_compared_element_by_element_where_the_record_has_them():
    old, new = np.array([[0.0, 0.0, 3e-5], [0.0, 0.0, -3e-5]]), np.array([[3e-5, 0.0, 0.0], [-3e-5, 0.0, 0.0]])
    record = {"gradient_max_hartree_per_bohr": 3e-5}
    assert verification._gradient_difference(record, new) == 0.0
    full = record | {"gradient_hartree_per_bohr": old.tolist()}
    assert verification._gradient_difference(full, new) == pytest.approx(3e-5)
    assert verification._gradient_difference(full, old) == 0.0


def test_a_record_that_is_not_reproduced_is_an_error_after_the_report_is_written(monkeypatch, tmp_path):
    settings = config.load(DEFAULT | {"complexes": ["h2co"]}, ROOT / "structures")
    bad = HESSIAN | {"same": False, "text": "Hessian differs by 2.0e-03 Eh/bohr2"}
    monkeypatch.setattr(verification, "verify_point", lambda *arguments: POINT)
    monkeypatch.setattr(verification, "verify_hessian", lambda *arguments: bad)
    with pytest.raises(Unreproduced, match=r"h2co LS C2: Hessian differs by 2\.0e-03"):
        verification.verify_reference(settings, tmp_path / "verify.json")
    kept = [ROOT.glob(f"structures/reference/*/*/*/*/{stage}/record.json") for stage in ("optimise", "vibrations")]
    written = files.read_json(tmp_path / "verify.json")
    schemas.validator("verify_reference").validate(written)
    assert len(written["records"]) == sum(len(list(found)) for found in kept)
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

    def note(settings, complex_id, state, group):
        done.append(state)
        return POINT

    monkeypatch.setattr(verification, "verify_point", note)
    monkeypatch.setattr(verification, "verify_hessian", note)
    monkeypatch.setattr(verification, "_recorded", lambda *arguments: SimpleNamespace(symbols=("C",) * 79))
    verification.verify_reference(settings, tmp_path / "verify.json")
    assert len(done) >= 2 and set(done) == {"LS"}
