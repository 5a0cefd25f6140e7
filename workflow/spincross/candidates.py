"""The lowest of the states that one spin multiplicity leaves open.

High-spin iron(II) has one beta electron for three t2g-like orbitals. An SCF keeps the one it began with, and in C2 two
of the three share an irrep, so electrons per irrep alone cannot tell them apart: here the beta electron is put into
each of them in turn. Without a metal, one beta electron is moved between the irreps instead.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spincross import electronic
from spincross.electronic import Solution
from spincross.errors import NotConverged
from spincross.levels import Level, State, term
from spincross.mean_field import electrons_per_irrep
from spincross.molecule import Molecule

Array = NDArray[np.float64]
Orbitals = tuple[Array, Array]
Occupation = tuple[tuple[int, int], ...]
Start = tuple[Occupation | None, Orbitals]

D_SHARE = 0.5
"""Share of the metal's d functions from which an occupied orbital counts as a d orbital."""
T2G_LEFT = 2
"""Empty t2g-like beta orbitals beside the filled one."""


def lowest_state(
    molecule: Molecule,
    level: Level,
    state: State,
    max_memory: float = 8000,
    guess: Orbitals | None = None,
    report: Callable[[str], None] = lambda line: None,
) -> tuple[Solution, list[dict[str, Any]]]:
    """Converge every candidate at one geometry and return the lowest with a table of all.

    Parameters
    ----------
    report : called with a line of text as each candidate is finished

    Returns
    -------
    solution, and rows with electrons_per_irrep (alpha and beta), energy_hartree or None, s_squared, cycles,
    term, rungs; a candidate that does not converge is listed as such and is no error while another one does

    Raises
    ------
    NotConverged
        if the first one does not converge
    """

    def row(occupation: Occupation | None, solution: Solution | None) -> dict[str, Any]:
        return _row(occupation, solution, state.multiplicity, molecule.point_group)

    first = electronic.solve(molecule, level, state, guess, max_memory)
    solutions, table = [first], [row(first.occupation, first)]
    report(_line(table[-1]))
    for occupation, orbitals in d_swaps(first) or [(o, first.orbitals) for o in irrep_swaps(first)]:
        try:
            found = electronic.solve(molecule, level, replace(state, occupation=occupation), orbitals, max_memory)
        except NotConverged:
            table.append(row(occupation, None))
        else:
            solutions.append(found)
            table.append(row(found.occupation, found))
        report(_line(table[-1]))
    return min(solutions, key=lambda s: s.energy), table


def irrep_swaps(solution: Solution) -> list[Occupation]:
    """Return the occupations with one beta electron moved between the two irreps."""
    found = solution.occupation
    if found is None or len(found) != 2 or solution.mean_field.mol.spin == 0:
        return []
    (a0, b0), (a1, b1) = found
    moved: list[Occupation] = [((a0, b0 - 1), (a1, b1 + 1)), ((a0, b0 + 1), (a1, b1 - 1))]
    return [m for m in moved if min(m[0] + m[1]) >= 0]


def d_swaps(solution: Solution) -> list[Start]:
    """Return starts with the highest beta d electron in each empty t2g-like orbital; none without a metal or a spin.

    The t2g-like ones are the lowest in energy of the empty orbitals with the largest shares on the metal's d functions.
    """
    method = solution.mean_field
    mol = method.mol
    shares = None if mol.spin == 0 else d_shares(solution)
    if shares is None:
        return []
    coefficients, energies, filled = (np.asarray(x[1]) for x in (method.mo_coeff, method.mo_energy, method.mo_occ))
    donors = [i for i in np.flatnonzero(filled > 0) if shares[i] > D_SHARE]
    if not donors:
        return []
    source = int(max(donors, key=lambda i: energies[i]))
    empty = sorted(np.flatnonzero(filled == 0), key=lambda i: -shares[i])[: 5 - len(donors)]
    starts: list[Start] = []
    for target in map(int, sorted(empty, key=lambda i: energies[i])[:T2G_LEFT]):
        beta = np.array(coefficients[:, filled > 0], dtype=np.float64)
        beta[:, np.flatnonzero(filled > 0) == source] = coefficients[:, [target]]
        orbitals = (solution.orbitals[0], beta)
        starts.append((electrons_per_irrep(mol, solution.point_group, orbitals), orbitals))
    return starts


def d_shares(solution: Solution) -> Array | None:
    """Return the Mulliken share of every beta orbital on the d functions of the first transition metal, or None."""
    mol = solution.mean_field.mol
    metals = [i for i, z in enumerate(mol.atom_charges()) if 21 <= z <= 80]
    if not metals:
        return None
    rows = [k for k, label in enumerate(mol.ao_labels(fmt=None)) if label[0] == metals[0] and label[2][-1:] == "d"]
    coefficients = np.asarray(solution.mean_field.mo_coeff[1])
    overlap = mol.intor_symmetric("int1e_ovlp")
    return np.asarray(np.einsum("mi,mi->i", coefficients[rows], overlap[rows] @ coefficients))


def _row(
    occupation: Occupation | None, solution: Solution | None, multiplicity: int, point_group: str
) -> dict[str, Any]:
    return {
        "term": term(multiplicity, occupation, point_group),
        "electrons_per_irrep": [list(pair) for pair in occupation] if occupation else None,
        "energy_hartree": solution.energy if solution else None,
        "s_squared": solution.s_squared if solution else None,
        "cycles": solution.cycles if solution else None,
        "rungs": solution.trace if solution else [],
    }


def _line(row: dict[str, Any]) -> str:
    energy = "not converged" if row["energy_hartree"] is None else f"E {row['energy_hartree']:.8f} Eh"
    return f"  candidate, electrons per irrep {row['electrons_per_irrep']}: {energy}, {row['cycles']} cycles"
