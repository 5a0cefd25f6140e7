"""Derivatives of Coulomb and exchange in an analytic Hessian: this code's way against PySCF's, in turn.

`make bench-hessian` while nothing else runs (options in BENCH: --complex, --state, --repeats). It asserts nothing. Both
ways take the orbitals of a reference record in C2, without symmetry, and compute second derivatives and first-order
potentials. Seconds are medians; scratch is the largest file that PySCF opened for it.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import numpy as np
from pyscf import lib
from pyscf.df.hessian import rhf as df_rhf
from pyscf.df.hessian import uhf as df_uhf

from spincross import checkpoints, config, fitted_hessian, fitted_potentials, hessian_stages, mean_field, reference


def recorded(complex_id: str, state: str) -> Any:
    """Return a Kohn-Sham object with the occupied orbitals of a record, energies and virtual orbitals left out."""
    settings = config.load(config.read_yaml(config.WORKFLOW / "config/config.yaml"), config.STRUCTURES)
    folder = reference.folder(settings, complex_id, state, "C2", "optimise")
    _, molecule = hessian_stages.optimised_molecule(settings, complex_id, folder)
    multiplicity = settings.state(complex_id, state).multiplicity
    mol = mean_field.build_mol(molecule, settings.level, multiplicity, adapted=False)
    method = mean_field.kohn_sham(mol, settings.level)
    spins = checkpoints.load_orbitals(folder / "orbitals.npz")
    closed, width = multiplicity == 1, spins[0].shape[1]
    padded = [np.pad(c, ((0, 0), (0, width - c.shape[1]))) for c in spins]
    method.mo_coeff = spins[0] if closed else np.array(padded)
    filled = [np.arange(width) < c.shape[1] for c in spins]
    method.mo_occ = 2.0 * filled[0] if closed else np.array(filled, dtype=float)
    method.mo_energy = 0.0 * method.mo_occ
    return method


def pyscf_way(method: Any) -> tuple[Any, Any]:
    """Return second derivatives and potentials by PySCF's functions."""
    closed, share = np.ndim(method.mo_occ) == 1, method._numint.hybrid_coeff(method.xc, spin=method.mol.spin)
    module, hessian = df_rhf if closed else df_uhf, method.Hessian()
    _, coulomb, exchange = module._partial_hess_ejk(hessian, method.mo_energy, method.mo_coeff, method.mo_occ)
    potentials = [
        j - share * (0.5 * k if closed else np.array(k))
        for _, _, j, k in module._gen_jk(hessian, method.mo_coeff, method.mo_occ)
    ]
    return coulomb - share * exchange, np.array(potentials)


def this_way(method: Any) -> tuple[Any, Any]:
    """Return the same by this code."""
    fitting = fitted_hessian.fitting_of(method)
    assert fitting is not None
    potentials = np.zeros((len(fitting.orbitals), method.mol.natm, 3, method.mol.nao, method.mol.nao))
    second = fitted_hessian.second_derivatives(fitting)
    fitted_potentials.add_potentials(fitting, potentials)
    return second, potentials[0] if len(potentials) == 1 else potentials.transpose(1, 0, 2, 3, 4)


def measured(way: Callable[[Any], tuple[Any, Any]], method: Any) -> tuple[float, float, tuple[Any, Any]]:
    """Return seconds, MB of the largest scratch file, and what was computed."""
    files: list[Any] = []
    make = lib.H5TmpFile

    def opened(*args: Any, **options: Any) -> Any:
        files.append(os.dup((file := make(*args, **options)).id.get_vfd_handle()))
        return file

    start = time.perf_counter()
    with patch.object(lib, "H5TmpFile", opened):
        found = way(method)
    seconds = time.perf_counter() - start
    sizes = [os.fstat(handle).st_size for handle in files]
    for handle in files:
        os.close(handle)
    return seconds, max(sizes, default=0) / 1e6, found


def main() -> None:
    """Measure both ways in turn and print medians, their ratio and what they differ by."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--complex", default="h2co")
    parser.add_argument("--state", default="LS")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    method = recorded(options.complex, options.state)
    runs = [(measured(pyscf_way, method), measured(this_way, method)) for _ in range(options.repeats)]
    print(f"{options.complex} {options.state}, {lib.num_threads()} threads, median of {options.repeats}")
    medians = [statistics.median(run[k][0] for run in runs) for k in (0, 1)]
    for name, seconds, k in zip(("PySCF", "spincross"), medians, (0, 1), strict=True):
        print(f"{name:10s} {seconds:9.2f} s  {runs[0][k][1]:9.1f} MB scratch")
    print(f"ratio      {medians[0] / medians[1]:9.2f}")
    for what, k in (("second derivatives", 0), ("potentials", 1)):
        print(f"largest difference of {what}: {np.abs(runs[0][0][2][k] - runs[0][1][2][k]).max():.1e}")


if __name__ == "__main__":
    main()
