"""Leaving a saddle that keeps its group: cis-planar hydrogen peroxide, whose torsion is totally symmetric in C2."""

import json
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sample_h2co import H2CO
from spincross import __main__, checkpoints, config, files, saddles, starts
from spincross.errors import BadInput, NotConverged, StaleData, Stopped, UnexpectedImaginaryMode, WrongState
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
    words = ["--complex", "h2o2"] + [w for k, v in places.items() for w in (k, str(place / v))]
    __main__.main(["molecule", *words])
    words += ["--state", "LS"]
    for stage in ("optimise", "hessian", "vibrations"):
        __main__.main([stage, *words])
    shutil.copytree(place / "results", place / "copy")
    return words, place


def torsion(path: Path) -> float:
    """Return |H-O-O-H|, degrees."""
    _, (o, p, h, i), _ = files.read_xyz(path)
    one, other = np.cross(h - o, p - o), np.cross(o - p, i - p)
    return math.degrees(math.acos(one @ other / np.linalg.norm(one) / np.linalg.norm(other)))


def test_the_torsion_opens_and_the_rest_of_the_chain_goes_on(saddle, stop_at_third_scf, capsys):
    words, place = saddle
    base, work = place / "results" / LEVEL, place / "work" / LEVEL
    here = base / "LS/C2"
    before = files.read_json(here / "optimise/optimise.json")
    found = files.read_json(here / "vibrations/vibrations.json")
    assert torsion(here / "optimise/geometry.xyz") == pytest.approx(0.0, abs=1e-3)
    assert [found["irreps"][i] for i in found["imaginary_modes"]] == ["A"]

    with pytest.raises(SystemExit):  # stopped at the second side
        __main__.main(["leave-saddle", *words])
    assert files.read_json(here / "optimise/optimise.json") == before
    capsys.readouterr()
    __main__.main(["leave-saddle", *words])
    assert "forth_0: found" in capsys.readouterr().out
    assert not here.exists()
    for name in ("optimise/optimise.json", "vibrations/hessian.npz"):
        assert (base / "saddles/LS/C2/1" / name).exists()
    __main__.main(["optimise", *words])
    after = files.read_json(here / "optimise/optimise.json")
    assert after["energy_hartree"] < before["energy_hartree"] - 5e-3
    assert torsion(here / "optimise/geometry.xyz") == pytest.approx(115.0, abs=10.0)
    assert any("came to rest on a saddle" in text and "mode 1 (A) imaginary" in text for text in after["warnings"])
    for stage in ("hessian", "vibrations"):
        __main__.main([stage, *words])
    assert files.read_json(here / "vibrations/vibrations.json")["imaginary_modes"] == []
    with pytest.raises(SystemExit, match="has no imaginary mode that keeps C2"):
        __main__.main(["leave-saddle", *words])
    for folder in (here / "optimise", work / "LS/C2/optimise"):  # done anew, it does not go back to the saddle
        shutil.rmtree(folder)
    __main__.main(["optimise", *words])
    again = files.read_json(here / "optimise/optimise.json")
    assert again["energy_hartree"] == pytest.approx(after["energy_hartree"], abs=1e-8)
    molecule = place / "results/h2o2/molecule/molecule.xyz"
    molecule.write_text(molecule.read_text().replace("0.95", "0.96", 1))
    with pytest.raises(SystemExit, match=r"came from another start \(.*molecule.xyz has changed since\); remove it"):
        __main__.main(["optimise", *words])


def modes(wavenumbers: list[float], irreps: str) -> Vibrations:
    """Return made-up modes of four atoms."""
    vectors = np.eye(12)[:, : len(irreps)]
    return Vibrations(np.array(wavenumbers), tuple(irreps), vectors, 0.0, 0.0, 5.0)


def test_only_a_mode_that_keeps_the_group_is_left() -> None:
    assert saddles.keeping_mode(modes([-90.0, -20.0, 50.0], "BAB"), "C2", "LS") == 1
    assert saddles.keeping_mode(modes([-90.0, -20.0, 50.0], "AAA"), "C1", "HS") == 0
    with pytest.raises(
        BadInput, match=r"LS in C2 has no imaginary mode that keeps C2; those at -90.0 \(B\) cm-1 break it"
    ):
        saddles.keeping_mode(modes([-90.0, 20.0, 50.0], "BAB"), "C2", "LS")
    with pytest.raises(BadInput, match="that keeps C2$"):
        saddles.keeping_mode(modes([-4.0, 20.0, 50.0], "ABA"), "C2", "LS")


class Curve:
    """Energies (Eh) of a made-up curve over the x of the first atom (bohr), which moves along the mode."""

    def __init__(self, curve: Callable[[float], float]) -> None:
        self.curve, self.names = curve, []

    def energy(self, moved: Molecule, name: str) -> float:
        """Return the energy and remember the name."""
        assert moved.point_group == "C1"
        self.names.append(name)
        return self.curve(float(moved.positions[0, 0]))


MOLECULE = Molecule(("O", "O", "H", "H"), np.array([[0, 0, 0], [3, 0, 0], [0, 2, 0], [3, 2, 1.0]]), 0, "C1")


@pytest.mark.parametrize(
    ("curve", "expected"),
    [
        (lambda x: x - 10, "back_0"),
        (lambda x: -x - 10, "forth_0"),
        (lambda x: 4 * (x**4 - (0.03 * x) ** 2) - 10 - 1e-3 * x**3, None),  # narrower than the noise
        (lambda x: min(abs(x) - 0.04, 0.0) * (1e-3 + 1e-3 * (x > 0)) + 3 * max(abs(x) - 0.04, 0) - 10, "forth_2"),
    ],
)
def test_the_lower_side_is_taken_and_the_displacement_halved_until_it_lies_below(curve, expected) -> None:
    walk = Curve(curve)
    arguments = MOLECULE, modes([-300.0], "A"), 0, walk, curve(0.0)
    if expected is None:
        with pytest.raises(UnexpectedImaginaryMode, match="is not below its -10.00000000 Eh: the mode may be real"):
            saddles.lower_side(*arguments)
        assert walk.names[-1] == "back_5"
        return
    energy, moved, name = saddles.lower_side(*arguments)
    assert name == expected
    assert energy == curve(moved.positions[0, 0]) < curve(0.0)


def test_a_side_that_fails_is_left_out_and_if_all_do_the_error_is_theirs() -> None:
    def fails_ahead(x: float) -> float:
        if x > 0:
            raise WrongState("another state")
        return -10.0 - abs(x)

    arguments = MOLECULE, modes([-300.0], "A"), 0
    assert saddles.lower_side(*arguments, Curve(fails_ahead), -10.0)[2] == "back_0"

    def fails(x: float) -> float:
        raise NotConverged("no SCF")

    with pytest.raises(NotConverged, match="no SCF"):
        saddles.lower_side(*arguments, Curve(fails), -10.0)


def test_a_saddle_of_another_level_is_refused(saddle) -> None:
    words, place = saddle
    other = ["--set", "levels.small.functional=b3lyp", "--results", str(place / "copy"), "--workdir", str(place / "w")]
    with pytest.raises(SystemExit, match="another level, charge or electronic state"):
        __main__.main(["leave-saddle", *words, *other])


def test_a_record_would_take_the_new_minimums_place(saddle, monkeypatch) -> None:
    words, place = saddle
    monkeypatch.setattr(saddles.reference, "usable", lambda *key: True)
    monkeypatch.setattr(saddles, "keeping_mode", lambda *found: 0)
    with pytest.raises(SystemExit, match="leave it so until `make store` has kept all of it anew"):
        __main__.main(["leave-saddle", *words, "--results", str(place / "copy")])


FOLDERS = ("HS/C2/optimise", "HS/C2/vibrations", "HS/C2/symmetry_mode", "HS/C1/optimise")


@pytest.mark.parametrize("moment", range(1, 5))
def test_a_kill_while_folders_move_loses_nothing(tmp_path, monkeypatch, small_settings, moment) -> None:
    """Wherever it comes, the same command ends with a start for the next optimisation and nothing of the saddle."""
    roots = tmp_path / "results", tmp_path / "work"
    for root in roots:
        for name in FOLDERS:
            files.write_json(root / name / "old.json", {})
    state = small_settings.state("h2co", "HS")
    start = saddles.Start(H2CO, state, {}, (np.eye(2), np.eye(2)), np.eye(12), -1.0, ["a saddle was left"])
    monkeypatch.setattr(saddles, "_start", lambda *arguments: start)
    rename, moves = Path.rename, []

    def killed(path, target):
        moves.append(path)
        if len(moves) == moment:
            raise Stopped("killed")
        return rename(path, target)

    with monkeypatch.context() as patched, pytest.raises(Stopped):
        patched.setattr(Path, "rename", killed)
        saddles.leave(small_settings, "h2co", "HS", "C2", *roots)
    saddles.leave(small_settings, "h2co", "HS", "C2", *roots)
    for root in roots:
        kept = [path.relative_to(root).parts for path in root.rglob("old.json")]
        parts = ("optimise", "optimise", "symmetry_mode", "vibrations")
        assert sorted((*k[:3], *k[4:]) for k in kept) == [("saddles", "HS", "C2", p, "old.json") for p in parts]
    usual = saddles.Start(H2CO, state, {})
    found = starts.below_a_saddle(usual, small_settings.level, roots[1] / "HS/C2")
    assert (found.energy, list(found.warnings)) == (-1.0, ["a saddle was left"])
    with pytest.raises(StaleData, match="belongs to another level, state or molecule"):
        starts.below_a_saddle(usual, replace(small_settings.level, functional="b3lyp"), roots[1] / "HS/C2")


def test_a_run_at_work_on_the_state_is_not_disturbed(tmp_path, monkeypatch, small_settings) -> None:
    monkeypatch.setattr(saddles, "_start", lambda *arguments: None)
    roots = tmp_path / "results", tmp_path / "work"
    files.write_json(roots[0] / "HS/C2/optimise/old.json", {})
    with checkpoints.locked(roots[1] / "HS/C2/hessian"), pytest.raises(BadInput, match="is in use by another run"):
        saddles.leave(small_settings, "h2co", "HS", "C2", *roots)
    assert (roots[0] / "HS/C2/optimise/old.json").exists()
