r"""Direct minimisation of a Kohn-Sham energy by turns of its orbitals, with a quasi-Newton (BFGS) orbital Hessian.

DIIS crawls along soft rotations (two d orbitals of one irrep close in energy, the standing difficulty of quintet
iron(II)). Here the occupied orbitals turn by :math:`C \to C e^{\kappa}` against the slope :math:`F_{ai}`, and earlier
turns, with the changes of slope that they brought, stand for the orbital Hessian: geometric direct minimisation (Van
Voorhis, Head-Gordon, Mol. Phys. 2002, 100, 1713) with limited memory (Nocedal, Math. Comp. 1980, 35, 773) about the
gaps of the orbital energies. Two things make it short: the first pairs are products with the orbital Hessian, in the
Krylov space of a Newton step; and in the frame of the orbitals pairs hold at a neighbouring geometry too.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyscf import lib
from pyscf.scf import hf

from spincross import response
from spincross.mean_field import orthonormalised, tagged_density

Array = NDArray[np.float64]

LARGEST_TURN = 0.5
"""Longest step, norm of the turn (rad): two mixed states have their minimum within pi/4 of either."""
SMALLEST_GAP = 0.05
"""Least gap of orbital energies (Eh) that is used as a curvature."""
PAIRS = 80
"""How many pairs are kept, the last ones; together as large as some 55 Fock matrices. The first hold the soft turns:
five geometries of an iron complex took 45 cycles where none was left out, 57 with 55 pairs, 64 with 40."""
PRODUCTS, PRECISION = 20, 0.05
"""Most products with the orbital Hessian at a time, and the part of the slope at which the Newton step is found."""
UPHILL = 1e-8
"""Rise of the energy (Eh) above which a step is taken back."""
FLATTEST = 1e-5
"""Least curvature (Eh) of a pair: quintets of iron have rotations of 3e-4 Eh, and products are in single precision."""


@dataclass(frozen=True)
class Frame:
    """Orbitals (nao, nmo) of each spin, one spin for a closed shell, the `filled` ones first, and their irreps.

    Turns and slopes over them are flat: (virtual, occupied) of one spin after the other. Orbitals of different irreps
    do not mix: with electrons per irrep that are held, what is left of such slopes by round-off would grow.
    """

    orbitals: tuple[Array, ...]
    filled: tuple[int, ...]
    irreps: tuple[NDArray[np.int_], ...]

    @classmethod
    def of(cls, method: Any) -> Frame:
        """Return the orbitals of a Kohn-Sham object of the CPU."""
        occupied = [o > 0 for o in np.atleast_2d(method.mo_occ)]
        found: Any = [method.mo_coeff] if len(occupied) == 1 else method.mo_coeff
        labels: Any = [np.zeros(len(o), dtype=int) for o in occupied]
        if method.mol.symmetry:
            labels = method.get_orbsym(method.mo_coeff)
            labels = [labels] if len(occupied) == 1 else labels
        rows = [
            (np.asarray(c), np.asarray(k), np.argsort(~o, kind="stable"))
            for c, k, o in zip(found, labels, occupied, strict=True)
        ]
        filled = tuple(int(o.sum()) for o in occupied)
        return cls(tuple(c[:, order] for c, _, order in rows), filled, tuple(k[order] for _, k, order in rows))

    @property
    def kept(self) -> Array:
        """1 for each element of a flat turn that keeps the irreps, 0 for the others."""
        pairs = zip(self.irreps, self.filled, strict=True)
        return np.concatenate([np.equal.outer(k[n:], k[:n]).reshape(-1) for k, n in pairs]).astype(float)

    @property
    def occupied(self) -> list[Array]:
        """Occupied orbitals (nao, n) of each spin."""
        return [c[:, :n] for c, n in zip(self.orbitals, self.filled, strict=True)]

    @property
    def virtual(self) -> list[Array]:
        """Virtual orbitals (nao, n) of each spin."""
        return [c[:, n:] for c, n in zip(self.orbitals, self.filled, strict=True)]

    def parts(self, flat: Array) -> list[Array]:
        """Return a flat turn as (virtual, occupied) of each spin."""
        shapes = [(v.shape[1], o.shape[1]) for v, o in zip(self.virtual, self.occupied, strict=True)]
        borders = np.cumsum([a * b for a, b in shapes])[:-1]
        return [part.reshape(shape) for part, shape in zip(np.split(flat, borders), shapes, strict=True)]

    def matrices(self, fock: Array) -> list[Array]:
        """Return Fock matrices (nao, nao), two of them for an open shell, over the orbitals of each spin."""
        each = np.reshape(fock, (len(self.filled), *np.shape(fock)[-2:]))
        return [c.T @ f @ c for c, f in zip(self.orbitals, each, strict=True)]

    def slope_and_gaps(self, fock: Array) -> tuple[Array, Array]:
        """Return F_ai and F_aa - F_ii, flat, of Fock matrices as in `matrices`."""
        pairs = [(m, m.diagonal(), n) for m, n in zip(self.matrices(fock), self.filled, strict=True)]
        gaps = [np.subtract.outer(e[n:], e[:n]).reshape(-1) for _, e, n in pairs]
        return self.kept * np.concatenate([m[n:, :n].reshape(-1) for m, _, n in pairs]), np.concatenate(gaps)

    def turned(self, turn: Array) -> Frame:
        """Return the orbitals after a flat turn along a geodesic (Edelman, Arias, Smith, 1998)."""
        turned = []
        for occupied, virtual, part in zip(self.occupied, self.virtual, self.parts(turn), strict=True):
            left, angles, right = np.linalg.svd(part, full_matrices=False)
            inner, outer = occupied @ right.T, virtual @ left
            cosine, sine = np.cos(angles) - 1, np.sin(angles)
            occupied = occupied + (inner * cosine + outer * sine) @ right
            turned.append(np.hstack([occupied, virtual + (outer * cosine - inner * sine) @ left.T]))
        return replace(self, orbitals=tuple(turned))

    def at(self, overlap: Array) -> Frame:
        """Return the nearest orbitals that are orthonormal in another overlap (nao, nao)."""
        return replace(self, orbitals=tuple(orthonormalised(c, overlap) for c in self.orbitals))

    def spans_all(self, overlap: Array) -> bool:
        """Tell whether these orbitals span all functions, and would in another overlap (nao, nao).

        Where PySCF leaves out dependent functions, each geometry has a space of its own.
        """
        whole = all(len(c) == c.shape[1] for c in self.orbitals)
        return whole and bool(np.linalg.eigvalsh(overlap)[0] > hf.overlap_zero_eigenvalue_threshold)

    def give(self, method: Any) -> None:
        """Let a Kohn-Sham object hold these orbitals."""
        orbitals, filled = self.orbitals, [np.zeros(c.shape[1]) for c in self.orbitals]
        for occupations, count in zip(filled, self.filled, strict=True):
            occupations[:count] = 3 - len(filled)
        if method.mol.symmetry:
            orbitals = tuple(lib.tag_array(c, orbsym=k) for c, k in zip(orbitals, self.irreps, strict=True))
        method.mo_coeff = orbitals[0] if len(orbitals) == 1 else orbitals
        method.mo_occ = np.array(filled)[0 if len(orbitals) == 1 else slice(None)]


@dataclass(frozen=True)
class Curvature:
    """Orbitals, and flat pairs over them of a turn and the change of slope that it brings."""

    frame: Frame
    pairs: tuple[tuple[Array, Array], ...] = ()

    def step(self, slope: Array, gaps: Array, longest: float) -> Array:
        """Return the quasi-Newton step, flat, shortened to `longest` (rad)."""
        step, shares = -slope, []
        for turn, change in reversed(self.pairs):
            shares.append((turn @ step) / (turn @ change))
            step = step - shares[-1] * change
        step = step / np.maximum(gaps, SMALLEST_GAP)
        for (turn, change), share in zip(self.pairs, reversed(shares), strict=True):
            step = step + turn * (share - (change @ step) / (turn @ change))
        return np.asarray(step * min(1.0, longest / max(float(np.linalg.norm(step)), 1e-30)))

    def learned(self, turn: Array, change: Array) -> Curvature:
        """Return the same with one more pair, unless the energy is flat or bends down along it."""
        bent = turn @ change > FLATTEST * (turn @ turn)
        return replace(self, pairs=(*self.pairs, (turn, change))[-PAIRS:]) if bent else self

    def at(self, overlap: Array) -> Curvature:
        """Return the same at a neighbouring geometry with another overlap (nao, nao)."""
        return replace(self, frame=self.frame.at(overlap))

    def over(self, frame: Frame, overlap: Array) -> Curvature:
        """Return the same over other orbitals of the same occupied space, in an overlap (nao, nao)."""
        old = zip(self.frame.virtual, self.frame.occupied, frame.virtual, frame.occupied, strict=True)
        mixed = [(v.T @ overlap @ new_v, o.T @ overlap @ new_o) for v, o, new_v, new_o in old]

        def carried(flat: Array) -> Array:
            """Return a flat turn of the old orbitals as one of the new."""
            parts = zip(self.frame.parts(flat), mixed, strict=True)
            turned = [(virtual.T @ part @ occupied).reshape(-1) for part, (virtual, occupied) in parts]
            return frame.kept * np.concatenate(turned)

        return Curvature(frame, tuple((carried(turn), carried(change)) for turn, change in self.pairs))


@dataclass(frozen=True)
class _Point:
    """Orbitals, their Fock matrices and energy (Eh), flat slope and gaps (Eh)."""

    frame: Frame
    fock: Array
    energy: float
    slope: Array
    gaps: Array


def explored(method: Any, fock: Array, grid_level: int) -> tuple[Curvature, int]:
    """Return the curvature in the Krylov space of the Newton step, by conjugate gradients, and the number of products.

    From its pairs alone the quasi-Newton step is Newton's, unless one was too flat to keep. It ends where the energy
    bends down.

    Parameters
    ----------
    method : Kohn-Sham object of the CPU, near convergence, for which `response.possible`
    fock : its Fock matrix (nao, nao), two of them for an open shell, Eh
    grid_level : grid of the exchange-correlation kernel
    """
    frame = Frame.of(method)
    frame.give(method)
    fx = response.induced_potential(method, grid_level)
    matrices, (slope, gaps) = frame.matrices(fock), frame.slope_and_gaps(fock)
    inverse = 1.0 / np.maximum(gaps, SMALLEST_GAP)
    curvature, residual, turn, before = Curvature(frame), -slope, np.zeros_like(slope), 1.0
    products = 0
    while products < PRODUCTS:
        products += 1
        reduced = float(residual @ (inverse * residual))
        turn = inverse * residual + (reduced / before) * turn
        change = _product(frame, matrices, fx, turn)
        if turn @ change <= 0:
            break
        curvature, before = curvature.learned(turn, change), reduced
        residual = residual - (reduced / (turn @ change)) * change
        if np.linalg.norm(residual) < PRECISION * np.linalg.norm(slope):
            break
    return curvature, products


def _product(frame: Frame, matrices: list[Array], fx: Any, turn: Array) -> Array:
    """Return the orbital Hessian times a turn, both flat, from Fock matrices over the orbitals, Eh."""
    parts = frame.parts(turn)
    rows = [np.pad(part, ((n, 0), (0, 0))) for part, n in zip(parts, frame.filled, strict=True)]
    found = np.split(fx(np.concatenate([r.reshape(-1) for r in rows])[None])[0], np.cumsum([r.size for r in rows])[:-1])
    slopes = []
    for part, row, induced, f, n in zip(parts, rows, found, matrices, frame.filled, strict=True):
        slopes.append(f[n:, n:] @ part - part @ f[:n, :n] + induced.reshape(row.shape)[n:])
    return frame.kept * np.concatenate([slope.reshape(-1) for slope in slopes])


def minimise(method: Any, start: Curvature, max_cycles: int) -> tuple[Curvature | None, Array]:
    """Turn the orbitals of a Kohn-Sham object of the CPU until it is converged by its own thresholds.

    It then holds canonical orbitals and their energies, e_tot, converged, cycles, as after its kernel. It is left
    unconverged after `max_cycles`, and where the orbitals found are not the lowest of their Fock matrix.

    Returns what was learned, over the orbitals that `method` holds, None where they are not the lowest; and their Fock
    matrix (Eh).
    """
    overlap, core, longest = method.get_ovlp(), method.get_hcore(), LARGEST_TURN
    curvature, point = start, _point(method, start.frame, core, overlap)
    scale = 2.0 if len(start.frame.filled) == 1 else 1.0  # of a closed shell PySCF's slope is twice this
    method.converged, method.cycles = False, 0
    while method.cycles < max_cycles and not method.converged:
        step = curvature.step(point.slope, point.gaps, longest)
        after = _point(method, point.frame.turned(step), core, overlap)
        curvature = curvature.learned(step, after.slope - point.slope)
        method.cycles += 1
        gain = point.energy - after.energy
        if gain < -UPHILL:
            longest = 0.5 * float(np.linalg.norm(step))
            continue
        point, longest = after, LARGEST_TURN
        flat = scale * np.linalg.norm(point.slope) < method.conv_tol_grad
        method.converged = bool(abs(gain) < method.conv_tol and flat)
    method.e_tot = point.energy
    point.frame.give(method)
    curvature = replace(curvature, frame=point.frame)
    return (_canonical(method, curvature, point.fock, overlap) if method.converged else curvature), point.fock


def _point(method: Any, frame: Frame, core: Array, overlap: Array) -> _Point:
    density = tagged_density(frame.occupied, overlap)
    potential = method.get_veff(method.mol, density)
    fock = np.asarray(method.get_fock(core, overlap, potential, density))
    return _Point(frame, fock, float(method.energy_tot(density, core, potential)), *frame.slope_and_gaps(fock))


def _canonical(method: Any, curvature: Curvature, fock: Array, overlap: Array) -> Curvature | None:
    """Make the orbitals of a Kohn-Sham object canonical; return the same over them, None if they are not the lowest."""
    method.mo_energy, method.mo_coeff = method.canonicalize(method.mo_coeff, method.mo_occ, fock)
    if not np.array_equal(method.get_occ(method.mo_energy, method.mo_coeff), method.mo_occ):
        method.converged = False
        return None
    method._finalize()  # sorts the orbitals of a molecule in its group
    return curvature.over(Frame.of(method), overlap)
