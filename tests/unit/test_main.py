"""The command line: stopping in time, going on, and stages on a host with the bare minimum."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from spincross import __main__, electronic, files
from spincross.errors import BadInput, Stopped

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def small(tmp_path):
    """A configuration in JSON and structures that need neither PyYAML nor a large basis; words of the command line."""
    content = yaml.safe_load((ROOT / "workflow/config/config.yaml").read_text())
    level = content["levels"]["pbe0_def2-svp"] | {"basis": "sto-3g", "grid_level": 0, "device": "cpu"}
    content |= {"level": "small", "levels": {"small": level}, "reference": "ignore"}
    content["optimisation"] |= {"coarse_grid_level": 0, "convergence": "GAU"}
    content["hessian"] |= {"method": "analytic", "response_grid_level": 0}
    (tmp_path / "config.json").write_text(json.dumps(content))
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(content))
    structures = tmp_path / "structures"
    (structures / "h2co").mkdir(parents=True)
    (structures / "h2co/h2co.xyz").write_text((ROOT / "structures/h2co/h2co.xyz").read_text())
    entries = {"h2co": yaml.safe_load((ROOT / "structures/complexes.yaml").read_text())["h2co"]}
    (structures / "complexes.json").write_text(json.dumps(entries))
    (structures / "complexes.yaml").write_text(yaml.safe_dump(entries))
    places = {"--config": "config.yaml", "--structures": "structures", "--results": "results", "--workdir": "work"}
    return ["--complex", "h2co", "--state", "LS"] + [w for k, v in places.items() for w in (k, str(tmp_path / v))]


def test_a_limit_stops_the_block_and_is_lifted_after_it():
    with pytest.raises(Stopped, match="stopped after 0 s, as asked"), __main__.stopping(0.05):
        time.sleep(10)
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    with __main__.stopping(100):
        pass
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_a_limit_that_is_no_time_is_refused():
    with pytest.raises(BadInput, match="--stop-after -1"), __main__.stopping(-1):
        pass


def test_a_stop_is_not_swallowed_where_errors_are_caught():
    assert not issubclass(Stopped, Exception)


def test_a_stopped_stage_ends_with_75_and_goes_on_without_a_gradient_lost(small, tmp_path, monkeypatch, capsys):
    __main__.main(["molecule", *small])
    gradient, calls = electronic.gradient, []

    def counted(solution):
        calls.append(solution)
        if len(calls) == 3:
            signal.raise_signal(signal.SIGALRM)
        return gradient(solution)

    monkeypatch.setattr(electronic, "gradient", counted)
    with pytest.raises(SystemExit) as ended:
        __main__.main(["optimise", *small, "--stop-after", "1000"])
    assert ended.value.code == __main__.STOPPED == 75
    assert "stopped after 1000 s, as asked" in capsys.readouterr().out
    assert not (tmp_path / "results/h2co/small/LS/C2/optimise/optimise.json").exists()
    __main__.main(["optimise", *small])
    found = files.read_json(tmp_path / "results/h2co/small/LS/C2/optimise/optimise.json")
    assert len(calls) == found["steps"] + 1  # the one in work when the time was over


BARE = """
import sys

class Barred:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {barred!r}:
            raise ModuleNotFoundError("No module named " + name, name=name)

sys.meta_path.insert(0, Barred())
from spincross import __main__
for stage in ("molecule", "optimise", "hessian"):
    __main__.main([stage, *{words!r}])
print(sorted(set(name.split(".")[0] for name in sys.modules) & {barred!r}))
"""
BARRED = {
    "snakemake", "phonopy", "matplotlib", "plotly", "jinja2", "rdkit", "tblite", "threadpoolctl", "yaml", "jsonschema",
    "pygments", "pandas", "pytest", "hypothesis",
}  # fmt: skip


def test_stages_run_with_pyscf_geometric_ase_spglib_numpy_and_scipy_alone(small, tmp_path):
    code = BARE.format(barred=BARRED, words=small)
    environment = os.environ | {"PYTHONPATH": str(ROOT / "workflow")}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines()[-1] == "[]"
    assert "jsonschema is not installed" in done.stdout
    assert (tmp_path / "results/h2co/small/LS/C2/vibrations/hessian.npz").exists()


def test_the_table_of_states_is_written_and_a_second_run_computes_nothing(small, tmp_path, monkeypatch):
    __main__.main(["states", *small])
    found = files.read_json(tmp_path / "results/h2co/small/states/states.json")
    low, high = found["states"]
    assert [low["term"], high["term"]] == ["1A", "3A"]
    assert [row["term"] for row in high["candidates"]] == ["3A", "3B", "3B"]
    assert high["energy_hartree"] == min(row["energy_hartree"] for row in high["candidates"])
    assert (low["s_squared"], low["metal_spin_population"]) == (0.0, None)
    assert low["stability_eigenvalue_hartree"] > 0
    assert low["cycles"] == sum(rung["cycles"] for rung in low["rungs"]) > 0
    table = (tmp_path / "results/h2co/small/states/states.tsv").read_text().splitlines()
    assert len(table) == 3
    assert table[0].startswith("state\tterm\tpoint_group\tenergy_hartree\tcycles")
    monkeypatch.setattr(electronic, "solve", lambda *arguments: pytest.fail("computed again"))
    __main__.main(["states", *small])
    assert files.read_json(tmp_path / "results/h2co/small/states/states.json")["states"] == found["states"]
    with pytest.raises(SystemExit, match=r"StaleData: .*LS\.json belongs to another"):
        __main__.main(["states", *small, "--no-search"])
    with pytest.raises(SystemExit, match="BadInput: --states XS"):
        __main__.main(["states", *small, "--states", "XS"])
