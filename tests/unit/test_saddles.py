"""Leaving a saddle that keeps its group: cis-planar hydrogen peroxide, whose torsion is totally symmetric in C2."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from spincross import __main__, config, electronic, files, saddles
from spincross.errors import BadInput, Stopped
from spincross.molecule import Molecule
from spincross.vibrations import Vibrations

ROOT = Path(__file__).resolve().parents[2]
CIS = """4
cis-planar hydrogen peroxide, C2 about z; the plane is a mirror, which C2 does not know
O  0.72 0.0 0.0
O -0.72 0.0 0.0
H  0.95 0.0 0.92
H -0.95 0.0 0.92
"""
LEVEL = "h2o2/small"


@pytest.fixture(scope="module")
def saddle(tmp_path_factory):
    """LS of planar H2O2 optimised in C2, with its Hessian and modes; words of the command line, and where it lies."""
    place = tmp_path_factory.mktemp("saddle")
    content = config.read_yaml(ROOT / "workflow/config/config.yaml")
    level = content["levels"]["pbe0_def2-svp"] | {"grid_level": 1, "device": "cpu"}
    content |= {"level": "small", "levels": {"small": level}, "reference": "use"}
    content["optimisation"] |= {"coarse_grid_level": 1, "convergence": "GAU"}
    content["hessian"] |= {"method": "analytic", "response_grid_level": 1}
    files.write_json(place / "config.json", content)
    (place / "structures/h2o2").mkdir(parents=True)
    (place / "structures/h2o2/cis.xyz").write_text(CIS)
    entry = config.read_yaml(ROOT / "structures/complexes.yaml")["h2co"] | {"low_spin_structure": "h2o2/cis.xyz"}
    (place / "structures/complexes.json").write_text(json.dumps({"h2o2": entry}))
    places = {"--config": "config.json", "--structures": "structures", "--results": "results", "--workdir": "work"}
    words = ["--complex", "h2o2", "--state", "LS"] + [w for k, v in places.items() for w in (k, str(place / v))]
    for stage in ("molecule", "optimise", "hessian", "vibrations"):
        __main__.main([stage, *words])
    return words, place


def torsion(path: Path) -> float:
    """Return |H-O-O-H|, degrees."""
    _, (o, p, h, i), _ = files.read_xyz(path)
    one, other = np.cross(h - o, p - o), np.cross(o - p, i - p)
    return math.degrees(math.acos(one @ other / np.linalg.norm(one) / np.linalg.norm(other)))


def test_the_torsion_opens_and_the_rest_of_the_chain_goes_on(saddle, monkeypatch, capsys):
    words, place = saddle
    here, work = place / "results" / LEVEL / "LS/C2", place / "work" / LEVEL / "LS/C2"
    before = files.read_json(here / "optimise/optimise.json")
    modes = files.read_json(here / "vibrations/vibrations.json")
    assert torsion(here / "optimise/geometry.xyz") == pytest.approx(0.0, abs=1e-3)
    assert [modes["irreps"][i] for i in modes["imaginary_modes"]] == ["A"]

    solve, calls = electronic.solve, []

    def stopped(*arguments):
        calls.append(arguments)
        if len(calls) == 5:
            raise Stopped("time is over")
        return solve(*arguments)

    with monkeypatch.context() as patched, pytest.raises(SystemExit):
        patched.setattr(electronic, "solve", stopped)
        __main__.main(["leave-saddle", *words])
    assert files.read_json(here / "optimise/optimise.json") == before  # until the new one is done
    capsys.readouterr()
    __main__.main(["leave-saddle", *words])
    printed = capsys.readouterr().out
    assert "forth: found" in printed and "back: found" in printed and "resuming" in printed
    after = files.read_json(here / "optimise/optimise.json")
    assert after["energy_hartree"] < before["energy_hartree"] - 5e-3
    assert torsion(here / "optimise/geometry.xyz") == pytest.approx(115.0, abs=10.0)
    assert any("came to rest on a saddle" in text and "irrep A" in text for text in after["warnings"])
    assert files.read_json(here / "saddle_1/optimise/optimise.json") == before
    assert (here / "saddle_1/vibrations/hessian.npz").exists() and not (here / "vibrations").exists()
    assert not (here / "leaving_saddle").exists() and not (work / "leaving_saddle").exists()
    for stage in ("hessian", "vibrations"):
        __main__.main([stage, *words])
    assert files.read_json(here / "vibrations/vibrations.json")["imaginary_modes"] == []
    with pytest.raises(SystemExit, match="has no imaginary mode that keeps C2"):
        __main__.main(["leave-saddle", *words])


def modes(wavenumbers: list[float], irreps: str) -> Vibrations:
    """Return made-up modes of four atoms."""
    vectors = np.eye(12)[:, : len(irreps)]
    return Vibrations(np.array(wavenumbers), tuple(irreps), vectors, 0.0, 0.0, 5.0)


def test_only_a_mode_that_keeps_the_group_is_left() -> None:
    assert saddles.keeping_mode(modes([-90.0, -20.0, 50.0], "BAB"), "C2", "LS") == 1
    assert saddles.keeping_mode(modes([-90.0, -20.0, 50.0], "AAA"), "C1", "HS") == 0
    with pytest.raises(BadInput, match=r"LS has no imaginary mode that keeps C2.* those at -90.0 \(B\) cm-1 break C2"):
        saddles.keeping_mode(modes([-90.0, 20.0, 50.0], "BAB"), "C2", "LS")
    with pytest.raises(BadInput, match="is no saddle within it$"):
        saddles.keeping_mode(modes([-4.0, 20.0, 50.0], "ABA"), "C2", "LS")


class Slope:
    """Energies that fall along x of the first atom, the one way or the other."""

    def __init__(self, sign: int) -> None:
        self.sign = sign

    def energy(self, moved: Molecule, name: str) -> float:
        """Return a made-up energy."""
        assert moved.point_group == "C1"
        return self.sign * float(moved.positions[0, 0])


@pytest.mark.parametrize(("sign", "expected"), [(1, "back"), (-1, "forth")])
def test_the_lower_side_is_taken(sign: int, expected: str) -> None:
    molecule = Molecule(("O", "O", "H", "H"), np.array([[0, 0, 0], [3, 0, 0], [0, 2, 0], [3, 2, 1.0]]), 0, "C1")
    energy, moved, name = saddles.lower_side(molecule, modes([-300.0], "A"), 0, Slope(sign))
    assert name == expected
    assert energy == sign * moved.positions[0, 0] < 0


def test_a_record_would_take_the_new_minimums_place(saddle, monkeypatch) -> None:
    words, place = saddle
    monkeypatch.setattr(saddles.reference, "usable", lambda *key: True)
    monkeypatch.setattr(saddles, "keeping_mode", lambda *found: 0)
    with pytest.raises(SystemExit, match="set reference: ignore first"):
        __main__.main(["leave-saddle", *words])


@pytest.mark.parametrize("moment", range(1, 8))
def test_a_kill_while_folders_move_loses_none(tmp_path, monkeypatch, small_settings, moment) -> None:
    """Wherever it comes, the same command ends with the new minimum, and the saddle's files lie aside."""
    here, work, runs = tmp_path / "results", tmp_path / "work", []
    for folder, names in ((here, ("optimise", "vibrations", "symmetry_mode")), (work, ("hessian", "optimise"))):
        for name in names:
            files.write_json(folder / name / "old.json", {})

    def optimised(settings, complex_id, state, start, folder, place):
        runs.append(folder)
        files.write_json(folder / "optimise.json", {})
        files.write_json(place / "steps.json", {})

    rename, moves = Path.rename, []

    def killed(path, target):
        moves.append(path)
        if len(moves) == moment:
            raise Stopped("killed")
        return rename(path, target)

    monkeypatch.setattr(saddles.stages, "optimise_from", optimised)
    monkeypatch.setattr(saddles, "_start", lambda *arguments: None)
    with monkeypatch.context() as patched, pytest.raises(Stopped):
        patched.setattr(Path, "rename", killed)
        saddles.leave(small_settings, "h2co", "LS", "C2", here, work)
    saddles.leave(small_settings, "h2co", "LS", "C2", here, work)
    assert (here / "optimise/optimise.json").exists() and len(runs) == 1
    assert sorted(p.name for p in here.iterdir() if "saddle" not in p.name) == ["optimise"]
    old = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("saddle_*/**/*.json")}
    names = {Path(p).parts[0] + "/" + "/".join(Path(p).parts[2:]) for p in old}
    kept = {"results/optimise", "results/vibrations", "results/symmetry_mode", "work/hessian", "work/optimise"}
    assert {f"{name}/old.json" for name in kept} < names
