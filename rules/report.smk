"""What a reader opens: the resolved configuration, the ledger, the catalog of all tables, and the report."""


rule resolved_config:
    """Keep the configuration that this run really used, defaults included."""
    localrule: True
    output:
        config="<results>/config.resolved.yaml",
    params:
        settings=settings(**config),
        code=code("resolved_config"),
    log:
        "<logs>/resolved_config.log",
    shell:
        "{CPU:q} {SCRIPTS:q}/resolved_config.py --settings {params.settings:q} --config {output.config:q} > {log:q} 2>&1"


rule ledger:
    """Follow every row from raw records to trained pairs, and check that the sums are exact."""
    input:
        parts=[
            *(f"{RESULTS}/data/ledgers/{stage}.parquet" for stage in ("turns", "labels", "pools")),
            *(
                f"{RESULTS}/{model}/prompts/{table}.ledger.parquet"
                for model in config["models"]
                for table in sorted({"dsat", "corrections"} | {config["recipes"][method]["prompts"] for method in config["methods"]})
            ),
            *(
                f"{RESULTS}/{model}/eval/{benchmark}/prompts.ledger.parquet"
                for model in config["models"]
                for benchmark in config["evaluation"]["benchmarks"]
            ),
            *(f"{RESULTS}/{policy}/ledger.parquet" for policy in POLICIES if Path(policy).name != "base"),
        ],
    output:
        ledger="<results>/data/ledger.parquet",
    params:
        code=code("ledger"),
    log:
        "<logs>/ledger.log",
    benchmark:
        "<timings>/ledger/all.jsonl"
    resources:
        mem_mb=grows(2000),
        runtime=grows(10),
    shell:
        "{CPU:q} {SCRIPTS:q}/ledger.py --parts {input.parts:q} --ledger {output.ledger:q} > {log:q} 2>&1"


rule catalog:
    """Make every table reachable by SQL."""
    input:
        ledger="<results>/data/ledger.parquet",
        agreement="<results>/data/agreement.parquet",
        contamination=[
            f"{RESULTS}/data/contamination/{name}.parquet"
            for name, row in config["evaluation"]["benchmarks"].items()
            if not row["keep_out"]
        ],
        scores="<results>/eval/scores.parquet",
        diagnostics=[f"{RESULTS}/{policy}/diagnostics.parquet" for policy in POLICIES if Path(policy).name != "base"],
        validation=f"{RESULTS}/eval/validation.parquet" if config["evaluation"]["validation"] else [],
        comparisons="<results>/eval/comparisons.parquet",
    output:
        catalog="<results>/catalog.duckdb",
    params:
        code=code("catalog"),
        results=lambda wildcards, output: Path(output.catalog).parent,
    log:
        "<logs>/catalog.log",
    benchmark:
        "<timings>/catalog/all.jsonl"
    resources:
        mem_mb=grows(2000),
        runtime=grows(10),
    shell:
        "{CPU:q} {SCRIPTS:q}/catalog.py --results {params.results:q} --catalog {output.catalog:q} > {log:q} 2>&1"


rule report:
    """One page on the run: what was done, what was dropped, what came out, what it cost."""
    input:
        config="<results>/config.resolved.yaml",
        catalog="<results>/catalog.duckdb",
        scores="<results>/eval/scores.parquet",
        comparisons="<results>/eval/comparisons.parquet",
        ledger="<results>/data/ledger.parquet",
    output:
        report="<results>/report.html",
    params:
        code=code("report", "templates/report.html.j2"),
        results=lambda wildcards, output: Path(output.report).parent,
        benchmarks=lambda wildcards, output: Path(output.report).parent / "benchmarks",
    log:
        "<logs>/report.log",
    benchmark:
        "<timings>/report/all.jsonl"
    resources:
        mem_mb=grows(4000),
        runtime=grows(30),
    shell:
        "{CPU:q} {SCRIPTS:q}/report.py --results {params.results:q} --config {input.config:q} --catalog {input.catalog:q}"
        " --benchmarks {params.benchmarks:q} --report {output.report:q} > {log:q} 2>&1"
