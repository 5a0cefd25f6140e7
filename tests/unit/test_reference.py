"""Reference records are used only where they fit exactly."""

import copy
from dataclasses import replace
from pathlib import Path

import pytest

from spincross import config, files, reference, schemas
from spincross.errors import BadInput, CannotWrite, StaleData

ROOT = Path(__file__).resolve().parents[2]
DEFAULT = config.read_yaml(ROOT / "workflow/config/config.yaml")
SHIPPED = [
    (path.parts[-5], path.parts[-3], path.parts[-2], path.parts[-1])
    for path in sorted((ROOT / "structures/reference").glob("*/pbe0_def2-svp/*/*/*"))
]


@pytest.fixture
def settings(tmp_path):
    (tmp_path / "h2co").mkdir()
    for name in ("complexes.yaml", "h2co/h2co.xyz"):
        (tmp_path / name).write_text((ROOT / "structures" / name).read_text())
    found = config.load(DEFAULT | {"complexes": ["h2co"]}, tmp_path)
    place = reference.folder(found, "h2co", "LS", "C2", "optimise")
    for name in reference.STAGE_FILES["optimise"]:
        files.write_json(place / name, {"provenance": {"origin": "computed"}})
    facts = {
        "level": found.level.theory(),
        "structure_sha256": reference.structure_checksums(found, "h2co"),
        "molecule": reference.choices(found, "h2co", "LS"),
        "files_sha256": {name: files.sha256_of(place / name) for name in reference.STAGE_FILES["optimise"]},
    }
    files.write_json(place / "record.json", facts)
    return found


def test_a_record_of_this_structure_and_level_is_usable_and_marked_recalled(settings, tmp_path):
    assert reference.available(settings) == [("h2co", "LS", "C2", "optimise")]
    place = reference.folder(settings, "h2co", "LS", "C2", "optimise")
    reference.recall(place, tmp_path / "out", "optimise")
    assert files.read_json(tmp_path / "out/optimise.json")["provenance"]["origin"] == "recalled"


@pytest.mark.parametrize(
    "change",
    [{"charge": 2}, {"multiplicity": {"LS": 3, "HS": 5}}, {"block": "x"}, {"species": "CO"}, {"metal_site": "C1"}],
)
def test_a_record_of_another_molecule_or_spin_of_the_same_file_is_not_used(settings, change):
    entry = settings.complexes["h2co"] | change
    changed = replace(settings, complexes={"h2co": entry})
    assert reference.available(changed) == []
    other = settings.complexes["h2co"] | {"multiplicity": {"LS": 1, "HS": 5}, "title": "another"}
    assert len(reference.available(replace(settings, complexes={"h2co": other}))) == 1  # LS is what it was


def test_a_record_of_another_structure_is_not_used(settings, tmp_path):
    with (tmp_path / "h2co/h2co.xyz").open("a") as handle:
        handle.write("\n")
    assert reference.available(settings) == []


@pytest.fixture
def iron(tmp_path):
    """Return a folder of structures with the stand-in's two CIFs and its records."""
    source, place = ROOT / "structures", tmp_path / "structures"
    for name in ("complexes.yaml", "fe-aai2-ncs2/low_spin.cif", "fe-aai2-ncs2/high_spin.cif"):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text((source / name).read_text())
    (place / "reference").symlink_to(source / "reference")
    return place


def states_recorded(structures):
    settings = config.load(DEFAULT | {"complexes": ["fe-aai2-ncs2"]}, structures)
    return {state for _, state, _, _ in reference.available(settings)}


@pytest.mark.parametrize(("changed", "left"), [("high", {"LS"}), ("low", set())])
def test_ls_depends_on_its_own_structure_and_hs_on_both(iron, changed, left):
    assert states_recorded(iron) == {"LS", "HS"}
    with (iron / f"fe-aai2-ncs2/{changed}_spin.cif").open("a") as handle:
        handle.write("\n")
    assert states_recorded(iron) == left


def test_hs_computed_from_its_own_structure_is_not_used_for_an_entry_without_one(iron):
    catalogue = (iron / "complexes.yaml").read_text()
    line = "  high_spin_structure: fe-aai2-ncs2/high_spin.cif\n"
    assert line in catalogue
    (iron / "complexes.yaml").write_text(catalogue.replace(line, ""))
    assert states_recorded(iron) == {"LS"}


@pytest.mark.parametrize("device", ["auto", "cpu", "gpu", None])
def test_a_record_serves_every_device(settings, device):
    content = copy.deepcopy(settings.config)
    level = content["levels"]["pbe0_def2-svp"]
    level.pop("device", None) if device is None else level.update(device=device)
    assert len(reference.available(config.load(content, settings.structures))) == 1


def test_a_recall_that_is_cut_off_does_not_count_as_finished(settings, tmp_path, monkeypatch):
    """The JSON, by which a stage counts as finished, comes last and already says `recalled`."""
    place, copied = reference.folder(settings, "h2co", "LS", "C2", "optimise"), reference.shutil.copyfile

    def full(source, target):
        if source.name == "trajectory.xyz":
            raise OSError(28, "No space left on device")
        return copied(source, target)

    monkeypatch.setattr(reference.shutil, "copyfile", full)
    with pytest.raises(CannotWrite, match="No space left"):
        reference.recall(place, tmp_path / "out", "optimise")
    assert not (tmp_path / "out/optimise.json").exists()


@pytest.mark.parametrize("stage", ["vibrations", "symmetry_mode"])
def test_a_hessian_or_scan_of_another_geometry_is_refused_and_no_record_is_touched(iron, tmp_path, stage):
    """As after an optimisation done again beside an old Hessian."""
    settings = config.load(DEFAULT | {"complexes": ["fe-aai2-ncs2"]}, iron)
    base = tmp_path / "results/fe-aai2-ncs2/pbe0_def2-svp/HS/C2"
    for name in ("optimise", stage):
        reference.recall(reference.folder(settings, "fe-aai2-ncs2", "HS", "C2", name), base / name, name)
    path = base / stage / reference.STAGE_FILES[stage][0]
    reference.require_geometry(path)
    with (base / "optimise/geometry.xyz").open("a") as handle:
        handle.write("\n")
    with pytest.raises(StaleData, match=rf"belongs to another geometry than .*; move the folder {stage} away"):
        reference.require_geometry(path)


def test_a_molden_file_goes_with_a_record_where_there_is_one(settings, tmp_path):
    place = reference.folder(settings, "h2co", "LS", "C2", "optimise")
    reference.recall(place, tmp_path / "without", "optimise")
    (place / "orbitals.molden").write_text("[Molden Format]")
    reference.recall(place, tmp_path / "with", "optimise")
    found = [(tmp_path / name / "orbitals.molden").exists() for name in ("without", "with")]
    assert found == [False, True]


def test_an_incomplete_record_is_said_and_one_without_its_last_file_is_none(settings):
    """record.json is written last: without it nothing was stored."""
    place = reference.folder(settings, "h2co", "LS", "C2", "optimise")
    (place / "orbitals.npz").unlink()
    with pytest.raises(BadInput, match=r"optimise lacks orbitals.npz; restore it"):
        reference.available(settings)
    (place / "record.json").unlink()
    assert reference.available(settings) == []


def test_a_record_that_was_changed_is_not_recalled(settings, tmp_path):
    place = reference.folder(settings, "h2co", "LS", "C2", "optimise")
    content = files.read_json(place / "optimise.json")
    files.write_json(place / "optimise.json", content | {"energy_hartree": -114.0})
    with pytest.raises(BadInput, match=r"is damaged: optimise.json changed since; restore it \(git checkout\)"):
        reference.recall(place, tmp_path / "out", "optimise")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("key", ["molecule", "files_sha256", "level", "structure_sha256"])
def test_a_record_of_an_older_version_is_said(settings, key):
    path = reference.folder(settings, "h2co", "LS", "C2", "optimise") / "record.json"
    content = files.read_json(path)
    files.write_json(path, {name: value for name, value in content.items() if name != key})
    with pytest.raises(BadInput, match="was kept by an older version; compute and store it again"):
        reference.available(settings)


def test_nothing_to_store_is_said(settings, tmp_path):
    with pytest.raises(BadInput, match=r"there is nothing to store: no folder .*nope/h2co/pbe0_def2-svp"):
        reference.store(settings, tmp_path / "nope")


def test_a_record_of_other_settings_under_the_same_name_is_an_error(settings):
    content = copy.deepcopy(settings.config)
    content["levels"]["pbe0_def2-svp"]["grid_level"] = 4
    with pytest.raises(BadInput, match="other settings"):
        reference.available(config.load(content, settings.structures))


@pytest.mark.parametrize(("complex_id", "state", "group", "stage"), SHIPPED)
def test_shipped_records_are_whole_and_computed_by_this_code(complex_id, state, group, stage):
    settings = config.load(DEFAULT | {"complexes": [complex_id]}, ROOT / "structures")
    assert reference.usable(settings, complex_id, state, group, stage)
    place = reference.folder(settings, complex_id, state, group, stage)
    content = files.read_json(place / reference.STAGE_FILES[stage][0])
    schemas.check(content, Path(reference.STAGE_FILES[stage][0]).stem, str(place))
    schemas.check(files.read_json(place / "record.json"), "record", str(place))
    reference.check_files(place)
    facts = content["provenance"]
    assert facts["origin"] == "computed"
    assert facts["versions"]["spincross"]
    if stage == "vibrations":
        reference.check_hessian(settings, complex_id, state, group)


def test_a_hessian_beside_another_geometry_is_refused(settings):
    import numpy as np

    place = reference.folder(settings, "h2co", "LS", "C2", "vibrations")
    files.write_arrays(place / "hessian.npz", positions=np.ones((4, 3)))
    files.write_xyz(place.parent / "optimise/geometry.xyz", tuple("COHH"), [np.zeros((4, 3))], [""])
    with pytest.raises(StaleData, match="differs"):
        reference.check_hessian(settings, "h2co", "LS", "C2")
