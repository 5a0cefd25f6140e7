r"""Landau parameters from measured branches, by least squares with uncertainties.

q(T) does not change when G is multiplied by a number, and eta(T) only by its unit: so a1 and b are given, never fitted,
and measured amplitudes have a free scale (eta = scale times amplitude) unless they are given as `eta`. The residuals
are smooth in the parameters although the branches jump: points on the low-spin side of a jump are compared with the
low-spin minimum (eta = 0, eq. 2), those on the other side with the high-spin one, and each measured jump, between two
points, adds one residual: the largest slope of the valley g'(q) in front of the phase that ends, divided by a1, which
is zero at a spinodal and near it is the distance to it in kelvin.

Uncertainties: square roots of the diagonal of the inverse of :math:`J^T J`, residuals in units of their standard
deviation, which is taken from a first fit with equal weights (each kind of data on its own).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from spincross.errors import BadInput, NotConverged
from spincross.landau_branches import follow, search_grid, spinodals
from spincross.landau_data import Table, order_parameter, product_of
from spincross.landau_maps import cubic_roots
from spincross.landau_model import Q_MAX, Q_MIN, LandauModel

Array = NDArray[np.float64]
Json = dict[str, Any]

FREE = ("T_SC", "C", "D")
"""Parameters fitted unless others are asked for; D and E together follow from eta in Landau units only."""
JUMP_IN_Q: float = 0.5
"""Smallest change of q between neighbouring points that counts as a jump."""
MISSED_Q: float = 0.1
"""Standard deviation about the fit, in q, from which it is said to miss the data."""
MISSED_KELVIN: float = 3.0
"""Distance of a jump of the fitted model from the measured one, beyond half the step of the table, that is said."""
SINGULAR: float = 1e-7
"""Smallest ratio of singular values of J at which the parameters are determined."""
DENSE = np.linspace(Q_MIN, Q_MAX, 801)
"""Grid on which the slope of the valley is searched."""


@dataclass(frozen=True)
class _Jump:
    """One measured jump: its branch, middle and standard deviation (K), and the q before and after in the table."""

    heating: bool
    temperature: float
    deviation: float


def fit(start: LandauModel, table: Table, free: Sequence[str] = FREE, low: float | None = None,
        high: float | None = None) -> Json:  # fmt: skip
    """Return fitted parameters with uncertainties.

    Parameters
    ----------
    start : first guess; what is not free keeps its value
    table : data
    free : names of fitted parameters
    low, high : chi_M T of pure LS and HS, cm3 K/mol; fitted too where None and the table has chi_M T

    Raises
    ------
    BadInput
        for names that cannot be fitted, no jump in the data, or parameters that the data do not determine
    NotConverged
    """
    problem = _Problem(start, table, _checked(free), low, high)
    first = _solve(problem, problem.guess, {})
    weights = problem.deviations(first.x)
    final = _solve(problem, first.x, weights)
    values, errors = final.x, _errors(final.jac, problem.names)
    model = problem.model(values)
    named = dict(zip(problem.names, values.tolist(), strict=True))
    missed = _missed(model, problem, named, weights)
    return {
        "free": list(free),
        "parameters": asdict(model),
        "uncertainties": dict(zip(problem.names, errors.tolist(), strict=True)),
        "values": named,
        "given": {n: v for n, v in problem.given.items() if v is not None},
        "chi_squared": float(final.fun @ final.fun),
        "points": int(final.fun.size),
        "standard_deviations": weights,
        "jumps": [{"branch": "heating" if j.heating else "cooling", "temperature_K": j.temperature,
                   "deviation_K": j.deviation} for j in problem.jumps],
        "text": [f"{n} = {named[n]:.6g} +- {e:.2g}" for n, e in zip(problem.names, errors, strict=True)] + missed,
        "warnings": missed,
    }  # fmt: skip


def _missed(model: LandauModel, problem: _Problem, named: dict[str, float], weights: dict[str, float]) -> list[str]:
    """Say where the fitted model does not describe the data: their uncertainties then mean nothing."""
    found, table = [], problem.table
    if table.spin is not None:
        half = 1.0
        if table.spin_column != "q":
            ends = [float(named.get(n, problem.given[n]) or 0.0) for n in ("chi_T_LS", "chi_T_HS")]
            half = (ends[1] - ends[0]) / 2.0
        if weights["spin"] / abs(half) > MISSED_Q:
            deviation = weights["spin"] / abs(half)
            found.append(f"the data lie {deviation:.2f} in q off the fit (more than {MISSED_Q:g})")
    for jump, own in [(j, spinodals(model)[0 if j.heating else 1]) for j in problem.jumps]:
        branch = "heating" if jump.heating else "cooling"
        if own is None:
            found.append(f"the fitted model has no jump on {branch}, measured at {jump.temperature:.1f} K")
        elif abs(own.temperature - jump.temperature) > MISSED_KELVIN + jump.deviation * np.sqrt(3.0):
            places = f"{own.temperature:.1f} K, measured at {jump.temperature:.1f} K"
            found.append(f"the fitted model jumps on {branch} at {places}")
    text = "warning: {}; the uncertainties do not hold: start nearer to the transition or fit other parameters"
    return [text.format(item) for item in found]


def curves(found: Json, table: Table) -> list[dict[str, Any]]:
    """Return the rows of fit.tsv: what was measured, in q and eta, beside the fitted model's branches."""
    model, own = LandauModel(**found["parameters"]), found["values"] | found["given"]
    q = eta = None
    if table.spin is not None:
        q = table.spin
        if table.spin_column != "q":
            q = order_parameter(q, own["chi_T_LS"], own["chi_T_HS"])
    if table.breaking is not None:
        eta = own.get("eta_scale", 1.0) * table.breaking
    rows = []
    for heating in (True, False):
        order = table.branch(heating)
        if order.size == 0:
            continue
        own = table.temperatures[order]
        before = search_grid(model)[[0]] if heating else search_grid(model)[[1]]  # where one phase alone is stable
        first = before[before < own[0]] if heating else before[before > own[-1]]
        grid = np.concatenate([first, own]) if heating else np.concatenate([own, first])
        branch = follow(model, grid, heating)
        for k, at in enumerate(order.tolist(), first.size if heating else 0):
            rows.append(
                {
                    "branch": "heating" if heating else "cooling",
                    "temperature_K": float(table.temperatures[at]),
                    "q_measured": "" if q is None else float(q[at]),
                    "q": float(branch.q[k]),
                    "eta_measured": "" if eta is None else float(eta[at]),
                    "eta": float(branch.eta[k]),
                }
            )
    return rows


def _checked(free: Sequence[str]) -> tuple[str, ...]:
    """Return the names; BadInput for one that cannot be fitted."""
    names = [f.name for f in fields(LandauModel) if f.name not in ("a1", "b")]
    for name in free:
        if name not in names:
            raise BadInput(
                f"{name!r} cannot be fitted; a1 and b set the units of G and eta; choose of {', '.join(names)}"
            )
    if not free:
        raise BadInput(f"no parameter is free; choose of {', '.join(names)}")
    return tuple(free)


class _Problem:
    """Data, free numbers and residuals of one fit."""

    def __init__(
        self, start: LandauModel, table: Table, free: tuple[str, ...], low: float | None, high: float | None
    ) -> None:
        """Find the jumps of the table and the first guess."""
        self.start, self.table, self.free = start, table, free
        self.given = {"chi_T_LS": low, "chi_T_HS": high}
        self.jumps, self.is_high = _phases(table)
        _ascending(start, table.temperatures)
        names, guess = list(free), [float(getattr(start, name)) for name in free]
        if table.spin_column == "chi_T_cm3_K_per_mol" and table.spin is not None:
            ends = {"chi_T_LS": float(table.spin.min()), "chi_T_HS": float(table.spin.max())}
            names += [n for n in ends if self.given[n] is None]
            guess += [v for n, v in ends.items() if self.given[n] is None]
        if table.breaking is not None and table.breaking_column != "eta":
            largest = float(table.breaking.max())
            if largest <= 0:
                raise BadInput(f"{table.breaking_column} is zero everywhere, so symmetry is never broken in the table")
            names.append("eta_scale")
            eta = float(start.eta(float(table.temperatures.max()), Q_MAX))
            if eta == 0:
                raise BadInput(
                    "the Landau parameters to start from do not break the symmetry at q = 1 (D + E/2 >= 0), so the "
                    f"scale of {table.breaking_column} cannot be guessed; start from D < 0"
                )
            guess.append(eta / largest)
        self.names, self.guess = names, np.array(guess)

    def model(self, values: Array) -> LandauModel:
        """Return the model at the fitted numbers."""
        own = dict(zip(self.names, values.tolist(), strict=True))
        return LandauModel(**(asdict(self.start) | {name: own[name] for name in self.free}))

    def parts(self, values: Array) -> dict[str, Array]:
        """Return the residuals by kind: spin (cm3 K/mol or units of q), eta, jumps (in standard deviations)."""
        model, own = self.model(values), dict(zip(self.names, values.tolist(), strict=True))
        t = self.table.temperatures
        q = np.where(self.is_high, high_spin(model, t), low_spin(model, t))
        found: dict[str, Array] = {}
        if self.table.spin is not None:
            predicted = q
            if self.table.spin_column == "chi_T_cm3_K_per_mol":
                ends = [own.get(n, self.given[n]) for n in ("chi_T_LS", "chi_T_HS")]
                predicted = product_of(q, *[float(e) for e in ends if e is not None])
            found["spin"] = self.table.spin - predicted
        if self.table.breaking is not None:
            eta = np.where(self.is_high, _eta(model, t, q), 0.0)
            # the scale stands on the model's side: otherwise a vanishing scale would fit everything
            found["eta"] = self.table.breaking - eta / own.get("eta_scale", 1.0)
        found["jumps"] = np.array([_distance(model, j) / j.deviation for j in self.jumps])
        return found

    def deviations(self, values: Array) -> dict[str, float]:
        """Return the standard deviation of each kind of data about a fit (degrees of freedom shared out)."""
        parts = {k: v for k, v in self.parts(values).items() if k != "jumps" and v.size}
        count = sum(v.size for v in parts.values())
        factor = count / max(count - len(self.names), 1)
        return {k: max(float(np.sqrt(factor * (v**2).mean())), 1e-9) for k, v in parts.items()}


def _solve(problem: _Problem, guess: Array, weights: dict[str, float]) -> Any:
    """Return scipy's least-squares result; residuals are divided by the weights of their kind."""

    def residuals(scaled: Array) -> Array:
        """Return all weighted residuals (size,) of parameters in units of their guesses."""
        try:
            parts = problem.parts(scaled * scale)
        except BadInput:  # a step out of the bounded potentials: as bad as any
            return np.full(size, 1e3)
        return np.concatenate([v / weights.get(k, 1.0) if k != "jumps" else v for k, v in parts.items()])

    scale = np.where(guess == 0, 1.0, np.abs(guess))
    size = sum(v.size for v in problem.parts(guess).values())
    found = least_squares(residuals, guess / scale, method="trf", x_scale="jac", xtol=1e-9, ftol=1e-9, max_nfev=400)
    if not found.success:
        raise NotConverged(f"the Landau fit did not end within {found.nfev} evaluations; give a better start")
    found.x, found.jac = found.x * scale, found.jac / scale
    return found


def _errors(jacobian: Array, names: list[str]) -> Array:
    """Return the standard deviations of the numbers; BadInput names those that the data leave open."""
    norms = np.linalg.norm(jacobian, axis=0)
    if (norms == 0).any():
        raise BadInput(
            f"the fit does not depend on {names[int(np.flatnonzero(norms == 0)[0])]}: do not fit it, or start nearer "
            "to the measured transition"
        )
    _, singular, right = np.linalg.svd(jacobian / norms, full_matrices=False)
    if singular[-1] < SINGULAR * singular[0]:
        loose = [names[i] for i in np.argsort(-np.abs(right[-1]))[:2]]
        raise BadInput(f"the data do not tell {' and '.join(loose)} apart; fit fewer parameters or add eta")
    return np.asarray(np.sqrt(((right.T / singular) ** 2).sum(axis=1)) / norms)


def _ascending(start: LandauModel, temperatures: Array) -> None:
    """Refuse a start whose low spin breaks the symmetry, or whose high spin keeps it although it is coupled."""
    if not (start.D or start.E):
        return
    low = float(start.eta(float(temperatures.min()), Q_MIN)) > 0
    high = float(start.eta(float(temperatures.max()), Q_MAX)) > 0
    if low or not high:
        raise BadInput(
            "the fit takes low spin as symmetric and high spin as broken; the Landau parameters to start from "
            f"{'break' if low else 'keep'} the symmetry at q = {Q_MIN if low else Q_MAX:g}: start from D < 0 with "
            "D + E/2 < 0 and E/2 - D >= 0"
        )


def _phases(table: Table) -> tuple[list[_Jump], NDArray[np.bool_]]:
    """Return the jump of each branch, and which points lie on its high-spin side."""
    jumps, is_high = [], np.zeros(table.temperatures.size, dtype=bool)
    for heating in (True, False):
        order = table.branch(heating)
        if order.size == 0:
            continue
        signal = _unit_signal(table)[order]
        steps = np.diff(signal)
        at = int(steps.argmax())
        if steps[at] < JUMP_IN_Q:
            raise BadInput(
                f"no transition in range: {'heating' if heating else 'cooling'} has no jump of q above {JUMP_IN_Q:g} "
                "between neighbouring points; measure over the transition"
            )
        before, after = table.temperatures[order[at]], table.temperatures[order[at + 1]]
        # the jump lies anywhere between two points: a flat distribution of this width
        jumps.append(_Jump(heating, float(before + after) / 2.0, float(after - before) / np.sqrt(12.0)))
        is_high[order[at + 1 :]] = True
    if len(jumps) == 2 and jumps[0].temperature + jumps[0].deviation < jumps[1].temperature - jumps[1].deviation:
        raise BadInput(
            f"the jump on heating, at {jumps[0].temperature:g} K, lies below that on cooling, at "
            f"{jumps[1].temperature:g} K, which no hysteresis has; are the branches exchanged?"
        )
    return jumps, is_high


def _unit_signal(table: Table) -> Array:
    """Return a signal that goes from -1 to 1, to find the jump in."""
    values = table.spin if table.spin is not None else table.breaking
    if values is None:
        raise BadInput("the table has no order parameter")
    if table.spin_column == "q":
        if values.min() >= 0.0:
            raise BadInput(
                "q goes from -1 (LS) to 1 (HS), and the table has no negative one: a fraction x of HS is q = 2 x - 1"
            )
        return values
    if values.max() == values.min():
        raise BadInput("no transition in range: the order parameter is the same everywhere")
    return order_parameter(values, float(values.min()), float(values.max()))


def low_spin(model: LandauModel, temperatures: Array) -> Array:
    """Return q of the low-spin phase (lowest minimum of eq. 2), (N,).

    Where it is no longer stable it goes on along the only minimum (B >= 0), or stays at its fold (B < 0).
    """
    fold = -np.sqrt(max(-model.B, 0.0) / (3.0 * model.C))
    end = Q_MAX if model.B >= 0 else max(Q_MIN, fold)
    t = np.asarray(temperatures, dtype=float)
    field = model.a1 * (model.T_SC - t)
    cubics = np.column_stack([np.full_like(t, model.C), np.zeros_like(t), np.full_like(t, model.B), field])
    roots = cubic_roots(cubics)
    roots = np.where((roots >= Q_MIN) & ((roots <= fold) | (model.B >= 0)), roots, np.nan)
    falling = field - model.B - model.C >= 0  # g rises from q = -1 on: the border holds the minimum
    first = np.nanmin(np.column_stack([roots, np.full_like(t, end)]), axis=1)
    return np.where(falling, Q_MIN, np.clip(first, Q_MIN, Q_MAX))


def high_spin(model: LandauModel, temperatures: Array) -> Array:
    """Return q of high spin, (N,): q = 1 or the highest minimum of the valley; where that is gone, its fold."""
    t = np.asarray(temperatures, dtype=float)
    inside = np.maximum(*[_highest_minimum(model, t, broken) for broken in (False, True)])
    held = np.array([float(model.slope(float(x), Q_MAX)) for x in t]) <= 0
    fold = DENSE[401:][np.argmin([model.slope(float(x), DENSE[401:]) for x in t], axis=1)]
    return np.where(held, Q_MAX, np.where(np.isfinite(inside), inside, fold))


def _highest_minimum(model: LandauModel, t: Array, broken: bool) -> Array:
    """Return the highest minimum of the valley at 0 < q <= 1 with or without broken symmetry, (N,); -inf where none."""
    cubics = np.array([model.slope_cubics(float(x))[broken] for x in t])
    roots = cubic_roots(cubics)
    curvature = 3.0 * cubics[:, [0]] * roots**2 + 2.0 * cubics[:, [1]] * roots + cubics[:, [2]]
    own = (model.eta_coefficient(t[:, None], roots) < 0) == broken
    return np.asarray(np.where((roots > 0.0) & (roots <= Q_MAX) & (curvature > 0) & own, roots, -np.inf).max(axis=1))


def _eta(model: LandauModel, temperatures: Array, q: Array) -> Array:
    """Return eta at each (T, q)."""
    return np.array([float(model.eta(float(t), float(x))) for t, x in zip(temperatures, q, strict=True)])


def _distance(model: LandauModel, jump: _Jump) -> float:
    """Return how far a measured jump is from the end of its branch, K, to first order; positive while stable."""
    side = 1.0 if jump.heating else -1.0
    if jump.heating:
        # low spin ends at the latest where symmetry begins to break, q with w = 0: smooth there, as low_spin is not
        borders = model.region_borders(jump.temperature)
        start = float(low_spin(model, np.array([jump.temperature]))[0])
        start = min([start, *borders[-1:].tolist()])
    else:
        start = Q_MAX
    ahead = np.linspace(start, 0.5 if jump.heating else 0.0, 401)
    slopes = side * model.slope(jump.temperature, ahead)
    best = int(slopes.argmax())
    near = np.linspace(ahead[max(best - 1, 0)], ahead[min(best + 1, 400)], 201)
    return float((side * model.slope(jump.temperature, near)).max()) / model.a1
