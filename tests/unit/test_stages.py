"""Stages write what the next one reads, and a stable parent stands for HS."""

from pathlib import Path

import numpy as np
import pytest

from spincross import conclusions, config, files, hessian_stages, stages
from spincross.errors import BadInput, UnexpectedImaginaryMode

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def settings():
    content = config.read_yaml(ROOT / "workflow/config/config.yaml") | {"complexes": ["h2co"]}
    return config.load(content, ROOT / "structures")


def test_a_stable_parent_stands_for_hs_with_its_hessian(settings, tmp_path):
    parent, broken = tmp_path / "HS/C2", tmp_path / "HS/C1"
    files.write_json(parent / "symmetry_mode/scan.json", {"broken": False})
    for name in ("geometry.xyz", "trajectory.xyz", "orbitals.npz"):
        (parent / "optimise").mkdir(exist_ok=True)
        (parent / "optimise" / name).write_text(name)
    files.write_json(parent / "optimise/optimise.json", {"point_group": "C2"})
    files.write_json(parent / "vibrations/hessian.json", {"from": "parent"})
    (parent / "vibrations/hessian.npz").write_bytes(b"parent")
    stages.optimise_broken(settings, "h2co", parent, broken / "optimise", tmp_path / "work")
    hessian_stages.compute_hessian(
        settings, "h2co", "HS", broken / "optimise", broken / "vibrations", tmp_path / "work"
    )
    assert files.read_json(broken / "optimise/optimise.json") == {"point_group": "C2"}
    assert (broken / "vibrations/hessian.npz").read_bytes() == b"parent"
    assert not (tmp_path / "work").exists()


def test_a_result_that_breaks_its_schema_is_not_written(tmp_path):
    with pytest.raises(BadInput, match="allowed keys"):
        stages.write_checked(tmp_path / "scan.json", {"surprise": 1}, "scan")
    assert not (tmp_path / "scan.json").exists()


def test_no_entropy_is_computed_from_a_saddle(settings, tmp_path):
    content = {
        "irreps": ["B"],
        "translation_rule_hartree_per_bohr2": 0.0,
        "rotation_rule_hartree_per_bohr2": 0.0,
        "noise_floor_per_cm": 1.0,
    }
    files.write_json(tmp_path / "vibrations.json", content)
    files.write_arrays(tmp_path / "modes.npz", modes=np.ones((3, 1)), wavenumbers=np.array([-40.0]))
    path = tmp_path / "vibrations.json"
    with pytest.raises(UnexpectedImaginaryMode, match="LS has imaginary modes"):
        conclusions.compute_entropy(settings, "h2co", path, path, path, tmp_path / "out")


def test_tables_are_tab_separated_with_a_header(tmp_path):
    stages.write_table(tmp_path / "t.tsv", [{"a": 1, "b": 2}])
    assert (tmp_path / "t.tsv").read_text() == "a\tb\n1\t2\n"
