"""What can be plugged in: a line here and a file each. docs/adding-a-*.md show how.

A name of the configuration leads to the module that does it. Modules are imported when they are
used, so that adding one makes nothing run again that does not use it, and that rules, which run
without the libraries of the stages, can read these tables.
"""

from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from types import ModuleType

SCRIPTS = Path(__file__).resolve().parents[1]

# Readers of raw conversations: data.sources.NAME.kind
SOURCES = {
    "wildchat": "drift.sources.wildchat",
    "wildfeedback": "drift.sources.wildfeedback",
    "ultrafeedback": "drift.sources.ultrafeedback",
    "lmsys": "drift.sources.lmsys",
    "sharegpt": "drift.sources.sharegpt",
    "logs": "drift.sources.logs",
    "pairs": "drift.sources.pairs",
    "simulated": "drift.sources.simulated",
}
# The one of them whose conversations the run makes: its rows say with which model.
SIMULATED = "simulated"
# Those of them that annotate the conversations of another: their rows may say where these are.
ANNOTATING = {"wildfeedback"}
# Those of them that read a message a row: their rows may say what the columns hold.
TABULAR = {"logs"}

# What tells satisfied users from dissatisfied ones: data.labelers.NAME.kind
LABELERS = {
    "lexical": "drift.labelers.lexical",
    "source": "drift.labelers.source",
    "rubric": "drift.labelers.rubric",
    "classifier": "drift.labelers.classifier",
}
# Those of them that ask a model: their rows give it by path or by endpoint.
ASKING = {"rubric"}
# Those of them whose model is a classifier: their rows give its path, and a label for each class.
CLASSIFYING = {"classifier"}

# Sides of a recipe: recipes.NAME.chosen, recipes.NAME.rejected
SIDES = {
    "logged": "drift.sides.logged",
    "plain": "drift.sides.plain",
    "guided": "drift.sides.guided",
    "plain@initial": "drift.sides.plain_initial",
    "plain@future": "drift.sides.plain_future",
    "written": "drift.sides.written",
    "best": "drift.sides.best",
    "worst": "drift.sides.worst",
}

# Models and rules that rank candidates: rankers.NAME.kind
RANKERS = {
    "classifier": "drift.rankers.classifier",
    "checks": "drift.rankers.checks",
    "medoid": "drift.rankers.medoid",
}

# Losses of pairs besides TRL's: training.losses
LOSSES = {
    "cream": "drift.losses.cream",
    "conservative": "drift.losses.conservative",
}

# What trains on the rows of a recipe: on pairs, or on replies one by one (prompts: unpaired) where
# training.losses has the name of one of the others
TRAINERS = {
    "pairs": "drift.training.pairs",
    "kto": "drift.training.kto",
    "sdpo": "drift.training.sdpo",
}

# Evaluation sets, with their metrics: evaluation.benchmarks.NAME.kind
BENCHMARKS = {
    "heldout": "drift.benchmarks.heldout",
    "wildbench": "drift.benchmarks.wildbench",
    "alpacaeval": "drift.benchmarks.alpacaeval",
    "arena-hard": "drift.benchmarks.arena_hard",
    "prompts": "drift.benchmarks.prompts",
    "checks": "drift.benchmarks.checks",
    "ifeval": "drift.benchmarks.ifeval",
    "gsm8k": "drift.benchmarks.gsm8k",
    "multiple-choice": "drift.benchmarks.multiple_choice",
}

# What a judge says: evaluation.judges.NAME.verdict
VERDICTS = {
    "letter": "drift.verdicts.letter",
    "choice": "drift.verdicts.choice",
    "score": "drift.verdicts.score",
}

# What code can decide about a reply: checks of tasks and of simulated users
CHECKS = {
    "words": "drift.checks.words",
    "sentences": "drift.checks.sentences",
    "paragraphs": "drift.checks.paragraphs",
    "includes": "drift.checks.includes",
    "ends_with": "drift.checks.ends_with",
    "no_digits": "drift.checks.no_digits",
    "no_list": "drift.checks.no_list",
}


def trainer_of(losses: Iterable[str]) -> str:
    """The name in TRAINERS of what trains with these losses."""
    return next((loss for loss in losses if loss in TRAINERS), "pairs")


def load(registry: dict[str, str], name: str) -> ModuleType:
    """The module behind `name`."""
    return import_module(registry[name])


def source_of(registry: dict[str, str], name: str) -> Path:
    """The file of that module: rules put it into the fingerprint of a stage that loads it."""
    return SCRIPTS.joinpath(*registry[name].split(".")).with_suffix(".py")
