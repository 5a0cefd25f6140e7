"""gpu4pyscf's Hessian in parts, with PySCF's own behind the wall: the whole is the same, a finished part is kept."""

import numpy as np
import pytest
from pyscf.hessian import rhf, uhf

import sample_gpu
from spincross import checkpoints, electronic, gpu_hessian
from spincross.errors import NotConverged
from spincross.levels import Level, State
from spincross.molecule import Molecule

PARTS = ["partial_hess_elec", "make_h1", "solve_mo1"]
FILES = ["gpu_orbitals", "gpu_fixed_orbitals", "gpu_first_order", "gpu_orbital_response"]
BENT = np.array([[0.0, 0.0, 0.0], [0.0, 1.5, 1.1], [0.0, -1.4, 1.2]])
LEVEL = Level(basis="sto-3g", grid_level=0, scf_energy_tolerance=1e-11, scf_gradient_tolerance=1e-7, device="cpu")


@pytest.fixture(scope="module", params=[0, 1], ids=["closed shell", "open shell"])
def water(request):
    """Water or its cation, and the Hessian of `kernel`."""
    molecule = Molecule(("O", "H", "H"), BENT, request.param, "C1")
    method = electronic.solve(molecule, LEVEL, State("x", 1 + request.param)).mean_field
    return method, np.asarray(method.Hessian().kernel())


def turned(method, log, seed):
    """Return the method on the device as an SCF done again may give it: with orbitals of other signs."""
    again = method.copy()
    again.mo_coeff = np.asarray(method.mo_coeff) * np.random.default_rng(seed).choice([-1.0, 1.0], method.mol.nao)
    return sample_gpu.Method(again, log)


def test_the_parts_make_what_kernel_gives(water, monkeypatch):
    method, whole = water
    log, lines = [], []
    sample_gpu.installed(monkeypatch, log)
    found = gpu_hessian.hessian(sample_gpu.Method(method.copy(), log), lines.append, checkpoints.anew)
    np.testing.assert_allclose(found, whole, atol=1e-9)
    assert type(found) is np.ndarray
    assert ("grid_response", True) in log
    assert [line.split()[0] for line in lines] == FILES[1:]


@pytest.mark.parametrize("finished", range(4))
def test_after_a_kill_no_finished_part_is_computed_again(water, monkeypatch, tmp_path, finished):
    method, whole = water
    log, lines = [], []
    sample_gpu.installed(monkeypatch, log)
    blocks = checkpoints.Blocks(tmp_path, "key", lines.append)

    def killed(name, compute):
        found = blocks.keep(name, compute)
        if name == FILES[finished]:
            raise KeyboardInterrupt
        return found

    with pytest.raises(KeyboardInterrupt):
        gpu_hessian.hessian(turned(method, log, 1), lines.append, killed)
    assert lines == [line for line in lines if "found" not in line]
    found = gpu_hessian.hessian(turned(method, log, 2), lines.append, blocks.keep)
    np.testing.assert_allclose(found, whole, atol=1e-9)
    assert [name for name, value in log if name in PARTS and isinstance(value, int)] == PARTS  # calls, not settings
    assert [line.split(":")[0].strip() for line in lines if "found" in line] == FILES[: finished + 1]


@pytest.mark.parametrize("finished", [1, 2])
def test_a_kill_inside_the_response_costs_no_finished_product(water, monkeypatch, tmp_path, finished):
    """gpu4pyscf hands the product with the orbital Hessian to `solve_mo1`, where PySCF hands None: here as it does."""
    method, whole = water
    kind, products = type(method.Hessian()), []
    elec, module = kind.hess_elec, rhf if method.mol.spin == 0 else uhf

    def handing(self, *arguments, **options):
        solve, multiply = self.solve_mo1, module.gen_vind(self.base, self.base.mo_coeff, self.base.mo_occ)

        def counted(vectors):
            products.append(np.shape(vectors))
            return np.reshape(multiply(vectors), np.shape(vectors))

        self.solve_mo1 = lambda energies, orbitals, occupations, h1, _, *rest: solve(
            energies, orbitals, occupations, h1, counted, *rest
        )
        return elec(self, *arguments, **options)

    monkeypatch.setattr(kind, "hess_elec", handing)
    sample_gpu.installed(monkeypatch, [])
    gpu_hessian.hessian(turned(method, [], 1), print, checkpoints.anew)
    needed = len(products)
    assert needed > finished
    blocks = checkpoints.Blocks(tmp_path, "key", lambda text: None)

    def killed(name, compute):
        found = blocks.keep(name, compute)
        if len(list(tmp_path.glob("gpu_orbital_response.*"))) == finished:
            raise KeyboardInterrupt
        return found

    products.clear()
    with pytest.raises(KeyboardInterrupt):
        gpu_hessian.hessian(turned(method, [], 1), print, killed)
    assert len(products) == finished
    found = gpu_hessian.hessian(turned(method, [], 2), print, blocks.keep)
    np.testing.assert_allclose(found, whole, atol=1e-8)
    assert len(products) == needed
    assert sorted(path.stem for path in tmp_path.glob("*")) == sorted(FILES)


def test_first_order_orbitals_that_do_not_converge_are_a_named_error(water, monkeypatch):
    """What was finished before is kept, and another error goes through as it is."""
    method, _ = water
    sample_gpu.installed(monkeypatch, [])
    for failure, kind in (("Krylov solver failed to converge", NotConverged), ("a driver's error", RuntimeError)):
        failing, names = sample_gpu.Method(method.copy(), []), []

        def keep(name, compute, names=names):
            names.append(name)
            return compute()

        def fails(*arguments, words=failure, **options):
            raise RuntimeError(words)

        with monkeypatch.context() as patched:
            patched.setattr(type(method.Hessian()), "solve_mo1", fails)
            with pytest.raises(kind, match=failure):
                gpu_hessian.hessian(failing, print, keep)
        assert names == FILES
