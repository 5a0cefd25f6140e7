"""One table over all complexes."""

from pathlib import Path

from spincross import conclusions
from spincross.files import logged

with logged(Path(snakemake.log[0])):
    page, folder = Path(snakemake.input.page[0]).parent, Path(snakemake.output[0]).parent
    conclusions.collect_summary([Path(p) for p in snakemake.input.summaries], page, folder)
