"""The unit cell of a CIF: one data block, its operators checked, every atom of the cell exactly once.

An operation (R, t) takes fractional coordinates x to R x + t. Images of one element closer than 0.25 angstrom are one
atom that symmetry (or the file) lists twice; different elements on one place are an error. Lengths are in angstrom.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import spglib
from ase.data import atomic_numbers
from ase.geometry import cell_to_cellpar, cellpar_to_cell
from ase.io.cif import parse_cif
from ase.spacegroup.spacegroup import parse_sitesym
from numpy.typing import NDArray

from spincross import disorder
from spincross.errors import BadInput, BadStructure

Array = NDArray[np.float64]

MERGE_DISTANCE = 0.25
"""Atoms of one element closer than this (angstrom) are one atom that symmetry generated twice."""
LARGEST_TEXT = 10_000_000
"""Most characters of a CIF that are read, tables of reflections apart."""
CELL_MISFIT = 0.01
"""Largest change of a cell's metric, relative to the lengths, by an operation of its group: rounding is far less."""
MOST_IMAGES = 20_000
"""Most atoms of a cell before coinciding ones are merged."""
LEAST_VOLUME = 7.0
"""Least volume of a molecular crystal per atom other than H, cubic angstrom (18 is usual; diamond has 5.7)."""
REFLECTIONS = re.compile(r"^(_shelx_(?:hkl|fab|res)_file|_iucr_refine_\w+)\s*\n;.*?\n;", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A CIF data block: its name and its items, keys in lower case, numbers without their standard deviations."""

    name: str
    items: dict[str, Any]

    def get(self, key: str) -> Any:
        """Return the value of an item (a list where it is looped), None where it is absent."""
        return self.items.get(key)


@dataclass(frozen=True)
class Crystal:
    """The contents of one unit cell.

    Parameters
    ----------
    name : file name for messages
    block : the CIF data block
    cell : (3, 3) lattice vectors in rows, angstrom
    rotations, translations : operations in fractional coordinates, (M, 3, 3) and (M, 3)
    labels, symbols, occupancies : of each of the N atoms of the cell; occupancy 1.0 unless disordered
    fractional : (N, 3)
    origin : (N, 2) operation and row of the asymmetric unit that generated each atom
    notes : what was decided about disorder, in sentences
    """

    name: str
    block: Block
    cell: Array
    rotations: NDArray[np.int_]
    translations: Array
    labels: tuple[str, ...]
    symbols: tuple[str, ...]
    occupancies: Array
    fractional: Array
    origin: NDArray[np.int_]
    notes: tuple[str, ...] = ()


# --- reading ---------------------------------------------------------------------------------------------------------


def read_blocks(path: Path) -> list[Block]:
    """Return every data block of a CIF; BadStructure if it cannot be read."""
    if not path.is_file():
        raise BadInput(f"{path} does not exist; put the structure there or correct the path in complexes.yaml")
    text = _text(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            blocks = [Block(b.name, dict(b)) for b in parse_cif(StringIO(text))]
    except Exception as error:  # ASE raises many kinds for a damaged file
        what = f"{type(error).__name__}: {str(error)[:120]}"
        raise BadStructure(f"{path.name} cannot be read as a CIF ({what}); repair the file") from error
    if not blocks:
        raise BadStructure(f"{path.name} holds no data block; give a CIF with atom sites")
    return blocks


def _text(path: Path) -> str:
    """Return the text of a CIF without its tables of reflections; BadStructure where far too much is left."""
    if path.stat().st_size > 20 * LARGEST_TEXT:
        raise BadStructure(f"{path.name} has {path.stat().st_size / 1e6:.0f} MB; cut the reflections away")
    text = path.read_bytes().decode("utf-8", errors="replace")
    if text.startswith("\ufeff"):
        text = text[1:]
    if "\0" in text:
        raise BadStructure(f"{path.name} is not a text file (it holds zero bytes); save the CIF as UTF-8")
    text = REFLECTIONS.sub(r"\1 ?", text)
    if len(text) > LARGEST_TEXT:
        size = f"{len(text) / 1e6:.0f} MB besides reflections (at most {LARGEST_TEXT / 1e6:.0f} are read)"
        raise BadStructure(f"{path.name} holds {size}; keep one crystal and cut the rest away")
    return text


def choose_block(path: Path, blocks: list[Block], name: str | None) -> Block:
    """Return the named block, or the only one that lists atoms."""
    with_atoms = [b for b in blocks if b.get("_atom_site_fract_x") is not None]
    if name is not None:
        with_atoms = [b for b in with_atoms if b.name == name]
    names = ", ".join(b.name for b in blocks)
    if not with_atoms:
        what = f"no block named {name} with atom sites" if name else "no atom sites with fractional coordinates"
        raise BadStructure(f"{path.name} has {what} (blocks: {names}); correct `block` or the file")
    if len(with_atoms) > 1:
        raise BadStructure(f"{path.name} holds several blocks with atoms ({names}); choose one with `block`")
    return with_atoms[0]


def _column(name: str, block: Block, key: str, rows: int) -> list[Any]:
    """Return one atom-site column, a list of None where it is absent; BadStructure if its length is wrong."""
    values = block.get(key)
    if values is None:
        return [None] * rows
    values = values if isinstance(values, list) else [values]
    if len(values) != rows:
        raise BadStructure(f"{name}: {key} has {len(values)} values for {rows} atoms; repair the file")
    return values


def _named(symbol: Any, label: Any) -> str:
    """Return what names the element of an atom site: its type symbol, or its label where there is none."""
    return str(symbol if symbol not in (None, "?", ".") else label)


def _element(name: str, symbol: Any, label: Any, declared: set[str]) -> str:
    """Return the element of an atom site from its type symbol, or from its label (Fe1, N2A, C3+).

    The label HO1 without a type symbol is a hydrogen, unless the formula has `declared` holmium or nothing.
    """
    text = _named(symbol, label)
    letters = "".join(c for c in text[:2] if c.isalpha()).capitalize()
    letters = "H" if letters == "D" else letters
    guesses = (letters, letters[:1])
    if text == str(label) and declared and letters not in declared:
        guesses = (letters[:1], letters)
    for guess in guesses:
        if guess in atomic_numbers and guess != "X":
            return guess
    raise BadStructure(f"{name}: atom {label} has no known element ({text}); correct its type symbol")


def _coordinates(name: str, block: Block) -> Array:
    """Return the (n, 3) fractional coordinates of the asymmetric unit."""
    x = block.get("_atom_site_fract_x")
    rows = len(x) if isinstance(x, list) else 1
    if not rows:
        raise BadStructure(f"{name}: the list of atom sites is empty; complete the file")
    columns = [_column(name, block, f"_atom_site_fract_{axis}", rows) for axis in "xyz"]
    labels = _column(name, block, "_atom_site_label", rows)
    for i, row in enumerate(zip(*columns, strict=True)):
        if not all(isinstance(value, int | float) and abs(value) < 100.0 for value in row):
            raise BadStructure(f"{name}: atom {labels[i]} has no usable coordinates {row}; repair the file")
    return np.array(columns, dtype=float).T


def _cell(name: str, block: Block) -> Array:
    """Return the lattice vectors in rows, angstrom, a along x; BadStructure for an impossible cell."""
    names = ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma")
    values: list[Any] = [block.get(f"_cell_{name}") for name in names]
    usable = all(isinstance(v, int | float) for v in values) and min(values) > 1.0 and max(values[3:]) < 179.0
    if not usable:
        raise BadStructure(f"{name}: the cell {values} is missing or impossible; repair the six _cell_ values")
    cell = np.asarray(cellpar_to_cell(values))
    if not (np.isfinite(cell).all() and np.linalg.det(cell) > 1.0):
        raise BadStructure(f"{name}: the cell {values} is missing or impossible; repair the six _cell_ values")
    return cell


def read_operations(name: str, block: Block) -> tuple[NDArray[np.int_], Array]:
    """Return the operations (M, 3, 3), (M, 3) listed in a block, or those of its Hall symbol or group name.

    BadStructure if they do not form a group or belong to another space group than the declared number.
    """
    listed = block.get("_space_group_symop_operation_xyz") or block.get("_symmetry_equiv_pos_as_xyz")
    if listed is None:
        rotations, translations = _operations_by_name(name, block)
    else:
        try:
            texts = [listed] if isinstance(listed, str) else listed
            rotations, translations = parse_sitesym(texts)
        except Exception as error:  # ASE raises many kinds for damaged operators
            raise BadStructure(f"{name}: a symmetry operator cannot be read ({error}); repair the list") from error
    _check_group(name, block, rotations, translations)
    return rotations, translations % 1.0


def space_group(rotations: NDArray[np.int_], translations: Array) -> Any:
    """Return spglib's record of the space group that operations form, None if it is unknown to it."""
    return quiet(spglib.get_spacegroup_type_from_symmetry, rotations, translations)


def quiet(question: Callable[..., Any], *arguments: Any) -> Any:
    """Ask spglib, without its warning about a coming change of its error handling; None where it has no answer."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            return question(*arguments)
        except spglib.SpglibError:
            return None


def _operations_by_name(name: str, block: Block) -> tuple[NDArray[np.int_], Array]:
    """Return the operations of the Hall symbol or, where unambiguous, of the Hermann-Mauguin name."""
    plain = [_squeezed(block.get(k)) for k in ("_space_group_name_hall", "_symmetry_space_group_name_hall")]
    plain += [_squeezed(block.get(k)) for k in ("_space_group_name_h-m_alt", "_symmetry_space_group_name_h-m")]
    types = {n: quiet(spglib.get_spacegroup_type, n) for n in range(1, 531)}
    for wanted in filter(None, plain):
        hits = [n for n, t in types.items() if wanted in (_squeezed(t.hall_symbol), _squeezed(t.international_full))]
        axis_b = f"{wanted[0]}1{wanted[1:]}1"  # P 21/c stands for P 1 21/c 1: a short monoclinic name means axis b
        hits = hits or [n for n, t in types.items() if axis_b == _squeezed(t.international_full)]
        hits = hits or [n for n, t in types.items() if wanted == _squeezed(t.international_short)]
        if len(hits) == 1:
            found = quiet(spglib.get_symmetry_from_database, hits[0])
            return found["rotations"], found["translations"]
    raise BadStructure(f"{name} lists no symmetry operators and its space group name is no help; add the operators")


def _squeezed(text: Any) -> str:
    """Return a symbol without spaces and without the underscore of spglib's screw axes, in small letters."""
    return "".join(str(text or "").split()).lower().replace("_", "")


def _check_group(name: str, block: Block, rotations: NDArray[np.int_], translations: Array) -> None:
    """Refuse operators that are not closed under multiplication or contradict the declared space group number."""
    known = {(*r.ravel(), *np.rint(t * 48).astype(int) % 48) for r, t in zip(rotations, translations, strict=True)}
    for r, t in zip(rotations, translations, strict=True):
        products, moved = r @ rotations, translations @ r.T + t
        images = {(*p.ravel(), *np.rint(m * 48).astype(int) % 48) for p, m in zip(products, moved, strict=True)}
        if not images <= known:
            raise BadStructure(f"{name}: the {len(rotations)} symmetry operators do not form a group; repair the list")
    declared = block.get("_space_group_it_number") or block.get("_symmetry_int_tables_number")
    kind = space_group(rotations, translations)
    if isinstance(declared, int) and kind is not None and kind.number != declared:
        raise BadStructure(
            f"{name}: the operators are those of space group {kind.number} ({kind.international_short}), but the file "
            f"declares number {declared}; repair one of them"
        )


def _check_metric(name: str, cell: Array, rotations: NDArray[np.int_]) -> None:
    """Refuse a cell that its symmetry operators do not leave as it is: bonds across them would be wrong."""
    metric = cell @ cell.T
    scale = np.sqrt(np.outer(np.diag(metric), np.diag(metric)))
    moved = np.abs((rotations.transpose(0, 2, 1) @ metric @ rotations - metric) / scale).max()
    if moved > CELL_MISFIT:
        values = ", ".join(f"{v:.3f}" for v in cell_to_cellpar(cell))
        raise BadStructure(
            f"{name}: the symmetry operators do not fit the cell {values} (they change its metric by {moved:.3f}); "
            "repair the six _cell_ values or the list of operators"
        )


# --- the unit cell ---------------------------------------------------------------------------------------------------


def read_crystal(path: Path, block_name: str | None = None) -> Crystal:
    """Read a CIF and fill its unit cell; every atom appears once."""
    blocks = read_blocks(path)
    block = choose_block(path, blocks, block_name)
    name, cell, coordinates = path.name, _cell(path.name, block), _coordinates(path.name, block)
    rotations, translations = read_operations(name, block)
    _check_metric(name, cell, rotations)
    rows = len(coordinates)
    labels = [str(v) for v in _column(name, block, "_atom_site_label", rows)]
    types = _column(name, block, "_atom_site_type_symbol", rows)
    declared = set(re.findall(r"[A-Z][a-z]?", str(block.get("_chemical_formula_sum") or "")))
    symbols = [_element(name, t, label, declared) for t, label in zip(types, labels, strict=True)]
    groups = _column(name, block, "_atom_site_disorder_group", rows)
    assemblies = _column(name, block, "_atom_site_disorder_assembly", rows)
    rows_read = disorder.Rows(labels, symbols, _occupancies(name, block, labels), assemblies, groups, coordinates)
    kept, notes = disorder.resolve(rows_read, cell, rotations, translations)
    asymmetric = _Sites(
        name, cell, [labels[k] for k in kept], [symbols[k] for k in kept], rows_read.occupancies[kept],
        coordinates[kept],
    )  # fmt: skip
    if len(kept) * len(rotations) > MOST_IMAGES:
        raise BadStructure(f"{name}: {len(kept)} atoms and {len(rotations)} operators are too many; cut the file down")
    fractional, origin, images = _expanded(asymmetric, rotations, translations)
    tagged = np.array([disorder.tag(groups[k]) is not None for k in kept])
    occupancies = _chemical_occupancies(asymmetric.occupancies, len(rotations) / images, tagged)
    row = origin[:, 1]
    notes += _deuterium_notes(types, labels)
    if len(blocks) > 1:
        notes.insert(0, f"block {block.name} was taken out of {', '.join(b.name for b in blocks)}")
    found = Crystal(
        name, block, cell, rotations, translations, tuple(asymmetric.labels[i] for i in row),
        tuple(asymmetric.symbols[i] for i in row), occupancies[row], fractional, origin,
        tuple(f"{name}: {note}" for note in notes),
    )  # fmt: skip
    _check_density(found)
    return found


def _deuterium_notes(types: list[Any], labels: list[str]) -> list[str]:
    """Return the sentence for a structure with deuterium, whose masses here are hydrogen's; no sentence without."""
    names = {label: _named(kind, label) for kind, label in zip(types, labels, strict=True)}
    found = [label for label, text in names.items() if re.match(r"D(?![a-z])", text, re.IGNORECASE)]
    if not found:
        return []
    atoms = ", ".join(found[:3]) + (", ..." if len(found) > 3 else "")
    return [f"deuterium ({atoms}) counts as H: vibrations and entropies are those of the compound with ordinary H"]


def _occupancies(name: str, block: Block, labels: list[str]) -> Array:
    """Return the listed occupancies, 1 where there is none; BadStructure for one that is no share of an atom."""
    listed = []
    for label, value in zip(labels, _column(name, block, "_atom_site_occupancy", len(labels)), strict=True):
        if value in (None, ".", "?"):
            value = 1.0
        if not isinstance(value, int | float) or not 0.0 < value <= 1.001:
            raise BadStructure(f"{name}: atom {label} has the occupancy {value}, not a number up to 1; repair the file")
        listed.append(float(value))
    return np.array(listed)


def _check_density(crystal: Crystal) -> None:
    """Refuse a cell that holds more atoms than a molecular crystal can."""
    heavy = float(sum(o for s, o in zip(crystal.symbols, crystal.occupancies, strict=True) if s != "H"))
    volume = float(abs(np.linalg.det(crystal.cell)))
    if heavy > 1.0 and volume / heavy < LEAST_VOLUME:
        raise BadStructure(
            f"{crystal.name}: {heavy:.0f} atoms other than H share {volume:.0f} cubic angstrom, too many for a "
            "molecular crystal; repair the cell, the operators or the atoms"
        )


@dataclass(frozen=True)
class _Sites:
    """The asymmetric unit: labels, symbols, occupancies and fractional coordinates (n, 3)."""

    name: str
    cell: Array
    labels: list[str]
    symbols: list[str]
    occupancies: Array
    fractional: Array


def _chemical_occupancies(listed: Array, site_order: Array, disordered: NDArray[np.bool_]) -> Array:
    """Return chemical occupancies: old files multiply them by the site's share of a general position, undone here."""
    share = ~disordered & (site_order > 1.5) & (np.abs(listed * site_order - 1.0) < 0.02)
    return np.where(share, 1.0, listed)


def _expanded(sites: _Sites, rotations: NDArray[np.int_], translations: Array) -> tuple[Array, NDArray[np.int_], Array]:
    """Apply all operations and merge coinciding atoms.

    Returns fractional coordinates (N, 3), the operation and row that generated each atom (N, 2), and how many
    distinct images each row of the asymmetric unit has (one for a row that only repeats another).
    """
    total = len(sites.symbols) * len(rotations)
    positions, origin, count = np.empty((total, 3)), np.empty((total, 2), dtype=int), 0
    for row, site in enumerate(sites.fractional):
        images = rotations @ site + translations
        for op, image in enumerate(images):
            hit = _coinciding(sites, positions[:count], origin[:count, 1], row, image)
            if hit is None:
                near = images + np.rint(image - images)
                same = np.linalg.norm((near - image) @ sites.cell, axis=1) < MERGE_DISTANCE
                positions[count], origin[count] = near[same].mean(axis=0), (op, row)
                count += 1
            elif sites.symbols[origin[hit][1]] != sites.symbols[row]:
                labels = f"{sites.labels[origin[hit][1]]} and {sites.labels[row]}"
                raise BadStructure(f"{sites.name}: atoms {labels} share one place; remove one of them")
    places = origin[:count]
    copies = np.bincount(places[:, 1], minlength=len(sites.symbols))
    return positions[:count], places, np.maximum(copies, 1)


def _coinciding(sites: _Sites, positions: Array, rows: NDArray[np.int_], row: int, image: Array) -> int | None:
    """Return the index of the atom at an image's place, None if the place is free.

    Two partly occupied rows on one place are alternatives, not one atom.
    """
    if not len(positions):
        return None
    difference = positions - image
    distances = np.linalg.norm((difference - np.rint(difference)) @ sites.cell, axis=1)
    if sites.occupancies[row] < disorder.WHOLE:
        distances[(rows != row) & (sites.occupancies[rows] < disorder.WHOLE)] = np.inf
    nearest = int(distances.argmin())
    return nearest if distances[nearest] < MERGE_DISTANCE else None
