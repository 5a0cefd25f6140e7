# From the structure of a spin-crossover complex to the entropy of its symmetry breaking: the map of the pipeline.
from snakemake.utils import min_version

min_version("9.0")


configfile: "workflow/config/config.yaml"


include: "workflow/common.smk"
include: "workflow/rules/molecule.smk"
include: "workflow/rules/optimise.smk"
include: "workflow/rules/vibrations.smk"
include: "workflow/rules/symmetry_mode.smk"
include: "workflow/rules/entropy.smk"
include: "workflow/rules/landau.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/reference.smk"


rule all:
    default_target: True
    input:
        expand("results/{complex}/report.html", complex=config["complexes"]),
        expand("results/{complex}/molecule/crystal.json", complex=config["complexes"]),
        expand(
            "results/{complex}/{level}/landau/figure_1.svg",
            complex=WITH_LANDAU,
            level=LEVEL,
        ),
        "results/index.html",
        "results/summary.tsv",
