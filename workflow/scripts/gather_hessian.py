"""Assemble displaced gradients into a Hessian."""

from pathlib import Path

from spincross import config, hessian_stages
from spincross.files import logged

with logged(Path(snakemake.log[0])):
    settings = config.load(snakemake.config, config.STRUCTURES)
    settings = settings.for_job(snakemake.resources.mem_mb, snakemake.threads)
    w, out = snakemake.wildcards, Path(snakemake.output[0]).parent
    optimised, parts = Path(snakemake.input[0]).parent, [Path(part) for part in snakemake.input.parts]
    work = Path(snakemake.params.work)
    hessian_stages.gather_hessian(settings, w.complex, w.state, optimised, parts, out, work)
