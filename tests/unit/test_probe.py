"""The lowest modes of an irrep from gradient differences alone."""

from pathlib import Path

import numpy as np
import pytest

from sample_molecules import H2CO, Harmonic, springs
from spincross import cheap, displacements, electronic, files, force_constants, pointgroup, probe, vibrations
from spincross.errors import BadInput, NotConverged, StaleData, WrongState
from spincross.levels import Level, State
from spincross.molecule import Molecule

ROOT = Path(__file__).resolve().parents[2]


def quiet(text):
    pass


@pytest.fixture
def cage():
    """41 atoms in C2 held by springs, with one B mode made unstable, and a guess that is off by a third everywhere."""
    rng = np.random.default_rng(3)
    half = rng.uniform(2, 9, size=(20, 3))
    places = np.vstack([[[0, 0, 5.0]], half, half @ np.diag([-1.0, -1.0, 1.0])])
    molecule = Molecule(("Fe", *["C"] * 40), places, 0, "C2")
    stiff = springs(molecule, 0.03)
    found = vibrations.normal_modes(molecule, stiff)
    lowest = found.irreps.index("B")
    weighted = found.modes[:, lowest] * np.sqrt(np.repeat(molecule.masses, 3))
    eigenvalue = found.modes[:, lowest] @ vibrations.mass_weighted(molecule, stiff) @ found.modes[:, lowest]
    hessian = stiff - 1.5 * eigenvalue * 1822.888486 * np.outer(weighted, weighted)
    noise = rng.normal(size=stiff.shape)
    factor = np.eye(len(stiff)) + 0.1 * (noise + noise.T) / np.sqrt(len(stiff))
    guess = pointgroup.symmetrise_hessian(molecule.numbers, places, factor @ stiff @ factor.T, "C2")
    return molecule, hessian, guess


@pytest.mark.parametrize(("irrep", "per_product"), [("A", 2), ("B", 1)])
def test_tens_of_gradients_find_the_lowest_modes_of_each_irrep(cage, tmp_path, irrep, per_product):
    molecule, hessian, guess = cage
    exact = vibrations.normal_modes(molecule, hessian)
    expected = [w for w, name in zip(exact.wavenumbers, exact.irreps, strict=True) if name == irrep][:2]
    surface = Harmonic(molecule, hessian)
    found = probe.lowest_modes(molecule, irrep, guess, surface, tmp_path, 5e-3, 2, quiet)
    assert np.all(np.abs(found.wavenumbers - expected) <= found.errors + 1e-6)
    assert (found.wavenumbers[0] < 0) == (irrep == "B")
    assert surface.calls == found.gradients <= 1 + 42 * per_product
    assert found.gradients < 3 * len(molecule.symbols)


def test_the_floor_is_what_a_surface_gives_to_rotations_of_the_irrep(cage, tmp_path):
    molecule, hessian, guess = cage
    weights = np.sqrt(np.repeat(molecule.masses, 3))
    turned = vibrations.rotations_of(molecule, "B")
    assert [vibrations.rotations_of(molecule, name).shape[1] for name in ("A", "B")] == [1, 2]
    noise = (60.0 / 219474.63) ** 2 * 1822.888486 * (turned[:, :1] @ turned[:, :1].T) * np.outer(weights, weights)
    for surface, floor in ((hessian, 0.0), (hessian + noise, 60.0)):
        folder = tmp_path / str(floor)
        found = probe.lowest_modes(molecule, "B", guess, Harmonic(molecule, surface), folder, 5e-3, 1, quiet)
        assert found.noise_floor == pytest.approx(floor, abs=0.1)


@pytest.mark.parametrize(
    ("lowest", "floor", "verdict"),
    [(-8, 3, "unstable"), (-8, 9, "not decided"), (8, 3, "stable"), (8, 9, "not decided"), (4, 3, "not decided")],
)
def test_a_mode_inside_its_error_or_the_floor_is_not_decided(lowest, floor, verdict):
    found = probe.Probe(np.array([lowest]), np.array([5.0]), np.eye(3)[:, :1], 7, floor)
    assert found.verdict == verdict


def test_a_killed_probe_goes_on_from_its_directions(cage, tmp_path):
    molecule, hessian, guess = cage
    surface = Harmonic(molecule, hessian)
    with pytest.raises(NotConverged, match="run again to go on"):
        probe.lowest_modes(molecule, "B", guess, surface, tmp_path, 5e-3, 1, quiet, max_cycles=4)
    before = surface.calls
    found = probe.lowest_modes(molecule, "B", guess, surface, tmp_path, 5e-3, 1, quiet)
    assert surface.calls == found.gradients > before
    assert found.wavenumbers[0] < 0


@pytest.mark.parametrize(
    ("irrep", "name"), [("A", "direction_0001: displacement 0"), ("B", "direction_0002: displacement 0")]
)
def test_a_displaced_scf_in_another_state_is_an_error(cage, tmp_path, irrep, name):
    molecule, hessian, guess = cage
    surface = Harmonic(molecule, hessian, jump_at=4)
    with pytest.raises(WrongState, match=f"{name} lies 3.0e-04 Eh off the harmonic surface"):
        probe.lowest_modes(molecule, irrep, guess, surface, tmp_path, 5e-3, 2, quiet)
    with pytest.raises(WrongState, match=name):  # the kept point stays refused
        probe.lowest_modes(molecule, irrep, guess, surface, tmp_path, 5e-3, 2, quiet)


def test_an_unconverged_probe_goes_on_however_often_it_is_called(cage, tmp_path):
    """PySCF's Davidson takes fewer start vectors than a long search leaves behind."""
    molecule, hessian, _ = cage
    poor, surface = np.eye(len(hessian)), Harmonic(molecule, hessian)
    for calls in range(1, 30):
        try:
            found = probe.lowest_modes(molecule, "B", poor, surface, tmp_path, 5e-3, 2, quiet, max_cycles=3)
            break
        except NotConverged:
            assert surface.calls > calls
    exact = vibrations.normal_modes(molecule, hessian)
    expected = [w for w, name in zip(exact.wavenumbers, exact.irreps, strict=True) if name == "B"][:2]
    assert calls > 2
    assert np.all(np.abs(found.wavenumbers - expected) <= found.errors + 1e-6)


def test_atoms_that_lie_more_symmetric_than_the_group_hide_no_mode(tmp_path):
    """Modes of the other parity under a mirror that the group does not have, with an exact guess of the first."""
    rng = np.random.default_rng(5)
    corner = rng.uniform(2, 8, size=(6, 3))
    places = np.vstack([[[0, 0, 4.0]], *[corner @ np.diag([a, b, 1.0]) for a in (1.0, -1.0) for b in (1.0, -1.0)]])
    molecule = Molecule(("Fe", *["C"] * 24), places, 0, "C2")
    guess = springs(molecule, 0.03)
    found = vibrations.normal_modes(molecule, guess)
    mirror = np.kron(_permutation(places, np.diag([-1.0, 1.0, 1.0])), np.diag([-1.0, 1.0, 1.0]))
    of_b = [i for i, name in enumerate(found.irreps) if name == "B"]
    parity = {i: round(float(found.modes[:, i] @ mirror @ found.modes[:, i])) for i in of_b}
    lowest = of_b[0]
    hidden = [i for i in of_b if parity[i] == -parity[lowest]][3]
    weighted = found.modes[:, hidden] * np.sqrt(np.repeat(molecule.masses, 3))
    drop = (found.wavenumbers[hidden] ** 2 + 200.0**2) / 219474.63**2 * 1822.888486
    hessian = guess - drop * np.outer(weighted, weighted)
    result = probe.lowest_modes(molecule, "B", guess, Harmonic(molecule, hessian), tmp_path, 5e-3, 1, quiet)
    assert result.wavenumbers[0] == pytest.approx(-200.0, abs=5.0)


def _permutation(places, operation):
    """Return the matrix that brings atoms to where an operation puts them."""
    distances = np.linalg.norm((places @ operation.T)[:, None] - places[None], axis=2)
    return (distances < 1e-6).astype(float).T


@pytest.mark.parametrize(
    ("eigenvalue", "residual", "error"),
    [(0.03, 0.05, 31.46), (-0.03, 0.05, 31.46), (4.0, 0.05, 1.254), (0.0, 0.04, 20)],
)
def test_the_error_of_a_wavenumber_reaches_through_zero(eigenvalue, residual, error):
    """Of 17.3 cm-1 known to 0.05 (100 cm-1)^2 the exact one may be 14.1i: 31.5 away."""
    found = probe._errors(np.array([eigenvalue]), np.array([residual]))
    assert found == pytest.approx([error], abs=0.01)


def test_directions_of_another_irrep_are_refused(cage, tmp_path):
    molecule, hessian, guess = cage
    surface = Harmonic(molecule, hessian)
    probe.lowest_modes(molecule, "B", guess, surface, tmp_path, 5e-3, 1, quiet)
    with pytest.raises(StaleData, match="irrep or step"):
        probe.lowest_modes(molecule, "A", guess, surface, tmp_path, 5e-3, 1, quiet)


def test_directions_of_another_molecule_are_refused(tmp_path):
    files.write_arrays(tmp_path / "direction_0000_plus/point.npz", positions=H2CO.positions[:3])
    with pytest.raises(StaleData, match="another molecule"):
        probe.lowest_modes(H2CO, "B", springs(H2CO), Harmonic(H2CO, springs(H2CO)), tmp_path, 5e-3, 1, quiet)


def test_a_diatomic_has_no_vibration_that_changes_sign_under_its_axis(tmp_path):
    molecule = Molecule(("H", "F"), np.array([[0, 0, 0], [0, 0, 1.7]]), 0, "C2")
    with pytest.raises(BadInput, match="FH has no vibration of irrep B"):
        probe.lowest_modes(molecule, "B", springs(molecule), Harmonic(molecule, springs(molecule)), tmp_path, 5e-3)


def test_an_irrep_without_a_rotation_is_refused_before_anything_is_computed():
    """In Ci all three rotations are even, so nothing tells the noise of odd modes."""
    places = np.array([[0, 0, 0], [1.2, 0.3, 0.1], [-1.2, -0.3, -0.1], [0.4, 1.5, 0.2], [-0.4, -1.5, -0.2]]) * 1.9
    molecule = Molecule(("Fe", *"NNCC"), places, 0, "Ci")
    probe.require_rotation(molecule, "Ag")
    with pytest.raises(BadInput, match="no rotation is of irrep Au in Ci"):
        probe.require_rotation(molecule, "Au")


def test_an_irrep_of_another_group_is_refused(tmp_path):
    with pytest.raises(BadInput, match="C2 has no irrep 'Bu'; choose from A, B"):
        probe.lowest_modes(H2CO, "Bu", springs(H2CO), Harmonic(H2CO, springs(H2CO)), tmp_path, 5e-3)


def test_the_probe_agrees_with_the_full_hessian_of_the_triplet(tmp_path):
    state, settings = State("HS", 3), force_constants.Settings()
    level = Level(basis="sto-3g", grid_level=1)
    solution = electronic.solve(H2CO, level, state)
    surface = settings.surface(level, state, solution.orbitals)
    displaced = displacements.plan_displacements(H2CO, settings.step)
    points = displacements.compute_points(displaced, range(len(displaced)), surface, tmp_path / "full", quiet)
    full = vibrations.normal_modes(H2CO, force_constants.from_points(H2CO, points, settings.step).hessian)
    expected = [w for w, name in zip(full.wavenumbers, full.irreps, strict=True) if name == "B"][0]
    guess = cheap.gfn2_hessian(H2CO, state.multiplicity)
    found = probe.lowest_modes(H2CO, "B", guess, surface, tmp_path / "probe", settings.step, 1, quiet)
    assert expected < -100
    assert found.wavenumbers[0] == pytest.approx(expected, abs=1.0)
    assert found.gradients <= 6  # two of them for the rotations


@pytest.mark.parametrize(("state", "multiplicity", "unstable"), [("HS", 5, True), ("LS", 1, False)])
def test_the_probe_finds_what_the_recorded_hessian_of_the_iron_stand_in_has(tmp_path, state, multiplicity, unstable):
    pytest.importorskip("tblite")
    place = ROOT / f"structures/reference/fe-aai2-ncs2/pbe0_def2-svp/{state}/C2"
    stored, (symbols, _, _) = (
        files.read_arrays(place / "vibrations/hessian.npz"),
        files.read_xyz(place / "optimise/geometry.xyz"),
    )
    molecule = Molecule(symbols, stored["positions"], 0, "C2").symmetrised()
    full = vibrations.normal_modes(molecule, stored["hessian"])
    expected = [w for w, name in zip(full.wavenumbers, full.irreps, strict=True) if name == "B"][:2]
    surface, guess = Harmonic(molecule, stored["hessian"]), cheap.gfn2_hessian(molecule, multiplicity)
    found = probe.lowest_modes(molecule, "B", guess, surface, tmp_path, 5e-3, 2, quiet)
    np.testing.assert_allclose(found.wavenumbers, expected, atol=1.0)
    assert np.all(np.abs(found.wavenumbers - expected) <= found.errors)
    assert (found.wavenumbers[0] < -300) == unstable
    assert surface.calls == found.gradients < len(displacements.plan_displacements(molecule, 5e-3)) / 3
