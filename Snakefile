"""DRIFT: a chat policy improved from real user dissatisfaction.

raw conversations -> turns -> labels -> dsat, sat, corrections        rules/data.smk, rules/label.smk
corrections -> warm-up (iteration 0)
iteration k: sample y+ from policy k-1, pair it with the
             real y-, one epoch of DPO -> policy k             rules/iterate.smk, rules/generate.smk
             (methods that rank what they sample: best, worst  rules/rank.smk)
every policy: held-out prompts -> answers -> judge -> scores   rules/evaluate.smk
ledger, catalog, report                                        rules/report.smk
"""

from snakemake.utils import min_version

min_version("9.19")


configfile: "config.yaml"


include: "rules/common.smk"
include: "rules/asking.smk"


from drift.workflow import slurm_guard

slurm_guard.install(RESULTS)


pathvars:
    results=RESULTS,
    logs=f"{RESULTS}/logs",
    timings=f"{RESULTS}/timings",


wildcard_constraints:
    model=one_of(config["models"]),
    judge=one_of(config["evaluation"]["judges"]),
    method=one_of(config["methods"]),
    labeler=one_of(config["data"]["labelers"]),
    benchmark=one_of(config["evaluation"]["benchmarks"]),
    policy=f"(base|warmup|({one_of(config['methods'])})/iter[1-9][0-9]*)",
    trained=f"(warmup|({one_of(config['methods'])})/iter[1-9][0-9]*)",
    k="[1-9][0-9]*",
    i="[1-9][0-9]*",
    n="[1-9][0-9]*",


include: "rules/data.smk"
include: "rules/generate.smk"
include: "rules/iterate.smk"
include: "rules/label.smk"
include: "rules/evaluate.smk"
include: "rules/rank.smk"
include: "rules/report.smk"
include: "rules/preflight.smk"


localrules:
    all,
    pairs_all,
    policies_all,
    fetch,
    resolved_config,


rule all:
    """Everything: policies, scores, and the report on them."""
    default_target: True
    input:
        report="<results>/report.html",
        catalog="<results>/catalog.duckdb",


rule pairs_all:
    """The data alone: DSAT, SAT and corrections tables."""
    input:
        expand("<results>/data/{table}.parquet", table=["dsat", "sat", "corrections"]),


rule policies_all:
    """Every policy, without its evaluation."""
    input:
        [f"{RESULTS}/{policy}/policy.json" for policy in POLICIES],
