"""The choice of what to learn from: who gets in, who is left out and why, and who is kept for testing."""

import polars as pl
import pytest

import pools
import turns
from drift import tables
from drift.cli import StageError

SETTINGS = {
    "labeler": "words",
    "seed": 42,
    "languages": None,
    "min_chars": 1,
    "max_chars": 20_000,
    "max_per_conversation": 2,
    "test_conversations": 0,
    "test_seed_conversations": 0,
    "max_dsat": None,
    "max_sat": None,
    "max_seed": None,
}


class Corpus:
    """Conversations as (opening, [(reply, the user's next message, label), ...]), written as Turns and Labels."""

    def __init__(self, folder):
        self.folder, self.turns, self.labels = folder, [], []

    def add(
        self, name: str, opening: str, *replies: tuple[str, str, str], system: str | None = None, language: str = "English"
    ):
        user = opening
        for turn, (response, feedback, label) in enumerate(replies):
            key = {"conversation_id": f"s:{name}", "turn": turn}
            said = {"user": user, "response": response, "feedback": feedback, "system": system if turn == 0 else None}
            self.turns.append(key | said | {"source": "s", "language": language, "flags": []})
            self.labels.append(key | {"labeler": "words", "label": label, "evidence": ["strict/no"], "score": 0.8})
            user = feedback
        self.turns.append({"conversation_id": f"s:{name}", "turn": len(replies), "source": "s", "user": user, "flags": []})
        return self

    def choose(self, threads: int | None = None, **settings):
        turns_table = pl.DataFrame(self.turns, schema=turns.empty_turns().schema)
        labels_table = pl.DataFrame(self.labels, schema=tables.Labels.create_empty().schema)
        tables.write_table(turns_table, tables.Turns, self.folder / "turns.parquet")
        tables.write_table(labels_table, tables.Labels, self.folder / "labels.parquet")
        paths = [str(self.folder / f"{name}.parquet") for name in ("turns", "labels")]
        chosen, ledger = pools.choose(*paths, SETTINGS | settings, threads)
        for pool, schema in pools.SCHEMAS.items():
            tables.write_table(chosen[pool], schema, self.folder / f"{pool}.parquet")
        written = {pool: tables.read_table(schema, self.folder / f"{pool}.parquet") for pool, schema in pools.SCHEMAS.items()}
        return written, tables.Ledger.validate(ledger.sort("flow", "step"), cast=True)


@pytest.fixture
def corpus(tmp_path):
    return Corpus(tmp_path)


def many(corpus: Corpus, conversations: int = 30) -> Corpus:
    """Conversations with a complaint, a correction and thanks; every third opens like the one before it."""
    for number in range(conversations):
        opening = f"Question {number - number % 3 // 2}?"
        corpus.add(
            f"c{number}",
            opening,
            (f"r{number}", "no", "DSAT"),
            (f"s{number}", "thanks", "SAT"),
            (f"t{number}", "go", "NEUTRAL"),
        )
    return corpus


def drops(ledger: pl.DataFrame, pool: str) -> dict[str, int]:
    return {reason: n for flow, reason, n in ledger.select("flow", "reason", "dropped").rows() if flow == pool and n}


def ids(rows: pl.DataFrame, split: str | None = None) -> set[str]:
    return set(rows.filter(pl.col("split") == split if split else True)["prompt_id"])


def test_the_prompt_is_all_that_was_said_before_the_reply(corpus):
    corpus.add("a", "one", ("two", "three", "NEUTRAL"), ("four", "no", "DSAT"), ("five", "thanks", "SAT"), system="be brief")
    chosen, _ = corpus.choose()
    before = [("system", "be brief"), ("user", "one"), ("assistant", "two"), ("user", "three")]
    (row,) = chosen["dsat"].rows(named=True)
    assert row["prompt_id"] == "s:a/1"
    assert [(m["role"], m["content"]) for m in row["prompt"]] == before
    assert (row["rejected"], row["feedback"]) == ("four", "no")
    (row,) = chosen["sat"].rows(named=True)
    assert [(m["role"], m["content"]) for m in row["prompt"]] == [*before, ("assistant", "four"), ("user", "no")]
    assert (row["chosen"], row["feedback"]) == ("five", "thanks")
    (row,) = chosen["seed"].rows(named=True)
    assert [(m["role"], m["content"]) for m in row["prompt"]] == before
    assert (row["rejected"], row["feedback"], row["chosen"]) == ("four", "no", "five")


def test_every_reason_is_recorded_and_the_ledger_adds_up(corpus):
    corpus.add("kept", "aa", ("bb", "no", "DSAT"))
    corpus.add("copy", "aa", ("bb", "wrong", "DSAT"))
    corpus.add("other reply", "aa", ("cc", "no", "DSAT"))
    corpus.add("french", "cc", ("dd", "non", "DSAT"), language="French")
    corpus.add("long", "ee", ("f" * 90, "no", "DSAT"))
    corpus.add("short", "gg", ("h", "no", "DSAT"))
    corpus.add("often", "ii", *((f"reply {n}", "no, bad", "DSAT") for n in range(3)))
    corpus.add("happy", "jj", ("kk", "thanks", "SAT"))
    chosen, ledger = corpus.choose(languages=["English"], min_chars=2, max_chars=80, max_per_conversation=2)
    assert drops(ledger, "dsat") == {
        "not labelled DSAT": 1,
        "language not asked for": 1,
        "prompt message or reply under min_chars": 1,
        "prompt and reply over max_chars": 1,
        "same prompt and reply as another": 1,
        "over max_per_conversation": 1,
    }
    assert "s:copy/0" in ids(chosen["dsat"])  # the smaller prompt_id of the two copies
    assert chosen["dsat"].height == 4
    last = ledger.group_by("flow").agg(pl.col("rows_out").sort_by("step").last())
    assert dict(last.rows()) == {pool: rows.height for pool, rows in chosen.items()}
    assert set(ledger.filter(pl.col("step") == 0)["rows_in"]) == {10}


def test_the_length_of_a_prompt_counts_its_history_and_its_system_message(corpus):
    corpus.add("a", "12345", ("12345", "12345", "NEUTRAL"), ("12345", "no", "DSAT"), system="12345")
    assert corpus.choose(max_chars=25)[0]["dsat"].height == 1
    with pytest.raises(StageError, match="prompt and reply over max_chars: 1"):
        corpus.choose(max_chars=24)


def test_a_correction_needs_the_very_next_reply_to_satisfy_with_other_words(corpus):
    corpus.add("yes", "a", ("b", "no", "DSAT"), ("c", "thanks", "SAT"))
    corpus.add("later", "d", ("e", "no", "DSAT"), ("f", "hm", "NEUTRAL"), ("g", "thanks", "SAT"))
    corpus.add("same", "h", ("i", "no", "DSAT"), ("i", "thanks", "SAT"))
    corpus.add("last", "j", ("k", "no", "DSAT"))
    chosen, ledger = corpus.choose()
    assert ids(chosen["seed"]) == {"s:yes/0"}
    assert drops(ledger, "seed")["the next reply is not labelled SAT"] == 2
    assert drops(ledger, "seed")["the next reply is the same text"] == 1


@pytest.mark.parametrize("seed", range(5))
def test_no_opening_is_on_both_sides(corpus, seed):
    chosen, _ = many(corpus).choose(seed=seed, test_conversations=5, test_seed_conversations=7)
    sides = pl.concat(
        rows.select("split", opening=pl.col("prompt").list.first().struct.field("content")) for rows in chosen.values()
    ).unique()
    assert sides["opening"].is_unique().all()
    held_out = [rows.filter(pl.col("split") == "test") for rows in (chosen["dsat"], chosen["seed"])]
    openings = [rows["prompt"].list.first().struct.field("content").n_unique() for rows in held_out]
    assert openings == [7, 7]


def test_openings_that_differ_in_case_and_spaces_stay_together(corpus):
    many(corpus)
    for number in range(8):
        corpus.add(f"same{number}", "  ".join(["Tell", "ME"]) if number % 2 else "tell me", (f"x{number}", "no", "DSAT"))
    for seed in range(6):
        chosen, _ = corpus.choose(seed=seed, test_conversations=8)
        assert chosen["dsat"].filter(pl.col("conversation_id").str.starts_with("s:same"))["split"].n_unique() == 1


def test_maxima_cut_training_rows_only_and_a_smaller_one_is_a_part_of_a_larger(corpus):
    many(corpus)
    held_out = {"test_conversations": 5, "test_seed_conversations": 3}
    whole, few, fewer = (corpus.choose(**held_out, max_dsat=n, max_sat=n, max_seed=n)[0] for n in (None, 8, 3))
    for pool in pools.SCHEMAS:
        assert ids(whole[pool], "test") == ids(few[pool], "test") == ids(fewer[pool], "test")
        assert len(ids(few[pool], "train")) == 8
        assert len(ids(fewer[pool], "train")) == 3
        assert ids(fewer[pool]) < ids(few[pool]) < ids(whole[pool])
        assert ids(few[pool], "train") != set(sorted(ids(whole[pool], "train"))[:8])


def test_the_choice_depends_on_the_seed_alone(corpus):
    many(corpus)
    settings = {"test_conversations": 4, "max_dsat": 9}
    files = []
    for threads in (1, 4):
        corpus.turns.reverse()
        corpus.choose(threads, **settings)
        files.append([(corpus.folder / f"{pool}.parquet").read_bytes() for pool in pools.SCHEMAS])
    assert files[0] == files[1]
    assert ids(corpus.choose(**settings)[0]["dsat"]) != ids(corpus.choose(**settings, seed=43)[0]["dsat"])


def test_another_labeler_is_not_heard(corpus):
    corpus.add("a", "b", ("c", "no", "DSAT"))
    corpus.labels += [row | {"labeler": "other", "label": "SAT"} for row in corpus.labels]
    chosen, ledger = corpus.choose()
    assert (chosen["dsat"].height, chosen["sat"].height) == (1, 0)
    assert set(ledger.filter(pl.col("step") == 0)["rows_in"]) == {1}


def test_nothing_left_to_train_on_stops_with_the_reason(corpus):
    corpus.add("a", "b", ("c", "no", "DSAT"))
    with pytest.raises(StageError, match="went to the test side"):
        corpus.choose(test_conversations=1)
    with pytest.raises(StageError, match="language not asked for: 1"):
        corpus.choose(languages=["French"])
