"""A provenance block as the stages write it, and checks against the schemas that need one."""

from typing import Any

from spincross import files, levels, schemas

LEVEL = levels.Level().theory() | {"name": "pbe0_def2-svp"}


def provenance(origin: str = "computed", **state: Any) -> files.Json:
    """Return a provenance block; `state` has multiplicity, point_group and the like."""
    return {
        "origin": origin,
        "converged": True,
        "wall_seconds": 61.5,
        "machine_class": "x86_64, 2 cores, Linux",
        "versions": {"spincross": "0.1", "pyscf": "2.14.0", "geometric": "1.1", "numpy": "2.0"},
        "inputs_sha256": {"geometry": 64 * "0"},
        "level": LEVEL,
    } | state


def fulfils(content: files.Json, schema: str) -> None:
    """Raise where content, with a provenance block, does not fulfil its schema."""
    schemas.validator(schema).validate(files.plain(content | {"provenance": provenance()}))
