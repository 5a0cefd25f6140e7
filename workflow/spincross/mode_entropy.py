r"""Thermal functions of vibrational modes: entropy (three treatments), heat capacity, energy.

With :math:`x = h c \tilde\nu / k T`, the harmonic oscillator has

.. math:: S = R\,[x/(e^x - 1) - \ln(1 - e^{-x})], \quad C = R\,x^2 e^x/(e^x - 1)^2, \quad
          U = h c \tilde\nu\,[1/2 + 1/(e^x - 1)].

Soft modes rule the sum and are the least harmonic, so two more treatments stand beside it. Quasi-RRHO (Grimme, Chem.
Eur. J. 2012, 18, 9955) goes over to a free rotor of the same frequency,
:math:`S = w S_\mathrm{harmonic} + (1 - w) S_\mathrm{rotor}`, :math:`w = 1/[1 + (\tau/\tilde\nu)^4]`, with tau = 100
cm-1, :math:`\mu = h/(8 \pi^2 c \tilde\nu)`, :math:`\mu' = \mu B/(\mu + B)`, B = 1e-44 kg m2 and
:math:`S_\mathrm{rotor} = R\,[1/2 + \tfrac12 \ln(8 \pi^3 \mu' k T/h^2)]`. The rotor is classical: use it above about
50 K. Raised modes (Ribeiro, Marenich, Cramer, Truhlar, J. Phys. Chem. B 2011, 115, 14556): every mode below 100 cm-1
counts as 100 cm-1.

Convention: an imaginary mode is a negative wavenumber and has no entropy; it raises UnexpectedImaginaryMode and is
never dropped, flipped or made absolute. No rotation or translation: the molecule sits in a solid.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import constants

from spincross.errors import BadInput, UnexpectedImaginaryMode
from spincross.units import GAS_CONSTANT, PER_CM_TO_KELVIN, PER_CM_TO_KJ_PER_MOL

Array = NDArray[np.float64]

TAU_PER_CM: float = 100.0
"""Wavenumber at which quasi-RRHO mixes oscillator and rotor half and half, cm-1."""
DAMPING_POWER: float = 4.0
"""Power of the quasi-RRHO damping function (Chai and Head-Gordon)."""
AVERAGE_INERTIA: float = 1e-44
"""B of the quasi-RRHO rotor, kg m2."""
COLDEST_ROTOR: float = 50.0
"""Temperature from which on the classical rotor of quasi-RRHO may be used, K."""
RAISED_PER_CM: float = 100.0
"""Wavenumber to which softer modes are raised, cm-1."""


def checked(wavenumbers: ArrayLike) -> Array:
    """Return wavenumbers as an array (M,), cm-1.

    Raises
    ------
    BadInput
        if a wavenumber is not a finite number
    UnexpectedImaginaryMode
        if one is zero or negative
    """
    waves = np.asarray(wavenumbers, dtype=float)
    if waves.ndim != 1 or not np.isfinite(waves).all():
        raise BadInput(f"wavenumbers must be a list of finite numbers in cm-1, found shape {waves.shape}: {waves}")
    if (waves <= 0).any():
        found = ", ".join(f"{w:.1f}" for w in waves[waves <= 0])
        raise UnexpectedImaginaryMode(
            f"modes at {found} cm-1 (imaginary or zero) have no entropy; find the minimum before asking for it"
        )
    return waves


def _reduced(wavenumbers: ArrayLike, temperature: float) -> tuple[Array, Array]:
    """Return the checked wavenumbers and x = h c nu / k T, both (M,)."""
    if not (np.isfinite(temperature) and temperature > 0):
        raise BadInput(f"temperature must be a positive number of kelvin, found {temperature}")
    waves = checked(wavenumbers)
    return waves, waves * PER_CM_TO_KELVIN / temperature


def harmonic_entropy(wavenumbers: ArrayLike, temperature: float) -> Array:
    """Return the harmonic entropy of each mode, (M,), J/(mol K); wavenumbers in cm-1, temperature in K.

    >>> [round(float(s), 1) for s in harmonic_entropy([10.0, 20.0, 50.0, 100.0], 298.15)]
    [33.5, 27.8, 20.2, 14.5]
    """
    _, x = _reduced(wavenumbers, temperature)
    # written with exp(-x), which cannot overflow at low temperature
    occupied = -np.expm1(-x)
    return np.asarray(GAS_CONSTANT * (x * np.exp(-x) / occupied - np.log(occupied)))


def rotor_entropy(wavenumbers: ArrayLike, temperature: float, inertia: float = AVERAGE_INERTIA) -> Array:
    """Return the entropy of free rotors with these wavenumbers, (M,), J/(mol K); inertia B in kg m2."""
    waves, _ = _reduced(wavenumbers, temperature)
    mu = constants.h / (8.0 * np.pi**2 * constants.c * 100.0 * waves)
    mu_limited = mu * inertia / (mu + inertia)
    argument = 8.0 * np.pi**3 * mu_limited * constants.k * temperature / constants.h**2
    return np.asarray(GAS_CONSTANT * (0.5 + 0.5 * np.log(argument)))


def quasi_rrho_entropy(wavenumbers: ArrayLike, temperature: float, tau: float = TAU_PER_CM) -> Array:
    """Return the quasi-RRHO entropy of each mode, (M,), J/(mol K); tau in cm-1.

    >>> [round(float(s), 1) for s in quasi_rrho_entropy([10.0, 20.0, 50.0, 100.0], 298.15)]
    [21.5, 18.6, 15.1, 13.2]
    """
    weight = 1.0 / (1.0 + (tau / checked(wavenumbers)) ** DAMPING_POWER)
    oscillator = harmonic_entropy(wavenumbers, temperature)
    return np.asarray(weight * oscillator + (1.0 - weight) * rotor_entropy(wavenumbers, temperature))


def raised_entropy(wavenumbers: ArrayLike, temperature: float, floor: float = RAISED_PER_CM) -> Array:
    """Return the harmonic entropy of each mode, (M,), J/(mol K), with modes below `floor` (cm-1) raised to it."""
    return harmonic_entropy(np.maximum(checked(wavenumbers), floor), temperature)


def heat_capacity(wavenumbers: ArrayLike, temperature: float) -> Array:
    """Return the harmonic heat capacity of each mode, (M,), J/(mol K)."""
    _, x = _reduced(wavenumbers, temperature)
    return np.asarray(GAS_CONSTANT * x**2 * np.exp(-x) / np.expm1(-x) ** 2)


def zero_point_energy(wavenumbers: ArrayLike) -> float:
    """Return the zero-point energy of all modes, kJ/mol."""
    return float(0.5 * PER_CM_TO_KJ_PER_MOL * checked(wavenumbers).sum())


def thermal_energy(wavenumbers: ArrayLike, temperature: float) -> float:
    """Return the vibrational energy above the zero-point level of all modes, kJ/mol."""
    waves, x = _reduced(wavenumbers, temperature)
    return float(PER_CM_TO_KJ_PER_MOL * (waves * np.exp(-x) / -np.expm1(-x)).sum())
