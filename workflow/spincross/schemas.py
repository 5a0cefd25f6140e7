"""Checks of the configuration and of every JSON written against the schemas in `workflow/schemas`."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from spincross.errors import BadInput
from spincross.files import Json, plain, read_json, write_json

FOLDER = Path(__file__).resolve().parents[1] / "schemas"
SHARED = "provenance.schema.json"
"""The schema that those of the results refer to."""


def check(content: Any, schema: str, name: str) -> None:
    """Check content against a schema; BadInput with the key, what is wrong and what is allowed, in one sentence.

    A number that is not finite is refused: JSON schemas let NaN through every limit. Where jsonschema is not installed,
    that is said and nothing else is checked.
    """
    for key, value in _numbers(content):
        if not math.isfinite(value):
            raise BadInput(f"{name}, {key}: {value} is not a finite number; give a finite one")
    jsonschema = _jsonschema()
    if jsonschema is None:
        return
    error = jsonschema.exceptions.best_match(validator(schema).iter_errors(content))
    if error is not None:
        key = ".".join(str(part) for part in error.absolute_path) or "top level"
        what = error.message if error.validator != "pattern" else f"{error.instance!r} is not spelt as it must be"
        raise BadInput(f"{name}, {key}: {what}; correct it ({_hint(error)})")


def write_checked(path: Path, content: Json, schema: str) -> None:
    """Write JSON that fulfils its schema; BadInput otherwise, and nothing is written."""
    found = plain(content)
    check(found, schema, str(path))
    write_json(path, found)


def _numbers(content: Any, key: str = "") -> Iterator[tuple[str, float]]:
    """Yield every floating-point number with its key, as `landau.temperature_range_K.0`."""
    if isinstance(content, float):
        yield key or "top level", content
    elif isinstance(content, dict | list):
        for name, item in content.items() if isinstance(content, dict) else enumerate(content):
            yield from _numbers(item, f"{key}.{name}" if key else str(name))


@cache
def validator(schema: str) -> Any:
    """Return jsonschema's validator of a schema, by its name without `.schema.json`."""
    referencing = import_module("referencing")
    shared = referencing.Resource.from_contents(read_json(FOLDER / SHARED))
    registry = referencing.Registry().with_resource(SHARED, shared)
    content = read_json(FOLDER / f"{schema}.schema.json")
    return import_module("jsonschema").Draft202012Validator(content, registry=registry)


@cache
def _jsonschema() -> Any:
    """Return the module, or None, said once."""
    try:
        return import_module("jsonschema")
    except ImportError:
        print(
            "jsonschema is not installed: configuration and results are not checked against their schemas", flush=True
        )
        return None


def _hint(error: Any) -> str:
    schema = error.schema if isinstance(error.schema, dict) else {}
    if error.validator == "additionalProperties":
        return "allowed keys: " + ", ".join(schema.get("properties", {}))
    if error.validator == "required":
        return "found: " + (", ".join(map(str, error.instance)) or "nothing")
    return str(schema.get("description", f"see {FOLDER.name}/"))
