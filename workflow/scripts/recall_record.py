"""Copy a reference record into the results."""

from pathlib import Path

from spincross import reference
from spincross.files import logged

with logged(Path(snakemake.log[0])):
    place, target = Path(snakemake.input[0]).parent, Path(snakemake.output[0]).parent
    reference.recall(place, target, snakemake.params.stage)
    print(f"recalled {place.name} of {'/'.join(place.parts[-5:-1])}")
