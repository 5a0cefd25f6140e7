"""CIF or XYZ -> the molecule of a complex."""

from pathlib import Path

from spincross import config, stages
from spincross.files import logged

with logged(Path(snakemake.log[0])):
    settings = config.load(snakemake.config, config.STRUCTURES)
    w, out = snakemake.wildcards, Path(snakemake.output[0]).parent
    stages.extract_molecule(settings, w.complex, out)
