"""Settings of the stages that turn raw conversations into pools."""

from pydantic import Field

from drift.config import (
    Allusions,
    CorrectionAllusions,
    Data,
    Decoding,
    Decontamination,
    Filters,
    Labeler,
    LabelFile,
    LabelNoise,
    Recipe,
    Simulation,
    Source,
)
from drift.settings.base import Settings, like


class SourceSettings(Settings):
    """How a source is read."""

    kind: str = like(Source, "kind")
    columns: dict[str, str] | None = like(Source, "columns", default=None)
    mask: bool = like(Source, "mask", default=False)
    from_iteration: int = like(Source, "from_iteration", default=1)


class TurnsSettings(Settings):
    """Of turns.py: how conversations become exchanges."""

    sources: dict[str, SourceSettings] = like(Data, "sources")


class UserSettings(Settings):
    """Of user_requests.py and user_logs.py: how simulated users talk to the deployed model."""

    source: str = Field(description="name of the source; part of every seed")
    max_prompts: int | None = like(Simulation, "max_prompts")
    samples: int = like(Simulation, "samples")
    context: int = like(Simulation, "context")
    max_tokens: int = like(Decoding, "max_tokens")
    wrong: float = like(Simulation, "wrong")
    ask_again: float = like(Simulation, "ask_again")
    seed: int = like(Data, "seed")


class LabelRequestsSettings(Settings):
    """Of label_requests.py: which replies a rubric labeler is asked about, and at what length."""

    labeler: str = Field(description="name of the labeler, for messages")
    context: int = like(Labeler, "context")
    max_tokens: int = Field(description="tokens of the context that are left for the answer")
    max_replies: int | None = like(Labeler, "max_replies")
    languages: list[str] | None = like(Filters, "languages")
    seed: int = like(Data, "seed")


class ClassifySettings(Settings):
    """Of classify.py: which classifier reads what of every answered exchange."""

    path: str = like(Labeler, "path")
    classes: list[str] = Field(description="names of the classes that the configuration has a label for")
    reads: list[str] = like(Labeler, "reads")
    context: int = like(Labeler, "context")


class LabelerSettings(Settings):
    """How a labeler labels."""

    kind: str = like(Labeler, "kind")
    classes: dict[str, str] | None = like(Labeler, "classes", default=None)


class LabelsSettings(Settings):
    """Of labels.py: who labels the replies."""

    labelers: dict[str, LabelerSettings] = like(Data, "labelers")


class LabelFileSettings(Settings):
    """What is known of labels made elsewhere."""

    source: str = like(LabelFile, "source")


class AgreementSettings(Settings):
    """Of agreement.py: whose labels are compared with which."""

    labelers: list[str] = Field(description="names of the labelers, in the order of the comparison")
    files: dict[str, LabelFileSettings] = like(Data, "label_files")
    seed: int = like(Data, "seed")


class FilterSettings(Settings):
    """What a reply must be to become a row of a pool."""

    languages: list[str] | None = like(Filters, "languages")
    drop_toxic: bool = like(Filters, "drop_toxic")
    drop_redacted: bool = like(Filters, "drop_redacted")
    drop_tool_calls: bool = like(Filters, "drop_tool_calls")
    drop_missing_parts: bool = like(Filters, "drop_missing_parts")
    drop_merged: bool = like(Filters, "drop_merged")
    drop_continuations: bool = like(Filters, "drop_continuations")
    drop_refusals: bool = like(Filters, "drop_refusals")
    min_chars: int = like(Filters, "min_chars")
    max_chars: int = like(Filters, "max_chars")
    min_score: float = like(Filters, "min_score")
    near_duplicates: float | None = like(Filters, "near_duplicates")
    max_per_conversation: int = like(Filters, "max_per_conversation")
    max_per_user: int | None = like(Filters, "max_per_user")
    max_per_template: int | None = like(Filters, "max_per_template")


class ContaminationSettings(Settings):
    """Of contamination.py: when a training row holds a benchmark's prompt."""

    ngram: int | None = like(Decontamination, "ngram")
    coverage: float | None = like(Decontamination, "coverage")


class LabelNoiseSettings(Settings):
    """How many training rows of each pool are false on purpose, and what they are made of."""

    dsat: float = like(LabelNoise, "dsat")
    sat: float = like(LabelNoise, "sat")
    corrections: float = like(LabelNoise, "corrections")
    drawn_from: str = like(LabelNoise, "drawn_from")


class AllusionsSettings(Settings):
    """What becomes of corrections that open with words on the feedback, side by side."""

    train: Allusions = like(CorrectionAllusions, "train")
    test: Allusions = like(CorrectionAllusions, "test")


class PoolsSettings(Settings):
    """Of pools.py: which replies become rows of a pool, and which of those are kept for testing."""

    labeler: str = like(Data, "labeler")
    label_noise: LabelNoiseSettings = Field(description="false rows among the training rows")
    allusions: AllusionsSettings = Field(description="corrections that open with words on the feedback")
    filters: FilterSettings = Field(description="what a reply must be to become a row of a pool")
    decontamination: ContaminationSettings = Field(description="when a conversation holds a benchmark's prompt")
    pick: str = like(Data, "pick")
    test_conversations: int = like(Data, "test_conversations")
    test_correction_conversations: int = like(Data, "test_correction_conversations")
    max_dsat: int | None = like(Data, "max_dsat")
    max_sat: int | None = like(Data, "max_sat")
    max_corrections: int | None = like(Data, "max_corrections")
    arrivals: dict[str, int] = Field(
        {},
        description="the iteration from which a source counts, of those that come after the start; each has maxima of its own",
    )
    seed: int = like(Data, "seed")


class FreshSettings(Settings):
    """How many of an iteration's prompts, and of its pairs, are of the newest data."""

    share: float = like(Recipe, "fresh")
    sources: list[str] = Field(description="the sources of the newest data")
    seed: int = Field(description="of the hash that picks prompts and pairs")
