# One page per complex, one table over all.


rule render_report:
    input:
        unpack(report_inputs),
    output:
        report("results/{complex}/report.html", caption="../report/page.rst"),
        f"results/{{complex}}/{LEVEL}/summary.json",
        report(
            directory("results/{complex}/figures"),
            caption="../report/figure.rst",
            patterns=["{name}.svg"],
        ),
    log:
        "results/{complex}/render_report.log",
    conda:
        "../../envs/spincross.yaml"
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        library=LIBRARY,
        entry=lambda w: SETTINGS.entry(w.complex),
    script:
        "../scripts/render_report.py"


rule collect_summary:
    input:
        summaries=expand(
            "results/{complex}/{level}/summary.json",
            complex=config["complexes"],
            level=LEVEL,
        ),
        page=PAGE,
    output:
        report("results/index.html", caption="../report/summary.rst"),
        report("results/summary.tsv", caption="../report/summary.rst"),
    log:
        "results/collect_summary.log",
    conda:
        "../../envs/spincross.yaml"
    params:
        library=LIBRARY,
    script:
        "../scripts/collect_summary.py"
