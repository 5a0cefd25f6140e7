"""Scan the energy along the mode that breaks the parent group."""

from pathlib import Path

from spincross import config, stages
from spincross.files import logged

with logged(Path(snakemake.log[0])):
    settings = config.load(snakemake.config, config.STRUCTURES)
    settings = settings.for_job(snakemake.resources.mem_mb, snakemake.threads)
    w, out = snakemake.wildcards, Path(snakemake.output[0]).parent
    stages.follow_symmetry_mode(settings, w.complex, out.parent, out, Path(snakemake.params.work))
