"""Where an SCF runs: the CPU, or a CUDA GPU through gpu4pyscf.

The code path is one: a Kohn-Sham object is built for the CPU, moved with `to_gpu()`, called in the same way, and its
arrays come back as numpy. When GPU memory runs out, an SCF moves its density-fitting tensor to the host, a gradient or
Hessian is tried again in smaller blocks, and at last the work goes to the CPU; each is said.
"""

from __future__ import annotations

import gc
import os
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from pyscf import df, dft

from spincross import files, gpu_libraries
from spincross.errors import BadInput
from spincross.files import Json

T = TypeVar("T")


@dataclass(frozen=True)
class Device:
    """A device: `cpu` or `gpu`, and whether a GPU keeps the density-fitting tensor in the host's memory."""

    name: str
    tensor_on_host: bool = False

    @property
    def words(self) -> str:
        """What it is called in a sentence."""
        return self.name.upper() + (" with the density-fitting tensor in host memory" if self.tensor_on_host else "")


CPU = Device("cpu")
GPU = (Device("gpu"), Device("gpu", tensor_on_host=True))
MEMORY_ERRORS = (MemoryError, RuntimeError, AssertionError, ValueError)
"""What CuPy, CUDA and gpu4pyscf raise when memory runs out."""
MEMORY_WORDS = (
    "out of memory", "memory insufficient", "insufficient gpu memory", "not enough gpu memory", "alloc_failed",
    "range() arg 3 must not be zero",
)  # fmt: skip
"""What such an error says, unless CuPy raised it; gpu4pyscf's density fitting also has assertions that say nothing,
and in its response (df/hessian/rhf.py) a block of no densities ends as a range without a step."""
RESPONSE_TOLERANCE = 7e-8
"""What first-order orbitals are solved to: PySCF's 1e-8 times the atoms of a block, seven on the CPU. On a GPU a block
may hold all atoms (hessian/uhf.py), and the threshold is divided by them."""


def missing() -> str | None:
    """Return why no GPU can be used, None where one can."""
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "0")  # gpu4pyscf would spread over all
    try:
        count = import_module("cupy").cuda.runtime.getDeviceCount()
    except Exception as error:  # ImportError, CUDARuntimeError, or a driver library that does not load
        return f"no CUDA GPU that CuPy can use ({type(error).__name__})"
    if count < 1:
        return "no CUDA GPU"
    try:
        gpu_libraries.load()
    except Exception as error:  # ImportError, or OSError of one of its libraries
        return f"gpu4pyscf does not load ({type(error).__name__}: {' '.join(str(error).split())})"
    return None


@cache
def chosen(requested: str) -> str:
    """Return `cpu` or `gpu` for `cpu`, `gpu` or `auto`; says once what `auto` found.

    BadInput if a GPU is asked for and there is none.
    """
    if requested == "cpu":
        return "cpu"
    reason = missing()
    if requested == "gpu":
        if reason:
            raise BadInput(f"device: gpu, but there is {reason}; set device: cpu or auto in the level")
        return "gpu"
    print("device: " + (f"CPU ({reason})" if reason else "GPU"), flush=True)
    return "cpu" if reason else "gpu"


def facts(used: str | None) -> Json:
    """Return what provenance says of the device that was used, of a GPU its model and libraries; nothing of None."""
    if used != "gpu":
        return {"device": used} if used else {}
    model = import_module("cupy").cuda.runtime.getDeviceProperties(0)["name"].decode()
    return {"device": "gpu", "gpu": model, "versions": files.versions() | gpu_libraries.versions()}


def with_fallback(requested: str, work: Callable[[Device], T]) -> T:
    """Do `work` on the device asked for; where GPU memory runs out, say so and try the next one.

    On the CPU a MemoryError goes through.
    """
    if chosen(requested) == "cpu":
        return work(CPU)
    for device, after in zip(GPU, (*GPU[1:], CPU), strict=True):
        free_memory()  # of methods before, too: each holds its tensor until the cycles of references are collected
        try:
            return work(device)
        except MEMORY_ERRORS as error:
            _say_memory_ran_out(error, f"on the {after.words}")
    free_memory()
    return work(CPU)


def in_smaller_blocks(on_gpu: Callable[[], T], on_cpu: Callable[[], T], name: str) -> T:
    """Do work on a GPU; where its memory runs out, say so, try once in smaller blocks, then on the CPU.

    Parameters
    ----------
    name : of the work, for the sentence
    """
    try:
        return on_gpu()
    except MEMORY_ERRORS as error:
        _say_memory_ran_out(error, f"{name} in smaller blocks")
    free_memory()
    try:
        with gpu_libraries.smaller_blocks():
            return on_gpu()
    except MEMORY_ERRORS as error:
        _say_memory_ran_out(error, f"{name} on the CPU")
    free_memory()
    return on_cpu()


def _say_memory_ran_out(error: Exception, plan: str) -> None:
    """Say what comes next, or raise the error where it is of another kind."""
    text = " ".join(str(error).split())
    silent = isinstance(error, AssertionError) and not text and _raised_in(error, "gpu4pyscf", "df")
    if not (isinstance(error, MemoryError) or silent or any(words in text.lower() for words in MEMORY_WORDS)):
        raise error
    text = text or "an assertion of gpu4pyscf's density fitting"
    print(f"  GPU memory ran out ({text}); trying again: {plan}", flush=True)


def _raised_in(error: BaseException, *folders: str) -> bool:
    """Tell whether an error comes from a file below these nested folders."""
    last = traceback.extract_tb(error.__traceback__)[-1:]
    return any("/".join(folders) in Path(frame.filename).as_posix() for frame in last)


def free_memory() -> None:
    """Give the GPU's cached memory blocks back."""
    gc.collect()
    import_module("cupy").get_default_memory_pool().free_all_blocks()


def moved(method: Any, device: Device) -> Any:
    """Return a Kohn-Sham object on the device; on a GPU with every setting that differs from the CPU's given.

    The SCF's thresholds stay as they are. gpu4pyscf 1.9.0 asks of them what PySCF asks (scf/hf.py), computes in double
    precision, and with density fitting takes no increments of the Fock matrix, whose errors would add up (df/df_jk.py).
    """
    if device.name == "cpu":
        return method
    method = _stock(method)
    method.conv_tol_cpscf = min(1e-8, RESPONSE_TOLERANCE / method.mol.natm)
    gpu = method.to_gpu()
    gpu.with_df.use_gpu_memory = not device.tensor_on_host
    gpu.cphf_grids = gpu.grids
    gpu.level_shift = 0.0  # not None: as in PySCF, the orbitals then come from the last Fock matrix, not from DIIS's
    return gpu


def _stock(method: Any) -> Any:
    """Return a copy with PySCF's own integrator and density fitting: `to_gpu()` leaves derived classes on the CPU."""
    plain = method.copy()
    plain._numint = dft.numint.NumInt()
    plain.with_df = df.DF(method.mol, method.with_df.auxbasis)
    return plain


def to_numpy(values: Any) -> NDArray[np.float64]:
    """Return an array of either device as numpy."""
    return np.asarray(values.get() if hasattr(values, "get") else values, dtype=float)


def to_device(values: NDArray[Any], device: Device) -> Any:
    """Return a numpy array as the device's own."""
    return values if device.name == "cpu" else import_module("cupy").asarray(values)


def alike(values: NDArray[Any], example: Any) -> Any:
    """Return a numpy array as what the example is: of the host or of the GPU."""
    return import_module("cupy").asarray(values) if hasattr(example, "get") else values


def factored(left: NDArray[Any], right: NDArray[Any], example: Any) -> Any:
    """Return the first-order densities of both spins, left times right transposed and the transpose of that.

    On a GPU the factors go along (`factorize_dm` and `get_jk` of gpu4pyscf 1.9.0, df/df_jk.py): without them it
    diagonalises every density to find some.

    Parameters
    ----------
    left : (2, n, nao, k)
    right : (2, nao, k); where a spin has fewer orbitals, zeros
    example : array of the device to be used

    Returns
    -------
    (2, n, nao, nao)
    """
    half = left @ right[:, None].transpose(0, 1, 3, 2)
    density = alike(half + half.transpose(0, 1, 3, 2), example)
    if not hasattr(example, "get"):
        return density
    tag = import_module("gpu4pyscf.lib.cupy_helper").tag_array
    return tag(density, factor_l=alike(left, example), factor_r=alike(right, example), symmetrize=1)
