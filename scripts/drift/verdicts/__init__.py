"""What a judge says of answers: the kinds of verdict, one module each.

A new kind (evaluation.judges.NAME.verdict) is a module of this package with what `Verdict` lists,
one line in VERDICTS of drift/plugins.py, and its judge prompt in scripts/templates/. Rules load
these modules, so their top level imports nothing but the standard library and this package.
"""

from dataclasses import dataclass
from typing import Any, Protocol, cast

from drift import plugins


@dataclass(frozen=True)
class Reply:
    """A judge's reply to one question, with what is needed to read it."""

    text: str
    # The token limit ended it.
    cut: bool
    # What the two answers were called, in the order of their presentation.
    letters: tuple[str, str]
    # Whether the policy's answer was the first of the two.
    policy_first: bool
    # The probabilities of `choices` as the first token; None where the judge gave none.
    probabilities: dict[str, float] | None
    # Below this probability of all of `choices` together, their ratio is noise: the judge was about
    # to say something else.
    least_mass: float
    # The judge gives probabilities for no question at all: the letters that it writes count.
    written: bool


class Verdict(Protocol):
    """What a module of this package has."""

    # True: it compares two answers, and `read` gives a `preference` (0 to 1) or an `outcome` (-2 to
    # 2), both the policy's. False: it is about one answer, and `read` gives its `score` (1 to 10).
    PAIRWISE: bool
    # File in scripts/templates/: the judge prompt of judges that have none of their own.
    TEMPLATE: str
    # JSON schema of the reply; None where the reply is one of `choices`.
    SCHEMA: dict[str, Any] | None
    # The verdict columns of a pair of equal answers, about which nobody is asked; None where
    # PAIRWISE is False.
    DRAW: dict[str, float] | None
    # Name in the report.
    LABEL: str
    # Tokens of a reply, roughly: for estimates of cost.
    TYPICAL_TOKENS: int

    def choices(self, letters: tuple[str, str]) -> list[str] | None:
        """The allowed replies where the verdict is read off their probabilities as the first token;
        None where the reply is sampled with the judge's decoding."""

    def read(self, reply: Reply) -> dict[str, Any]:
        """The verdict columns of Judgments; `error`, with the reason, where there is no verdict."""


def load(name: str) -> Verdict:
    """The verdict of that name."""
    return cast(Verdict, plugins.load(plugins.VERDICTS, name))
