"""Plan the displacements of a Hessian by finite differences."""

from pathlib import Path

from spincross import config, hessian_stages
from spincross.files import logged

with logged(Path(snakemake.log[0])):
    settings = config.load(snakemake.config, config.STRUCTURES)
    w, out = snakemake.wildcards, Path(snakemake.output[0]).parent
    hessian_stages.plan_displacements(settings, w.complex, w.state, Path(snakemake.input[0]).parent, out)
