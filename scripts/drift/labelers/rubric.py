"""The rubric labeler: a model reads an exchange and says which feedback, if any, the user gave.

The categories are those of naturally occurring feedback (Don-Yehiya, Choshen and Abend 2024): four
ways of being unhappy with a reply and one of being pleased. The user's words must be quoted: models
report feedback that nobody gave, and a quote can be checked. A user's protest against a reply that
was right to decline does not count against the reply.

The model is asked by label_requests.py and generate.py; this module reads its answers, so that
reading them in another way asks nobody again.
"""

import re
from collections import Counter

import polars as pl

from drift.engines.answers import json_answer
from drift.labelers import NO_FOLLOW_UP, answered
from drift.labelers.rubric_question import CATEGORIES

NOT_ASKED = "not asked: not in data.filters.languages, over max_replies, or too long for the model"
NO_ANSWER = "no answer came from the model"
CUT = "the answer was cut by the token limit"
UNREADABLE = "the answer is not what the rubric asks for"
NOT_QUOTED = "the quote is not in the user's message"
DROPS = (NO_FOLLOW_UP, NOT_ASKED, NO_ANSWER, CUT, UNREADABLE, NOT_QUOTED)

_QUOTED = 200  # characters of a quote that are kept as evidence

_LABELS = {
    "conversation_id": pl.String,
    "turn": pl.Int32,
    "label": pl.String,
    "evidence": pl.List(pl.String),
    "tier": pl.String,
    "score": pl.Float64,
}


def label(turns: pl.DataFrame, answers: pl.DataFrame) -> tuple[pl.DataFrame, Counter]:
    """A label for every answered reply about which the model gave a usable answer.

    `answers`: conversation_id, turn, text and finish_reason (null where no answer came) of every
    reply that the model was asked about, in `turns` or not.
    """
    replies = answered(turns)
    asked = replies.join(answers, on=["conversation_id", "turn"], maintain_order="left")
    dropped = Counter({NO_FOLLOW_UP: turns.height - replies.height, NOT_ASKED: replies.height - asked.height})
    rows = []
    for row in asked.select(*answers.columns, "feedback").iter_rows(named=True):
        if row["finish_reason"] in (None, "error"):
            dropped[NO_ANSWER] += 1
            continue
        verdict = CUT if row["finish_reason"] == "length" else parse(row["text"], row["feedback"])
        if isinstance(verdict, str):
            dropped[verdict] += 1
        else:
            rows.append((row["conversation_id"], row["turn"], *verdict, None, 1.0))
    return pl.DataFrame(rows, schema=_LABELS, orient="row"), dropped


def parse(text: str, feedback: str) -> tuple[str, list[str]] | str:
    """Label and evidence that the answer `text` about the message `feedback` amounts to, or the
    reason (of DROPS) why there are none."""
    answer = json_answer(text, ["category", "quote"])
    if answer is None:
        return UNREADABLE
    category, quote, declined = answer["category"], answer["quote"], answer.get("rightly_declined", False)
    label = CATEGORIES.get(category) if isinstance(category, str) else None
    if label is None or not isinstance(quote, str) or not isinstance(declined, bool):
        return UNREADABLE
    if label == "NEUTRAL":
        return "NEUTRAL", ["rubric/none"]
    if not plain(quote) or plain(quote) not in plain(feedback):
        return NOT_QUOTED
    evidence = [f"rubric/{category}", f"quote: {quote.strip()[:_QUOTED]}"]
    if label == "DSAT" and declined:
        return "NEUTRAL", ["rubric/rightly_declined", *evidence]
    return label, evidence


def plain(text: str) -> str:
    """`text` without what a model changes when it quotes: case, spaces, the shape of quotation
    marks, an ellipsis at either end."""
    text = re.sub(r"[\u2018\u2019`\u00b4]", "'", text.lower())
    text = re.sub(r"[\u201c\u201d\u00ab\u00bb]", '"', text)
    return re.sub(r"\s+", " ", text).strip(" \"'.…")
