# One page per complex, one table over all.


rule render_report:
    input:
        unpack(report_inputs),
    output:
        report("results/{complex}/report.html", caption="../report/page.rst"),
        "results/{complex}/summary.json",
        directory("results/{complex}/figures"),
    log:
        "results/{complex}/render_report.log",
    conda:
        "../../envs/spincross.yaml"
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        library_version=VERSION,
    script:
        "../scripts/render_report.py"


rule collect_summary:
    input:
        expand("results/{complex}/summary.json", complex=config["complexes"]),
    output:
        report("results/summary.tsv", caption="../report/summary.rst"),
    log:
        "results/collect_summary.log",
    conda:
        "../../envs/spincross.yaml"
    script:
        "../scripts/collect_summary.py"
