r"""Branches of the Landau model on heating and cooling, and the temperatures where they end or cross.

A branch follows one minimum of g(q) (see `landau_model`) as T changes; when the minimum is gone the system slides
downhill to the next one. It is gone when the barrier in front of it is gone: the largest slope g' between the old
minimum and the steepest place beyond it falls to zero (heating; for cooling the signs turn round). That largest slope
is continuous in T and is found exactly, since g' is piecewise cubic, so the end of a branch (spinodal) is a plain root
in T. It covers a fold (g' = g'' = 0), an end at a region border (the paper's T_up) and an end at q = -1 or 1 alike.

Where q moves by more than Q_STEP the step in T is halved down to SMALLEST_STEP, so that jumps with a hysteresis far
narrower than the step are found. Changes of q below Q_STEP are not told from gradual ones.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from spincross.errors import BadInput
from spincross.landau_model import Q_MAX, Q_MIN, LandauModel, StationaryPoint

Array = NDArray[np.float64]

TEMPERATURE_STEP: float = 0.25
"""Largest step in T with which a branch is followed, K."""
SEARCH_STEP: float = 1.0
"""Step in T with which spinodals are bracketed, K."""
Q_STEP: float = 0.02
"""Change of q above which a step in T is halved."""
SMALLEST_STEP: float = 1e-7
"""Smallest halved step in T, K."""
RELATIVE_TOLERANCE: float = 1e-13
"""Tolerance of root finding in T."""


@dataclass(frozen=True)
class Jump:
    """The end of a branch: the last point on it and the first point after it, at one temperature.

    Parameters
    ----------
    temperature : spinodal, K
    before, after : (q, eta)
    """

    temperature: float
    before: tuple[float, float]
    after: tuple[float, float]


@dataclass(frozen=True)
class Branch:
    """One branch; arrays (N,), ascending in T, and its jumps in the order they are met."""

    temperatures: Array
    q: Array
    eta: Array
    energy: Array
    jumps: tuple[Jump, ...]

    @property
    def main_jump(self) -> Jump | None:
        """The jump with the largest change of q; None for a gradual curve."""
        return max(self.jumps, key=lambda j: abs(j.after[0] - j.before[0]), default=None)


def checked_temperatures(temperatures: Sequence[float] | Array) -> Array:
    """Return temperatures (N,), K; BadInput unless positive, finite and ascending, at least two."""
    grid = np.asarray(temperatures, dtype=float)
    if (
        grid.ndim != 1
        or grid.size < 2
        or not np.isfinite(grid).all()
        or (grid <= 0).any()
        or (np.diff(grid) <= 0).any()
    ):
        raise BadInput("Landau temperatures must be at least two positive, finite, ascending numbers of kelvin")
    return grid


def settled(
    model: LandauModel, temperature: float, q: float, points: list[StationaryPoint] | None = None
) -> StationaryPoint:
    """Return the minimum reached from q by sliding downhill at T (`points`: the stationary points there, if known)."""
    minima = [p for p in points or model.stationary_points(temperature) if p.kind != "unstable"]
    downhill = -float(np.sign(model.slope(temperature, q)))
    ahead = [m for m in minima if downhill * (m.q - q) >= 0] if downhill else []
    return min(ahead or minima, key=lambda m: abs(m.q - q))


def follow(
    model: LandauModel, temperatures: Sequence[float] | Array, heating: bool, step: float = TEMPERATURE_STEP
) -> Branch:
    """Follow a branch from the lowest (heating) or highest temperature, where the deepest minimum is taken.

    Parameters
    ----------
    temperatures : ascending, K
    heating : direction
    step : the path between the temperatures is refined to this, K
    """
    grid = checked_temperatures(temperatures)
    path, wanted = _refined(grid, step)
    if not heating:
        path, wanted = path[::-1], wanted[::-1]
    point = min(model.minima(float(path[0])), key=lambda m: m.energy)
    walk = _Walk(model, float(path[0]), point)
    points = [point, *(walk.to(t) for t in path[1:].tolist())]
    kept = [p for p, keep in zip(points, wanted, strict=True) if keep]
    kept = kept if heating else kept[::-1]
    values = np.array([(p.q, p.eta, p.energy) for p in kept])
    return Branch(grid, values[:, 0], values[:, 1], values[:, 2], tuple(walk.jumps))


class _Walk:
    """A point that follows its minimum from temperature to temperature and keeps the jumps it met."""

    def __init__(self, model: LandauModel, temperature: float, point: StationaryPoint) -> None:
        """Begin at a minimum."""
        self.model, self.temperature, self.point = model, temperature, point
        self.known = model.stationary_points(temperature)
        self.jumps: list[Jump] = []

    def to(self, temperature: float) -> StationaryPoint:
        """Go to another temperature, in halved steps where q moves fast; return the minimum there."""
        stationary = self.model.stationary_points(temperature)
        here = settled(self.model, temperature, self.point.q, stationary)
        stood = _barrier_stood(self.known, self.point.q, here.q)
        narrow = abs(temperature - self.temperature) < SMALLEST_STEP
        if not stood and not narrow and abs(here.q - self.point.q) > Q_STEP:
            self.to((self.temperature + temperature) / 2.0)
            return self.to(temperature)
        if stood:
            self.jumps.append(_jump_between(self.model, self.temperature, temperature, self.point, here))
        self.temperature, self.point, self.known = temperature, here, stationary
        return here


def _refined(grid: Array, step: float) -> tuple[Array, NDArray[np.bool_]]:
    """Return the grid with steps of at most `step`, and which of the points were asked for."""
    path, wanted = [grid[:1]], [True]
    for low, high in itertools.pairwise(grid):
        count = max(1, int(np.ceil((high - low) / step)))
        path.append(np.linspace(low, high, count + 1)[1:])
        wanted += [False] * (count - 1) + [True]
    return np.concatenate(path), np.array(wanted)


def _barrier_stood(points: list[StationaryPoint], before: float, after: float) -> bool:
    """Tell whether a saddle lay between two values of q: without one the minimum has only moved."""
    low, high = sorted((before, after))
    return any(p.kind == "unstable" and low < p.q < high for p in points)


def _jump_between(
    model: LandauModel, start: float, end: float, before: StationaryPoint, after: StationaryPoint
) -> Jump:
    """Return the jump between two neighbouring temperatures of a path.

    At `start` the largest slope on the way is positive (a barrier), at `end` the way is downhill all along.
    """
    side = 1.0 if after.q > before.q else -1.0
    near, far = before.q, _steepest(model, end, before.q, after.q, -side)

    def barrier_slope(temperature: float) -> float:
        """Return the largest slope against the way of the jump at a temperature, K: zero where the barrier vanishes."""
        place = _steepest(model, temperature, near, far, side)
        return side * float(model.slope(temperature, place))

    root = float(brentq(barrier_slope, start, end, xtol=RELATIVE_TOLERANCE * start, rtol=RELATIVE_TOLERANCE))
    q = _steepest(model, root, near, far, side)
    landing = settled(model, root, far)
    return Jump(root, (q, float(model.eta(root, q))), (landing.q, landing.eta))


def _steepest(model: LandauModel, temperature: float, first: float, last: float, side: float) -> float:
    """Return the q between two values where side * g' is largest, exactly."""
    low, high = sorted((first, last))
    places = [np.array([low, high]), model.region_borders(temperature)]
    places += [_real(np.roots(np.polyder(cubic))) for cubic in model.slope_cubics(temperature)]
    candidates = np.concatenate(places)
    candidates = candidates[(candidates >= low) & (candidates <= high)]
    return float(candidates[np.argmax(side * model.slope(temperature, candidates))])


def _real(roots: NDArray[Any]) -> Array:
    """Return the real roots."""
    return np.asarray(roots[np.abs(roots.imag) < 1e-12].real, dtype=float)


def search_grid(model: LandauModel) -> Array:
    """Return the two ends of the range searched for spinodals: 1 K and twice T_SC."""
    return np.array([min(1.0, model.T_SC / 2.0), 2.0 * model.T_SC])


def spinodals(model: LandauModel) -> tuple[Jump | None, Jump | None]:
    """Return the main jumps on heating (T_up) and cooling (T_down) between 1 K and 2 T_SC; None where there is none."""
    heating, cooling = _paths(model)
    return heating.main_jump, cooling.main_jump


@lru_cache(maxsize=8)
def _paths(model: LandauModel) -> tuple[Branch, Branch]:
    """Return the paths on heating and cooling over the range searched for spinodals."""
    heating, cooling = (follow(model, search_grid(model), h, step=SEARCH_STEP) for h in (True, False))
    return heating, cooling


def one_hysteresis(model: LandauModel, up: Jump | None, down: Jump | None) -> bool:
    """Tell whether the main jumps are the two ends of one hysteresis: neither path jumps elsewhere between them."""
    if up is None or down is None or down.temperature >= up.temperature:
        return False
    jumps = [jump for path in _paths(model) for jump in path.jumps]
    return not any(down.temperature < jump.temperature < up.temperature for jump in jumps)


def equal_energy_temperature(model: LandauModel, up: Jump | None, down: Jump | None) -> float | None:
    """Return the T between the spinodals where the outermost minima have one energy, K; None without a hysteresis."""
    if up is None or down is None or down.temperature >= up.temperature:
        return None

    def difference(temperature: float) -> float:
        """Return the energy of the outermost minimum at high q minus that at low q, at a temperature in K."""
        minima = model.minima(temperature)
        return minima[-1].energy - minima[0].energy

    margin = 1e-9 * up.temperature
    low, high = down.temperature + margin, up.temperature - margin
    if difference(low) * difference(high) > 0:
        return None
    return float(brentq(difference, low, high, xtol=1e-12 * high, rtol=RELATIVE_TOLERANCE))


def border_release(model: LandauModel, q: float) -> float | None:
    """Return the T where g' vanishes at q = -1 or q = 1, K: beyond it the border holds the minimum no more.

    g'(q) at fixed q is linear in T on either side of w = 0, so both lines are solved and the one on its own side taken.
    """
    if q not in (Q_MIN, Q_MAX):
        raise BadInput(f"the borders are q = -1 and q = 1, found {q}")
    for broken in (False, True):
        values = [float(np.polyval(model.slope_cubics(t)[broken], q)) for t in (0.0, 1.0)]
        if values[0] == values[1]:
            continue
        root = values[0] / (values[0] - values[1])
        w = float(model.eta_coefficient(root, q))
        if root > 0 and (w < 0) == broken:
            return root
    return None
