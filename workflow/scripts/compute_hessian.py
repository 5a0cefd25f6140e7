"""Compute the Hessian of an optimised state."""

from pathlib import Path

from spincross import config, hessian_stages
from spincross.files import logged

with logged(Path(snakemake.log[0])):
    settings = config.load(snakemake.config, config.STRUCTURES)
    settings = settings.for_job(snakemake.resources.mem_mb, snakemake.threads)
    w, out = snakemake.wildcards, Path(snakemake.output[0]).parent
    optimised = Path(snakemake.input[0]).parent
    hessian_stages.compute_hessian(settings, w.complex, w.state, optimised, out, Path(snakemake.params.work))
