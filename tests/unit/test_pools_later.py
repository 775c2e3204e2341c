"""Pools of data that come after the start: more training rows, and not one of what the start holds
out."""

import polars as pl
import pytest

import pools
from drift import tables
from tests.builders.corpus import Corpus, add_many, drops, ids

HELD_OUT = {"test_conversations": 5, "test_correction_conversations": 3}
APRIL = {"april": 2}


@pytest.fixture
def start(tmp_path):
    """The corpus of the start, its pools, and where they are."""
    (tmp_path / "start").mkdir()
    corpus = add_many(Corpus(tmp_path / "start"))
    chosen, _ = corpus.choose(**HELD_OUT)
    return corpus, chosen, [tmp_path / f"start/{pool}.parquet" for pool in pools.SCHEMAS]


def grown(start, folder) -> Corpus:
    """The corpus of the start once more, for what comes later."""
    later = Corpus(folder)
    later.turns, later.labels = list(start[0].turns), list(start[0].labels)
    return later


def held_out_conversation(chosen: dict[str, pl.DataFrame]) -> dict:
    return chosen["dsat"].filter(split="test").sort("prompt_id").row(0, named=True)


def complain(corpus: Corpus, name: str, opening: str, **columns) -> None:
    """A later conversation with a complaint and thanks."""
    corpus.add(name, opening, (f"r {name}", "no", "DSAT"), (f"s {name}", "thanks", "SAT"), source="april", **columns)


def test_later_pools_have_the_training_rows_of_the_start_and_the_new_ones_and_no_test_side(start, tmp_path):
    _, first, paths = start
    corpus = grown(start, tmp_path)
    for number in range(4):
        complain(corpus, f"n{number}", f"Something new {number}?")
    later, ledger = corpus.choose(paths, arrivals=APRIL, **HELD_OUT)
    for pool, new in {"dsat": 4, "sat": 4, "corrections": 4}.items():
        assert set(later[pool]["split"]) == {"train"}
        old = {prompt for prompt in ids(later[pool]) if prompt.startswith("s:")}
        assert len(ids(later[pool]) - old) == new
        assert not old & ids(first[pool], "test")
    assert {prompt for prompt in ids(later["dsat"]) if prompt.startswith("s:")} == ids(first["dsat"], "train")
    assert drops(ledger, "dsat")[pools.HELD_OUT] > 0


@pytest.mark.parametrize(
    "how", ["same opening", "same opening in other case", "nearly the same opening", "same user", "asked later on"]
)
def test_what_the_start_holds_out_stays_out_of_later_training_rows(tmp_path, how):
    (tmp_path / "start").mkdir()
    long = "Please write a poem about the old wooden bridge over the river number {} and its builders in the year they built it"
    corpus = Corpus(tmp_path / "start")
    for number in range(12):
        replies = [(f"r{number}", "no", "DSAT"), (f"s{number}", "thanks", "SAT")]
        corpus.add(f"c{number}", f"Topic {number * 'x'} " + long.format(number * "7"), *replies, user_id=f"logs:{number}")
    first, _ = corpus.choose(near_duplicates=None, test_conversations=3)
    held = held_out_conversation(first)
    asked, number = held["prompt"][0]["content"], held["conversation_id"].removeprefix("s:c")
    later = Corpus(tmp_path)
    later.turns, later.labels = corpus.turns, corpus.labels
    opening = {
        "same opening": asked,
        "same opening in other case": asked.upper(),
        "nearly the same opening": asked + " today",
        "same user": "Quite another question?",
        "asked later on": "Hello.",
    }[how]
    user = f"logs:{number}" if how == "same user" else "logs:99"
    if how == "asked later on":
        later.add("n", opening, ("Hi.", asked, "NEUTRAL"), ("r new", "no", "DSAT"), source="april", user_id=user)
    else:
        complain(later, "n", opening, user_id=user)
    complain(later, "fine", "A question of somebody else?", user_id="logs:98")
    paths = [tmp_path / f"start/{pool}.parquet" for pool in pools.SCHEMAS]
    chosen, _ = later.choose(paths, arrivals=APRIL, near_duplicates=0.8 if how.startswith("nearly") else None)
    april = {prompt for rows in chosen.values() for prompt in ids(rows) if prompt.startswith("april:")}
    assert {prompt.partition("/")[0] for prompt in april} == {"april:fine"}


def test_maxima_hold_for_each_data_so_that_new_rows_push_no_old_one_out(start, tmp_path):
    maxima = {"max_dsat": 6, "max_sat": 6, "max_corrections": 6}
    first, _ = start[0].choose(**HELD_OUT, **maxima)
    corpus = grown(start, tmp_path)
    for number in range(9):
        complain(corpus, f"n{number}", f"Something new {number}?")
    later, _ = corpus.choose(start[2], arrivals=APRIL, **HELD_OUT, **maxima)
    assert ids(first["dsat"], "train") < ids(later["dsat"])
    assert later["dsat"].height == 12


def test_a_benchmark_stays_out_of_later_rows_as_well(start, tmp_path):
    corpus = grown(start, tmp_path)
    for number in range(3):
        complain(corpus, f"n{number}", f"Something new {number}?")
    task = {"prompt_id": "t", "cluster": "t", "prompt": [{"role": "user", "content": "Something new 1?"}]}
    schema = tables.Tasks.create_empty().schema
    tables.write_table(pl.DataFrame([task], schema=schema), tables.Tasks, tmp_path / "tasks.parquet")
    corpus.benchmarks = {"arena": tmp_path / "tasks.parquet"}
    later, _ = corpus.choose(start[2], arrivals=APRIL)
    assert {"april:n0/0", "april:n2/0"} <= ids(later["dsat"])
    assert "april:n1/0" not in ids(later["dsat"])


def test_the_start_has_no_line_for_it_in_its_ledger(start):
    _, ledger = start[0].choose(**HELD_OUT)
    assert pools.HELD_OUT not in set(ledger["reason"])


def test_all_that_hangs_together_with_the_test_side_of_the_start_stays_out(tmp_path):
    """One user's two conversations, and another user's that opens as the second does: the group is
    picked for the correction in the first, and has no other row on the test side."""
    (tmp_path / "start").mkdir()
    corpus = add_many(Corpus(tmp_path / "start"), 12)
    corpus.add("a", "Alpha?", ("ra", "no", "DSAT"), ("sa", "thanks", "SAT"), user_id="logs:1")
    corpus.add("b", "Beta?", ("rb", "no", "DSAT"), user_id="logs:1")
    corpus.add("c", "Beta?", ("rc", "no", "DSAT"), user_id="logs:2")
    for seed in range(50):
        first, _ = corpus.choose(seed=seed, test_correction_conversations=3)
        if "s:a/0" in ids(first["corrections"], "test"):
            break
    assert not {"s:b/0", "s:c/0"} & ids(first["dsat"])
    later = grown((corpus,), tmp_path)
    complain(later, "new", "Something new?")
    paths = [tmp_path / f"start/{pool}.parquet" for pool in pools.SCHEMAS]
    chosen, _ = later.choose(paths, seed=seed, arrivals=APRIL)
    assert not {"s:a/0", "s:b/0", "s:c/0"} & ids(chosen["dsat"])


@pytest.mark.parametrize("change", ["", " today"])
def test_what_a_later_export_repeats_is_no_new_data_whatever_its_source_is_called(tmp_path, change):
    """The same exchange, or nearly: the row of the start stays, though 'april' comes before 's'."""
    (tmp_path / "start").mkdir()
    opening = "Please write a poem about the old wooden bridge over the river, its builders and the year they built it in"
    reply = "A poem about a bridge. " + " ".join(
        f"It stands in the {word} light." for word in ("first", "second", "third", "last")
    )
    corpus = Corpus(tmp_path / "start")
    corpus.add("old", opening, (reply, "no", "DSAT"))
    corpus.choose()
    later = Corpus(tmp_path)
    later.turns, later.labels = list(corpus.turns), list(corpus.labels)
    later.add("again", opening + change, (reply, "no", "DSAT"), source="april")
    complain(later, "new", "Something else?")
    paths = [tmp_path / f"start/{pool}.parquet" for pool in pools.SCHEMAS]
    chosen, _ = later.choose(paths, arrivals=APRIL, near_duplicates=0.8)
    assert ids(chosen["dsat"]) == {"s:old/0", "april:new/0"}
