"""DRIFT: a chat policy improved from real user dissatisfaction.

raw conversations -> turns -> labels -> dsat, sat, corrections        rules/data.smk, rules/label.smk
corrections -> warm-up (iteration 0)
iteration k: sample y+ from policy k-1, pair it with the
             real y-, one epoch of DPO -> policy k             rules/iterate.smk, rules/generate.smk
             (methods that rank what they sample: best, worst  rules/rank.smk)
             how often y+ is the better one                    rules/quality.smk
logs that come later, or what users say to policies: the same
                        tables beside the first               rules/later.smk
every policy: held-out prompts -> answers -> judge -> scores   rules/evaluate.smk
their answers on maps: what each policy covers of good ones    rules/exploration.smk
ledger, catalog, report                                        rules/report.smk
"""

from snakemake.utils import min_version

min_version("9.19")


# A configuration on the command line takes the place of the shipped one, and nothing is merged:
# the sources and models of both would be one run. The jobs that snakemake starts by itself never
# get --replace-workflow-config.
if not workflow.overwrite_configfiles:

    configfile: f"{workflow.basedir}/config.yaml"


include: "rules/common.smk"


from drift.workflow import ancient_inputs, records, resources, slurm_guard
from drift.workflow.readiness import Readiness
from drift.workflow.run_log import Telling, show

ancient_inputs.install()
slurm_guard.install(RESULTS)


pathvars:
    results=RESULTS,


include: "rules/data.smk"
include: "rules/generate.smk"
include: "rules/iterate.smk"
include: "rules/label.smk"
include: "rules/simulate.smk"
include: "rules/evaluate.smk"
include: "rules/rank.smk"
include: "rules/quality.smk"
include: "rules/later.smk"
include: "rules/exploration.smk"
include: "rules/report.smk"
include: "rules/preflight.smk"


# After the includes: a block before them does not reach wildcards that come into a rule by a
# pathvar.
wildcard_constraints:
    model=layout.one_of(config["models"]),
    judge=layout.one_of(config["evaluation"]["judges"]),
    rater=layout.one_of([*config["evaluation"]["judges"], *config["rankers"]]),
    labeler=layout.one_of(config["data"]["labelers"]),
    source=layout.one_of(config["data"]["sources"]),
    turn="first|again",
    asked="initial|future|writer",
    benchmark=layout.one_of(config["evaluation"]["benchmarks"]),
    policy=f"{layout.BASE}|{layout.trained_by(layout.one_of(config['methods']))}",
    trained=layout.trained_by(layout.one_of([*config["methods"], *iterations.future_methods])),
    later=layout.later(layout.one_of(config["models"]), layout.one_of(config["methods"])),
    explored="[1-9][0-9]*",
    i="[1-9][0-9]*",
    n="[1-9][0-9]*",


rule all:
    """Everything: policies, scores, and the report on them."""
    default_target: True
    input:
        report=paths.report,
        catalog=paths.catalog,
    localrule: True


rule pairs_all:
    """The data alone: DSAT, SAT and corrections tables."""
    input:
        paths.dsat,
        paths.sat,
        paths.corrections,
    localrule: True


rule policies_all:
    """Every policy, with no more of its evaluation than the trainings wait for."""
    input:
        [paths.manifest.replace("{model}/{policy}", policy) for policy in POLICIES],
    localrule: True


resources.run_light_stages_here(workflow)
# Each stage's log and timings are at its name and wildcards.
records.keep(workflow, paths.logs, paths.timings)
# What is told of the run, and what is looked at before its first job.
telling = Telling(workflow, record=paths.run_log, timings=paths.timings, report=paths.report)
readiness = Readiness(workflow, config, show)


onstart:
    readiness.check()
    telling.started()


onsuccess:
    telling.succeeded()


onerror:
    telling.failed()
