"""IFEval (Zhou et al. 2023, arXiv:2311.07911): 541 prompts, 834 instructions that code verifies.

The task file is ifeval_input_data.jsonl of the data set google/IFEval, or its authors'
input_data.jsonl. The checkers are those of lm-eval (EleutherAI's evaluation harness): they decide,
and are called here.
"""

import atexit
import json
import random
import zipfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import TYPE_CHECKING

from drift.benchmarks import prompts
from drift.benchmarks.records import clean, identity, single_turn
from drift.metrics.display import Metric, percent

if TYPE_CHECKING:
    import polars as pl

    from drift.metrics.resampling import Statistic

JUDGING = prompts.JUDGING
SIZE = 541
FILES = ("path",)
# The sentence splitter that lm-eval counts with: NLTK's own punkt_tab.zip, which no package of
# NLTK's carries, and which it would download by itself at run time.
CHECK_FILES = {
    "punkt_tab": "pypi:llama-index-core==0.14.25/llama_index/core/_static/nltk_cache/tokenizers/punkt_tab.zip"
    "#sha256=e57f64187974277726a3417ca6f181ec5403676c717672eef6a748a7b20e0106"
}

METRICS = (
    Metric(
        "prompt_strict",
        "Prompts, strict",
        percent,
        "%",
        "share of answers that follow every instruction of their prompt",
        "Rising: more answers do all that their prompt asks for, by IFEval's own checkers.",
        headline=True,
        better="higher",
    ),
    Metric(
        "instruction_strict",
        "Instructions, strict",
        percent,
        help="share of instructions that are followed",
        better="higher",
    ),
    Metric(
        "prompt_loose",
        "Prompts, loose",
        percent,
        help="as prompts, strict, where an answer may also do without its first line, its last line, or its asterisks",
        better="higher",
    ),
    Metric(
        "instruction_loose",
        "Instructions, loose",
        percent,
        help="share of instructions that are followed, as loosely",
        better="higher",
    ),
)
# What ends the name of a check that an answer may keep loosely.
_LOOSELY = " (loose)"
# Of what lm-eval draws: languages are detected with it, and a letter to count that is none (tasks
# 1122 and 1129) is replaced by a drawn one.
_SEED = 0
# What makes an answer longer or shorter, of the arguments of lm-eval's checkers.
_DIRECTIONS = {"at least": "longer", "less than": "shorter"}


def key(record: dict) -> str:
    """The published key."""
    return identity(record, "key")


def task(record: dict) -> dict:
    """A line of the file as a task: a check an instruction."""
    names, arguments = record["instruction_id_list"], record["kwargs"]
    if not isinstance(names, list) or not isinstance(arguments, list) or len(names) != len(arguments) or not names:
        raise ValueError("instruction_id_list and kwargs are not two lists of one length, of one or more")
    prompt = clean(record["prompt"], "prompt")
    checks = [_instruction(name, given, prompt) for name, given in zip(names, arguments, strict=True)]
    return {"prompt": single_turn(prompt, "prompt"), "checks": checks}


def _instruction(name: object, given: object, prompt: str) -> dict:
    """An instruction as a row of the column `checks`. ValueError for one that lm-eval does not know
    or would complete by chance."""
    known = _lm_eval(None).instructions_registry.INSTRUCTION_DICT
    if name not in known:
        raise ValueError(f"instruction_id_list: lm-eval knows no {name}")
    if not isinstance(given, dict):
        raise ValueError("kwargs holds something that is not an object")
    # Files of the hub have every argument for every instruction, null where it has none.
    given = {argument: value for argument, value in given.items() if value}
    checker = known[name](name)
    try:
        checker.build_description(**given)
        used = checker.get_instruction_args() or {}
        if "prompt" in used:
            checker.build_description(prompt=prompt)
    except (TypeError, ValueError) as error:
        raise ValueError(f"kwargs of {name}: {error}") from error
    if drawn := sorted(used.keys() - given.keys() - {"prompt"}):
        raise ValueError(f"kwargs of {name}: no {', '.join(drawn)}, for which lm-eval would draw a value by chance")
    counts_text = name.startswith(("length_constraints:number_words", "length_constraints:number_sentences"))
    direction = _DIRECTIONS.get(given.get("relation"), "neutral") if counts_text else "neutral"
    return {"name": name, "arguments": json.dumps(given, sort_keys=True), "direction": direction}


def check(task: dict, answer: dict, files: Mapping[str, Path]) -> list[dict]:
    """What lm-eval's checkers find in an answer: each instruction strictly and loosely."""
    checks = task["checks"]
    document = {
        "key": task["prompt_id"],
        "prompt": task["prompt"][-1]["content"],
        "instruction_id_list": [one["name"] for one in checks],
        "kwargs": [json.loads(one["arguments"]) for one in checks],
    }
    utils = _lm_eval(files["punkt_tab"])
    random.seed(_SEED)
    found = utils.process_results(document, [answer["response"]])
    return [
        {"check": _label(checks, place) + suffix, "direction": checks[place]["direction"], "passed": passed}
        for suffix, level in (("", "strict"), (_LOOSELY, "loose"))
        for place, passed in enumerate(found[f"inst_level_{level}_acc"])
    ]


def _label(checks: list[dict], place: int) -> str:
    """The instruction's name; with a number from the second of the same name on."""
    names = [one["name"] for one in checks[: place + 1]]
    before = names[:place].count(names[place])
    return f"{names[place]} #{before + 1}" if before else names[place]


@cache
def _lm_eval(punkt: Path | None) -> ModuleType:
    """lm-eval's module for IFEval; with NLTK's data, where something is to be counted by them
    (`punkt`: the archive, or the folder that holds it)."""
    import langdetect
    import nltk

    # lm-eval looks for the data when it is imported, and downloads them where there are none.
    folder = TemporaryDirectory()
    atexit.register(folder.cleanup)
    tokenizers = Path(folder.name, "tokenizers")
    if punkt is None:
        (tokenizers / "punkt_tab").mkdir(parents=True)
        nltk.data.path.append(folder.name)
    else:
        (archive,) = punkt.rglob("punkt_tab.zip") if punkt.is_dir() else [punkt]
        with zipfile.ZipFile(archive) as opened:
            opened.extractall(tokenizers, [name for name in opened.namelist() if name.startswith("punkt_tab/english/")])
        nltk.data.path.insert(0, folder.name)
    langdetect.DetectorFactory.seed = _SEED
    from lm_eval.tasks.ifeval import utils

    return utils


def check_metrics(checks: "pl.DataFrame", base: "pl.DataFrame | None", tasks: "pl.DataFrame") -> "dict[str, Statistic]":
    """IFEval's four accuracies, and the strict one of each group of instructions."""
    import polars as pl

    from drift.metrics import check_metrics

    found: dict[str, Statistic] = {}
    loosely = pl.col("check").str.ends_with(_LOOSELY)
    for level, rows in (("strict", checks.filter(~loosely)), ("loose", checks.filter(loosely))):
        found[f"prompt_{level}"] = check_metrics.all_passed(rows)
        found[f"instruction_{level}"] = check_metrics.share_passed(rows)
    groups = checks.filter(~loosely).with_columns(group=pl.col("check").str.extract(r"^([^:]+):"))
    for (group,), rows in sorted(groups.group_by("group")):
        found[f"instruction_strict:{group}"] = check_metrics.share_passed(rows)
    return found
