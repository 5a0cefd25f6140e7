"""The Landau figures of the paper, drawn from a complex's own curves."""

from pathlib import Path

from spincross import conclusions
from spincross.files import logged

with logged(Path(snakemake.log[0])):
    conclusions.draw_landau(Path(snakemake.input[0]), Path(snakemake.output[0]).parent)
