"""LS and HS structure of a complex -> what tells their crystals apart."""

from pathlib import Path

from spincross import config, stages
from spincross.files import logged

with logged(Path(snakemake.log[0])):
    settings = config.load(snakemake.config, config.STRUCTURES)
    stages.compare_crystals(settings, snakemake.wildcards.complex, Path(snakemake.output[0]).parent)
