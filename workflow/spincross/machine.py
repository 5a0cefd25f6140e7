"""What the machine offers: threads, vector units, a description without names. Import before numpy or PySCF.

The OpenBLAS inside PySCF's wheel (0.3.3, 2018) does not know recent processors and falls back to SSE3 kernels; naming
the kernel through OPENBLAS_CORETYPE makes SCF cycles about 1.6 times faster. Idle OpenMP threads must sleep, not spin
(OMP_WAIT_POLICY), or they starve the other thread pools on small machines. A value the user has set is kept.
"""

import ctypes
import os
import platform
from contextlib import AbstractContextManager, nullcontext, suppress
from importlib import import_module
from pathlib import Path
from typing import Any


def processor_flags() -> frozenset[str]:
    """Return the processor's feature flags, empty where the system does not list them."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return frozenset()
    return next((frozenset(line.split()[2:]) for line in lines if line.startswith("flags")), frozenset())


def blas_kernel(flags: frozenset[str]) -> str | None:
    """Return OpenBLAS's name for the best kernel that these flags allow and OpenBLAS 0.3.3 has."""
    if {"avx512f", "avx512bw", "avx512vl", "avx512dq"} <= flags:
        return "SkylakeX"
    return "Haswell" if {"avx2", "fma"} <= flags else None


def prepare() -> None:
    """Set the two environment variables, unless set; works only before numpy and PySCF are loaded."""
    kernel = blas_kernel(processor_flags())
    if kernel:
        os.environ.setdefault("OPENBLAS_CORETYPE", kernel)
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def memory_mb() -> float:
    """Return the machine's memory, MB; infinite where the system does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e6
    except (ValueError, OSError, AttributeError):
        return float("inf")


def return_freed_memory() -> None:
    """Give freed memory back to the system, where the C library can (glibc); it keeps blocks of up to 32 MB.

    Orbitals on the grid are gigabytes of such blocks, which count as used as long as they are kept.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def one_blas_thread() -> AbstractContextManager[Any]:
    """Return a context in which matrix products use one thread, for work in a thread pool of ours.

    Without threadpoolctl, which a host that computes on a GPU need not have, it does nothing: products then compete.
    """
    try:
        limits = import_module("threadpoolctl").threadpool_limits
    except ImportError:
        return nullcontext()
    return limits(1, user_api="blas")


def machine_class() -> str:
    """Describe the machine without naming it, for the provenance of results."""
    return f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}"
