"""gpu4pyscf's analytic Hessian, part by part, so that a killed run repeats one part.

Read in gpu4pyscf 1.9.0: `kernel` (hessian/rhf.py) calls `hess_elec` (hessian/rhf.py for a closed, hessian/uhf.py for an
open shell), which calls `partial_hess_elec` and `make_h1` (df/hessian/rks.py, uks.py) and `solve_mo1` of its object and
contracts what they return. Here each of the three is replaced by itself with its result kept, and `kernel` calls them.
`solve_mo1` takes all atoms at once and leaves `atmlst` unread, so it is one part; of what takes its time, the products
with the orbital Hessian, each is kept until it is finished.

What the parts share is put in order first. First-order Hamiltonians and orbitals stand in the basis of the molecular
orbitals, whose signs an SCF done again may turn: the orbitals are kept with them and taken up again. And the
density-fitting tensor is dropped, as `partial_hess_elec` does, which a run that goes on does not call.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spincross.checkpoints import Arrays, Keep, mark, parts_of
from spincross.device import alike, to_numpy
from spincross.errors import solving_first_order
from spincross.files import Report

Array = NDArray[np.float64]

ORBITALS = ("mo_coeff", "mo_energy", "mo_occ")
PRODUCTS = 4
"""Place among the arguments of `solve_mo1` of the function that multiplies vectors with the orbital Hessian."""


def hessian(method: Any, report: Report, keep: Keep) -> Array:
    """Return the Hessian (N, N, 3, 3), Eh/bohr2, of gpu4pyscf's `kernel` with the response of the integration grid.

    Parameters
    ----------
    method : converged Kohn-Sham object on a GPU, with density fitting; it takes the orbitals of a run that goes on
    keep : stores the orbitals, the second derivatives at fixed orbitals, the first-order Hamiltonians and the
        first-order orbitals as they finish
    """
    orbitals = keep("gpu_orbitals", lambda: {name: to_numpy(getattr(method, name)) for name in ORBITALS})
    for name, values in orbitals.items():
        setattr(method, name, alike(values, method.mo_coeff))
    method.with_df.reset()
    work = method.Hessian()
    work.grid_response = True
    fixed, first_order, solve = work.partial_hess_elec, work.make_h1, work.solve_mo1
    spins = 1 if method.mol.spin == 0 else 2

    def kept(name: str, compute: Callable[[], Arrays]) -> Arrays:
        """Return a part from where it is stored, or compute it and tell how long it took."""

        def timed() -> Arrays:
            """Compute the part and report its seconds."""
            start = time.perf_counter()
            found = compute()
            report(f"  {name}  {time.perf_counter() - start:.0f} s")
            return found

        return keep(name, timed)

    def partial_hess_elec(*arguments: Any) -> Any:
        """Return the second derivatives at fixed orbitals, Eh/bohr2, as gpu4pyscf's method of this name."""
        found = kept("gpu_fixed_orbitals", lambda: {"hessian": to_numpy(fixed(*arguments))})
        return alike(found["hessian"], method.mo_coeff)

    def make_h1(*arguments: Any) -> Any:
        """Return the first-order Hamiltonians, Eh/bohr, as gpu4pyscf's method of this name."""
        found = kept("gpu_first_order", lambda: _split("h1", first_order(*arguments), spins))
        return _joined("h1", {name: alike(values, method.mo_coeff) for name, values in found.items()}, spins)

    def solve_mo1(*arguments: Any) -> Any:
        """Return first-order orbitals and energies, as gpu4pyscf's method of this name."""

        def solved() -> Arrays:
            """Solve for them and return them as named arrays; each product of the solver is kept on its way."""
            given = [*arguments]
            if given[PRODUCTS] is not None:
                given[PRODUCTS] = _kept_products(arguments[PRODUCTS], parts_of("gpu_orbital_response", keep))
            with solving_first_order("first-order orbitals on the GPU, all atoms at once"):
                mo1, e1 = solve(*given)
            return _split("mo1", mo1, spins) | _split("e1", e1, spins)

        found = kept("gpu_orbital_response", solved)
        return _joined("mo1", found, spins), _joined("e1", found, spins)

    work.partial_hess_elec, work.make_h1, work.solve_mo1 = partial_hess_elec, make_h1, solve_mo1
    return to_numpy(work.kernel())


def _kept_products(multiply: Callable[[Any], Any], keep: Keep) -> Callable[[Any], Any]:
    """Return a function whose products are kept: a solver begun again asks for the same ones, and catches up."""

    def kept(vectors: Any) -> Any:
        """Return the first-order potentials of first-order orbitals."""
        values = np.atleast_2d(to_numpy(vectors))
        name = mark(values.reshape(len(values), -1))
        return alike(keep(name, lambda: {"potentials": to_numpy(multiply(vectors))})["potentials"], vectors)

    return kept


def _split(name: str, values: Any, spins: int) -> Arrays:
    """Return what gpu4pyscf gives, an array for a closed shell and a pair for an open one, as named arrays."""
    return {f"{name}_{k}": to_numpy(part) for k, part in enumerate([values] if spins == 1 else values)}


def _joined(name: str, arrays: dict[str, Any], spins: int) -> Any:
    """Return named arrays as what gpu4pyscf takes."""
    parts = [arrays[f"{name}_{k}"] for k in range(spins)]
    return parts[0] if spins == 1 else parts
