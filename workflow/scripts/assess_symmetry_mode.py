"""Judge the breaking mode against the relaxed structure."""

from pathlib import Path

from spincross import config, stages
from spincross.files import logged

with logged(Path(snakemake.log[0])):
    settings = config.load(snakemake.config, config.STRUCTURES)
    w, out = snakemake.wildcards, Path(snakemake.output[0]).parent
    broken = Path(snakemake.input[2]).parents[1]
    stages.assess_symmetry_mode(settings, w.complex, out.parent, broken, out)
