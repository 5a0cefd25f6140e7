"""spincross: from the CIF of a spin-crossover complex to its symmetry-breaking entropy and Landau account.

Imports run one way:
units, errors -> files -> pointgroup -> molecule -> electronic -> vibrations -> optimise -> symmetry_mode
-> entropy -> landau -> report.
"""

__version__ = "0.1.0"

from spincross import machine

machine.prepare()
