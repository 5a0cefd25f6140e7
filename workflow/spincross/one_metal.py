"""Is it a complex of one transition metal, with the spin states of one? What a structure cannot say by itself."""

from __future__ import annotations

from spincross.errors import BadInput, BadStructure
from spincross.mean_field import D_BLOCK
from spincross.molecule import Molecule, metal_bonds

USUAL = {
    "Fe": {"iron(II)": (1, 5), "iron(III)": (2, 6)},
    "Co": {"cobalt(II)": (2, 4), "cobalt(III)": (1, 5)},
    "Mn": {"manganese(II)": (2, 6), "manganese(III)": (3, 5)},
    "Cr": {"chromium(II)": (3, 5)},
    "Ni": {"nickel(II)": (1, 3)},
}
"""Multiplicities of LS and HS of the metals that switch their spin."""
LARGEST_MULTIPLICITY = 10
"""Five unpaired d electrons, and radicals on the ligands."""
FEWEST_DONORS, MOST_DONORS = 4, 6
"""Neighbours of a 3d metal beyond which the molecule may be part of one, or more than one."""


def check_metal(name: str, molecule: Molecule, metal: str | None) -> None:
    """Refuse a `metal` that is no transition metal, none where there is one, and molecules of several.

    Parameters
    ----------
    name : of the structure file
    """
    metals = [s for s, z in zip(molecule.symbols, molecule.numbers, strict=True) if int(z) in D_BLOCK]
    if metal is None:
        if metals:
            raise BadStructure(f"{name}: the molecule holds {metals[0]}, but the entry says metal: null; name it there")
        return
    if metal not in metals:
        raise BadInput(f"{name}: metal: {metal} is no transition metal; name the one whose spin changes, or null")
    if len(metals) > 1:
        raise BadStructure(
            f"{name}: the molecule {molecule.formula} holds {len(metals)} transition metals ({', '.join(metals)}), "
            "whose spins would couple; only complexes of one are computed"
        )


def remarks(name: str, molecule: Molecule, metal: str | None, multiplicity: dict[str, int]) -> list[str]:
    """Return warnings about an unusual number of donors and unusual multiplicities; refuse impossible ones."""
    if metal is None:
        return []
    wrong = [f"{value} ({state})" for state, value in multiplicity.items() if value > LARGEST_MULTIPLICITY]
    if wrong:
        raise BadInput(f"{name}: one {metal} cannot have the multiplicity {wrong[0]}; correct `multiplicity`")
    notes, donors = [], len(metal_bonds(molecule, metal))
    if not FEWEST_DONORS <= donors <= MOST_DONORS:
        notes.append(
            f"{name}: {donors} atoms are bonded to {metal}: is the molecule whole, and are all of them bonded?"
        )
    usual, pair = USUAL.get(metal, {}), tuple(multiplicity.get(state) for state in ("LS", "HS"))
    if usual and None not in pair and pair not in usual.values():
        listed = ", ".join(f"{ion} {low} and {high}" for ion, (low, high) in usual.items())
        notes.append(f"multiplicities {pair[0]} (LS) and {pair[1]} (HS) are unusual for {metal}; usual are {listed}")
    return notes
