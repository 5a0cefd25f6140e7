"""Where an SCF runs: chosen and said, the same numbers through one code path, memory that runs out, exchange."""

import contextlib
import os
import sys
from dataclasses import replace
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from pyscf import dft, gto

import sample_gpu
from sample_h2co import EXCITED, H2CO, LEVEL
from spincross import (
    candidates,
    descent,
    device,
    electric_field,
    electronic,
    files,
    gates,
    gpu_check,
    mean_field,
    optimise,
    orbital_rotations,
    populations,
)
from spincross.errors import BadInput, CannotWrite, NotConverged, WrongState
from spincross.levels import State
from spincross.molecule import Molecule
from test_gates import LIMITS

GPU = replace(LEVEL, device="gpu")
SMALL = replace(GPU, basis="sto-3g", grid_level=0)
PLAIN = H2CO.at(H2CO.positions, "C1")
TRIPLET = State("HS", 3)
needs_gpu = pytest.mark.skipif(device.missing() is not None, reason=f"needs a GPU: {device.missing()}")
pytestmark = pytest.mark.usefixtures("device_chosen_anew")


@pytest.fixture
def log(monkeypatch):
    calls = []
    sample_gpu.installed(monkeypatch, calls)
    return calls


@pytest.fixture
def no_cupy(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)


def test_without_a_gpu_auto_takes_the_cpu_and_says_so_once(no_cupy, capsys):
    assert [device.chosen("auto"), device.chosen("auto"), device.chosen("cpu")] == ["cpu"] * 3
    assert capsys.readouterr().out.count("device: CPU (no CUDA GPU that CuPy can use") == 1


def test_without_a_gpu_asking_for_one_is_an_error_before_any_scf(no_cupy):
    with pytest.raises(BadInput, match="device: gpu, but there is no CUDA GPU"):
        electronic.solve(H2CO, GPU, TRIPLET)


def test_a_gpu_without_gpu4pyscf_is_not_taken(monkeypatch):
    cupy = ModuleType("cupy")
    cupy.cuda = SimpleNamespace(runtime=SimpleNamespace(getDeviceCount=lambda: 1))
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    monkeypatch.setitem(sys.modules, "gpu4pyscf", None)
    assert "gpu4pyscf does not load" in device.missing()
    cupy.cuda.runtime.getDeviceCount = lambda: 0
    assert device.missing() == "no CUDA GPU"


def test_provenance_names_the_gpu_and_what_its_numbers_depend_on(log, monkeypatch):
    found = device.facts("gpu")
    assert (found["device"], found["gpu"]) == ("gpu", "Stand-in 1")
    assert found["versions"] == files.versions() | {"cupy": "14.0.1", "cutensor": "2.5.1"}
    monkeypatch.setattr(sys.modules["gpu4pyscf.lib.cutensor"], "contract_engine", "cupy")
    assert device.facts("gpu")["versions"] == files.versions() | {"cupy": "14.0.1"}
    assert (device.facts("cpu"), device.facts(None)) == ({"device": "cpu"}, {})


def test_auto_takes_a_gpu_that_is_there(log, capsys):
    assert device.chosen("auto") == device.chosen("gpu") == "gpu"
    assert "device: GPU" in capsys.readouterr().out


def test_one_code_path_gives_the_same_state_and_numpy_arrays(log, triplet):
    found = electronic.solve(H2CO, GPU, TRIPLET)
    assert found.energy == pytest.approx(triplet[0].energy, abs=1e-7)
    assert found.occupation == triplet[0].occupation
    assert found.s_squared == pytest.approx(triplet[0].s_squared, abs=1e-5)
    arrays = (*found.orbitals, found.mean_field.mo_coeff, electronic.gradient(found))
    assert all(type(array) is np.ndarray for array in arrays)
    np.testing.assert_allclose(electronic.gradient(found), electronic.gradient(triplet[0]), atol=1e-5)
    assert not [rung for rung in found.trace if "minimisation" in rung["rung"]]


def test_settings_that_differ_from_the_cpu_are_given(log):
    found = electronic.solve(PLAIN, SMALL, State("LS", 1))
    method = found.engine.method
    assert method.conv_tol_cpscf == 1e-8
    assert method.cphf_grids is method.grids
    assert method.level_shift == 0.0  # gpu4pyscf's None leaves out the last diagonalisation
    assert method.with_df.auxbasis == "def2-universal-jkfit"
    assert (method.grids.level, method.conv_tol, method.conv_tol_grad) == (0, 1e-10, 1e-6)
    electronic.gradient(found)
    electronic.hessian_columns(found, [0], 0, print)
    assert log.count(("grid_response", True)) == 2


def test_hessian_columns_are_those_of_the_atoms_asked_for(log, capsys):
    found = electronic.solve(PLAIN, SMALL, State("LS", 1))
    whole = np.asarray(found.mean_field.Hessian().kernel()).transpose(0, 2, 1, 3).reshape(12, 12)
    np.testing.assert_allclose(
        electronic.hessian_columns(found, [1, 3], 0, print)[0], whole[:, [3, 4, 5, 9, 10, 11]], atol=1e-6
    )


@pytest.mark.parametrize(
    "error",
    [
        AssertionError("Insufficient GPU memory"),
        RuntimeError("CUBLAS_STATUS_ALLOC_FAILED"),
        RuntimeError("Not enough GPU memory for the response"),
        ValueError("range() arg 3 must not be zero"),
    ],
)
def test_memory_that_runs_out_in_other_words_is_understood(log, capsys, error):
    found = electronic.solve(PLAIN, SMALL, State("LS", 1))
    expected = electronic.gradient(found)
    log.append(("fail", "kernel", error))
    np.testing.assert_allclose(electronic.gradient(found), expected, atol=1e-7)
    assert f"GPU memory ran out ({error})" in capsys.readouterr().out


@pytest.mark.parametrize(("place", "understood"), [("gpu4pyscf/df", True), ("gpu4pyscf/scf", False)])
def test_an_assertion_without_words_is_one_of_memory_in_density_fitting_only(capsys, place, understood):
    calls = []

    def on_gpu():
        calls.append(place)
        if len(calls) == 1:
            exec(compile("assert False", f"/somewhere/{place}/df.py", "exec"))  # noqa: S102
        return "done"

    monkey = pytest.MonkeyPatch()
    with monkey.context() as patch:
        patch.setattr(device, "free_memory", lambda: None)
        patch.setattr(device.gpu_libraries, "smaller_blocks", contextlib.nullcontext)
        if understood:
            assert device.in_smaller_blocks(on_gpu, lambda: "cpu", "the gradient") == "done"
            assert "an assertion of gpu4pyscf's density fitting" in capsys.readouterr().out
        else:
            with pytest.raises(AssertionError):
                device.in_smaller_blocks(on_gpu, lambda: "cpu", "the gradient")


@pytest.mark.parametrize(("failures", "words"), [(1, "density-fitting tensor in host memory"), (2, "on the CPU")])
def test_when_gpu_memory_runs_out_it_is_said_and_the_next_way_gives_the_same(log, capsys, failures, words):
    log += [("fail", "kernel")] * failures
    found = electronic.solve(PLAIN, SMALL, State("LS", 1))
    said = capsys.readouterr().out
    assert said.count("GPU memory ran out (out of memory allocating 14,000,000,000 bytes)") == failures
    assert words in said
    assert ("freed", None) in log
    assert found.energy == pytest.approx(
        electronic.solve(PLAIN, replace(SMALL, device="cpu"), State("LS", 1)).energy, abs=1e-7
    )
    moved = [found.engine.method.with_df.use_gpu_memory] if failures == 1 else []
    assert moved == [False] * (failures == 1)
    assert (found.engine is found.mean_field) == (failures == 2)
    assert found.device == ("cpu" if failures == 2 else "gpu")


def no_memory():
    return RuntimeError("GPU memory insufficient for solving CPHF equations")


def test_a_gradient_and_a_hessian_that_do_not_fit_are_tried_in_smaller_blocks_then_on_the_cpu(log, capsys):
    found = electronic.solve(PLAIN, SMALL, State("LS", 1))
    expected, shown = electronic.gradient(found), []
    info = sys.modules["cupy"].cuda.runtime
    found.engine.method.nuc_grad_method = watching(
        found.engine.method.nuc_grad_method, lambda: shown.append(info.memGetInfo()[0])
    )
    log.append(("fail", "kernel", no_memory()))
    np.testing.assert_allclose(electronic.gradient(found), expected, atol=1e-7)
    assert shown == [1000, 500]
    assert info.memGetInfo() == (1000, sample_gpu.MEMORY)
    said = capsys.readouterr().out
    assert "GPU memory ran out (GPU memory insufficient for solving CPHF equations)" in said
    assert "the gradient in smaller blocks" in said
    assert "on the CPU" not in said
    log.extend([("fail", "kernel")] * 2)
    np.testing.assert_allclose(electronic.gradient(found), expected, atol=1e-7)
    log.extend([("fail", "kernel"), ("fail", "kernel", no_memory())])
    assert electronic.hessian_columns(found, [0], 1, lambda text: None)[0].shape == (12, 3)
    assert capsys.readouterr().out.count("on the CPU") == 2


def test_a_hessian_that_does_not_fit_is_that_of_the_cpu_and_needs_its_room(log, monkeypatch):
    """Of a molecule too large for a check of its energy on the CPU, which would have built the grid there."""
    own = electronic.solve(PLAIN, replace(SMALL, device="cpu"), State("LS", 1))
    expected = electronic.hessian_columns(own, [0], 0, lambda text: None)[0]
    monkeypatch.setattr(electronic, "SMALL", 0)
    found = electronic.solve(PLAIN, SMALL, State("LS", 1))
    assert found.mean_field.grids.coords is None
    log.extend([("fail", "kernel")] * 2)
    np.testing.assert_allclose(electronic.hessian_columns(found, [0], 0, lambda text: None)[0], expected, atol=1e-6)
    full = electronic.solve(PLAIN, SMALL, State("LS", 1))
    monkeypatch.setattr(mean_field, "_free_scratch", lambda: 0.0)
    log.extend([("fail", "kernel")] * 2)
    with pytest.raises(CannotWrite):
        electronic.hessian_columns(full, [0], 0, lambda text: None)
    monkeypatch.setattr(mean_field.symmetric_fitting, "megabytes", lambda *arguments: 1e9)
    log.extend([("fail", "kernel")] * 2)
    with pytest.raises(CannotWrite, match="the fitted integrals take"):
        electronic.gradient(full)
    full.mean_field.with_df.build()
    log.extend([("fail", "kernel")] * 2)
    assert electronic.gradient(full).shape == (4, 3)  # integrals that are there need no more room


def test_first_order_orbitals_of_all_atoms_at_once_are_solved_as_sharply_as_the_cpus_blocks(log):
    """gpu4pyscf multiplies the threshold by the atoms of a block."""
    found = electronic.solve(PLAIN, SMALL, State("LS", 1))
    assert found.engine.method.conv_tol_cpscf == pytest.approx(1e-8)
    large = gto.M(atom=[("He", (0, 0, 4.0 * i)) for i in range(79)], basis="sto-3g")
    moved = device.moved(dft.RKS(large, xc="pbe0").density_fit(), device.GPU[0])
    assert 79 * moved.method.conv_tol_cpscf == pytest.approx(7e-8)


def test_of_several_gpus_one_is_taken_and_a_choice_is_left_alone(log, monkeypatch):
    for given, expected in ((None, "0"), ("2", "2")):
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        if given:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
        assert device.missing() is None
        assert os.environ["CUDA_VISIBLE_DEVICES"] == expected


def watching(call, note):
    """Return the call, with a note taken before it."""

    def watched():
        note()
        return call()

    return watched


@pytest.mark.parametrize(("failures", "said"), [(1, "in smaller blocks"), (2, "in a field on the CPU")])
def test_a_gradient_in_a_field_whose_memory_ran_out_is_computed_all_the_same(log, capsys, failures, said):
    found = electronic.solve(PLAIN, SMALL, State("LS", 1))
    expected = electric_field.dipole_derivatives(PLAIN, found, lambda text: None)
    log += [("fail", "kernel")] * failures
    np.testing.assert_allclose(electric_field.dipole_derivatives(PLAIN, found, lambda text: None), expected, atol=2e-5)
    assert said in capsys.readouterr().out
    assert ("fail", "kernel") not in log


def test_an_error_that_is_not_about_memory_is_not_tried_again(log):
    found = electronic.solve(PLAIN, SMALL, State("LS", 1))
    log.append(("fail", "kernel", RuntimeError("an illegal memory access was encountered")))
    with pytest.raises(RuntimeError, match="illegal memory access"):
        electronic.gradient(found)
    log.append(("fail", "kernel", RuntimeError("fxc was not initialized")))
    with pytest.raises(RuntimeError, match="fxc"):
        electronic.solve(PLAIN, SMALL, State("LS", 1))


def test_memory_that_runs_out_on_the_cpu_is_no_silent_loop(monkeypatch):
    def work(place):
        raise MemoryError("host")

    with pytest.raises(MemoryError, match="host"):
        device.with_fallback("cpu", work)


@pytest.mark.parametrize("where", ["GPU", "CPU"])
def test_a_gpu_energy_that_is_not_its_densitys_is_an_error_with_both_numbers(log, monkeypatch, where):
    original = electronic.kohn_sham

    def wrong(mol, level, place=device.CPU):
        method = original(mol, level, place)
        inner = method if place == device.CPU else method.method
        if (place == device.CPU) == (where == "CPU"):
            exact = inner.energy_tot
            inner.energy_tot = lambda *arguments, **options: (
                exact(*arguments, **options) + (2e-6 if len(arguments) == 1 else 0.0)
            )
        return method

    monkeypatch.setattr(electronic, "kohn_sham", wrong)
    with pytest.raises(NotConverged, match=rf"computed afresh on the {where}: -11\d\.\d+ Eh \(allowed 1e-07\)"):
        electronic.solve(PLAIN, SMALL, State("LS", 1))


def test_an_occupation_is_held_on_a_gpu_and_candidates_are_found(log, triplet):
    held = electronic.solve(H2CO, GPU, State("HS", 3, EXCITED))
    assert held.occupation == EXCITED
    assert held.energy == pytest.approx(triplet[1][1]["energy_hartree"], abs=1e-6)
    lowest, table = candidates.lowest_state(H2CO, GPU, TRIPLET)
    assert lowest.energy == pytest.approx(triplet[0].energy, abs=1e-7)
    assert [row["term"] for row in table] == [row["term"] for row in triplet[1]]


def test_work_begun_on_one_device_goes_on_on_the_other(log, tmp_path):
    settings = optimise.Settings(coarse_grid_level=0, convergence="GAU")
    levels = [replace(LEVEL, basis="sto-3g", grid_level=0, device=name) for name in ("gpu", "cpu")]
    lines = []

    def stop(line):
        lines.append(line)
        if line.startswith("  step   2"):
            raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        optimise.optimise(H2CO, levels[0], State("LS", 1), tmp_path / "a", settings, report=stop)
    assert ("to_gpu", "DFRKS") in log
    said = []
    again = optimise.optimise(H2CO, levels[1], State("LS", 1), tmp_path / "a", settings, report=said.append)
    assert "resuming" in said[0]
    whole = optimise.optimise(H2CO, levels[1], State("LS", 1), tmp_path / "b", settings, report=lines.append)
    assert again.solution.energy == pytest.approx(whole.solution.energy, abs=1e-7)
    back = optimise.optimise(H2CO, levels[0], State("LS", 1), tmp_path / "b", settings, report=lines.append)
    assert back.solution.energy == pytest.approx(whole.solution.energy, abs=1e-7)


def test_a_gradient_in_a_field_is_the_same_on_both_devices(log):
    levels = [replace(SMALL, device=name) for name in ("gpu", "cpu")]
    engines = [electronic.solve(PLAIN, level, TRIPLET).engine for level in levels]
    field = np.array([0.0, 2e-3, 1e-3])
    found, expected = (electric_field.gradient_in_field(engine, field) for engine in engines)
    np.testing.assert_allclose(found, expected, atol=2e-6)
    assert type(found) is np.ndarray


@pytest.mark.parametrize("multiplicity", [1, 3])
def test_the_stability_test_runs_on_the_gpu_and_gives_the_cpus_eigenvalue(log, singlet, triplet, multiplicity):
    solution = singlet if multiplicity == 1 else triplet[0]
    rows = orbital_rotations.lowest_rotations(solution.mean_field, "C2", LEVEL.grid_level)
    expected = min(row.eigenvalue for row in rows)
    found = electronic.solve(H2CO, GPU, State("x", multiplicity))
    log.clear()
    assert gates.stability(found, LIMITS).eigenvalue == pytest.approx(expected, abs=1e-4)
    assert next(entry for entry in log if entry[0] != "freed") == ("to_gpu", "DFUKS")
    assert [name for name, _ in log if name == "gen_response"] == ["gen_response"]


def test_a_cold_start_with_a_metal_begins_on_the_cpu(log):
    """Copper hydride: the minimal basis is PySCF's work, the rest the GPU's.

    In STO-3G, whose core lies 20 Eh from that of the minimal basis, round-off decided which rung converged it, if any.
    """
    molecule = Molecule(("Cu", "H"), np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 2.76]]))
    level = replace(SMALL, basis="def2-svp")
    found = electronic.solve(molecule, level, State("LS", 1))
    rungs = ["minimal basis, level shift", "coarse grid, level shift", "DIIS"]
    assert [rung["rung"] for rung in found.trace] == rungs
    assert [value for name, value in log if name == "to_gpu"] == ["DFRKS", "DFRKS"]
    expected = electronic.solve(molecule, replace(level, device="cpu"), State("LS", 1))
    assert found.energy == pytest.approx(expected.energy, abs=1e-7)


@pytest.mark.parametrize(
    ("near", "rungs"),
    [(10.0, ["DIIS", "second order"]), (1e-12, ["DIIS", "level shift", "DIIS"])],
)
@pytest.mark.parametrize("state", [State("LS", 1), TRIPLET])
def test_slow_cycles_near_the_solution_end_in_second_order(log, monkeypatch, state, near, rungs):
    """Without direct minimisation, which a GPU is not used for, level shift would lead away from it again."""
    expected = electronic.solve(PLAIN, replace(SMALL, device="cpu"), state)
    monkeypatch.setattr(electronic, "DIIS_ALONE", 3)
    monkeypatch.setattr(electronic, "NEAR", near)
    found = electronic.solve(PLAIN, SMALL, state)
    assert [rung["rung"] for rung in found.trace] == rungs
    assert found.energy == pytest.approx(expected.energy, abs=1e-7)


def test_what_was_learned_of_the_orbital_hessian_is_of_no_use_on_a_gpu(log):
    before = electronic.solve(PLAIN, replace(SMALL, device="cpu"), TRIPLET)
    assert before.curvature is not None
    found = electronic.solve(PLAIN, SMALL, TRIPLET, before.orbitals, curvature=before.curvature)
    assert {rung["rung"] for rung in found.trace} == {"DIIS"}
    assert found.curvature is None


def test_gates_read_a_gpu_solution_as_they_do_the_cpus(log, triplet):
    found = electronic.solve(H2CO, GPU, TRIPLET)
    assert gates.judge(found, H2CO, TRIPLET, None, LIMITS, gates.stability(found, LIMITS)) == []
    irreps = [
        [row["irrep"] for row in populations.frontier_levels(s, H2CO, None)["alpha"]] for s in (found, triplet[0])
    ]
    assert irreps[0] == irreps[1]


def test_an_unstable_gpu_solution_is_followed_down_on_the_gpu(log, triplet):
    found = electronic.solve(H2CO, GPU, State("HS", 3, EXCITED))
    tested = gates.stability(found, LIMITS)
    assert tested.downward.eigenvalue < orbital_rotations.UNSTABLE
    log.clear()
    lower = descent.follow(found, tested.downward.mode, H2CO, GPU, TRIPLET, LIMITS["density_asymmetry"])
    assert lower.energy < found.energy - 1e-3
    assert lower.engine is not lower.mean_field
    assert [name for name, _ in log].count("energy_tot") >= 2 * len(descent.ANGLES)


def test_energies_along_a_mode_for_which_memory_ran_out_come_from_the_cpu(log, capsys):
    found = electronic.solve(PLAIN, SMALL, TRIPLET)
    mode = [np.zeros((len(c) - c.shape[1], c.shape[1])) for c in found.orbitals]
    mode[0][0, -1] = 1.0
    log += [("fail", "energy_tot")] * 2
    with pytest.raises(WrongState, match="not lower"):
        descent.follow(found, mode, PLAIN, SMALL, TRIPLET, 1e-3)
    assert "trying again: the energies along the mode on the CPU" in capsys.readouterr().out


@needs_gpu
@pytest.mark.parametrize("state", [State("LS", 1), TRIPLET])
def test_a_real_gpu_gives_the_cpus_numbers(state):
    assert [str(c) for c in gpu_check.checks(H2CO, state, gpu_check.LEVEL) if not c.passed] == []
