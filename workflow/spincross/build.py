"""Built models: cis-[M(N^N)2(X)2] in exact C2 from a ligand's SMILES and target metal-donor distances.

The two ligands and the two anions are placed on the octahedral sites in several ways (see placement), everything but
the metal-donor distances is relaxed with GFN2-xTB (Bannwarth, Ehlert, Grimme, J. Chem. Theory Comput. 2019, 15, 1652)
under C2, and the lowest is written as a CIF (see model_cif). Lengths here are in angstrom.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray
from scipy.optimize import minimize

from spincross.conformers import turns
from spincross.errors import BadStructure, NotConverged
from spincross.ligands import chelating_pair, embedded_ligands, optional
from spincross.model_cif import write_model
from spincross.molecule import Molecule, bonds
from spincross.placement import FOLDS, TURN, Distances, anion_starts, place_half, whole
from spincross.units import ANGSTROM_TO_BOHR, BOHR_TO_ANGSTROM, HARTREE_TO_EV

Array = NDArray[np.float64]

METAL = "Fe"
SPIN = {"LS": "a singlet", "HS": "a quintet"}
"""What is built: complexes of iron(II)."""
SHORTEST_CONTACT = 1.7
"""Distance (angstrom) below which atoms four or more bonds apart clash."""


def relax(
    symbols: tuple[str, ...],
    half: Array,
    fixed: Array,
    multiplicity: int,
    force: float = 0.02,
    steps: int = 400,
) -> tuple[Array, float]:
    """Relax a half with GFN2-xTB under exact C2, the metal-donor distances held.

    A donor is written as its distance times a unit vector and its partner as its image, so both constraints hold
    to the last digit in every step.

    Parameters
    ----------
    half, fixed : as from `place_half`
    force : largest remaining force per coordinate, eV/angstrom

    Returns
    -------
    half (n, 3) in angstrom and the energy of the whole molecule in eV; NotConverged if the steps do not suffice
    """
    tblite = optional("tblite.interface")
    numbers = Atoms([METAL, *symbols, *symbols]).numbers
    places = whole(METAL, symbols, half)[1] * ANGSTROM_TO_BOHR
    engine = tblite.Calculator("GFN2-xTB", numbers, places, 0, multiplicity - 1)
    engine.set("verbosity", 0)
    donors = ~np.isnan(fixed)
    result: list[Any] = [None]

    def held(x: Array) -> Array:
        """Return the half of flat coordinates, donors at their distances."""
        positions = x.reshape(-1, 3).copy()
        positions[donors] *= (fixed[donors] / np.linalg.norm(positions[donors], axis=1))[:, None]
        return positions

    def energy_and_slope(x: Array) -> tuple[float, Array]:
        """Return the energy (eV) and its flat slope, eV/angstrom."""
        engine.update(whole(METAL, symbols, held(x))[1] * ANGSTROM_TO_BOHR)
        result[0] = engine.singlepoint(result[0])
        full = np.asarray(result[0].get("gradient")) * HARTREE_TO_EV * ANGSTROM_TO_BOHR
        slope = full[1 : len(symbols) + 1] + full[len(symbols) + 1 :] * TURN
        raw = x.reshape(-1, 3)[donors]
        length = np.linalg.norm(raw, axis=1)[:, None]
        along = raw / length
        inside = slope[donors] - (slope[donors] * along).sum(axis=1)[:, None] * along
        slope[donors] = inside * fixed[donors][:, None] / length
        return float(result[0].get("energy")) * HARTREE_TO_EV, slope.ravel()

    options = {"maxiter": steps, "gtol": 2.0 * force, "ftol": 1e-12, "maxcor": 30}
    found = minimize(energy_and_slope, held(half.ravel()).ravel(), jac=True, method="L-BFGS-B", options=options)
    worst = float(np.abs(energy_and_slope(found.x)[1]).max()) / 2.0
    if worst > 2.0 * force:
        text = f"{worst:.3f} eV/angstrom (asked {force}) after {found.nit} steps"
        raise NotConverged(f"the GFN2-xTB relaxation stopped at a force of {text}; allow more steps")
    return held(found.x), float(found.fun)


def lowest(
    starts: Iterable[Array],
    relax_one: Callable[[Array], tuple[Array, float]],
    wanted: Callable[[Array], bool] = lambda half: True,
) -> Array:
    """Relax every start and return the half lowest in energy of those wanted, or of all where none is.

    A start that does not relax is left out; NotConverged if none does.
    """
    found = []
    for start in starts:
        with suppress(NotConverged):
            found.append(relax_one(start))
    if not found:
        raise NotConverged("no start of the model relaxed with GFN2-xTB; try other distances")
    return min(found, key=lambda pair: (not wanted(pair[0]), pair[1]))[0]


def check_model(molecule: Molecule, expected_bonds: int) -> None:
    """Raise BadStructure if a model is not the molecule it was built as: bonds made or missing, atoms too close."""
    pairs = bonds(molecule.symbols, molecule.positions)
    if len(pairs) != expected_bonds:
        raise BadStructure(
            f"the model has {len(pairs)} bonds, {expected_bonds} are expected: atoms clash; try other distances"
        )
    contact = shortest_contact(Atoms(molecule.symbols, molecule.positions * BOHR_TO_ANGSTROM), pairs)
    if contact < SHORTEST_CONTACT:
        raise BadStructure(
            f"two atoms of the model that are not bonded are {contact:.2f} angstrom apart; try other distances"
        )


def shortest_contact(atoms: Atoms, pairs: list[tuple[int, int]]) -> float:
    """Return the shortest distance between atoms at least four bonds apart, angstrom."""
    joined = np.eye(len(atoms), dtype=int)
    for i, j in pairs:
        joined[i, j] = joined[j, i] = 1
    far = np.linalg.matrix_power(joined, 3) == 0
    distances = np.linalg.norm(atoms.positions[:, None] - atoms.positions[None], axis=2)
    return float(distances[far].min())


def _expected_bonds(smiles: str) -> int:
    """Return the number of bonds of the complex: two ligands, two NCS, six to the metal."""
    chem = optional("rdkit.Chem")
    return 2 * int(chem.AddHs(chelating_pair(smiles)[0]).GetNumBonds()) + 4 + 6


def build_complex(
    smiles: str,
    trans: str,
    distances: dict[str, Distances],
    multiplicity: dict[str, int],
    conformers: int = 2,
    force: float = 0.02,
) -> dict[str, Molecule]:
    """Build cis-[Fe(N^N)2(NCS)2] in exact C2 for both spin states.

    Parameters
    ----------
    smiles : the neutral chelating ligand
    trans : kind of the donors that are mutually trans (see `chelating_pair`); this names the isomer
    distances, multiplicity : for LS and HS
    conformers : ligand conformers tried; the one lowest in energy as LS is kept
    force : largest remaining force, eV/angstrom

    Returns
    -------
    LS and HS molecules, same atoms in the same order: the lowest found from FOLDS of the chelate rings, then from
    `anion_starts`; HS starts from the ligand of LS, and stays in its conformer where one start does
    """
    ligands, built = embedded_ligands(smiles, trans, conformers), dict[str, Molecule]()
    for state in ("LS", "HS"):
        placed = [place_half(ligand, distances[state], fold) for ligand in ligands for fold in FOLDS]
        symbols, _, fixed = placed[0]
        options: dict[str, Any] = {"fixed": fixed, "multiplicity": multiplicity[state], "force": force}
        relax_one = partial(relax, symbols, **options)
        wanted = partial(_same_conformer, built.get("LS"), symbols)
        folded = lowest((start for _, start, _ in placed), relax_one, wanted)
        half = lowest(anion_starts(folded), relax_one, wanted)
        ligands = [replace(ligands[0], positions=half[:-3])]
        built[state] = _molecule(symbols, half)
        check_model(built[state], _expected_bonds(smiles))
    return built


def _molecule(symbols: tuple[str, ...], half: Array) -> Molecule:
    """Return the molecule of a half."""
    names, positions = whole(METAL, symbols, half)
    return Molecule(names, positions * ANGSTROM_TO_BOHR, 0, "C2")


def _same_conformer(low: Molecule | None, symbols: tuple[str, ...], half: Array) -> bool:
    """Tell whether a half has the conformer of LS, if that is built."""
    return low is None or not turns(low, _molecule(symbols, half), METAL)


def main(arguments: list[str] | None = None) -> None:
    """Build one complex from the command line: id, SMILES, kind of the trans donors, LS and HS distances, folder."""
    parser = argparse.ArgumentParser(
        prog="python -m spincross build", description="Build cis-[Fe(N^N)2(NCS)2] in C2 and write its CIFs."
    )
    parser.add_argument("complex", help="id of the complex, for example fe-phen2-ncs2")
    parser.add_argument("smiles", help="SMILES of the chelating ligand")
    parser.add_argument(
        "--trans", default="pyridine", help="kind of the mutually trans donors (pyridine, imine, amine)"
    )
    for state, start in (("low", [1.97, 1.95, 1.94]), ("high", [2.20, 2.20, 2.06])):
        said = f"Fe-N distances of {state} spin, angstrom: trans donors, other donors, NCS"
        ends: dict[str, Any] = {"nargs": 3, "type": float, "default": start, "metavar": ("TRANS", "OTHER", "NCS")}
        parser.add_argument(f"--{state}-spin", help=said, **ends)
    parser.add_argument("--folder", type=Path, required=True, help="where to write low_spin.cif and high_spin.cif")
    given = parser.parse_args(arguments)
    distances = {"LS": Distances(*given.low_spin), "HS": Distances(*given.high_spin)}
    built = build_complex(given.smiles, given.trans, distances, {"LS": 1, "HS": 5})
    for state, name in (("LS", "low_spin"), ("HS", "high_spin")):
        d = distances[state]
        comment = (
            f"Ligand {given.smiles}, {given.trans} nitrogens mutually trans; Fe-N {d.trans} (trans), {d.other}, "
            f"{d.anion} (NCS) angstrom fixed, all else relaxed with GFN2-xTB in C2 as {SPIN[state]}."
        )
        write_model(given.folder, name, given.complex, built[state], comment)
