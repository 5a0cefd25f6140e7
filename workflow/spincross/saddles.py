"""Leaving a saddle: a state that should be a minimum of its group is displaced along its imaginary mode and relaxed.

Where the mode keeps the group (or no group is left) the optimiser came to rest on a saddle by symmetry or by chance.
A mode that breaks the group is another question, which the scan of `symmetry_mode` answers.
"""

from __future__ import annotations

from pathlib import Path

from spincross import checkpoints, files, pointgroup, reference, stages, symmetry_mode, vibrations
from spincross.config import Settings
from spincross.displacements import Surface
from spincross.energy_scan import Walk
from spincross.errors import BadInput
from spincross.molecule import Molecule
from spincross.stages import Start

STALE = ("optimise", "vibrations", "symmetry_mode", "hessian", "probe")
"""What belongs to the saddle, in results or work, and is set aside."""


def leave(settings: Settings, complex_id: str, state: str, group: str, here: Path, work: Path) -> Path:
    """Optimise a state again from its saddle, and set what belongs to the saddle aside; return where that lies now.

    Both sides of the lowest imaginary mode that keeps the group are tried; the optimisation starts from the lower one,
    with the orbitals and the Hessian of the saddle. A killed one goes on from `work`.

    Parameters
    ----------
    here : results folder of state and group; `optimise` is new afterwards, `saddle_1` (2, ...) has the old
    work : its work folder

    Raises
    ------
    BadInput
        if no imaginary mode keeps the group, or a reference record would take the place of the new minimum
    NotConverged, WrongState, SymmetryLost, StaleData
        as any optimisation; the results are then untouched
    """
    new, place = here / "leaving_saddle", work / "leaving_saddle"
    if not (new / "optimise.json").exists():
        with checkpoints.locked(place):
            start = _start(settings, complex_id, state, group, here, place)
        stages.optimise_from(settings, complex_id, settings.state(complex_id, state), start, new, place / "optimise")
    kept = next(here / f"saddle_{k}" for k in range(1, 1000) if not (here / f"saddle_{k}").exists())
    for folder, aside in ((work, work / kept.name), (here, kept)):
        aside.mkdir(parents=True, exist_ok=True)
        for name in STALE:
            if (folder / name).exists():
                (folder / name).rename(aside / name)
    if place.exists():  # not so where a kill came between these two lines
        place.rename(work / kept.name / place.name)
    new.rename(here / "optimise")
    return kept


def _start(settings: Settings, complex_id: str, state: str, group: str, here: Path, work: Path) -> Start:
    inputs = {"saddle": here / "optimise/geometry.xyz", "saddle_hessian": here / "vibrations/hessian.npz"}
    molecule = stages.load_molecule(settings, complex_id, inputs["saddle"], group).symmetrised()
    before = files.read_json(here / "optimise/optimise.json")["energy_hartree"]
    guess = checkpoints.load_orbitals(here / "optimise/orbitals.npz")
    hessian, found = files.read_arrays(inputs["saddle_hessian"])["hessian"], stages.load_vibrations(here / "vibrations")
    index = keeping_mode(found, group, f"{complex_id} {state}")
    _refuse_recorded(settings, complex_id, state, group)
    surface = Surface(settings.level, settings.state(complex_id, state), guess, settings.config["memory_mb"])
    walk = Walk(molecule, surface, settings.config["gates"], work, files.print_line)
    energy, moved, name = lower_side(molecule, found, index, walk)
    text = (
        f"{state} came to rest on a saddle at {before:.8f} Eh (mode {index + 1}, {found.wavenumbers[index]:.1f} cm-1, "
        f"irrep {found.irreps[index]}); it was displaced along this mode and optimised again"
    )
    return Start(moved, inputs, walk.orbitals(name), hessian, energy, (text, *walk.doubts))


def _refuse_recorded(settings: Settings, complex_id: str, state: str, group: str) -> None:
    recorded = [reference.usable(settings, complex_id, state, group, stage) for stage in ("optimise", "vibrations")]
    if settings.config["reference"] == "use" and any(recorded):
        raise BadInput(
            f"{complex_id} {state} {group} has a reference record, which would be recalled in place of the new "
            "minimum: set reference: ignore first"
        )


def keeping_mode(found: vibrations.Vibrations, group: str, name: str) -> int:
    """Return the index of the lowest imaginary mode that keeps the group; BadInput if there is none."""
    kept = [i for i in found.imaginary if found.irreps[i] == pointgroup.irreps(group)[0]]
    if kept:
        return min(kept)
    others = ", ".join(f"{found.wavenumbers[i]:.1f} ({found.irreps[i]})" for i in found.imaginary)
    raise BadInput(
        f"{name} has no imaginary mode that keeps {group}, and is no saddle within it"
        + (f"; those at {others} cm-1 break {group}: for HS the stage symmetry-mode follows them" if others else "")
    )


def lower_side(molecule: Molecule, found: vibrations.Vibrations, index: int, walk: Walk) -> tuple[float, Molecule, str]:
    """Return energy (Eh), geometry and name of the lower one of both sides of a mode that keeps the group."""
    mode, wavenumber = found.modes[:, index], float(found.wavenumbers[index])
    q = symmetry_mode.first_coordinate(molecule, mode, wavenumber)
    sides = {"forth": q, "back": -q}
    moved = {name: symmetry_mode.displaced(molecule, mode, x, molecule.point_group) for name, x in sides.items()}
    energies = {name: walk.energy(moved[name], name) for name in sides}
    for name, energy in energies.items():
        files.print_line(f"  Q {sides[name]:+.3f} amu^1/2 angstrom: E {energy:.8f} Eh")
    best = min(energies, key=lambda name: energies[name])
    return energies[best], moved[best], best
