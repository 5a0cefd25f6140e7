r"""The terms of the entropy account: usable modes, homogeneity gate, each difference and its error band.

.. math:: \Delta S = \Delta S_\mathrm{vib} + \Delta S_\mathrm{spin} + \Delta S_\mathrm{SB}, \quad
          \Delta S_\mathrm{spin} = R \ln\frac{(2S+1)_\mathrm{HS}}{(2S+1)_\mathrm{LS}}, \quad
          \Delta S_\mathrm{SB} = -R \ln n

Differences are HS minus LS; n is the index of the low symmetry group in the parent group, the number of equivalent
domains (1 where symmetry is not broken). Source: section 3.4 of Mater. Horiz. 2025, 12, 1463.

Convention: a mode inside the noise floor counts as one at the floor, whatever its sign, which is noise; that is said in
`warnings` and widens the error band. A mode below minus the floor is an error.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spincross import pointgroup
from spincross.errors import BadInput, Inhomogeneous, UnexpectedImaginaryMode
from spincross.units import GAS_CONSTANT
from spincross.vibrations import within_floor

Array = NDArray[np.float64]
Json = dict[str, Any]
ModeFunction = Callable[[Array, float], Array]

SOFT_PER_CM: float = 100.0
"""Modes below this wavenumber make the error band, cm-1."""
SOFT_ERROR: float = 0.1
"""Relative error put on every soft mode."""

ERROR_BAND_RECIPE = (
    "Square root of the sum of the squares of three parts, taken up and down separately. Systematic: the change of the "
    "difference when all modes below 100 cm-1 of both states are multiplied by 0.9 and by 1.1 together. Random: each "
    "mode below 100 cm-1 is wrong by 10 % on its own. Undetermined: each mode inside the noise floor may lie anywhere "
    "between half the floor and 1.41 times it, or where its scan puts it, if farther, all to the same side."
)


@dataclass(frozen=True)
class StateModes:
    """The modes of one minimum as the account uses them.

    Parameters
    ----------
    wavenumbers : (M,) cm-1, all positive
    undetermined : (M,) true for a mode inside the noise floor
    limits : (2, M) softest and stiffest that a mode may be, cm-1; the mode itself for those beyond the floor
    warnings : what was done to which mode
    """

    wavenumbers: Array
    undetermined: NDArray[np.bool_]
    limits: Array
    warnings: tuple[str, ...]

    def entropy(self, function: ModeFunction, temperature: float) -> float:
        """Return the sum over the modes of one treatment, J/(mol K)."""
        return float(function(self.wavenumbers, temperature).sum())

    def scaled(self, factor: float) -> Array:
        """Return the wavenumbers (M,) with those below SOFT_PER_CM multiplied."""
        return np.where(self.wavenumbers < SOFT_PER_CM, factor * self.wavenumbers, self.wavenumbers)


def usable_modes(vibrations: Json) -> StateModes:
    """Return the modes of a minimum from its vibrations.json content.

    Raises
    ------
    UnexpectedImaginaryMode
        if a mode lies below minus the noise floor, or at zero or below it where there is no floor
    BadInput
        if the list is empty or not finite
    """
    waves = np.asarray(vibrations["wavenumbers_per_cm"], dtype=float)
    floor = float(vibrations["noise_floor_per_cm"])
    state = vibrations["state"]
    if waves.size == 0 or not np.isfinite(waves).all() or not (math.isfinite(floor) and floor >= 0):
        raise BadInput(
            f"vibrations of {state} need finite wavenumbers and a noise floor >= 0; compute the Hessian again"
        )
    imaginary = waves[waves < -floor] if floor > 0 else waves[waves <= 0]
    if imaginary.size or vibrations.get("imaginary_modes"):
        settled = [waves[i] for i in vibrations.get("imaginary_modes", []) if waves[i] >= -floor]
        found = [f"{w:.1f} cm-1" for w in imaginary] + [f"{w:.1f} cm-1, imaginary by its scan" for w in settled]
        raise UnexpectedImaginaryMode(
            f"{state} in {vibrations['point_group']} is not a minimum: imaginary modes {'; '.join(found)} (noise floor "
            f"{floor:.1f} cm-1); follow the mode to a minimum before taking its entropy"
        )
    inside = np.abs(waves) <= floor
    inside[list(vibrations.get("undetermined_modes", []))] = True
    used = np.where(inside, np.maximum(floor, waves), waves)
    limits = np.array([used, used])
    limits[:, inside] = [[floor / 2.0], [math.sqrt(2.0) * floor]]  # of the squares the floor is the error
    for row in vibrations.get("settled_modes", []):
        if row["verdict"] == "real":
            mode, scan = row["mode_index"], row["scan_wavenumber_per_cm"]
            limits[:, mode] = min(scan, limits[0, mode]), max(scan, limits[1, mode])
    return StateModes(used, inside, limits, tuple(_mode_warnings(state, waves, inside, floor)))


def _mode_warnings(state: str, waves: Array, inside: NDArray[np.bool_], floor: float) -> list[str]:
    """Say which modes are uncertain and what was done to them."""
    modes = np.flatnonzero(inside).tolist()
    does = "counts as one" if len(modes) == 1 else "count as ones"
    text = f"{does} at the floor; the error band is wider by {'it' if len(modes) == 1 else 'them'}"
    return [f"{state}: {within_floor(modes, waves, floor)} and {text}"] if modes else []


def require_homogeneous(low: Json, high: Json) -> None:
    """Check that two vibrations.json contents may be subtracted.

    Raises
    ------
    Inhomogeneous
        if complex, level, masses or number of modes differ, or the states are not LS and HS
    """
    for key in ("complex", "level", "masses_amu"):
        if low.get(key) != high.get(key):
            raise Inhomogeneous(
                f"LS and HS differ in {key}: {_difference(low.get(key), high.get(key))}; compute both alike"
            )
    counts = len(low["wavenumbers_per_cm"]), len(high["wavenumbers_per_cm"])
    if counts[0] != counts[1]:
        raise Inhomogeneous(
            f"LS has {counts[0]} modes and HS has {counts[1]}; entropies of different mode counts differ in kind"
        )
    if (low["state"], high["state"]) != ("LS", "HS"):
        raise Inhomogeneous(f"expected the states LS and HS in this order, found {low['state']} and {high['state']}")


def _difference(first: Any, second: Any) -> str:
    """Name the keys in which two values differ."""
    if isinstance(first, dict) and isinstance(second, dict):
        keys = sorted(k for k in first.keys() | second.keys() if first.get(k) != second.get(k))
        return ", ".join(f"{k} {first.get(k)!r} against {second.get(k)!r}" for k in keys)
    return f"{first!r} against {second!r}" if isinstance(first, str) else "the two lists are not the same"


def spin_entropy(multiplicity_low: int, multiplicity_high: int) -> float:
    """Return R ln of the ratio of multiplicities, J/(mol K).

    >>> round(spin_entropy(1, 5), 2)
    13.38
    """
    if min(multiplicity_low, multiplicity_high) < 1:
        raise BadInput(f"multiplicities must be at least 1, found {multiplicity_low} and {multiplicity_high}")
    return GAS_CONSTANT * math.log(multiplicity_high / multiplicity_low)


def near_states_entropy(energies: Array, temperature: float) -> float:
    """Return what states of one multiplicity add to the entropy of the lowest when populated thermally, J/(mol K).

    Parameters
    ----------
    energies : (M,) of all of them, kJ/mol, from any zero

    >>> round(near_states_entropy(np.zeros(2), 298.15), 2)  # R ln 2
    5.76
    """
    reduced = 1000.0 * (energies - energies.min()) / (GAS_CONSTANT * temperature)
    weights = np.exp(-reduced)
    total = float(weights.sum())
    return GAS_CONSTANT * (math.log(total) + float(weights @ reduced) / total)


def symmetry_breaking_entropy(index: int) -> float:
    """Return -R ln(index), J/(mol K), for a subgroup of this index (the number of equivalent domains).

    >>> round(symmetry_breaking_entropy(2), 2)
    -5.76
    """
    if index < 1:
        raise BadInput(f"the index of a subgroup is at least 1, found {index}")
    return -GAS_CONSTANT * math.log(index) if index > 1 else 0.0


def subgroup_index(parent: str, group: str, broken: bool) -> int:
    """Return the number of equivalent domains when a parent group breaks into `group`; 1 where nothing is broken."""
    if not broken:
        return 1
    index, rest = divmod(pointgroup.order(parent), pointgroup.order(group))
    if rest or index < 2:
        raise BadInput(f"mode.json says that symmetry is broken, but {group} is no proper subgroup of {parent}")
    return index


def vibrational_difference(low: StateModes, high: StateModes, function: ModeFunction, temperature: float) -> float:
    """Return the entropy of HS minus LS in one treatment, J/(mol K)."""
    return high.entropy(function, temperature) - low.entropy(function, temperature)


def error_band(low: StateModes, high: StateModes, function: ModeFunction, temperature: float) -> dict[str, float]:
    """Return the error of the vibrational difference by ERROR_BAND_RECIPE, all parts in J/(mol K) and positive.

    Returns
    -------
    keys down, up, systematic_down, systematic_up, random, undetermined_down, undetermined_up
    """
    centre = vibrational_difference(low, high, function, temperature)
    shifts = [
        float(function(high.scaled(f), temperature).sum() - function(low.scaled(f), temperature).sum()) - centre
        for f in (1.0 - SOFT_ERROR, 1.0 + SOFT_ERROR)
    ]
    up, down = max(*shifts, 0.0), max(*(-s for s in shifts), 0.0)
    random = math.hypot(_random_error(low, function, temperature), _random_error(high, function, temperature))
    (low_down, low_up), (high_down, high_up) = (_undetermined(s, function, temperature) for s in (low, high))
    unknown_down, unknown_up = high_down + low_up, high_up + low_down
    return {
        "down": math.hypot(down, random, unknown_down),
        "up": math.hypot(up, random, unknown_up),
        "systematic_down": down,
        "systematic_up": up,
        "random": random,
        "undetermined_down": unknown_down,
        "undetermined_up": unknown_up,
    }


def _random_error(state: StateModes, function: ModeFunction, temperature: float) -> float:
    """Return the independent errors of the soft modes of a state in quadrature, J/(mol K)."""
    spread = function(state.scaled(1.0 - SOFT_ERROR), temperature) - function(
        state.scaled(1.0 + SOFT_ERROR), temperature
    )
    return float(np.linalg.norm(spread / 2.0))


def _undetermined(state: StateModes, function: ModeFunction, temperature: float) -> tuple[float, float]:
    """Return how far the modes inside the noise floor may lower and raise a state's entropy, J/(mol K)."""
    if not state.undetermined.any():
        return 0.0, 0.0
    used, softest, stiffest = (
        function(waves[state.undetermined], temperature) for waves in (state.wavenumbers, *state.limits)
    )
    return float(np.abs(used - stiffest).sum()), float(np.abs(softest - used).sum())
