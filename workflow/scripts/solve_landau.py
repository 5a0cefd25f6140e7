"""The Landau model of a complex."""

from pathlib import Path

from spincross import conclusions, config
from spincross.files import logged

with logged(Path(snakemake.log[0])):
    settings = config.load(snakemake.config, config.STRUCTURES)
    w, out = snakemake.wildcards, Path(snakemake.output[0]).parent
    conclusions.solve_landau(settings, w.complex, Path(snakemake.input.entropy), out)
