"""What all rules share: the validated configuration, the layout of the results, and the helpers
that both are bound to."""

import os
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

SCRIPTS = Path(workflow.basedir) / "scripts"
sys.path.insert(0, str(SCRIPTS))

from drift.workflow import ConfigError, layout, load
from drift.workflow.behaviour import Behaviour
from drift.workflow.clocks import ClockError, refuse_times_ahead
from drift.workflow.config_files import named, refuse_repeated_keys
from drift.workflow.environments import ON_CPUS, with_tools
from drift.workflow.evaluation import Evaluation
from drift.workflow.exploration import Exploration
from drift.workflow.fingerprint import Code
from drift.workflow.generation import Generation
from drift.workflow.improvement import Improvement
from drift.workflow.inputs import Inputs, local_addresses, located, shipped
from drift.workflow.iterations import Iterations
from drift.workflow.judges import Benchmarks, Judges
from drift.workflow.preflight import Preflight
from drift.workflow.resources import grows, placement
from drift.workflow.unpaired import Unpaired

try:
    # Where a run or a dry run begins, and not in its jobs, which read this file as well.
    if workflow.is_main_process:
        refuse_repeated_keys(workflow.configfiles)
    config = shipped(load(named(config, workflow.config_settings.config)), Path(workflow.basedir))
    RESULTS = f"results/{config['run']}"
    paths = layout.paths(RESULTS)
    judges = Judges(config, paths, templates=SCRIPTS / "templates")
    evaluation = Evaluation(config, paths)
    exploration = Exploration(config, paths, pinned=ancient)
    if workflow.is_main_process:
        refuse_times_ahead(local_addresses(config), RESULTS)
except (ConfigError, ClockError) as error:
    raise WorkflowError(str(error)) from None

# Relative interpreters are the repository's own, wherever the run is started from.
CPU = Path(workflow.basedir) / config["environments"]["cpu"]
GPU = Path(workflow.basedir) / config["environments"]["gpu"]

os.environ.update(ON_CPUS | os.environ | with_tools(GPU, os.environ))

code = Code(SCRIPTS)
inputs = Inputs(config, paths, pinned=ancient)
iterations = Iterations(config, paths)
behaviour = Behaviour(config, paths, iterations)
unpaired = Unpaired(config, iterations)
improvement = Improvement(config, paths, iterations)
benchmarks = Benchmarks(config, paths)
generation = Generation(config, paths, iterations, pinned=ancient)
# The model of a judge, as inputs of the rules that ask it.
judge_model = lambda wildcards: generation.judge(wildcards.judge)
POLICIES = [policy for model in config["models"] for policy in iterations.policies(model)]
