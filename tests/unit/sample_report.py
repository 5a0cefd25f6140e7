"""Made-up data of a whole run, shaped as the stages write it; invented for tests, no molecule's numbers."""

from __future__ import annotations

import copy
import json
from functools import cache
from typing import Any

import numpy as np

from sample_provenance import provenance
from spincross import pointgroup
from spincross.entropy import entropy_account
from spincross.landau import landau_account

Json = dict[str, Any]

FRAME = [("C", 0.0, 0.0, 0.0), ("O", 0.0, 0.0, 1.2), ("H", 0.94, 0.0, -0.58), ("H", -0.94, 0.0, -0.58)]
BENT = [("C", 0.0, 0.05, 0.02), ("O", 0.0, -0.04, 1.31), ("H", 0.93, 0.30, -0.56), ("H", -0.93, 0.30, -0.56)]
VECTOR = [[0.0, 0.16, 0.0], [0.0, -0.04, 0.0], [0.0, 0.69, 0.0], [0.0, 0.69, 0.0]]
WAVES = {
    "LS": ([1201.5, 1268.2, 1533.3, 1897.9, 2901.6, 2966.3], ["B", "B", "A", "A", "A", "B"]),
    "HS_parent": ([-651.4, 1011.0, 1290.5, 1402.5, 2950.5, 3044.5], ["B", "B", "A", "A", "A", "B"]),
    "HS": ([751.5, 1002.5, 1222.5, 1305.5, 2921.5, 3003.5], ["A"] * 6),
}
ENERGIES = {"LS": -114.2839, "HS_parent": -114.1750, "HS": -114.1784}
GROUPS = {"LS": "C2", "HS_parent": "C2", "HS": "C1"}
LEVEL = {"functional": "pbe0", "basis": "def2-svp", "auxiliary_basis": "def2-universal-jkfit", "grid_level": 3}
LANDAU_PARAMETERS = {"a1": 0.6, "C": 35.0, "b": 10.0, "T_SC": 235.0, "D": -6.5, "E": -12.2}
TEMPERATURES = np.linspace(150.0, 300.0, 31).tolist()
CALORIMETRY = {
    "heating_J_per_mol_K": 62.8,
    "cooling_J_per_mol_K": 67.6,
    "temperature_up_K": 235.0,
    "temperature_down_K": 219.0,
}


def optimised(state: str, atoms: int, origin: str) -> Json:
    """Return optimise.json of a state."""
    multiplicity, ideal = (1, 0.0) if state == "LS" else (3, 2.0)
    levels = [
        {"energy_hartree": e, "occupied": e < -0.1, "irrep": irrep, "metal_fraction": None}
        for e, irrep in ((-0.62, "A"), (-0.50, "B"), (-0.499, "A"), (-0.39, "B"), (-0.05, "B"), (0.12, "A"))
    ]
    energies = [ENERGIES[state] + 0.01 * 4.0**-k for k in range(6)] + [ENERGIES[state]]
    return {
        "provenance": provenance(origin),
        "level": LEVEL,
        "state": state.split("_")[0],
        "multiplicity": multiplicity,
        "point_group": GROUPS[state],
        "energy_hartree": ENERGIES[state],
        "s_squared": ideal + (0.0 if state == "LS" else 0.0123),
        "s_squared_ideal": ideal,
        "stability_blocks": [
            {"rotations": irrep, "eigenvalue_hartree": 0.0712, "noise_hartree": 1e-3}
            for irrep in pointgroup.irreps(GROUPS[state])
        ],
        "metal_spin_population": None,
        "spin_populations": [0.0] * atoms if state == "LS" else [1.1, 0.8, 0.05, -0.02, *[0.0] * atoms][:atoms],
        "gradient_max_hartree_per_bohr": 3.2e-6,
        "gradient_rms_hartree_per_bohr": 1.1e-6,
        "steps": 7,
        "scf_cycles_per_step": [13, 8, 7, 7, 6, 6, 5],
        "seconds_per_step": [2.0] * 7,
        "energies_hartree_per_step": energies,
        "grid_level_per_step": [3] * 7,
        "wall_seconds": 14.2,
        "candidates": [],
        "electrons_per_irrep": None,
        "deviation_from_group_bohr": 0.0,
        "dipole_debye": [0.0, 0.0, 1.0],
        "orbitals": {"alpha": levels, "beta": [] if state == "LS" else copy.deepcopy(levels)},
        "metal_bonds_angstrom": [],
        "metal_angles_degree": [],
        "warnings": [],
    }


def vibrations(state: str, origin: str) -> Json:
    """Return vibrations.json of a state."""
    waves, irreps = WAVES[state]
    return {
        "provenance": provenance(origin),
        "complex": "sample",
        "level": LEVEL,
        "state": state.split("_")[0],
        "multiplicity": 1 if state == "LS" else 3,
        "point_group": GROUPS[state],
        "method": "finite differences",
        "hessian_origin": origin,
        "hessian_wall_seconds": 61.5,
        "wavenumbers_per_cm": list(waves),
        "irreps": list(irreps),
        "imaginary_modes": [i for i, w in enumerate(waves) if w < -1.7],
        "undetermined_modes": [],
        "settled_modes": [],
        "noise_floor_per_cm": 1.7,
        "sum_rule_hartree_per_bohr2": 1e-7,
        "rotation_rule_hartree_per_bohr2": 1e-7,
        "reduced_masses_amu": [1.0] * len(waves),
        "zero_point_energy_kJ_per_mol": 60.0,
        "energy_hartree": ENERGIES[state],
        "warnings": [],
    }


def broken_mode() -> Json:
    """Return mode.json of a broken symmetry."""
    q = np.linspace(-0.8, 0.8, 9)
    energy = ENERGIES["HS_parent"] - 0.018 * q**2 + 0.026 * q**4
    return {
        "provenance": provenance(),
        "complex": "sample",
        "level": LEVEL,
        "broken": True,
        "scan_origin": "recalled",
        "wavenumber_per_cm": -651.4,
        "irrep": "B",
        "mode_index": 0,
        "parent_energy_hartree": ENERGIES["HS_parent"],
        "scan_q_amu_half_angstrom": q.tolist(),
        "scan_energy_hartree": energy.tolist(),
        "energy_lowering_kJ_per_mol": 8.93,
        "scan_minimum_kJ_per_mol": -8.11,
        "q_at_minimum_amu_half_angstrom": 0.6,
        "scan_asymmetry_hartree": 2.4e-9,
        "atom_fraction": [0.32, 0.02, 0.33, 0.33],
        "overlap_with_relaxed_distortion": 0.97,
        "breaking_share_of_distortion": 0.98,
        "distortion_within_group_kJ_per_mol": 0.21,
        "distortion_breaking_kJ_per_mol": -11.4,
        "text": "HS in C2 has one imaginary mode of irrep B.",
    }


def sample(calorimetry: bool = True, landau: bool = True) -> Json:
    """Return the data of a run in which HS leaves C2."""
    entry: Json = {"title": "Sample molecule", "charge": 0, "calorimetry": CALORIMETRY if calorimetry else None}
    entry["landau"] = (
        {**LANDAU_PARAMETERS, "source": "invented for the test", "borrowed_from": "fe-pm-pea2-ncs2"} if landau else None
    )
    entry["literature"] = (
        {"entropy_vibrational_difference_J_per_mol_K": 58.9, "imaginary_irrep": "B"} if calorimetry else None
    )
    vib = {
        "LS": vibrations("LS", "recalled"),
        "HS_parent": vibrations("HS_parent", "computed"),
        "HS": vibrations("HS", "computed"),
    }
    data: Json = {
        "complex": "sample",
        "gates": {"s_squared_warning": 0.1, "s_squared_error": 0.5},
        "entry": entry,
        "level_name": "pbe0_def2-svp",
        "molecule": molecule(4),
        "optimise": {s: optimised(s, 4, "recalled" if s == "LS" else "computed") for s in ENERGIES},
        "vibrations": vib,
        "mode": broken_mode(),
        "geometries": {"LS": frame(FRAME), "HS_parent": frame(FRAME), "HS": frame(BENT)},
        "mode_vector": VECTOR,
        "links": {"entropy": "pbe0_def2-svp/entropy/entropy.json", "bad": "javascript:alert(1)"},
    }
    return account(data)


def account(data: Json) -> Json:
    """Fill in entropy and Landau, made by the library from the rest."""
    vib, entry = data["vibrations"], data["entry"]
    numbers = {k: v for k, v in (entry["literature"] or {}).items() if not isinstance(v, str)}
    entropy = entropy_account(
        vib["LS"], vib["HS"], data["mode"], [100.0, 200.0, 300.0], entry["calorimetry"], numbers or None
    )
    data["entropy"] = {"provenance": provenance(), **entropy}
    parameters = entry["landau"]
    data["landau"] = None
    if parameters:
        data["landau"] = {"provenance": provenance(), **json.loads(landau(json.dumps(parameters), json.dumps(entropy)))}
    return data


@cache
def landau(parameters: str, entropy: str) -> str:
    """Return the Landau account as JSON text, worked out once for the same input (it takes seconds)."""
    given = json.loads(parameters)
    return json.dumps(landau_account(given, TEMPERATURES, json.loads(entropy)))


def molecule(atoms: int) -> Json:
    """Return molecule.json."""
    return {
        "provenance": provenance(),
        "complex": "sample",
        "title": "Sample molecule",
        "formula": "CH2O",
        "atoms": atoms,
        "charge": 0,
        "site_symmetry": "C2",
        "point_group": "C2",
        "metal": None,
        "origin": "built model",
        "source": "drawn by hand",
        "bonds_angstrom": [],
        "warnings": ["a warning of the molecule stage"],
    }


def frame(rows: list[tuple[str, float, float, float]]) -> Json:
    """Return symbols and positions."""
    return {"symbols": [r[0] for r in rows], "positions_angstrom": [list(r[1:]) for r in rows]}


def unbroken(**options: Any) -> Json:
    """Return the data of a run in which HS keeps C2."""
    data = sample(**{"landau": False, **options})
    for stage in ("optimise", "vibrations", "geometries"):
        data[stage]["HS"] = copy.deepcopy(data[stage]["HS_parent"])
    for state in ("HS", "HS_parent"):
        data["vibrations"][state] |= {
            "wavenumbers_per_cm": WAVES["HS"][0],
            "imaginary_modes": [],
            "irreps": WAVES["LS"][1],
        }
    data["mode"] |= {
        "broken": False,
        "wavenumber_per_cm": None,
        "irrep": None,
        "mode_index": None,
        "energy_lowering_kJ_per_mol": 0.0,
    }
    data["mode"] |= {
        "scan_q_amu_half_angstrom": [],
        "scan_energy_hartree": [],
        "atom_fraction": [],
        "text": "HS keeps C2.",
    }
    data["mode"] |= {
        "scan_minimum_kJ_per_mol": 0.0,
        "q_at_minimum_amu_half_angstrom": 0.0,
        "overlap_with_relaxed_distortion": None,
        "breaking_share_of_distortion": None,
        "distortion_within_group_kJ_per_mol": None,
        "distortion_breaking_kJ_per_mol": None,
    }
    data["mode_vector"] = None
    return account(data)


def of_size(atoms: int) -> Json:
    """Return the data of a run with another number of atoms, laid out on a lattice."""
    data = sample(calorimetry=False, landau=False)
    places = np.stack(np.meshgrid(*[np.arange(7.0)] * 3), axis=-1).reshape(-1, 3)[:atoms] * 1.5
    symbols = [("Fe", "N", "C", "H", "S")[i % 5] for i in range(atoms)]
    rng = np.random.default_rng(1)
    for state, shift in (("LS", 0.0), ("HS_parent", 0.02), ("HS", 0.05)):
        moved = places - places.mean(axis=0) + shift * rng.standard_normal(places.shape)
        data["geometries"][state] = {"symbols": symbols, "positions_angstrom": moved.tolist()}
        data["optimise"][state]["spin_populations"] = rng.standard_normal(atoms).tolist()
    data["molecule"] |= {"atoms": atoms, "metal": "Fe", "formula": f"X{atoms}", "origin": "cif"}
    if atoms == 1:
        data |= {
            k: v
            for k, v in unbroken(calorimetry=False).items()
            if k in ("mode", "entropy", "landau", "mode_vector", "vibrations")
        }
        return data
    bonds = [
        {"atoms": [0, 1], "symbols": ["Fe", "N"], "length": 1.95},
        {"atoms": [0, 7], "symbols": ["Fe", "N"], "length": 1.95},
    ]
    data["optimise"]["HS_parent"]["metal_bonds_angstrom"] = bonds
    data["mode"]["atom_fraction"] = (np.ones(atoms) / atoms).tolist()
    data["mode_vector"] = rng.standard_normal((atoms, 3)).tolist()
    waves = np.linspace(12.0, 3100.0, 3 * atoms - 6)
    for state, factor in (("LS", 1.0), ("HS_parent", 0.9), ("HS", 0.9)):
        soft = (waves * factor).tolist()
        lowest = [-20.0] if state == "HS_parent" else [soft[0]]
        vib = data["vibrations"][state]
        vib |= {"wavenumbers_per_cm": lowest + soft[1:], "irreps": ["B", "A"] * (len(soft) // 2)}
        vib |= {"reduced_masses_amu": [1.0] * len(soft)}
    return account(data)
