"""Where every file of a run is: the one place that defines it.

Rules declare their inputs and outputs by these names, the catalog finds the tables of each kind by
the same patterns, and the configuration refuses names that would collide with a folder. The words
in braces are Snakemake's wildcards:

    {model}      a row of `models`
    {policy}     base, warmup or METHOD/seedS/iterK
    {trained}    a policy that was trained: warmup or METHOD/seedS/iterK
    {benchmark}, {judge}, {labeler}     rows of the configuration
    {rater}      a judge or a ranker that rates pairs
    {source}     a source of simulated conversations
    {later}      the folder of data that come after the start: data/iterK, or
                 MODEL/METHOD/seedS/iterK/data where users talk to the policies of a method and seed
    {turn}       first or again: which of its users' questions
    {explored}   the iteration whose policies' answers are compared on maps
    {asked}      the policy that an iteration's requests are put to, where it is not the one before:
                 initial, the one that its method starts from; future, METHOD.future/seedS/iterK; or
                 writer, another model
    {i}-of-{n}   a shard

Rules import this module, so it imports the standard library alone.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Self

from drift.names import HELDOUT_PAIRS

# The policies that no method makes, which all seeds share, and their iterations.
BASE, WARMUP = "base", "warmup"
_SHARED = {BASE: -1, WARMUP: 0}
# What follows a method's name in that of the policies that it asks before it trains its own.
FUTURE_SUFFIX = ".future"
# The folder of a policy that a method makes, and a number in it.
_MADE = "{method}/seed{seed}/iter{iteration}"
_NUMBER = "[1-9][0-9]*"

# Folders in which something is asked of a model: requests.parquet, completions/{i}-of-{n}.parquet.
FOLDERS = {
    "simulation": "data/simulated/{source}/{turn}",
    "labeling": "data/labelers/{labeler}",
    "sampling": "{model}/{trained}",
    "sampling_of": "{model}/{trained}/of/{asked}",
    "ranking": "{model}/{trained}/rank",
    "comparing": "{model}/{trained}/quality/{rater}",
    "answers": "{model}/{policy}/eval/{benchmark}",
    "verdicts": "{model}/{policy}/eval/{benchmark}/judge/{judge}",
    "judge_validation": "judges/{judge}/validation/{benchmark}",
}

PATTERNS = {
    # data, the same for every model
    "simulated_logs": "data/simulated/{source}/conversations.jsonl",
    "deployed_policy": "data/simulated/{source}/policy",
    "deployed_manifest": "data/simulated/{source}/policy.json",
    "turns": "data/turns.parquet",
    "labels": "data/labels.parquet",
    "agreement": "data/agreement.parquet",
    "dsat": "data/dsat.parquet",
    "sat": "data/sat.parquet",
    "corrections": "data/corrections.parquet",
    "wordless": "data/wordless.parquet",
    "pool": "data/{table}.parquet",
    "quarantine": "data/quarantine.parquet",
    "contamination": "data/contamination/{benchmark}.parquet",
    "tasks": "data/benchmarks/{benchmark}.parquet",
    "stage_ledger": "data/ledgers/{stage}.parquet",
    "ledger": "data/ledger.parquet",
    "labeler_policy": "data/labelers/{labeler}/policy",
    "labeler_manifest": "data/labelers/{labeler}/policy.json",
    "class_probabilities": "data/labelers/{labeler}/classes/{i}-of-{n}.parquet",
    "judge_policy": "judges/{judge}/policy",
    "judge_manifest": "judges/{judge}/policy.json",
    # prompts, fitted to a model
    "prompts": "{model}/prompts/{table}.parquet",
    "prompts_ledger": "{model}/prompts/{table}.ledger.parquet",
    "benchmark_prompts": "{model}/eval/{benchmark}/prompts.parquet",
    "benchmark_prompts_ledger": "{model}/eval/{benchmark}/prompts.ledger.parquet",
    "benchmark_requests": "{model}/eval/{benchmark}/requests.parquet",
    # a policy, and what it was made of
    "base_policy": "{model}/base/policy",
    "base_manifest": "{model}/base/policy.json",
    "policy": "{model}/{policy}/policy",
    "manifest": "{model}/{policy}/policy.json",
    "trained_policy": "{model}/{trained}/policy",
    "remainder": "{model}/{trained}/remainder",
    "trained_manifest": "{model}/{trained}/policy.json",
    "ranking_tasks": "{model}/{trained}/rank/tasks.parquet",
    "ranking_responses": "{model}/{trained}/rank/responses.parquet",
    "ranking_judgments": "{model}/{trained}/rank/judgments.parquet",
    "judge_scores": "{model}/{trained}/rank/scores.parquet",
    "rewards": "{model}/{trained}/rank/rewards.parquet",
    "likelihoods": "{model}/{trained}/rank/likelihoods.parquet",
    "implied_rewards": "{model}/{trained}/rank/implied.parquet",
    "rank_agreement": "{model}/{trained}/rank/agreement.parquet",
    "pairs": "{model}/{trained}/pairs.parquet",
    "unpaired": "{model}/{trained}/unpaired.parquet",
    "dropped": "{model}/{trained}/dropped.parquet",
    "pairs_ledger": "{model}/{trained}/ledger.parquet",
    "train_log": "{model}/{trained}/train.parquet",
    "reference_logps": "{model}/{trained}/reference.parquet",
    "gates": "{model}/{trained}/gates.json",
    "margins": "{model}/{trained}/margins.parquet",
    "gradients": "{model}/{trained}/gradients.parquet",
    "diagnostics": "{model}/{trained}/diagnostics.parquet",
    "improvement": "{model}/{trained}/improvement.parquet",
    "behaviour": "{model}/{trained}/behaviour.parquet",
    # how good its pairs are
    "rated_tasks": "{model}/{trained}/quality/tasks.parquet",
    "rated_responses": "{model}/{trained}/quality/responses.parquet",
    "pair_judgments": "{model}/{trained}/quality/{rater}/judgments.parquet",
    "pair_scores": "{model}/{trained}/quality/{rater}/scores.parquet",
    "pair_quality": "{model}/{trained}/quality/{rater}/quality.parquet",
    # what a policy is worth
    "responses": "{model}/{policy}/eval/{benchmark}/responses.parquet",
    "checks": "{model}/{policy}/eval/{benchmark}/checks.parquet",
    "embeddings": "{model}/{policy}/eval/{benchmark}/embeddings.parquet",
    "answer_rewards": "{model}/{policy}/eval/{benchmark}/rewards.parquet",
    "checked_rewards": "{model}/{policy}/eval/{benchmark}/checked_rewards.parquet",
    "judgments": "{model}/{policy}/eval/{benchmark}/judge/{judge}/judgments.parquet",
    "logps": f"{{model}}/{{policy}}/eval/{HELDOUT_PAIRS}/logps.parquet",
    "scores": "eval/scores.parquet",
    "comparisons": "eval/comparisons.parquet",
    "published_tasks": "eval/validation/{kind}/tasks.parquet",
    "published_responses": "eval/validation/{kind}/responses.parquet",
    "published": "eval/validation/{kind}/published.parquet",
    "published_judgments": "judges/{judge}/validation/{benchmark}/judgments.parquet",
    "validation": "eval/validation.parquet",
    # what the policies of an iteration write of what is worth writing
    "embedder": "eval/embedder.json",
    "embedding_coverage": "{model}/exploration/iter{explored}/coverage.parquet",
    "map_coverage": "{model}/exploration/iter{explored}/map_coverage.parquet",
    "maps": "{model}/exploration/iter{explored}/maps.parquet",
    "landscape": "{model}/exploration/iter{explored}/landscape.parquet",
    # what a reader opens
    "config": "config.resolved.yaml",
    "catalog": "catalog.duckdb",
    "report": "report.html",
    # what a run keeps to itself
    "preflight": "preflight/{place}.json",
    "state": "state",
    "logs": "logs",
    "run_log": "logs/run.jsonl",
    "timings": "timings",
}
# Data that come after the start lie beside those of the start, by the same names.
LATER = (
    *("turns", "labels", "dsat", "sat", "corrections", "wordless", "quarantine", "contamination", "stage_ledger"),
    *("class_probabilities", "simulated_logs"),
)
LATER_FOLDERS = ("simulation", "labeling")
PATTERNS |= {f"later_{_name}": f"{{later}}/{PATTERNS[_name].removeprefix('data/')}" for _name in LATER}
FOLDERS |= {f"later_{_name}": f"{{later}}/{FOLDERS[_name].removeprefix('data/')}" for _name in LATER_FOLDERS}
PATTERNS |= {
    "later_pool": "{later}/{table}.parquet",
    "later_prompts": "{later}/prompts/{model}/{table}.parquet",
    "later_prompts_ledger": "{later}/prompts/{model}/{table}.ledger.parquet",
}
for _kind, _folder in FOLDERS.items():
    if _kind != "answers":  # a benchmark's requests are the same for every policy of a model
        PATTERNS[f"{_kind}_requests"] = f"{_folder}/requests.parquet"
    PATTERNS[f"{_kind}_completions"] = f"{_folder}/completions/{{i}}-of-{{n}}.parquet"
    PATTERNS[f"{_kind}_usage"] = f"{_folder}/completions/{{i}}-of-{{n}}.json"


@dataclass(frozen=True)
class PolicyName:
    """A policy of a model, and its folder there: base (iteration -1), warmup (0), or what a method
    makes of a seed in iteration k >= 1. Base and warm-up have seed 0: all seeds share them."""

    method: str
    iteration: int
    seed: int

    @classmethod
    def parse(cls, folder: str) -> Self:
        """The policy of a folder. Raises ValueError where the folder is no policy's."""
        if folder in _SHARED:
            return cls(folder, _SHARED[folder], 0)
        match = _MADE_FOLDER.fullmatch(folder)
        if match is None:
            raise ValueError(f"{folder} is neither {BASE}, {WARMUP} nor METHOD/seedS/iterK")
        return cls(match["method"], int(match["iteration"]), int(match["seed"]))

    def __str__(self) -> str:
        """Its folder."""
        return self.method if self.iteration < 1 else _MADE.format(**vars(self))


_MADE_FOLDER = re.compile(
    _MADE.format(method="(?P<method>[^/]+)", seed=f"(?P<seed>{_NUMBER})", iteration=f"(?P<iteration>{_NUMBER})")
)


def made_by(method: str) -> str:
    """A constraint of {trained}: any seed and iteration of a method that the regular expression
    `method` matches."""
    return _MADE.format(method=f"(?:{method})", seed=_NUMBER, iteration=_NUMBER)


def trained_by(method: str = "[^/]+") -> str:
    """The same, or the warm-up."""
    return f"(?:{WARMUP}|{made_by(method)})"


@dataclass(frozen=True)
class LaterData:
    """Data that come after the start, and their folder: those of sources that count from an
    iteration on or, where users talk to policies, those that a policy learns from."""

    iteration: int
    model: str | None = None  # None: the same for all models, methods and seeds
    policy: PolicyName | None = None

    @classmethod
    def parse(cls, folder: str) -> Self:
        """The data of a folder. Raises ValueError where the folder is no such data's."""
        if match := _LATER_FOLDER.fullmatch(folder):
            return cls(int(match["iteration"]))
        model, _, policy = folder.removesuffix("/data").partition("/")
        name = PolicyName.parse(policy)
        return cls(name.iteration, model, name)

    def __str__(self) -> str:
        """Its folder."""
        return f"data/iter{self.iteration}" if self.policy is None else f"{self.model}/{self.policy}/data"


_LATER_FOLDER = re.compile(f"data/iter(?P<iteration>{_NUMBER})")


def later(model: str = "[^/]+", method: str = "[^/]+") -> str:
    """A constraint of {later}: the data of any iteration, or of any policy of a model and a method
    that these regular expressions match."""
    made = _MADE.format(method=f"(?:{method})", seed=_NUMBER, iteration=_NUMBER)
    return f"(?:data/iter{_NUMBER}|(?:{model})/{made}/data)"


def paths(root: str) -> SimpleNamespace:
    """Every pattern below `root`, the folder of a run, by name: `paths("results/demo").turns`."""
    return SimpleNamespace(**{name: f"{root}/{pattern}" for name, pattern in PATTERNS.items()})


def shards(pattern: str, count: int, **wildcards: str) -> list[str]:
    """The `count` files of a pattern with {i}-of-{n}, its other wildcards filled in."""
    return [pattern.format(i=i, n=count, **wildcards) for i in range(1, count + 1)]


# A shard of a table: the folder of all of them, and into how many the table is split.
_SHARD = re.compile(r"(?P<folder>.*)/\d+-of-(?P<count>\d+)\.(?:parquet|json)")


def last_split(root: str, files: list[str]) -> list[str]:
    """`files` (relative to `root`) without shards of an earlier split: where a table was split into
    another number of them before, the split that was made last counts."""
    shards = {file: match for file in files if (match := _SHARD.fullmatch(file))}
    last: dict[str, tuple[float, str]] = {}
    for file, match in shards.items():
        made = Path(root, file).stat().st_mtime, match["count"]
        last[match["folder"]] = max(made, last.get(match["folder"], made))
    return [file for file in files if file not in shards or shards[file]["count"] == last[shards[file]["folder"]][1]]


def one_of(names: Iterable[str]) -> str:
    """A constraint of a wildcard: any of `names`, literally; without names it holds for nothing."""
    return "|".join(re.escape(name) for name in names) or "(?!)"


def reserved(wildcard: str) -> frozenset[str]:
    """Names that a value of `wildcard` cannot have: files and folders of a run that stand where its
    own folder would.

    `reserved("model")` has data and report.html, which are next to {model}/...
    """
    split = [pattern.split("/") for pattern in PATTERNS.values()]
    places = {tuple(parts[:i]) for parts in split for i, part in enumerate(parts) if part == f"{{{wildcard}}}"}
    neighbours = {parts[i] for parts in split for i in range(len(parts)) if tuple(parts[:i]) in places}
    return frozenset(name for name in neighbours if "{" not in name)
