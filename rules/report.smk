"""What a reader opens: the resolved configuration, the ledger, the catalog of all tables, and the
report."""

from drift.workflow.report import ReportInputs, table_comments

report_inputs = ReportInputs(config, paths, POLICIES)


rule resolved_config:
    """Keep the configuration of this run, defaults included."""
    output:
        config=paths.config,
    params:
        settings=report_inputs.configuration,
        code=code("resolved_config"),
    localrule: True
    shell:
        r"""
        {CPU:q} {SCRIPTS:q}/resolved_config.py \
            --settings {params.settings:q} \
            --config {output.config:q} > {log:q} 2>&1
        """


rule ledger:
    """Follow every row from raw records to trained pairs, and check that the sums are exact."""
    input:
        parts=report_inputs.ledgers,
        later=list(report_inputs.later_ledgers),
    output:
        ledger=paths.ledger,
    params:
        code=code("ledger"),
        later=[f"{folder}={path}" for path, folder in report_inputs.later_ledgers.items()],
    resources:
        mem_mb=grows(2000),
        runtime=grows(10),
        light=1,
    shell:
        r"""
        {CPU:q} {SCRIPTS:q}/ledger.py \
            --parts {input.parts:q} \
            --later {params.later:q} \
            --ledger {output.ledger:q} > {log:q} 2>&1
        """


rule catalog:
    """Make every table reachable by SQL."""
    input:
        ledger=paths.ledger,
        agreement=paths.agreement,
        contamination=report_inputs.contamination,
        scores=paths.scores,
        diagnostics=report_inputs.diagnostics,
        improvement=report_inputs.improvement,
        behaviour=report_inputs.behaviour,
        pair_quality=report_inputs.pair_quality,
        validation=report_inputs.validation,
        exploration=exploration.tables,
        comparisons=paths.comparisons,
    output:
        catalog=paths.catalog,
    params:
        code=code("catalog"),
        comments=lambda wildcards: table_comments(SCRIPTS),
        results=subpath(output.catalog, parent=True),
    resources:
        mem_mb=grows(2000),
        runtime=grows(10),
        light=1,
    shell:
        r"""
        {CPU:q} {SCRIPTS:q}/catalog.py \
            --results {params.results:q} \
            --catalog {output.catalog:q} > {log:q} 2>&1
        """


rule report:
    """Write one page on the run: what was done, what was dropped, the scores, and the costs."""
    input:
        config=paths.config,
        catalog=paths.catalog,
        scores=paths.scores,
        comparisons=paths.comparisons,
        ledger=paths.ledger,
    output:
        report=paths.report,
    params:
        code=code("report", "templates/report/*", *report_inputs.plugins),
        results=subpath(output.report, parent=True),
        timings=paths.timings,
    resources:
        mem_mb=grows(4000),
        runtime=grows(30),
        light=1,
    shell:
        r"""
        {CPU:q} {SCRIPTS:q}/report.py \
            --results {params.results:q} \
            --config {input.config:q} \
            --catalog {input.catalog:q} \
            --timings {params.timings:q} \
            --report {output.report:q} > {log:q} 2>&1
        """
