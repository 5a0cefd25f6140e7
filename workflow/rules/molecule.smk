# CIF or XYZ -> the molecule in its point group.


rule extract_molecule:
    input:
        low_spin=lambda w: STRUCTURES / SETTINGS.entry(w.complex)["low_spin_structure"],
        complexes=STRUCTURES / "complexes.yaml",
    output:
        "results/{complex}/molecule/molecule.xyz",
        "results/{complex}/molecule/molecule_high_spin.xyz",
        "results/{complex}/molecule/molecule.json",
    log:
        "results/{complex}/molecule/extract_molecule.log",
    params:
        library_version=VERSION,
    resources:
        mem_mb=1000,
        runtime=10,
    script:
        "../scripts/extract_molecule.py"
