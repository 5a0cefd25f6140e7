r"""The Landau potential of coupled spin crossover and symmetry breaking, and all its minima.

.. math:: G = a_1 (T_{SC} - T) q + \tfrac{B}{2} q^2 + \tfrac{C}{4} q^4 + \tfrac{a_0}{2} (T - T_c) \eta^2
          + \tfrac{b}{4} \eta^4 + D q \eta^2 + \tfrac{E}{2} q^2 \eta^2, \qquad -1 \le q \le 1

Eq. 3 of Mater. Horiz. 2025, 12, 1463; its eq. 4 (strong coupling) is B = 0, a0 = 0. Energies are in Landau units (the
paper gives none), T in K. With :math:`w(q) = \tfrac{a_0}{2}(T - T_c) + D q + \tfrac{E}{2} q^2` the minimum over eta is
:math:`\eta^2 = \max(0, -2 w / b)`, and what is left is a function of q alone,

.. math:: g(q) = P(q) - [w < 0]\, w^2 / b, \quad P(q) = a_1 (T_{SC} - T) q + \tfrac{B}{2} q^2 + \tfrac{C}{4} q^4,

with continuous slope: the slope of :math:`w^2` vanishes where w changes sign. On each piece :math:`g'` is a cubic, so
every stationary point is a root of one of two cubics or a border of the range. G is convex in :math:`\eta^2`, hence
minima of g are exactly the minima of G, and a maximum of g between two minima is the saddle of G over (q, eta) that a
path between them must pass. Points with eta = 0 and w < 0 are stationary too, always unstable along eta, and left out.
Each solution with eta > 0 stands for two domains, +eta and -eta.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spincross.errors import BadInput

Array = NDArray[np.float64]

Q_MIN, Q_MAX = -1.0, 1.0
"""Fully low-spin and fully high-spin."""
SAME_PLACE = 1e-9
"""Distance in q within which two roots, or a root and a border, are one."""
ETA_BROKEN = 1e-6
"""Smallest eta that counts as a broken symmetry."""


@dataclass(frozen=True)
class StationaryPoint:
    """A point where the slope of g vanishes, or a border of the range that g falls towards.

    Parameters
    ----------
    q, eta : order parameters, eta >= 0
    energy : G, Landau units
    kind : stable (the lowest minimum), metastable (another minimum) or unstable (a saddle of G)
    """

    q: float
    eta: float
    energy: float
    kind: str


@dataclass(frozen=True)
class LandauModel:
    """Parameters of eq. 3; with the defaults for B, a0 and T_c it is eq. 4.

    Parameters
    ----------
    a1 : slope of the field on q, per K; a1 > 0
    T_SC : spin-crossover temperature, K
    C : q^4 coefficient, C > 0
    b : eta^4 coefficient, b > 0
    D, E : couplings q eta^2 and q^2 eta^2
    B : q^2 coefficient
    a0, T_c : eta^2 coefficient (per K) and its temperature (K)

    Raises
    ------
    BadInput
        for parameters that are not finite or leave the potential without a lower bound
    """

    a1: float
    T_SC: float
    C: float
    b: float
    D: float = 0.0
    E: float = 0.0
    B: float = 0.0
    a0: float = 0.0
    T_c: float = 0.0

    def __post_init__(self) -> None:
        """Check that every parameter is a number and that the potential is bounded below."""
        for name, value in asdict(self).items():
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                raise BadInput(f"Landau parameter {name} must be a finite number, found {value!r}")
        reasons = {
            "b": "the potential has no lower bound in eta",
            "C": "the potential has no lower bound in q",
            "a1": "the high-spin phase would not gain entropy",
            "T_SC": "it is a temperature in K",
        }
        for name, reason in reasons.items():
            if getattr(self, name) <= 0:
                raise BadInput(f"Landau parameter {name} must be positive, found {getattr(self, name)}: {reason}")

    @classmethod
    def from_parameters(cls, parameters: dict[str, Any]) -> LandauModel:
        """Make the model from a complex's `landau` entry; the keys source and borrowed_from are passed over."""
        names = {field.name for field in fields(cls)}
        given = {k: v for k, v in parameters.items() if k not in ("source", "borrowed_from") and v is not None}
        unknown = sorted(set(given) - names)
        missing = sorted({"a1", "T_SC", "C", "b"} - set(given))
        if unknown or missing:
            problem = f"unknown keys {', '.join(unknown)}" if unknown else f"no {', '.join(missing)}"
            raise BadInput(f"the Landau parameters have {problem}; give a1, T_SC, C, b and any of D, E, B, a0, T_c")
        return cls(**given)

    def energy(self, temperature: float, q: ArrayLike, eta: ArrayLike) -> Array:
        """Return G(T, q, eta) of eq. 3; q and eta broadcast."""
        x, square = np.asarray(q, dtype=float), np.asarray(eta, dtype=float) ** 2
        coupling = self.b / 4.0 * square**2 + self.eta_coefficient(temperature, x) * square
        return np.asarray(self.spin_energy(temperature, x) + coupling)

    def spin_energy(self, temperature: float, q: ArrayLike) -> Array:
        """Return P(q), the spin-crossover part (eq. 2)."""
        x = np.asarray(q, dtype=float)
        return np.asarray(self.a1 * (self.T_SC - temperature) * x + self.B / 2.0 * x**2 + self.C / 4.0 * x**4)

    @property
    def is_equation_4(self) -> bool:
        """Whether this is eq. 4 of the paper, coupled without a q^2 or an eta^2 term of its own."""
        return self.a0 == 0 and self.B == 0 and bool(self.D or self.E)

    def eta_coefficient(self, temperature: float | Array, q: ArrayLike) -> Array:
        """Return w(q), the coefficient of eta^2; negative where symmetry is broken. T and q broadcast."""
        x = np.asarray(q, dtype=float)
        return np.asarray(self.a0 / 2.0 * (temperature - self.T_c) + self.D * x + self.E / 2.0 * x**2)

    def eta_squared(self, temperature: float, q: ArrayLike) -> Array:
        """Return eta^2 at the minimum over eta: -2 w / b where that is positive, else 0."""
        return np.where((w := self.eta_coefficient(temperature, q)) < 0, -2.0 * w / self.b, 0.0)

    def eta(self, temperature: float, q: ArrayLike) -> Array:
        """Return eta >= 0 at the minimum over eta; the other domain has -eta."""
        return np.sqrt(self.eta_squared(temperature, q))

    def energy_along_q(self, temperature: float, q: ArrayLike) -> Array:
        """Return g(q), the energy with eta at its minimum."""
        w = np.minimum(0.0, self.eta_coefficient(temperature, q))
        return np.asarray(self.spin_energy(temperature, q) - w**2 / self.b)

    def slope(self, temperature: float, q: ArrayLike) -> Array:
        """Return g'(q)."""
        x = np.asarray(q, dtype=float)
        w = np.minimum(0.0, self.eta_coefficient(temperature, x))
        straight = self.a1 * (self.T_SC - temperature) + self.B * x + self.C * x**3
        return np.asarray(straight - 2.0 / self.b * w * (self.D + self.E * x))

    def entropy_spin_crossover(self, q: ArrayLike) -> Array:
        """Return S_SC = a1 q, Landau units per K."""
        return np.asarray(self.a1 * np.asarray(q, dtype=float))

    def entropy_symmetry_breaking(self, eta: ArrayLike) -> Array:
        """Return S_SB = -(a0 / 2) eta^2, Landau units per K."""
        return np.asarray(-self.a0 / 2.0 * np.asarray(eta, dtype=float) ** 2)

    def slope_cubics(self, temperature: float | Array) -> tuple[Array, Array]:
        """Return g' as polynomials (4,), highest power first: where eta = 0, and where eta > 0; (..., 4) of T (...)."""
        field = self.a1 * (self.T_SC - temperature)
        offset = self.a0 / 2.0 * (temperature - self.T_c)
        symmetric = np.stack(np.broadcast_arrays(self.C, 0.0, self.B, field), axis=-1)
        # w w' with w = offset + D q + E q^2 / 2 and w' = D + E q
        terms = self.E**2 / 2.0, 1.5 * self.D * self.E, self.D**2 + offset * self.E, offset * self.D
        product = np.stack(np.broadcast_arrays(*terms), axis=-1)
        return symmetric, symmetric - 2.0 / np.expand_dims(self.b, -1) * product

    def region_borders(self, temperature: float) -> Array:
        """Return the q inside the range where w changes sign, ascending."""
        offset = self.a0 / 2.0 * (temperature - self.T_c)
        return _inside(np.roots([self.E / 2.0, self.D, offset]))

    def stationary_points(self, temperature: float) -> list[StationaryPoint]:
        """Return every stationary point of the range at T, ascending in q, told apart by kind.

        A point is a minimum if g falls towards it from both sides. The sign of g' is read halfway to the neighbouring
        candidates, where it cannot change, so double and triple roots need no tolerance.
        """
        candidates = self._candidates(temperature)
        signs = np.sign(self.slope(temperature, (candidates[1:] + candidates[:-1]) / 2.0))
        left, right = np.append(-1.0, signs), np.append(signs, 1.0)
        minimum, maximum = (left < 0) & (right > 0), (left > 0) & (right < 0)
        # the borders themselves are no saddles: a path cannot lead across them
        maximum[[0, -1]] = False
        energies = self.energy_along_q(temperature, candidates)
        lowest = energies[minimum].min()
        etas = self.eta(temperature, candidates)
        return [
            StationaryPoint(
                float(candidates[i]),
                float(etas[i]),
                float(energies[i]),
                "unstable" if maximum[i] else "stable" if energies[i] <= lowest else "metastable",
            )
            for i in np.flatnonzero(minimum | maximum)
        ]

    def minima(self, temperature: float) -> list[StationaryPoint]:
        """Return every minimum on -1 <= q <= 1, ascending in q."""
        return [point for point in self.stationary_points(temperature) if point.kind != "unstable"]

    def saddle(self, temperature: float, start: StationaryPoint, end: StationaryPoint) -> StationaryPoint:
        """Return the saddle of G over (q, eta) that the easiest path between two minima passes.

        At fixed q, G has its only minimum over eta^2 on the valley eta(q), so every path from one q to the other lies
        nowhere below the valley, and the valley's highest point between them is the pass.
        """
        low, high = sorted((start.q, end.q))
        between = [p for p in self.stationary_points(temperature) if p.kind == "unstable" and low < p.q < high]
        if not between:
            raise BadInput(f"no saddle lies between q = {low:.4f} and q = {high:.4f} at {temperature:g} K")
        return max(between, key=lambda p: p.energy)

    def barrier(self, temperature: float, start: StationaryPoint, end: StationaryPoint) -> float:
        """Return the energy to climb from one minimum to reach another over `saddle`, Landau units."""
        return self.saddle(temperature, start, end).energy - start.energy

    def domains(self, temperature: float) -> list[StationaryPoint]:
        """Return every minimum of the whole surface, those with eta > 0 in both domains, ascending in q, then eta."""
        both = [
            replace(m, eta=sign * m.eta)
            for m in self.minima(temperature)
            for sign in ((-1, 1) if m.eta > ETA_BROKEN else (1,))
        ]
        return sorted(both, key=lambda m: (m.q, m.eta))

    def _candidates(self, temperature: float) -> Array:
        """Return the borders of range and regions and the polished roots of g' in their own region, ascending."""
        symmetric, broken = self.slope_cubics(temperature)
        found = [np.array([Q_MIN, Q_MAX]), self.region_borders(temperature)]
        for cubic, sign in ((symmetric, 1.0), (broken, -1.0)):
            roots = _inside(_polished(cubic, np.roots(cubic)))
            found.append(roots[sign * self.eta_coefficient(temperature, roots) >= -1e-12])
        return _apart(np.concatenate(found))


def _apart(places: Array) -> Array:
    """Return the range's ends and the places between them, ascending, those within SAME_PLACE of one before left out.

    Two candidates closer than rounding enclose no slope that could be read, and the minimum at them would be lost.
    """
    inner = np.sort(places[np.abs(places) < Q_MAX - SAME_PLACE])
    inner = inner[np.diff(inner, prepend=Q_MIN) > SAME_PLACE]
    return np.concatenate([[Q_MIN], inner, [Q_MAX]])


def _inside(roots: NDArray[Any]) -> Array:
    """Return the real parts of real roots within the range, ascending; near-double roots may come as a complex pair."""
    real = roots[np.abs(roots.imag) <= 1e-7].real
    return np.sort(real[(real >= Q_MIN) & (real <= Q_MAX)])


def _polished(cubic: Array, roots: NDArray[Any]) -> NDArray[Any]:
    """Improve roots by one Newton step, taken only where it lowers the residual."""
    slope = np.polyval(np.polyder(cubic), roots)
    step = np.divide(np.polyval(cubic, roots), slope, out=np.zeros_like(roots), where=slope != 0)
    better = np.abs(np.polyval(cubic, roots - step)) < np.abs(np.polyval(cubic, roots))
    return np.where(better, roots - step, roots)
