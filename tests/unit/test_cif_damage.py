"""A hundred malformed CIFs give a hundred clear errors; damage that leaves a crystal never gives a fragment of one."""

import random
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from spincross import crystal
from spincross.errors import BadInput

DATA = Path(__file__).resolve().parents[1] / "data"
WHOLE = {"two_fold": "C2", "across_edge": "C2", "mirror": "Cs", "two_independent": "C2"}
Damage = Callable[[random.Random, bytes], bytes]
LONGEST = 10.0
"""Seconds a damaged file may take."""


def outcome(folder: Path, content: bytes, group: str) -> tuple[str, str]:
    """Return 'refused' and the message, or 'taken' and the formula; any other exception fails the test."""
    (folder / "damaged.cif").write_bytes(content)
    entry = {"title": "t", "low_spin_structure": "damaged.cif", "origin": "cif", "source": "t", "charge": 0}
    entry |= {"multiplicity": {"LS": 1}, "point_group": group, "metal": "Zn"}
    start = time.perf_counter()
    try:
        found = "taken", crystal.extract_molecule("test", entry, folder).facts["formula"]
    except BadInput as error:
        found = "refused", str(error)
    assert time.perf_counter() - start < LONGEST
    return found


def cut_in_the_atoms(rng: random.Random, content: bytes) -> bytes:
    """End the file before the last atom is complete."""
    start = content.index(b"_atom_site_label")
    return content[: rng.randrange(start, len(content) - 12)]


def shuffled_lines(rng: random.Random, content: bytes) -> bytes:
    """Put the lines of the file into random order."""
    lines = content.splitlines(keepends=True)
    rng.shuffle(lines)
    return b"".join(lines)


def shuffled_words(rng: random.Random, content: bytes) -> bytes:
    """Put the words of the atom list into random order."""
    head, tail = content.split(b"_atom_site_occupancy\n")
    words = tail.split()
    rng.shuffle(words)
    return head + b"_atom_site_occupancy\n" + b" ".join(words) + b"\n"


def junk_number(rng: random.Random, content: bytes) -> bytes:
    """Replace a coordinate by something that is no usable number."""
    head, tail = content.split(b"_atom_site_occupancy\n")
    spots = list(re.finditer(rb"(?<= )-?\d\.\d{6}", tail))
    spot = rng.choice(spots)
    junk = rng.choice([b"abc", b"1.2.3", b"1e99", b"nan", b"inf", b"--0.1", b"0,25", b"?", b"."])
    return head + b"_atom_site_occupancy\n" + tail[: spot.start()] + junk + tail[spot.end() :]


def junk_cell(rng: random.Random, content: bytes) -> bytes:
    """Replace a cell parameter by an impossible one."""
    spot = rng.choice(list(re.finditer(rb"_cell_(length|angle)_\w+ (\S+)", content)))
    return content[: spot.start(2)] + rng.choice([b"0", b"-5", b"181", b"x", b"?", b"0.001"]) + content[spot.end(2) :]


def not_utf8(rng: random.Random, content: bytes) -> bytes:
    """Put bytes that are no UTF-8 into the coordinates, or store the file as UTF-16."""
    if rng.random() < 0.3:
        return content.decode().encode("utf-16")
    spot = rng.choice(list(re.finditer(rb"0\.\d{6}", content)))
    return content[: spot.start() + 2] + bytes([rng.randrange(0x80, 0xC0)] * 2) + content[spot.start() + 4 :]


def empty_loop(rng: random.Random, content: bytes) -> bytes:
    """Take all data of the atom loop, or of the operator loop, away."""
    head, tail = content.split(b"_atom_site_occupancy\n")
    if rng.random() < 0.5:
        return head + b"_atom_site_occupancy\n"
    head = re.sub(rb"_space_group_name.*\n", b"", head)
    return re.sub(rb"(?m)^'.*'\n", b"", head) + b"_atom_site_occupancy\n" + tail


def missing_column(rng: random.Random, content: bytes) -> bytes:
    """Leave out one word of one atom, so that all later columns slip."""
    head, tail = content.split(b"_atom_site_occupancy\n")
    words = tail.split()
    del words[rng.randrange(len(words))]
    return head + b"_atom_site_occupancy\n" + b" ".join(words) + b"\n"


def broken_operator(rng: random.Random, content: bytes) -> bytes:
    """Damage one symmetry operator."""
    spots = list(re.finditer(rb"(?m)^'(.*)'$", content))
    spot = rng.choice(spots[1:])
    junk = rng.choice([b"x,y", b"x,y,z+1/3", b"x,y,w", b"import,os,z", b"x,y,2*z", b"", b"x+1/0,y,z"])
    return content[: spot.start(1)] + junk + content[spot.end(1) :]


def rubbish(rng: random.Random, content: bytes) -> bytes:
    """Return random bytes of the same length."""
    return rng.randbytes(len(content))


DAMAGES: list[Damage] = [
    cut_in_the_atoms, shuffled_lines, shuffled_words, junk_number, junk_cell, not_utf8, empty_loop, missing_column,
    broken_operator, rubbish,
]  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda d: d.__name__)
def test_a_malformed_cif_is_refused_in_one_clear_sentence(tmp_path: Path, damage: Damage) -> None:
    # ten damages, ten files each
    for seed in range(10):
        rng = random.Random(f"{damage.__name__} {seed}")
        name = sorted(WHOLE)[seed % len(WHOLE)]
        content = damage(rng, (DATA / f"{name}.cif").read_bytes())
        verdict, message = outcome(tmp_path, content, WHOLE[name])
        assert verdict == "refused", f"{damage.__name__} {seed}: {message}"
        assert message.startswith("damaged.cif")
        assert "\n" not in message
        assert 20 < len(message) < 700


@pytest.mark.parametrize("filling", [b"# a comment that never ends\n", b"H9 H 0.1 0.2 0.3 1\n", b"x " * 500 + b"\n"])
def test_fifty_megabytes_are_refused_at_once(tmp_path: Path, filling: bytes) -> None:
    content = (DATA / "two_fold.cif").read_bytes() + filling * (50_000_000 // len(filling))
    verdict, message = outcome(tmp_path, content, "C2")
    assert verdict == "refused"
    assert "MB" in message


def test_a_long_list_of_reflections_is_skipped(tmp_path: Path) -> None:
    rows = b"   1   0   0  123.45    1.23\n" * 400_000
    content = (DATA / "two_fold.cif").read_bytes() + b"_shelx_hkl_file\n;\n" + rows + b";\n"
    assert outcome(tmp_path, content, "C2") == ("taken", "C4H6Cl2N2Zn")


@pytest.mark.parametrize("where", [b"data_", b"# Half"])
def test_bytes_that_are_no_utf8_outside_the_data_do_no_harm(tmp_path: Path, where: bytes) -> None:
    content = (DATA / "two_fold.cif").read_bytes().replace(where, b"# K\xf6ln\n" + where, 1)
    assert outcome(tmp_path, content, "C2") == ("taken", "C4H6Cl2N2Zn")


@pytest.mark.parametrize("declared", [True, False])
def test_wrong_numbers_never_give_a_fragment(tmp_path: Path, declared: bool) -> None:
    # a coordinate takes another valid value: the crystal is refused, or the whole molecule comes back
    verdicts = []
    for seed in range(60):
        rng = random.Random(f"valid {seed}")
        name = sorted(WHOLE)[seed % len(WHOLE)]
        content = (DATA / f"{name}.cif").read_bytes()
        if not declared:
            content = content.replace(b"_chemical_formula_sum", b"_chemical_formula_iupac")
        head, tail = content.split(b"_atom_site_occupancy\n")
        spot = rng.choice(list(re.finditer(rb"(?<= )-?\d\.\d{6}", tail)))
        number = f"{rng.uniform(-1.0, 1.0):.6f}".encode()
        damaged = head + b"_atom_site_occupancy\n" + tail[: spot.start()] + number + tail[spot.end() :]
        verdict, message = outcome(tmp_path, damaged, WHOLE[name])
        verdicts.append(verdict)
        assert verdict == "refused" or message == "C4H6Cl2N2Zn", (seed, name, spot.group(), number)
    assert verdicts.count("refused") > 40
