"""Levels on the curve of a scan: known numbers, a second route, both limits of a double well, a scan too short."""

import numpy as np
import pytest
from scipy.linalg import eigh_tridiagonal

from spincross.double_well import levels, lowest
from spincross.symmetry_mode import well_wavenumber
from spincross.units import (
    AMU_TO_ELECTRON_MASS,
    ANGSTROM_TO_BOHR,
    HARTREE_TO_KJ_PER_MOL,
    HARTREE_TO_PER_CM,
    PER_CM_TO_KJ_PER_MOL,
)

UNIT = ANGSTROM_TO_BOHR * np.sqrt(AMU_TO_ELECTRON_MASS)


def quartic(q, place, depth):
    """Return a double well, Eh; place and q in amu^1/2 angstrom, depth in kJ/mol."""
    x = q / place
    return depth / HARTREE_TO_KJ_PER_MOL * (x**4 - 2 * x**2)


def scanned(place, depth, farthest, points=5):
    """Return a scan of it, both sides."""
    q = np.linspace(-farthest, farthest, 2 * points + 1)
    return q, quartic(q, place, depth)


def test_the_quartic_oscillator_has_its_known_levels():
    """P^2 + x^4 has 1.0603620905, 3.7996730298 (C. M. Bender, S. A. Orszag 1978); scaled to P^2/2 + Q^4."""
    found = lowest(6.0, lambda q: q**4, 2)
    assert found == pytest.approx(np.array([1.0603620905, 3.7996730298]) / 2 ** (2 / 3), abs=1e-9)


def test_a_parabola_has_the_levels_of_the_harmonic_oscillator():
    q = np.linspace(-2.0, 2.0, 11)
    force = (100.0 / HARTREE_TO_PER_CM) ** 2 * UNIT**2
    assert levels(q, force * q**2 / 2, 3) == pytest.approx(100.0 * np.array([0.5, 1.5, 2.5]), abs=1e-4)


@pytest.mark.parametrize(("place", "depth", "farthest"), [(0.12, 0.016, 0.9), (0.4, 0.6, 1.5), (1.0, 12.0, 2.0)])
def test_finite_differences_on_a_fine_grid_give_the_same_levels(place, depth, farthest):
    q = np.linspace(-2.0 * farthest, 2.0 * farthest, 40001) * UNIT
    step = q[1] - q[0]
    diagonal, beside = 1 / step**2 + quartic(q / UNIT, place, depth), np.full(q.size - 1, -0.5 / step**2)
    expected = eigh_tridiagonal(diagonal, beside, select="i", select_range=(0, 1), eigvals_only=True)
    assert levels(*scanned(place, depth, farthest)) == pytest.approx(expected * HARTREE_TO_PER_CM, abs=0.5)


def test_in_a_deep_well_both_lowest_levels_lie_half_a_quantum_above_its_bottom():
    """The quantum is that of the well's bottom, sqrt 2 times the imaginary one at its top."""
    quantum = np.sqrt(2.0) * well_wavenumber(1.0, 40.0)
    low, high = levels(*scanned(1.0, 40.0, 2.0))
    assert low == pytest.approx(-40.0 / PER_CM_TO_KJ_PER_MOL + quantum / 2, abs=0.02 * quantum)
    assert 0.0 <= high - low < 1e-3


def test_above_a_shallow_barrier_the_molecule_is_on_neither_side():
    low, high = levels(*scanned(0.12, 0.016, 0.9))
    assert 0.0 < low < high


@pytest.mark.parametrize("scan", [scanned(0.12, 0.016, 0.25), scanned(1.0, 12.0, 2.0, points=2)])
def test_a_scan_that_is_too_short_or_too_sparse_gives_none(scan):
    assert levels(*scan) is None
