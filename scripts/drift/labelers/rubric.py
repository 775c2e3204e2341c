"""The rubric labeler: a model reads an exchange and says in which way, if any, the user answered the reply.

The categories are those of naturally occurring feedback (Don-Yehiya, Choshen and Abend 2024): four ways of being unhappy with a
reply and one of being pleased. The user's words must be quoted: models report feedback that nobody gave, and a quote can be
checked. A user's protest against a reply that was right to decline does not count against the reply.
"""

import json
import re
from collections import Counter

import polars as pl

from drift.labelers.rubric_schema import CATEGORIES

NOT_ASKED = "not asked: over max_replies, or too long for the model"
NO_ANSWER = "no answer came from the model"
CUT = "the answer was cut by the token limit"
UNREADABLE = "the answer is not what the rubric asks for"
NOT_QUOTED = "the quote is not in the user's message"
DROPS = (NO_ANSWER, CUT, UNREADABLE, NOT_QUOTED)

# The last object without another one inside: models without constrained output may think aloud first.
_OBJECT = re.compile(r"\{[^{}]*\}")
_QUOTED = 200  # characters of a quote that are kept as evidence


def parse(text: str, feedback: str) -> tuple[str, list[str]] | str:
    """Label and evidence of a model's answer about a user's message, or the reason (of DROPS) why there is none."""
    try:
        answer = json.loads(_OBJECT.findall(text)[-1])
        category, quote = answer["category"], answer["quote"]
        label = CATEGORIES[category]
        declined = answer.get("rightly_declined", False)
        if not isinstance(quote, str) or not isinstance(declined, bool):
            return UNREADABLE
    except (ValueError, KeyError, IndexError, TypeError, RecursionError):
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
    """`text` without what a model changes when it quotes: case, spaces, the shape of quotation marks, an ellipsis at an end."""
    text = re.sub(r"[\u2018\u2019`\u00b4]", "'", text.lower())
    text = re.sub(r"[\u201c\u201d\u00ab\u00bb]", '"', text)
    return re.sub(r"\s+", " ", text).strip(" \"'.…")


def labels(requests: pl.DataFrame, completions: pl.DataFrame, replies: pl.LazyFrame) -> tuple[pl.LazyFrame, Counter]:
    """The labels that a model's answers amount to, and how many answers gave none, by reason.

    `requests` and `completions` are tables of these names, one request a reply; `replies` has conversation_id, turn, feedback.
    """
    said = replies.select(
        prompt_id=pl.col("conversation_id") + "/" + pl.col("turn").cast(pl.String),
        conversation_id="conversation_id",
        turn="turn",
        feedback="feedback",
    )
    asked = requests.select("request_id", "prompt_id").join(completions, on="request_id", how="left", validate="1:1")
    answered = asked.lazy().join(said, on="prompt_id", how="left").sort("prompt_id").collect()
    rows, dropped = [], Counter()
    for row in answered.select("conversation_id", "turn", "feedback", "text", "finish_reason").iter_rows(named=True):
        if row["finish_reason"] in (None, "error"):
            dropped[NO_ANSWER] += 1
            continue
        found = CUT if row["finish_reason"] == "length" else parse(row["text"], row["feedback"])
        if isinstance(found, str):
            dropped[found] += 1
        else:
            rows.append((row["conversation_id"], row["turn"], *found, None, 1.0))
    schema = {
        "conversation_id": pl.String,
        "turn": pl.Int32,
        "label": pl.String,
        "evidence": pl.List(pl.String),
        "tier": pl.String,
        "score": pl.Float64,
    }
    return pl.LazyFrame(rows, schema=schema, orient="row"), dropped
