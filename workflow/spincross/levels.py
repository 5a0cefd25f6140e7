"""Levels of theory and spin states, and the checks that refuse an impossible one before any SCF."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any

from pyscf import dft, gto
from pyscf.scf.dispersion import parse_dft

from spincross import pointgroup
from spincross.errors import BadInput
from spincross.molecule import Molecule

Occupation = tuple[tuple[int, int], ...]
"""Electrons of each irrep of the group, (alpha, beta)."""


@dataclass(frozen=True)
class Level:
    """A level of theory; every field but `device` takes part in what identifies stored data.

    Parameters
    ----------
    functional, basis, auxiliary_basis : names known to PySCF (libxc for the functional)
    grid_level : PySCF's grid level, 0 to 9
    scf_energy_tolerance : Eh
    scf_gradient_tolerance : norm of the orbital gradient
    device : `cpu`, `gpu` or `auto`; where the SCF runs, not what it computes
    """

    functional: str = "pbe0"
    basis: str = "def2-svp"
    auxiliary_basis: str = "def2-universal-jkfit"
    grid_level: int = 3
    scf_energy_tolerance: float = 1e-10
    scf_gradient_tolerance: float = 1e-5
    device: str = "auto"

    def tightened(self, energy: float, gradient: float) -> Level:
        """Return the same surface with other SCF thresholds."""
        return replace(self, scf_energy_tolerance=energy, scf_gradient_tolerance=gradient)

    def theory(self) -> dict[str, Any]:
        """Return everything but the device: what a record was computed with."""
        return {k: v for k, v in asdict(self).items() if k != "device"}

    def surface(self) -> dict[str, Any]:
        """Return what defines the energy surface: everything but the SCF thresholds and the device."""
        return {k: v for k, v in self.theory().items() if not k.startswith("scf_")}


@dataclass(frozen=True)
class State:
    """A spin state: name (LS, HS), multiplicity 2S+1, and electrons per irrep as ((alpha, beta), ...) or None."""

    name: str
    multiplicity: int
    occupation: Occupation | None = None


def read_occupation(stored: list[list[int]] | None) -> Occupation | None:
    """Return the electrons per irrep that a JSON file holds."""
    return tuple((alpha, beta) for alpha, beta in stored) if stored else None


def term(multiplicity: int, occupation: Occupation | None, point_group: str) -> str | None:
    """Return the term, as 5A or 5B, of electrons per irrep (alpha, beta); None without symmetry.

    In groups with two irreps the product of all occupied spin orbitals is the second one where it holds an odd number.

    >>> term(5, ((50, 47), (43, 42)), "C2")
    '5B'
    """
    names = pointgroup.irreps(point_group)
    if occupation is None or len(names) != 2:
        return None
    if len(occupation) == 1:  # no function of the second irrep
        return f"{multiplicity}{names[0]}"
    return f"{multiplicity}{names[sum(occupation[1]) % 2]}"


def check_level(level: Level, symbols: Iterable[str]) -> None:
    """Raise BadInput if PySCF does not know the functional, or the bases do not serve it or an element.

    Hartree-Fock, or nothing, is no functional: what follows needs a density functional, without VV10 or dispersion.
    """
    try:
        with warnings.catch_warnings(action="ignore"):  # PySCF tells of its plans for wb97x-d4
            _, parts = dft.libxc.parse_xc(level.functional)
    except Exception as error:  # libxc's parser raises KeyError, ValueError and others
        raise BadInput(
            f"functional {level.functional!r} is unknown to libxc; correct `functional` in the level"
        ) from error
    if not parts:
        name = level.functional
        raise BadInput(f"functional {name!r} holds no density functional; correct `functional` in the level")
    _check_local(level.functional)
    if level.auxiliary_basis.lower().endswith("-jfit") and dft.libxc.is_hybrid_xc(level.functional):
        raise BadInput(
            f"auxiliary_basis {level.auxiliary_basis!r} fits the Coulomb part only, and {level.functional} has exact "
            "exchange; take def2-universal-jkfit"
        )
    for key in ("basis", "auxiliary_basis"):
        for symbol in sorted(set(symbols)):
            try:
                with warnings.catch_warnings(action="ignore"):  # PySCF recommends another package before it fails
                    gto.basis.load(getattr(level, key), symbol)
            except Exception as error:  # BasisNotFoundError, KeyError or parser errors
                name = getattr(level, key)
                raise BadInput(f"{key} {name!r} is unknown to PySCF or lacks {symbol}; correct `{key}`") from error
            if key == "basis" and gto.basis.load_ecp(level.basis, symbol):
                raise BadInput(
                    f"basis {level.basis!r} has an effective core potential for {symbol}, which is not computed here; "
                    "take a basis for all of its electrons"
                )


def _check_local(name: str) -> None:
    """Raise BadInput for a functional with VV10 or an empirical dispersion term.

    PySCF has no analytic Hessian of an open shell with VV10, and evaluates it on a grid of its own at a cost that grows
    with the square of the points. A dispersion term comes from another package, and the Hessian here would lack it.
    """
    with warnings.catch_warnings(action="ignore"):
        try:
            dispersion = parse_dft(name)[2]
        except NotImplementedError as error:
            raise BadInput(
                f"functional {name!r} is not computed by PySCF; correct `functional` in the level"
            ) from error
    if dispersion:
        raise BadInput(f"functional {name!r} has a dispersion correction, which is not computed here; name one without")
    if dft.libxc.is_nlc(name):
        raise BadInput(
            f"functional {name!r} has non-local correlation (VV10), for which PySCF has no Hessian of open shells; "
            "name one without"
        )


def check_spin(molecule: Molecule, multiplicity: int, name: str = "the complex") -> None:
    """Raise BadInput, with the complex's name, if the multiplicity does not fit the number of electrons."""
    if multiplicity < 1 or multiplicity > molecule.electrons + 1 or (molecule.electrons - multiplicity) % 2 == 0:
        raise BadInput(
            f"charge {molecule.charge} gives {molecule.electrons} electrons, which cannot have multiplicity "
            f"{multiplicity}; correct `charge` or `multiplicity` of {name}"
        )
