"""The library's imports run one way, and scripts stay thin."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = ROOT / "workflow/spincross"

ORDER = """
units errors machine files checkpoints pointgroup molecule levels gpu_libraries device gpu_hessian images threads
symmetric_fitting irreps xc_cache xc_derivatives fitted_gradient fitted_hessian fitted_potentials xc_gradient
mean_field fitted_response response quasi_newton orbital_rotations electronic populations candidates cheap descent
vibrations group_optimizer optimise infrared displacements electric_field gpu_check force_constants soft_modes probe
symmetry_mode double_well orientation matching conformers disorder cif species completeness one_metal octahedron lattice
crystal crystal_pair model_cif ligands placement build mode_entropy entropy_terms entropy_shares entropy landau_model
landau_branches landau_text landau_maps landau_curves landau landau_data landau_fit gates description relaxation
energy_scan starts schemas config resources reference verification figures level_diagram findings answer scenes drawings
paper_figures landau_view summary citations report_tables methods report overview stages saddles hessian_stages
vibration_stages state_table conclusions job progress arguments __main__
""".split()  # noqa: SIM905 - a paragraph reads better than forty lines


def imported(path: Path) -> set[str]:
    """Return the dotted names that a file of the library imports, however it is written."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(["spincross"] * (node.level > 0) + [node.module] * (node.module is not None))
            names |= {base, *(f"{base}.{alias.name}" for alias in node.names)}
    return names


def test_every_module_has_its_place_in_the_order():
    assert {path.stem for path in LIBRARY.glob("*.py")} - {"__init__"} == set(ORDER)


@pytest.mark.parametrize("module", ORDER)
def test_imports_point_back_only(module):
    names = {name.split(".")[1] for name in imported(LIBRARY / f"{module}.py") if name.startswith("spincross.")}
    assert not names & set(ORDER[ORDER.index(module) :])


def test_the_library_does_not_know_snakemake():
    for path in LIBRARY.glob("*.py"):
        assert "snakemake" not in {name.split(".")[0] for name in imported(path)}, path.name


@pytest.mark.parametrize("path", sorted((ROOT / "workflow/scripts").glob("*.py")), ids=lambda p: p.stem)
def test_scripts_are_thin(path):
    assert len(path.read_text().splitlines()) <= 20


@pytest.mark.parametrize("path", sorted((ROOT / "workflow").glob("[a-z]*/")), ids=lambda p: p.name)
def test_every_room_has_a_readme(path):
    assert (path / "README.md").is_file()
