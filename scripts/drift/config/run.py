"""The whole configuration of a run, and how it is read."""

import re
from fnmatch import fnmatchcase
from types import UnionType
from typing import Any, Literal, get_args, get_origin

from pydantic import Field, ValidationError, field_validator, model_validator

from drift import layout, plugins
from drift.config.base import MAX_SEED, NAME, ConfigError, Model, Name, Section, listed, unknown
from drift.config.data import Data
from drift.config.evaluation import Evaluation, in_words
from drift.config.exploration import Exploration, exploration_fault
from drift.config.overrides import REFUSED, effective
from drift.config.recipes import LIKELIHOOD, RECIPES, SELF, Ranker, Recipe, is_unpaired
from drift.config.training import SINGLE_LOSSES, Prompting, Sampling, Training

# Keys and values that had another name, with the name that they have now; * is any name of a row.
RENAMED_KEYS = {
    "data.max_seed": "max_corrections",
    "data.test_seed_conversations": "test_correction_conversations",
    "data.filters.drop_pagers": "drop_continuations",
    "reward_models": "rankers",
}
# Keys that are several now, with what to write instead.
DIVIDED_KEYS = {
    "seed": "this key is two now: 'data.seed' (of the data, the split, the picks, the judging and the resampling) and 'seeds', "
    "a list (of sampling and training); instead of seed: 42 write seeds: [42] and data: {seed: 42}",
}
RENAMED_VALUES = {
    "recipes.*.prompts": {"seed": "corrections"},
    "recipes.*.chosen": {"user": "logged"},
    "recipes.*.rejected": {"user": "logged"},
}


class Engine(Section):
    """How engines run on this machine. None of these but `backend` changes a result."""

    backend: Literal["vllm", "transformers"] = Field(
        "vllm", description="transformers: slower, for machines where vLLM cannot be installed"
    )
    tensor_parallel: int = Field(1, ge=1, description="GPUs that share one model")
    gpu_memory: float = Field(0.92, gt=0, le=1, description="share of a GPU's memory for vLLM")
    prefix_caching: bool = Field(True, description="vLLM reads what prompts have in common once")
    cpu_cache_gib: int = Field(2, ge=1, description="largest key-value cache where there is no GPU, GiB")


class Environments(Section):
    """The stages' Python interpreters, relative to the repository or absolute."""

    cpu: str = Field(".venv/cpu/bin/python", description="data, reports")
    gpu: str = Field(".venv/gpu/bin/python", description="generation, training; the cpu one works without a GPU")


class Report(Section):
    """What the report shows."""

    texts: Literal["all", "none"] = Field(
        "all",
        description="none: no word of conversations and answers, and no id of them, so that the page can be passed on; the tables "
        "keep them",
    )


class Config(Section):
    """A run."""

    run: Name = Field(description="results go to results/RUN")
    seeds: list[int] = Field(
        [42],
        min_length=1,
        json_schema_extra={"items": {"type": "integer", "minimum": 1, "maximum": MAX_SEED}, "uniqueItems": True},
        description="repeats of sampling and training, each over all iterations of every method; data, base model, warm-up and "
        "what is asked of benchmarks are shared, so that one more seed reruns nothing of the others; their order means nothing",
    )
    iterations: int = Field(2, ge=1, description="K: iterations of sampling and training")
    models: dict[Name, Model] = Field(min_length=1, description="the models to improve")
    methods: list[str] = Field(["drift"], min_length=1, description="rows of `recipes` to run")
    recipes: dict[Name, Recipe] = Field(RECIPES, description="the table of methods")
    rankers: dict[Name, Ranker] = Field({}, description="models and rules that can rank candidates")
    data: Data
    prompting: Prompting = Prompting()
    sampling: Sampling = Sampling()
    training: Training = Training()
    evaluation: Evaluation
    exploration: Exploration | None = Field(
        None, description="how much of what is worth writing each policy writes; null: nothing is measured"
    )
    report: Report = Report()
    engine: Engine = Engine()
    environments: Environments = Environments()

    @field_validator("seeds", mode="before")
    @classmethod
    def _seeds_are_distinct(cls, seeds: Any) -> list[int]:
        wanted = f"list whole numbers from 1 to {MAX_SEED:,}, each once, as in seeds: [42] or seeds: [1, 2, 3]"
        if not isinstance(seeds, list) or not seeds:
            raise ValueError(f"{seeds!r} is not a list of seeds; {wanted}")
        for seed in seeds:
            if type(seed) is not int or not 1 <= seed <= MAX_SEED:
                raise ValueError(f"{seed!r} is not a seed; {wanted} (0 stands for policies that all seeds share)")
        if twice := sorted({seed for seed in seeds if seeds.count(seed) > 1}):
            raise ValueError(f"{twice[0]} is listed twice, and would make the same policy twice; {wanted}")
        return sorted(seeds)

    @model_validator(mode="after")
    def _methods_are_rows(self) -> "Config":
        for method in self.methods:
            if method not in self.recipes:
                raise ValueError(f"methods: {unknown(method, self.recipes)}")
        if len(set(self.methods)) < len(self.methods):
            raise ValueError("methods: a method is listed twice")
        return self

    @model_validator(mode="after")
    def _primary_is_a_method(self) -> "Config":
        against, known = self.evaluation.primary.against, [*self.methods, layout.BASE]
        if against is not None and against not in known:
            raise ValueError(f"evaluation.primary.against: {unknown(against, known)}")
        if [against] == self.methods:
            raise ValueError(f"evaluation.primary.against: {against} is the only method; compare it with base")
        return self

    @model_validator(mode="after")
    def _names_are_free(self) -> "Config":
        tables = {
            "models": (self.models, layout.reserved("model")),
            "recipes": (self.recipes, layout.reserved("policy") | {layout.BASE, layout.WARMUP}),
            "data.labelers": (self.data.labelers, layout.reserved("labeler")),
            "evaluation.benchmarks": (self.evaluation.benchmarks, layout.reserved("benchmark")),
            "evaluation.judges": (self.evaluation.judges, layout.reserved("judge")),
        }
        if names := [name for name in self.recipes if name.endswith(layout.FUTURE_SUFFIX)]:
            raise ValueError(f"recipes: '{names[0]}' is the name of a method's future policies; choose another")
        for key, (rows, taken) in tables.items():
            if names := sorted(rows.keys() & taken):
                raise ValueError(f"{key}: '{names[0]}' is a file or folder of its own in the results; choose another name")
        return self

    @model_validator(mode="after")
    def _rankers_are_rows(self) -> "Config":
        judges, rankers = self.evaluation.judges, self.rankers
        reserved = {SELF, LIKELIHOOD}
        if (judges.keys() | rankers.keys()) & reserved or judges.keys() & rankers.keys():
            raise ValueError(f"rankers, evaluation.judges: their names must differ, and none can be '{SELF}' or '{LIKELIHOOD}'")
        for name, recipe in self.recipes.items():
            if recipe.writer is not None and recipe.writer not in judges:
                raise ValueError(f"recipes.{name}.writer: {unknown(recipe.writer, judges)}")
            if recipe.rank is None:
                continue
            if recipe.rank not in {*reserved, *judges, *rankers}:
                raise ValueError(f"recipes.{name}.rank: {unknown(recipe.rank, [SELF, LIKELIHOOD, *judges, *rankers])}")
            if recipe.rank in judges and judges[recipe.rank].verdict not in (None, "score"):
                raise ValueError(
                    f"recipes.{name}.rank: judge '{recipe.rank}' compares two answers; candidates need scores (verdict: score)"
                )
        return self

    @model_validator(mode="after")
    def _data_come_in_time(self) -> "Config":
        for name, source in self.data.sources.items():
            if source.from_iteration > self.iterations:
                raise ValueError(
                    f"data.sources.{name}.from_iteration {source.from_iteration}, but there are iterations: {self.iterations}; "
                    "raise iterations, or let it count from an earlier one"
                )
        if self.data.last_arrival == 1:
            for name in self.methods:
                if self.recipes[name].fresh is not None:
                    raise ValueError(
                        f"recipes.{name}.fresh: no data come after the start; give a source from_iteration: 2 or later (or "
                        "simulation.deployed: previous), or leave fresh out"
                    )
        return self

    @model_validator(mode="after")
    def _pools_give_enough_pairs(self) -> "Config":
        for method in self.methods:
            pool = self.recipes[method].prompts
            rows = getattr(self.data, f"max_{pool}", None)
            if self.training.pairs and rows and rows < self.training.pairs:
                raise ValueError(
                    f"training.pairs {self.training.pairs}, but method {method} has no more than data.max_{pool} {rows} prompts; "
                    "raise the maximum, with room for prompts that make no pair"
                )
        return self

    @model_validator(mode="after")
    def _sections_of_methods_hold(self) -> "Config":
        values = self.model_dump()
        for name, recipe in values["recipes"].items():
            for key in (key for key in REFUSED if recipe[key]):
                try:
                    type(getattr(self, key)).model_validate(effective(values, key, recipe))
                except ValidationError as error:
                    faults = "; ".join(_fault(fault) for fault in error.errors())
                    raise ValueError(f"recipes.{name}.{key}, with the run's {key}: {faults}") from None
        return self

    @model_validator(mode="after")
    def _candidates_can_differ(self) -> "Config":
        values = self.model_dump()
        for name in self.methods:
            kinds = self.recipes[name].candidates
            if len(set(kinds)) < len(kinds) and not effective(values, "sampling", values["recipes"][name])["temperature"]:
                raise ValueError(
                    f"recipes.{name}.candidates: several of one kind are the same reply at sampling.temperature 0; raise it"
                )
        return self

    @model_validator(mode="after")
    def _losses_fit_their_rows(self) -> "Config":
        values = self.model_dump()
        run = {"training": {}, "prompts": "corrections"}  # the warm-up's pairs
        for key, recipe in {"training": run, **values["recipes"]}.items():
            where, training = key if key == "training" else f"recipes.{key}.training", effective(values, "training", recipe)
            single = [loss for loss in training["losses"] if loss in SINGLE_LOSSES]
            if single and not is_unpaired(recipe):
                raise ValueError(
                    f"{where}.losses: {single[0]} trains on replies one by one, which prompts: unpaired gives; set both in the "
                    "row of a method"
                )
            if is_unpaired(recipe) and not single:
                raise ValueError(
                    f"{where}.losses: {', '.join(training['losses'])} compares the two replies of a pair, and prompts: unpaired "
                    f"has single ones; set training: {{losses: {{{SINGLE_LOSSES[0]}: 1.0}}}} in the row, or make pairs, with "
                    "prompts: dsat"
                )
            if single and training["pacing"]:
                raise ValueError(f"{where}.pacing: it orders pairs; set training: {{pacing: null}} in the row")
        return self

    @model_validator(mode="after")
    def _losses_have_their_columns(self) -> "Config":
        values = self.model_dump()
        for key, recipe in {"training": {"training": {}, "rank": None}, **values["recipes"]}.items():
            for loss in plugins.LOSSES.keys() & effective(values, "training", recipe)["losses"]:
                if "consistency" in plugins.load(plugins.LOSSES, loss).COLUMNS and recipe["rank"] != LIKELIHOOD:
                    where = key if key == "training" else f"recipes.{key}.training"
                    raise ValueError(
                        f"{where}.losses: {loss} weighs pairs by how far two rankings agree, which rank: {LIKELIHOOD} alone "
                        "gives; set both in the row of a method"
                    )
        return self

    @model_validator(mode="after")
    def _raters_are_rows(self) -> "Config":
        known = [*self.evaluation.judges, *self.rankers]
        for rater in listed(self.training.pair_quality.rater):
            if rater not in known:
                raise ValueError(f"training.pair_quality.rater: {unknown(rater, known)}")
        return self

    @model_validator(mode="after")
    def _behaviour_is_of_a_benchmark(self) -> "Config":
        benchmark, known = self.training.behaviour.benchmark, self.evaluation.benchmarks
        if benchmark is not None and benchmark not in known:
            raise ValueError(f"training.behaviour.benchmark: {unknown(benchmark, known)}")
        compared = {name for name, row in known.items() if in_words(row.kind)}
        if self.training.behaviour.outcome != "off" and not (compared if benchmark is None else benchmark in compared):
            raise ValueError(
                "training.behaviour compares answers in words: name a benchmark that is answered in words, or set outcome: off"
            )
        return self

    @model_validator(mode="after")
    def _exploration_fits(self) -> "Config":
        section = self.exploration
        if section and (found := exploration_fault(section, self.evaluation.benchmarks, self.rankers, self.iterations)):
            raise ValueError(f"exploration.{found}")
        return self

    @model_validator(mode="after")
    def _replies_fit(self) -> "Config":
        replies = {"sampling": (self.sampling.max_tokens, "sampling", self.sampling.context)}
        for name, row in self.evaluation.benchmarks.items():
            key = f"evaluation.benchmarks.{name}"
            context = (key, row.context) if row.context else ("sampling", self.sampling.context)
            if in_words(row.kind):
                replies[f"{key}.decoding"] = (row.decoding.max_tokens, *context)
        for name, recipe in self.recipes.items():
            if recipe.self_ranking:
                verdict = recipe.self_ranking.decoding.max_tokens
                replies[f"recipes.{name}.self_ranking.decoding"] = (verdict, "sampling", self.sampling.context)
        for key, (tokens, section, context) in replies.items():
            if tokens >= context:
                raise ValueError(f"{key}.max_tokens {tokens} leaves no room for a prompt in {section}.context {context}")
        if self.sampling.max_tokens >= self.training.max_length:
            raise ValueError(
                f"sampling.max_tokens {self.sampling.max_tokens} leaves no room for a prompt in training.max_length {self.training.max_length}"
            )
        return self


def load(values: dict) -> dict:
    """`values` (as read from YAML) with every default filled in. Raises ConfigError that lists
    every fault.

    A method that sets keys of a section itself has all of that section's keys in its row: what is
    in effect for it.
    """
    try:
        config = Config.model_validate(values).model_dump(mode="json")
    except ValidationError as error:
        faults = [_fault(fault) for fault in error.errors()]
        raise ConfigError("the configuration cannot be used:\n" + "\n".join(f"  - {fault}" for fault in faults)) from None
    for recipe in config["recipes"].values():
        for key, refused in REFUSED.items():
            if recipe[key]:
                recipe[key] = {name: value for name, value in effective(config, key, recipe).items() if name not in refused}
    return config


def _fault(fault: dict) -> str:
    """A fault as pydantic describes it, in one line: its key, and how to fix it."""
    key = ".".join(str(part) for part in fault["loc"])
    message = fault["msg"].removeprefix("Value error, ")
    if fault["type"] == "extra_forbidden":
        message = _unknown_key(key, fault["loc"])
    elif new := _renamed_value(key, fault["input"]):
        message = f"'{fault['input']}' is called '{new}' now"
    elif fault["type"] == "string_type" and (kind := _KINDS.get(type(fault["input"]).__name__)):
        key = key.removesuffix(".[key]")
        message = f"YAML reads {_written(fault['input'])} as {kind}, not as text; put it in quotes"
    elif fault["type"] in ("float_type", "int_type") and (number := _NUMBER.fullmatch(str(fault["input"]))):
        message = _number_as_text(fault["input"], number)
    elif fault["type"] == "string_pattern_mismatch" and fault["ctx"]["pattern"] == NAME:
        key = key.removesuffix(".[key]")
        message = (
            f"'{fault['input']}' cannot be a name, which becomes a folder: take letters, digits, '.', '_' and '-', "
            "with a letter or digit at the beginning"
        )
    return f"{key}: {message}" if key else message


def _number_as_text(written: str, number: re.Match) -> str:
    """What to do where a number was read as text. YAML 1.1, which Snakemake reads, takes 5e-7 for
    text: a number needs a dot and a signed exponent. What `snakemake --config` has within braces is
    always text."""
    mantissa = number["mantissa"] if "." in number["mantissa"] else number["mantissa"] + ".0"
    cure = mantissa + (f"e{number['sign'] or '+'}{number['digits']}" if number["digits"] else "")
    if number["digits"] and cure != written:
        return f"{written} is text in YAML, not a number; write {cure}"
    return (
        f"'{written}' is text, not a number: write it without quotes; within braces after `--config` "
        "Snakemake makes text of all numbers, so put it into a file"
    )


# What YAML makes of words without quotes, by Python's type.
_KINDS = {"bool": "a truth value", "int": "a number", "float": "a number", "date": "a date", "datetime": "a date"}


def _written(value: object) -> str:
    """How a value that should be text may have been written: it is not known any more."""
    return {True: "yes, on or true", False: "no, off or false"}[value] if isinstance(value, bool) else str(value)


def _unknown_key(key: str, parts: tuple) -> str:
    for old, new in RENAMED_KEYS.items():
        if fnmatchcase(key, old):
            return f"this key is called '{new}' now"
    if key in DIVIDED_KEYS:
        return DIVIDED_KEYS[key]
    return "unknown key: " + unknown(str(parts[-1]), section_of(*parts[:-1]).model_fields)


def _renamed_value(key: str, value: object) -> str | None:
    """The name that `value` has now, where it had another one before."""
    for pattern, names in RENAMED_VALUES.items():
        if fnmatchcase(key, pattern) and isinstance(value, str):
            return names.get(value)
    return None


_NUMBER = re.compile(r"(?P<mantissa>[+-]?(?:\d+\.?\d*|\.\d+))(?:[eE](?P<sign>[+-]?)(?P<digits>\d+))?")


def section_of(*keys: str) -> type[Section]:
    """The section that `keys` lead to; a table's keys are names, which lead to its rows."""
    section = Config
    for key in keys:
        if key in section.model_fields:
            kind = section.model_fields[key].annotation
            # The section of a table's rows, or the one that may be null.
            inner = {dict: -1, UnionType: 0}.get(get_origin(kind))
            section = kind if inner is None else get_args(kind)[inner]
    return section
