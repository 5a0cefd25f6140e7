"""A configuration for formaldehyde at a level that costs a second."""

from pathlib import Path

from spincross import config

ROOT = Path(__file__).resolve().parents[2]


def small_settings() -> config.Settings:
    """Return the shipped configuration with the smallest basis and grid."""
    content = config.read_yaml(ROOT / "workflow/config/config.yaml") | {"complexes": ["h2co"]}
    content["levels"][content["level"]] |= {"basis": "sto-3g", "grid_level": 0}
    scattered = {"method": "finite differences", "displacements_per_job": 3, "displacement_grid_level": 1}
    content["hessian"] |= scattered
    return config.load(content, ROOT / "structures")
