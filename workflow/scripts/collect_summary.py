"""One table over all complexes."""

from pathlib import Path

from spincross import conclusions
from spincross.files import logged

with logged(Path(snakemake.log[0])):
    conclusions.collect_summary([Path(p) for p in snakemake.input], Path(snakemake.output[0]))
