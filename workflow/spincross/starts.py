"""Where an optimisation starts, and the start that a left saddle leaves in the work folder of its state and group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spincross import checkpoints, files, optimise
from spincross.displacements import Surface
from spincross.errors import StaleData
from spincross.levels import Level, State, read_occupation
from spincross.molecule import Molecule

Array = NDArray[np.float64]

FACTS, ARRAYS = "left_saddle.json", "left_saddle.npz"
"""Names of the files of a start that a saddle left, beside the work folder of the optimisation."""


@dataclass(frozen=True)
class Start:
    """Where an optimisation starts.

    Parameters
    ----------
    molecule, state : geometry in its group; the state, with electrons per irrep where they are to be held
    inputs : files it comes from, by what they are
    guess : occupied orbitals near it; without them every candidate occupation is tried
    hessian : (3N, 3N), Eh/bohr2, or how to get it; geomeTRIC's guess without
    energy : of the geometry, Eh, where known: the minimum must not lie higher
    warnings : to be told with the result
    origin : checksums of the files that the optimisation came from which ended on the saddle
    """

    molecule: Molecule
    state: State
    inputs: dict[str, Path]
    guess: checkpoints.Orbitals | None = None
    hessian: Array | optimise.StartHessian | None = None
    energy: float = np.inf
    warnings: Sequence[str] = ()
    origin: Mapping[str, str] = field(default_factory=dict)


def store(start: Start, level: Level, folder: Path) -> None:
    """Keep a start below a saddle; the optimisations of its state and group begin there from now on."""
    assert start.guess is not None
    alpha, beta = start.guess
    arrays = {"positions": start.molecule.positions, "hessian": start.hessian, "alpha": alpha, "beta": beta}
    files.write_arrays(folder / ARRAYS, **arrays)
    facts = {
        "key": _key(start, level),
        "energy_hartree": start.energy,
        "electrons_per_irrep": start.state.occupation,
        "warnings": list(start.warnings),
        "inputs_sha256": dict(start.origin),
    }
    files.write_json(folder / FACTS, facts)


def below_a_saddle(usual: Start, level: Level, folder: Path) -> Start:
    """Return the start that a left saddle keeps in the folder; the usual one where there is none.

    StaleData if it belongs to another level, state or molecule, or another start led to the saddle.
    """
    if not (folder / FACTS).exists():
        return usual
    facts, arrays = files.read_json(folder / FACTS), files.read_arrays(folder / ARRAYS)
    if facts["key"] != _key(usual, level):
        raise StaleData(f"{folder / FACTS} belongs to another level, state or molecule; remove it")
    origin = facts["inputs_sha256"]
    changed = [name for name, path in usual.inputs.items() if origin.get(name) not in (None, files.sha256_of(path))]
    if changed:
        raise StaleData(
            f"{folder / FACTS} was left by a saddle that came from another start ({usual.inputs[changed[0]]} has "
            "changed since); remove it, and the optimisation begins at the new one"
        )
    occupation = read_occupation(facts["electrons_per_irrep"])
    files.print_line(f"  starting where a saddle was left ({folder / FACTS})")
    return Start(
        usual.molecule.at(arrays["positions"]).symmetrised(),
        replace(usual.state, occupation=occupation),
        usual.inputs | {"left_saddle": folder / ARRAYS},
        (arrays["alpha"], arrays["beta"]),
        arrays["hessian"],
        facts["energy_hartree"],
        [*usual.warnings, *facts["warnings"]],
    )


def _key(start: Start, level: Level) -> str:
    """Return a checksum of level, state and atoms; electrons per irrep are the saddle's own."""
    nothing = np.empty((0, 0))
    return Surface(level, replace(start.state, occupation=None), (nothing, nothing)).key(start.molecule)
