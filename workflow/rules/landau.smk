# The Landau model: q(T), eta(T), spinodals, and the entropy check.


rule solve_landau:
    input:
        entropy="results/{complex}/{level}/entropy/entropy.json",
    output:
        "results/{complex}/{level}/landau/landau.json",
        "results/{complex}/{level}/landau/branches.tsv",
    log:
        "results/{complex}/{level}/landau/solve_landau.log",
    conda:
        "../../envs/spincross.yaml"
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        library=LIBRARY,
        settings=config["landau"],
        parameters=lambda w: SETTINGS.entry(w.complex)["landau"],
    script:
        "../scripts/solve_landau.py"


rule draw_landau:
    input:
        "results/{complex}/{level}/landau/landau.json",
    output:
        [
            f"results/{{complex}}/{{level}}/landau/{name}.{kind}"
            for name in ("figure_1", "figure_2", "figure_5")
            for kind in ("svg", "png", "tsv")
        ],
    log:
        "results/{complex}/{level}/landau/draw_landau.log",
    wildcard_constraints:
        complex=MODELLED,
    conda:
        "../../envs/spincross.yaml"
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        library=LIBRARY,
    script:
        "../scripts/draw_landau.py"
