"""Recompute energy, gradient and modes of every record of the configured level."""

from pathlib import Path

from spincross import config, verification
from spincross.files import logged

with logged(Path(snakemake.log[0])):
    settings = config.load(snakemake.config, config.STRUCTURES)
    settings = settings.for_job(snakemake.resources.mem_mb, snakemake.threads)
    verification.verify_reference(settings, Path(snakemake.output[0]), Path(snakemake.params.work))
