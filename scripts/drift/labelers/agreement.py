"""How far two labelings agree: precision, recall, F1 and Cohen's kappa, with bootstrap intervals.

Labels come from labelers (the Labels table) and from files made elsewhere, by people or by a model:
JSON Lines in the layout of `read_labels`. A sample that was drawn by strata is re-weighted to the
population that it was drawn from.
"""

import hashlib
import json
from pathlib import Path

import numpy as np
import polars as pl

from drift.cli import StageError
from drift.labelers import answered

# What a file may call a label; UR1 to UR5 are the categories of naturally occurring feedback
# (Don-Yehiya et al. 2024).
NAMES = {"DSAT": "DSAT", "SAT": "SAT", "NEUTRAL": "NEUTRAL", "NONE": "NEUTRAL", "UR5": "SAT"}
NAMES |= dict.fromkeys(("UR1", "UR2", "UR3", "UR4"), "DSAT")
# A file may say which of its DSAT labels are strict: complaints, corrections and error reports, not
# wishes for another style.
STRICT = "DSAT strict"
CLASSES = (STRICT, "DSAT", "SAT", "NEUTRAL")
# Which classes of the reference count as positive for a target, and which of the labeler.
TARGETS = {STRICT: ((STRICT,), (STRICT, "DSAT")), "DSAT": ((STRICT, "DSAT"),) * 2, "SAT": (("SAT",),) * 2}
METRICS = ("precision", "recall", "f1", "kappa")
RESAMPLES = 2000


def read_labels(path: str | Path, strata: str | Path | None = None, half: str | None = None) -> pl.DataFrame:
    """The labels of a JSON Lines file: conversation (its id in the source), turn, label (of
    CLASSES), feedback_sha1, stratum and stratum_size.

    A line has id (or conversation_id), turn_index (of the user's message that was judged, from 0
    over all messages of the conversation), label (of NAMES, in any case), and where known strict
    (true or false) and followup_sha1 (of that message's UTF-8 text), which finds the message where
    a source counts messages differently. A line of `strata` has id and resp_index (turn_index - 1),
    stratum and stratum_size (rows of that stratum in the population). With `half`, lines whose half
    is another are left out. A line that says the same of a message as one before it counts for
    nothing. Raises StageError that names file and line.
    """
    drawn = {}
    for place, row in _lines(strata) if strata else ():
        key = (str(_value(row, place, "id", "conversation_id")), _whole(row, place, "resp_index"))
        drawn[key] = (str(_value(row, place, "stratum")), _whole(row, place, "stratum_size"))
    rows, halves, said = [], set(), {}
    for place, row in _lines(path):
        if half is not None:
            halves.add(str(row.get("half")))
            if str(row.get("half")) != half:  # a file may number them
                continue
        name = str(_value(row, place, "label"))
        if name.upper() not in NAMES:
            raise StageError(f"{place}: the label {name!r} is none of {', '.join(NAMES)}")
        label = NAMES[name.upper()]
        conversation, index = str(_value(row, place, "id", "conversation_id")), _whole(row, place, "turn_index")
        if strata and (conversation, index - 1) not in drawn:
            raise StageError(f"{place}: {strata} has no stratum for it. Give the strata of this very file, or none.")
        stratum = drawn.get((conversation, index - 1), ("all", None))
        label = STRICT if label == "DSAT" and row.get("strict") is True else label
        first, same = said.setdefault((conversation, index, row.get("followup_sha1")), (place, label))
        if label != same:
            raise StageError(
                f"{place}: another label of the message that {first} is about. Keep one of the two; another annotator's labels "
                "make a file of their own."
            )
        if place != first:
            continue
        # The message of the user on reply k is number 2k + 2, one further after a system message.
        rows.append((conversation, index // 2 - 1, label, row.get("followup_sha1"), *stratum))
    if not rows:
        raise StageError(f"{path}: no line's half is {half!r}; there are {', '.join(sorted(halves))}")
    schema = {
        "conversation": pl.String,
        "turn": pl.Int32,
        "label": pl.String,
        "feedback_sha1": pl.String,
        "stratum": pl.String,
        "stratum_size": pl.Int64,
    }
    return pl.DataFrame(rows, schema=schema, orient="row")


def _lines(path: str | Path) -> list[tuple[str, dict]]:
    """Every object of a JSON Lines file with its place. Only a line feed ends a line: a text may
    hold U+2028 and the like."""
    try:
        lines = Path(path).read_bytes().decode("utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise StageError(f"{path}: cannot be read as UTF-8 text ({error})") from error
    rows = []
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise StageError(f"{path}, line {number}: not JSON ({error})") from error
            if not isinstance(row, dict):
                raise StageError(f"{path}, line {number}: a JSON object is needed, not {type(row).__name__}")
            rows.append((f"{path}, line {number}", row))
    if not rows:
        raise StageError(f"{path}: no label in it")
    return rows


def _value(row: dict, place: str, *names: str):
    for name in names:
        if row.get(name) is not None:
            return row[name]
    raise StageError(f"{place}: no {' or '.join(names)}; found {', '.join(sorted(row))}")


def _whole(row: dict, place: str, name: str) -> int:
    value = _value(row, place, name)
    try:
        return int(str(value))
    except ValueError:
        raise StageError(f"{place}: {name} is {value!r}, not a whole number") from None


def locate(gold: pl.DataFrame, source: str, turns: pl.LazyFrame) -> pl.DataFrame:
    """The labels of `read_labels` on exchanges of `source`: `gold` with conversation_id and turn.

    With a hash, the exchange is the nearest one to the labelled turn whose follow-up has that hash.
    Labels without an exchange are left out.
    """
    gold = (
        gold.with_row_index("row")
        .with_columns(conversation_id=source + ":" + pl.col("conversation"), place="turn")
        .drop("turn")
    )
    replies = answered(turns).select("conversation_id", "turn", "feedback")
    replies = replies.join(gold.lazy().select("conversation_id").unique(), on="conversation_id", how="semi").collect()
    hashes = [hashlib.sha1(text.encode("utf-8")).hexdigest() for text in replies["feedback"]]
    replies = replies.with_columns(sha1=pl.Series(hashes, dtype=pl.String)).drop("feedback")
    both = gold.join(replies, on="conversation_id")
    by_hash = pl.col("feedback_sha1").is_not_null() & (pl.col("feedback_sha1") == pl.col("sha1"))
    by_place = pl.col("feedback_sha1").is_null() & (pl.col("place") == pl.col("turn"))
    candidates = both.filter(by_hash | by_place).sort("row", (pl.col("turn") - pl.col("place")).abs(), "turn")
    return candidates.unique("row", keep="first", maintain_order=True).drop("row", "place", "sha1", "conversation")


def compare(pairs: pl.DataFrame, seed: int = 0) -> pl.DataFrame:
    """Agreement of `labeler` with `reference`, columns of `pairs` with values of CLASSES.

    A row a target and metric: target, metric, value, low and high (95%: the 2.5th and 97.5th
    percentile), n (pairs), positives (of the reference). With stratum and stratum_size, every pair
    counts as much as its stratum's share of the population, and the bootstrap resamples within
    strata. Cohen's kappa (1960) is of the two-way table: positive or not. A value is null where it
    is 0/0.
    """
    # Of each stratum the CLASSES x CLASSES counts of its pairs, and how many rows of the population
    # each of them stands for.
    strata = [
        (_table(rows), (size or rows.height) / rows.height)
        for (_, size), rows in pairs.sort("stratum").group_by("stratum", "stratum_size", maintain_order=True)
    ]
    generator = np.random.default_rng(seed)
    whole = sum(table * weight for table, weight in strata)[None]  # 1 x classes x classes
    # RESAMPLES x classes x classes: to draw pairs with replacement is to draw the counts of the
    # cells from a multinomial distribution.
    resampled = sum(
        weight * generator.multinomial(table.sum(), (table / table.sum()).ravel(), size=RESAMPLES).reshape(-1, *table.shape)
        for table, weight in strata
    )
    rows = []
    positives_of = pairs["reference"].value_counts()
    for target, (reference, labeler) in TARGETS.items():
        if target == STRICT and STRICT not in pairs["reference"]:
            continue
        values, samples = (_metrics(tables, reference, labeler) for tables in (whole, resampled))
        positives = positives_of.filter(pl.col("reference").is_in(list(reference)))["count"].sum()
        for metric in METRICS:
            defined = samples[metric][~np.isnan(samples[metric])]
            low, high = np.percentile(defined, (2.5, 97.5)) if len(defined) else (np.nan, np.nan)
            rows.append((target, metric, values[metric][0], low, high, pairs.height, positives))
    schema = {"target": pl.String, "metric": pl.String, "value": pl.Float64, "low": pl.Float64, "high": pl.Float64}
    rows = pl.DataFrame(rows, schema=schema | {"n": pl.Int32, "positives": pl.Int32}, orient="row")
    return rows.with_columns(pl.col("value", "low", "high").fill_nan(None))


def _table(rows: pl.DataFrame) -> np.ndarray:
    """How often each class of the reference (rows) met each class of the labeler (columns)."""
    table = np.zeros((len(CLASSES), len(CLASSES)))
    for reference, labeler, count in rows.group_by("reference", "labeler").len().rows():
        table[CLASSES.index(reference), CLASSES.index(labeler)] = count
    return table


def _metrics(tables: np.ndarray, reference: tuple[str, ...], labeler: tuple[str, ...]) -> dict[str, np.ndarray]:
    """METRICS of many tables (N x classes x classes), given each side's positive classes."""
    truth, claim = (np.isin(CLASSES, classes).astype(float) for classes in (reference, labeler))
    # Of each table the pairs that are positive on both sides, for the reference, for the labeler.
    both = np.einsum("nij,i,j->n", tables, truth, claim)
    true, claimed = np.einsum("nij,i->n", tables, truth), np.einsum("nij,j->n", tables, claim)
    total = tables.sum(axis=(1, 2))
    # Agreement counts positives and negatives alike: total - true - claimed + both are neither's.
    agreed = (total - true - claimed + 2 * both) / total
    chance = (true * claimed + (total - true) * (total - claimed)) / total**2
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            "precision": both / claimed,
            "recall": both / true,
            "f1": 2 * both / (true + claimed),
            "kappa": (agreed - chance) / (1 - chance),
        }
