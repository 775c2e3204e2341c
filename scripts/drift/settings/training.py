"""Settings of the stages that make preference pairs, train on them and measure what that did."""

from pydantic import Field

from drift.config import Allusions, Recipe
from drift.config.training import (
    Behaviour,
    Carry,
    Cut,
    Diagnostics,
    LabelWeights,
    Launcher,
    Lora,
    Loss,
    Optimizer,
    Order,
    Outcome,
    Pacing,
    Precision,
    Prompting,
    Reference,
    Sampling,
    Schedule,
    Style,
    Tracker,
    Training,
)
from drift.settings.base import Settings, like
from drift.settings.data import FreshSettings

LINEAGE = "which policy or benchmark the ledger's steps belong to, e.g. MODEL/drift/seed42/iter1"


class PromptsSettings(Settings):
    """Of prompts.py: how long a prompt may be, and what else is made of it.

    A benchmark's prompts are only answered: they have neither max_length, style nor instruction.
    """

    lineage: str = Field(description=LINEAGE)
    context: int = Field(description="prompt and reply together when a policy is sampled, tokens")
    max_tokens: int = like(Sampling, "max_tokens")
    max_length: int | None = like(Training, "max_length", default=None)
    style: Style | None = like(Prompting, "style", default=None)
    instruction: str | None = like(Prompting, "instruction", default=None)


class Mixed(Settings):
    """Rejected replies of another side."""

    side: str = Field(description="recipes.NAME.mix.side")
    share: float = Field(description="recipes.NAME.mix.shares, of this iteration")
    seed: int = Field(description="of the hash that picks the prompts")


class Sides(Settings):
    """Where both sides of a pair come from."""

    chosen: str = Field(description="recipes.NAME.chosen")
    rejected: str = Field(description="recipes.NAME.rejected")
    min_score: float | None = like(Recipe, "min_score")
    mix: Mixed | None = like(Recipe, "mix", default=None)


class Subset(Settings):
    """How many of an iteration's pairs are trained on, and which."""

    pairs: int = like(Training, "pairs")
    seed: int = Field(
        description="of the hash that picks them by their prompts: the same prompts in every iteration, as far as they have a pair"
    )


class PairsSettings(Settings):
    """Of pairs.py: where both sides come from, and what makes a pair unfit for training."""

    lineage: str = Field(description=LINEAGE)
    recipe: Sides = Field(description="where both sides come from")
    max_tokens: int = like(Sampling, "max_tokens")
    cut: Cut = like(Sampling, "cut")
    subset: Subset | None = Field(description="null: all pairs that pass every check")
    fresh: FreshSettings | None = Field(None, description="null: prompts of older and of newer data alike")
    max_length: int = like(Training, "max_length")
    instruction: str = like(Prompting, "instruction")
    allusions: Allusions = like(Prompting, "allusions")


class UnpairedSettings(Settings):
    """Of unpaired.py: which logged replies are trained on one by one."""

    lineage: str = Field(description=LINEAGE)
    max_tokens: int = like(Sampling, "max_tokens")
    cut: Cut = like(Sampling, "cut")
    replies: int | None = Field(description="twice training.pairs, as a pair has two; null: all that pass every check")
    seed: int = Field(description="of the hash that picks them")
    max_length: int = like(Training, "max_length")
    instruction: str = like(Prompting, "instruction")
    hindsight: bool = Field(description="whether the loss compares with the same policy that knows the user's answer")


class LoraSettings(Settings):
    """Low-rank adapters."""

    rank: int = like(Lora, "rank")
    alpha: float = like(Lora, "alpha")
    dropout: float = like(Lora, "dropout")
    targets: str | list[str] = like(Lora, "targets")


class ScoringSettings(Settings):
    """What of the training decides the log-probability of a reply, to the last bit."""

    device_batch: int = like(Training, "device_batch")
    max_length: int = like(Training, "max_length")
    precision: Precision = like(Training, "precision")
    lora: LoraSettings | None = like(Training, "lora")


class PolicyTraining(ScoringSettings):
    """What of the training shapes a policy."""

    beta: float = like(Training, "beta")
    losses: dict[Loss, float] = like(Training, "losses")
    label_smoothing: float = like(Training, "label_smoothing")
    learning_rate: float = like(Training, "learning_rate")
    schedule: Schedule = like(Training, "schedule")
    schedule_warmup: float = like(Training, "schedule_warmup")
    optimizer: Optimizer = like(Training, "optimizer")
    global_batch: int = like(Training, "global_batch")
    carry: Carry = like(Training, "carry")


class PaceSettings(Settings):
    """Which of an iteration's pairs are trained on."""

    order: Order = like(Pacing, "order")
    share: float = Field(description="training.pacing.shares, of this iteration")
    seed: int = Field(description="of the hash that picks them, where their order is random")


class LabelWeightSettings(Settings):
    """How much replies of either label weigh."""

    desirable: float | None = like(LabelWeights, "desirable")
    undesirable: float | None = like(LabelWeights, "undesirable")


class TrainSettings(Settings):
    """Of train.py: what shapes the policy."""

    name: str = Field(description="of the policy, MODEL/warmup or MODEL/METHOD/seedS/iterK")
    seed: int = Field(description="of the order of the rows and of the adapters")
    epochs: int = Field(description="passes over the rows")
    pace: PaceSettings | None = Field(None, description="null: all pairs are trained on")
    label_weights: LabelWeightSettings | None = Field(None, description="of single replies; null: pairs are trained on")
    instruction: str = like(Prompting, "instruction")
    training: PolicyTraining = Field(description="loss, optimizer, batches and adapters")


class TrainingRun(Settings):
    """Of train.py: how a training runs on this machine and when it is refused, which changes no
    result."""

    checkpoint_steps: int = like(Training, "checkpoint_steps")
    gradient_checkpointing: bool = like(Training, "gradient_checkpointing")
    launcher: Launcher = like(Training, "launcher")
    processes: int | None = like(Training, "processes")
    tracker: Tracker = like(Training, "tracker")
    min_carried: float = like(Training, "min_carried")
    deadline: float | None = Field(description="minutes that the job may take; null: no limit")


class MeasuredTraining(ScoringSettings):
    """What of the training decides a margin and a gradient."""

    beta: float = like(Training, "beta")


class DiagnosticsSettings(Settings):
    """Of diagnostics.py: what is measured of an iteration, and how closely."""

    seed: int = Field(description="of the samples of pairs and of held-out replies")
    reference: Reference = like(Training, "reference")
    pairs: int = like(Diagnostics, "pairs")
    prompts: int = like(Diagnostics, "prompts")
    max_tokens: int = like(Diagnostics, "max_tokens")
    training: MeasuredTraining = Field(description="as the iteration was trained")


class ImprovementSettings(Settings):
    """Of improvement.py: how closely the gain of an iteration is predicted."""

    seed: int = Field(description="of the samples of answers and of pairs")
    answers: int = like(Diagnostics, "answers")
    pairs: int = like(Diagnostics, "pairs")
    temperature: float = Field(description="at which the answers were sampled; 0: greedily, so that nothing is predicted")


class BehaviourLimits(Settings):
    """What a policy may change in how it writes."""

    min_replies: int = like(Behaviour, "min_replies")
    min_length_before: float = like(Behaviour, "min_length_before")
    max_length_before: float = like(Behaviour, "max_length_before")
    min_length_base: float = like(Behaviour, "min_length_base")
    max_length_base: float = like(Behaviour, "max_length_base")
    max_empty: float = like(Behaviour, "max_empty")
    max_identical: float = like(Behaviour, "max_identical")
    max_unended: float = like(Behaviour, "max_unended")
    min_distinct: float = like(Behaviour, "min_distinct")
    max_repetition: float = like(Behaviour, "max_repetition")
    min_script: float = like(Behaviour, "min_script")
    max_off_prompt: float = like(Behaviour, "max_off_prompt")


class BehaviourSettings(Settings):
    """Of behaviour.py: whose answers are compared, and by which limits."""

    before: str = Field(description="the policy that the policy in question was trained from, as MODEL/base")
    benchmark: str = Field(description="whose answers these are")
    outcome: Outcome = like(Behaviour, "outcome")
    limits: BehaviourLimits = Field(description="when the policy is refused")
