# Reference records: recall finished DFT stages, keep new ones, recompute what they hold.

if RECALLED:

    rule recall_optimise:
        input:
            recorded("optimise"),
        output:
            optimised("results/{complex}/{level}/{state}/{point_group}/optimise"),
        log:
            "results/{complex}/{level}/{state}/{point_group}/optimise/recall_optimise.log",
        conda:
            "../../envs/spincross.yaml"
        params:
            stage="optimise",
        script:
            "../scripts/recall_record.py"

    rule recall_hessian:
        input:
            recorded("vibrations"),
        output:
            "results/{complex}/{level}/{state}/{point_group}/vibrations/hessian.npz",
            "results/{complex}/{level}/{state}/{point_group}/vibrations/hessian.json",
        log:
            "results/{complex}/{level}/{state}/{point_group}/vibrations/recall_hessian.log",
        conda:
            "../../envs/spincross.yaml"
        params:
            stage="vibrations",
        script:
            "../scripts/recall_record.py"

    rule recall_scan:
        input:
            recorded("symmetry_mode"),
        output:
            "results/{complex}/{level}/{state}/{point_group}/symmetry_mode/scan.json",
            "results/{complex}/{level}/{state}/{point_group}/symmetry_mode/scan.tsv",
            "results/{complex}/{level}/{state}/{point_group}/symmetry_mode/displaced.xyz",
            "results/{complex}/{level}/{state}/{point_group}/symmetry_mode/orbitals.npz",
        log:
            "results/{complex}/{level}/{state}/{point_group}/symmetry_mode/recall_scan.log",
        conda:
            "../../envs/spincross.yaml"
        params:
            stage="symmetry_mode",
        script:
            "../scripts/recall_record.py"

    ruleorder: recall_optimise > optimise_broken > optimise_parent

    if config["hessian"]["method"] == "analytic":

        ruleorder: recall_hessian > compute_hessian

    else:

        ruleorder: recall_hessian > gather_hessian
    ruleorder: recall_scan > follow_symmetry_mode


rule store_reference:
    log:
        "results/store_reference.log",
    conda:
        "../../envs/spincross.yaml"
    script:
        "../scripts/store_reference.py"


rule verify_reference:
    output:
        "results/verify_reference.json",
    log:
        "results/verify_reference.log",
    benchmark:
        "results/verify_reference.tsv"
    conda:
        "../../envs/spincross.yaml"
    threads: DFT_THREADS
    resources:
        mem_mb=verification_memory,
        runtime=480,
        dft=1,
    params:
        work="work/verify_reference",
    script:
        "../scripts/verify_reference.py"
