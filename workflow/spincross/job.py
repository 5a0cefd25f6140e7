"""A job: one folder with all that the DFT stages of a complex need, to be carried to a host that computes and back.

    config.json    structures/    results/    work/

The host needs this library and PySCF, geomeTRIC, ASE, spglib, NumPy and SciPy, for Hessians by finite differences
phonopy, too; neither Snakemake nor a network. The stages run in an order that answers first what is asked first: is HS
a saddle in the parent group?
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from spincross import config, files, optimise, reference, stages
from spincross.config import MEASURED, Settings
from spincross.errors import BadInput


@dataclass(frozen=True)
class Step:
    """One stage of the chain, for a state in a point group.

    `output` is the file that the stage writes last, from the folder of state and group.
    """

    stage: str
    state: str
    group: str
    output: str


def steps(parent: str) -> list[Step]:
    """Return every DFT stage of a complex with a parent point group, the most telling first.

    >>> [step.stage for step in steps("C2")][:4]
    ['molecule', 'optimise', 'hessian', 'vibrations']
    """
    low, high, broken = ("LS", parent), ("HS", parent), ("HS", "C1")
    lowering = [
        Step("symmetry-mode", *high, "symmetry_mode/scan.json"),
        *_minimum(*broken),
        Step("assess-symmetry-mode", *high, "symmetry_mode/mode.json"),
    ]
    found = [Step("molecule", *high, "../../../molecule/molecule.json"), *_minimum(*high), *_minimum(*low)]
    return found if parent == "C1" else found + lowering


def _minimum(state: str, group: str) -> list[Step]:
    return [
        Step("optimise", state, group, "optimise/optimise.json"),
        Step("hessian", state, group, "vibrations/hessian.json"),
        Step("vibrations", state, group, "vibrations/vibrations.json"),
    ]


def pack(settings: Settings, complex_id: str, folder: Path, work: Path) -> None:
    """Make the folder of a job: configuration, structures, the extracted molecule, records, what was begun.

    Records that fit are results that are there already; for states still to be optimised GFN2 start Hessians are made.

    Parameters
    ----------
    folder : is made; BadInput where it holds a job already, which may have results
    work : restart data of runs that were begun here, with which the job goes on
    """
    if (folder / "config.json").exists():
        raise BadInput(f"{folder} holds a job already; give another --into, or remove it")
    _copy_structures(settings, complex_id, folder / "structures")
    molecules = folder / "results" / complex_id / "molecule"
    stages.extract_molecule(settings, complex_id, molecules)
    one = replace(settings, config=settings.config | {"complexes": [complex_id]})
    recalled = recall(one, complex_id, folder / "results")
    begun = Path(complex_id) / settings.level_name
    if (work / begun).is_dir():
        unwanted = shutil.ignore_patterns("lock", "saddles", ".*")
        with files.writing(folder):
            shutil.copytree(work / begun, folder / "work" / begun, ignore=unwanted, dirs_exist_ok=True)
        files.print_line(f"{complex_id}: restart data of {work / begun} goes along")
    for state, name in (("LS", "molecule.xyz"), ("HS", "molecule_high_spin.xyz")):
        if (state, stages.parent_group(settings, complex_id), "optimise") not in recalled:
            _start_hessian(settings, complex_id, state, molecules / name, folder / "work")
    files.write_json(folder / "config.json", one.config)


def _copy_structures(settings: Settings, complex_id: str, target: Path) -> None:
    entry = settings.complexes[complex_id]
    names = [entry[key] for key in MEASURED if entry.get(key)] + [f"{complex_id}/{name}" for name in MEASURED.values()]
    for name in names:
        if (settings.structures / name).is_file():
            with files.replacing(target / name) as temporary:
                shutil.copyfile(settings.structures / name, temporary)
    files.write_json(target / "complexes.json", {complex_id: entry})


def recall(settings: Settings, complex_id: str, results: Path) -> list[tuple[str, str, str]]:
    """Copy every record that fits and is not there yet into the results; return state, group and stage of all that fit.

    None where the configuration says `reference: ignore`.
    """
    found = [key[1:] for key in reference.available(settings)] if settings.config["reference"] == "use" else []
    for where in found:
        target = results.joinpath(complex_id, settings.level_name, *where)
        if (target / reference.STAGE_FILES[where[-1]][0]).exists():
            continue
        reference.recall(reference.folder(settings, complex_id, *where), target, where[-1])
        files.print_line(f"{complex_id} {' '.join(where)}: recalled from the reference records")
    return found


def _start_hessian(settings: Settings, complex_id: str, state: str, xyz: Path, work: Path) -> None:
    """Keep the GFN2 Hessian of a start geometry, where the configuration asks for one: the host may have no tblite."""
    compute = stages.start_hessian(settings, complex_id)
    if compute is None or settings.config["optimisation"]["start_hessian"] != "gfn2":
        return
    group = stages.parent_group(settings, complex_id)
    molecule = stages.load_molecule(settings, complex_id, xyz, group).symmetrised()
    place = work / complex_id / settings.level_name / state / group / "optimise"
    files.print_line(f"{complex_id} {state}: GFN2 Hessian of the start")
    nothing = (np.empty((0, 0)), np.empty((0, 0)))  # GFN2 needs no orbitals
    optimise.kept_hessian(place, compute, (molecule, settings.level, settings.state(complex_id, state), nothing))


def complex_of(folder: Path) -> str:
    """Return the complex of a job; BadInput where its configuration names none."""
    named = config.read_yaml(folder / "config.json").get("complexes")
    if not isinstance(named, list) or not named:
        raise BadInput(f"{folder / 'config.json'} names no complex; make the job again with `pack`")
    return str(named[0])
