"""Normal modes, sum rules, and two routes to a Hessian."""

from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.vibrations.data import VibrationsData

from spincross import electronic, vibrations
from spincross.electronic import Level, State
from spincross.errors import BadInput, StaleData
from spincross.molecule import Molecule
from spincross.units import ANGSTROM_TO_BOHR, BOHR_TO_ANGSTROM, HARTREE_TO_PER_CM

PLACES = np.array([[0, 0, 0], [0, 0, 1.2], [0.94, 0.2, -0.57], [-0.94, -0.2, -0.57]]) * ANGSTROM_TO_BOHR
H2CO = Molecule(("C", "O", "H", "H"), PLACES, 0, "C2")
TWISTED = np.array([[0.73, 0, 0], [-0.73, 0, 0], [0.9, 0.85, 0.5], [-0.9, -0.85, 0.5]]) * ANGSTROM_TO_BOHR
PEROXIDE = Molecule(("O", "O", "H", "H"), TWISTED, 0, "C2")
"""Not planar: springs along the pairs of a planar molecule do not hold its atoms in the plane."""


def springs(molecule, stiffness=0.3):
    """Return the Hessian of springs along every pair: exact sum rules for translations and rotations."""
    count = len(molecule.symbols)
    hessian = np.zeros((count, 3, count, 3))
    for i in range(count):
        for j in range(i):
            unit = molecule.positions[i] - molecule.positions[j]
            block = stiffness * np.outer(unit, unit) / (unit @ unit)
            for a, b, sign in ((i, i, 1), (j, j, 1), (i, j, -1), (j, i, -1)):
                hessian[a, :, b] += sign * block
    return hessian.reshape(3 * count, 3 * count)


def test_a_diatomic_vibrates_at_the_root_of_k_over_mu():
    molecule = Molecule(("H", "H"), np.array([[0, 0, 0], [0, 0, 1.4]]))
    found = vibrations.normal_modes(molecule, springs(molecule, 0.37))
    reduced = molecule.masses[0] / 2 * 1822.888486
    assert found.wavenumbers == pytest.approx([np.sqrt(0.37 / reduced) * HARTREE_TO_PER_CM], rel=1e-8)


def test_wavenumbers_equal_those_of_ase():
    hessian = springs(PEROXIDE)
    ours = vibrations.normal_modes(PEROXIDE, hessian).wavenumbers
    atoms = Atoms(PEROXIDE.symbols, PEROXIDE.positions * BOHR_TO_ANGSTROM, masses=PEROXIDE.masses)
    in_ev = hessian * 27.211386245981 / BOHR_TO_ANGSTROM**2
    theirs = VibrationsData.from_2d(atoms, in_ev).get_frequencies().real[6:]
    np.testing.assert_allclose(ours, np.sort(theirs), rtol=1e-6)


def test_modes_of_irrep_b_change_sign_under_c2():
    found = vibrations.normal_modes(PEROXIDE, springs(PEROXIDE))
    for mode, irrep in zip(found.modes.T.reshape(-1, 4, 3), found.irreps, strict=True):
        turned = (mode @ np.diag([-1, -1, 1]))[[1, 0, 3, 2]]
        np.testing.assert_allclose(turned, mode if irrep == "A" else -mode, atol=1e-10)
    assert sorted(found.irreps) == list("AAAABB")


def test_an_imaginary_mode_is_a_negative_number_and_is_kept():
    hessian = springs(PEROXIDE)
    base = vibrations.normal_modes(PEROXIDE, hessian)
    weights = np.sqrt(np.repeat(PEROXIDE.masses, 3) * 1822.888486)
    soft = base.modes[:, 0] * weights
    flipped = vibrations.normal_modes(
        PEROXIDE, hessian - 2 * (base.wavenumbers[0] / HARTREE_TO_PER_CM) ** 2 * np.outer(soft, soft)
    )
    assert flipped.wavenumbers[0] == pytest.approx(-base.wavenumbers[0], rel=1e-5)
    assert len(flipped.wavenumbers) == 6
    assert flipped.imaginary == [0]


def test_the_noise_floor_is_what_a_broken_sum_rule_gives_a_translation():
    clean = vibrations.normal_modes(PEROXIDE, springs(PEROXIDE))
    broken = vibrations.normal_modes(PEROXIDE, springs(PEROXIDE) + 1e-4 * np.eye(12))
    assert clean.noise_floor < 1e-2
    expected = np.sqrt(1e-4 * 4 / (PEROXIDE.masses.sum() * 1822.888486)) * HARTREE_TO_PER_CM
    assert broken.noise_floor >= 0.9 * expected
    assert broken.translation_residual == pytest.approx(5e-5, rel=1e-6)


def test_rebuilt_diagonal_blocks_fulfil_the_sum_rule():
    rng = np.random.default_rng(0)
    rebuilt = vibrations.rebuilt_diagonal(rng.normal(size=(12, 12)))
    symmetric = rebuilt.reshape(4, 3, 4, 3)
    blocks = symmetric.sum(axis=2)
    np.testing.assert_allclose(blocks + blocks.transpose(0, 2, 1), 0, atol=1e-12)


def test_c2_halves_the_displacements_of_a_79_atom_complex_to_238():
    rng = np.random.default_rng(0)
    half = rng.uniform(-12, 12, size=(39, 3))
    turned = half @ np.diag([-1.0, -1.0, 1.0])
    molecule = Molecule(("Fe", *["C"] * 78), np.vstack([[[0, 0, 0]], half, turned]), 0, "C2")
    assert len(vibrations.plan_displacements(molecule, 5e-3)) == 238


def test_finite_differences_of_a_harmonic_surface_return_its_hessian():
    hessian = springs(H2CO)
    displaced = vibrations.plan_displacements(H2CO, 5e-3)
    gradients = [(hessian @ (m.positions - H2CO.positions).reshape(-1)).reshape(-1, 3) for m in displaced]
    found, residual = vibrations.hessian_from_gradients(H2CO, gradients, 5e-3)
    assert len(displaced) < 24
    np.testing.assert_allclose(found, hessian, atol=1e-9)
    assert residual < 1e-9


@pytest.fixture(scope="module", params=[1, 3])
def routes(request, tmp_path_factory):
    level = Level(grid_level=1)
    state = State("x", request.param)
    guess = electronic.solve(H2CO, level, state).orbitals
    folder = tmp_path_factory.mktemp("routes")
    settings = vibrations.Settings(response_grid_level=1)
    hessians = {
        method: vibrations.compute_hessian(
            H2CO, level, state, guess, replace(settings, method=method), folder, lambda text: None
        )
        for method in ("analytic", "finite differences")
    }
    return hessians, (level, state, guess, settings, folder)


def test_both_routes_agree_within_2_per_cm_in_every_mode(routes):
    first, second = (vibrations.normal_modes(H2CO, hessian) for hessian, _ in routes[0].values())
    assert first.irreps == second.irreps
    np.testing.assert_allclose(first.wavenumbers, second.wavenumbers, atol=2.0)


def test_finite_differences_fulfil_the_sum_rule_and_the_analytic_route_does_not(routes):
    assert routes[0]["finite differences"][1] < 1e-9
    assert routes[0]["analytic"][1] > 1e-6


def test_stored_gradients_are_not_repeated_and_stale_ones_are_refused(routes):
    level, state, guess, settings, folder = routes[1]
    lines = []
    tight = level.tightened(settings.scf_energy_tolerance, settings.scf_gradient_tolerance)
    vibrations.finite_difference_hessian(H2CO, tight, state, guess, settings, folder, lines.append)
    assert all("  0 cycles" in line for line in lines)
    with pytest.raises(StaleData, match="another geometry"):
        vibrations.finite_difference_hessian(
            H2CO, tight, state, guess, replace(settings, step=4e-3), folder, lines.append
        )


def test_an_unknown_method_is_refused(tmp_path):
    with pytest.raises(BadInput, match="magic"):
        vibrations.compute_hessian(H2CO, Level(), State("LS", 1), None, vibrations.Settings(method="magic"), tmp_path)


def test_a_hessian_of_another_geometry_is_refused():
    with pytest.raises(StaleData, match="differs"):
        vibrations.check_geometry({"positions": H2CO.positions + 1e-3}, H2CO, "hessian.npz")


def test_molden_text_lists_every_mode():
    found = vibrations.normal_modes(H2CO, springs(H2CO))
    assert vibrations.molden_text(H2CO, found).count("vibration") == 6
