"""A stand-in for a GPU: PySCF objects behind a wall that lets no array through as numpy.

It does what CuPy and gpu4pyscf do at the borders: arrays convert only with `.get()`, methods take arrays of
both kinds, molecules with symmetry are refused, memory runs out where a test says so.
"""

import inspect
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
from pyscf import df
from pyscf.df import df_jk
from pyscf.dft import numint

from spincross import device, gpu_libraries

MEMORY = 150_100_000_000
"""Bytes of the whole GPU, as memGetInfo tells them."""


class Remote:
    """An array on the device."""

    def __init__(self, values):
        self.values = np.asarray(values)

    def get(self):
        return self.values

    def __array__(self, *arguments, **options):
        raise TypeError("implicit conversion to a numpy array is not allowed")


class Method:
    """A PySCF method on the device; `log` collects what was set and called."""

    def __init__(self, method, log):
        object.__setattr__(self, "method", method)
        object.__setattr__(self, "log", log)

    def __setattr__(self, name, value):
        self.log.append((name, value))
        own = (lambda *a, **o: _home(value(*a, **o))) if inspect.isroutine(value) else _home(value)
        setattr(self.method, name, own)

    def set(self, **values):
        for name, value in values.items():
            setattr(self, name, value)
        return self

    def __getattr__(self, name):
        value = getattr(self.method, name)
        if not inspect.isroutine(value):
            return _away(value)
        if name in ("newton", "nuc_grad_method", "Hessian", "copy"):
            return lambda: Method(value(), self.log)

        def call(*arguments, **options):
            self.log.append((name, len(arguments)))
            assert name != "get_grad" or len(arguments) == 3  # gpu4pyscf's own makes no Fock matrix for a closed shell
            for failure in [entry for entry in self.log if entry[0] == "fail" and entry[1] == name]:
                self.log.remove(failure)
                raise failure[2] if len(failure) > 2 else MemoryError("out of memory allocating 14,000,000,000 bytes")
            found = value(*map(_home, arguments), **{k: _home(v) for k, v in options.items()})
            if inspect.isroutine(found):  # what gen_response returns
                return lambda array: _away(np.asarray(found(_home(array))))
            return _away(found)

        return call


def _home(value):
    if isinstance(value, list):
        return [_home(part) for part in value]
    return value.values if isinstance(value, Remote) else value


def _away(value):
    if isinstance(value, tuple) and all(isinstance(part, np.ndarray) for part in value):
        return tuple(map(Remote, value))
    return Remote(value) if isinstance(value, np.ndarray) else value


def tag_array(density, factor_l, factor_r, symmetrize):
    """Return a first-order density as gpu4pyscf's get_jk would rebuild it from its factors, of either spin."""
    assert (factor_l.values.ndim, factor_r.values.ndim, symmetrize) == (4, 3, 1)  # its dm_factor_mode 3
    half = np.einsum("snpi,sqi->snpq", factor_l.values, factor_r.values)
    np.testing.assert_allclose(density.values, half + half.transpose(0, 1, 3, 2), atol=1e-12)
    return density


def installed(monkeypatch, log):
    """Pretend that CuPy, gpu4pyscf and one GPU are there; moves and calls go to `log`."""

    def to_gpu(method):
        assert not method.mol.symmetry
        assert type(method.with_df) is df.DF  # PySCF's to_gpu() finds no twin of a derived class and leaves it as it is
        assert type(method._numint) is numint.NumInt
        assert method.mol.basis != "minao"  # generally contracted, 20 primitives in a shell of iron
        log.append(("to_gpu", type(method).__name__))
        return Method(method, log)

    cupy, gpu4pyscf, cutensor = (ModuleType(name) for name in ("cupy", "gpu4pyscf", "gpu4pyscf.lib.cutensor"))
    runtime = {"getDeviceCount": lambda: 1, "memGetInfo": lambda: (1000, MEMORY)}
    runtime["getDeviceProperties"] = lambda number: {"name": b"Stand-in 1"}
    cupy.cuda, cupy.__version__ = SimpleNamespace(runtime=SimpleNamespace(**runtime)), "14.0.1"
    cutensor.contract_engine, gpu4pyscf.__version__ = None, "1.9.0"
    cupy.get_default_memory_pool = lambda: SimpleNamespace(free_all_blocks=lambda: log.append(("freed", None)))
    cupy.asarray = Remote
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    monkeypatch.setitem(sys.modules, "gpu4pyscf", gpu4pyscf)
    monkeypatch.setitem(sys.modules, "gpu4pyscf.lib.cutensor", cutensor)
    monkeypatch.setitem(sys.modules, "gpu4pyscf.lib.cupy_helper", SimpleNamespace(tag_array=tag_array))
    for name in gpu_libraries.PARTS:
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, "cupy_backends.cuda.libs.cutensor", SimpleNamespace(get_version=lambda: 20501))
    monkeypatch.setattr(df_jk._DFHF, "to_gpu", to_gpu, raising=False)
    device.chosen.cache_clear()
