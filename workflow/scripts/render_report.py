"""The page of a complex."""

from pathlib import Path

from spincross import conclusions, config
from spincross.files import logged

with logged(Path(snakemake.log[0])):
    settings = config.load(snakemake.config, config.STRUCTURES)
    w, out = snakemake.wildcards, Path(snakemake.output[0]).parent
    states = [Path(p).parents[1] for p in snakemake.input.optimise]
    conclusions.render_report(settings, w.complex, states, Path(snakemake.input.page[0]).parent, out)
