# The mode that breaks the parent group of HS: scan it, then judge it against the relaxed structure.


rule follow_symmetry_mode:
    input:
        "results/{complex}/{level}/HS/{point_group}/vibrations/vibrations.json",
        "results/{complex}/{level}/HS/{point_group}/vibrations/modes.npz",
        optimised("results/{complex}/{level}/HS/{point_group}/optimise"),
    output:
        "results/{complex}/{level}/HS/{point_group}/symmetry_mode/scan.json",
        "results/{complex}/{level}/HS/{point_group}/symmetry_mode/scan.tsv",
        "results/{complex}/{level}/HS/{point_group}/symmetry_mode/displaced.xyz",
        "results/{complex}/{level}/HS/{point_group}/symmetry_mode/orbitals.npz",
    log:
        "results/{complex}/{level}/HS/{point_group}/symmetry_mode/follow_symmetry_mode.log",
    benchmark:
        "results/{complex}/{level}/HS/{point_group}/symmetry_mode/benchmark.tsv"
    conda:
        "../../envs/spincross.yaml"
    threads: DFT_THREADS
    resources:
        mem_mb=dft_memory,
        runtime=scan_runtime,
        dft=1,
    params:
        work="work/{complex}/{level}/HS/{point_group}/symmetry_mode",
        scan_points=config["symmetry_mode"]["scan_points"],
    script:
        "../scripts/follow_symmetry_mode.py"


rule assess_symmetry_mode:
    input:
        lambda w: parent(w.complex, "HS", "symmetry_mode/scan.json"),
        lambda w: parent(w.complex, "HS", "vibrations/vibrations.json"),
        optimised("results/{complex}/{level}/HS/C1/optimise"),
    output:
        "results/{complex}/{level}/HS/{point_group}/symmetry_mode/mode.json",
        "results/{complex}/{level}/HS/{point_group}/symmetry_mode/animation.xyz",
    log:
        "results/{complex}/{level}/HS/{point_group}/symmetry_mode/assess_symmetry_mode.log",
    conda:
        "../../envs/spincross.yaml"
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        library=LIBRARY,
    script:
        "../scripts/assess_symmetry_mode.py"
