# LS and HS in the parent group, and HS without symmetry where the parent is unstable.


rule optimise_parent:
    input:
        xyz=lambda w: "results/{complex}/molecule/"
        + ("molecule.xyz" if w.state == "LS" else "molecule_high_spin.xyz"),
    output:
        optimised("results/{complex}/{level}/{state}/{point_group}/optimise"),
    log:
        "results/{complex}/{level}/{state}/{point_group}/optimise/optimise_parent.log",
    benchmark:
        "results/{complex}/{level}/{state}/{point_group}/optimise/benchmark.tsv"
    conda:
        "../../envs/spincross.yaml"
    threads: DFT_THREADS
    resources:
        mem_mb=dft_memory,
        runtime=dft_runtime(100),
        dft=1,
    params:
        work="work/{complex}/{level}/{state}/{point_group}/optimise",
        convergence=config["optimisation"]["convergence"],
    script:
        "../scripts/optimise_parent.py"


rule optimise_broken:
    input:
        scan=lambda w: parent(w.complex, "HS", "symmetry_mode/scan.json"),
        displaced=lambda w: parent(w.complex, "HS", "symmetry_mode/displaced.xyz"),
        orbitals=lambda w: parent(w.complex, "HS", "symmetry_mode/orbitals.npz"),
        hessian=lambda w: parent(w.complex, "HS", "vibrations/hessian.npz"),
    output:
        optimised("results/{complex}/{level}/HS/C1/optimise"),
    log:
        "results/{complex}/{level}/HS/C1/optimise/optimise_broken.log",
    benchmark:
        "results/{complex}/{level}/HS/C1/optimise/benchmark.tsv"
    wildcard_constraints:
        complex=LOWERED,
    conda:
        "../../envs/spincross.yaml"
    threads: DFT_THREADS
    resources:
        mem_mb=dft_memory,
        runtime=dft_runtime(100),
        dft=1,
    params:
        work="work/{complex}/{level}/HS/C1/optimise",
        convergence=config["optimisation"]["convergence"],
    script:
        "../scripts/optimise_broken.py"


ruleorder: optimise_broken > optimise_parent
