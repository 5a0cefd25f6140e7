# One page per complex, one table over all.


def report_inputs(w):
    states = [f"LS/{PARENTS[w.complex]}", f"HS/{PARENTS[w.complex]}", "HS/C1"]
    base = f"results/{w.complex}/{LEVEL}"
    return {
        "molecule": f"results/{w.complex}/molecule/molecule.json",
        "optimise": [f"{base}/{s}/optimise/optimise.json" for s in states],
        "vibrations": [f"{base}/{s}/vibrations/vibrations.json" for s in states],
        "mode": parent(w.complex, "HS", "symmetry_mode/mode.json"),
        "entropy": f"{base}/entropy/entropy.json",
        "landau": f"{base}/landau/landau.json",
        "template": workflow.source_path("../report/page.html.j2"),
    }


rule render_report:
    input:
        unpack(report_inputs),
    output:
        report("results/{complex}/report.html", caption="../report/page.rst"),
        "results/{complex}/summary.json",
    log:
        "results/{complex}/render_report.log",
    params:
        library_version=VERSION,
    resources:
        mem_mb=2000,
        runtime=10,
    script:
        "../scripts/render_report.py"


rule collect_summary:
    input:
        expand("results/{complex}/summary.json", complex=config["complexes"]),
    output:
        report("results/summary.tsv", caption="../report/summary.rst"),
    log:
        "results/collect_summary.log",
    script:
        "../scripts/collect_summary.py"
