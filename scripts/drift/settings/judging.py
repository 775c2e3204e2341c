"""Settings of the stages that ask judges, read their verdicts, and validate judges."""

from pydantic import Field

from drift.config import Evaluation, Judge, PairQuality
from drift.config.evaluation import Order
from drift.settings.base import Settings, like


class Protocol(Settings):
    """How a judge judges. drift/judging/protocols.py resolves it from the configuration."""

    verdict: str = Field(description="a module of scripts/drift/verdicts/")
    pairwise: bool = Field(description="two answers are compared; false: one is judged by itself")
    order: Order = Field(description="which of two answers is shown first: random, both or alpacaeval")
    letters: tuple[str, str] = Field(description="what the first and the second answer are called")
    votes: int = like(Judge, "votes", ge=1)


class QuestionSettings(Settings):
    """Of judge_requests.py: what is asked of a judge."""

    seed: int = Field(ge=0, description="of the order of two answers, and of each request's sampling")
    context: int = like(Judge, "context")
    max_tokens: int = Field(ge=1, description="longest verdict, tokens: what of the context it needs")
    judging: Protocol = Field(description="how the judge judges")
    template_sha256: str = Field(description="hash of the judge prompt (--template)")


class JudgmentSettings(Settings):
    """Of judgments.py: the questions that were asked."""

    seed: int = Field(ge=0, description="as the questions were made with")
    judging: Protocol = Field(description="as the questions were made with")
    least_mass: float = like(Judge, "least_mass")


class RatedPairsSettings(Settings):
    """Of rated_pairs.py: which pairs of an iteration are rated."""

    seed: int = Field(description="of the sample of pairs")
    pairs: int = like(PairQuality, "pairs", gt=0)


class PairQualitySettings(Settings):
    """Of pair_quality.py: the interval of its figure."""

    rater: str = Field(description="who rated the pairs, a judge or a ranker of the configuration")
    seed: int = Field(description="of the resampling")
    bootstrap: int = like(Evaluation, "bootstrap")


class ValidationSettings(Settings):
    """Of validation.py: the intervals of its figures."""

    seed: int = Field(ge=0, description="of the resampling")
    bootstrap: int = like(Evaluation, "bootstrap")
