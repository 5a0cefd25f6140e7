"""Chelating ligands from a SMILES: conformers with both donors on one side."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spincross.errors import BadInput, BadStructure

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Ligand:
    """A chelating ligand: symbols, positions (N, 3) in angstrom, and its two donor atoms (the trans one first)."""

    symbols: tuple[str, ...]
    positions: Array
    donors: tuple[int, int]


SEED = 7
"""Of RDKit's embedding, so that a model is built the same each time."""


def optional(name: str) -> Any:
    """Import a package that only the builder needs; BadInput if it is missing."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        package = name.split(".")[0]
        raise BadInput(f"building a model needs {package}; install it (pip install {package})") from error


def chelating_pair(smiles: str) -> tuple[Any, dict[str, int]]:
    """Return the RDKit molecule of a SMILES and its N-C-C-N donors, named by kind.

    Kinds are `pyridine` (aromatic nitrogen), `imine` and `amine`; the second of one kind is called `pyridine 2`.
    """
    chem = optional("rdkit.Chem")
    molecule = chem.MolFromSmiles(smiles)
    if molecule is None:
        raise BadInput(f"the SMILES {smiles!r} cannot be read; correct it")
    pairs = molecule.GetSubstructMatches(chem.MolFromSmarts("[#7;!+]~[#6]~[#6]~[#7;!+]"))
    if len(pairs) != 1:
        raise BadInput(f"the ligand {smiles!r} has {len(pairs)} chelating N-C-C-N pairs, exactly one is needed")
    kinds: dict[str, int] = {}
    for index in (pairs[0][0], pairs[0][-1]):
        atom = molecule.GetAtomWithIdx(index)
        double = any(bond.GetBondTypeAsDouble() == 2.0 for bond in atom.GetBonds())
        kind = "pyridine" if atom.GetIsAromatic() else "imine" if double else "amine"
        kinds[f"{kind} 2" if kind in kinds else kind] = index
    return molecule, kinds


def embedded_ligands(smiles: str, trans: str, count: int) -> list[Ligand]:
    """Return conformers of a ligand with both donors on one side.

    A silicon bridge between the donors (Si-N about 1.8 angstrom) closes the chelate ring, so that every embedded
    conformer can chelate; it is taken away afterwards.

    Parameters
    ----------
    smiles : the free ligand
    trans : kind of the donor that will be mutually trans
    count : number of conformers
    """
    chem, forms = optional("rdkit.Chem"), optional("rdkit.Chem.AllChem")
    molecule, kinds = chelating_pair(smiles)
    if trans not in kinds:
        raise BadInput(f"the ligand has the donors {', '.join(kinds)}, none is called {trans!r}; choose one of them")
    donors = (kinds[trans], next(index for kind, index in kinds.items() if kind != trans))
    bridged = chem.RWMol(molecule)
    bridge = bridged.AddAtom(chem.Atom("Si"))
    for donor in donors:
        bridged.AddBond(donor, bridge, chem.BondType.SINGLE)
        bridged.GetAtomWithIdx(donor).SetFormalCharge(1)
        bridged.GetAtomWithIdx(donor).SetNoImplicit(False)
    chem.SanitizeMol(bridged)
    full = chem.AddHs(bridged)
    if not list(forms.EmbedMultipleConfs(full, numConfs=count, randomSeed=SEED)):
        raise BadStructure(f"RDKit found no conformer of {smiles!r} with both donors on one side; give another ligand")
    forms.UFFOptimizeMoleculeConfs(full, maxIters=2000)
    added = {bridge} | {a.GetIdx() for a in full.GetAtomWithIdx(bridge).GetNeighbors() if a.GetSymbol() == "H"}
    kept = [a.GetIdx() for a in full.GetAtoms() if a.GetIdx() not in added]
    symbols = tuple(full.GetAtomWithIdx(k).GetSymbol() for k in kept)
    return [Ligand(symbols, np.array(c.GetPositions())[kept], donors) for c in full.GetConformers()]
