"""Two routes to a Hessian, and its sum rules."""

from pathlib import Path

import numpy as np
import pytest

from sample_molecules import H2CO, springs
from spincross import (
    config,
    displacements,
    electric_field,
    electronic,
    files,
    fitted_hessian,
    fitted_potentials,
    force_constants,
    hessian_stages,
    infrared,
    reference,
    response,
    vibrations,
    xc_derivatives,
)
from spincross.checkpoints import Blocks, mark
from spincross.displacements import Point
from spincross.errors import StaleData, Stopped
from spincross.levels import Level, State
from spincross.molecule import Molecule

ROOT = Path(__file__).resolve().parents[2]


def quiet(text):
    pass


def test_displaced_gradients_take_the_finer_of_both_grids():
    settings = force_constants.Settings(displacement_grid_level=4)
    assert [settings.displaced_level(Level(grid_level=own)).grid_level for own in (3, 4, 5)] == [4, 4, 5]


def test_rebuilt_diagonal_blocks_fulfil_the_sum_rule():
    rng = np.random.default_rng(0)
    rebuilt = force_constants.rebuilt_diagonal(rng.normal(size=(12, 12)))
    np.testing.assert_allclose(rebuilt, rebuilt.T, atol=1e-12)
    np.testing.assert_allclose(rebuilt.reshape(4, 3, 4, 3).sum(axis=2), 0, atol=1e-12)
    np.testing.assert_allclose(force_constants.rebuilt_diagonal(springs(H2CO)), springs(H2CO), atol=1e-12)


def test_finite_differences_of_a_harmonic_surface_return_its_hessian():
    hessian = springs(H2CO)
    displaced = displacements.plan_displacements(H2CO, 5e-3)
    gradients = [(hessian @ (m.positions - H2CO.positions).reshape(-1)).reshape(-1, 3) for m in displaced]
    found, residual = force_constants.hessian_from_gradients(H2CO, gradients, 5e-3)
    assert len(displaced) < 24
    np.testing.assert_allclose(found, hessian, atol=1e-9)
    assert residual < 1e-9


def test_noise_without_a_net_force_shows_in_the_sum_rule_of_the_other_direction():
    molecule, step, rng = H2CO.at(H2CO.positions, "C1"), 5e-3, np.random.default_rng(1)
    shifts = [(m.positions - H2CO.positions).reshape(-1) for m in displacements.plan_displacements(molecule, step)]
    noise = rng.normal(scale=1e-7, size=(len(shifts), 4, 3))
    noise -= noise.mean(axis=1, keepdims=True)
    gradients = [(springs(H2CO) @ s).reshape(-1, 3) + n for s, n in zip(shifts, noise, strict=True)]
    _, residual = force_constants.hessian_from_gradients(molecule, gradients, step)
    moved = np.array([s.reshape(-1, 3).sum(axis=0) for s in shifts]) / step  # of one atom, a unit vector
    together = np.einsum("ka,kjb->ajb", moved, noise) / (2 * step)
    assert residual == pytest.approx(np.abs(together).max(), rel=1e-4)
    assert residual > 1e-5


@pytest.fixture(scope="module", params=[1, 3])
def routes(request, tmp_path_factory):
    level = Level(grid_level=1)
    state = State("x", request.param)
    settings = force_constants.Settings(response_grid_level=1)
    surface = settings.surface(level, state, electronic.solve(H2CO, level, state).orbitals)
    displaced = displacements.plan_displacements(H2CO, settings.step)
    folder = tmp_path_factory.mktemp("routes")
    points = displacements.compute_points(displaced, range(len(displaced)), surface, folder, quiet)
    return {
        "analytic": force_constants.analytic(H2CO, surface, settings, quiet),
        "finite differences": force_constants.from_points(H2CO, points, settings.step),
    }


def test_both_routes_agree_within_2_per_cm_in_every_mode(routes):
    first, second = (vibrations.normal_modes(H2CO, found.hessian) for found in routes.values())
    assert first.irreps == second.irreps
    np.testing.assert_allclose(first.wavenumbers, second.wavenumbers, atol=2.0)


@pytest.mark.parametrize("state", ["LS", "HS"])
def test_the_analytic_route_agrees_with_the_shipped_records_of_finite_differences(state):
    """At the optimised geometries of both states, on the grids of the default configuration: 3, against 4."""
    content = config.read_yaml(ROOT / "workflow/config/config.yaml") | {"complexes": ["h2co"]}
    settings = config.load(content, ROOT / "structures")
    place = reference.folder(settings, "h2co", state, "C2", "vibrations")
    optimised = reference.folder(settings, "h2co", state, "C2", "optimise")
    _, molecule = hessian_stages.optimised_molecule(settings, "h2co", optimised)
    recorded = vibrations.normal_modes(molecule, files.read_arrays(place / "hessian.npz")["hessian"])
    assert files.read_json(place / "hessian.json")["grid_level"] == 4
    surface = hessian_stages.surface_near(settings, "h2co", state, optimised)
    assert surface.level.grid_level == 3
    found = vibrations.normal_modes(
        molecule, force_constants.analytic(molecule, surface, settings.hessian, quiet).hessian
    )
    assert found.irreps == recorded.irreps
    np.testing.assert_allclose(found.wavenumbers, recorded.wavenumbers, atol=2.0)


def test_both_routes_agree_without_exact_exchange(tmp_path):
    molecule, state = Molecule(("H", "H"), np.array([[0.0, 0, 0], [0, 0, 1.42]])), State("LS", 1)
    level, settings = Level(functional="bp86", basis="def2-tzvp", grid_level=3), force_constants.Settings()
    surface = settings.surface(level, state, electronic.solve(molecule, level, state).orbitals)
    displaced = displacements.plan_displacements(molecule, settings.step)
    points = displacements.compute_points(displaced, range(len(displaced)), surface, tmp_path / "moved", quiet)
    found = force_constants.analytic(molecule, surface, settings, quiet).hessian
    expected = force_constants.from_points(molecule, points, settings.step).hessian
    waves = [vibrations.normal_modes(molecule, hessian).wavenumbers[0] for hessian in (found, expected)]
    assert waves[0] == pytest.approx(waves[1], abs=2.0)
    assert 4000 < waves[0] < 4600


def test_finite_differences_fulfil_the_sum_rule_within_the_noise_of_their_scf_and_the_analytic_route_does_not(routes):
    """An orbital gradient left over (in units of gaps of the order of one hartree) is the relative error of a force of
    the order of one: each of the 4 atoms that a translation moves adds at most that over the step.
    """
    settings = force_constants.Settings()
    noise = 4 * settings.scf_gradient_tolerance / settings.step
    assert routes["finite differences"].sum_rule < noise < routes["analytic"].sum_rule


def test_a_hessian_of_another_geometry_is_refused():
    with pytest.raises(StaleData, match="differs"):
        force_constants.check_geometry({"positions": H2CO.positions + 1e-3}, H2CO, "hessian.npz")
    with pytest.raises(StaleData, match=r"hessian\.npz holds 3 atoms, the geometry has 4"):
        force_constants.check_geometry({"positions": H2CO.positions[:3]}, H2CO, "hessian.npz")


def test_dipole_derivatives_of_first_order_orbitals_equal_those_of_displacements(routes):
    """Within 1e-3 e on this small grid, which stands still for the orbitals' response; see the next test."""
    responding, moved = (found.dipole_derivatives for found in routes.values())
    np.testing.assert_allclose(responding, moved, atol=1e-3)
    assert infrared.dipole_sum_rule(responding, 0) < 1e-3


@pytest.mark.parametrize("multiplicity", [1, 3])
def test_dipole_derivatives_of_first_order_orbitals_equal_those_in_a_field_on_a_good_grid(multiplicity):
    """Two routes that share nothing but the density: 5e-6 and 2e-5 e apart on grid 3, 2e-2 on grid 0."""
    level, state = Level(basis="sto-3g", grid_level=3), State("x", multiplicity)
    settings = force_constants.Settings(response_grid_level=3)
    surface = settings.surface(level, state, electronic.solve(H2CO, level, state).orbitals)
    responding = force_constants.analytic(H2CO, surface, settings, quiet).dipole_derivatives
    plain = electronic.solve(H2CO.at(H2CO.positions, "C1"), surface.level, state, surface.guess)
    np.testing.assert_allclose(responding, electric_field.dipole_derivatives(H2CO, plain, quiet), atol=5e-5)


def test_infrared_intensities_of_both_routes_agree_within_1_percent(routes):
    found = [
        infrared.intensities(route.dipole_derivatives, H2CO.masses, vibrations.normal_modes(H2CO, route.hessian).modes)
        for route in routes.values()
    ]
    np.testing.assert_allclose(found[0], found[1], rtol=0.01, atol=0.1)


@pytest.mark.parametrize("multiplicity", [1, 3])
def test_columns_of_a_solution_in_the_group_are_those_without(multiplicity):
    """Orbital response by irreps against none; displaced atoms off the axis mix both irreps."""
    level, state = Level(grid_level=0).tightened(1e-11, 1e-7), State("x", multiplicity)
    inside = electronic.solve(H2CO, level, state)
    outside = electronic.solve(H2CO.at(H2CO.positions, "C1"), level, state, inside.orbitals)
    assert inside.mean_field.mol.symmetry
    for found, expected in zip(
        electronic.hessian_columns(inside, [0, 2], 0, quiet),
        electronic.hessian_columns(outside, [0, 2], 0, quiet),
        strict=True,
    ):
        np.testing.assert_allclose(found, expected, atol=2e-6)


@pytest.fixture(scope="module")
def small():
    """A cheap surface and the Hessian of its geometry in one go."""
    level, state = Level(basis="sto-3g", grid_level=0), State("HS", 3)
    settings = force_constants.Settings(response_grid_level=0)
    surface = settings.surface(level, state, electronic.solve(H2CO, level, state).orbitals)
    return surface, settings, force_constants.analytic(H2CO, surface, settings, lambda text: None)


def counted(monkeypatch, module, name, deadly=0):
    """Count the calls of a function; the call number `deadly` ends the run instead."""
    function, calls = getattr(module, name), []

    def wrapper(*arguments, **more):
        calls.append(name)
        if len(calls) == deadly:
            raise Stopped(name)
        return function(*arguments, **more)

    monkeypatch.setattr(module, name, wrapper)
    return calls


def test_a_stopped_analytic_hessian_repeats_no_finished_block(small, tmp_path, monkeypatch):
    """Three blocks of one atom each; the second is cut off."""
    surface, settings, whole = small
    monkeypatch.setattr(response, "BLOCK", 1)
    with monkeypatch.context() as first, pytest.raises(Stopped):
        counted(first, response, "_relaxed", deadly=2)
        force_constants.analytic(H2CO, surface, settings, lambda text: None, tmp_path)
    calls = [counted(monkeypatch, response, name) for name in ("skeleton", "_relaxed")]
    lines = []
    found = force_constants.analytic(H2CO, surface, settings, lines.append, tmp_path)
    assert tuple(map(len, calls)) == (0, 2)
    assert "  columns.integrals: found" in lines
    np.testing.assert_allclose(found.hessian, whole.hessian, atol=1e-6)
    np.testing.assert_allclose(found.dipole_derivatives, whole.dipole_derivatives, atol=1e-5)


def counted_products(monkeypatch, deadly=0):
    """Count what the response computes; the product number `deadly` ends the run instead."""
    potential, calls = response.induced_potential, []

    def wrapper(*arguments):
        apply = potential(*arguments)

        def product(vectors):
            calls.append(len(vectors))
            if len(calls) == deadly:
                raise Stopped("product")
            return apply(vectors)

        return product

    monkeypatch.setattr(response, "induced_potential", wrapper)
    return calls


def test_a_response_stopped_among_its_iterations_repeats_none(small, tmp_path, monkeypatch):
    """The SCF is done again; what the iterations and all else kept goes when the columns are stored."""
    surface, settings, whole = small
    with monkeypatch.context() as first:
        needed = counted_products(first)
        force_constants.analytic(H2CO, surface, settings, quiet)
    with monkeypatch.context() as first, pytest.raises(Stopped):
        counted_products(first, deadly=len(needed) - 1)
        force_constants.analytic(H2CO, surface, settings, quiet, tmp_path)
    assert len(list(tmp_path.glob("columns.response_*.*.npz"))) == len(needed) - 2 > 3
    calls = counted_products(monkeypatch)
    found = force_constants.analytic(H2CO, surface, settings, quiet, tmp_path)
    assert calls == needed[-2:]
    assert [path.name for path in tmp_path.iterdir()] == ["columns.npz"]
    (tmp_path / "columns.integrals.npz").write_bytes(b"left by a kill before it went")
    again = force_constants.analytic(H2CO, surface, settings, quiet, tmp_path)
    assert len(calls) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["columns.npz"]
    np.testing.assert_allclose(again.hessian, found.hessian, atol=1e-12)
    assert whole.seconds_before == 0.0
    np.testing.assert_allclose(found.hessian, whole.hessian, atol=1e-9)


@pytest.mark.parametrize("change", [1e-4, -2.0])
def test_iterations_for_other_vectors_do_not_answer(change):
    """Another length of one vector, or its sign, as of orbitals of another SCF; noise makes no difference."""
    vectors = np.random.default_rng(1).normal(size=(3, 2000))
    other = vectors * (1 + change * np.array([[0.0], [0.0], [1.0]]))
    assert mark(other) != mark(vectors)
    assert mark(vectors * (1 + 1e-11)) == mark(vectors)
    assert mark(0.0 * vectors) != mark(vectors)


def test_a_stop_among_the_gradients_in_a_field_repeats_no_direction(small, tmp_path, monkeypatch):
    """Four gradients, for z needs two; the third ends the first run."""
    surface = small[0]
    plain = electronic.solve(H2CO.at(H2CO.positions, "C1"), surface.level, surface.state, surface.guess)
    keep = Blocks(tmp_path, "key", quiet).keep
    with monkeypatch.context() as first, pytest.raises(Stopped):
        counted(first, electric_field, "gradient_in_field", deadly=3)
        electric_field.dipole_derivatives(H2CO, plain, quiet, keep)
    calls = counted(monkeypatch, electric_field, "gradient_in_field")
    found = electric_field.dipole_derivatives(H2CO, plain, quiet, keep)
    assert len(calls) == 2
    np.testing.assert_allclose(found, electric_field.dipole_derivatives(H2CO, plain, quiet), atol=1e-5)


def test_a_hessian_stopped_among_its_integrals_keeps_the_dearest(small, tmp_path, monkeypatch):
    """What they kept goes when they are all there; they themselves, gigabytes, when the columns are."""
    surface, settings, whole = small
    with monkeypatch.context() as first, pytest.raises(Stopped):
        counted(first, fitted_potentials, "add_potentials", deadly=1)
        force_constants.analytic(H2CO, surface, settings, lambda text: None, tmp_path)
    assert len(list(tmp_path.glob("columns.integrals.*.npz"))) == 6
    dearest = [(fitted_hessian, name) for name in ("_three_index", "_moved_charges", "_moved_pairs")]
    for module, name in [*dearest, (xc_derivatives, "second_derivatives")]:
        monkeypatch.setattr(module, name, lambda *a, **k: pytest.fail("computed again"))
    with monkeypatch.context() as second, pytest.raises(Stopped):
        counted(second, response, "_relaxed", deadly=1)
        force_constants.analytic(H2CO, surface, settings, lambda text: None, tmp_path)
    assert [path.name for path in tmp_path.glob("*.npz")] == ["columns.integrals.npz"]
    found = force_constants.analytic(H2CO, surface, settings, lambda text: None, tmp_path)
    assert [path.name for path in tmp_path.glob("*.npz")] == ["columns.npz"]
    np.testing.assert_allclose(found.hessian, whole.hessian, atol=1e-6)


def test_blocks_of_another_geometry_or_kernel_are_refused(small, tmp_path):
    surface, settings, _ = small
    force_constants.analytic(H2CO, surface, settings, lambda text: None, tmp_path)
    moved = H2CO.at(H2CO.positions * 1.0001)
    for molecule, other in ((moved, settings), (H2CO, force_constants.Settings(response_grid_level=1))):
        with pytest.raises(StaleData, match=r"belongs to another geometry"):
            force_constants.analytic(molecule, surface, other, lambda text: None, tmp_path)


@pytest.fixture(scope="module")
def stand_in():
    """LS of cis-[Fe(2-aminoacetaldimine)2(NCS)2], PBE0/def2-SVP: analytic Hessian, displaced gradients."""
    data = files.read_arrays(ROOT / "tests/data/fe-aai2-ncs2_LS_displaced.npz")
    molecule = Molecule(tuple(map(str, data["symbols"])), data["positions"], 0, "C2").symmetrised()
    return molecule, data["analytic_hessian"], data


def points_of(data):
    rows = zip(data["gradients"], data["dipoles"], data["energies"], strict=True)
    return [Point(g, d, float(e), 0, 0.0) for g, d, e in rows]


def test_both_routes_agree_on_the_low_spin_iron_stand_in(stand_in):
    """Within 2 cm-1 above 100 cm-1, and within the printed noise floor below."""
    molecule, recorded, data = stand_in
    found = force_constants.from_points(molecule, points_of(data), 5e-3)
    analytic, finite = (vibrations.normal_modes(molecule, h) for h in (recorded, found.hessian))
    below = 0
    for irrep in ("A", "B"):
        pairs = [m.wavenumbers[np.array(m.irreps) == irrep] for m in (analytic, finite)]
        difference, soft = np.abs(pairs[1] - pairs[0]), pairs[0] < 100
        assert difference[~soft].max() < 2.0
        assert difference[soft].max() < max(analytic.noise_floor, finite.noise_floor)
        below += int(soft.sum())
    assert 5 < below < 20


def test_the_displaced_energies_of_the_stand_in_lie_on_one_surface(stand_in):
    molecule, _, data = stand_in
    *displaced, _ = displacements.planned_geometries(molecule, 5e-3)
    points = points_of(data)
    hessian = force_constants.from_points(molecule, points, 5e-3).hessian
    centre = Point(data["centre_gradient"], data["centre_dipole"], float(data["centre_energy"]), 0, 0.0)
    assert displacements.require_one_surface(molecule, displaced, points, hessian, centre) < 1e-6
