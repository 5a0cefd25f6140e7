"""Whose entropy it is: each mode's contribution goes to the groups of its own state, with its own share."""

import numpy as np
import pytest

from spincross import mode_entropy
from spincross.entropy_shares import by_group, cumulative, mode_rows
from spincross.entropy_terms import usable_modes
from test_entropy import pair
from test_mode_entropy import WAVES

AT = 298.15
CORE = np.linspace(0.0, 1.0, len(WAVES)), np.linspace(1.0, 0.0, len(WAVES)) ** 2
"""Shares of the core in the modes of LS and of HS, unlike in every mode."""


def states():
    """Return LS, HS and their modes, with shares and irreps."""
    low, high = pair()
    for content, core in zip((low, high), CORE, strict=True):
        content["fragment_fractions"] = {"core": core.tolist(), "ligands": (1.0 - core).tolist()}
    low["irreps"] = [f"A{i}" for i in range(len(WAVES))]
    return low, high, (usable_modes(low), usable_modes(high))


def expected(limit=np.inf):
    """Return the core's part of the difference from modes up to a wavenumber."""
    *_, modes = states()
    parts = [
        sum(
            share * mode_entropy.harmonic_entropy([wave], AT)[0]
            for share, wave in zip(core, state.wavenumbers, strict=True)
            if wave <= limit
        )
        for core, state in zip(CORE, modes, strict=True)
    ]
    return parts[1] - parts[0]


def test_a_group_has_the_modes_of_hs_by_their_shares_in_hs_less_those_of_ls():
    low, high, modes = states()
    found = by_group(low, high, modes, "fragment_fractions", AT)
    assert found["core"] == pytest.approx(expected(), rel=1e-12)
    assert found["core"] + found["ligands"] == pytest.approx(sum(
        sign * mode_entropy.harmonic_entropy(s.wavenumbers, AT).sum() for sign, s in zip((-1, 1), modes, strict=True)
    ))  # fmt: skip


def test_the_cumulative_curve_of_a_group_is_its_sum_up_to_each_wavenumber():
    curve = cumulative(*states(), AT)
    core = curve["by_fragment_J_per_mol_K"]["core"]
    assert curve["wavenumbers_per_cm"] == sorted(curve["wavenumbers_per_cm"])
    assert core == pytest.approx([expected(wave) for wave in curve["wavenumbers_per_cm"]], rel=1e-12, abs=1e-12)


def test_the_rows_of_a_state_carry_its_irreps_and_heat_capacities():
    low, high, modes = states()
    rows = list(mode_rows(low, high, modes, [AT, 100.0]))
    assert [r["irrep"] for r in rows if r["state"] == "LS" and r["temperature_K"] == AT] == low["irreps"]
    assert {r["irrep"] for r in rows if r["state"] == "HS"} == {""}
    for name, state in zip(("LS", "HS"), modes, strict=True):
        # C = T dS/dT, from the entropies of the same rows' treatment
        step = 0.01
        slope = (
            mode_entropy.harmonic_entropy(state.wavenumbers, AT + step)
            - mode_entropy.harmonic_entropy(state.wavenumbers, AT - step)
        ) / (2 * step)
        found = [r["heat_capacity_J_per_mol_K"] for r in rows if r["state"] == name and r["temperature_K"] == AT]
        assert found == pytest.approx(AT * slope, rel=1e-5)
