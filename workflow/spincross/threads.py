"""Python threads for work in small blocks: each runs its own matrix products and PySCF calls in one thread."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from pyscf import lib

from spincross import machine


@contextmanager
def pool() -> Iterator[ThreadPoolExecutor]:
    """Give as many Python threads as PySCF has; OpenMP's number, which each thread has of its own, is 1 in them."""
    executor = ThreadPoolExecutor(lib.num_threads(), initializer=lib.num_threads, initargs=(1,))
    try:
        with machine.one_blas_thread():
            yield executor
    except BaseException:
        executor.shutdown(wait=False, cancel_futures=True)  # a stop does not wait for work that nobody takes up
        raise
    executor.shutdown()
