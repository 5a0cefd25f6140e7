# The entropy account: LS in the parent group against the HS minimum.


rule compute_entropy:
    input:
        low=lambda w: parent(w.complex, "LS", "vibrations/vibrations.json"),
        high="results/{complex}/{level}/HS/C1/vibrations/vibrations.json",
        mode=lambda w: parent(w.complex, "HS", "symmetry_mode/mode.json"),
    output:
        "results/{complex}/{level}/entropy/entropy.json",
        "results/{complex}/{level}/entropy/entropy.tsv",
        "results/{complex}/{level}/entropy/modes.tsv",
    log:
        "results/{complex}/{level}/entropy/compute_entropy.log",
    conda:
        "../../envs/spincross.yaml"
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        library=LIBRARY,
        temperatures=config["temperatures_K"],
        calorimetry=lambda w: SETTINGS.entry(w.complex)["calorimetry"],
        literature=lambda w: SETTINGS.entry(w.complex)["literature"],
    script:
        "../scripts/compute_entropy.py"
