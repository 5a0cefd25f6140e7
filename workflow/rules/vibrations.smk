# Hessian, then normal modes with irreps.


rule compute_hessian:
    input:
        optimised("results/{complex}/{level}/{state}/{point_group}/optimise"),
    output:
        "results/{complex}/{level}/{state}/{point_group}/vibrations/hessian.npz",
        "results/{complex}/{level}/{state}/{point_group}/vibrations/hessian.json",
    log:
        "results/{complex}/{level}/{state}/{point_group}/vibrations/compute_hessian.log",
    benchmark:
        "results/{complex}/{level}/{state}/{point_group}/vibrations/benchmark.tsv"
    conda:
        "../../envs/spincross.yaml"
    threads: DFT_THREADS
    resources:
        mem_mb=config["memory_mb"],
        runtime=2880,
        dft=1,
    params:
        work="work/{complex}/{level}/{state}/{point_group}/hessian",
    script:
        "../scripts/compute_hessian.py"


rule analyse_vibrations:
    input:
        optimised("results/{complex}/{level}/{state}/{point_group}/optimise"),
        "results/{complex}/{level}/{state}/{point_group}/vibrations/hessian.npz",
        "results/{complex}/{level}/{state}/{point_group}/vibrations/hessian.json",
    output:
        "results/{complex}/{level}/{state}/{point_group}/vibrations/vibrations.json",
        "results/{complex}/{level}/{state}/{point_group}/vibrations/modes.npz",
        "results/{complex}/{level}/{state}/{point_group}/vibrations/modes.molden",
    log:
        "results/{complex}/{level}/{state}/{point_group}/vibrations/analyse_vibrations.log",
    conda:
        "../../envs/spincross.yaml"
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        library_version=VERSION,
    script:
        "../scripts/analyse_vibrations.py"
