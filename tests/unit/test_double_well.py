"""Levels in a double well: known numbers, a second route, the limits of a deep and of a shallow well."""

import numpy as np
import pytest
from scipy.linalg import eigh_tridiagonal

from spincross.double_well import levels, quartic_levels
from spincross.errors import BadInput
from spincross.symmetry_mode import well_wavenumber
from spincross.units import AMU_TO_ELECTRON_MASS, ANGSTROM_TO_BOHR, HARTREE_TO_KJ_PER_MOL, PER_CM_TO_KJ_PER_MOL


def test_the_quartic_oscillator_has_its_known_levels():
    """P^2 + x^4 has 1.0603620905, 3.7996730298 (C. M. Bender, S. A. Orszag 1978); scaled to P^2/2 + Q^4."""
    assert quartic_levels(0.0, 2) == pytest.approx(np.array([1.0603620905, 3.7996730298]) / 2 ** (2 / 3), abs=1e-9)


def test_a_very_wide_single_well_has_the_levels_of_the_harmonic_oscillator():
    """To first order in the quartic term: n + 1/2 + (3/4) (2n^2 + 2n + 1) / w^3 in units of w^2 = 2a."""
    square = 200.0
    w = np.sqrt(2 * square)
    n = np.arange(3)
    assert quartic_levels(square, 3) == pytest.approx(w * (n + 0.5) + 0.75 * (2 * n**2 + 2 * n + 1) / w**2, abs=1e-3)


@pytest.mark.parametrize(("place", "depth"), [(0.12, 0.016), (0.4, 0.6), (1.0, 12.0)])
def test_finite_differences_on_a_fine_grid_give_the_same_levels(place, depth):
    unit = ANGSTROM_TO_BOHR * np.sqrt(AMU_TO_ELECTRON_MASS)
    q = np.linspace(-3.0, 3.0, 40001) * max(place, 0.5) * unit
    step, x = q[1] - q[0], q / (place * unit)
    well = depth / HARTREE_TO_KJ_PER_MOL * (x**4 - 2 * x**2)
    expected = eigh_tridiagonal(
        1 / step**2 + well, np.full(q.size - 1, -0.5 / step**2), select="i", select_range=(0, 3), eigvals_only=True
    )
    assert levels(place, depth, 4) == pytest.approx(expected * HARTREE_TO_KJ_PER_MOL, abs=1e-4)


def test_in_a_deep_well_both_lowest_levels_lie_half_a_quantum_above_its_bottom():
    """The quantum is that of the well's bottom, sqrt 2 times the imaginary one at its top."""
    quantum = np.sqrt(2.0) * well_wavenumber(1.0, 40.0) * PER_CM_TO_KJ_PER_MOL
    low, high = levels(1.0, 40.0)
    assert low == pytest.approx(-40.0 + quantum / 2, abs=0.02 * quantum)
    assert 0.0 <= high - low < 1e-6


def test_above_a_shallow_barrier_the_molecule_is_on_neither_side():
    low, high = levels(0.12, 0.016)
    assert 0.0 < low < high


@pytest.mark.parametrize(("place", "depth"), [(0.0, 1.0), (1.0, -1.0)])
def test_no_well_is_refused(place, depth):
    with pytest.raises(BadInput, match="double well"):
        levels(place, depth)
