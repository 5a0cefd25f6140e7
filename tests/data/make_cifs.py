"""Write the invented crystals of this folder: `python tests/data/make_cifs.py [FOLDER]`; CC0 1.0.

All hold dichloridobis(acetonitrile)zinc (Zn-Cl 2.25, Zn-N 2.00 angstrom, tetrahedral angles, C2v) or something close to
it; each shows one difficulty of real CIFs. The space group operators come from spglib's tables.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import numpy as np
import spglib
from ase.geometry import cellpar_to_cell
from scipy.spatial.transform import Rotation

HALL = {"P1": (1, 1), "P-1": (2, 2), "P2_1/c": (81, 14), "Pccn": (266, 56), "Pnma": (292, 62)}
TETRAHEDRAL = np.radians(109.4712206)
Rows = list[tuple[str, str, np.ndarray]]


def acetonitrile(direction: np.ndarray, across: np.ndarray) -> list[tuple[str, np.ndarray]]:
    """Return N, C, C, H, H, H along a unit vector from the metal at the origin."""
    third = np.cross(direction, across)
    rod = [("N", 2.0), ("C", 3.14), ("C", 4.59)]
    back, out = 1.09 * np.cos(np.pi - TETRAHEDRAL), 1.09 * np.sin(TETRAHEDRAL)
    turns = np.radians([0.0, 120.0, 240.0])
    methyl = [4.59 * direction + back * direction + out * (np.cos(t) * across + np.sin(t) * third) for t in turns]
    return [*((s, d * direction) for s, d in rod), *(("H", h) for h in methyl)]


def zinc_half() -> list[tuple[str, np.ndarray]]:
    """Return Zn, one Cl and one acetonitrile of the C2v molecule, the 2-fold axis along z."""
    half = TETRAHEDRAL / 2.0
    chlorine = 2.25 * np.array([0.0, np.sin(half), -np.cos(half)])
    nitrogen = np.array([np.sin(half), 0.0, np.cos(half)])
    across = np.array([-np.cos(half), 0.0, np.sin(half)])
    return [("Zn", np.zeros(3)), ("Cl", chlorine), *acetonitrile(nitrogen, across)]


def zinc() -> list[tuple[str, np.ndarray]]:
    """Return the whole molecule: the half and its image under the 2-fold."""
    half = zinc_half()
    image = [(s, p * [-1.0, -1.0, 1.0]) for s, p in half[1:]]
    return [half[0], half[1], image[0], *half[2:], *image[1:]]


def placed(atoms: list[tuple[str, np.ndarray]], cell: list[float], site: list[float], turn: int | None = None) -> Rows:
    """Return labelled rows of an asymmetric unit: atoms (angstrom) turned at random and put at a fractional site."""
    matrix = np.eye(3) if turn is None else Rotation.random(random_state=turn).as_matrix()
    inverse = np.linalg.inv(np.asarray(cellpar_to_cell(cell)))
    counts: dict[str, int] = {}
    rows = []
    for symbol, position in atoms:
        counts[symbol] = counts.get(symbol, 0) + 1
        rows.append((f"{symbol}{counts[symbol]}", symbol, matrix @ position @ inverse + site))
    return rows


def operators(group: str) -> list[str]:
    """Return the operators of a space group as text."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = spglib.get_symmetry_from_database(HALL[group][0])
    texts = []
    for rotation, shift in zip(found["rotations"], found["translations"], strict=True):
        parts = ["".join(f"{'+' if c > 0 else '-'}{'xyz'[k]}" for k, c in enumerate(row) if c) for row in rotation]
        halves = ["+1/2" if t > 0 else "" for t in shift]
        texts.append(",".join(p.removeprefix("+") + t for p, t in zip(parts, halves, strict=True)))
    return texts


def block(
    name: str, comment: str, cell: list[float], group: str, rows: Rows, z: int, formula: str = "C4 H6 Cl2 N2 Zn",
    shares: dict[str, float] | None = None, groups: dict[str, str] | None = None, extra: str = "",
) -> str:  # fmt: skip
    """Return one data block."""
    keys = ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma")
    lines = [f"# {comment}  Invented for the tests of spincross; CC0 1.0.", f"data_{name}"]
    lines += [f"_chemical_formula_sum '{formula}'"] * bool(formula)
    lines += [f"_cell_{k} {v:g}" for k, v in zip(keys, cell, strict=True)]
    lines += [f"_cell_formula_units_Z {z}", f"_space_group_IT_number {HALL[group][1]}"]
    lines += [f"_space_group_name_H-M_alt '{group}'", "_diffrn_ambient_temperature 100(2)", *extra.splitlines()]
    lines += ["loop_", "_space_group_symop_operation_xyz", *(f"'{o}'" for o in operators(group))]
    lines += ["loop_", "_atom_site_label", "_atom_site_type_symbol", *(f"_atom_site_fract_{x}" for x in "xyz")]
    lines += ["_atom_site_occupancy"] + ["_atom_site_disorder_group"] * bool(groups)
    for label, symbol, place in rows:
        x, y, height = place + 0.0
        tail = f" {(groups or {}).get(label, '.')}" if groups else ""
        lines.append(f"{label} {symbol} {x:.6f} {y:.6f} {height:.6f} {(shares or {}).get(label, 1):g}{tail}")
    return "\n".join(lines) + "\n"


def water(site: np.ndarray) -> list[tuple[str, np.ndarray]]:
    """Return a water molecule, angstrom."""
    return [("O", site), ("H", site + [0.76, 0.0, 0.59]), ("H", site + [-0.76, 0.0, 0.59])]


def crystals() -> dict[str, str]:
    """Return the text of every file by name."""
    small, roomy, wide = [11, 12, 14, 90, 90, 90], [17, 21, 18, 90, 104, 90], [17, 18, 32, 90, 95, 90]
    on_axis = placed(zinc_half(), small, [0.25, 0.25, 0.1])
    whole = placed(zinc(), small, [0.25, 0.25, 0.1])
    general = placed(zinc(), roomy, [0.98, 0.27, 0.24], turn=11)
    files = {
        "two_fold": block("two_fold", "Half a molecule on the 2-fold of Pccn.", small, "Pccn", on_axis, 4),
        "across_edge": block("across_edge", "A molecule across the cell edge.", roomy, "P2_1/c", wrapped(general), 4),
        "whole_with_duplicates": block(
            "whole_with_duplicates", "The whole molecule on the 2-fold of Pccn, two atoms listed twice.", small, "Pccn",
            [*whole, *((f"{n}X", s, p + 1e-4) for n, s, p in whole if n in ("Cl1", "H1"))], 4,
        ),
        "whole_in_p1": block(
            "whole_in_p1", "A P1 listing of the whole molecule, every atom twice.", roomy, "P1",
            [*general, *((f"{n}X", s, p + [1.0, 0.0, -1.0]) for n, s, p in general)], 1,
        ),
        "several_blocks": block("first", "Two data blocks.", roomy, "P2_1/c", general, 4)
        + block("second", "Second block.", small, "Pccn", on_axis, 4),
        "short_formula": block(
            "short_formula", "A water molecule is declared but not listed.", roomy, "P2_1/c", general, 4,
            "C4 H8 Cl2 N2 O Zn",
        ),
        "missing_hydrogen": block(
            "missing_hydrogen", "The methyl hydrogens are missing from list and formula.", roomy, "P2_1/c",
            [r for r in general if r[1] != "H"], 4, "C4 Cl2 N2 Zn",
        ),
        "wrong_number": block(
            "wrong_number", "Operators of P21/c, declared as number 15.", roomy, "P2_1/c", general, 4
        ).replace("IT_number 14", "IT_number 15"),
        "wrong_operators": "".join(
            line for line in block(
                "wrong_operators", "P21/c with one operator left out.", roomy, "P2_1/c", general, 4
            ).splitlines(keepends=True) if line != f"'{operators('P2_1/c')[-1]}'\n"
        ),
    }  # fmt: skip
    return files | special_places(wide) | disordered(roomy, general) | with_others(roomy, wide, general)


def wrapped(rows: Rows) -> Rows:
    """Return rows with all coordinates inside the cell, as many programs write them."""
    return [(label, symbol, place % 1.0) for label, symbol, place in rows]


def special_places(wide: list[float]) -> dict[str, str]:
    """Return the molecule on a mirror plane, a palladium relative on an inversion centre, and Z' = 2."""
    mirror, inversion = [13, 14, 12, 90, 90, 90], [13, 12, 12, 90, 95, 90]
    half = zinc_half()
    turned = [(s, p[[1, 0, 2]]) for s, p in [half[0], half[1], ("Cl", half[1][1] * [1, -1, 1]), *half[2:]]]
    across = np.array([0.0, 0.0, 1.0])
    planar = [("Pd", np.zeros(3)), ("Cl", np.array([0.6, 2.1685, 0.0]))]
    planar += acetonitrile(np.array([1.0, 0.0, 0.0]), across)
    two = placed(zinc(), wide, [0.25, 0.25, 0.2], turn=5)
    second = placed(zinc(), wide, [0.25, 0.25, 0.72], turn=6)
    return {
        "mirror": block(
            "mirror", "On the mirror plane of Pnma.", mirror, "Pnma", placed(turned, mirror, [0.1, 0.25, 0.2]), 4
        ),
        "inversion": block(
            "inversion", "Half a molecule on the inversion centre of P-1.", inversion, "P-1",
            placed(planar, inversion, [0.5, 0.5, 0.0]), 1, "C4 H6 Cl2 N2 Pd",
        ),
        "two_independent": block(
            "two_independent", "Z' = 2: two independent molecules in P-1.", wide, "P-1",
            [*two, *((f"{n}B", s, p) for n, s, p in second)], 4,
        ),
    }  # fmt: skip


def disordered(roomy: list[float], general: Rows) -> dict[str, str]:
    """Return chlorine split over two places: with and without groups, clear and not, and a disordered solvent."""
    cell = np.asarray(cellpar_to_cell(roomy))
    metal, chlorine = general[0][2], general[1][2]
    aside = np.cross((chlorine - metal) @ cell, [0.3, 0.5, 0.8])
    moved = chlorine + 0.8 * aside / np.linalg.norm(aside) @ np.linalg.inv(cell)
    both = [*general, ("Cl1B", "Cl", moved)]
    clear, even = {"Cl1": 0.6, "Cl1B": 0.4}, {"Cl1": 0.5, "Cl1B": 0.5}
    guests = [("O1", "O", np.array([0.45, 0.6, 0.55])), ("O2", "O", np.array([0.48, 0.62, 0.56]))]
    return {
        "disorder_groups": block(
            "disorder_groups", "Cl1 split 0.6/0.4 with disorder groups.", roomy, "P2_1/c", both, 4, shares=clear,
            groups={"Cl1": "1", "Cl1B": "2"},
        ),
        "disorder_plain": block(
            "disorder_plain", "Cl1 split 0.6/0.4 without disorder groups.", roomy, "P2_1/c", both, 4, shares=clear
        ),
        "disorder_even": block(
            "disorder_even", "Cl1 split 0.5/0.5: nothing tells which to keep.", roomy, "P2_1/c", both, 4, shares=even,
            groups={"Cl1": "1", "Cl1B": "2"},
        ),
        "disorder_unlike": block(
            "disorder_unlike", "Cl1 shares its place with a bromine, 0.6/0.4, without groups.", roomy, "P2_1/c",
            [*general, ("Br1", "Br", moved)], 4, "C4 H6 Br0.4 Cl1.6 N2 Zn", shares={"Cl1": 0.6, "Br1": 0.4},
        ),
        "disorder_solvent": block(
            "disorder_solvent", "Half a water, its oxygen split 0.3/0.2, no hydrogen.", roomy, "P2_1/c",
            [*general, *guests], 4, "C4 H6 Cl2 N2 O0.5 Zn", shares={"O1": 0.3, "O2": 0.2},
        ),
    }  # fmt: skip


def with_others(roomy: list[float], wide: list[float], general: Rows) -> dict[str, str]:
    """Return crystals with a second species, and an endless chain."""
    chain = [3.9, 8, 9, 90, 90, 90]
    half = TETRAHEDRAL / 2.0
    corners = 2.25 * np.array([[0, 1, -1], [0, -1, -1], [1, 0, 1], [-1, 0, 1]])
    corners *= np.array([np.sin(half), np.sin(half), np.cos(half)])
    tetrachloride = placed([("Zn", np.zeros(3)), *(("Cl", c) for c in corners)], wide, [0.25, 0.25, 0.72], turn=9)
    links = [("Zn1", [0.0, 0.5, 0.5]), ("Cl1", [0.5, 0.69, 0.5]), ("Cl2", [0.5, 0.31, 0.5])]
    guest = placed(water(np.zeros(3)), roomy, [0.45, 0.6, 0.55])
    guest = [(f"{n}W", s, p) for n, s, p in guest]
    return {
        "polymer": block(
            "polymer", "A chain of chlorine-bridged zinc atoms.", chain, "P1",
            [(n, n[:2], np.array(p)) for n, p in links], 1, "Cl2 Zn",
        ),
        "two_complexes": block(
            "two_complexes", "Two different zinc species.", wide, "P-1",
            [*placed(zinc(), wide, [0.25, 0.25, 0.2], turn=5), *((f"{n}B", s, p) for n, s, p in tetrachloride)], 2,
            "C4 H6 Cl6 N2 Zn2",
        ),
        "salt": block(
            "salt", "A bromide beside the complex, and a water.", roomy, "P2_1/c",
            [*general, ("Br1", "Br", np.array([0.45, 0.1, 0.6])), *guest], 4, "C4 H8 Br Cl2 N2 O Zn",
        ),
    }  # fmt: skip


def main() -> None:
    """Write all files."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    for name, text in crystals().items():
        (folder / f"{name}.cif").write_text(text)


if __name__ == "__main__":
    main()
