r"""Which modes carry the vibrational entropy: by wavenumber, by irrep of the parent group, by fragment.

.. math:: \Delta S_g(\tilde\nu) = \sum_{i \in HS,\, \tilde\nu_i \le \tilde\nu} w_{gi} S_i
          - \sum_{i \in LS,\, \tilde\nu_i \le \tilde\nu} w_{gi} S_i, \qquad \sum_g w_{gi} = 1

with the harmonic entropy :math:`S_i` of a mode and its share :math:`w_{gi}` in group g. Fragments do not overlap: core
(metal and donor atoms), ncs (carbon and sulphur of the thiocyanates), ligands (all the rest). A mode of a state that
left the parent group has no irrep of it; its share in A is the square of its part that the parent's operations keep.
Shares add up to one, so the sums over the groups add up to the whole difference.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spincross import mode_entropy
from spincross.entropy_terms import StateModes
from spincross.errors import BadInput

Array = NDArray[np.float64]
Json = dict[str, Any]
States = tuple[StateModes, StateModes]

GROUPINGS = {"by_irrep": "parent_irrep_fractions", "by_fragment": "fragment_fractions"}
"""Names of the sums and the keys of vibrations.json that hold the shares."""
SUM_TOLERANCE: float = 1e-6
"""Largest deviation of the shares of a mode from one."""


def shares(vibrations: Json, key: str) -> dict[str, Array] | None:
    """Return the shares of every mode, (M,) per group, or None where vibrations.json has none.

    Raises
    ------
    BadInput
        if a list has not one entry per mode, or the shares of a mode do not add up to one
    """
    content = vibrations.get(key)
    if not content:
        return None
    found = {name: np.asarray(values, dtype=float) for name, values in content.items()}
    count = len(vibrations["wavenumbers_per_cm"])
    for name, values in found.items():
        if values.shape != (count,):
            raise BadInput(
                f"{key} {name} of {vibrations['state']} has {values.size} entries, expected one per mode ({count}); "
                "compute it again"
            )
    worst = float(np.abs(sum(found.values()) - 1.0).max())
    if worst > SUM_TOLERANCE:
        raise BadInput(
            f"{key} of {vibrations['state']} miss one by up to {worst:.1e}; groups must not overlap, compute it again"
        )
    return found


def cumulative(low: Json, high: Json, states: States, temperature: float) -> Json:
    """Return the harmonic difference summed over the modes up to each wavenumber, in total and by group.

    Parameters
    ----------
    low, high : contents of vibrations.json
    states : their usable modes
    temperature : K

    Returns
    -------
    wavenumbers of both states ascending (cm-1), the sums up to and with each (J/(mol K)); a grouping is None where a
    state has no shares or the groups have other names
    """
    order = np.argsort(np.concatenate([s.wavenumbers for s in states]), kind="stable")
    signed = _signed(states, temperature)[order]
    content: Json = {
        "temperature_K": temperature,
        "wavenumbers_per_cm": np.concatenate([s.wavenumbers for s in states])[order].tolist(),
        "entropy_J_per_mol_K": np.cumsum(signed).tolist(),
    }
    for name, key in GROUPINGS.items():
        weights = _common(low, high, key)
        content[f"{name}_J_per_mol_K"] = (
            {group: np.cumsum(signed * both[order]).tolist() for group, both in weights.items()} if weights else None
        )
    return content


def by_group(low: Json, high: Json, states: States, key: str, temperature: float) -> dict[str, float] | None:
    """Return the whole harmonic difference of each group, J/(mol K); None without shares."""
    weights = _common(low, high, key)
    signed = _signed(states, temperature)
    return {group: float(signed @ both) for group, both in weights.items()} if weights else None


def _signed(states: States, temperature: float) -> Array:
    """Return minus the entropies of LS, then those of HS, J/(mol K)."""
    return np.concatenate(
        [
            sign * mode_entropy.harmonic_entropy(s.wavenumbers, temperature)
            for s, sign in zip(states, (-1, 1), strict=True)
        ]
    )


def _common(low: Json, high: Json, key: str) -> dict[str, Array] | None:
    """Return the shares of LS and HS one after the other, for groups that both states have."""
    found = shares(low, key), shares(high, key)
    if found[0] is None or found[1] is None or found[0].keys() != found[1].keys():
        return None
    return {name: np.concatenate([found[0][name], found[1][name]]) for name in found[0]}


def mode_rows(low: Json, high: Json, states: States, temperatures: list[float]) -> Iterator[dict[str, Any]]:
    """Yield the rows of modes.tsv: every mode of both states at every temperature, each treatment on its own."""
    for content, state in zip((low, high), states, strict=True):
        zero_point = [mode_entropy.zero_point_energy([wave]) for wave in state.wavenumbers]
        irreps = content.get("irreps") or [""] * len(zero_point)
        for temperature in temperatures:
            columns = {
                "entropy_harmonic_J_per_mol_K": mode_entropy.harmonic_entropy(state.wavenumbers, temperature),
                "entropy_quasi_rrho_J_per_mol_K": mode_entropy.quasi_rrho_entropy(state.wavenumbers, temperature),
                "entropy_raised_J_per_mol_K": mode_entropy.raised_entropy(state.wavenumbers, temperature),
                "heat_capacity_J_per_mol_K": mode_entropy.heat_capacity(state.wavenumbers, temperature),
            }
            for i, wave in enumerate(state.wavenumbers):
                yield {
                    "state": content["state"],
                    "mode": i + 1,
                    "irrep": irreps[i],
                    "wavenumber_per_cm": round(float(wave), 6),
                    "temperature_K": temperature,
                    **{name: float(values[i]) for name, values in columns.items()},
                    "zero_point_energy_kJ_per_mol": zero_point[i],
                }
