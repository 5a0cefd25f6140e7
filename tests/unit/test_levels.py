"""Impossible levels and multiplicities are refused; the device is no part of what a level is."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
from pyscf import dft, gto

from sample_h2co import H2CO, LEVEL
from spincross import electronic, levels
from spincross.errors import BadInput
from spincross.levels import State


@pytest.mark.parametrize(
    ("level", "word"),
    [
        (replace(LEVEL, functional="pbezero"), "functional"),
        (replace(LEVEL, functional="hf"), "functional 'hf' holds no density functional"),
        (replace(LEVEL, functional=""), "functional '' holds no density functional"),
        (replace(LEVEL, functional="wb97x-v"), r"functional 'wb97x-v' has non-local correlation \(VV10\)"),
        (replace(LEVEL, functional="wb97m_v"), r"functional 'wb97m_v' has non-local correlation \(VV10\)"),
        (replace(LEVEL, functional="scan-vv10"), r"functional 'scan-vv10' has non-local correlation \(VV10\)"),
        (replace(LEVEL, functional="b3lyp-d3bj"), "functional 'b3lyp-d3bj' has a dispersion correction"),
        (replace(LEVEL, functional="wb97x-d4"), "functional 'wb97x-d4' has a dispersion correction"),
        (replace(LEVEL, functional="wb97x-d"), "functional 'wb97x-d' is not computed by PySCF"),
        (replace(LEVEL, basis="def9-svp"), "basis"),
        (replace(LEVEL, auxiliary_basis="nothing"), "auxiliary_basis"),
    ],
)
def test_unknown_names_in_a_level_are_refused_by_key(level, word):
    with warnings.catch_warnings(record=True, action="always") as said, pytest.raises(BadInput, match=word):
        levels.check_level(level, ["H"])
    assert said == []  # PySCF's own advice would stand beside our sentence


@pytest.mark.parametrize(("basis", "symbol"), [("lanl2dz", "Fe"), ("def2-svp", "I"), ("def2-tzvp", "Ru")])
def test_a_basis_with_an_effective_core_potential_is_refused(basis, symbol):
    """Without the potential all electrons would sit in the valence functions."""
    with pytest.raises(BadInput, match=rf"basis '{basis}' has an effective core potential for {symbol}"):
        levels.check_level(replace(LEVEL, basis=basis), ["H", symbol])
    levels.check_level(replace(LEVEL, basis=basis), ["H", "C", "N"])


@pytest.mark.parametrize("functional", ["pbe0", "bp86", "b3lyp", "tpssh", "camb3lyp", "wb97x", "r2scan", "lda,vwn"])
def test_functionals_of_the_density_at_a_point_with_or_without_exact_exchange_are_accepted(functional):
    levels.check_level(replace(LEVEL, functional=functional), ["H"])


@pytest.mark.parametrize(
    ("functional", "served"), [("bp86", True), ("r2scan", True), ("pbe0", False), ("camb3lyp", False)]
)
def test_a_basis_that_fits_no_exchange_serves_pure_functionals_only(functional, served):
    level = replace(LEVEL, functional=functional, auxiliary_basis="def2-universal-jfit")
    if served:
        levels.check_level(level, ["Fe"])
        return
    with pytest.raises(BadInput, match="fits the Coulomb part only"):
        levels.check_level(level, ["Fe"])


def test_pyscf_still_has_no_hessian_of_an_open_shell_with_vv10():
    """What the sentence at the door says; once this fails, VV10 can be looked at again."""
    method = dft.UKS(gto.M(atom="H", basis="sto-3g", spin=1, verbose=0), xc="wb97x-v")
    method.mo_coeff, method.mo_occ, method.mo_energy = np.ones((2, 1, 1)), np.array([[1.0], [0.0]]), np.zeros((2, 1))
    with pytest.raises(NotImplementedError, match="UKS Hessian for NLC"):
        method.Hessian().partial_hess_elec()


def test_the_default_functional_is_libxcs_own_pbe0():
    assert dft.libxc.parse_xc(levels.Level().functional)[1] == ((406, 1),)  # HYB_GGA_XC_PBEH
    assert dft.libxc.hybrid_coeff(levels.Level().functional) == 0.25


@pytest.mark.parametrize(("charge", "multiplicity"), [(0, 2), (1, 1), (0, 0), (0, 19)])
def test_impossible_multiplicities_are_refused(charge, multiplicity):
    with pytest.raises(BadInput, match="multiplicity"):
        levels.check_spin(replace(H2CO, charge=charge), multiplicity)


def test_the_device_changes_neither_fingerprint_nor_what_a_record_holds():
    cpu, gpu = (replace(LEVEL, device=name) for name in ("cpu", "gpu"))
    state = State("HS", 3)
    assert electronic.level_fingerprint(cpu, state, H2CO) == electronic.level_fingerprint(gpu, state, H2CO)
    assert cpu.theory() == gpu.theory()
    assert "device" not in cpu.theory()


def test_work_folders_of_earlier_versions_are_still_recognised():
    # header of a work folder that the first version wrote: formaldehyde, triplet, C2, PBE0/def2-SVP, grid 3
    written = "fe1515434281f2459dac7d9a9692c34d82737d71f0dffdb4a1d32ece6ba04a20"
    assert electronic.level_fingerprint(levels.Level(), State("HS", 3), H2CO) == written


@pytest.mark.parametrize(
    ("occupation", "group", "expected"),
    [
        (((5, 5), (4, 2)), "C2", "5A"),
        (((5, 4), (4, 3)), "C2", "5B"),
        (((5, 5), (4, 3)), "Cs", '5A"'),
        (None, "C1", None),
    ],
)
def test_the_term_counts_the_electrons_of_the_second_irrep(occupation, group, expected):
    assert levels.term(5, occupation, group) == expected
