"""Fits of the Landau model: conversions, recovery of known parameters within their error bars, every guard."""

import csv
import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from spincross import __main__, conclusions, config, files, landau_fit, schemas
from spincross.errors import BadInput, NotConverged
from spincross.landau_branches import follow
from spincross.landau_data import order_parameter, product_of, read_table
from spincross.landau_fit import fit, high_spin, low_spin
from spincross.landau_model import LandauModel

EQ4 = LandauModel(a1=0.6, T_SC=235.0, C=35.0, b=10.0, D=-6.5, E=-12.2)
START = replace(EQ4, T_SC=231.0, C=42.0, D=-6.2)
GRID = np.arange(150.0, 290.0, 1.0)
BRANCHES = {True: follow(EQ4, GRID, heating=True), False: follow(EQ4, GRID, heating=False)}


def write(path, rows, header=None):
    """Write a table."""
    with path.open("w", newline="") as handle:
        writer = csv.writer(handle, delimiter="\t")
        writer.writerow(header or ["temperature_K", "branch", "chi_T_cm3_K_per_mol"])
        writer.writerows(rows)
    return path


def synthetic(path, seed, noise=0.02, breaking="strain_e13", scale=0.0275):
    """Write what an experiment on the paper's model would give: chi_M T and strain with noise, both branches."""
    rng = np.random.default_rng(seed)
    rows = []
    for heating, branch in BRANCHES.items():
        order = slice(None) if heating else slice(None, None, -1)
        points = zip(branch.temperatures[order], branch.q[order], branch.eta[order], strict=True)
        for t, q, eta in points:
            chi = product_of(q, 0.05, 3.5) + noise * rng.standard_normal()
            amplitude = scale * eta / math.sqrt(2.52)
            if breaking == "intensity":
                amplitude = amplitude**2
            amplitude += 0.01 * scale * rng.standard_normal()
            rows.append([f"{t}", "heating" if heating else "cooling", f"{chi:.6f}", f"{amplitude:.8f}"])
    return write(path, rows, ["temperature_K", "branch", "chi_T_cm3_K_per_mol", breaking])


# conversions


def test_q_follows_from_chi_t_and_back():
    q = np.linspace(-1.0, 1.0, 21)
    assert order_parameter(product_of(q, 0.05, 3.5), 0.05, 3.5) == pytest.approx(q, abs=1e-12)
    assert float(order_parameter(3.5, 0.0, 3.5)) == 1.0 and float(order_parameter(0.0, 0.0, 3.5)) == -1.0
    with pytest.raises(BadInput, match="must be larger"):
        order_parameter([1.0], 3.5, 0.0)


def test_intensities_count_by_their_root(tmp_path):
    rows = [[200 + k, "heating", 0.1 * k * k] for k in range(6)]
    table = read_table(write(tmp_path / "t.tsv", rows, ["temperature_K", "branch", "intensity"]))
    assert table.breaking == pytest.approx(np.sqrt(0.1) * np.arange(6)) and table.spin is None


# two routes


def test_the_phases_of_the_fit_are_those_of_the_branches():
    heating, cooling = BRANCHES[True], BRANCHES[False]
    low = heating.eta == 0
    assert low_spin(EQ4, GRID[low]) == pytest.approx(heating.q[low], abs=1e-9)
    high = cooling.eta > 0
    assert high_spin(EQ4, GRID[high]) == pytest.approx(cooling.q[high], abs=1e-9)


# recovery


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_synthetic_data_give_the_parameters_back_within_three_error_bars(tmp_path, seed):
    found = fit(START, read_table(synthetic(tmp_path / "t.tsv", seed)))
    truth = {"T_SC": 235.0, "C": 35.0, "D": -6.5, "chi_T_LS": 0.05, "chi_T_HS": 3.5}
    for name, value in truth.items():
        error = found["uncertainties"][name]
        assert 0 < error < 0.1 * max(abs(value), 0.2), (name, error)
        assert abs(found["values"][name] - value) < 3.0 * error, (name, found["values"][name], error)
    assert found["chi_squared"] == pytest.approx(found["points"], rel=0.2)
    assert found["standard_deviations"]["spin"] == pytest.approx(0.02, rel=0.2)
    assert [j["branch"] for j in found["jumps"]] == ["heating", "cooling"]
    flat = np.linspace(0.0, 1.0, 100001).std()  # the jump lies anywhere between two points, here 1 K apart
    assert [j["deviation_K"] for j in found["jumps"]] == pytest.approx([flat, flat], rel=1e-4)


def test_one_error_bar_holds_about_two_thirds_of_the_fits(tmp_path):
    """C and the two values of chi T, free of the rounding of the jumps to the grid."""
    pulls = []
    for seed in range(6):
        found = fit(
            replace(EQ4, T_SC=231.0, C=42.0),
            read_table(synthetic(tmp_path / "t.tsv", seed)),
            ("T_SC", "C"),
            low=None,
            high=None,
        )
        for name, value in (("C", 35.0), ("chi_T_LS", 0.05), ("chi_T_HS", 3.5)):
            pulls.append((found["values"][name] - value) / found["uncertainties"][name])
    assert 0.45 < np.mean(np.abs(pulls) < 1.0) < 0.9
    assert np.abs(pulls).max() < 4.0


def test_given_chi_values_are_kept(tmp_path):
    found = fit(START, read_table(synthetic(tmp_path / "t.tsv", 4)), low=0.05, high=3.5)
    assert set(found["values"]) == {"T_SC", "C", "D", "eta_scale"}


def test_bragg_intensities_serve_as_well(tmp_path):
    found = fit(START, read_table(synthetic(tmp_path / "t.tsv", 5, breaking="intensity")))
    assert abs(found["values"]["D"] + 6.5) < 3.0 * found["uncertainties"]["D"]


# the stage


def test_the_command_takes_what_is_known_of_the_pure_states(tmp_path):
    data = synthetic(tmp_path / "t.tsv", 6)
    words = ["fit", "--complex", "fe-pm-pea2-ncs2", "--data", str(data), "--results", str(tmp_path)]
    __main__.main([*words, "--free", "T_SC,C", "--chi-t", "0.05", "3.5"])
    found = files.read_json(tmp_path / "fe-pm-pea2-ncs2/pbe0_def2-svp/landau/fit.json")
    assert found["given"] == {"chi_T_LS": 0.05, "chi_T_HS": 3.5}
    assert set(found["values"]) == {"T_SC", "C", "eta_scale"}


def test_the_stage_writes_a_fit_that_fulfils_its_schema_and_names_its_data(tmp_path):
    content = config.read_yaml(config.WORKFLOW / "config/config.yaml") | {"complexes": ["fe-pm-pea2-ncs2"]}
    settings, data = config.load(content, config.STRUCTURES), synthetic(tmp_path / "t.tsv", 6)
    conclusions.fit_landau(settings, "fe-pm-pea2-ncs2", data, ["T_SC", "C"], tmp_path / "out")
    found = files.read_json(tmp_path / "out/fit.json")
    schemas.validator("fit").validate(found)
    assert found["provenance"]["inputs_sha256"] == {"data": files.sha256_of(data)}
    assert abs(found["values"]["C"] - 35.0) < 3.0 * found["uncertainties"]["C"]
    with (tmp_path / "out/fit.tsv").open() as handle:
        rows = list(csv.DictReader(handle, delimiter="\t"))
    jumps = {jump["branch"]: jump["temperature_K"] for jump in found["jumps"]}
    away = [row for row in rows if abs(float(row["temperature_K"]) - jumps[row["branch"]]) > 1.0]
    assert len(rows) == 2 * GRID.size and len(away) >= len(rows) - 6
    for name in ("q", "eta"):
        assert max(abs(float(row[f"{name}_measured"]) - float(row[name])) for row in away) < 0.1


# guards


def test_parameters_that_the_data_do_not_tell_apart_are_named(tmp_path):
    table = read_table(synthetic(tmp_path / "t.tsv", 1))
    with pytest.raises(BadInput, match="a1 and b set the units"):
        fit(START, table, ("a1",))
    with pytest.raises(BadInput, match="no parameter is free"):
        fit(START, table, ())
    with pytest.raises(BadInput, match=r"do not tell|does not depend"):
        fit(replace(START, B=0.0), table, ("T_SC", "C", "D", "E", "T_c"))


def test_a_gradual_table_has_no_transition_in_range(tmp_path):
    rows = [[200 + k, "heating", 0.1 + 0.05 * k] for k in range(20)]
    with pytest.raises(BadInput, match="no transition in range"):
        fit(START, read_table(write(tmp_path / "t.tsv", rows)))
    flat = [[200 + k, "heating", 0.1] for k in range(20)]
    with pytest.raises(BadInput, match="no transition in range"):
        fit(START, read_table(write(tmp_path / "t.tsv", flat)))


def test_a_symmetry_that_is_never_broken_has_no_scale(tmp_path):
    table = read_table(synthetic(tmp_path / "t.tsv", 1))
    with pytest.raises(BadInput, match="strain_e13 is zero everywhere"):
        fit(START, replace(table, breaking=0.0 * table.breaking))
    with pytest.raises(BadInput, match="the table has no order parameter"):
        fit(START, replace(table, spin_column=None, spin=None, breaking_column=None, breaking=None))


def with_spin(path, change):
    """Write the paper's model without noise, each row (t, branch, q) changed."""
    rows = []
    for heating, branch in BRANCHES.items():
        order = slice(None) if heating else slice(None, None, -1)
        points = zip(branch.temperatures[order], branch.q[order], strict=True)
        rows += [change(float(t), heating, float(q)) for t, q in points]
    named = [[t, "heating" if heating else "cooling", q] for t, heating, q in rows]
    return read_table(write(path, named, ["temperature_K", "branch", "q"]))


def test_exchanged_branches_and_fractions_are_refused(tmp_path):
    exchanged = []
    for heating, branch in BRANCHES.items():
        exchanged += [[t, "cooling" if heating else "heating", q] for t, q in zip(GRID, branch.q, strict=True)]
    table = read_table(write(tmp_path / "t.tsv", exchanged, ["temperature_K", "branch", "q"]))
    with pytest.raises(BadInput, match=r"the jump on heating, at 2\d\d.5 K, lies below that on cooling"):
        fit(START, table)
    with pytest.raises(BadInput, match="a fraction x of HS is q = 2 x - 1"):
        fit(START, with_spin(tmp_path / "t.tsv", lambda t, heating, q: (t, heating, (1.0 + q) / 2.0)))


def test_a_fit_that_misses_the_data_says_so(tmp_path):
    table = with_spin(tmp_path / "t.tsv", lambda t, heating, q: (t, heating, q))
    assert fit(START, table)["warnings"] == []
    found = fit(replace(START, B=60.0), table)  # far from any jump
    assert len(found["warnings"]) > 0 and found["text"][-len(found["warnings"]) :] == found["warnings"]
    assert "in q off the fit" in found["warnings"][0]
    assert "the uncertainties do not hold" in found["warnings"][0]


def test_a_start_that_breaks_no_symmetry_is_refused_where_the_scale_is_free(tmp_path):
    with pytest.raises(BadInput, match="the scale of strain_e13 cannot be guessed; start from D < 0"):
        fit(replace(START, D=0.0, E=0.0), read_table(synthetic(tmp_path / "t.tsv", 1)))


def test_curves_of_a_table_that_begins_inside_the_hysteresis_begin_on_their_own_branch(tmp_path):
    inside = with_spin(tmp_path / "t.tsv", lambda t, heating, q: (t, heating, q))
    kept = inside.temperatures >= 230.0
    part = replace(inside, temperatures=inside.temperatures[kept], heating=inside.heating[kept], spin=inside.spin[kept])
    found = fit(START, inside)
    rows = landau_fit.curves(found, part)
    heating = [row for row in rows if row["branch"] == "heating" and row["temperature_K"] < 234.0]
    assert len(heating) > 2
    assert max(abs(row["q"] - row["q_measured"]) for row in heating) < 0.05


def test_a_fit_that_does_not_end_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(landau_fit, "least_squares", lambda *a, **k: SimpleNamespace(success=False, nfev=400))
    with pytest.raises(NotConverged, match="did not end within 400 evaluations"):
        fit(START, read_table(synthetic(tmp_path / "t.tsv", 1)))


GOOD = [[200 + k, "heating", 0.1] for k in range(6)]
COOLING = [[t, "cooling", 0.1] for t in (205, 204, 206, 203, 202)]


@pytest.mark.parametrize(
    ("rows", "header", "words"),
    [
        ([*GOOD, [206, "heating", "nan"]], None, "line 8: chi_T_cm3_K_per_mol is nan"),
        ([*GOOD, [206, "heating", ""]], None, "line 8: chi_T_cm3_K_per_mol is empty"),
        ([*GOOD, [206, "heating", "x"]], None, "is no number"),
        ([*GOOD, [206, "heating", 28.0]], None, "outside -0.5 to 10; check its unit"),
        ([*GOOD, [-67, "heating", 0.1]], None, "temperature_K = -67 lies outside"),
        ([*GOOD, [204.5, "heating", 0.1]], None, "temperatures of heating decrease or repeat at 204.5 K"),
        (COOLING, None, "temperatures of cooling turn round"),
        ([*GOOD, [260, "heating", 0.1]], None, "gap from 205 to 260 K"),
        ([*GOOD, [206, "warming", 0.1]], None, "branch must be heating or cooling, found 'warming'"),
        (GOOD[:3], None, "3 points, at least 5"),
        (GOOD, ["temperature_C", "branch", "q"], "column 'temperature_C' is not known"),
        (GOOD, ["temperature_K", "branch", "chi_T_emu_K_per_mol"], "the unit is part of a name"),
        ([[1, 2]], ["temperature_K", "q"], "no column branch"),
        ([[200, "heating"]], ["temperature_K", "branch"], "no order parameter"),
        ([[200, "heating", 1, 1]], ["temperature_K", "branch", "q", "chi_T_cm3_K_per_mol"], "more than one of"),
        ([], None, "has no rows"),
    ],
)
def test_tables_that_cannot_be_used_are_refused_in_one_sentence(tmp_path, rows, header, words):
    with pytest.raises(BadInput, match=words) as error:
        read_table(write(tmp_path / "t.tsv", rows, header))
    assert "\n" not in str(error.value)


def test_a_table_that_is_not_there_is_said(tmp_path):
    with pytest.raises(BadInput, match="cannot be read"):
        read_table(tmp_path / "none.tsv")


def test_low_spin_stays_at_its_fold_where_the_potential_has_two_wells():
    """B < 0: the fold lies at -sqrt(-B / 3C); beyond it nothing jumps to high spin, so the residuals stay smooth."""
    model = LandauModel(a1=0.6, T_SC=235.0, C=5.0, b=10.0, B=-10.0)
    fold = -math.sqrt(10.0 / 15.0)
    end = 235.0 + (-10.0 * fold + 5.0 * fold**3) / 0.6  # a1 (T_SC - T) + B q + C q^3 = 0
    t = end + np.array([-5.0, -1e-6, 1e-6, 5.0, 50.0])
    q = low_spin(model, t)
    assert q[0] < fold and q[1:] == pytest.approx(fold, abs=2e-3) and np.ptp(q[2:]) < 1e-12


@pytest.mark.parametrize("seed", [0, 4])
def test_uncertainties_of_a_model_with_two_wells_are_those_of_the_noise(tmp_path, seed):
    """B and C from q with noise 0.03: errors of some tenths, and the truth within three of them."""
    truth = LandauModel(a1=0.6, T_SC=235.0, C=5.0, b=10.0, B=-10.0)
    rng, rows = np.random.default_rng(seed), []
    for heating in (True, False):
        branch = follow(truth, np.arange(200.0, 270.0, 1.0), heating)
        order = slice(None) if heating else slice(None, None, -1)
        for t, q in zip(branch.temperatures[order], branch.q[order], strict=True):
            rows.append([f"{t}", "heating" if heating else "cooling", f"{q + 0.03 * rng.standard_normal():.6f}"])
    table = read_table(write(tmp_path / "t.tsv", rows, ["temperature_K", "branch", "q"]))
    found = fit(replace(truth, T_SC=233.0, C=6.0, B=-8.0), table, ("T_SC", "B", "C"))
    for name, size in (("T_SC", 0.05), ("B", 0.1), ("C", 0.1)):
        assert found["uncertainties"][name] > size
        assert abs(found["values"][name] - getattr(truth, name)) < 3.5 * found["uncertainties"][name]


@pytest.mark.parametrize("changes", [{"D": 6.5}, {"D": 0.0}])
def test_a_start_whose_low_spin_breaks_the_symmetry_is_refused(tmp_path, changes):
    table = with_spin(tmp_path / "t.tsv", lambda t, heating, q: (t, heating, q))
    with pytest.raises(BadInput, match="low spin as symmetric and high spin as broken.*break the symmetry at q = -1"):
        fit(replace(START, **changes), table)
    with pytest.raises(BadInput, match="keep the symmetry at q = 1"):
        fit(replace(START, D=-1.0, E=4.0), table)


def test_high_spin_that_is_symmetric_again_is_a_minimum_too():
    """a0 > 0: above T_c - 2 (D q + E q^2 / 2) / a0 nothing is broken, and the phase goes on along eq. 2."""
    model = LandauModel(a1=0.6, T_SC=235.0, C=25.0, b=2.0, B=-2.0, D=-6.5, E=0.0, a0=0.2, T_c=200.0)
    t = np.array([230.0, 240.0, 250.0, 260.0, 270.0, 290.0])
    assert high_spin(model, t) == pytest.approx([model.minima(x)[-1].q for x in t], abs=1e-6)
    assert {bool(model.minima(x)[-1].eta > 0) for x in t} == {True, False}
