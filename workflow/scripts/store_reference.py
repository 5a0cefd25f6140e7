"""Keep every finished, computed DFT stage as a reference record."""

from pathlib import Path

from spincross import config, reference
from spincross.files import logged

with logged(Path(snakemake.log[0])):
    settings = config.load(snakemake.config, config.STRUCTURES)
    for line in reference.store(settings, Path("results")):
        print("stored", line)
