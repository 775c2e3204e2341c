"""Which rules each module of scripts/ shapes, found by Python's own machinery and not by ours."""

import modulefinder
import os
from functools import cache
from pathlib import Path

from drift import plugins
from drift.benchmarks import checked
from drift.workflow.fingerprint import NO_RESULT
from tests.conftest import REPOSITORY
from tests.dag.rules import BLOCKS, program_of

SCRIPTS = REPOSITORY / "scripts"
# These sample with one engine. That the package can load others shapes nothing there.
SAMPLING = {"diagnostics", "improvement"}
THEIR_ENGINE = {"drift/engines/__init__.py", "drift/engines/transformers.py"}
# These read what judges wrote by one module of the engines, and start none.
READING = {"judgments", "compare_judgments", "rank_judgments", "labels", "report"}
READ_BY = {f"drift/engines/{name}.py" for name in ("__init__", "answers", "thoughts")}
# These run a classifier, by another module of theirs, and no engine.
CLASSIFYING = {"classify", "rewards", "pair_scores", "answer_rewards"}
CLASSIFIED_BY = {f"drift/engines/{name}.py" for name in ("__init__", "classifiers")}
# These run an encoder, likewise.
EMBEDDING = {"embed", "embedder"}
EMBEDDED_BY = CLASSIFIED_BY | {"drift/engines/encoders.py"}
# checks.py loads kinds of benchmarks for their checks, and none of the metrics of judged ones.
# Files of tasks with checks are read as published ones are; those of gsm8k are not.
JUDGED_METRICS = {f"drift/metrics/{name}.py" for name in ("judge_metrics", "length_control", "logistic_regression")}
PUBLISHED_FILES = "drift/metrics/published_files.py"
# Rules that load checks by name.
CHECKING = ("checks", "first_questions", "second_questions", "user_logs")


@cache
def imported_by(program: Path) -> frozenset[str]:
    """The modules of scripts/ that a program imports, and itself, relative to scripts/."""
    finder = modulefinder.ModuleFinder(path=[str(SCRIPTS)])
    finder.run_script(str(program))
    return frozenset(os.path.relpath(module.__file__, SCRIPTS) for module in finder.modules.values() if module.__file__)


def plugins_of(config: dict) -> list[tuple[str, dict[str, str], set[str]]]:
    """What the rules of a run load by name: rule, registry, and names in it."""
    recipes = [config["recipes"][method] for method in config["methods"]]
    sides = {recipe[side] for recipe in recipes for side in ("chosen", "rejected") if recipe[side]}
    sides |= {recipe["mix"]["side"] for recipe in recipes if recipe["mix"]}
    candidates = {name for recipe in recipes for name in recipe["candidates"]}
    kinds = {row["kind"] for row in config["evaluation"]["benchmarks"].values()}
    judge = config["evaluation"]["judges"][config["evaluation"]["judge"]]
    losses = {loss for recipe in recipes for loss in recipe["training"].get("losses", {})}
    verdicts = {row["verdict"] for row in config["evaluation"]["judges"].values()} | {"letter"}
    return [
        ("turns", plugins.SOURCES, {row["kind"] for row in config["data"]["sources"].values()}),
        ("labels", plugins.LABELERS, {row["kind"] for row in config["data"]["labelers"].values()}),
        ("tasks", plugins.BENCHMARKS, kinds),
        *(("checks", plugins.BENCHMARKS, {kind}) for kind in kinds if checked(kind)),
        # Whatever a file of prompts asks for.
        *((rule, plugins.CHECKS, set(plugins.CHECKS)) for rule in CHECKING),
        ("scores", plugins.BENCHMARKS, kinds),
        ("report", plugins.BENCHMARKS, kinds),
        ("report", plugins.VERDICTS, verdicts - {None}),
        ("requests", plugins.SIDES, (sides | candidates) & {"plain", "guided"}),
        ("requests_of", plugins.SIDES, (sides | candidates) & {"plain@initial", "plain@future", "written"}),
        ("benchmark_requests", plugins.SIDES, {"plain"}),
        # Pairs of the warm-up are logged on both sides.
        ("pairs", plugins.SIDES, sides | {"logged"}),
        ("train", plugins.LOSSES, losses & plugins.LOSSES.keys()),
        # The warm-up's are pairs.
        ("train", plugins.TRAINERS, {"pairs", *losses & plugins.TRAINERS.keys()}),
        ("judgments", plugins.VERDICTS, verdicts - {None}),
        ("rank_judgments", plugins.VERDICTS, {"score"}),
        # The run's judge compares both sides of pairs, by its own verdict if it is about two.
        ("compare_judgments", plugins.VERDICTS, {judge["verdict"] or "letter"}),
        ("rewards", plugins.RANKERS, {row["kind"] for row in config["rankers"].values()}),
        ("pair_scores", plugins.RANKERS, {row["kind"] for row in config["rankers"].values()}),
        ("answer_rewards", plugins.RANKERS, {config["rankers"][reward]["kind"]} if (reward := _rewarding(config)) else set()),
    ]


def _rewarding(config: dict) -> str | None:
    """The ranker that says how good answers are that are explored."""
    return config["exploration"] and config["exploration"]["reward"]


def users_of_modules(config: dict) -> dict[str, set[str]]:
    """The rules that a change of each module (relative to scripts/) reruns in a run of `config`."""
    users: dict[str, set[str]] = {}
    kinds = {row["kind"] for row in config["evaluation"]["benchmarks"].values()}
    for rule in BLOCKS:
        if program := program_of(rule):
            for module in imported_by(SCRIPTS / f"{program}.py"):
                users.setdefault(module, set()).add(rule)
    for rule, registry, names in plugins_of(config):
        for name in names:
            for module in imported_by(plugins.source_of(registry, name)):
                users.setdefault(module, set()).add(rule)
    for module, rules in users.items():
        if module.startswith("drift/engines/") and module not in THEIR_ENGINE:
            rules -= SAMPLING
        if module == "drift/chat.py":
            rules -= {"labels", "report"}
        if module == "drift/policies.py":  # what an engine asks of it
            rules -= {"judgments", "compare_judgments", "labels", "report"}
        if module.startswith("drift/engines/") and module not in READ_BY:
            rules -= READING
        if module.startswith("drift/engines/") and module not in CLASSIFIED_BY:
            rules -= CLASSIFYING
        if module.startswith("drift/engines/") and module not in EMBEDDED_BY:
            rules -= EMBEDDING
        if module in JUDGED_METRICS or (module == PUBLISHED_FILES and "checks" not in kinds):
            rules.discard("checks")
    return {module: rules for module, rules in users.items() if module not in NO_RESULT}
