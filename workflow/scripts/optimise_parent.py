"""Optimise a state in the parent group."""

from pathlib import Path

from spincross import config, stages
from spincross.files import logged

with logged(Path(snakemake.log[0])):
    settings = config.load(snakemake.config, config.STRUCTURES)
    settings = settings.for_job(snakemake.resources.mem_mb, snakemake.threads)
    w, out = snakemake.wildcards, Path(snakemake.output[0]).parent
    xyz, work = Path(snakemake.input.xyz), Path(snakemake.params.work)
    stages.optimise_parent(settings, w.complex, w.state, w.point_group, xyz, out, work)
