"""A built model as a CIF: half of the molecule in a roomy Pccn cell, so that it enters through the door of crystals.

Pccn is space group 56; in its standard setting a 2-fold runs along 1/4, 1/4, z, and the metal sits on it. A measured
low-spin crystal of the family looks the same. Lengths in the file are in angstrom.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from spincross import files
from spincross.errors import BadStructure
from spincross.molecule import Molecule
from spincross.units import BOHR_TO_ANGSTROM

ROOM = 12.0
"""Empty space between molecules of a built crystal in every direction, angstrom."""
METAL_HEIGHT = 0.125
"""Fractional z of the metal: neighbours along c are then c/4 apart in height, the most that Pccn allows."""
PCCN = (
    "x,y,z",
    "-x+1/2,-y+1/2,z",
    "-x,y+1/2,-z+1/2",
    "x+1/2,-y,-z+1/2",
    "-x,-y,-z",
    "x+1/2,y+1/2,-z",
    "x,-y+1/2,z+1/2",
    "-x+1/2,y,z+1/2",
)
"""Operators of Pccn in the standard setting; the second is the 2-fold along 1/4, 1/4, z."""


def cif_text(name: str, molecule: Molecule, comment: str) -> str:
    """Return a CIF of one C2 molecule on the 2-fold of a roomy Pccn cell.

    Parameters
    ----------
    name : data block name
    molecule : exact C2 along z; atom 0 is the metal at the origin, atoms 1..n the half, n+1..2n their partners
    comment : how the model was built

    Raises
    ------
    BadStructure
        if the atoms are not in that order
    """
    half = _half(molecule)
    positions = molecule.positions * BOHR_TO_ANGSTROM
    extent = positions.max(axis=0) - positions.min(axis=0) + ROOM
    cell = np.ceil(extent * np.array([2.0, 1.0, 2.0]))
    rows = positions[: half + 1] / cell + np.array([0.25, 0.25, METAL_HEIGHT])
    sites = "\n".join(
        f"{s}{i} {s} {x:.8f} {y:.8f} {z:.8f} 1"
        for i, (s, (x, y, z)) in enumerate(zip(molecule.symbols, rows, strict=False), start=1)
    )
    counts = {s: molecule.symbols.count(s) for s in sorted(set(molecule.symbols))}
    formula = " ".join(f"{s}{n}" for s, n in counts.items())
    words = " ".join(comment.split())
    operators = "\n".join(f"'{op}'" for op in PCCN)
    return f"""# BUILT MODEL, not a measured crystal structure: one molecule in an invented, roomy Pccn cell.
# {words}
# Licence: CC0 1.0
data_{name}
_publ_section_comment
;
Built model, not a measured crystal structure.
{words}
;
_chemical_formula_sum '{formula}'
_cell_length_a {cell[0]:.1f}
_cell_length_b {cell[1]:.1f}
_cell_length_c {cell[2]:.1f}
_cell_angle_alpha 90.0
_cell_angle_beta 90.0
_cell_angle_gamma 90.0
_cell_formula_units_Z 4
_space_group_IT_number 56
_space_group_name_H-M_alt 'P c c n'
loop_
_space_group_symop_operation_xyz
{operators}
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_occupancy
{sites}
"""


def _half(molecule: Molecule) -> int:
    """Return the number of atoms beside the metal in the asymmetric unit; BadStructure if the order is not ours."""
    half, rest = divmod(len(molecule.symbols) - 1, 2)
    turned = molecule.positions * np.array([-1.0, -1.0, 1.0])
    paired = rest == 0 and np.allclose(turned[1 : half + 1], molecule.positions[half + 1 :], atol=1e-5)
    if not paired or np.abs(molecule.positions[0]).max() > 1e-5:
        raise BadStructure(
            "a built model lists its metal at the origin, one half, and its partners under C2; reorder it"
        )
    return half


def write_model(folder: Path, state: str, name: str, molecule: Molecule, comment: str) -> None:
    """Write a built model as {state}.cif and {state}.xyz (state: low_spin or high_spin)."""
    with files.replacing(folder / f"{state}.cif") as temporary:
        temporary.write_text(cif_text(f"{name}_{state}".replace("-", "_"), molecule, comment))
    title = f"built model {name} {state}: {comment}"
    files.write_xyz(folder / f"{state}.xyz", molecule.symbols, [molecule.positions], [title])
