"""The configuration and the complexes, read and checked before any job."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

from pyscf import lib

from spincross import __version__, force_constants, levels, optimise
from spincross.errors import BadInput
from spincross.files import Json, fingerprint, read_json
from spincross.landau_model import LandauModel
from spincross.schemas import check

VERSION = __version__
WORKFLOW = Path(__file__).resolve().parents[1]
EXPONENT = re.compile(r"[+-]?\d+[eE][+-]?\d+")
"""A number as most write it, and YAML 1.1 does not read it."""
WORDS = ("title", "source", "licence", "literature", "landau", "calorimetry")
"""Keys of an entry that no atom depends on."""
MEASURED = {"low_spin_structure": "measured_low_spin.cif", "high_spin_structure": "measured_high_spin.cif"}
"""File names under which a measured CIF takes the place of a built model."""
STRUCTURES = WORKFLOW.parent / "structures"
WINDOWS = (("gates", "metal_spin_high"), ("landau", "temperature_range_K"))
"""Keys that hold a lower and an upper number."""


def read_yaml(path: Path) -> Json:
    """Read a YAML (or JSON) mapping; BadInput if it is missing or not a mapping.

    Where the YAML file is not there, or PyYAML is not installed, a JSON file of the same name is read: `config.json` in
    place of `config.yaml`.
    """
    as_json = Path(path).with_suffix(".json")
    if Path(path) == as_json or (as_json.is_file() and not Path(path).is_file()):
        return read_json(as_json)
    if not Path(path).is_file():
        raise BadInput(f"{path} is not there; correct the path, or put the file there")
    try:
        yaml = import_module("yaml")
    except ImportError as error:
        if not as_json.is_file():
            raise BadInput(f"{path} needs PyYAML; install it, or put the same as JSON into {as_json}") from error
        return read_json(as_json)
    try:
        content = yaml.load(Path(path).read_text(), _no_key_twice(yaml))
    except (OSError, yaml.YAMLError) as error:
        raise BadInput(f"{path} cannot be read as YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise BadInput(f"{path} must hold keys and values; see workflow/config/config.yaml")
    return content


def _no_key_twice(yaml: Any) -> Any:
    """Return PyYAML's safe loader, which takes the last of two equal keys without a word, with an error for them."""

    class Loader(yaml.SafeLoader):
        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            """Build a mapping; ConstructorError for a key that is there twice."""
            keys = [self.construct_object(key, deep=True) for key, _ in node.value]
            twice = [key for number, key in enumerate(keys) if key in keys[:number]]
            if twice:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {twice[0]} is there twice", node.start_mark
                )
            return super().construct_mapping(node, deep)

    return Loader


def numbers(content: Any) -> Any:
    """Return a configuration with texts as 1e-10, which YAML 1.1 takes for no number, as numbers.

    >>> numbers({"step": "5e-3", "grid": [1, "1e2"], "level": "pbe0_def2-svp"})
    {'step': 0.005, 'grid': [1, 100.0], 'level': 'pbe0_def2-svp'}
    """
    if isinstance(content, dict):
        return {key: numbers(value) for key, value in content.items()}
    if isinstance(content, list):
        return [numbers(value) for value in content]
    return float(content) if isinstance(content, str) and EXPONENT.fullmatch(content) else content


def changed(content: Json, words: Iterable[str]) -> Json:
    """Return a configuration with single keys changed: `levels.pbe0_def2-svp.device=gpu`, values as in JSON or plain.

    >>> changed({"hessian": {"step": 0.005}}, ["hessian.step=0.01"])
    {'hessian': {'step': 0.01}}

    BadInput for a word that is none, or a key below one that is not there.
    """
    found: Json = json.loads(json.dumps(content))
    for word in words:
        key, equals, text = word.partition("=")
        *sections, last = key.split(".")
        place: Any = found
        for section in sections:
            place = place.get(section) if isinstance(place, dict) else None
        if not equals or not isinstance(place, dict):
            raise BadInput(f"--set {word}: give SECTION.KEY=VALUE with a section of the configuration")
        try:
            place[last] = json.loads(text)
        except ValueError:
            place[last] = text
    return found


@dataclass(frozen=True)
class Settings:
    """A checked configuration with its complexes.

    Parameters
    ----------
    config : contents of config.yaml
    complexes : entries of complexes.yaml
    structures : folder the structure paths start in
    """

    config: Json
    complexes: Json
    structures: Path

    @property
    def level_name(self) -> str:
        """Name of the level of theory."""
        return str(self.config["level"])

    @property
    def level(self) -> levels.Level:
        """The level of theory."""
        return levels.Level(**self.config["levels"][self.level_name])

    def named_level(self) -> Json:
        """Return the level of theory and its name, as provenance has them."""
        return self.level.theory() | {"name": self.level_name}

    @property
    def optimisation(self) -> optimise.Settings:
        """How to optimise; where failed gates are warnings, forces that break the group stop no step."""
        keys = {k: v for k, v in self.config["optimisation"].items() if k != "start_hessian"}
        gates = self.config["gates"]
        allowed = gates["gradient_asymmetry"] if gates["on_failure"] == "error" else float("inf")
        return optimise.Settings(**keys, symmetry_tolerance=allowed, max_memory=self.config["memory_mb"])

    @property
    def hessian(self) -> force_constants.Settings:
        """How to compute Hessians."""
        keys = {k: v for k, v in self.config["hessian"].items() if k != "displacements_per_job"}
        return force_constants.Settings(**keys, max_memory=self.config["memory_mb"])

    def for_job(self, memory_mb: int, threads: int) -> Settings:
        """Return the settings with what a job gives PySCF, and tell PySCF its threads.

        A job may have more memory than `memory_mb` (MB): PySCF does not count all that it uses against its limit.
        """
        lib.num_threads(threads)
        return replace(self, config=self.config | {"memory_mb": min(int(memory_mb), self.config["memory_mb"])})

    def entry(self, complex_id: str) -> Json:
        """Return the entry of a complex; BadInput if there is none."""
        if complex_id not in self.complexes:
            known = ", ".join(self.complexes)
            raise BadInput(f"complex {complex_id!r} is not in {self.structures}/complexes.yaml; known: {known}")
        entry = {"calorimetry": None, "literature": None, "landau": None} | self.complexes[complex_id]
        return entry | (_measured(entry, complex_id, self.structures) if entry["origin"] == "built model" else {})

    def structure_keys(self, complex_id: str) -> Json:
        """Return the keys of an entry that the molecule depends on: a new title or literature value moves no atom."""
        return {k: v for k, v in self.entry(complex_id).items() if k not in WORDS}

    def structure_files(self, complex_id: str) -> dict[str, Path]:
        """Return the structure files that an entry names, by its keys."""
        entry = self.entry(complex_id)
        return {key: self.structures / entry[key] for key in MEASURED if entry.get(key)}

    def state(self, complex_id: str, name: str) -> levels.State:
        """Return a spin state of a complex."""
        return levels.State(name, int(self.entry(complex_id)["multiplicity"][name]))


def library_checksum() -> str:
    """Return a checksum of this library's source: what it writes in seconds is written anew when it has changed."""
    return fingerprint([path.read_text() for path in sorted(Path(__file__).parent.glob("*.py"))])[:16]


def load(config: Json, structures: Path, name: str = "config") -> Settings:
    """Check a configuration and the complexes it names, and return both.

    Raises
    ------
    BadInput
        for a wrong key or type, a window upside down, an unknown level, functional or basis, a complex or structure
        file that is not there, Landau parameters that make no model
    """
    config = numbers(config)
    check(config, "config", name)
    for section, key in WINDOWS:
        low, high = config[section][key]
        if not low < high:
            raise BadInput(f"{name}, {section}.{key}: [{low}, {high}] does not ascend; give the lower number first")
    complexes = read_yaml(structures / "complexes.yaml")
    for complex_id in complexes:
        if not isinstance(complex_id, str):
            raise BadInput(f"{structures / 'complexes.yaml'}: the id {complex_id} is a number; begin it with a letter")
    check(complexes, "complexes", str(structures / "complexes.yaml"))
    complexes = {name: _whole_numbers(entry) for name, entry in complexes.items()}
    settings = Settings(config, complexes, structures)
    if settings.level_name not in config["levels"]:
        raise BadInput(f"{name}, level: {settings.level_name!r} is not among `levels`: {', '.join(config['levels'])}")
    levels.check_level(settings.level, ["H"])
    for complex_id in config["complexes"]:
        entry = settings.entry(complex_id)
        _check_files(entry, complex_id, structures)
        spins = entry["multiplicity"]
        if spins["LS"] >= spins["HS"]:
            raise BadInput(
                f"{complex_id}, multiplicity: {spins['LS']} (LS) is not below {spins['HS']} (HS); correct it in "
                "complexes.yaml"
            )
        if entry["landau"] is not None:
            _check_landau(entry["landau"], complex_id)
    return settings


def _measured(entry: Json, complex_id: str, structures: Path) -> Json:
    """Return the keys that measured CIFs, put beside a built model as MEASURED names, replace; nothing without them."""
    places = {
        key: f"{complex_id}/{name}" for key, name in MEASURED.items() if (structures / complex_id / name).is_file()
    }
    if not places:
        return {}
    alone = {"high_spin_structure": None} if "high_spin_structure" not in places else {}  # goes with itself
    names = ", ".join(Path(p).name for p in places.values())
    source = f"{names} beside the built model ({entry['source']})"
    return alone | places | {"origin": "cif", "source": source}


def _whole_numbers(entry: Json) -> Json:
    """Return an entry with charge and multiplicity as integers; for a schema 2.0 is one, too."""
    spins = {state: int(value) for state, value in entry["multiplicity"].items()}
    return entry | {"charge": int(entry["charge"]), "multiplicity": spins}


def _check_files(entry: Json, complex_id: str, structures: Path) -> None:
    for key in MEASURED:
        if entry.get(key) and not (structures / entry[key]).is_file():
            raise BadInput(
                f"{complex_id}, {key}: {structures / entry[key]} is not there; correct the path in complexes.yaml"
            )


def _check_landau(parameters: Json, complex_id: str) -> None:
    try:
        LandauModel.from_parameters(parameters)
    except BadInput as error:
        raise BadInput(f"{complex_id}, landau: {error}; correct it in complexes.yaml") from error
