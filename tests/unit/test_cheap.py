"""The cheap Hessian is the curvature of GFN2's energy, in the group, and never soft enough to mislead an optimiser."""

import sys

import numpy as np
import pytest

from sample_molecules import H2CO
from spincross import cheap, pointgroup
from spincross.errors import NotConverged

tblite = pytest.importorskip("tblite.interface")


@pytest.fixture(scope="module", params=[1, 3])
def found(request):
    return request.param, cheap.gfn2_hessian(H2CO, request.param)


def test_stiff_curvatures_are_second_differences_of_the_energy(found):
    multiplicity, hessian = found
    values, vectors = np.linalg.eigh(hessian)

    def energy(shift):
        calculator = tblite.Calculator("GFN2-xTB", H2CO.numbers, H2CO.positions + shift, uhf=multiplicity - 1)
        calculator.set("verbosity", 0)
        return calculator.singlepoint().get("energy")

    for value, vector in zip(values[-3:], vectors.T[-3:], strict=True):
        step = 0.02 * vector.reshape(-1, 3)
        curvature = (energy(step) - 2 * energy(0 * step) + energy(-step)) / 0.02**2
        assert curvature == pytest.approx(value, rel=2e-3)


def test_it_keeps_the_group_and_has_no_curvature_below_the_floor(found):
    hessian = found[1]
    np.testing.assert_allclose(hessian, hessian.T, atol=1e-12)
    for matrix in pointgroup.representation(H2CO.numbers, H2CO.positions, H2CO.point_group):
        np.testing.assert_allclose(matrix @ hessian @ matrix.T, hessian, atol=1e-10)
    assert np.linalg.eigvalsh(hessian).min() == pytest.approx(cheap.SOFTEST, rel=1e-6)  # rigid motions: nothing below


def test_a_kink_is_told_from_a_saddle_by_a_longer_step():
    """Along x a bond with a kink as GFN2 has one for iron, along y a saddle, along z a soft mode."""
    depth, width = 0.08, 0.02

    def gradient(shift):
        kink = -2 * depth * shift[0] / width * np.exp(-((shift[0] / width) ** 2))
        return np.array([0.36, -0.05, 1e-5]) * shift + np.array([kink, 0.0, 0.0])

    narrow = np.diag([0.36 - 2 * depth / width, -0.05, 1e-5])
    turned = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    found = cheap.upright(turned @ narrow @ turned.T, lambda shift: turned @ gradient(turned.T @ shift))
    np.testing.assert_allclose(turned.T @ found @ turned, np.diag([0.36, 0.05, cheap.SOFTEST]), atol=1e-9)


def test_the_multiplicity_is_heeded():
    assert np.abs(cheap.gfn2_hessian(H2CO, 1) - cheap.gfn2_hessian(H2CO, 3)).max() > 0.05


def test_without_tblite_or_its_convergence_there_is_none(monkeypatch):
    def fails(calculator, result):
        raise RuntimeError("SCF not converged in 250 cycles")

    with monkeypatch.context() as patch:
        patch.setattr(tblite.Calculator, "singlepoint", fails)
        with pytest.raises(NotConverged, match="250 cycles"):
            cheap.gfn2_hessian(H2CO, 1)
    monkeypatch.setitem(sys.modules, "tblite.interface", None)
    with pytest.raises(NotConverged, match="tblite is not installed"):
        cheap.gfn2_hessian(H2CO, 1)
