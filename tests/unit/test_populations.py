"""Populations add up, d characters are exact for pure d functions, and PySCF reads the Molden file back."""

from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from pyscf import gto
from pyscf.lo import orth
from pyscf.scf import uhf
from pyscf.tools import molden

from sample_h2co import H2CO
from spincross import files, mean_field, populations
from spincross.levels import Level
from spincross.molecule import Molecule
from spincross.units import ANGSTROM_TO_BOHR


@pytest.mark.parametrize("which", [populations.spin_populations, populations.loewdin_spin_populations])
def test_spin_populations_add_up_to_the_unpaired_electrons(triplet, singlet, which):
    found = which(triplet[0])
    assert found.sum() == pytest.approx(2.0, abs=1e-6)
    assert found[2] == pytest.approx(found[3], abs=1e-6)  # the hydrogens are images under C2
    np.testing.assert_allclose(which(singlet), 0, atol=1e-10)


def test_mulliken_spin_populations_are_pyscfs(triplet):
    method = triplet[0].mean_field
    expected = uhf.mulliken_spin_pop(method.mol, method.make_rdm1(), verbose=0)[1]
    np.testing.assert_allclose(populations.spin_populations(triplet[0]), expected, atol=1e-9)


def test_loewdin_spin_populations_are_those_of_orthogonalised_functions(triplet):
    method = triplet[0].mean_field
    overlap = method.get_ovlp()
    functions = orth.lowdin(overlap)
    alpha, beta = np.asarray(method.make_rdm1())
    per_function = np.diag(functions.T @ overlap @ (alpha - beta) @ overlap @ functions)
    expected = [per_function[a:b].sum() for _, _, a, b in method.mol.aoslice_by_atom()]
    found = populations.loewdin_spin_populations(triplet[0])
    np.testing.assert_allclose(found, expected, atol=1e-9)
    assert np.abs(found - populations.spin_populations(triplet[0])).max() > 1e-3


def test_frontier_levels_have_the_irreps_and_occupations(triplet):
    levels = populations.frontier_levels(triplet[0], H2CO, None)
    assert sum(row["occupied"] for row in levels["alpha"]) == 9
    assert {row["irrep"] for row in levels["beta"]} == {"A", "B"}
    energies = [row["energy_hartree"] for row in levels["alpha"]]
    assert energies == sorted(energies)
    assert populations.d_levels(triplet[0], H2CO, None) is None


def test_the_molden_file_gives_back_orbitals_and_energies(triplet, tmp_path):
    path = tmp_path / "orbitals.molden"
    populations.write_molden(path, triplet[0], H2CO)
    mol, energies, coefficients, occupations, labels, spins = molden.load(str(path))
    method = triplet[0].mean_field
    np.testing.assert_allclose(energies[0], np.sort(method.mo_energy[0])[: len(energies[0])], atol=1e-6)
    assert [int(o.sum()) for o in occupations] == [9, 7]
    order = np.argsort(method.mo_energy[0])[: coefficients[0].shape[1]]
    overlap = method.mol.intor("int1e_ovlp")
    same = np.einsum("mi,mn,ni->i", np.asarray(method.mo_coeff[0])[:, order], overlap, coefficients[0])
    np.testing.assert_allclose(np.abs(same), 1, atol=1e-5)
    assert mol.natm == 4


def octahedron(turn: float) -> Molecule:
    """Six donors around a metal on the axes, turned about z."""
    axes = np.vstack([np.eye(3), -np.eye(3)]) * 2.0 * ANGSTROM_TO_BOHR
    c, s = np.cos(turn), np.sin(turn)
    rotation = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    return Molecule(("Fe", *["N"] * 6), np.vstack([np.zeros(3), axes @ rotation.T]))


@pytest.mark.parametrize(
    ("turn", "eg"), [(0.0, [0, 0, 1, 0, 1]), (np.pi / 4, [1, 0, 1, 0, 0]), (np.pi / 8, [0.5, 0, 1, 0, 0.5])]
)
def test_e_g_parts_of_pure_d_functions_are_exact_in_a_turned_octahedron(turn, eg):
    frame = populations.octahedral_frame(octahedron(turn), 0)
    np.testing.assert_allclose(frame @ frame.T, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(populations.eg_share(np.eye(5), frame), eg, atol=1e-12)


def test_d_levels_are_the_atomic_d_functions_among_all_orbitals():
    molecule = octahedron(0.0)
    mol = gto.M(atom=[("Fe", (0, 0, 0))], basis="minao", spin=None, verbose=0)
    size = mol.nao
    flags = np.arange(size) < 13
    method = SimpleNamespace(mol=mol, mo_coeff=np.eye(size), mo_energy=np.arange(size) * 1.0, mo_occ=2.0 * flags)
    found = populations.d_levels(SimpleNamespace(mean_field=method), molecule, 0)
    assert [row["kind"] for row in found["alpha"]] == ["t2g-like", "t2g-like", "eg-like", "t2g-like", "eg-like"]
    assert [row["d_fraction"] for row in found["alpha"]] == pytest.approx([1.0] * 5, abs=1e-6)
    assert found["beta"] == found["alpha"]


def test_another_number_of_donors_has_no_octahedral_frame():
    short = octahedron(0.0)
    molecule = Molecule(short.symbols[:5], short.positions[:5])
    assert populations.octahedral_frame(molecule, 0) is None


RECORDS = Path(__file__).resolve().parents[2] / "structures/reference/fe-aai2-ncs2/pbe0_def2-svp"


@pytest.mark.parametrize(
    ("state", "alpha", "beta"),
    [("HS", {"t2g-like": 3, "eg-like": 2}, {"t2g-like": 1}), ("LS", {"t2g-like": 3}, {"t2g-like": 3})],
)
def test_the_d_levels_of_iron_are_filled_as_ligand_field_theory_says(state, alpha, beta):
    """t2g4 eg2 in high spin, t2g6 in low spin: the stand-in, from the orbitals that its record keeps for viewers."""
    folder = RECORDS / state / "C2/optimise"
    symbols, positions, _ = files.read_xyz(folder / "geometry.xyz")
    molecule = Molecule(symbols, positions, 0, "C2").symmetrised()
    _, energies, coefficients, occupied, *_ = molden.load(str(folder / "orbitals.molden"))
    mol = mean_field.build_mol(molecule, Level(), 5)  # UKS in both states: the file has alpha and beta
    method = SimpleNamespace(mol=mol, mo_coeff=coefficients, mo_energy=energies, mo_occ=occupied)
    found = populations.d_levels(SimpleNamespace(mean_field=method), molecule, symbols.index("Fe"))
    for spin, expected in (("alpha", alpha), ("beta", beta)):
        assert Counter(row["kind"] for row in found[spin]) == {"t2g-like": 3, "eg-like": 2}
        assert Counter(row["kind"] for row in found[spin] if row["occupied"]) == expected
        assert Counter(row["irrep"] for row in found[spin]) == {"A": 3, "B": 2}  # t2g: 2A + B, eg: A + B in C2
        for row in found[spin]:
            assert (row["eg_fraction"] > 0.5) == (row["kind"] == "eg-like")
            assert row["d_fraction"] > 0.25
