"""Reference records: finished DFT stages kept with the project, so that a laptop need not repeat them.

A record lies in `structures/reference/{complex}/{level}/{state}/{point_group}/`. It is written only from results that
this code computed, and used only for the very structure, molecule, spin and level it was computed from: LS depends on
its own structure, HS on both, as its atoms are ordered and turned like those of LS.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from spincross import files, force_constants
from spincross.config import Settings
from spincross.errors import BadInput, StaleData
from spincross.files import Json
from spincross.molecule import Molecule
from spincross.schemas import write_checked

STAGE_FILES: dict[str, tuple[str, ...]] = {
    "optimise": ("optimise.json", "geometry.xyz", "trajectory.xyz", "orbitals.npz"),
    "vibrations": ("hessian.json", "hessian.npz"),
    "symmetry_mode": ("scan.json", "scan.tsv", "displaced.xyz", "orbitals.npz"),
}
"""Files of each DFT stage; the JSON with the provenance comes first."""
EXTRA_FILES: dict[str, tuple[str, ...]] = {"optimise": ("orbitals.molden",)}
"""Files that go with a record where they are there; nothing depends on them."""


def structure_checksums(settings: Settings, complex_id: str) -> Json:
    """Return the SHA-256 of the structure files of a complex."""
    return {key: files.sha256_of(path) for key, path in settings.structure_files(complex_id).items()}


RESTORE = "restore it (git checkout), or set reference: ignore"
"""What to do about a record that is not whole."""
CHOICES = ("charge", "point_group", "metal", "block", "species", "metal_site")
"""Keys of an entry that say which molecule of its structure files is computed, and how."""


def choices(settings: Settings, complex_id: str, state: str) -> Json:
    """Return what else than files and level a state of a complex is computed from; keys left out are null."""
    entry = settings.entry(complex_id)
    return {key: entry.get(key) for key in CHOICES} | {"multiplicity": entry["multiplicity"][state]}


def folder(settings: Settings, complex_id: str, state: str, group: str, stage: str) -> Path:
    """Return where a record lies."""
    return settings.structures / "reference" / complex_id / settings.level_name / state / group / stage


def usable(settings: Settings, complex_id: str, state: str, group: str, stage: str) -> bool:
    """Tell whether a complete record of exactly this structure, molecule, spin and level exists.

    Raises
    ------
    BadInput
        if a record goes by this level's name but was computed with other settings, or is not whole
    """
    place = folder(settings, complex_id, state, group, stage)
    if not (place / "record.json").is_file():  # it is written last
        return False
    missing = [name for name in STAGE_FILES[stage] if not (place / name).is_file()]
    if missing:
        raise BadInput(f"the reference record {place} lacks {', '.join(missing)}; {RESTORE}")
    record = files.read_json(place / "record.json")
    if not {"level", "molecule", "structure_sha256", "files_sha256"} <= set(record):
        raise BadInput(
            f"the reference record {place} was kept by an older version; compute and store it again, or set "
            "reference: ignore"
        )
    if record["level"] != settings.level.theory():
        raise BadInput(
            f"the reference record {place} was computed with other settings than level {settings.level_name!r}; "
            "give your level another name, or set reference: ignore"
        )
    now = structure_checksums(settings, complex_id)
    if record["molecule"] != choices(settings, complex_id, state):
        return False
    return bool(_that_matter(record["structure_sha256"], state) == _that_matter(now, state))


def _that_matter(checksums: Json, state: str) -> Json:
    """Return the checksums of the structures that a state's molecule is made from."""
    return {key: value for key, value in checksums.items() if state != "LS" or key == "low_spin_structure"}


def available(settings: Settings) -> list[tuple[str, str, str, str]]:
    """Return (complex, state, point group, stage) of every usable record of the complexes in the configuration."""
    found = []
    for complex_id in settings.config["complexes"]:
        for state in ("LS", "HS"):
            for group in dict.fromkeys((str(settings.entry(complex_id)["point_group"]), "C1")):
                for stage in STAGE_FILES:
                    if usable(settings, complex_id, state, group, stage):
                        found.append((complex_id, state, group, stage))
    return found


def extra_files(place: Path, stage: str) -> list[str]:
    """Return which of EXTRA_FILES are there."""
    return [name for name in EXTRA_FILES.get(stage, ()) if (place / name).is_file()]


def recall(place: Path, target: Path, stage: str) -> None:
    """Copy a record into the results, its provenance marked `recalled`; BadInput if a file is not what was stored."""
    check_files(place)
    main, *others = STAGE_FILES[stage]
    for name in (*others, *extra_files(place, stage)):
        _copy(place / name, target / name)
    content = files.read_json(place / main)
    content["provenance"]["origin"] = "recalled"
    files.write_json(target / main, content)  # last: where it is, the stage counts as finished


def _copy(source: Path, target: Path) -> None:
    """Copy a file, whole or not at all."""
    with files.replacing(target) as temporary:
        shutil.copyfile(source, temporary)


def check_files(place: Path) -> None:
    """Raise BadInput if a file of a record differs from what was stored."""
    record = files.read_json(place / "record.json")
    wrong = [name for name, stored in record["files_sha256"].items() if files.sha256_of(place / name) != stored]
    if wrong:
        raise BadInput(f"the reference record {place} is damaged: {', '.join(wrong)} changed since; {RESTORE}")


def store(settings: Settings, results: Path) -> list[str]:
    """Turn every finished, computed DFT stage under `results` into a record; return what was stored.

    BadInput if there are no results, one goes by this level's name but was computed with other settings, or from other
    structures than those the complex has now; StaleData if a Hessian or scan is of another geometry.
    """
    wanted = [results / complex_id / settings.level_name for complex_id in settings.config["complexes"]]
    if not any(base.is_dir() for base in wanted):
        raise BadInput(f"there is nothing to store: no folder {', '.join(map(str, wanted))}")
    for base in filter(Path.is_dir, wanted):
        _check_structures(settings, base.parent.name, base.parent / "molecule/molecule.json")
    finished = [source for base in wanted for source in _computed(base)]
    for source in finished:  # all of them before a record is touched
        require_level(settings, source / STAGE_FILES[source.name][0])
        require_geometry(source / STAGE_FILES[source.name][0])
    return [_store(settings, source) for source in finished]


def _computed(base: Path) -> list[Path]:
    """Return the folders of the finished DFT stages of a complex and level that were computed, not recalled."""
    return [
        source
        for stage, names in STAGE_FILES.items()
        for source in sorted(base.glob(f"*/*/{stage}"))
        if all((source / name).is_file() for name in names)
        and files.read_json(source / names[0])["provenance"]["origin"] == "computed"
    ]


def _store(settings: Settings, source: Path) -> str:
    """Make the record of a finished stage; return what it is of."""
    complex_id, (state, group, stage) = source.parts[-5], source.parts[-3:]
    place = folder(settings, complex_id, state, group, stage)
    kept = (*STAGE_FILES[stage], *extra_files(source, stage))
    for name in kept:
        _copy(source / name, place / name)
    facts = {"level": settings.level.theory(), "structure_sha256": structure_checksums(settings, complex_id)}
    facts["molecule"] = choices(settings, complex_id, state)
    facts["files_sha256"] = {name: files.sha256_of(place / name) for name in sorted(kept)}
    write_checked(place / "record.json", facts, "record")
    return f"{complex_id} {state} {group} {stage}"


def _check_structures(settings: Settings, complex_id: str, molecule: Path) -> None:
    """Raise BadInput if the molecule of these results came from other structure files; MissingInput without it."""
    used = files.read_json(molecule)["provenance"]["inputs_sha256"]
    if used != structure_checksums(settings, complex_id):
        raise BadInput(
            f"{molecule} was made from other structure files than {complex_id} has now under {settings.structures}; "
            "its results are not kept as records"
        )


def require_level(settings: Settings, path: Path) -> None:
    """Raise BadInput where a finished stage was computed with other settings than its level has now."""
    used = files.read_json(path)["provenance"].get("level")  # a molecule has none
    own = settings.level.theory()
    if used is not None and {key: used[key] for key in used if key not in ("name", "device")} != own:
        raise BadInput(
            f"{path} was computed with other settings than level {settings.level_name!r} has now; give the level "
            "another name, or move these results and their work folder away"
        )


def require_geometry(path: Path) -> None:
    """Raise StaleData where a finished stage, in its folder, was computed at another geometry than lies beside it."""
    geometry = path.parents[1] / "optimise/geometry.xyz"
    used = files.read_json(path)["provenance"]["inputs_sha256"].get("geometry")
    if used is not None and geometry.is_file() and used != files.sha256_of(geometry):
        raise StaleData(
            f"{path} belongs to another geometry than {geometry}, which was optimised anew; move the folder "
            f"{path.parent.name} away and compute it again"
        )


def require_levels(settings: Settings, results: Path) -> None:
    """Raise BadInput where a DFT stage of the configured complexes and level was computed with other settings."""
    for complex_id in settings.config["complexes"]:
        for names in STAGE_FILES.values():
            for path in sorted((results / complex_id / settings.level_name).glob(f"*/*/*/{names[0]}")):
                require_level(settings, path)


def check_hessian(settings: Settings, complex_id: str, state: str, group: str) -> None:
    """Raise StaleData if a recorded Hessian does not belong to the recorded geometry."""
    symbols, positions, _ = files.read_xyz(folder(settings, complex_id, state, group, "optimise") / "geometry.xyz")
    place = folder(settings, complex_id, state, group, "vibrations") / "hessian.npz"
    force_constants.check_geometry(files.read_arrays(place), Molecule(symbols, positions), str(place))
