"""Leaving a saddle: a state that should be a minimum of its group starts anew beside it, on the lower side.

Where the imaginary mode keeps the group (or no group is left) the optimiser came to rest on a saddle by symmetry or by
chance. A mode that breaks the group is another question, which the scan of `symmetry_mode` answers.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from operator import itemgetter
from pathlib import Path

from spincross import checkpoints, files, mean_field, pointgroup, reference, starts, symmetry_mode, vibrations
from spincross.config import Settings
from spincross.displacements import Surface
from spincross.energy_scan import Walk
from spincross.errors import BadInput, NotConverged, SpincrossError, StaleData, UnexpectedImaginaryMode, WrongState
from spincross.levels import read_occupation
from spincross.molecule import Molecule
from spincross.stages import load_molecule, load_vibrations
from spincross.starts import Start

MOST = 1000
"""Saddles of one state and group that may be set aside."""


def leave(settings: Settings, complex_id: str, state: str, group: str, results: Path, work: Path) -> Path:
    """Keep a start beside the saddle for the next optimisation of a state, and set its results and work aside.

    Each folder moves by one rename, those of the saddle last: after a kill the same command ends what was begun.

    Parameters
    ----------
    results, work : folders of the complex at its level; `saddles/{state}/{group}/1` (2, ...) in them has the old files

    Returns
    -------
    where the saddle's results lie now

    Raises
    ------
    BadInput
        if no imaginary mode keeps the group, a reference record would take the place of the new minimum, or a run is
        at work on the state
    UnexpectedImaginaryMode
        if neither side of the mode lies below the saddle
    NotConverged, WrongState, StaleData
        if an SCF beside the saddle fails
    """
    tail = Path(state) / group
    with checkpoints.locked(work / tail / "leaving_saddle"):
        start = _start(settings, complex_id, state, group, results / tail, work / tail / "leaving_saddle")
    aside = next(Path("saddles") / tail / str(k) for k in range(1, MOST) if not _taken((results, work), tail, k))
    moving = [tail]
    if group != "C1":
        moving.insert(0, Path(state) / "C1")  # came from the saddle
    with ExitStack() as held:
        for lock in [lock for part in moving for lock in (work / part).rglob("lock")]:
            held.enter_context(checkpoints.locked(lock.parent))
        for part in moving:
            _move(work / part, work / aside.with_name(f"{aside.name}_C1" if part != tail else aside.name))
        starts.store(start, settings.level, work / tail)
        for name in ("mode.json", "animation.xyz") if group == "C1" else ():  # of the saddle; the chain would keep them
            for path in (results / state).glob(f"*/symmetry_mode/{name}"):
                path.unlink()
        for part in moving:
            _move(results / part, results / aside.with_name(f"{aside.name}_C1" if part != tail else aside.name))
    return results / aside


def _taken(roots: tuple[Path, ...], tail: Path, number: int) -> bool:
    return any((root / "saddles" / tail / f"{number}{end}").exists() for root in roots for end in ("", "_C1"))


def _move(source: Path, target: Path) -> None:
    if source.exists():
        with files.writing(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            source.rename(target)


def _start(settings: Settings, complex_id: str, state: str, group: str, here: Path, work: Path) -> Start:
    inputs = {"saddle": here / "optimise/geometry.xyz", "saddle_hessian": here / "vibrations/hessian.npz"}
    molecule = load_molecule(settings, complex_id, inputs["saddle"], group).symmetrised()
    before = files.read_json(here / "optimise/optimise.json")
    guess = checkpoints.load_orbitals(here / "optimise/orbitals.npz")
    hessian, found = files.read_arrays(inputs["saddle_hessian"])["hessian"], load_vibrations(here / "vibrations")
    index = keeping_mode(found, group, f"{complex_id} {state}")
    _refuse_recorded(settings, complex_id, state, group)
    held = read_occupation(before["electrons_per_irrep"])
    spin, memory = replace(settings.state(complex_id, state), occupation=held), settings.config["memory_mb"]
    walk = Walk(
        molecule, Surface(settings.level, spin, guess, memory), settings.config["gates"], work, files.print_line
    )
    at_rest = walk.energy(molecule, "centre")
    if abs(at_rest - before["energy_hartree"]) > symmetry_mode.SAME_ENERGY:
        raise StaleData(
            f"{here / 'optimise/optimise.json'} has {before['energy_hartree']:.8f} Eh, the SCF at its geometry "
            f"{at_rest:.8f} Eh: another level, charge or electronic state; optimise and compute the Hessian again"
        )
    energy, moved, name = lower_side(molecule, found, index, walk, at_rest)
    orbitals = walk.orbitals(name)
    if group != "C1":  # an unstable point was followed, maybe to other electrons per irrep
        mol = mean_field.build_mol(moved, settings.level, spin.multiplicity, memory)
        spin = replace(spin, occupation=mean_field.electrons_per_irrep(mol, group, orbitals))
    text = (
        f"{state} in {group} came to rest on a saddle at {at_rest:.8f} Eh, with mode {index + 1} "
        f"({found.irreps[index]}) imaginary at {abs(found.wavenumbers[index]):.1f}i cm-1; it was displaced along this "
        f"mode, to {energy:.8f} Eh, and optimised again"
    )
    doubts = [doubt for doubt in walk.doubts if doubt.startswith(f"{name},")]
    origin = before["provenance"]["inputs_sha256"]
    return Start(moved, spin, inputs, orbitals, hessian, energy, [text, *doubts], origin)


def _refuse_recorded(settings: Settings, complex_id: str, state: str, group: str) -> None:
    if settings.config["reference"] != "use":
        return
    wheres = [(group, stage) for stage in reference.STAGE_FILES] + [("C1", stage) for stage in reference.STAGE_FILES]
    if any(reference.usable(settings, complex_id, state, *where) for where in wheres):
        raise BadInput(
            f"{complex_id} {state} {group}, or what follows from it, has a reference record, which would be recalled "
            "beside the new minimum: set reference: ignore, and leave it so until `make store` has kept all of it anew"
        )


def keeping_mode(found: vibrations.Vibrations, group: str, name: str) -> int:
    """Return the index of the lowest imaginary mode that keeps the group; BadInput if there is none."""
    kept = [i for i in found.imaginary if found.irreps[i] == pointgroup.irreps(group)[0]]
    if kept:
        return min(kept)
    others = ", ".join(f"{found.wavenumbers[i]:.1f} ({found.irreps[i]})" for i in found.imaginary)
    raise BadInput(
        f"{name} in {group} has no imaginary mode that keeps {group}"
        + (f"; those at {others} cm-1 break it, and for HS the stage symmetry-mode follows them" if others else "")
    )


def lower_side(
    molecule: Molecule, found: vibrations.Vibrations, index: int, walk: Walk, before: float
) -> tuple[float, Molecule, str]:
    """Return energy (Eh), geometry and name of the lower one of both sides of a mode that keeps the group.

    The displacement is halved until a side lies below the saddle; UnexpectedImaginaryMode if none does.

    Parameters
    ----------
    before : energy of the saddle, Eh
    """
    mode = found.modes[:, index]
    tried: list[tuple[float, Molecule, str]] = []
    q = symmetry_mode.first_coordinate(molecule, mode, float(found.wavenumbers[index]))
    failure: SpincrossError | None = None
    for halving in range(symmetry_mode.MOST_HALVINGS + 1):
        for name, x in ((f"forth_{halving}", q / 2**halving), (f"back_{halving}", -q / 2**halving)):
            moved = symmetry_mode.displaced(molecule, mode, x, molecule.point_group)
            try:
                tried.append((walk.energy(moved, name), moved, name))
            except (NotConverged, WrongState) as error:
                failure = error
                files.print_line(f"  Q {x:+.3f} amu^1/2 angstrom is left out: {error}")
                continue
            files.print_line(f"  Q {x:+.3f} amu^1/2 angstrom: E {tried[-1][0]:.8f} Eh")
        if tried and min(tried, key=itemgetter(0))[0] < before - symmetry_mode.LOWER:
            return min(tried, key=itemgetter(0))
    if failure is not None and not tried:
        raise failure
    lowest = min(row[0] for row in tried)
    raise UnexpectedImaginaryMode(
        f"mode {index + 1} is imaginary at {abs(found.wavenumbers[index]):.1f}i cm-1, but down to Q = {x:+.3f} amu^1/2 "
        f"angstrom the lowest energy beside the saddle, {lowest:.8f} Eh, is not below its {before:.8f} Eh: the mode "
        "may be real; a finer grid, or tighter SCF thresholds, would tell"
    )
