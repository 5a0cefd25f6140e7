"""Named failures: every one carries the numbers a chemist needs to judge it, in one sentence."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class SpincrossError(Exception):
    """Base of every failure that spincross raises on purpose."""


class BadInput(SpincrossError):
    """A config key, complex entry or file that cannot be used; says which and what to do."""


class MissingInput(BadInput):
    """A file that an earlier stage makes, and that is not there; `path` says which."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} is not there; run the stage that makes it first")
        self.path = Path(path)


class BadStructure(BadInput):
    """A structure that is not one whole molecule of the point group asked for."""


class NotConverged(SpincrossError):
    """An SCF or geometry optimisation that ended before its thresholds were met; `rungs` are those an SCF climbed."""

    def __init__(self, text: str, rungs: Sequence[dict[str, Any]] = ()) -> None:
        super().__init__(text)
        self.rungs = list(rungs)


class WrongState(SpincrossError):
    """A converged wave function that is not the electronic state asked for."""


class SymmetryLost(SpincrossError):
    """A geometry, gradient or density that left the imposed point group."""


class UnexpectedImaginaryMode(SpincrossError):
    """An imaginary mode below the noise floor where a minimum was required."""


class StaleData(SpincrossError):
    """Stored data (checkpoint, Hessian, record) that belongs to another geometry, level or state."""


class Unreproduced(SpincrossError):
    """A recorded number that a fresh calculation on this machine does not give again."""


class DeviceDiffers(SpincrossError):
    """A number that the GPU and the CPU of one host do not agree on."""


class CannotWrite(SpincrossError):
    """A file that the system would not let us write: full disk, read-only folder, or no permission."""


class Stopped(KeyboardInterrupt):
    """The time given with --stop-after is over; no failure, and nothing that an `except Exception` may swallow."""


class Inhomogeneous(SpincrossError):
    """A difference asked between states computed in different ways or with different mode counts."""


@contextmanager
def solving_first_order(what: str) -> Iterator[None]:
    """Raise NotConverged where the Krylov solver of PySCF or gpu4pyscf gives up inside the block.

    Parameters
    ----------
    what : is solved for, with the number of its iterations where known
    """
    try:
        yield
    except RuntimeError as error:
        if "krylov" not in str(error).lower():
            raise
        raise NotConverged(
            f"{what}: {error}; the electronic state is probably near an instability (stability_blocks in "
            "optimise.json); hessian.method: finite differences needs no first-order orbitals"
        ) from error
