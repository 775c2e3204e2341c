"""How policies are sampled and trained."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from drift import plugins
from drift.config.base import Allusions, Section, kind_of

Schedule = Literal["linear", "cosine", "constant", "constant_with_warmup"]
Optimizer = Literal["rmsprop", "adamw_torch", "adamw_torch_fused", "adafactor", "sgd"]
Precision = Literal["bf16", "fp32"]
Carry = Literal["fp32", "bf16"]
Launcher = Literal["single", "ddp", "zero3", "fsdp2"]
Tracker = Literal["none", "tensorboard", "wandb", "trackio"]
Style = Literal["chat", "paper"]
Reference = Literal["previous", "initial"]
Cut = Literal["drop", "prefix"]
Order = Literal["easy", "hard", "random"]
Outcome = Literal["fail", "warn", "off"]

# TRL's DPO losses. sft is the token mean of -log pi(y+|x), to be added to another one.
TRL_LOSSES = (
    "sigmoid", "sft", "hinge", "ipo", "exo_pair", "nca_pair", "robust", "bco_pair", "sppo_hard", "aot", "aot_unpaired",
    "apo_zero", "apo_down", "discopop", "sigmoid_norm",
)  # fmt: skip
# Losses of single replies: each has a trainer of its own.
SINGLE_LOSSES = tuple(name for name in plugins.TRAINERS if name != plugins.trainer_of(()))
# One of these, or a module of drift.losses.
Loss = kind_of(dict.fromkeys((*TRL_LOSSES, *SINGLE_LOSSES), "trl") | plugins.LOSSES)

# Those that need label_smoothing above 0, and all that read it.
_NEED_SMOOTHING = ("robust", "exo_pair", *(name for name in plugins.LOSSES if plugins.load(plugins.LOSSES, name).SMOOTHED))
_SMOOTHED = (*_NEED_SMOOTHING, "aot", "aot_unpaired")


def accumulation_steps(global_batch: int, device_batch: int, devices: int) -> int:
    """How many batches of `device_batch` pairs each of `devices` accumulates for an optimizer step
    of `global_batch` pairs. Raises ValueError where the pairs cannot be divided evenly."""
    steps, remainder = divmod(global_batch, device_batch * devices)
    if remainder or not steps:
        spread = f" x {devices} devices" if devices > 1 else ""
        raise ValueError(
            f"global_batch {global_batch} is not a multiple of device_batch {device_batch}{spread}; "
            "change one of them so that every device gets the same number of pairs in a step"
        )
    return steps


class Prompting(Section):
    style: Style = Field(
        "chat",
        description="of guided prompts. chat: the model's chat template; paper: a transcript, as the released code writes it",
    )
    instruction: str = Field(
        "Please improve your answer so that it addresses my latest feedback.",
        min_length=1,
        description="the request to improve, shown after the feedback in a guided prompt",
    )
    allusions: Allusions = Field(
        "keep",
        description="guided replies that open with words on the feedback ('I apologize', 'Here is a revised version'), which "
        "their training prompt does not show. drop: no pair; strip: a pair without these sentences",
    )


class Decoding(Section):
    """Every value that shapes a sample; nothing is taken from the model's
    generation_config.json."""

    temperature: float = Field(0.7, ge=0)
    top_p: float = Field(0.9, gt=0, le=1)
    top_k: int = Field(0, ge=0, description="0: off")
    repetition_penalty: float = Field(1.0, gt=0)
    max_tokens: int = Field(512, ge=1, description="longest reply, tokens")


def samples_can_differ(samples: int, decoding: Decoding) -> None:
    """Refuse several samples that would be the same one several times: at temperature 0."""
    if samples > 1 and decoding.temperature == 0:
        raise ValueError(f"samples {samples} at temperature 0 are {samples} times the same; raise decoding.temperature")


class Greedy(Decoding):
    """Decoding for benchmarks: the likeliest token, with room for a long answer."""

    temperature: float = Field(0.0, ge=0)
    top_p: float = Field(1.0, gt=0, le=1)
    max_tokens: int = Field(2048, ge=1, description="longest answer, tokens")


class Sampling(Decoding):
    context: int = Field(
        4096, ge=64, description="prompt and reply together, tokens; longer conversations lose their oldest turns"
    )
    cut: Cut = Field(
        "prefix",
        description="replies of a pair, sampled or logged, that do not end within max_tokens. prefix: trained on up to the "
        "limit, without an end of turn; drop: they make no pair",
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
    """How closely each iteration is measured, beyond what costs nothing. Changing it trains nothing
    again."""

    pairs: int = Field(
        32,
        ge=0,
        description="pairs whose gradients are measured, the same number for every method; fewer than 32 say little. Each costs "
        "four training steps of one pair; 0: none",
    )
    prompts: int = Field(
        64,
        ge=0,
        description="held-out prompts for the KL divergences; the policy's own reply and the logged one to each are read by three "
        "models; 0: none",
    )
    max_tokens: int = Field(256, ge=1, description="longest of the policy's own replies for the KL divergences, tokens")
    answers: int = Field(
        64,
        ge=0,
        description="answers to the first benchmark that code checks, by which each iteration's gain is predicted; each costs as "
        "much as some three training steps of one pair; 0: none",
    )


class PairQuality(Section):
    """How often an iteration's y+ is better than its y-. Changing it trains nothing again."""

    rater: str | list[str] | None = Field(
        None,
        description="who says which reply is better: a row of evaluation.judges or of rankers, several independently; null: "
        "evaluation.judge",
    )
    pairs: int = Field(
        64, ge=0, description="pairs of every iteration that are rated; a judge sees each in both orders, two requests; 0: none"
    )


class Behaviour(Section):
    """What a trained policy may change in how it writes, by its answers to a benchmark. Lengths are
    in tokens. Changing it trains nothing again."""

    benchmark: str | None = Field(
        None,
        description="whose answers are compared: a row of evaluation.benchmarks; null: the first of kind heldout, else the "
        "first that is answered in words",
    )
    outcome: Outcome = Field(
        "fail",
        description="fail: nothing is trained from a policy outside a limit; warn: the report says so; off: nothing is compared",
    )
    min_replies: int = Field(30, ge=1, description="answers of a policy below which no limit applies: so few say too little")
    min_length_before: float = Field(
        0.5, ge=0, le=1, description="least quartiles and median of the length, as a share of those of the policy before"
    )
    max_length_before: float = Field(
        2.0, ge=1, description="greatest median and third quartile, in multiples of those of the policy before"
    )
    min_length_base: float = Field(0.45, ge=0, le=1, description="as min_length_before, of the base model")
    max_length_base: float = Field(2.5, ge=1, description="as max_length_before, of the base model")
    max_empty: float = Field(0.05, ge=0, le=1, description="empty answers: how far their share may be above the base model's")
    max_identical: float = Field(
        0.1, ge=0, le=1, description="answers that another prompt got too: how far their share may be above the base model's"
    )
    max_unended: float = Field(
        0.25,
        ge=0,
        le=1,
        description="answers that end before the token limit: how far their share may be below the base model's",
    )
    min_distinct: float = Field(
        0.5, ge=0, le=1, description="least distinct-2 (different word pairs), as a share of the base model's"
    )
    max_repetition: float = Field(
        0.2, ge=0, le=1, description="4-grams that an answer has had already: how far their share may be above the base model's"
    )
    min_script: float = Field(
        0.8,
        ge=0,
        le=1,
        description="least share of answers in the script (Latin, Cyrillic, ...) of the base model's to the prompt",
    )
    max_off_prompt: float = Field(
        0.15,
        ge=0,
        le=1,
        description="answers with more in common with their own prompt than with 95% of the others: how far their share may be "
        "below the base model's",
    )


class Pacing(Section):
    """A share of the pairs in every iteration: those that the reference tells apart best first, or
    last. random is the control of both."""

    order: Order = Field(
        "easy",
        description="easy: pairs whose replies the reference finds least alike in likelihood, by the mean over tokens; hard: most "
        "alike; random: by seeded hash",
    )
    shares: list[Annotated[float, Field(gt=0, le=1)]] = Field(
        min_length=1, description="of the pairs, for iteration 1, 2, ...; the last one holds for later ones"
    )


class LabelWeights(Section):
    """How much replies of either label weigh in KTO's loss."""

    desirable: float | None = Field(
        None,
        gt=0,
        description="of replies that satisfied; null: 1, or as much more as makes up for fewer of them. KTO's authors want the "
        "desirable ones, number times weight, to be 1 to 4/3 times the undesirable ones (gate 'label weights')",
    )
    undesirable: float | None = Field(None, gt=0, description="of replies that disappointed, likewise")


class Training(Section):
    beta: float = Field(0.1, gt=0, description="DPO's inverse temperature")
    losses: dict[Loss, float] = Field(
        {"sigmoid": 1.0, "sft": 0.001},
        description="loss types, TRL's and those of scripts/drift/losses/, and their weights; kto, sdpo for prompts: unpaired alone",
    )
    label_weights: LabelWeights = LabelWeights()
    label_smoothing: float = Field(
        0.0, ge=0, lt=0.5, description="share of pairs that are assumed to be flipped; for robust, conservative, exo_pair, aot"
    )
    reference: Reference = Field(
        "previous",
        description="previous: the policy that the iteration starts from; initial: the one that the method starts from",
    )
    learning_rate: float = Field(5e-7, gt=0, description="peak")
    schedule: Schedule = Field("linear", description="transformers' lr_scheduler_type")
    schedule_warmup: float = Field(0.1, ge=0, lt=1, description="share of the steps in which the learning rate rises")
    optimizer: Optimizer = Field("rmsprop", description="transformers' optim")
    pairs: int | None = Field(
        None,
        ge=1,
        description="pairs of every method and iteration, by seeded hash of those that passed every check; fewer are an error; "
        "null: all. The warm-up takes all, and replay adds those of earlier iterations",
    )
    pacing: Pacing | None = Field(None, description="train on a share of an iteration's pairs, from easy to hard; null: on all")
    epochs: int = Field(1, ge=1, description="passes over an iteration's pairs")
    warmup_epochs: int = Field(3, ge=1, description="passes over the corrections in the warm-up (iteration 0)")
    global_batch: int = Field(32, ge=1, description="pairs per optimizer step over all devices")
    device_batch: int = Field(4, ge=1, description="pairs at once on one device; accumulation follows")
    max_length: int = Field(2048, ge=32, description="prompt and reply together, tokens")
    precision: Precision = Field(
        "bf16", description="of activations; a CPU without bf16 takes fp32. The weights that are trained are fp32 always"
    )
    carry: Carry = Field(
        "fp32",
        description="the weights that the next iteration starts from. fp32: as they were trained, so that small steps add up; "
        "bf16: as they are served, which loses what is below half a step of bf16",
    )
    min_carried: float = Field(
        0.5, ge=0, le=1, description="share of an iteration's update that must be in what the next one starts from; 0: any"
    )
    lora: Lora | None = Field(None, description="train low-rank adapters; null: all weights")
    gradient_checkpointing: bool = Field(True, description="less memory, more time")
    checkpoint_steps: int = Field(50, ge=1, description="optimizer steps between checkpoints that a killed job resumes from")
    launcher: Launcher = Field(
        "single",
        description="single: one GPU; ddp: a copy of everything on each; fsdp2, zero3 (DeepSpeed): all of it in shards",
    )
    processes: int | None = Field(None, ge=1, description="devices to train on; null: as many as the job has GPUs")
    tracker: Tracker = Field(
        "none",
        description="where the log goes in addition to train.parquet; install its package yourself, keys are environment variables",
    )
    diagnostics: Diagnostics = Diagnostics()
    pair_quality: PairQuality = PairQuality()
    behaviour: Behaviour = Behaviour()

    @model_validator(mode="after")
    def _batch_divides(self) -> "Training":
        accumulation_steps(self.global_batch, self.device_batch, self.processes or 1)
        return self

    @model_validator(mode="after")
    def _losses_have_what_they_need(self) -> "Training":
        if not set(self.losses) - {"sft"}:
            raise ValueError("losses: sft alone has no use for rejected replies; add a loss that compares, e.g. sigmoid: 1.0")
        for loss in set(self.losses) & set(SINGLE_LOSSES):
            if len(self.losses) > 1:
                raise ValueError(f"losses: {loss} is of single replies and has a trainer of its own; leave the others out")
            if loss == "kto" and self.device_batch < 2:
                raise ValueError(f"losses: {loss} compares replies of a device's batch; device_batch must be at least 2")
        if any(self.label_weights.model_dump().values()) and "kto" not in self.losses:
            raise ValueError(
                f"label_weights has no effect on {', '.join(self.losses)}; it belongs to kto, in the row of a method with "
                "prompts: unpaired"
            )
        for loss in _NEED_SMOOTHING:
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
