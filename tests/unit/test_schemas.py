"""Every JSON is checked against its schema before it is written; all open with one and the same provenance block."""

import json

import jsonschema
import pytest

from sample_provenance import provenance
from spincross import config, files, schemas
from spincross.errors import BadInput

NAMES = sorted(path.name.partition(".")[0] for path in schemas.FOLDER.glob("*.schema.json"))
STATE = {"state": "HS", "multiplicity": 5, "point_group": "C2"}
OF_A_STATE = "hessian mode optimise plan probe scan vibrations"
RESULTS = f"{OF_A_STATE} crystal entropy fit landau molecule states summary verify_reference"


def objects(content):
    """Yield every object of a schema that names its keys; one that narrows a $ref is closed there."""
    if isinstance(content, dict) and "properties" in content and "$ref" not in content:
        yield content
    if isinstance(content, dict | list):
        for item in content.values() if isinstance(content, dict) else content:
            yield from objects(item)


@pytest.mark.parametrize("name", NAMES)
def test_every_schema_is_one_and_allows_no_other_keys(name):
    content = json.loads((schemas.FOLDER / f"{name}.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(content)
    assert (content["additionalProperties"] is False) == (name != "complexes")  # whose keys are the ids
    assert all(found.get("additionalProperties") is False for found in objects(content))


def test_every_schema_is_that_of_an_input_a_record_or_a_result():
    assert set(NAMES) == {"complexes", "config", "provenance", "record", *RESULTS.split()}


def test_the_calorimetry_of_an_entry_may_stand_in_the_account_of_its_entropy():
    """It is copied there as it is; every shipped one, too."""
    entries, account = (json.loads((schemas.FOLDER / f"{n}.schema.json").read_text()) for n in ("complexes", "entropy"))
    given = entries["$defs"]["entry"]["properties"]["calorimetry"]
    taken = account["properties"]["calorimetry"]
    assert set(given["properties"]) == set(taken["properties"])
    shipped = [entry["calorimetry"] for entry in config.read_yaml(config.STRUCTURES / "complexes.yaml").values()]
    assert {"source", "doi"} <= {key for content in shipped if content for key in content}
    for content in shipped:
        jsonschema.validate(content, taken)


def faults(name, block):
    """Return what a schema says against a provenance block, and nothing else."""
    found = schemas.validator(name).iter_errors({"provenance": block})
    return [error for error in found if list(error.absolute_path)[:1] == ["provenance"]]


@pytest.mark.parametrize("name", RESULTS.split())
def test_provenance_is_required_and_the_same_in_every_result(name):
    missing = [error.message for error in schemas.validator(name).iter_errors({})]
    assert "'provenance' is a required property" in missing
    whole = provenance(**STATE)
    assert not faults(name, whole)
    for key in ("versions", "machine_class", "inputs_sha256", "wall_seconds", "origin", "converged", "level"):
        assert faults(name, {k: v for k, v in whole.items() if k != key}), key
    assert faults(name, whole | {"host": "a name"})
    assert faults(name, whole | {"origin": "typed in"})
    assert faults(name, whole | {"inputs_sha256": {"geometry": "abc"}})
    assert faults(name, whole | {"level": {"functional": "pbe0"}})


@pytest.mark.parametrize("name", RESULTS.split())
def test_the_result_of_a_state_says_which_state(name):
    of_a_state = name in OF_A_STATE.split()
    assert bool(faults(name, provenance())) == of_a_state
    assert bool(faults(name, provenance(**STATE) | {"level": None})) == of_a_state
    assert bool(faults(name, provenance(**STATE) | {"state": None})) == of_a_state


def test_a_result_that_breaks_its_schema_is_not_written(tmp_path):
    with pytest.raises(BadInput, match="allowed keys"):
        schemas.write_checked(tmp_path / "scan.json", {"surprise": 1}, "scan")
    with pytest.raises(BadInput, match=r"summary\.json, top level: 'provenance' is a required property"):
        row = {key: 1 for key in files.read_json(schemas.FOLDER / "summary.schema.json")["properties"]}
        del row["provenance"]
        schemas.write_checked(tmp_path / "summary.json", row, "summary")
    assert not list(tmp_path.iterdir())
