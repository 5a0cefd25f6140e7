"""The paragraph for a methods section, made from what the results say was done."""

from __future__ import annotations

from collections.abc import Callable

from spincross import __version__
from spincross.entropy import STANDARD_TEMPERATURE
from spincross.figures import Json
from spincross.findings import wavenumber

STATES = {"LS": "LS", "HS_parent": "HS parent", "HS": "HS minimum"}


def paragraph(data: Json) -> str:
    """Return the paragraph; `data` as in `report.render_report`."""
    treatment = data["entropy"]["treatment"]
    return " ".join(
        [
            _level(data),
            *_states(data),
            *_convergence(data),
            *_hessians(data),
            _breaking(data),
            "Vibrational entropies are harmonic and, beside them, quasi-RRHO "
            f"(tau {treatment['quasi_rrho_tau_per_cm']:g} cm⁻¹, damping exponent "
            f"{treatment['quasi_rrho_damping_power']:g}, average moment of inertia "
            f"{treatment['quasi_rrho_average_inertia_kg_m2']:g} kg m²), from unscaled wavenumbers, without rotation "
            f"and translation; single values are those at {STANDARD_TEMPERATURE:g} K.{_counted(data)} "
            f"Workflow: spincross {__version__}.",
        ]
    )


def _level(data: Json) -> str:
    """Say what was computed, at which level, on which grids."""
    low, high, parent = (data["optimise"][state] for state in ("LS", "HS", "HS_parent"))
    level = low["level"]
    fitting = f" with density fitting ({level['auxiliary_basis']})" if level.get("auxiliary_basis") else ""
    grids = sorted({grid for state in STATES for grid in data["optimise"][state]["grid_level_per_step"]})
    charge = f"{data['molecule']['charge']:+d}".replace("+0", "0")
    coarse = f", far from the minimum on level {grids[0]}" if grids and grids[0] < level["grid_level"] else ""
    spins = f"LS (multiplicity {low['multiplicity']}) and HS (multiplicity {high['multiplicity']})"
    model = ", a built model and not a measured structure," if data["molecule"]["origin"] == "built model" else ""
    kind = "restricted for LS, unrestricted for HS" if low["multiplicity"] == 1 else "unrestricted"
    return (
        f"The isolated molecule {data['molecule']['formula']} (charge {charge}){model} was computed "
        f"with {level['functional'].upper()}/{_written(level['basis'])}{fitting}, {kind}, without dispersion "
        f"correction, integration grid level {level['grid_level']}, in PySCF {_versions(data, 'pyscf')}"
        f"{_on_gpu(data)}. Geometries of {spins} were optimised in {parent['point_group']} with geomeTRIC "
        f"{_versions(data, 'geometric')}{coarse}, by gradients with the response of the grid."
    )


def _versions(data: Json, name: str) -> str:
    """Return the version of a library that computed the states, or each of several; by how its name begins."""
    recorded = [(data["optimise"][state].get("provenance") or {}).get("versions", {}) for state in STATES]
    if name != "geometric":  # no Hessian needs it
        recorded += [_of_hessian(data, state) for state in STATES]
    return " and ".join(sorted({v for found in recorded for key, v in found.items() if key.startswith(name)})) or "?"


def _of_hessian(data: Json, state: str) -> Json:
    """Return the versions of the libraries that computed the Hessian of a state; empty where it does not tell."""
    return data["vibrations"][state].get("hessian_versions") or {}


def _on_gpu(data: Json) -> str:
    """Say which states a GPU computed, geometry or Hessian or both, and with what."""
    geometries = {s for s in STATES if (data["optimise"][s].get("provenance") or {}).get("device") == "gpu"}
    hessians = {s for s in STATES if any(name.startswith("gpu4pyscf") for name in _of_hessian(data, s))}
    used = [s for s in STATES if s in geometries | hessians]
    if not used:
        return ""
    return f" with gpu4pyscf {_versions(data, 'gpu4pyscf')} ({', '.join(STATES[state] for state in used)})"


def _states(data: Json) -> list[str]:
    """Say how the electronic state was chosen and what of it was tested."""
    found = []
    own = [s for s in STATES if s != "HS" or data["mode"]["broken"]]  # an unbroken HS minimum is the parent
    searched = {STATES[s]: len(data["optimise"][s].get("candidates") or []) for s in own}
    starts = ", ".join(f"{count} for {label}" for label, count in searched.items() if count > 1)
    if starts:
        found.append(f"The lowest of several starts with other occupied orbitals was taken ({starts}).")
    tested = [STATES[s] for s in STATES if data["optimise"][s].get("stability_blocks")]
    if tested:
        found.append(f"The stability of the SCF solution was tested by its orbital Hessian ({', '.join(tested)}).")
    return found


def _counted(data: Json) -> str:
    """Say that the entropy of symmetry breaking is no result of the calculation."""
    return " ΔS_SB is counted from the change of the point group, not computed." if data["mode"]["broken"] else ""


def _written(basis: str) -> str:
    """Return a basis set as papers write it: def2-SVP."""
    return basis.upper().replace("DEF2", "def2")


def _convergence(data: Json) -> list[str]:
    """Say when an optimisation ended, for each criterion in use; where a record does not tell, say that."""
    sentences = [f"{text} ({states})." for text, states in _grouped(data, "optimise", _criterion)]
    largest = max(data["optimise"][state]["gradient_rms_hartree_per_bohr"] for state in STATES)
    return [*sentences, f"The largest root mean square of a final gradient is {largest:.1e} Eh/bohr."]


def _criterion(optimised: Json) -> str:
    found = optimised.get("convergence")
    if found is None:
        return "The record does not state the criterion of convergence"
    return (
        f"Converged: root mean square gradient below {found['gradient_rms_hartree_per_bohr']:g} Eh/bohr, and either "
        f"energy change below {found['energy_change_hartree']:g} Eh or root mean square displacement below "
        f"{found['displacement_rms_angstrom']:g} Å (thresholds {found['set']} of geomeTRIC)"
    )


def _hessians(data: Json) -> list[str]:
    """Say how each Hessian was made, and the noise floor."""
    found = [data["vibrations"][state] for state in STATES]
    floor = max(vibrations["noise_floor_per_cm"] for vibrations in found)
    missed = max(vibrations["sum_rule_hartree_per_bohr2"] for vibrations in found)
    ways = [f"Hessian: {text} ({states})." for text, states in _grouped(data, "vibrations", _route)]
    return [
        *ways,
        f"Before the diagonal blocks were rebuilt, the sum rule over atoms was missed by up to {missed:.1e} Eh/bohr²; "
        f"after it, rotations kept at most {floor:.1f} cm⁻¹ (noise floor).",
    ]


def _route(vibrations: Json) -> str:
    settings = vibrations.get("hessian_settings") or {}
    rebuilt = "diagonal blocks rebuilt from the sum rule over atoms"
    if vibrations["method"] == "finite differences":
        step = " (displacement {step_bohr:g} bohr, grid level {grid_level})".format(**settings) if settings else ""
        return f"central finite differences of gradients with the response of the grid{step}, {rebuilt}"
    if not settings:
        return f"analytic, {rebuilt}"
    if settings["grid_response"]:
        return f"analytic with the response of the grid, grid level {settings['grid_level']}, {rebuilt}"
    response = f"the orbital response on grid level {settings['response_grid_level']}"
    return f"analytic on grid level {settings['grid_level']}, {response}, {rebuilt}"


def _grouped(data: Json, stage: str, describe: Callable[[Json], str]) -> list[tuple[str, str]]:
    """Return each different description of a stage with the states it holds for."""
    found: dict[str, list[str]] = {}
    for state in STATES:
        found.setdefault(describe(data[stage][state]), []).append(STATES[state])
    return [(text, ", ".join(states)) for text, states in found.items()]


def _breaking(data: Json) -> str:
    """Say how the HS minimum was reached."""
    mode = data["mode"]
    if not mode["broken"]:
        group = data["optimise"]["HS_parent"]["point_group"]
        return f"HS has no imaginary mode in {group} that was followed and was used as it is."
    return (
        f"The HS parent was displaced along its imaginary {mode['irrep']} mode "
        f"({wavenumber(mode['wavenumber_per_cm'], 0)} cm⁻¹) and relaxed in {data['optimise']['HS']['point_group']}."
    )
