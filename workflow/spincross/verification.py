r"""Recomputing what the reference records hold: energies and gradients, and columns of the Hessians.

A direction v that changes sign under an operation D of the group has :math:`g(x - hv) = D\,g(x + hv)`, so that one
displaced gradient gives the central difference :math:`H v = [g(x + hv) - g(x - hv)] / 2h`.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spincross import checkpoints, electronic, files, force_constants, pointgroup, reference
from spincross.config import Settings
from spincross.errors import Unreproduced
from spincross.files import Json
from spincross.levels import Level, State
from spincross.molecule import Molecule
from spincross.schemas import write_checked

Array = NDArray[np.float64]

ENERGY_TOLERANCE = 1e-6
"""Largest difference (Eh) between a recorded and a recomputed energy."""
GRADIENT_TOLERANCE = 1e-5
"""Largest difference (Eh/bohr) between elements of a recorded and a recomputed gradient."""
HESSIAN_TOLERANCE = 5e-5
"""Largest difference (Eh/bohr2) of H v: ten times what separates the analytic and the finite-difference route."""
DIRECTIONS = 3
"""Directions tested per Hessian."""
LARGE = 60
"""Atoms from which only low spin is recomputed: a CPU takes hours for one of its gradients."""


def verify_reference(settings: Settings, output: Path) -> None:
    """Recompute, on the CPU, energy, gradient and Hessian columns of every usable record, of all complexes.

    Raises
    ------
    Unreproduced
        if one differs by more than its tolerance; the report is written before
    """
    known = [name for name in settings.complexes if (settings.structures / "reference" / name).is_dir()]
    whole = replace(settings, config=settings.config | {"complexes": known})
    rows: list[Json] = []
    inputs: dict[str, Path] = {}
    start = time.perf_counter()
    for complex_id, state, group, stage in reference.available(whole):
        molecule = _recorded(whole, complex_id, state, group)
        if len(molecule.symbols) > LARGE and state != "LS":
            continue
        if stage == "optimise":
            rows.append(verify_point(whole, complex_id, state, group))
        elif stage == "vibrations":
            rows.append(verify_hessian(whole, complex_id, state, group))
        else:
            continue
        place = reference.folder(whole, complex_id, state, group, stage)
        names = reference.STAGE_FILES[stage]
        inputs |= {f"{complex_id}/{state}/{group}/{stage}/{name}": place / name for name in names}
        files.print_line(f"{complex_id} {state} {group} {stage}: {rows[-1]['text']}")
    facts = files.provenance(
        inputs, time.perf_counter() - start, level=whole.named_level(), device="cpu", converged=True
    )
    write_checked(output, {"provenance": facts, "records": rows}, "verify_reference")
    wrong = [f"{row['complex']} {row['state']} {row['point_group']}: {row['text']}" for row in rows if not row["same"]]
    if wrong:
        raise Unreproduced("recorded numbers that this machine does not get again: " + "; ".join(wrong))


def _recorded(settings: Settings, complex_id: str, state: str, group: str) -> Molecule:
    """Return the recorded geometry; in the group it was optimised in."""
    place = reference.folder(settings, complex_id, state, group, "optimise")
    symbols, positions, _ = files.read_xyz(place / "geometry.xyz")
    imposed = files.read_json(place / "optimise.json")["point_group"]
    return Molecule(symbols, positions, settings.entry(complex_id)["charge"], imposed).symmetrised()


def _on_cpu(settings: Settings, complex_id: str, state: str, group: str) -> tuple[Level, State, checkpoints.Orbitals]:
    place = reference.folder(settings, complex_id, state, group, "optimise")
    level, spin = replace(settings.level, device="cpu"), settings.state(complex_id, state)
    return level, spin, checkpoints.load_orbitals(place / "orbitals.npz")


def verify_point(settings: Settings, complex_id: str, state: str, group: str) -> Json:
    """Recompute energy and gradient at a recorded geometry; differences in Eh and Eh/bohr."""
    record = files.read_json(reference.folder(settings, complex_id, state, group, "optimise") / "optimise.json")
    level, spin, guess = _on_cpu(settings, complex_id, state, group)
    molecule = _recorded(settings, complex_id, state, group)
    solution = electronic.solve(molecule, level, spin, guess, settings.config["memory_mb"])
    gradient, energy = electronic.gradient(solution), solution.energy - record["energy_hartree"]
    slope = _gradient_difference(record, gradient)
    return {
        "complex": complex_id,
        "state": state,
        "point_group": group,
        "energy_difference_hartree": energy,
        "gradient_difference_hartree_per_bohr": slope,
        "same": abs(energy) <= ENERGY_TOLERANCE and abs(slope) <= GRADIENT_TOLERANCE,
        "text": f"energy differs by {energy:.1e} Eh, gradient by {slope:.1e} Eh/bohr",
    }


def _gradient_difference(record: Json, gradient: Array) -> float:
    """Return the largest difference of an element, Eh/bohr; of the largest elements where a record holds no more."""
    if "gradient_hartree_per_bohr" in record:
        return float(np.abs(gradient - np.array(record["gradient_hartree_per_bohr"])).max())
    return float(np.abs(gradient).max() - record["gradient_max_hartree_per_bohr"])


def verify_hessian(settings: Settings, complex_id: str, state: str, group: str) -> Json:
    """Compare H v of a recorded Hessian with displaced gradients in DIRECTIONS directions, Eh/bohr2."""
    reference.check_hessian(settings, complex_id, state, group)
    place = reference.folder(settings, complex_id, state, group, "vibrations")
    hessian = files.read_arrays(place / "hessian.npz")["hessian"]
    molecule = _recorded(settings, complex_id, state, group)
    level, spin, guess = _on_cpu(settings, complex_id, state, group)
    surface, step = settings.hessian.displaced_surface(level, spin, guess), settings.hessian.step

    def gradient(positions: Array) -> Array:
        return surface.point(molecule.at(positions, "C1")).gradient

    columns = [central_difference(molecule, v, step, gradient) for v in directions(molecule, DIRECTIONS)]
    expected = [hessian @ v for v in directions(molecule, DIRECTIONS)]
    worst = float(np.abs(np.array(columns) - np.array(expected)).max())
    return {
        "complex": complex_id,
        "state": state,
        "point_group": group,
        "hessian_difference_hartree_per_bohr2": worst,
        "same": worst <= HESSIAN_TOLERANCE,
        "text": f"Hessian differs by {worst:.1e} Eh/bohr2 from gradients in {len(columns)} directions",
    }


def directions(molecule: Molecule, count: int) -> list[Array]:
    """Return unit displacements (3N,) of atoms spread over the molecule, antisymmetric where there is a group.

    Without symmetry they are displacements of single atoms.
    """
    last = pointgroup.irreps(molecule.point_group)[-1]
    projector = pointgroup.projectors(molecule.numbers, molecule.positions, molecule.point_group)[last]
    atoms = force_constants.unique_atoms(molecule)
    found: list[Array] = []
    for k in range(3 * len(atoms)):
        atom = atoms[(k * len(atoms)) // max(count, 1) % len(atoms)]
        moved = projector[:, 3 * atom + k % 3]
        norm = np.linalg.norm(moved)
        if norm > 1e-3 and not any(abs(moved @ v) > 0.99 * norm for v in found):
            found.append(moved / norm)
        if len(found) == count:
            break
    return found


def central_difference(molecule: Molecule, direction: Array, step: float, gradient: Any) -> Array:
    """Return H v (3N,), Eh/bohr2, from one displaced gradient where an operation reverses v, from two otherwise.

    Parameters
    ----------
    gradient : function of positions (N, 3), bohr, that returns (N, 3), Eh/bohr
    """
    shift = step * direction.reshape(-1, 3)
    forward = gradient(molecule.positions + shift).reshape(-1)
    for matrix in pointgroup.representation(molecule.numbers, molecule.positions, molecule.point_group):
        if np.allclose(matrix @ direction, -direction, atol=1e-10):
            return np.asarray((forward - matrix @ forward) / (2 * step))
    return np.asarray((forward - gradient(molecule.positions - shift).reshape(-1)) / (2 * step))
