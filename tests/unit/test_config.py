"""Bad input ends in one clear sentence before any job."""

import copy
import json
import math
import re
import shutil
import textwrap
from pathlib import Path

import jsonschema
import pytest
import yaml
from pyscf import lib
from snakemake.utils import update_config

from spincross import config, levels, stages
from spincross.errors import BadInput

ROOT = Path(__file__).resolve().parents[2]
DEFAULT = config.read_yaml(ROOT / "workflow/config/config.yaml")


def test_the_shipped_configurations_are_valid():
    for name in ("config", "demo"):
        content = copy.deepcopy(DEFAULT)
        update_config(content, config.read_yaml(ROOT / f"workflow/config/{name}.yaml"))  # as --configfile does
        assert config.load(content, ROOT / "structures").level.functional == "pbe0"


def test_every_key_of_the_default_configuration_has_a_comment_above_it():
    lines = (ROOT / "workflow/config/config.yaml").read_text().splitlines()
    for key in DEFAULT:
        place = next(i for i, line in enumerate(lines) if line.startswith(f"{key}:"))
        following = lines[place + 1] if place + 1 < len(lines) else ""
        grouped = isinstance(DEFAULT[key], dict)
        assert lines[place - 1].startswith("#") or grouped and (following.strip().startswith("#") or key == "levels")


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("levels", "pbe0_def2-svp", "functional"), "pbe00", ["functional", "pbe00"]),
        (("levels", "pbe0_def2-svp", "basis"), "def2-sv", ["basis", "def2-sv"]),
        (("levels", "pbe0_def2-svp", "grid_level"), "three", ["grid_level", "three"]),
        (("levels", "pbe0_def2-svp", "grid"), 3, ["grid", "allowed keys"]),
        (("level",), "b3lyp", ["level", "b3lyp"]),
        (("complexes",), ["nothing-here"], ["nothing-here", "known"]),
        (("complexes",), ["../h2co"], ["complexes", "h2co", "small letters, digits and hyphens"]),
        (("complexes",), ["H2CO"], ["complexes", "H2CO", "small letters, digits and hyphens"]),
        (("levels", "pbe0_def2-svp", "functional"), "", ["functional", "no density functional"]),
        (("levels", "pbe0_def2-svp", "auxiliary_basis"), "jkfit", ["auxiliary_basis", "jkfit"]),
        (("landau", "temperature_range_K"), [400, 100], ["landau.temperature_range_K", "[400, 100]", "lower number"]),
        (("gates", "metal_spin_high"), [4.1, 3.4], ["gates.metal_spin_high", "[4.1, 3.4]", "lower number"]),
        (("temperatures_K",), [-3], ["temperatures_K", "-3"]),
        (("complex",), "h2co", ["complex", "allowed keys"]),
        (("memory_mb",), "8 GB", ["memory_mb", "8 GB"]),
        (("gates", "on_failure"), "ignore", ["gates.on_failure", "ignore"]),
        (("gates", "density_asymmetry"), 0, ["gates.density_asymmetry", "0"]),
        (("levels", "pbe0_def2-svp", "device"), "tpu", ["device", "tpu"]),
        (("hessian", "method"), "numeric", ["hessian.method", "numeric"]),
    ],
)
def test_a_wrong_key_or_value_is_named(path, value, words):
    content = copy.deepcopy(DEFAULT)
    place = content
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(BadInput) as caught:
        config.load(content, ROOT / "structures")
    assert all(word in str(caught.value) for word in words)
    assert "\n" not in str(caught.value)


def test_forces_that_break_the_group_stop_a_step_unless_failures_are_warnings():
    content = copy.deepcopy(DEFAULT)
    assert config.load(content, ROOT / "structures").optimisation.symmetry_tolerance == 1e-4
    content["gates"]["on_failure"] = "warning"
    assert config.load(content, ROOT / "structures").optimisation.symmetry_tolerance == float("inf")


@pytest.mark.parametrize("written", [".nan", ".inf", "-.inf", "1.0e+400"])
@pytest.mark.parametrize(
    ("key", "line"),
    [
        ("hessian.step", "step: 5.0e-3"),
        ("gates.s_squared_warning", "s_squared_warning: 0.1"),
        ("temperatures_K.0", "temperatures_K: [50"),
        ("landau.temperature_range_K.1", "temperature_range_K: [100, 400"),
        ("memory_mb", "memory_mb: 8000"),
    ],
)
def test_numbers_that_are_not_finite_are_refused_by_key(tmp_path, written, key, line):
    text = (ROOT / "workflow/config/config.yaml").read_text()
    *_, number = re.split(r"[ \[]", line)
    (tmp_path / "config.yaml").write_text(text.replace(line, line.removesuffix(number) + written))
    with pytest.raises(BadInput) as caught:
        config.load(config.read_yaml(tmp_path / "config.yaml"), ROOT / "structures", "config.yaml")
    found = float(written.replace(".nan", "nan").replace(".inf", "inf"))
    assert str(caught.value) == f"config.yaml, {key}: {found} is not a finite number; give a finite one"


@pytest.mark.parametrize(
    ("text", "says"), [("a: [1", "cannot be read as YAML: while parsing"), ("- a", "must hold keys and values")]
)
def test_a_damaged_yaml_file_or_one_without_keys_is_refused_in_one_sentence(tmp_path, text, says):
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(BadInput, match=rf"config\.yaml {says}.*\Z"):
        config.read_yaml(tmp_path / "config.yaml")


def test_yaml_without_pyyaml_and_without_json_beside_it_is_refused(tmp_path, monkeypatch):
    def absent(name):
        raise ImportError(name)

    (tmp_path / "config.yaml").write_text("a: 1")
    monkeypatch.setattr(config, "import_module", absent)
    with pytest.raises(BadInput, match=r"needs PyYAML; install it, or put the same as JSON into .*config\.json"):
        config.read_yaml(tmp_path / "config.yaml")


@pytest.fixture
def structures(tmp_path):
    (tmp_path / "h2co").mkdir()
    (tmp_path / "h2co/h2co.xyz").write_text((ROOT / "structures/h2co/h2co.xyz").read_text())
    entry = config.read_yaml(ROOT / "structures/complexes.yaml")["h2co"]

    def write(**changes):
        (tmp_path / "complexes.yaml").write_text(yaml.safe_dump({"h2co": entry | changes}))
        return config.load(DEFAULT | {"complexes": ["h2co"]}, tmp_path)

    return write


def test_a_job_has_its_own_memory_and_threads():
    settings = config.load(DEFAULT, ROOT / "structures")
    before = lib.num_threads()
    job = settings.for_job(2345, 1)
    assert (job.optimisation.max_memory, job.hessian.max_memory, lib.num_threads()) == (2345, 2345, 1)
    assert settings.optimisation.max_memory == DEFAULT["memory_mb"]
    larger = settings.for_job(DEFAULT["memory_mb"] + 4000, 1)  # the rest of a job's memory is not PySCF's
    assert (larger.optimisation.max_memory, larger.hessian.max_memory) == (DEFAULT["memory_mb"], DEFAULT["memory_mb"])
    lib.num_threads(before)


def test_dft_jobs_take_memory_and_threads_from_their_rule():
    rules = "".join(path.read_text() for path in (ROOT / "workflow/rules").glob("*.smk"))
    scripts = {path.stem for path in (ROOT / "workflow/scripts").glob("*.py") if "for_job" in path.read_text()}
    with_threads = set(re.findall(r"rule (\w+):(?:(?!\n *rule ).)*?threads: DFT_THREADS", rules, flags=re.DOTALL))
    assert with_threads == scripts


def test_every_rule_has_a_log_and_every_dft_rule_a_benchmark():
    rules = {}
    for path in (ROOT / "workflow/rules").glob("*.smk"):
        _, *parts = re.split(r"^ *(?:rule|checkpoint) (\w+):$", path.read_text(), flags=re.MULTILINE)
        rules |= dict(zip(parts[::2], parts[1::2], strict=True))
    assert len(rules) >= 20
    assert [name for name, body in rules.items() if not re.search(r"^ +log:$", body, re.MULTILINE)] == []
    timed, dft = (
        {name for name, body in rules.items() if re.search(rf"^ +{word}", body, re.MULTILINE)}
        for word in ("benchmark:", "threads: DFT_THREADS")
    )
    assert timed == dft


def test_the_gpu_profile_gives_the_gpu_to_every_dft_job_and_one_at_a_time():
    profile = config.read_yaml(ROOT / "workflow/profiles/gpu/config.yaml")
    scripts = {path.stem for path in (ROOT / "workflow/scripts").glob("*.py") if "for_job" in path.read_text()}
    assert set(profile["set-resources"]) == {f"{name}:gpu=1" for name in scripts - {"verify_reference"}}
    assert "gpu=1" in profile["resources"]


@pytest.mark.parametrize("name", list(DEFAULT["levels"]))
def test_every_level_shipped_is_known_for_the_elements_of_the_complexes(name):
    levels.check_level(levels.Level(**DEFAULT["levels"][name]), ["C", "Fe", "H", "N", "O", "S"])


def test_a_missing_configuration_is_named_with_the_remedy(tmp_path):
    with pytest.raises(BadInput, match=r"nowhere\.yaml is not there; correct the path"):
        config.read_yaml(tmp_path / "nowhere.yaml")


def test_a_missing_complexes_yaml_is_named(tmp_path):
    with pytest.raises(BadInput, match=r"complexes\.yaml is not there; correct the path"):
        config.load(DEFAULT, tmp_path)


def test_an_id_in_complexes_yaml_with_other_characters_is_refused(tmp_path):
    entry = config.read_yaml(ROOT / "structures/complexes.yaml")["h2co"]
    (tmp_path / "complexes.yaml").write_text(yaml.safe_dump({"H2 CO": entry}))
    with pytest.raises(BadInput, match=r"complexes\.yaml, top level: 'H2 CO'.*small letters, digits and hyphens"):
        config.load(DEFAULT, tmp_path)


def test_an_id_that_is_a_number_is_refused(tmp_path):
    entry = config.read_yaml(ROOT / "structures/complexes.yaml")["h2co"]
    (tmp_path / "complexes.yaml").write_text(yaml.safe_dump({2309697: entry, "h2co": entry}))
    with pytest.raises(BadInput, match=r"complexes\.yaml: the id 2309697 is a number; begin it with a letter"):
        config.load(DEFAULT | {"complexes": ["h2co"]}, tmp_path)


@pytest.mark.parametrize("text", ["a: {x: 1}\nb: 2\na: 3\n", "a:\n  x: 1\n  x: 2\n"])
def test_a_key_that_is_there_twice_is_refused_with_its_place(tmp_path, text):
    """PyYAML would take the last one: of two entries under one id, one complex would be computed as the other."""
    (tmp_path / "twice.yaml").write_text(text)
    with pytest.raises(BadInput, match=r"the key [ax] is there twice.* line [12]"):
        config.read_yaml(tmp_path / "twice.yaml")


def test_whole_numbers_with_a_point_are_whole_numbers(structures):
    settings = structures(charge=0.0, multiplicity={"LS": 1.0, "HS": 3.0})
    entry = settings.entry("h2co")
    assert [type(entry["charge"]), *(type(value) for value in entry["multiplicity"].values())] == [int, int, int]


def test_a_misspelt_key_is_shown_beside_the_one_that_is_missing(tmp_path):
    entry = config.read_yaml(ROOT / "structures/complexes.yaml")["h2co"]
    entry["pointgroup"] = entry.pop("point_group")
    (tmp_path / "complexes.yaml").write_text(yaml.safe_dump({"h2co": entry}))
    with pytest.raises(BadInput, match="point_group.*pointgroup"):
        config.load(DEFAULT | {"complexes": ["h2co"]}, tmp_path)


def test_a_basis_that_lacks_the_metal_is_refused_before_any_scf(tmp_path):
    content = copy.deepcopy(DEFAULT) | {"complexes": ["fe-aai2-ncs2"]}
    content["levels"]["pbe0_def2-svp"]["auxiliary_basis"] = "cc-pvdz-jkfit"
    settings = config.load(content, ROOT / "structures")
    with pytest.raises(BadInput, match="auxiliary_basis 'cc-pvdz-jkfit' is unknown to PySCF or lacks Fe"):
        stages.extract_molecule(settings, "fe-aai2-ncs2", tmp_path / "out")


@pytest.mark.parametrize(
    ("change", "words"), [({"C": -35.0}, "C must be positive"), ({"b": 0.0}, "b must be positive")]
)
def test_landau_parameters_that_make_no_model_are_refused_before_any_job(structures, change, words):
    sound = {"a1": 0.6, "T_SC": 235.0, "C": 35.0, "b": 10.0, "source": "a test", "borrowed_from": None}
    assert structures(landau=sound).entry("h2co")["landau"] == sound
    with pytest.raises(BadInput, match=f"h2co, landau: Landau parameter {words}"):
        structures(landau=sound | change)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_numbers_of_a_complex_that_are_not_finite_are_refused_by_key(structures, value):
    sound = {"a1": 0.6, "T_SC": 235.0, "C": 35.0, "b": 10.0, "source": "a test", "borrowed_from": None}
    with pytest.raises(BadInput, match=rf"complexes\.yaml, h2co\.landau\.T_SC: {value} is not a finite number"):
        structures(landau=sound | {"T_SC": value})
    dsc = {"heating_J_per_mol_K": 62.8, "cooling_J_per_mol_K": value, "temperature_up_K": 235.0}
    dsc |= {"temperature_down_K": 219.0, "doi": "10.1039/d4mh01318b"}
    with pytest.raises(BadInput, match=rf"h2co\.calorimetry\.cooling_J_per_mol_K: {value} is not a finite number"):
        structures(calorimetry=dsc)


def test_a_missing_structure_file_is_named(structures):
    with pytest.raises(BadInput, match=r"nowhere\.cif"):
        structures(low_spin_structure="nowhere.cif")


@pytest.mark.parametrize("name", ["h2co/low spin.cif", "h2co/LOW.CIF", "h2co/low.res"])
def test_a_structure_file_that_is_spelt_otherwise_is_told_how(structures, name):
    said = rf"h2co\.low_spin_structure: '{re.escape(name)}' is not spelt .* without spaces, ending in \.cif or \.xyz"
    with pytest.raises(BadInput, match=said):
        structures(low_spin_structure=name)


@pytest.mark.parametrize("change", [{"charge": 1}, {"multiplicity": {"LS": 2, "HS": 3}}])
def test_an_impossible_charge_or_multiplicity_is_refused_before_any_scf(structures, tmp_path, change):
    settings = structures(**change)
    with pytest.raises(BadInput, match="multiplicity"):
        stages.extract_molecule(settings, "h2co", tmp_path / "out")


def test_a_structure_without_the_axis_asked_for_is_refused(structures, tmp_path):
    path = tmp_path / "h2co/h2co.xyz"
    lines = path.read_text().splitlines()
    symbol, x, y, z = lines[-1].split()
    lines[-1] = f"{symbol} {float(x) - 0.3} {y} {float(z) + 0.6}"
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(BadInput, match="C2"):
        stages.extract_molecule(structures(), "h2co", tmp_path / "out")


@pytest.mark.parametrize("group", ["D7", "C2x"])
def test_an_unsupported_point_group_is_refused(structures, group):
    with pytest.raises(BadInput, match="point_group"):
        stages.parent_group(structures(point_group=group), "h2co")


def test_a_measured_cif_beside_a_built_model_is_used_and_said(structures, tmp_path):
    built = structures()
    assert built.entry("h2co")["origin"] == "built model"
    (tmp_path / "h2co/measured_low_spin.cif").write_text("data_x")
    found = structures().entry("h2co")
    assert found["low_spin_structure"] == "h2co/measured_low_spin.cif"
    assert found["high_spin_structure"] is None
    assert found["origin"] == "cif"
    assert "measured_low_spin.cif" in found["source"]
    (tmp_path / "h2co/measured_low_spin.cif").rename(tmp_path / "h2co/measured_high_spin.cif")
    high = structures().entry("h2co")
    assert high["low_spin_structure"] == built.entry("h2co")["low_spin_structure"]
    assert (high["high_spin_structure"], high["origin"]) == ("h2co/measured_high_spin.cif", "cif")


def test_numbers_as_most_write_them_are_numbers(structures):
    """YAML 1.1 reads 1e-10 as a text."""
    content = DEFAULT | {"hessian": DEFAULT["hessian"] | {"step": "5e-3"}, "memory_mb": "8e3"}
    content["levels"] = {"pbe0_def2-svp": DEFAULT["levels"]["pbe0_def2-svp"] | {"scf_energy_tolerance": "1e-10"}}
    settings = config.load(content | {"complexes": ["h2co"]}, ROOT / "structures")
    assert (settings.hessian.step, settings.level.scf_energy_tolerance) == (5e-3, 1e-10)
    assert settings.hessian.max_memory == settings.optimisation.max_memory == 8000


@pytest.mark.parametrize("spins", [{"LS": 5, "HS": 1}, {"LS": 3, "HS": 3}])
def test_high_spin_has_the_higher_multiplicity(structures, spins):
    with pytest.raises(BadInput, match=r"h2co, multiplicity: \d \(LS\) is not below \d \(HS\)"):
        structures(multiplicity=spins)


def test_the_entry_shown_in_the_readme_is_accepted(tmp_path):
    text = (ROOT / "README.md").read_text()
    shown = yaml.safe_load(textwrap.dedent(re.search(r"```yaml\n(.*?)```", text, re.DOTALL)[1]))
    complexes = yaml.safe_load((ROOT / "structures/complexes.yaml").read_text()) | shown
    schema = json.loads((ROOT / "workflow/schemas/complexes.schema.json").read_text())
    jsonschema.Draft202012Validator(schema).validate(complexes)
    (name,) = shown
    (tmp_path / name).mkdir()
    for file in ("low_spin", "high_spin"):
        shutil.copy(ROOT / f"structures/fe-phen2-ncs2/{file}.cif", tmp_path / shown[name][f"{file}_structure"])
    (tmp_path / "complexes.yaml").write_text(yaml.safe_dump(shown))
    settings = config.load(DEFAULT | {"complexes": [name]}, tmp_path)
    assert settings.entry(name)["landau"] is None
    assert settings.entry(name)["calorimetry"] is None
