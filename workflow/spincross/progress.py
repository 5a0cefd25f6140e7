"""How far the DFT stages of a complex are: finished, recorded, begun or open, with the numbers there are so far.

Nothing is computed but normal modes of Hessians that are there, and nothing is written.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

from spincross import checkpoints, files, findings, job, reference, stages, vibrations
from spincross.config import Settings
from spincross.files import Json
from spincross.molecule import Molecule
from spincross.units import HARTREE_TO_KJ_PER_MOL

WORK = {"optimise": "optimise", "hessian": "hessian", "symmetry-mode": "symmetry_mode"}
"""DFT stage: the folder of its restart data."""
POINTS = ("point.npz", "energy.npz")
"""What a finished displacement and a finished point of a scan leave in their folder."""
STEPS = ("final/steps.jsonl", "coarse/steps.jsonl")
"""Steps of an optimisation in its work folder, the last surface first."""


@dataclass(frozen=True)
class Row:
    """One stage: its name, whether it is finished, recorded, begun or open, and what is known of it."""

    stage: str
    status: str
    text: str

    def __str__(self) -> str:
        """Return a line of the table."""
        return f"  {self.stage:22}{self.status:10}{self.text}".rstrip()


def rows(settings: Settings, complex_id: str, results: Path, work: Path) -> list[Row]:
    """Return a row for every DFT stage, in the order in which `chain` runs them."""
    found, low = [], _energy_of_low_spin(settings, complex_id, results)
    parent = stages.parent_group(settings, complex_id)
    for step in (s for s in job.steps(parent) if s.stage in WORK):
        place, status = _where(settings, complex_id, step, results)
        begun = work.joinpath(complex_id, settings.level_name, step.state, step.group, WORK[step.stage])
        if place is not None:
            text = _known(step, place, low)
        else:
            text = _so_far(begun) if begun.is_dir() else ""
            status = "begun" if text else "open"
        found.append(Row(f"{step.stage} {step.state} {step.group}", status, text))
    return found


def _where(settings: Settings, complex_id: str, step: job.Step, results: Path) -> tuple[Path | None, str]:
    """Return the folder of a finished stage and its status; None where it is neither finished nor recorded."""
    output = Path(step.output)
    place = results.joinpath(complex_id, settings.level_name, step.state, step.group, output.parent)
    if (place / output.name).is_file():
        return place, "finished"
    key = complex_id, step.state, step.group, output.parent.name
    usable = settings.config["reference"] == "use" and reference.usable(settings, *key)
    return (reference.folder(settings, *key), "recorded") if usable else (None, "open")


def _energy_of_low_spin(settings: Settings, complex_id: str, results: Path) -> float | None:
    step = job.Step("optimise", "LS", stages.parent_group(settings, complex_id), "optimise/optimise.json")
    place, _ = _where(settings, complex_id, step, results)
    return None if place is None else float(files.read_json(place / "optimise.json")["energy_hartree"])


def _known(step: job.Step, place: Path, low: float | None) -> str:
    """Say what a finished stage found."""
    if step.stage == "optimise":
        return _state(files.read_json(place / "optimise.json"), low)
    if step.stage == "hessian":
        return _modes(place, step.group)
    found = files.read_json(place / "scan.json")
    if found["mode_index"] is None:
        return "no imaginary mode to follow: HS/C1 is the parent's minimum"
    return f"mode {found['mode_index'] + 1} leads {'to a well' if found['broken'] else 'nowhere down'}"


def _state(content: Json, low: float | None) -> str:
    energy = content["energy_hartree"]
    said = [f"E {energy:.6f} Eh"]
    if low is not None and content["state"] != "LS":
        said.append(f"{(energy - low) * HARTREE_TO_KJ_PER_MOL:+.2f} kJ/mol from LS")
    said.append(f"<S2> {content['s_squared']:.3f}")
    lengths = sorted(bond["length"] for bond in content["metal_bonds_angstrom"])
    return ", ".join([*said, *([f"bonds {' '.join(f'{x:.3f}' for x in lengths)} angstrom"] if lengths else [])])


def _modes(place: Path, group: str) -> str:
    """Say which modes of a Hessian are imaginary, and the lowest real one."""
    stored = files.read_arrays(place / "hessian.npz")
    symbols, positions, _ = files.read_xyz(place.parent / "optimise/geometry.xyz")
    found = vibrations.normal_modes(Molecule(symbols, positions, 0, group).symmetrised(), stored["hessian"])
    settled = files.read_json(place / "hessian.json").get("settled_modes", [])
    by_scan = tuple(row["mode_index"] for row in settled if row["verdict"] == "imaginary")
    found = replace(found, settled_imaginary=by_scan)
    named = [f"{findings.wavenumber(found.wavenumbers[i])} ({found.irreps[i]})" for i in found.imaginary]
    real = found.wavenumbers[found.wavenumbers > found.noise_floor]
    lowest = "".join(f"; lowest real mode {wave:.1f} cm-1" for wave in real[:1])
    return f"imaginary: {', '.join(named) or 'none'}{lowest}"


def _so_far(folder: Path) -> str:
    """Say what restart data holds: the last step of an optimisation, and when the last file was written; '' of none."""
    times = {path: path.stat().st_mtime for path in folder.rglob("*") if path.is_file() and path.name != "lock"}
    if not times:
        return ""
    ago = f"last written {(time.time() - max(times.values())) / 60:.0f} min ago"
    for path in (folder / name for name in STEPS):
        steps = checkpoints.steps_in(path)
        if steps:
            energy, force = steps[-1]["energy_hartree"], steps[-1]["gradient_rms_hartree_per_bohr"]
            count = f"{len(steps)} gradients on grid {steps[-1]['grid_level']}"
            return f"{count}, the last: E {energy:.6f} Eh, rms gradient {force:.1e} Eh/bohr; {ago}"
    points = sum(path.name in POINTS for path in times)
    blocks = [p.stem for p in sorted(times, key=lambda p: times[p]) if p.parent.name == "analytic" and p.stem[0] != "."]
    done = [f"{points} points"] * (points > 0) + [name for name in blocks if "." not in name]
    begun = Counter(name.partition(".")[0] for name in blocks if "." in name)
    found = [f"finished: {', '.join(done)}"] * bool(done)
    return "; ".join([*found, *(f"{count} parts of {name}" for name, count in begun.items()), ago])
