# Reads and checks the configuration and the complexes before any job; wildcard constraints; nothing else.
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(workflow.basedir) / "workflow"))
os.environ["PYTHONPATH"] = os.pathsep.join([sys.path[0], os.environ.get("PYTHONPATH", "")])

from snakemake.exceptions import WorkflowError
from spincross import config as spincross_config
from spincross import reference, stages
from spincross.errors import SpincrossError

STRUCTURES = Path(workflow.basedir) / "structures"

try:
    SETTINGS = spincross_config.load(dict(config), STRUCTURES)
    PARENTS = {c: stages.parent_group(SETTINGS, c) for c in config["complexes"]}
except SpincrossError as error:
    raise WorkflowError(str(error))

LEVEL = SETTINGS.level_name
VERSION = spincross_config.VERSION
DFT_THREADS = workflow.cores or 1
LOWERED = "|".join(c for c in config["complexes"] if PARENTS[c] != "C1") or "none"
RECALLED = reference.available(SETTINGS) if config["reference"] == "use" else []


def parent(complex_id, state, stage):
    """Results folder of a stage of a state in the parent group."""
    return f"results/{complex_id}/{LEVEL}/{state}/{PARENTS[complex_id]}/{stage}"


def optimised(folder):
    """Files of an optimised state."""
    return [f"{folder}/{n}" for n in ("optimise.json", "geometry.xyz", "trajectory.xyz", "orbitals.npz")]


wildcard_constraints:
    complex="|".join(config["complexes"]),
    level=LEVEL,
    state="LS|HS",
    point_group="|".join(sorted({*PARENTS.values(), "C1"})),
