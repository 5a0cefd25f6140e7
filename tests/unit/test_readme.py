"""The tables of the README and of RESULTS.md are those of the records."""

import re
from pathlib import Path

import numpy as np
import pytest

from spincross import __main__, config, files, job, mode_entropy
from spincross.units import HARTREE_TO_KJ_PER_MOL

ROOT = Path(__file__).resolve().parents[2]
STATES = ("LS/C2", "HS/C2", "HS/C1")


@pytest.fixture(scope="module")
def recalled(tmp_path_factory):
    """Return the folder of what the records and the stages after them give."""
    folder = tmp_path_factory.mktemp("readme")
    for stage in ("chain", "entropy"):
        __main__.main([stage, "--complex", "fe-aai2-ncs2", "--results", str(folder), "--workdir", str(folder / "work")])
    return folder / "fe-aai2-ncs2/pbe0_def2-svp"


def section(heading, file="README.md"):
    """Return a text from a heading up to the next one, with plain minus signs."""
    parts = re.split(r"^#+ ", (ROOT / file).read_text().replace("−", "-"), flags=re.MULTILINE)
    (found,) = [part for part in parts if part.startswith(heading)]
    return found


@pytest.fixture(scope="module")
def text():
    return section("Two commands")


def row(text, head):
    """Return the cells of the table's row that begins with a head."""
    (line,) = [line for line in text.splitlines() if line.startswith(f"| {head}")]
    return [cell.strip() for cell in line.strip("|").split("|")][1:]


def test_energies_bonds_and_spins(recalled, text):
    energies_bonds_and_spins([files.read_json(recalled / state / "optimise/optimise.json") for state in STATES], text)


def energies_bonds_and_spins(found, text):
    """Compare the rows of the states' optimisations."""
    relative = [(s["energy_hartree"] - found[0]["energy_hartree"]) * HARTREE_TO_KJ_PER_MOL for s in found]
    assert [float(cell) for cell in row(text, "energy (kJ/mol)")] == pytest.approx(relative, abs=0.005)
    for cell, state in zip(row(text, "Fe-N (Å)".replace("-", "–")), found, strict=True):
        lengths = sorted({round(bond["length"], 3) for bond in state["metal_bonds_angstrom"]})
        assert [float(number) for number in cell.split()] == lengths
    spins = [[s["s_squared"], s["metal_spin_population"]] for s in found]
    for cell, numbers in zip(row(text, "⟨S²⟩, spin of Fe"), spins, strict=True):
        assert [float(number) for number in cell.split(",")] == pytest.approx(numbers, abs=0.0005)


def test_modes(recalled, text):
    modes([files.read_json(recalled / state / "vibrations/vibrations.json") for state in STATES], text)


def modes(found, text):
    """Compare the rows of the states' vibrations."""
    for cell, state in zip(row(text, "imaginary modes"), found, strict=True):
        waves = [(state["wavenumbers_per_cm"][k], state["irreps"][k]) for k in state["imaginary_modes"]]
        assert cell == (", ".join(f"{-wave:.0f}i cm⁻¹ ({irrep})" for wave, irrep in waves) or "none")
    for cell, state in zip(row(text, "lowest real mode, noise floor"), found, strict=True):
        lowest = min(wave for wave in state["wavenumbers_per_cm"] if wave > 0)
        assert [float(number) for number in cell.split(",")] == pytest.approx(
            [lowest, state["noise_floor_per_cm"]], abs=0.05
        )


def test_entropies(recalled, text):
    account = files.read_json(recalled / "entropy/entropy.json")
    at = account["temperatures_K"].index(298.15)
    names = (
        "vibrational_difference_harmonic", "vibrational_difference_quasi_rrho", "spin_difference", "symmetry_breaking",
        "total_difference", "total_difference_quasi_rrho",
    )  # fmt: skip
    columns = [account[f"entropy_{name}_J_per_mol_K"] for name in names]
    expected = [column[at] if isinstance(column, list) else column for column in columns]
    (sentence,) = re.findall(r"ΔS_vib .* J/\(K mol\) at 298\.15 K", text)
    numbers = re.findall(r"(?<![\w.])-?\d+\.\d(?!\d)", sentence)
    assert [float(number) for number in numbers] == pytest.approx(expected, abs=0.05)


@pytest.fixture(scope="module")
def control(tmp_path_factory):
    """Return the control's optimisations, vibrations and scan, out of its records."""
    folder, words = tmp_path_factory.mktemp("control"), ["--complex", "fe-phen2-ncs2"]
    content = config.read_yaml(ROOT / "workflow/config/config.yaml") | {"complexes": words[1:]}
    settings = config.load(content, ROOT / "structures")
    job.recall(settings, words[1], folder)
    for state in ("LS", "HS"):
        __main__.main(["vibrations", *words, "--state", state, "--results", str(folder)])
    base = folder / "fe-phen2-ncs2/pbe0_def2-svp"
    states = [
        [files.read_json(base / state / path) for state in STATES[:2]]
        for path in ("optimise/optimise.json", "vibrations/vibrations.json")
    ]
    return *states, files.read_json(base / "HS/C2/symmetry_mode/scan.json")


def test_the_published_control(control):
    """Energies, geometries, stability, modes, the well of the scan and the entropies, of which each is in the text."""
    optimised, vibrations, scan = control
    text = section("A published control", "workflow/RESULTS.md")
    energies_bonds_and_spins(optimised, text)
    modes(vibrations, text)
    angles = [next(a["angle"] for a in o["metal_angles_degree"] if a["kind"] == "Fe-N-C") for o in optimised]
    assert [float(cell) for cell in row(text, "Fe–N–C of NCS")] == pytest.approx(angles, abs=0.05)
    lowest = [min(block["eigenvalue_hartree"] for block in o["stability_blocks"]) for o in optimised]
    assert [float(cell) for cell in row(text, "lowest eigenvalue")] == pytest.approx(lowest, abs=5e-5)
    energies, coordinates = (np.array(scan[f"scan_{key}"]) for key in ("energy_hartree", "q_amu_half_angstrom"))
    rise = (energies - energies[len(energies) // 2]) * HARTREE_TO_KJ_PER_MOL
    found = re.search(r"well ([\d.]+) kJ/mol deep, at Q = ([\d.]+) .*the energy is ([\d.]+) kJ/mol above", text)
    expected = [-rise.min(), abs(coordinates[rise.argmin()]), rise[-1]]
    assert [float(value) for value in found.groups()] == pytest.approx(expected, abs=5e-3)
    numbers = re.search(r"is ([\d.]+) \(harmonic\) or ([\d.]+) .* K, ([\d.]+) or ([\d.]+) J/\(K mol\) at 298", text)
    sums = [
        [treatment(np.array([w for w in v["wavenumbers_per_cm"] if w > 0]), kelvin).sum() for v in vibrations]
        for kelvin in (176.3, 298.15)
        for treatment in (mode_entropy.harmonic_entropy, mode_entropy.quasi_rrho_entropy)
    ]
    assert [float(n) for n in numbers.groups()] == pytest.approx([high - low for low, high in sums], abs=0.05)


FINISHED = {"optimised": "optimise", "Hessian": "vibrations", "scan": "symmetry_mode"}


def test_what_is_computed_so_far_is_what_the_records_hold():
    """One row for each complex of iron with records, one cell for each state; 'begun' is not in a record."""
    table = section("What is computed so far")
    told, there = set(), set()
    for line in table.splitlines():
        if line.startswith("| `"):
            name, _, *cells = (cell.strip() for cell in line.strip("|").split("|"))
            for state, cell in zip(STATES, cells, strict=True):
                words = [word for word in cell.split(", ") if word in FINISHED]
                told |= {(name.split("`")[1], state, FINISHED[word]) for word in words}
    for record in (ROOT / "structures/reference").glob("fe-*/pbe0_def2-svp/*/*/*/record.json"):
        name, _, state, group, stage, _ = record.relative_to(ROOT / "structures/reference").parts
        there.add((name, f"{state}/{group}", stage))
    assert told == there


@pytest.mark.parametrize(("column", "state"), [(0, "LS"), (1, "HS")])
def test_the_papers_molecule(column, state):
    """Energy, bonds, angle, spins, stability and the number of gradients on each grid."""
    found, low = (
        files.read_json(ROOT / f"structures/reference/fe-pm-pea2-ncs2/pbe0_def2-svp/{s}/C2/optimise/optimise.json")
        for s in (state, "LS")
    )
    text = section("The paper's molecule", "workflow/RESULTS.md")

    def cell(name):
        return row(text, name)[column].replace("−", "-")

    assert float(cell("energy (hartree)")) == pytest.approx(found["energy_hartree"], abs=5e-7)
    above = (found["energy_hartree"] - low["energy_hartree"]) * 2625.4996
    assert float(cell("the same from LS")) == pytest.approx(above, abs=5e-3)
    lengths = sorted({round(bond["length"], 3) for bond in found["metal_bonds_angstrom"]}, reverse=True)
    assert [float(number) for number in cell("Fe–N (Å)").split()] == lengths
    angles = {round(a["angle"], 1) for a in found["metal_angles_degree"] if a["kind"] == "Fe-N-C"}
    assert float(cell("Fe–N–C of NCS")) in angles
    assert len(angles) == 1
    spins = [float(number) for number in cell("⟨S²⟩, spin of Fe").split(",")]
    assert spins == pytest.approx([found["s_squared"], found["metal_spin_population"]], abs=5e-4)
    lowest = min(block["eigenvalue_hartree"] for block in found["stability_blocks"])
    assert float(cell("lowest eigenvalue")) == pytest.approx(lowest, abs=5e-5)
    grids = found["grid_level_per_step"]
    assert cell("gradients on the coarse grid") == f"{grids.count(1)}, {grids.count(3)}"
    hours = found["provenance"]["wall_seconds"] / 3600
    assert row(section("Machines"), f"{state}, optimised in C2")[2] == f"{hours:.1f} h"


ATOMS = {"fe-aai2-ncs2": 0, "fe-phen2-ncs2": 1}
STAGES = {
    "LS, optimised in C2": "LS/C2/optimise/optimise.json",
    "LS, Hessian": "LS/C2/vibrations/hessian.json",
    "HS, optimised in C2": "HS/C2/optimise/optimise.json",
    "HS, Hessian in C2": "HS/C2/vibrations/hessian.json",
    "scan along the breaking mode": "HS/C2/symmetry_mode/scan.json",
    "HS, optimised in C1": "HS/C1/optimise/optimise.json",
    "HS, Hessian in C1": "HS/C1/vibrations/hessian.json",
}


@pytest.mark.parametrize("complex_id", ATOMS)
@pytest.mark.parametrize("stage", STAGES)
def test_the_seconds_of_a_stage_are_those_of_its_record(complex_id, stage):
    cell = row(section("Machines"), stage)[ATOMS[complex_id]]
    record = ROOT / "structures/reference" / complex_id / "pbe0_def2-svp" / STAGES[stage]
    if cell == "not yet run":
        assert not record.exists()
    elif "estimated" not in cell:
        seconds, (number, unit) = files.read_json(record)["provenance"]["wall_seconds"], cell.split(",")[0].split()
        assert number == {"min": f"{seconds / 60:.0f}", "h": f"{seconds / 3600:.1f}"}[unit]
