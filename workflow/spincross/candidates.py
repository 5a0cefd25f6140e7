"""The lowest of the states that one spin multiplicity leaves open.

High-spin iron(II) has one beta electron for three t2g-like orbitals. An SCF keeps the one it began with, and in C2 two
of the three share an irrep, so electrons per irrep alone cannot tell them apart: here the beta electron is put into
each of them in turn (of cobalt(II) the hole). Where one of two e_g-like alpha orbitals is filled (low-spin cobalt(II),
high-spin manganese(III)), the other one is tried. Without a metal, one beta electron is moved between the irreps.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spincross import electronic, populations
from spincross.checkpoints import Orbitals, load_orbitals, store_orbitals
from spincross.electronic import Solution
from spincross.errors import NotConverged, StaleData, WrongState
from spincross.files import Report, fingerprint, read_json, write_json
from spincross.levels import Level, Occupation, State, read_occupation, term
from spincross.mean_field import electrons_per_irrep, transition_metals
from spincross.molecule import Molecule

Array = NDArray[np.float64]
Indices = NDArray[np.intp]
Start = tuple[Occupation | None, Orbitals]

D_SHARE = 0.5
"""Part of atomic 3d (`populations.d_parts`) from which an occupied orbital counts as a d orbital."""
T2G_LEFT = 2
"""Empty orbitals tried where no octahedron tells the t2g-like ones: high-spin iron(II) has so many."""


@dataclass(frozen=True)
class Candidate:
    """One state to try: electrons per irrep; orbitals, those to start from or the converged ones; its row once tried.

    A row has term, electrons_per_irrep (alpha and beta), energy_hartree or None, s_squared, cycles, rungs.
    """

    occupation: Occupation | None
    orbitals: Orbitals
    row: dict[str, Any] | None = None


@dataclass(frozen=True)
class Search:
    """The candidates of one molecule, level and state in a work folder, so that a killed search repeats one at most."""

    folder: Path
    key: str

    def read(self) -> list[Candidate]:
        """Return the candidates found there, none if the search was not begun; StaleData if they are of another one."""
        path = self.folder / "candidates.json"
        if not path.exists():
            return []
        stored = read_json(path)
        if not all(self._orbitals(number).exists() for number in range(len(stored["candidates"]))):
            return []  # a damaged one was removed
        if stored["key"] != self.key:
            raise StaleData(f"{path} belongs to another level, state or geometry; remove its folder")
        found = []
        for number, entry in enumerate(stored["candidates"]):
            occupation = read_occupation(entry["occupation"])
            found.append(Candidate(occupation, load_orbitals(self._orbitals(number)), entry["row"]))
        return found

    def write(self, candidates: list[Candidate]) -> None:
        """Store the candidates; those with a row are done."""
        for number, candidate in enumerate(candidates):
            store_orbitals(self._orbitals(number), candidate.orbitals)
        entries = [{"occupation": candidate.occupation, "row": candidate.row} for candidate in candidates]
        write_json(self.folder / "candidates.json", {"key": self.key, "candidates": entries})

    def _orbitals(self, number: int) -> Path:
        return self.folder / f"candidate_{number}.npz"


def lowest_state(
    molecule: Molecule,
    level: Level,
    state: State,
    max_memory: float = 8000,
    guess: Orbitals | None = None,
    report: Report = lambda line: None,
    folder: Path | None = None,
) -> tuple[Solution, list[dict[str, Any]]]:
    """Converge every candidate at one geometry and return the lowest with the rows of all.

    Parameters
    ----------
    report : called with a line of text as each candidate is finished
    folder : work folder that keeps finished candidates; none are kept without

    Returns
    -------
    solution, and the rows of `Candidate`; a candidate that does not converge has no energy and is no error while
    another one does

    Raises
    ------
    NotConverged
        if the first one does not converge
    StaleData
        if `folder` belongs to another molecule, level or state
    WrongState
        if the SCF of the lowest one, done again after a restart, ends elsewhere
    """
    search = None if folder is None else Search(folder, _key(molecule, level, state))
    candidates = search.read() if search else []
    best: Solution | None = None
    fitting: Any = None  # integrals of one solution serve all: a second set beside it may not fit into the memory
    if not candidates:
        best = electronic.solve(molecule, level, state, guess, max_memory)
        fitting = best.fitting
        candidates = [_finished(best, state, molecule), *(Candidate(*start) for start in _swaps(best, molecule))]
        if search:
            search.write(candidates)
    for number, candidate in enumerate(candidates):
        if candidate.row is None:
            found, candidates[number] = _tried(candidate, molecule, level, state, max_memory, fitting)
            fitting = found.fitting if found else fitting
            best = found if best is None or (found and found.energy < best.energy) else best
            if search:
                search.write(candidates)
        report(_line(candidates[number].row or {}))
    lowest = min(candidates, key=_energy)
    if best is None or best.energy > _energy(lowest):
        best = _solved(lowest, molecule, level, state, max_memory, fitting)
        if abs(best.energy - _energy(lowest)) > electronic.SAME_STATE:
            raise WrongState(
                f"the lowest candidate of {state.name} had {_energy(lowest):.8f} Eh, its SCF done again ended at "
                f"{best.energy:.8f} Eh: another electronic state; remove {folder} to search anew"
            )
    return best, [candidate.row for candidate in candidates if candidate.row is not None]


def _swaps(solution: Solution, molecule: Molecule) -> list[Start]:
    """Return where other candidates start: with a metal from other d orbitals, else from other irreps."""
    if transition_metals(solution.mean_field.mol):
        return d_swaps(solution, molecule)
    return [(occupation, solution.orbitals) for occupation in irrep_swaps(solution)]


def _solved(
    candidate: Candidate, molecule: Molecule, level: Level, state: State, max_memory: float, fitting: Any
) -> Solution:
    occupied = replace(state, occupation=candidate.occupation)
    return electronic.solve(molecule, level, occupied, candidate.orbitals, max_memory, fitting=fitting)


def _key(molecule: Molecule, level: Level, state: State) -> str:
    places = molecule.positions.round(6).tolist()
    surface = electronic.level_fingerprint(level, state, molecule)
    return fingerprint([surface, level.theory(), state.occupation, places])


def _energy(candidate: Candidate) -> float:
    energy = (candidate.row or {}).get("energy_hartree")
    return np.inf if energy is None else float(energy)


def _finished(solution: Solution, state: State, molecule: Molecule) -> Candidate:
    row = _row(solution.occupation, state.multiplicity, molecule.point_group, solution.trace)
    row |= {"energy_hartree": solution.energy, "s_squared": solution.s_squared}
    return Candidate(solution.occupation, solution.orbitals, row)


def _tried(
    candidate: Candidate, molecule: Molecule, level: Level, state: State, max_memory: float, fitting: Any
) -> tuple[Solution | None, Candidate]:
    try:
        solution = _solved(candidate, molecule, level, state, max_memory, fitting)
    except NotConverged as error:
        row = _row(candidate.occupation, state.multiplicity, molecule.point_group, error.rungs)
        return None, replace(candidate, row=row)
    return solution, _finished(solution, state, molecule)


def irrep_swaps(solution: Solution) -> list[Occupation]:
    """Return the occupations with one beta electron moved between the two irreps."""
    found = solution.occupation
    if found is None or len(found) != 2 or solution.mean_field.mol.spin == 0:
        return []
    (a0, b0), (a1, b1) = found
    moved: list[Occupation] = [((a0, b0 - 1), (a1, b1 + 1)), ((a0, b0 + 1), (a1, b1 - 1))]
    return [m for m in moved if min(m[0] + m[1]) >= 0]


def d_swaps(solution: Solution, molecule: Molecule) -> list[Start]:
    """Return starts with one electron moved from a filled to an empty d orbital; none without a metal.

    Where the metal has six donors: beta, all pairs of the three most t2g-like orbitals (`populations`), and alpha, from
    one of the two most e_g-like ones to the other; elsewhere beta, from the highest d orbital to the lowest two of the
    empty ones. None of a closed shell.
    """
    method = solution.mean_field
    mol = method.mol
    metals = transition_metals(mol)
    if mol.spin == 0 or not metals:
        return []
    frame = populations.octahedral_frame(molecule, metals[0])
    axes = np.eye(3) if frame is None else frame
    starts: list[Start] = []
    for spin in (1, 0):
        coefficients, energies, occupied = (
            np.asarray(x[spin]) for x in (method.mo_coeff, method.mo_energy, method.mo_occ)
        )
        shares, eg_fractions = populations.d_parts(mol, metals[0], axes, coefficients)
        if frame is None:
            pairs = _pairs_by_energy(shares, energies, occupied > 0) if spin else []
        elif spin:
            pairs = _pairs_of(populations.t2g_like(shares, eg_fractions), shares, energies, occupied > 0)
        else:
            pairs = _pair_of_eg(shares * eg_fractions, occupied > 0)
        for source, target in pairs:
            moved = np.array(coefficients[:, occupied > 0], dtype=np.float64)
            moved[:, np.flatnonzero(occupied > 0) == source] = coefficients[:, [target]]
            orbitals = (solution.orbitals[0], moved) if spin else (moved, solution.orbitals[1])
            starts.append((electrons_per_irrep(mol, solution.point_group, orbitals), orbitals))
    return starts


def _pair_of_eg(parts: Array, filled: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return the filled and the empty one of the two most e_g-like orbitals, no pair where both are either."""
    pair = sorted(map(int, np.argsort(parts)[-2:]), key=lambda i: not filled[i])
    return [(pair[0], pair[1])] if filled[pair[0]] and not filled[pair[1]] else []


def _pairs_of(chosen: Indices, shares: Array, energies: Array, filled: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return every pair of a filled and an empty orbital among the chosen ones, both by energy.

    Where none of them is filled, the electron of the most d-like filled orbital is moved: an e_g-like one.
    """
    ordered = sorted(map(int, chosen), key=lambda i: energies[i])
    others = [int(i) for i in np.argsort(-shares * filled)[:1] if filled[i] and shares[i] > D_SHARE]
    sources = [i for i in ordered if filled[i]] or others
    return [(i, j) for i in sources for j in ordered if not filled[j]]


def _pairs_by_energy(shares: Array, energies: Array, filled: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return pairs of the highest filled d orbital with the lowest T2G_LEFT of the empty ones."""
    donors = [int(i) for i in np.flatnonzero(filled) if shares[i] > D_SHARE]
    if not donors:
        return []
    empty = sorted(np.flatnonzero(~filled), key=lambda i: -shares[i])[: 5 - len(donors)]
    targets = sorted(map(int, empty), key=lambda i: energies[i])[:T2G_LEFT]
    return [(max(donors, key=lambda i: energies[i]), target) for target in targets]


def _row(
    occupation: Occupation | None, multiplicity: int, point_group: str, rungs: list[dict[str, Any]]
) -> dict[str, Any]:
    return {
        "term": term(multiplicity, occupation, point_group),
        "electrons_per_irrep": [list(pair) for pair in occupation] if occupation else None,
        "energy_hartree": None,
        "s_squared": None,
        "cycles": sum(rung["cycles"] for rung in rungs),
        "rungs": rungs,
    }


def _line(row: dict[str, Any]) -> str:
    energy = "not converged" if row["energy_hartree"] is None else f"E {row['energy_hartree']:.8f} Eh"
    return f"  candidate, electrons per irrep {row['electrons_per_irrep']}: {energy}, {row['cycles']} cycles"
