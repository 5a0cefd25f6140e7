"""The entropy account of a complex."""

from pathlib import Path

from spincross import conclusions, config
from spincross.files import logged

with logged(Path(snakemake.log[0])):
    settings = config.load(snakemake.config, config.STRUCTURES)
    w, out = snakemake.wildcards, Path(snakemake.output[0]).parent
    low, high, mode = (Path(snakemake.input[k]) for k in ("low", "high", "mode"))
    conclusions.compute_entropy(settings, w.complex, low, high, mode, out)
