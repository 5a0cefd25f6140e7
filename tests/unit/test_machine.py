"""The machine module names vector kernels and hosts correctly."""

import platform
import sys

import pytest

from spincross import machine


@pytest.mark.parametrize(
    ("flags", "kernel"),
    [
        ({"avx512f", "avx512bw", "avx512vl", "avx512dq", "avx2", "fma"}, "SkylakeX"),
        ({"avx2", "fma", "avx512f"}, "Haswell"),
        ({"sse3"}, None),
        (set(), None),
    ],
)
def test_blas_kernel_is_the_best_one_the_flags_allow(flags, kernel):
    assert machine.blas_kernel(frozenset(flags)) == kernel


def test_a_kernel_chosen_by_the_user_is_kept(monkeypatch):
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Nehalem")
    machine.prepare()
    assert machine.os.environ["OPENBLAS_CORETYPE"] == "Nehalem"


def test_machine_class_does_not_name_the_host():
    assert platform.node() not in machine.machine_class()


def test_one_blas_thread_is_the_rule_inside_the_context_only():
    threadpoolctl = pytest.importorskip("threadpoolctl")

    def threads():
        return [pool["num_threads"] for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"]

    with threadpoolctl.threadpool_limits(2, user_api="blas"):  # make test gives each worker one
        before = threads()
        with machine.one_blas_thread():
            inside = threads()
        assert max(before) == 2 and set(inside) == {1} and threads() == before


def test_without_threadpoolctl_the_context_does_nothing(monkeypatch):
    monkeypatch.setitem(sys.modules, "threadpoolctl", None)
    with machine.one_blas_thread() as nothing:
        assert nothing is None
