"""One row of numbers for each complex and level: summary.json, summary.tsv and the index."""

from __future__ import annotations

from typing import Any

from spincross.answer import breaking_word
from spincross.entropy import STANDARD_TEMPERATURE
from spincross.findings import (
    BREAKING,
    HARMONIC,
    QUASI,
    SPIN,
    TOTAL,
    Json,
    at_standard,
    origin,
    relative_energies,
    stages,
)


def summary_row(data: Json) -> dict[str, str | float]:
    """Return the numbers of one complex at one level, units in the keys; empty text where there is none."""
    optimise, mode, entropy, landau = data["optimise"], data["mode"], data["entropy"], data.get("landau") or {}
    energies = relative_energies(optimise)
    row: dict[str, Any] = {
        "complex": data["complex"],
        "level": data["level_name"],
        "formula": data["molecule"]["formula"],
        "atoms": data["molecule"]["atoms"],
        "origin": data["molecule"]["origin"],
        "point_group": optimise["HS_parent"]["point_group"],
        "energy_HS_parent_minus_LS_kJ_per_mol": round(energies["HS_parent"], 3),
        "energy_HS_minus_LS_kJ_per_mol": round(energies["HS"], 3),
        "s_squared_HS": round(optimise["HS"]["s_squared"], 4),
        "broken": "yes" if mode["broken"] else "no",
        "answer": breaking_word(data),
        "imaginary_modes_HS_parent": len(data["vibrations"]["HS_parent"]["imaginary_modes"]),
        "irrep": mode["irrep"],
        "wavenumber_per_cm": mode["wavenumber_per_cm"],
        "noise_floor_per_cm": data["vibrations"]["HS_parent"]["noise_floor_per_cm"],
        "energy_lowering_kJ_per_mol": mode["energy_lowering_kJ_per_mol"],
        "temperature_K": STANDARD_TEMPERATURE,
        HARMONIC: round(at_standard(entropy, HARMONIC), 3),
        QUASI: round(at_standard(entropy, QUASI), 3),
        SPIN: round(entropy[SPIN], 3),
        BREAKING: round(entropy[BREAKING], 3),
        TOTAL: round(at_standard(entropy, TOTAL), 3),
        "landau_borrowed_from": landau.get("borrowed_from"),
        "landau_temperature_up_K": landau.get("temperature_up_K"),
        "landau_temperature_down_K": landau.get("temperature_down_K"),
        "stages_recalled": sum(origin(d) == "recalled" for d in stages(data).values()),
    }
    return {key: "" if value is None else value for key, value in row.items()}
