"""gpu4pyscf on hosts installed otherwise: the solver library found, contractions in pieces, memory shown in part."""

import os
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from spincross import gpu_libraries


@pytest.fixture
def packages(tmp_path, monkeypatch):
    """A folder as CUDA 13's pip packages fill it, and a gpu4pyscf that loads only if it finds libcusolver.so."""
    library = tmp_path / "site/nvidia/cu13/lib/libcusolver.so.12"
    library.parent.mkdir(parents=True)
    library.write_text("the solver")
    package = tmp_path / "site/gpu4pyscf"
    (package / "lib").mkdir(parents=True)
    (package / "__init__.py").write_text(
        "import os, sys\n"
        "places = [os.path.join(p, 'nvidia/cusolver/lib/libcusolver.so') for p in sys.path]\n"
        "found = [open(p).read() for p in places if os.path.exists(p)]\n"
        "if not found: raise OSError('Unable to load libcusolver')\n"
        "from gpu4pyscf.lib.cutensor import contract\n"
    )
    (package / "lib/__init__.py").write_text("")
    (package / "lib/cutensor.py").write_text("contract_engine = 'cupy'\ndef contract(*arguments): pass\n")
    cupy = ModuleType("cupy")
    cupy.cuda = SimpleNamespace(runtime=SimpleNamespace(memGetInfo=lambda: (1000, 1600)))
    cupy.einsum, cupy.empty, cupy.result_type = np.einsum, np.empty, np.result_type
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    monkeypatch.setattr(gpu_libraries, "find_library", lambda name: None)
    monkeypatch.setattr(sys, "path", [str(tmp_path / "site"), *sys.path])
    for part in gpu_libraries.PARTS:
        for parent in reversed((package.parent / Path(*part.split("."))).parents):
            if package in (parent, *parent.parents):
                parent.mkdir(exist_ok=True)
                (parent / "__init__.py").touch()
        (package.parent / Path(*part.split("."))).with_suffix(".py").touch()
    _forget()
    yield tmp_path, cupy
    _forget()


def _forget():
    for name in [name for name in sys.modules if name.split(".")[0] == "gpu4pyscf"]:
        del sys.modules[name]


def test_gpu4pyscf_finds_the_solver_of_cudas_pip_packages(packages):
    before = list(sys.path)
    assert gpu_libraries.load().found == ["the solver"]
    assert sys.path == before
    assert gpu_libraries.load() is sys.modules["gpu4pyscf"]


def test_without_the_solver_gpu4pyscfs_own_words_are_heard(packages):
    tmp_path, _ = packages
    (tmp_path / "site/nvidia/cu13/lib/libcusolver.so.12").unlink()
    with pytest.raises(OSError, match="Unable to load libcusolver"):
        gpu_libraries.load()


@pytest.mark.parametrize("part", gpu_libraries.PARTS)
def test_a_part_that_does_not_load_is_missed_before_it_is_needed(packages, part):
    """As where an installation left libpbc out: `auto` then takes the CPU, and says why."""
    path = (packages[0] / "site" / Path(*part.split("."))).with_suffix(".py")
    path.write_text("raise OSError('libpbc.so: cannot open shared object file')")
    for _ in range(2):
        with pytest.raises(OSError, match=r"libpbc\.so"):
            gpu_libraries.load()


def test_a_solver_that_the_system_knows_is_left_alone(packages, monkeypatch):
    monkeypatch.setattr(gpu_libraries, "find_library", lambda name: "libcusolver.so.11")
    before = list(sys.path)
    with gpu_libraries.findable_cusolver():
        assert sys.path == before


def test_the_newest_solver_is_taken_and_a_toolkit_that_is_named(tmp_path, monkeypatch):
    monkeypatch.delenv("CUDA_PATH", raising=False)
    assert gpu_libraries.installed_cusolver([str(tmp_path)]) is None
    (tmp_path / "toolkit/lib64").mkdir(parents=True)
    (tmp_path / "toolkit/lib64/libcusolver.so.11").write_text("")
    monkeypatch.setenv("CUDA_PATH", str(tmp_path / "toolkit"))
    assert gpu_libraries.installed_cusolver([]) == tmp_path / "toolkit/lib64/libcusolver.so.11"
    (tmp_path / "nvidia/cusolver/lib").mkdir(parents=True)
    (tmp_path / "nvidia/cusolver/lib/libcusolver.so.12").write_text("")
    assert gpu_libraries.installed_cusolver([str(tmp_path)]).name == "libcusolver.so.12"


def test_without_cutensor_contractions_are_replaced_everywhere_and_memory_is_shown_in_part(packages):
    _, cupy = packages
    package = gpu_libraries.load()
    engine = sys.modules["gpu4pyscf.lib.cutensor"]
    assert package.contract is engine.contract
    a = np.arange(6.0).reshape(2, 3)
    np.testing.assert_allclose(engine.contract("ij,kj->ik", a, a), a @ a.T)
    assert cupy.cuda.runtime.memGetInfo() == (600, 1600)
    with gpu_libraries.smaller_blocks():
        assert cupy.cuda.runtime.memGetInfo() == (300, 1600)
    assert cupy.cuda.runtime.memGetInfo() == (600, 1600)


def test_with_cutensor_nothing_is_replaced(packages):
    tmp_path, cupy = packages
    path = tmp_path / "site/gpu4pyscf/lib/cutensor.py"
    path.write_text(path.read_text().replace("'cupy'", "None"))
    gpu_libraries.load()
    assert cupy.cuda.runtime.memGetInfo() == (1000, 1600)
    assert sys.modules["gpu4pyscf.lib.cutensor"].contract() is None


@pytest.mark.parametrize(
    ("version", "chosen", "said"),
    [(20500, None, False), (20501, None, False), (20600, "cupy", True), (20700, "cupy", True), (30000, "cupy", True)],
)
def test_a_cutensor_that_fails_in_large_contractions_is_left_aside(
    packages, monkeypatch, capsys, version, chosen, said
):
    monkeypatch.setenv("CONTRACT_ENGINE", "")  # so that it is put back
    monkeypatch.delenv("CONTRACT_ENGINE")
    monkeypatch.setitem(sys.modules, "cupy_backends.cuda.libs.cutensor", SimpleNamespace(get_version=lambda: version))
    path = packages[0] / "site/gpu4pyscf/lib/cutensor.py"
    path.write_text(path.read_text().replace("'cupy'", "__import__('os').environ.get('CONTRACT_ENGINE')"))
    gpu_libraries.load()
    gpu_libraries.load()
    engine = sys.modules["gpu4pyscf.lib.cutensor"]
    assert engine.contract_engine == chosen
    assert (engine.contract.__module__ == gpu_libraries.__name__) == said  # pieces and a share of the memory with it
    assert packages[1].cuda.runtime.memGetInfo() == ((600 if said else 1000), 1600)
    assert capsys.readouterr().out.count("gpu4pyscf issue 850") == said


def test_an_engine_that_the_user_names_is_kept(packages, monkeypatch, capsys):
    monkeypatch.setenv("CONTRACT_ENGINE", "opt_einsum")
    monkeypatch.setitem(sys.modules, "cupy_backends.cuda.libs.cutensor", SimpleNamespace(get_version=lambda: 20700))
    gpu_libraries.load()
    assert os.environ["CONTRACT_ENGINE"] == "opt_einsum"
    assert capsys.readouterr().out == ""


def test_without_cutensor_it_has_no_version(packages, monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy_backends.cuda.libs.cutensor", None)
    assert gpu_libraries.cutensor_version() is None


PATTERNS = [
    "ij,jk->ik",
    "ijk,kl->ijl",
    "xij,xjk->xik",
    "ij,ij->",
    "i,j->ij",
    "ij, ji -> i",
    "pij,pkj->ki",
    "abc,bd->dca",
]


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize(("alpha", "beta", "given"), [(1.0, 0.0, False), (-0.5, 0.0, True), (2.0, 0.3, True)])
def test_contractions_in_pieces_equal_those_at_once(pattern, alpha, beta, given):
    rng = np.random.default_rng(0)
    sizes = dict(zip("abcdijklpx", (5, 6, 7, 4, 9, 8, 5, 6, 7, 3), strict=True))
    left, right = pattern.replace(" ", "").split("->")[0].split(",")
    a, b = (rng.normal(size=[sizes[i] for i in names]) for names in (left, right))
    plain = np.einsum(pattern, a, b)
    out = np.array(rng.normal(size=plain.shape)) if given else None
    expected = alpha * plain + (beta * out if given and beta else 0.0)
    largest = []

    def einsum(words, first, second):
        product = np.einsum(words, first, second)
        largest.append(first.nbytes + second.nbytes + np.asarray(product).nbytes)
        return product

    module = SimpleNamespace(einsum=einsum, empty=np.empty, result_type=np.result_type)
    found = gpu_libraries.contraction(module, slab=400)(pattern, a, b, alpha, beta, out)
    np.testing.assert_allclose(found, expected, atol=1e-12)
    assert max(largest) <= 400
    assert len(largest) > 1
    assert found is out or not given


def test_contractions_of_nothing_are_zero_or_what_was_there():
    contract = gpu_libraries.contraction(np)
    assert contract("ij,jk->ik", np.ones((2, 0)), np.ones((0, 3))).tolist() == [[0.0] * 3] * 2
    kept = contract("ij,jk->ik", np.ones((2, 0)), np.ones((0, 3)), beta=2.0, out=np.ones((2, 3)))
    assert kept.tolist() == [[2.0] * 3] * 2
