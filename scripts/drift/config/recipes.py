"""The table of methods: where each side of a pair comes from."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from drift import plugins
from drift.config.base import Section, kind_of
from drift.config.evaluation import Verdict, votes_can_differ
from drift.config.overrides import REFUSED, SamplingOverrides, TrainingOverrides
from drift.layout import WARMUP
from drift.names import FUTURE, UNPAIRED, UNPAIRED_POOLS, WRITER

# What the rows of a pool have besides the prompt.
POOLS = {
    "dsat": {"rejected", "feedback"},
    "sat": {"chosen"},
    "corrections": {"chosen", "rejected", "feedback"},
}
_COLUMNS = {
    "chosen": "the reply that satisfied",
    "rejected": "the reply that disappointed",
    "feedback": "the user's feedback",
}

# Who ranks candidates where no other model does: the policy that wrote them, which is asked for a
# score, or whose likelihoods are compared with those of the policy before it.
SELF, LIKELIHOOD = "self", "likelihood"


class SelfDecoding(Verdict):
    """Decoding for a policy that scores candidates."""

    max_tokens: int = Field(256, ge=1, description="longest verdict, tokens")


class SelfRanking(Section):
    """How a policy scores the candidates that it wrote."""

    votes: int = Field(1, ge=1, description="how often each candidate is scored; the mean counts")
    decoding: SelfDecoding = Field(SelfDecoding(), description="of the verdicts; greedy by default")

    @model_validator(mode="after")
    def _votes_can_differ(self) -> "SelfRanking":
        votes_can_differ(self.votes, self.decoding)
        return self


class Mix(Section):
    """Rejected replies of another side for a share of the prompts."""

    side: kind_of(plugins.SIDES) = Field(description="as rejected, but none that ranks")
    shares: list[Annotated[float, Field(ge=0, le=1)]] = Field(
        min_length=1, description="of the prompts, by seeded hash, for iteration 1, 2, ...; the last one holds for later ones"
    )


# Keys that say where the sides of pairs come from.
_OF_PAIRS = ("chosen", "rejected", "mix", "candidates", "rank", "self_ranking", "min_score", "writer")


def _alone(section: str) -> str:
    """Description of a method's own keys of a section."""
    return f"keys of {section} that this method has of its own, by the same names; not {', '.join(REFUSED[section])}"


class Recipe(Section):
    """A method: where each side of its pairs comes from."""

    prompts: Literal["dsat", "sat", "corrections", "unpaired"] = Field(
        description="whose prompts: dsat or sat; unpaired: all logged replies that satisfied or disappointed, one by one, thumbs "
        "without a word included, for training.losses: {kto: 1.0}; {sdpo: 1.0} takes those with a word alone"
    )
    chosen: kind_of(plugins.SIDES) | None = Field(
        None,
        description="logged: the reply that the deployment gave; plain: sampled from the prompt; guided: "
        "sampled with y- and feedback shown; written: the same by another model; best: the candidate that ranks "
        "highest; others are modules "
        "in scripts/drift/sides/. Pairs alone have it",
    )
    rejected: kind_of(plugins.SIDES) | None = Field(
        None,
        description="as chosen; worst: the candidate that ranks lowest; plain@initial: as plain, by the policy of start",
    )
    mix: Mix | None = Field(
        None,
        description="more kinds of rejected replies: those of another side for a share of the prompts; null: all of one side",
    )
    candidates: list[kind_of(plugins.SIDES)] = Field(
        [],
        description="of best and worst: what is sampled for each prompt, an entry a reply: plain, guided; for worst alone "
        "plain@initial; for best alone plain@future, by a policy that is trained on the pairs of the others first",
    )
    rank: str | None = Field(
        None,
        description="who scores the candidates: a row of evaluation.judges or of rankers; self, the policy that wrote them; or "
        "likelihood, how much more likely they have become to it in the iteration before",
    )
    self_ranking: SelfRanking | None = Field(
        None, description="of rank: self, how the policy scores; several votes are averaged. null: one greedy vote"
    )
    min_score: float | None = Field(
        None,
        description="of best: score that a candidate needs to become the chosen reply, else its prompt makes no pair; null: any",
    )
    writer: str | None = Field(None, description="of written: who writes, a row of evaluation.judges; once, in iteration 1")
    start: Literal["warmup", "base"] = Field("warmup", description="the policy that iteration 1 starts from")
    fresh: float | None = Field(
        None,
        ge=0,
        le=1,
        description="share of an iteration's pairs that come from the newest data, by seeded hash, where data come after the start "
        "(data.sources.NAME.from_iteration, simulation.deployed); null: all rows alike; 0: the data of the start in every iteration",
    )
    replay: int = Field(0, ge=0, description="earlier iterations whose pairs are trained on again; SPIN's authors keep one")
    training: TrainingOverrides = Field(TrainingOverrides(), description=_alone("training"))
    sampling: SamplingOverrides = Field(SamplingOverrides(), description=_alone("sampling"))

    @model_validator(mode="after")
    def _pairs_have_sides(self) -> "Recipe":
        if self.prompts == UNPAIRED:
            if given := [key for key in _OF_PAIRS if getattr(self, key)]:
                raise ValueError(
                    f"prompts: unpaired trains on logged replies one by one, which have no {', '.join(given)}; leave that out, or "
                    "make pairs, with prompts: dsat"
                )
            if self.replay:
                raise ValueError(
                    "replay: the replies of prompts: unpaired are the same in every iteration; set training.epochs"
                )
            if self.fresh:
                raise ValueError(
                    "fresh: prompts: unpaired takes every reply that counts by an iteration; leave it out, or 0 for those of the start"
                )
        elif missing := [key for key in ("chosen", "rejected") if getattr(self, key) is None]:
            raise ValueError(
                f"{' and '.join(missing)}: where does this side of a pair come from? e.g. chosen: guided, rejected: logged; "
                "prompts: unpaired alone has no sides"
            )
        return self

    @model_validator(mode="after")
    def _sides_have_what_they_need(self) -> "Recipe":
        if self.prompts == UNPAIRED:
            return self
        pool = POOLS[self.prompts]
        sides = [("chosen", self.chosen), ("rejected", self.rejected)]
        if self.mix is not None:
            needs = _side(self.mix.side).NEEDS
            if self.mix.side in (self.chosen, self.rejected, *self.candidates) or needs.ranking or needs.asked == WRITER:
                raise ValueError(
                    f"mix.side: {self.mix.side} must be another side than chosen, rejected and the candidates, and none that "
                    "ranks or is written"
                )
            sides.append(("rejected", self.mix.side))
        for key, name in sides:
            needs = _side(name).NEEDS
            if needs.asked == FUTURE:
                raise ValueError(f"{key}: {name} is a candidate; the others make the pairs that its policy is trained on first")
            if needs.only not in (None, key):
                raise ValueError(f"{key}: {name} is a {needs.only} side, not a {key} one; best is chosen, worst rejected")
            if needs.logged and key not in pool:
                raise ValueError(
                    f"{key}: {name}, but {self.prompts} has no logged reply that is {key}; sample it (plain or guided)"
                )
        for key, name in [*sides, *(("candidates", name) for name in self.candidates)]:
            for column in _side(name).NEEDS.shown:
                if column not in pool:
                    raise ValueError(f"{key}: {name} shows {_COLUMNS[column]}, which {self.prompts} does not have; use plain")
        if self.chosen == self.rejected and not _side(self.chosen).NEEDS.logged:
            raise ValueError(f"both sides are {self.chosen}: such pairs carry no preference")
        return self

    @model_validator(mode="after")
    def _rankings_have_candidates(self) -> "Recipe":
        if self.prompts == UNPAIRED:
            return self
        sides = [_side(self.chosen), _side(self.rejected)]
        if not any(side.NEEDS.ranking for side in sides):
            if self.candidates or self.rank or self.min_score is not None:
                raise ValueError("candidates, rank and min_score belong to chosen: best and rejected: worst")
            return self
        if self.min_score is not None and not _side(self.chosen).NEEDS.ranking:
            raise ValueError("min_score belongs to chosen: best")
        if any(_is_sampled(side) for side in sides):
            raise ValueError("next to best or worst the other side is logged, or the other end of the ranking")
        if self.mix is not None and _is_sampled(_side(self.mix.side)):
            raise ValueError(
                f"mix.side: {self.mix.side} is sampled, and would be ranked with the candidates; next to best or worst use logged"
            )
        for name in self.candidates:
            if not _is_sampled(_side(name)):
                sampled = [kind for kind in plugins.SIDES if _is_sampled(_side(kind))]
                raise ValueError(f"candidates: {name} is not sampled from the policy; use {' or '.join(sampled)}")
        # Those of a future policy come once it was trained on pairs of the others.
        first = [kind for kind in self.candidates if _side(kind).NEEDS.asked != FUTURE]
        for key, name in (("chosen", self.chosen), ("rejected", self.rejected)):
            if first and _side(name).NEEDS.ranking and all(_side(kind).NEEDS.only not in (None, key) for kind in first):
                raise ValueError(f"candidates: {name} takes none of {', '.join(first)}, which are never {key}")
        if len(first) < len(self.candidates) and self.rank == LIKELIHOOD:
            raise ValueError("rank: likelihood compares all candidates at once, and those of plain@future come later")
        if len(first) < 2:
            raise ValueError("candidates: a ranking needs two or more, e.g. [plain, guided]")
        if self.rank is None:
            raise ValueError("rank: who scores the candidates? self, likelihood, or a row of evaluation.judges or rankers")
        return self

    @model_validator(mode="after")
    def _who_writes_is_named(self) -> "Recipe":
        writes = any(
            _side(kind).NEEDS.asked == WRITER
            for kind in (self.chosen, self.rejected, *self.candidates)
            if kind and _is_sampled(_side(kind))
        )
        if writes != (self.writer is not None):
            raise ValueError("writer: a recipe with a side or a candidate that is written, and no other, names who writes")
        return self

    @model_validator(mode="after")
    def _who_ranks_says_how(self) -> "Recipe":
        if self.self_ranking is not None and self.rank != SELF:
            raise ValueError(
                "self_ranking belongs to rank: self; a judge has votes and decoding in its row of evaluation.judges"
            )
        if self.rank == SELF and self.self_ranking is None:
            self.self_ranking = SelfRanking()
        return self


class Ranker(Section):
    """What scores candidates, apart from judges: a reward model, or a rule."""

    kind: kind_of(plugins.RANKERS) = Field(
        "classifier",
        description="classifier: a sequence classifier, safetensors; checks: the share of its prompt's checks that "
        "a reply keeps; medoid: how like a reply is to the prompt's other candidates, by an encoder; others are modules in "
        "scripts/drift/rankers/",
    )
    path: str | None = Field(
        None, description="as models.NAME.path, where the kind needs a model; checks: a file of prompts with checks"
    )
    max_length: int = Field(
        2048,
        ge=64,
        description="classifier: prompt and reply together, tokens; longer candidates get no score. medoid: the beginning of a reply "
        "that is embedded",
    )
    weights: dict[str, float] | None = Field(
        None,
        min_length=2,
        description="classifier with labels: what each is worth, by its name in the model's config.json; the expected value is the "
        "score. null: it has one output, which is the score",
    )
    on_topic: bool = Field(
        False,
        description="checks: whether a reply that names no topic of its prompt has the score 0; every prompt needs topics",
    )
    wrong: float = Field(
        0.0, ge=0, le=1, description="checks: share of replies whose score is turned around, by seeded coin; a ranker that errs"
    )

    @model_validator(mode="after")
    def _keys_of_the_kind(self) -> "Ranker":
        ranker = plugins.load(plugins.RANKERS, self.kind)
        if unread := [key for key in self.changed("max_length", "weights", "on_topic", "wrong") if key not in ranker.READS]:
            raise ValueError(f"{', '.join(unread)}: kind {self.kind} does not read it; leave it out")
        needs_path = ranker.NEEDS_PATH
        if needs_path and self.path is None:
            raise ValueError(f"path: kind {self.kind} needs {needs_path}; give its address or where it is")
        if self.path is not None and not needs_path:
            raise ValueError(f"path: kind {self.kind} reads nothing; leave it out")
        return self


def _side(name: str):
    return plugins.load(plugins.SIDES, name)


def _is_sampled(side) -> bool:
    return hasattr(side, "request")


def is_unpaired(recipe: dict[str, Any]) -> bool:
    """Whether a row of recipes trains on logged replies one by one, and makes no pairs."""
    return recipe["prompts"] == UNPAIRED


def pools_of(recipe: dict[str, Any]) -> tuple[str, ...]:
    """The pools whose prompts a row of recipes trains on."""
    return UNPAIRED_POOLS if is_unpaired(recipe) else (recipe["prompts"],)


def warms_up(config: dict[str, Any]) -> bool:
    """Whether a run has a warm-up: whether a method starts from it."""
    return any(config["recipes"][method]["start"] == WARMUP for method in config["methods"])


RECIPES = {
    "drift": Recipe(prompts="dsat", chosen="guided", rejected="logged"),
    "drift-unguided": Recipe(prompts="dsat", chosen="plain", rejected="logged"),
    "spin": Recipe(prompts="sat", chosen="logged", rejected="plain"),
}
