"""Satisfaction from words: rules on the user's next message that show whether the reply pleased.

The rules are in lexical_rules.py. Only strict evidence makes a label DSAT. A label's tier is that
of its surest rule: high where the words are about the reply, medium where they mostly are. The
rules find blunt users and coding users best, and miss most of the dissatisfaction, so that NEUTRAL
does not mean content.
"""

from collections import Counter
from collections.abc import Iterator

import polars as pl

from drift.labelers import NO_FOLLOW_UP, answered
from drift.labelers.lexical_rules import CODE, MORE, QUALIFIED, QUESTION, QUESTION_CHARS, RULES, Rule

DROPS = (NO_FOLLOW_UP,)

# What is known of the rules' worth, for whoever sees their labels.
CHECKED = (
    "On 243 ShareGPT follow-ups with labels of a model that no rule was tuned on, weighted to the population, strict DSAT has "
    "precision 0.93 (95% interval 0.85 to 0.99) and recall 0.36 (0.26 to 0.53). Labels made by people are harder: on 516 follow-ups "
    "of LMSYS-Chat-1M an earlier version had precision 0.53 (8 of 15) and recall 0.13 (8 of 60)."
)
# A long message mostly brings new matter (pasted text, code); what it says of the reply is at its
# start.
SHORT_CHARS = 220
HEAD_CHARS = 160
# Of a message that is longer than this, its beginning mostly tells that it is not short.
OPENING_CHARS = 400
# A prompt that comes twice, word for word, is a second try, unless it is very short ("next one") or
# asks for more of the same.
REPEAT = "strict/repeat"
REPEAT_MIN_CHARS = 20

# About the shares of right labels among ShareGPT follow-ups that were checked; lower elsewhere.
SCORES = {"high": 0.9, "medium": 0.75, "low": 0.85}

SURE = {kind: [rule.id for rule in RULES if rule.tier == "high" and rule.id.startswith(kind)] for kind in ("strict", "sat")}
SURE["strict"].append(REPEAT)


def label(turns: pl.DataFrame, answers: None = None) -> tuple[pl.DataFrame, Counter]:
    """A label for every answered reply, from its follow-up and the words of prompt and reply."""
    replies = answered(turns)
    return labels(replies), Counter({NO_FOLLOW_UP: turns.height - replies.height})


def labels(replies: pl.DataFrame) -> pl.DataFrame:
    """`replies` (user, response and feedback, none null) with label, evidence, tier and score."""
    followups = _opening(replies["feedback"])
    short = followups.str.len_chars() <= SHORT_CHARS
    heads = followups.str.head(HEAD_CHARS)
    texts = pl.DataFrame({"text": followups.zip_with(short, heads), "short": short}).with_row_index("row")
    hits = pl.concat([_repeats(replies, texts), *_matches(replies, texts)]).sort("row", "place")
    evidence = hits.group_by("row", maintain_order=True).agg(evidence="rule")
    labels = replies.with_row_index("row").join(evidence, on="row", how="left", maintain_order="left").drop("row")
    labels = labels.with_columns(pl.col("evidence").fill_null([]))
    strict, sat = (pl.col("evidence").list.eval(pl.element().str.starts_with(kind)).list.any() for kind in ("strict/", "sat/"))
    labels = labels.with_columns(
        label=pl.when(strict).then(pl.lit("DSAT")).when(sat).then(pl.lit("SAT")).otherwise(pl.lit("NEUTRAL"))
    )
    # Of the label's own rules: thanks next to a weak complaint make the complaint no surer.
    own = pl.when(pl.col("label") == "SAT").then(pl.lit(SURE["sat"])).otherwise(pl.lit(SURE["strict"]))
    sure = pl.col("evidence").list.set_intersection(own).list.len() > 0
    # NEUTRAL rests on nothing but the absence of evidence.
    tiers = (
        pl.when(pl.col("label") == "NEUTRAL").then(pl.lit("low")).when(sure).then(pl.lit("high")).otherwise(pl.lit("medium"))
    )
    return labels.with_columns(tier=tiers).with_columns(score=pl.col("tier").replace_strict(SCORES, return_dtype=pl.Float64))


def _matches(replies: pl.DataFrame, texts: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """For each rule the rows where it applies: row, place (the rule's) and rule (its id)."""
    for short_only, some in ((False, texts), (True, texts.filter("short"))):
        rules = [(place, rule) for place, rule in enumerate(RULES) if rule.short_only == short_only]
        matched = some.select(pl.col("text").str.contains(rule.needs or rule.pattern).alias(rule.id) for _, rule in rules)
        for place, rule in rules:
            yield _hits(place, rule.id, _narrowed(rule, some.filter(matched[rule.id]), replies))


def _narrowed(rule: Rule, rows: pl.DataFrame, replies: pl.DataFrame) -> pl.DataFrame:
    """Those of the rows with the rule's words where its conditions hold. Replies are long, so they
    are read only here."""
    if rule.needs:
        rows = rows.filter(pl.col("text").str.contains(rule.pattern))
    if rule.unless:
        rows = rows.filter(~pl.col("text").str.contains(rule.unless))
    if rule.id.startswith("sat/"):
        rows = rows.filter(~pl.col("text").str.contains(QUALIFIED))
    if rule.after_code:
        rows = rows.filter(replies["response"].gather(rows["row"]).str.contains(CODE))
    if rule.not_after_question:
        ends = replies["response"].gather(rows["row"]).str.tail(QUESTION_CHARS)
        rows = rows.filter(~ends.str.contains(QUESTION))
    return rows


def _repeats(replies: pl.DataFrame, texts: pl.DataFrame) -> pl.DataFrame:
    for_more = pl.col("short") & pl.col("text").str.contains(MORE)
    begins_alike = texts["text"].str.head(HEAD_CHARS) == _opening(replies["user"]).str.head(HEAD_CHARS)
    rows = texts.filter(begins_alike).filter(~for_more)
    followups, prompts = (_normalised(replies[column].gather(rows["row"])) for column in ("feedback", "user"))
    return _hits(-1, REPEAT, rows.filter((followups == prompts) & (followups.str.len_chars() >= REPEAT_MIN_CHARS)))


def _hits(place: int, rule: str, rows: pl.DataFrame) -> pl.DataFrame:
    return rows.select("row", place=pl.lit(place, pl.Int32), rule=pl.lit(rule))


def _opening(texts: pl.Series) -> pl.Series:
    """The beginning of each text, normalised: the whole of a short one, and more than SHORT_CHARS
    characters of a longer one, so that the two can be told apart."""
    openings = _normalised(texts.str.head(OPENING_CHARS))
    undecided = (openings.str.len_chars() <= SHORT_CHARS) & (texts.str.len_chars() > OPENING_CHARS)
    return openings.scatter(undecided.arg_true(), _normalised(texts.filter(undecided)))


def _normalised(texts: pl.Series) -> pl.Series:
    plain = texts.str.to_lowercase().str.replace_all(r"[\u2018\u2019`\u00b4]", "'").str.replace_all("\\", "", literal=True)
    # Single spaces, of which texts are full, are left alone: to replace them took most of the time.
    return plain.str.replace_all(r"\s{2,}|[^\S ]", " ").str.strip_chars()
