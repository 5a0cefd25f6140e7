"""Restart data of a work folder: its lock, the steps of an optimisation, orbitals to start from.

Every gradient is appended to a file of lines the moment it exists. A line that a kill cut off is dropped; a file begun
for another level, state, molecule or start geometry is refused.
"""

from __future__ import annotations

import fcntl
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spincross.errors import BadInput, StaleData
from spincross.files import (
    Report,
    fingerprint,
    print_line,
    read_arrays,
    replacing,
    write_arrays,
    write_unpacked,
    writing,
)

Array = NDArray[np.float64]
Orbitals = tuple[Array, Array]
"""Occupied alpha and beta orbitals, (nao, n_alpha) and (nao, n_beta)."""

STEP_KEYS = {"positions_bohr", "energy_hartree", "gradient_hartree_per_bohr"}
"""What a step of an optimisation must have to answer for a geometry."""
SAME_GEOMETRY = 1e-6
"""Largest difference of a coordinate (bohr) at which a stored gradient answers for a geometry."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a work folder for one process; BadInput if another one holds it, CannotWrite if it cannot be written."""
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "lock").open("w")
    with lock as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BadInput(f"{folder} is in use by another run; wait for it or choose another --workdir") from error
        except OSError as error:
            print_line(f"  {folder} cannot be locked ({error.strerror}): make sure that no other run works in it")
        yield


@dataclass
class StepFile:
    """The steps of one surface, appended as they finish; damaged lines (a half-written last one) are dropped.

    Raises StaleData if the file was begun for another level, state, molecule or start geometry.
    """

    path: Path
    header: dict[str, Any]
    steps: list[dict[str, Any]] = field(default_factory=list)
    dropped: int = 0

    def __post_init__(self) -> None:
        """Read what is there, or begin the file."""
        lines, entries = _read(self.path)
        if entries and entries[0] != json.loads(json.dumps(self.header)):
            raise StaleData(f"{self.path} belongs to another level, state or start geometry; remove its folder")
        self.steps = [entry for entry in entries[1:] if entry.keys() >= STEP_KEYS]
        self.dropped = max(len(lines) - 1, 0) - len(self.steps)
        with replacing(self.path) as temporary:
            temporary.write_text("".join(json.dumps(e) + "\n" for e in [*(entries[:1] or [self.header]), *self.steps]))

    def append(self, step: dict[str, Any]) -> None:
        """Add one step and flush it to disk."""
        with writing(self.path), self.path.open("a") as handle:
            handle.write(json.dumps(step) + "\n")
        self.steps.append(step)

    def find(self, positions: Array) -> dict[str, Any] | None:
        """Return the step at these positions (N, 3), if any."""
        for step in self.steps:
            if np.abs(np.array(step["positions_bohr"]) - positions).max() < SAME_GEOMETRY:
                return step
        return None


def steps_in(path: Path) -> list[dict[str, Any]]:
    """Return the steps that a file of steps holds, none where there is no file; it is only read."""
    return [entry for entry in _read(path)[1][1:] if entry.keys() >= STEP_KEYS]


def _read(path: Path) -> tuple[list[str], list[dict[str, Any]]]:
    """Return the lines of a file of steps and those of them that are whole; nothing where there is no file."""
    lines = path.read_text(errors="replace").splitlines() if path.exists() else []
    return lines, [entry for entry in map(_parse, lines) if entry is not None]


def _parse(line: str) -> dict[str, Any] | None:
    try:
        return dict(json.loads(line))
    except (TypeError, ValueError):
        return None


Arrays = dict[str, NDArray[Any]]
Keep = Callable[[str, Callable[[], Arrays]], Arrays]
"""Takes the name of a block of a long calculation and what computes it; returns the block, stored or computed."""


def anew(name: str, compute: Callable[[], Arrays]) -> Arrays:
    """Compute a block and keep nothing."""
    return compute()


def parts_of(block: str, keep: Keep) -> Keep:
    """Return what keeps parts of a block until it is stored itself (see `Blocks.keep`)."""
    return lambda name, compute: keep(f"{block}.{name}", compute)


@dataclass
class Blocks:
    """Blocks of one long calculation, each kept in a folder as it finishes.

    Parameters
    ----------
    key : checksum of all that the blocks depend on
    seconds_before : what the blocks that were found took when they were computed

    Raises
    ------
    StaleData
        if a stored block belongs to another calculation
    """

    folder: Path
    key: str
    report: Report
    seconds_before: float = 0.0

    def keep(self, name: str, compute: Callable[[], Arrays]) -> Arrays:
        """Return the block `name`, computing and storing it unless it is there; its parts, `name.*`, then go."""
        path = self.folder / f"{name}.npz"
        if not path.exists():
            begin = time.perf_counter() + self.seconds_before
            found = compute()
            spent = time.perf_counter() + self.seconds_before - begin  # with what its parts took that were found
            write_unpacked(path, key=np.array(self.key), seconds=np.array(spent), **found)
            self._forget_parts(name)
            return found
        stored = read_arrays(path)
        if str(stored.pop("key")) != self.key:
            raise StaleData(
                f"{path} belongs to another geometry, level or state, or was begun on another device (a CPU and a GPU "
                "have grids of their own); go on there, or remove its folder"
            )
        self.seconds_before += float(stored.pop("seconds"))
        self._forget_parts(name)  # of a run that was killed between
        self.report(f"  {name}: found")
        return stored

    def _forget_parts(self, name: str) -> None:
        for part in (*self.folder.glob(f"{name}.*.npz"), *self.folder.glob(f".{name}.*")):  # the latter a kill left
            part.unlink()


def mark(vectors: Array) -> str:
    """Return a name for vectors (n, m), the same where they differ by the noise of a calculation done again only.

    Said by the logarithm of each length and by the direction's product with a fixed vector, to six decimals.
    """
    lengths = np.maximum(np.linalg.norm(vectors, axis=1), np.finfo(float).tiny)
    products = vectors @ np.random.default_rng(0).standard_normal(vectors.shape[1]) / lengths
    return fingerprint(np.rint(1e6 * np.array([np.log(lengths), products])).astype(int).tolist())[:16]


def store_orbitals(path: Path, orbitals: Orbitals) -> None:
    """Keep occupied orbitals as a guess (single precision: they are only ever a start)."""
    write_arrays(path, alpha=orbitals[0].astype(np.float32), beta=orbitals[1].astype(np.float32))


def load_orbitals(path: Path) -> Orbitals:
    """Read a guess; StaleData if the file is damaged."""
    data = read_arrays(path)
    return data["alpha"].astype(float), data["beta"].astype(float)
