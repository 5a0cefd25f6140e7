"""Compute the gradients of one bundle of displacements."""

from pathlib import Path

from spincross import config, hessian_stages
from spincross.files import logged

with logged(Path(snakemake.log[0])):
    settings = config.load(snakemake.config, config.STRUCTURES)
    settings = settings.for_job(snakemake.resources.mem_mb, snakemake.threads)
    w, out = snakemake.wildcards, Path(snakemake.output[0])
    optimised, plan, work = Path(snakemake.input[0]).parent, Path(snakemake.input.plan), Path(snakemake.params.work)
    hessian_stages.compute_bundle(settings, w.complex, w.state, optimised, plan, int(w.bundle), out, work)
