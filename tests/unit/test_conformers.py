"""Whether two structures are the same conformer."""

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule as from_ase

from spincross import conformers, files
from spincross.molecule import Molecule
from spincross.units import ANGSTROM_TO_BOHR

RECORDS = Path(__file__).resolve().parents[2] / "structures/reference"
DATA = Path(__file__).resolve().parents[1] / "data"


def of_atoms(atoms: Atoms) -> Molecule:
    return Molecule(tuple(atoms.get_chemical_symbols()), atoms.positions * ANGSTROM_TO_BOHR)


def chain(torsion, angle=110.0, symbols="CCCC"):
    """Return four atoms, 1.5 angstrom apart, with one angle and a torsion."""
    atoms = Atoms(symbols, [(0, 0, 0), (1.5, 0, 0), (3, 0, 0), (4.5, 0, 0)])
    bent = np.radians(180.0 - angle)
    atoms.positions[0] = 1.5 - 1.5 * np.cos(bent), 1.5 * np.sin(bent), 0.0
    atoms.positions[3] = 3.0 + 1.5 * np.cos(bent), 1.5 * np.sin(bent), 0.0
    atoms.set_dihedral(0, 1, 2, 3, torsion, indices=[3])
    return of_atoms(atoms)


def test_gauche_butane_is_another_conformer_than_trans_butane_and_a_stretched_one_is_not():
    trans = from_ase("trans-butane")
    gauche, carbons = trans.copy(), [k for k, s in enumerate(trans.get_chemical_symbols()) if s == "C"]
    near = [[k for k in carbons if 0 < trans.get_distance(k, j) < 1.7] for j in carbons]
    first = next(j for j, k in zip(carbons, near, strict=True) if len(k) == 1)
    second = near[carbons.index(first)][0]
    third = next(k for k in near[carbons.index(second)] if k != first)
    last = next(k for k in near[carbons.index(third)] if k != second)
    gauche.set_dihedral(first, second, third, last, 65.0, indices=[last])
    found = conformers.turns(of_atoms(trans), of_atoms(gauche), None)
    assert [abs(turn.change) for turn in found] == pytest.approx([115.0], abs=0.1)
    trans_again = trans.copy()
    trans_again.positions *= 1.03
    assert conformers.turns(of_atoms(trans), of_atoms(trans_again), None) == []


@pytest.mark.parametrize(
    ("before", "after", "differs"),
    [(15, -27, True), (-11, 11, True), (9, -27, False), (15, 60, False), (175, -170, False), (-80, 80, True),
     (0, 61, True)],
)  # fmt: skip
def test_a_fold_to_the_other_side_counts_where_both_sides_are_folded(before, after, differs):
    found = conformers.turns(chain(before), chain(after), None)
    assert len(found) == differs
    for turn in found:
        assert (turn.before, turn.after) == pytest.approx((before, after))
        assert abs(turn.change) == pytest.approx(min(abs(after - before), 360 - abs(after - before)))


def test_torsions_about_bonds_of_the_metal_of_straight_chains_and_of_hydrogen_are_not_looked_at():
    for symbols, metal, angle, count in (("CZnCC", "Zn", 110, 0), ("CCCZn", "Zn", 110, 1), ("CCCC", None, 160, 0),
                                         ("CCCH", None, 110, 0), ("CNCC", None, 140, 1)):  # fmt: skip
        pair = chain(-90, angle, symbols), chain(90, angle, symbols)
        assert len(conformers.turns(*pair, metal)) == count


def recorded(level, place):
    return Molecule(*files.read_xyz(level / place / "optimise/geometry.xyz")[:2])


BOTH = [level for level in sorted(RECORDS.glob("fe-*/*")) if (level / "HS/C2/optimise").is_dir()]


@pytest.mark.parametrize("level", BOTH, ids=lambda path: path.parent.name)
def test_each_recorded_iron_complex_is_one_conformer(level):
    others = [place for place in ("LS/C2", "HS/C1") if (level / place / "optimise").is_dir()]
    assert "LS/C2" in others
    for place in others:
        assert conformers.turns(recorded(level, place), recorded(level, "HS/C2"), "Fe") == []


def test_an_older_ls_of_the_stand_in_has_its_chelate_rings_folded_to_the_other_side():
    data = files.read_arrays(DATA / "fe-aai2-ncs2_LS_displaced.npz")
    older = Molecule(tuple(map(str, data["symbols"])), data["positions"])
    found = conformers.turns(older, recorded(RECORDS / "fe-aai2-ncs2/pbe0_def2-svp", "HS/C2"), "Fe")
    assert ["".join(older.symbols[k] for k in turn.atoms) for turn in found] == ["FeNCC", "FeNCC"]
