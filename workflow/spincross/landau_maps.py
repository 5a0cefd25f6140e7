r"""Phase diagrams: all minima of eq. 3 on a plane of temperature and one parameter, every point of it at once.

The stationary points of g(q) are roots of two cubics (see `landau_model`); here the cubics of all points of the plane
are solved together as eigenvalues of their companion matrices. The rules are those of
`LandauModel.stationary_points`: a candidate is a minimum if g falls towards it from both sides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spincross.errors import BadInput
from spincross.landau_model import ETA_BROKEN, Q_MAX, Q_MIN, SAME_PLACE, LandauModel

Array = NDArray[np.float64]

PHASES = ("LS high symmetry", "LS low symmetry", "HS high symmetry", "HS low symmetry")
"""Names of the phases by their index: HS where q >= 0, low symmetry where eta > ETA_BROKEN."""
REAL_TOLERANCE: float = 1e-7
"""Largest imaginary part of a root taken as real, as in `landau_model`."""


@dataclass(frozen=True)
class _Plane(LandauModel):
    """A model whose parameters are arrays (n, 1); they were checked one by one as numbers before."""

    def __post_init__(self) -> None:
        """Pass over the check of single numbers."""


@dataclass(frozen=True)
class PhaseDiagram:
    """The phases over temperature and one parameter.

    Parameters
    ----------
    parameter : its name
    values : (P,)
    temperatures : (T,), K
    q, eta, energy : (P, T) of the stable phase, Landau units
    phase : (P, T) index into PHASES of the stable phase
    minima : (P, T) number of minima; more than one inside a hysteresis
    q_lowest, q_highest : (P, T) outermost minima
    """

    parameter: str
    values: Array
    temperatures: Array
    q: Array
    eta: Array
    energy: Array
    phase: NDArray[np.int_]
    minima: NDArray[np.int_]
    q_lowest: Array
    q_highest: Array

    def rows(self) -> list[dict[str, Any]]:
        """Return one row per point of the plane, for a table."""
        return [
            {
                self.parameter: float(value),
                "temperature_K": float(temperature),
                "phase": PHASES[self.phase[i, j]],
                "minima": int(self.minima[i, j]),
                "q": float(self.q[i, j]),
                "eta": float(self.eta[i, j]),
                "G": float(self.energy[i, j]),
                "q_lowest": float(self.q_lowest[i, j]),
                "q_highest": float(self.q_highest[i, j]),
            }
            for i, value in enumerate(self.values)
            for j, temperature in enumerate(self.temperatures)
        ]


def phase_diagram(
    model: LandauModel, parameter: str, values: Sequence[float] | Array, temperatures: Sequence[float] | Array
) -> PhaseDiagram:
    """Return the phases over temperatures (K) and the values of one parameter of the model.

    Raises
    ------
    BadInput
        for a name that is no parameter, a value that leaves the potential unbounded, or temperatures that are no
        positive numbers
    """
    names = [field.name for field in fields(LandauModel)]
    if parameter not in names:
        raise BadInput(f"{parameter!r} is no Landau parameter; choose one of {', '.join(names)}")
    grid, steps = np.asarray(temperatures, dtype=float), np.asarray(values, dtype=float)
    if grid.ndim != 1 or grid.size == 0 or not (np.isfinite(grid).all() and (grid > 0).all()):
        raise BadInput("a phase diagram needs positive, finite temperatures in kelvin")
    for value in steps.tolist():
        LandauModel(**(asdict(model) | {parameter: value}))
    t, p = (a.ravel() for a in np.meshgrid(grid, steps))
    found = minima_of({**asdict(model), parameter: p}, t)
    shape = steps.size, grid.size
    eta, q = found["eta"], found["q"]
    phase = 2 * (q >= 0).astype(int) + (eta > ETA_BROKEN)
    plane = {name: np.asarray(found[name].reshape(shape)) for name in ("q", "eta", "energy", "q_lowest", "q_highest")}
    return PhaseDiagram(
        parameter, steps, grid, **plane, phase=phase.reshape(shape), minima=found["minima"].reshape(shape)
    )


def minima_of(parameters: dict[str, Any], temperatures: Array) -> dict[str, NDArray[Any]]:
    """Return the stable phase, the number of minima and the outermost ones at every point; all (n,).

    Parameters
    ----------
    parameters : numbers or arrays (n,), the fields of LandauModel
    temperatures : (n,), K
    """
    count = temperatures.size
    columns: dict[str, Any] = {
        k: np.broadcast_to(np.asarray(v, dtype=float), (count,))[:, None] for k, v in parameters.items()
    }
    plane: Any = _Plane(**columns)
    t = temperatures[:, None]
    candidates = _candidates(plane, t)
    valid = np.isfinite(candidates)
    middle = (candidates[:, 1:] + candidates[:, :-1]) / 2.0
    signs = np.sign(plane.slope(t, middle))  # NaN beyond the last candidate of a row
    left = np.hstack([np.full((count, 1), -1.0), signs])
    right = np.hstack([signs, np.full((count, 1), 1.0)])
    right = np.where(np.isfinite(right), right, 1.0)
    is_minimum = valid & (left < 0) & (right > 0)
    energy = np.where(is_minimum, plane.energy_along_q(t, candidates), np.inf)
    rows, best = np.arange(count), energy.argmin(axis=1)
    q = candidates[rows, best]
    return {
        "q": q,
        "eta": plane.eta(t, q[:, None])[:, 0],
        "energy": energy[rows, best],
        "minima": is_minimum.sum(axis=1),
        "q_lowest": np.where(is_minimum, candidates, np.inf).min(axis=1),
        "q_highest": np.where(is_minimum, candidates, -np.inf).max(axis=1),
    }


def _candidates(plane: Any, t: Array) -> Array:
    """Return borders and roots of every point, each once, ascending, NaN behind them; (n, 10)."""
    offset = plane.a0 / 2.0 * (t - plane.T_c)
    symmetric, broken = (cubics[:, 0] for cubics in plane.slope_cubics(t))
    found = [np.full_like(t, Q_MIN), np.full_like(t, Q_MAX), _region_borders(plane, offset)]
    for cubic, sign in ((symmetric, 1.0), (broken, -1.0)):
        roots = cubic_roots(cubic)
        inside = np.where(np.abs(roots) <= 1.0, roots, np.nan)
        found.append(np.where(sign * plane.eta_coefficient(t, inside) >= -1e-12, inside, np.nan))
    ordered = np.sort(np.hstack(found), axis=1)
    # each once: between doubles no sign can be read
    ordered[(np.abs(ordered) > Q_MAX - SAME_PLACE) & (np.abs(ordered) < Q_MAX)] = np.nan
    ordered = np.sort(ordered, axis=1)
    ordered[:, 1:][ordered[:, 1:] - ordered[:, :-1] <= SAME_PLACE] = np.nan
    return np.sort(ordered, axis=1)


def _region_borders(plane: Any, offset: Array) -> Array:
    """Return the two q where w changes sign, NaN where there is none in the range; (n, 2)."""
    with np.errstate(invalid="ignore", divide="ignore"):
        root = np.sqrt(plane.D**2 - 2.0 * plane.E * offset)
        # the form without cancellation: q1 = -(D + sign(D) root)/E, q2 = offset / (E q1 / 2)
        large = -(plane.D + np.where(plane.D < 0, -1.0, 1.0) * root)
        pair = np.hstack([large / plane.E, 2.0 * offset / large])
    return np.where(np.abs(pair) <= 1.0, pair, np.nan)


def cubic_roots(cubics: Array) -> Array:
    """Return the real roots of cubics (n, 4), highest power first, NaN for complex ones; (n, 3).

    A leading coefficient of zero (E^2 = C b in the broken region) is replaced by a part in 1e13 of the largest one: the
    finite roots move by less than their rounding and the new root is far outside the range.
    """
    scale = np.abs(cubics).max(axis=1)
    lead = np.where(np.abs(cubics[:, 0]) > 1e-13 * scale, cubics[:, 0], 1e-13 * np.where(scale > 0, scale, 1.0))
    companion = np.zeros((len(cubics), 3, 3))
    companion[:, 0] = -cubics[:, 1:] / lead[:, None]
    companion[:, [1, 2], [0, 1]] = 1.0
    roots = np.linalg.eigvals(companion)
    real = np.where(np.abs(roots.imag) <= REAL_TOLERANCE, roots.real, np.nan)
    # one Newton step, taken where it lowers the residual
    c3, c2, c1, c0 = (cubics[:, [k]] for k in range(4))
    value = ((c3 * real + c2) * real + c1) * real + c0
    slope = (3.0 * c3 * real + 2.0 * c2) * real + c1
    with np.errstate(invalid="ignore", divide="ignore"):
        moved = real - np.where(slope != 0, value / slope, 0.0)
        better = np.abs(((c3 * moved + c2) * moved + c1) * moved + c0) < np.abs(value)
    return np.asarray(np.where(better, moved, real))
