# Reads and checks the configuration and the complexes before any job; paths of results; wildcard constraints.
# Snakemake puts the folder of every included file on sys.path, here and in scripts: that is how spincross is imported.
import os
from pathlib import Path

from snakemake.exceptions import WorkflowError

from spincross import config as spincross_config
from spincross import (
    files,
    reference,
    resources,
    soft_modes,
    stages,
    symmetry_mode,
)
from spincross.errors import SpincrossError

STRUCTURES = Path(workflow.basedir) / "structures"

try:
    SETTINGS = spincross_config.load(dict(config), STRUCTURES)
    PARENTS = {c: stages.parent_group(SETTINGS, c) for c in config["complexes"]}
    reference.require_levels(SETTINGS, Path("results"))
    RECALLED = reference.available(SETTINGS) if config["reference"] == "use" else []
except SpincrossError as error:
    raise WorkflowError(str(error))

LEVEL = SETTINGS.level_name
VERSION = spincross_config.VERSION
LIBRARY = (
    spincross_config.library_checksum()
)  # for jobs of seconds, from which no DFT follows
DFT_THREADS = (
    workflow.resource_settings.cores or 1
)  # a cluster has no number of cores; its profile sets threads
LOWERED = "|".join(c for c in config["complexes"] if PARENTS[c] != "C1") or "none"

PAGE = [
    workflow.source_path(f"report/{name}")
    for name in (
        "page.html.j2",
        "page.css",
        "page.js",
        "references.bib",
        "index.html.j2",
    )
]
WITH_LANDAU = [c for c in config["complexes"] if SETTINGS.entry(c)["landau"]]
MODELLED = "|".join(WITH_LANDAU) or "none"


def structure_files(w):
    """The structure files that the entry of a complex names."""
    # relative: a project that moves computes nothing again
    return [
        os.path.relpath(path) for path in SETTINGS.structure_files(w.complex).values()
    ]


def parent(complex_id, state, stage):
    """Results of a stage of a state in the parent group."""
    return f"results/{complex_id}/{LEVEL}/{state}/{PARENTS[complex_id]}/{stage}"


def optimised(folder):
    """Files of an optimised state."""
    return [
        f"{folder}/{n}"
        for n in ("optimise.json", "geometry.xyz", "trajectory.xyz", "orbitals.npz")
    ]


def recorded(stage):
    """Input function: the record's file where the record is usable, else a file that never exists."""

    def path(w):
        usable = (w.complex, w.state, w.point_group, stage) in RECALLED
        place = reference.folder(SETTINGS, w.complex, w.state, w.point_group, stage)
        return (
            os.path.relpath(place / "record.json")
            if usable
            else "no usable reference record"
        )

    return path


def size_of_input(input, level=SETTINGS.hessian.displaced_level(SETTINGS.level)):
    """Functions and grid points of the molecule that a job reads."""
    starts = ("geometry.xyz", "molecule.xyz", "molecule_high_spin.xyz", "displaced.xyz")
    xyz = next(path for path in input if Path(path).name in starts)
    return resources.size_of(xyz, level)


def dft_memory(wildcards, input, attempt):
    """Memory of a DFT job, MB; more after a failure."""
    return attempt * resources.memory_mb(
        size_of_input(input), SETTINGS.config["memory_mb"]
    )


def size_when_settling(input):
    """Functions and points of the finer grid on which modes inside the noise floor are settled."""
    level = soft_modes.finer_level(SETTINGS.hessian.displaced_level(SETTINGS.level))
    return size_of_input(input, level)


def settling_memory(wildcards, input, attempt):
    """Memory of a job that settles modes on a finer grid, MB; more after a failure."""
    return attempt * resources.memory_mb(
        size_when_settling(input), SETTINGS.config["memory_mb"]
    )


def hessian_memory(wildcards, input, attempt):
    """Memory of an analytic Hessian, MB; more after a failure."""
    return attempt * resources.hessian_memory_mb(
        size_when_settling(input), SETTINGS.config["memory_mb"]
    )


def verification_memory(wildcards, attempt):
    """Memory of recomputing records, MB: what the largest of their molecules needs."""
    needs = (
        dft_memory(wildcards, [xyz], attempt)
        for xyz in SETTINGS.structures.glob(
            f"reference/*/{SETTINGS.level_name}/*/*/*/geometry.xyz"
        )
    )
    return max(needs, default=resources.SMALLEST_MB)


def dft_runtime(gradients):
    """Time limit of a DFT job of so many gradients, minutes; more after a failure."""

    def minutes(wildcards, input, threads, attempt):
        return resources.runtime_minutes(
            size_of_input(input), threads, gradients, attempt
        )

    return minutes


def hessian_runtime(wildcards, input, threads, attempt):
    """Time limit of an analytic Hessian, minutes; more after a failure."""
    gradients = resources.hessian_gradients(size_of_input(input))
    return dft_runtime(gradients)(wildcards, input, threads, attempt)


def scan_runtime(wildcards, input, threads, attempt):
    """Time limit of the scan along the breaking mode, minutes: points of one side, three more; SCF and stability each."""
    side = max(
        SETTINGS.config["symmetry_mode"]["scan_points"], 1 + symmetry_mode.MOST_HALVINGS
    )
    return dft_runtime(side + 3)(wildcards, input, threads, attempt)


def bundle_runtime(wildcards, input, threads, attempt):
    """Time limit of a bundle of displacements, minutes."""
    first, last = files.read_json(Path(input.plan))["bundles"][int(wildcards.bundle)]
    return dft_runtime(last - first)(wildcards, input, threads, attempt)


def planned_bundles(w):
    """Input function: the bundles of displacements that the plan asks for."""
    plan = files.read_json(Path(checkpoints.plan_displacements.get(**w).output[0]))
    folder = f"results/{w.complex}/{w.level}/{w.state}/{w.point_group}/vibrations"
    return [f"{folder}/displacements/{k}.npz" for k in range(len(plan["bundles"]))]


def report_inputs(w):
    """Everything a page shows."""
    states = [parent(w.complex, s, "") for s in ("LS", "HS")] + [
        f"results/{w.complex}/{LEVEL}/HS/C1/"
    ]
    return {
        "molecule": f"results/{w.complex}/molecule/molecule.json",
        "optimise": [f"{s}optimise/optimise.json" for s in states],
        "vibrations": [f"{s}vibrations/vibrations.json" for s in states],
        "mode": parent(w.complex, "HS", "symmetry_mode/mode.json"),
        "entropy": f"results/{w.complex}/{LEVEL}/entropy/entropy.json",
        "landau": f"results/{w.complex}/{LEVEL}/landau/landau.json",
        "page": PAGE,
    }


wildcard_constraints:
    complex="|".join(config["complexes"]),
    level=LEVEL,
    state="LS|HS",
    point_group="|".join(sorted({*PARENTS.values(), "C1"})),
