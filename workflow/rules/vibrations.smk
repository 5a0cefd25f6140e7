# Hessian, then normal modes. Finite differences are scattered: a plan, displacements in bundles, and the gathering;
# the analytic Hessian is one job.

VIBRATIONS = "results/{complex}/{level}/{state}/{point_group}/vibrations"


if config["hessian"]["method"] == "analytic":

    rule compute_hessian:
        input:
            optimised("results/{complex}/{level}/{state}/{point_group}/optimise"),
        output:
            f"{VIBRATIONS}/hessian.npz",
            f"{VIBRATIONS}/hessian.json",
        log:
            f"{VIBRATIONS}/compute_hessian.log",
        benchmark:
            f"{VIBRATIONS}/benchmark.tsv"
        conda:
            "../../envs/spincross.yaml"
        threads: DFT_THREADS
        resources:
            mem_mb=hessian_memory,
            runtime=hessian_runtime,
            dft=1,
        params:
            work="work/{complex}/{level}/{state}/{point_group}/hessian",
            response_grid_level=config["hessian"]["response_grid_level"],
        script:
            "../scripts/compute_hessian.py"

else:

    checkpoint plan_displacements:
        input:
            optimised("results/{complex}/{level}/{state}/{point_group}/optimise"),
        output:
            f"{VIBRATIONS}/plan.json",
        log:
            f"{VIBRATIONS}/plan_displacements.log",
        conda:
            "../../envs/spincross.yaml"
        resources:
            mem_mb=2000,
            runtime=10,
        params:
            step=config["hessian"]["step"],
            displacement_grid_level=config["hessian"]["displacement_grid_level"],
        script:
            "../scripts/plan_displacements.py"

    rule compute_displacements:
        input:
            optimised("results/{complex}/{level}/{state}/{point_group}/optimise"),
            plan=f"{VIBRATIONS}/plan.json",
        output:
            f"{VIBRATIONS}/displacements/{{bundle}}.npz",
        log:
            f"{VIBRATIONS}/displacements/{{bundle}}.log",
        benchmark:
            f"{VIBRATIONS}/displacements/{{bundle}}.tsv"
        wildcard_constraints:
            bundle=r"\d+",
        conda:
            "../../envs/spincross.yaml"
        threads: DFT_THREADS
        resources:
            mem_mb=dft_memory,
            runtime=bundle_runtime,
            dft=1,
        params:
            work="work/{complex}/{level}/{state}/{point_group}/hessian",
        script:
            "../scripts/compute_displacements.py"

    # Modes inside the noise floor cost a few gradients more; without any this takes seconds.
    rule gather_hessian:
        input:
            optimised("results/{complex}/{level}/{state}/{point_group}/optimise"),
            plan=f"{VIBRATIONS}/plan.json",
            parts=planned_bundles,
        output:
            f"{VIBRATIONS}/hessian.npz",
            f"{VIBRATIONS}/hessian.json",
        log:
            f"{VIBRATIONS}/gather_hessian.log",
        benchmark:
            f"{VIBRATIONS}/benchmark.tsv"
        conda:
            "../../envs/spincross.yaml"
        threads: DFT_THREADS
        resources:
            mem_mb=settling_memory,
            runtime=dft_runtime(12),
            dft=1,
        params:
            work="work/{complex}/{level}/{state}/{point_group}/hessian",
        script:
            "../scripts/gather_hessian.py"


rule analyse_vibrations:
    input:
        optimised("results/{complex}/{level}/{state}/{point_group}/optimise"),
        f"{VIBRATIONS}/hessian.npz",
        f"{VIBRATIONS}/hessian.json",
    output:
        f"{VIBRATIONS}/vibrations.json",
        f"{VIBRATIONS}/modes.npz",
        f"{VIBRATIONS}/modes.molden",
    log:
        f"{VIBRATIONS}/analyse_vibrations.log",
    conda:
        "../../envs/spincross.yaml"
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        library_version=VERSION,
    script:
        "../scripts/analyse_vibrations.py"
