"""Reading and writing: JSON without NaN and sorted, XYZ, checksums, and the provenance every result opens with.

A file appears whole or not at all: it is written beside its place and renamed.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from importlib import metadata
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from spincross import __version__, machine
from spincross.errors import BadInput, CannotWrite, MissingInput, SpincrossError, StaleData
from spincross.units import ANGSTROM_TO_BOHR, BOHR_TO_ANGSTROM

Array = NDArray[np.float64]
Json = dict[str, Any]
Report = Callable[[str], None]
"""Called with a line of text as something is finished."""

LIBRARIES = (
    "pyscf", "gpu4pyscf-cuda12x", "gpu4pyscf-cuda13x", "geometric", "numpy", "scipy", "ase", "spglib", "phonopy",
)  # fmt: skip


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path that becomes `path` only if the block succeeds.

    Raises
    ------
    CannotWrite
        if the disk is full, the folder read-only or the like; what was there before is kept
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}{path.suffix}")
        try:
            yield temporary
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn a failure of the system inside the block into CannotWrite, with the path and the reason."""
    try:
        yield
    except OSError as error:
        raise CannotWrite(
            f"{path} cannot be written ({error.strerror or error}); what was stored before is kept: make room or "
            "choose another folder, and start again"
        ) from error


def write_json(path: Path, content: Json) -> None:
    """Write sorted, indented JSON; ValueError on NaN or infinity."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(plain(content), indent=1, sort_keys=True, allow_nan=False) + "\n")


def present(path: Path) -> Path:
    """Return the path of a file; MissingInput if there is none."""
    if not Path(path).exists():
        raise MissingInput(path)
    return Path(path)


def read_json(path: Path) -> Json:
    """Read a JSON object; MissingInput if it is not there, BadInput if it is damaged."""
    try:
        content = json.loads(present(path).read_text())
    except (OSError, ValueError) as error:
        raise BadInput(f"{path} cannot be read as JSON ({error}); delete it and run again") from error
    if not isinstance(content, dict):
        raise BadInput(f"{path} does not hold a JSON object; delete it and run again")
    return content


def plain(value: Any) -> Any:
    """Return the value with numpy numbers and arrays turned into Python's own, all the way down."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    return value


def write_arrays(path: Path, **arrays: Any) -> None:
    """Write a compressed NPZ file."""
    with replacing(path) as temporary:
        np.savez_compressed(temporary, allow_pickle=False, **arrays)


def write_unpacked(path: Path, **arrays: Any) -> None:
    """Write an NPZ file at the speed of the disk: digits without a pattern pack by 4 %, at 16 MB/s."""
    with replacing(path) as temporary:
        np.savez(temporary, allow_pickle=False, **arrays)


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Read every array of an NPZ file; MissingInput if it is not there, StaleData if it is truncated or damaged."""
    present(path)
    try:
        with np.load(path, allow_pickle=False) as data:
            return {key: data[key] for key in data.files}
    except Exception as error:  # numpy raises zipfile, zlib, OS and value errors for a damaged file
        raise StaleData(f"{path} cannot be read ({type(error).__name__}: {error}); delete it and run again") from error


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes; MissingInput if it is not there."""
    return hashlib.sha256(present(path).read_bytes()).hexdigest()


def fingerprint(content: Any) -> str:
    """Return a SHA-256 of any JSON-able content, independent of key order."""
    text = json.dumps(plain(content), sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def xyz_text(symbols: tuple[str, ...], positions: Array, comment: str = "") -> str:
    """Format one XYZ frame; positions (N, 3) in bohr, written in angstrom."""
    rows = [
        f"{symbol:<3s}" + "".join(f"{x:18.10f}" for x in row)
        for symbol, row in zip(symbols, positions * BOHR_TO_ANGSTROM, strict=True)
    ]
    return "\n".join([str(len(symbols)), " ".join(comment.split()), *rows]) + "\n"


def write_xyz(path: Path, symbols: tuple[str, ...], frames: list[Array], comments: list[str]) -> None:
    """Write one or more XYZ frames; positions (N, 3) in bohr."""
    with replacing(path) as temporary:
        frames_text = [xyz_text(symbols, p, c) for p, c in zip(frames, comments, strict=True)]
        temporary.write_text("".join(frames_text))


def read_xyz(path: Path) -> tuple[tuple[str, ...], Array, str]:
    """Read the first frame of an XYZ file: symbols, positions (N, 3) in bohr, comment line.

    MissingInput if it is not there, BadInput if it is damaged.
    """
    try:
        lines = present(path).read_text().splitlines()
        count = int(lines[0])
        rows = [line.split() for line in lines[2 : 2 + count]]
        positions = np.array([[float(x) for x in row[1:4]] for row in rows])
        if positions.shape != (count, 3) or not np.isfinite(positions).all():
            raise ValueError(f"expected {count} rows of symbol x y z, found shape {positions.shape}")
        if len((lines[2 + count :] or [""])[0].split()) > 1:  # a further frame begins with a number alone
            raise ValueError(f"its first line says {count} atoms, but more follow")
    except (OSError, ValueError, IndexError) as error:
        raise BadInput(f"{path} cannot be read as an XYZ file ({error}); give a file with symbol x y z rows") from error
    return tuple(row[0] for row in rows), positions * ANGSTROM_TO_BOHR, lines[1] if len(lines) > 1 else ""


def versions() -> dict[str, str]:
    """Return the versions of spincross and of the libraries a number depends on, those that are installed."""
    found = {"spincross": __version__}
    for name in LIBRARIES:
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def provenance(inputs: dict[str, Path], wall_seconds: float, **facts: Any) -> Json:
    """Return the block that opens every JSON.

    Parameters
    ----------
    inputs : role and path of every file that was read
    wall_seconds : time the stage took
    facts : level, state, multiplicity, point_group, converged, origin (`computed` unless given)
    """
    return {
        "versions": versions(),
        "machine_class": machine.machine_class(),
        "inputs_sha256": {role: sha256_of(path) for role, path in inputs.items()},
        "wall_seconds": round(wall_seconds, 2),
        "origin": "computed",
        **facts,
    }


def write_table(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Write rows as a tab-separated table with a header: columns of the first row, then new ones; no tabs in a cell."""
    rows = list(rows)
    columns = list(dict.fromkeys(key for row in rows for key in row))
    with replacing(path) as temporary, temporary.open("w", newline="") as handle:
        writer = csv.DictWriter(handle, columns, restval="", delimiter="\t", lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow({key: "" if row[key] is None else " ".join(str(row[key]).split()) for key in row})


def print_line(text: str) -> None:
    """Show progress at once."""
    print(text, flush=True)


class _Tee:
    """A text stream that shows what is written and keeps it in a log, as long as the disk takes it."""

    def __init__(self, screen: TextIO, log: TextIO) -> None:
        self.screen, self.log = screen, log

    def write(self, text: str) -> int:
        """Write to both."""
        with suppress(OSError):
            self.log.write(text)
        return self.screen.write(text)

    def flush(self) -> None:
        """Flush both."""
        with suppress(OSError):
            self.log.flush()
        self.screen.flush()


@contextmanager
def logged(log: Path) -> Iterator[None]:
    """Show what is printed on the terminal and in the log; a failure of ours ends the program with its one sentence."""
    handle: TextIO = io.StringIO()
    try:
        with writing(log):
            log.parent.mkdir(parents=True, exist_ok=True)
            handle = log.open("w")
        with redirect_stdout(_Tee(sys.stdout, handle)):
            yield
    except SpincrossError as error:
        with suppress(OSError):
            handle.write(f"{type(error).__name__}: {error}\n")
        sys.exit(f"{type(error).__name__}: {error}")
    finally:
        with suppress(OSError):
            handle.close()
