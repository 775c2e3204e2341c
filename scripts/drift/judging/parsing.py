"""What a judge's reply says. Separate from the making of questions: nobody is asked again when the
reading of the replies changes."""

import math
from typing import Any

from drift import verdicts
from drift.judging.prompts import TOO_LONG, Question
from drift.settings.judging import JudgmentSettings


def read(question: Question, completion: dict[str, Any] | None, settings: JudgmentSettings, *, written: bool) -> dict[str, Any]:
    """The verdict columns of Judgments for a question; `error`, with the reason, where there is
    none.

    completion: the row of Completions that answers it; None where it was not asked. written: the
    judge gives no probabilities for any question, so that letters that it writes count.
    """
    protocol = settings.judging
    verdict = verdicts.load(protocol.verdict)
    if completion is None:
        return dict(verdict.DRAW) if question.same else {"error": TOO_LONG}
    if completion["error"] is not None:
        return {"error": completion["error"]}
    logprobs = completion["choice_logprobs"]
    return verdict.read(
        verdicts.Reply(
            text=completion["text"],
            cut=completion["finish_reason"] == "length",
            letters=protocol.letters,
            policy_first=question.order != "BA",
            probabilities=None if logprobs is None else {one["choice"]: math.exp(one["logprob"]) for one in logprobs},
            least_mass=settings.least_mass,
            written=written,
        )
    )
