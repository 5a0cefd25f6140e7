"""The methods paragraph says what the results say, and where a record is silent it says that."""

import pytest
from geometric.params import OptParams

import sample_report
from spincross import group_optimizer, methods

SETTINGS = {"step_bohr": 0.005, "grid_level": 4, "grid_response": True, "response_grid_level": 1}


def sample(convergence="GAU_TIGHT", **vibrations):
    data = sample_report.sample()
    for optimised in data["optimise"].values():
        optimised["convergence"] = group_optimizer.criterion(convergence)
    for found in data["vibrations"].values():
        found |= {"hessian_settings": SETTINGS} | vibrations
    return data


@pytest.mark.parametrize(
    ("name", "numbers"), [("GAU_TIGHT", ["1e-05", "1e-06", "4e-05"]), ("GAU", ["0.0003", "1e-06", "0.0012"])]
)
def test_the_criterion_is_the_one_geometric_is_given(name, numbers):
    gradient, energy, displacement = numbers
    assert (
        f"Converged: root mean square gradient below {gradient} Eh/bohr, and either energy change below {energy} Eh or "
        f"root mean square displacement below {displacement} Å (thresholds {name} of geomeTRIC) "
        "(LS, HS parent, HS minimum)."
    ) in methods.paragraph(sample(name))


def test_the_criterion_holds_the_optimisers_own_numbers():
    parameters, found = OptParams(convergence_set="GAU_TIGHT"), group_optimizer.criterion("GAU_TIGHT")
    own = parameters.Convergence_energy, parameters.Convergence_grms, parameters.Convergence_drms
    keys = "energy_change_hartree", "gradient_rms_hartree_per_bohr", "displacement_rms_angstrom"
    assert tuple(found[key] for key in keys) == own


def test_a_record_without_its_criterion_is_not_given_one():
    data = sample()
    del data["optimise"]["LS"]["convergence"]
    text = methods.paragraph(data)
    assert "The record does not state the criterion of convergence (LS)." in text
    assert "of geomeTRIC) (HS parent, HS minimum)." in text
    assert "The largest root mean square of a final gradient is 1.1e-06 Eh/bohr." in text


def test_grids_density_fitting_and_the_way_of_every_hessian_are_named():
    data = sample()
    data["optimise"]["HS"]["grid_level_per_step"] = [1, 1, 3]
    data["vibrations"]["HS"] |= {"method": "analytic", "hessian_settings": SETTINGS | {"grid_response": False}}
    text = methods.paragraph(data)
    assert (
        "(charge 0), a built model and not a measured structure, was computed with PBE0/def2-SVP with density fitting "
        "(def2-universal-jkfit), restricted for LS, unrestricted for HS, without dispersion correction, integration "
        "grid level 3, in PySCF 2.14.0. Geometries of LS"
    ) in text
    assert "geomeTRIC 1.1, far from the minimum on level 1, by gradients with the response of the grid." in text
    assert (
        "Hessian: central finite differences of gradients with the response of the grid (displacement 0.005 bohr, grid "
        "level 4), diagonal blocks rebuilt from the sum rule over atoms (LS, HS parent)."
    ) in text
    assert (
        "Hessian: analytic on grid level 4, the orbital response on grid level 1, diagonal blocks rebuilt from the sum "
        "rule over atoms (HS minimum)."
    ) in text
    data["vibrations"]["HS"]["hessian_settings"] = SETTINGS
    assert "Hessian: analytic with the response of the grid, grid level 4, diagonal blocks" in methods.paragraph(data)
    assert "after it, rotations kept at most 1.7 cm⁻¹ (noise floor)" in text


def test_what_a_gpu_computed_and_every_version_are_named():
    data = sample()
    data["optimise"]["HS"]["provenance"] |= {"device": "gpu"}
    data["optimise"]["HS"]["provenance"]["versions"] = {"pyscf": "2.14.0", "gpu4pyscf-cuda13x": "1.9.0"}
    data["vibrations"]["LS"]["hessian_versions"] = {"pyscf": "2.15.0"}
    assert "in PySCF 2.14.0 and 2.15.0 with gpu4pyscf 1.9.0 (HS minimum). Geometries" in methods.paragraph(data)
    data["vibrations"]["LS"]["hessian_versions"] |= {"gpu4pyscf-cuda12x": "1.9.0", "geometric": "9.9"}
    assert "with gpu4pyscf 1.9.0 (LS, HS minimum). Geometries" in methods.paragraph(data)
    assert "9.9" not in methods.paragraph(data)  # that one made no geometry


def test_one_search_for_the_state_is_told_once_where_hs_keeps_its_group():
    data = sample_report.unbroken()
    for state in ("HS_parent", "HS"):
        data["optimise"][state]["candidates"] = [{}, {}, {}]
    assert "was taken (3 for HS parent)." in methods.paragraph(data)


def test_the_search_for_the_state_and_its_test_are_told_where_they_were_done():
    data = sample()
    assert "was tested by its orbital Hessian (LS, HS parent, HS minimum)." in methods.paragraph(data)
    assert "other occupied orbitals" not in methods.paragraph(data)
    data["optimise"]["LS"]["stability_blocks"] = []
    data["optimise"]["HS_parent"]["candidates"] = [{}, {}, {}]
    text = methods.paragraph(data)
    assert "The lowest of several starts with other occupied orbitals was taken (3 for HS parent)." in text
    assert "was tested by its orbital Hessian (HS parent, HS minimum)." in text


def test_the_term_of_symmetry_breaking_is_said_to_be_counted_where_there_is_one():
    assert "ΔS_SB is counted from the change of the point group, not computed." in methods.paragraph(sample())
    assert "ΔS_SB" not in methods.paragraph(sample_report.unbroken())


def test_without_a_coarse_surface_none_is_named():
    assert "far from the minimum" not in methods.paragraph(sample_report.sample())
    assert "displacement 0" not in methods.paragraph(sample_report.sample())
