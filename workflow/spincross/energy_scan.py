"""Energies along a mode on the lowest surface: every point starts from its neighbour, is tested, and is kept.

Where two states of different irreps lie close, the parent's orbitals lead to either of them at a displaced geometry.
So each point starts from the orbitals of the one before, a mirror image from its own image, Q = 0 once more from the
innermost point, and an unstable solution is followed down.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spincross import descent, displacements, electronic, gates, images, mean_field, orbital_rotations
from spincross.checkpoints import Orbitals
from spincross.displacements import Surface
from spincross.errors import NotConverged, SymmetryLost, WrongState
from spincross.files import Json, Report, fingerprint, read_arrays
from spincross.molecule import Molecule

Array = NDArray[np.float64]


@dataclass(frozen=True)
class EnergyPoint:
    """One geometry, done: energy, Eh; occupied orbitals (nao, n) of each spin; lowest stability eigenvalue, Eh; cost.

    The eigenvalue is NaN where stability is not tested.
    """

    energy: float
    alpha: Array
    beta: Array
    stability: float
    cycles: int
    seconds: float


@dataclass(frozen=True)
class Walk:
    """What the points of one scan share.

    Parameters
    ----------
    molecule : the undisplaced geometry in its group
    surface : level, state, and orbitals of the undisplaced geometry
    limits : section `gates` of the configuration
    work : folder that keeps the points
    doubts : sentences of gates that points failed, where failures are to be warnings
    seconds : what every point took when it was computed
    """

    molecule: Molecule
    surface: Surface
    limits: Json
    work: Path
    report: Report
    doubts: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def energy(self, moved: Molecule, name: str) -> float:
        """Return the energy (Eh) of a point of the scan by its name, as `symmetry_mode.scan` gives it.

        Raises
        ------
        NotConverged, WrongState
            if its SCF fails, or if it stays unstable and failed gates are errors; an unstable point is kept, too
        StaleData, BadInput
            as `displacements.kept`
        """
        key = fingerprint([self.surface.key(moved), self.limits["stability"]])
        path = self.work / name / "energy.npz"
        found = displacements.kept(path, moved, key, lambda: self._point(moved, self._guess(name)), self.report)
        self.seconds.append(float(found["seconds"]))
        self._judge(name, found, path.parent)
        return float(found["energy"])

    def _judge(self, name: str, found: Json, folder: Path) -> None:
        """Doubt a point that is unstable, or was not tested although it should have been."""
        if not self.limits["stability"] or found["stability"] >= orbital_rotations.UNSTABLE:
            return
        energy, eigenvalue = float(found["energy"]), float(found["stability"])
        text = f"{name}, a point along the imaginary mode, at {energy:.8f} Eh"
        if np.isnan(eigenvalue):
            self.doubts.append(f"{text}: no lowest rotation of its orbitals was found")
            return
        error = WrongState(
            f"{text} is unstable (orbital Hessian eigenvalue {eigenvalue:.4f} Eh), also after following it down; "
            f"remove {folder} to compute it again"
        )
        self.doubts.extend(gates.failed(error, self.limits))

    def orbitals(self, name: str) -> Orbitals:
        """Return the occupied orbitals of a finished point."""
        stored = read_arrays(self.work / name / "energy.npz")
        return stored["alpha"], stored["beta"]

    def _guess(self, name: str) -> Orbitals:
        side, _, number = name.partition("_")
        if side == "minus":
            alpha, beta = self.orbitals(f"plus_{number}")
            level, multiplicity = self.surface.level, self.surface.state.multiplicity
            mol = mean_field.build_mol(self.molecule, level, multiplicity, self.surface.max_memory)
            mapped = images.images(mol, self.molecule.point_group)
            return mapped.orbitals(alpha), mapped.orbitals(beta)
        for before in range(int(number or 0) - 1, -1, -1) if side == "plus" else ():
            if (self.work / f"plus_{before}" / "energy.npz").exists():  # a point that failed was left out
                return self.orbitals(f"plus_{before}")
        if side == "again":
            return self.orbitals(f"plus_{number}")
        return self.surface.guess

    def _point(self, moved: Molecule, guess: Orbitals) -> EnergyPoint:
        start = time.perf_counter()
        level, state, memory = self.surface.level, self.surface.state, self.surface.max_memory
        solution = electronic.solve(moved, level, state, guess, memory)
        cycles, tested = solution.cycles, gates.stability(solution, self.limits)
        if tested.downward is not None:
            self.report(f"  unstable (eigenvalue {tested.downward.eigenvalue:.4f} Eh): following it down")
            allowed = np.inf if moved.point_group == "C1" else self.limits["density_asymmetry"]
            try:
                solution = descent.follow(solution, tested.downward.mode, moved, level, state, allowed, memory)
                cycles, tested = cycles + solution.cycles, gates.stability(solution, self.limits)
            except (NotConverged, SymmetryLost, WrongState) as error:
                self.report(f"  {error}")
        kept = [r.eigenvalue for r in tested.rotations if not r.breaks_spin]  # RKS -> UKS is no failure of a point
        eigenvalue = min(kept, default=np.nan)
        return EnergyPoint(solution.energy, *solution.orbitals, eigenvalue, cycles, time.perf_counter() - start)
