# CIF or XYZ -> the molecule in its point group.


rule extract_molecule:
    input:
        structure_files,
    output:
        "results/{complex}/molecule/molecule.xyz",
        "results/{complex}/molecule/molecule_high_spin.xyz",
        "results/{complex}/molecule/molecule.json",
    log:
        "results/{complex}/molecule/extract_molecule.log",
    conda:
        "../../envs/spincross.yaml"
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        entry=lambda w: SETTINGS.structure_keys(w.complex),
    script:
        "../scripts/extract_molecule.py"


# A rule of its own: what the crystals say starts no calculation.
rule compare_crystals:
    input:
        structure_files,
    output:
        "results/{complex}/molecule/crystal.json",
    log:
        "results/{complex}/molecule/compare_crystals.log",
    conda:
        "../../envs/spincross.yaml"
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        library=LIBRARY,
    script:
        "../scripts/compare_crystals.py"
