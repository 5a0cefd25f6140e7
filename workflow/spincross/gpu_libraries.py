"""gpu4pyscf made to load, and to stay within the GPU's memory, where its own recipe of installation was not followed.

Four things differ on such hosts. CUDA's pip packages carry libcusolver under a numbered name and in a folder where
gpu4pyscf does not look (gpu4pyscf issue 646). Without cuTENSOR its contractions go through `cupy.einsum`, whose
transposed copies gpu4pyscf does not count when it sizes its buffers to the whole card: here they are cut into pieces of
SLAB bytes, and gpu4pyscf is shown SHARE of the free memory. cuTENSOR 2.6 refuses, and 2.7 crashes in, a contraction of
the size that Hessians of a hundred atoms need (gpu4pyscf issue 850): it is left aside. And a calculation that ran out
of memory can be tried again with smaller blocks, by showing it less.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ctypes.util import find_library
from importlib import import_module
from pathlib import Path
from typing import Any

SLAB = 2 << 30
"""Bytes of operands and result that one contraction without cuTENSOR handles at once."""
SHARE = 0.6
"""Part of the free memory that gpu4pyscf is shown where there is no cuTENSOR."""
FAULTY = 20600
"""Version of cuTENSOR, as CuPy reports it (2.6.0), from which on it is left aside."""
PARTS = ("gpu4pyscf.pbc.gto.int1e", "gpu4pyscf.df.grad.uks", "gpu4pyscf.df.hessian.uks")
"""What gpu4pyscf 1.9.0 imports only when an SCF, gradient or Hessian needs it: a shared library that an installation
left out (libpbc and libmgrid_v3, for integrals of molecules, too) is missed at once."""
PLACES = ("nvidia/*/lib", "nvidia/*/lib64")
"""Where CUDA's pip packages keep libraries, below the folders of the Python path."""


def load() -> Any:
    """Import gpu4pyscf, with what such a host needs, and return it; may be called again, after a failure, too."""
    if all(name in sys.modules for name in PARTS):  # the last things imported; one that failed is not there
        return import_module("gpu4pyscf")
    if (cutensor_version() or 0) >= FAULTY and "CONTRACT_ENGINE" not in os.environ:
        print("  cuTENSOR 2.6 or newer fails in large contractions (gpu4pyscf issue 850): CuPy's are used", flush=True)
        os.environ["CONTRACT_ENGINE"] = "cupy"
    with findable_cusolver():
        package = import_module("gpu4pyscf")
        engine = import_module("gpu4pyscf.lib.cutensor")
        for name in PARTS:
            import_module(name)
    if engine.contract_engine is not None:
        replace_contraction(engine, contraction(import_module("cupy")))
        show_memory(SHARE)
    return package


def cutensor_version() -> int | None:
    """Return the version of cuTENSOR as CuPy reports it, 20501 for 2.5.1, None without cuTENSOR."""
    import_module("cupy")  # loads the library
    try:
        return int(import_module("cupy_backends.cuda.libs.cutensor").get_version())
    except (ImportError, AttributeError):
        return None


def versions() -> dict[str, str]:
    """Return the versions of CuPy and, where gpu4pyscf contracts with it, of cuTENSOR."""
    found, number = {"cupy": str(import_module("cupy").__version__)}, cutensor_version()
    if number is not None and import_module("gpu4pyscf.lib.cutensor").contract_engine is None:
        found["cutensor"] = f"{number // 10000}.{number // 100 % 100}.{number % 100}"
    return found


@contextmanager
def findable_cusolver() -> Iterator[None]:
    """Put libcusolver, inside the block, where gpu4pyscf looks for it; nothing where the system knows the library."""
    found = None if find_library("cusolver") else installed_cusolver(sys.path)
    if found is None:
        yield
        return
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "nvidia/cusolver/lib"
        place.mkdir(parents=True)
        (place / "libcusolver.so").symlink_to(found)
        sys.path.append(folder)
        try:
            yield
        finally:
            sys.path.remove(folder)


def installed_cusolver(folders: list[str]) -> Path | None:
    """Return the newest libcusolver of CUDA's pip packages or of a toolkit that CUDA_PATH names, None without one."""
    roots = [path for folder in folders for pattern in PLACES for path in sorted(Path(folder).glob(pattern))]
    if os.environ.get("CUDA_PATH"):
        roots.append(Path(os.environ["CUDA_PATH"]) / "lib64")
    libraries = [path.resolve() for root in roots for path in root.glob("libcusolver.so*")]
    return max(libraries, key=lambda path: path.name, default=None)


def show_memory(share: float) -> None:
    """Let gpu4pyscf see this part of the GPU's free memory: it sizes its blocks by `memGetInfo`."""
    runtime = import_module("cupy").cuda.runtime
    whole = getattr(runtime.memGetInfo, "whole", runtime.memGetInfo)

    def shown() -> tuple[int, int]:
        """Return free and total bytes, the free ones cut to the share."""
        free, total = whole()
        return int(share * free), total

    shown.whole, shown.share = whole, share  # type: ignore[attr-defined]
    runtime.memGetInfo = shown


@contextmanager
def smaller_blocks(factor: float = 0.5) -> Iterator[None]:
    """Show gpu4pyscf less memory inside the block, so that it works in smaller pieces."""
    before = getattr(import_module("cupy").cuda.runtime.memGetInfo, "share", 1.0)
    show_memory(factor * before)
    try:
        yield
    finally:
        show_memory(before)


def replace_contraction(engine: Any, new: Callable[..., Any]) -> None:
    """Put a function in the place of gpu4pyscf's `contract`, in every one of its modules that holds it."""
    old = engine.contract
    for name, module in list(sys.modules.items()):
        if name.split(".")[0] == "gpu4pyscf":
            for key in [key for key, value in vars(module).items() if value is old]:
                setattr(module, key, new)


def contraction(numerical: Any, slab: int = SLAB) -> Callable[..., Any]:
    r"""Return gpu4pyscf's `contract`, :math:`out = \alpha\, a \cdot b + \beta\, out`, in pieces of `slab` bytes.

    A piece too large is halved along the index whose halving takes most bytes away: one of the result where that does
    it, else a summed one, whose second half is added to the first.

    Parameters
    ----------
    numerical : the module of arrays (CuPy), with einsum, empty and result_type
    """

    def contract(pattern: str, a: Any, b: Any, alpha: float = 1.0, beta: float = 0.0, out: Any = None) -> Any:
        """Return alpha times the product of a and b in einsum's pattern, plus beta times `out`, written into `out`."""
        operands, result = pattern.replace(" ", "").split("->")
        indices = (*operands.split(","), result)
        if out is None:
            sizes = dict(zip(indices[0] + indices[1], a.shape + b.shape, strict=True))
            out = numerical.empty(tuple(sizes[i] for i in result), dtype=numerical.result_type(a.dtype, b.dtype))
            beta = 0.0
        if beta != 0.0:
            out *= beta
        elif 0 in a.shape + b.shape:
            out[...] = 0.0
        for piece, adds in _pieces(indices, (a, b, out), beta != 0.0, slab):
            product = alpha * numerical.einsum(pattern, *piece[:2])
            piece[2][...] = piece[2] + product if adds else product
        return out

    return contract


def _pieces(indices: tuple[str, ...], arrays: tuple[Any, ...], adds: bool, slab: int) -> Iterator[tuple[Any, bool]]:
    """Yield (a, b, out) of each piece and whether its product is added to what `out` holds."""
    sizes = dict(zip("".join(indices), sum((x.shape for x in arrays), ()), strict=True))
    long = [i for i, size in sizes.items() if size > 1]
    if 0 in sizes.values():
        return
    if sum(x.nbytes for x in arrays) <= slab or not long:
        yield arrays, adds
        return

    def saved(index: str) -> tuple[int, bool, int]:
        """Return what speaks for halving an index: bytes of what it cuts, whether it is the result's, its size."""
        bytes_saved = sum(x.nbytes for x, names in zip(arrays, indices, strict=True) if index in names)
        return bytes_saved, index in indices[2], sizes[index]

    chosen = max(long, key=saved)
    middle = sizes[chosen] // 2
    for half in (slice(None, middle), slice(middle, None)):
        cut = tuple(
            x[tuple(half if name == chosen else slice(None) for name in names)] if chosen in names else x
            for x, names in zip(arrays, indices, strict=True)
        )
        later = half.start is not None and chosen not in indices[2]
        yield from _pieces(indices, cut, adds or later, slab)
