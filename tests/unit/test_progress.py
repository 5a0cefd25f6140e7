"""`progress`: what is finished, recorded, begun or open, and its numbers."""

import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from spincross import __main__, checkpoints, config, files, progress

ROOT = Path(__file__).resolve().parents[2]
LEVEL = "pbe0_def2-svp"


def settings(complex_id, **changes):
    content = config.read_yaml(ROOT / "workflow/config/config.yaml") | {"complexes": [complex_id], **changes}
    return config.load(content, ROOT / "structures")


def table(found):
    return {row.stage: (row.status, row.text) for row in found}


def test_records_are_told_with_their_numbers(tmp_path):
    found = table(progress.rows(settings("h2co"), "h2co", tmp_path / "results", tmp_path / "work"))
    assert list(found) == [
        "optimise HS C2", "hessian HS C2", "optimise LS C2", "hessian LS C2", "symmetry-mode HS C2", "optimise HS C1",
        "hessian HS C1",
    ]  # fmt: skip
    assert {status for status, _ in found.values()} == {"recorded"}
    assert not list(tmp_path.iterdir())
    low, high = (
        files.read_json(ROOT / f"structures/reference/h2co/{LEVEL}/{state}/C2/optimise/optimise.json")["energy_hartree"]
        for state in ("LS", "HS")
    )
    assert found["optimise LS C2"][1] == f"E {low:.6f} Eh, <S2> 0.000"
    assert f"{(high - low) * 2625.4996:+.2f} kJ/mol from LS" in found["optimise HS C2"][1]
    assert found["hessian HS C2"][1].startswith("imaginary: 653i (B); lowest real mode ")
    assert found["hessian HS C1"][1].startswith("imaginary: none; ")
    assert found["symmetry-mode HS C2"][1] == "mode 1 leads to a well"
    record = ROOT / f"structures/reference/h2co/{LEVEL}/HS/C1"
    copy = tmp_path / f"results/h2co/{LEVEL}/HS/C1"
    shutil.copytree(record, copy)
    content = files.read_json(copy / "vibrations/hessian.json")
    content["settled_modes"] = [{"mode_index": 1, "verdict": "imaginary"}]
    files.write_json(copy / "vibrations/hessian.json", content)
    found = table(progress.rows(settings("h2co"), "h2co", tmp_path / "results", tmp_path / "work"))
    assert found["hessian HS C1"][0] == "finished" and "none" not in found["hessian HS C1"][1]


def test_without_records_everything_is_open(tmp_path):
    found = progress.rows(settings("h2co", reference="ignore"), "h2co", tmp_path, tmp_path)
    assert {(row.status, row.text) for row in found} == {("open", "")}


def test_what_was_begun_and_what_is_finished(tmp_path):
    results, work = tmp_path / "results", tmp_path / "work"
    record = ROOT / f"structures/reference/fe-aai2-ncs2/{LEVEL}/LS/C2/optimise"
    shutil.copytree(record, results / f"fe-aai2-ncs2/{LEVEL}/LS/C2/optimise")
    begun = work / f"fe-aai2-ncs2/{LEVEL}/HS/C2"
    (begun / "optimise/final").mkdir(parents=True)
    path = begun / "optimise/final/steps.jsonl"
    steps = checkpoints.StepFile(path, {"fingerprint": "x"})
    step = {"positions_bohr": [], "gradient_hartree_per_bohr": [], "grid_level": 3}
    steps.append(step | {"energy_hartree": -1.5, "gradient_rms_hartree_per_bohr": 2e-3})
    steps.append(step | {"energy_hartree": -2.5, "gradient_rms_hartree_per_bohr": 1e-4})
    with path.open("a") as handle:
        handle.write('{"energy_hartree": -9')  # a kill, or a step being written
    (begun / "hessian/analytic").mkdir(parents=True)
    for age, name in enumerate(("block", "response_0.a", "response_0.b", ".block", "moved_pairs_0")):
        part = begun / f"hessian/analytic/{name}.npz"
        files.write_arrays(part, a=np.zeros(1))
        os.utime(part, times=(time.time() - age,) * 2)
    for name in ("displaced_0", "displaced_1"):
        files.write_arrays(work / f"fe-aai2-ncs2/{LEVEL}/HS/C1/hessian/{name}/point.npz", a=np.zeros(1))
    (begun / "symmetry_mode").mkdir()
    (begun / "symmetry_mode/lock").touch()
    before = path.read_bytes()
    bare = settings("fe-aai2-ncs2", reference="ignore")
    found = table(progress.rows(bare, "fe-aai2-ncs2", results, work))
    assert found["optimise LS C2"][0] == "finished"
    assert found["optimise LS C2"][1].endswith("bonds 1.950 1.950 1.960 1.960 2.029 2.029 angstrom")
    assert found["optimise HS C2"] == (
        "begun",
        "2 gradients on grid 3, the last: E -2.500000 Eh, rms gradient 1.0e-04 Eh/bohr; last written 0 min ago",
    )
    assert found["hessian HS C2"] == (
        "begun",
        "finished: moved_pairs_0, block; 2 parts of response_0; last written 0 min ago",
    )
    assert found["symmetry-mode HS C2"] == ("open", "")
    assert found["hessian HS C1"] == ("begun", "finished: 2 points; last written 0 min ago")
    assert path.read_bytes() == before


def test_a_stable_parent_is_told(tmp_path):
    folder = tmp_path / f"h2co/{LEVEL}/HS/C2/symmetry_mode"
    for broken, mode, text in (
        (False, None, "no imaginary mode to follow: HS/C1 is the parent's minimum"),
        (False, 2, "mode 3 leads nowhere down"),
    ):
        files.write_json(folder / "scan.json", {"broken": broken, "mode_index": mode})
        found = table(progress.rows(settings("h2co"), "h2co", tmp_path, tmp_path / "work"))
        assert found["symmetry-mode HS C2"] == ("finished", text)


def test_the_command_prints_a_line_for_each_stage(tmp_path, capsys):
    words = ["--complex", "fe-phen2-ncs2", "--results", str(tmp_path), "--workdir", str(tmp_path / "work")]
    __main__.main(["progress", *words])
    head, *lines = capsys.readouterr().out.splitlines()
    assert head == f"fe-phen2-ncs2, {LEVEL}:"
    assert [line.split()[:4] for line in lines[:2]] == [
        ["optimise", "HS", "C2", "recorded"], ["hessian", "HS", "C2", "recorded"]
    ]  # fmt: skip
    with pytest.raises(SystemExit):
        __main__.main(["progress", *words, "--state", "LS"])
