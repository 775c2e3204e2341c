"""The choice of what to learn from: who gets in, who is left out and why, and who is kept for testing."""

import json
import os
import subprocess
import sys
from datetime import datetime

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pools
from drift import tables
from drift.cli import StageError
from drift.config import Decontamination, Filters
from tests.conftest import REPOSITORY

SETTINGS = {
    "labeler": "words",
    "label_noise": 0.0,
    "seed": 42,
    "pick": "hash",
    "test_conversations": 0,
    "test_correction_conversations": 0,
    "max_dsat": None,
    "max_sat": None,
    "max_corrections": None,
}
FILTERS = Filters().model_dump()
DECONTAMINATION = Decontamination().model_dump()


class Corpus:
    """Conversations as (opening, [(reply, the user's next message, label), ...]), written as Turns and Labels."""

    def __init__(self, folder):
        self.folder, self.turns, self.labels, self.benchmarks = folder, [], [], {}

    def add(
        self,
        name: str,
        opening: str,
        *replies: tuple[str, str, str],
        system: str | None = None,
        language: str = "English",
        **columns,
    ):
        user = opening
        for turn, (response, feedback, label) in enumerate(replies):
            key = {"conversation_id": f"s:{name}", "turn": turn}
            said = {"user": user, "response": response, "feedback": feedback, "system": system if turn == 0 else None}
            self.turns.append(key | said | {"source": "s", "language": language, "flags": []} | columns)
            self.labels.append(key | {"labeler": "words", "label": label, "evidence": ["strict/no"], "score": 0.8})
            user = feedback
        self.turns.append({"conversation_id": f"s:{name}", "turn": len(replies), "source": "s", "user": user, "flags": []})
        return self

    def write(self):
        turns_table = pl.DataFrame(self.turns, schema=tables.Turns.create_empty().schema)
        labels_table = pl.DataFrame(self.labels, schema=tables.Labels.create_empty().schema)
        tables.write_table(turns_table, tables.Turns, self.folder / "turns.parquet")
        tables.write_table(labels_table, tables.Labels, self.folder / "labels.parquet")

    def choose(self, **settings):
        self.write()
        paths = [str(self.folder / f"{name}.parquet") for name in ("turns", "labels")]
        filters = FILTERS | {key: settings.pop(key) for key in FILTERS.keys() & settings.keys()}
        asked = SETTINGS | settings | {"filters": filters, "decontamination": DECONTAMINATION}
        written = {pool: self.folder / f"{pool}.parquet" for pool in pools.SCHEMAS}
        self.quarantine, ledger = pools.choose(*paths, self.benchmarks, asked, written)
        written = {pool: tables.read_table(schema, written[pool]) for pool, schema in pools.SCHEMAS.items()}
        return written, tables.Ledger.validate(ledger.sort("lineage", "step"), cast=True)


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
    return {reason: n for lineage, reason, n in ledger.select("lineage", "reason", "dropped").rows() if lineage == pool and n}


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
    (row,) = chosen["corrections"].rows(named=True)
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
    last = ledger.group_by("lineage").agg(pl.col("rows_out").sort_by("step").last())
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
    assert ids(chosen["corrections"]) == {"s:yes/0"}
    assert drops(ledger, "corrections")["the next reply is not labelled SAT"] == 2
    assert drops(ledger, "corrections")["the next reply is the same text"] == 1


@pytest.mark.parametrize("seed", range(5))
def test_no_opening_is_on_both_sides(corpus, seed):
    chosen, _ = many(corpus).choose(seed=seed, test_conversations=5, test_correction_conversations=7)
    sides = pl.concat(
        rows.select("split", opening=pl.col("prompt").list.first().struct.field("content")) for rows in chosen.values()
    ).unique()
    assert sides["opening"].is_unique().all()
    held_out = [rows.filter(pl.col("split") == "test") for rows in (chosen["dsat"], chosen["corrections"])]
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
    held_out = {"test_conversations": 5, "test_correction_conversations": 3}
    whole, few, fewer = (corpus.choose(**held_out, max_dsat=n, max_sat=n, max_corrections=n)[0] for n in (None, 8, 3))
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
    for _ in range(2):
        corpus.turns.reverse()
        corpus.choose(**settings)
        files.append([(corpus.folder / f"{pool}.parquet").read_bytes() for pool in pools.SCHEMAS])
    assert files[0] == files[1]
    assert ids(corpus.choose(**settings)[0]["dsat"]) != ids(corpus.choose(**settings, seed=43)[0]["dsat"])


def test_rows_put_together_a_few_at_a_time_are_the_same_rows(corpus, monkeypatch):
    whole, _ = many(corpus).choose()
    monkeypatch.setattr(pools, "ROWS_AT_A_TIME", 3)
    few, _ = corpus.choose()
    assert all(few[pool].equals(whole[pool]) for pool in pools.SCHEMAS)
    assert min(whole["dsat"].height, whole["sat"].height, whole["corrections"].height) > 3


def test_the_same_messages_in_another_order_are_another_prompt(corpus):
    corpus.add("a", "one", ("x", "two", "NEUTRAL"), ("y", "three", "NEUTRAL"), ("z", "no", "DSAT"))
    corpus.add("b", "two", ("y", "one", "NEUTRAL"), ("x", "three", "NEUTRAL"), ("z", "no", "DSAT"))
    corpus.add("c", "one", ("x", "two", "NEUTRAL"), ("y", "three", "NEUTRAL"), ("z", "bad", "DSAT"))
    chosen, ledger = corpus.choose(near_duplicates=None)
    assert drops(ledger, "dsat")["same prompt and reply as another"] == 1
    assert ids(chosen["dsat"]) == {"s:a/2", "s:b/2"}


def test_any_number_of_threads_gives_the_same_bytes_from_turns_to_pools(corpus, tmp_path):
    """The programs as the rules call them: labels over several batches, pools with a benchmark and near-duplicates."""
    random = np.random.default_rng(0)
    words = [f"word{number}" for number in range(400)]
    for number in range(4000):
        said = " ".join(random.choice(words, 30)) if number % 3 else f"again and again {number // 30} " + " ".join(words[:30])
        follow = ("That is wrong.", "Thanks, perfect!", "Now the next one.")[number // 3 % 3]
        corpus.add(
            f"c{number}", said, (f"{said} answered", follow, ""), (f"r{number}", "Thank you!", ""), user_id=f"s:{number % 900}"
        )
    corpus.labels = []
    corpus.write()
    tasks = [{"prompt_id": "t", "prompt": [{"role": "user", "content": corpus.turns[3]["user"]}]}]
    tables.write_table(pl.DataFrame(tasks, schema=tables.Tasks.create_empty().schema), tables.Tasks, tmp_path / "tasks.parquet")
    settings = SETTINGS | {"filters": FILTERS, "decontamination": DECONTAMINATION, "test_conversations": 20}
    tables_written = ("labels", "dsat", "sat", "corrections", "quarantine", "ledger")
    seen = []
    for threads in ("1", "4"):
        file = {name: tmp_path / f"{name}-{threads}.out" for name in tables_written}
        run = {"check": True, "env": os.environ | {"POLARS_MAX_THREADS": threads, "OMP_NUM_THREADS": threads}}
        command = [sys.executable, REPOSITORY / "scripts/labels.py", "--turns", tmp_path / "turns.parquet"]
        command += ["--labels", file["labels"], "--ledger", tmp_path / "labels-ledger.out"]
        subprocess.run([*command, "--settings", json.dumps({"labelers": {"words": {"kind": "lexical"}}})], **run)
        command = [
            sys.executable,
            REPOSITORY / "scripts/pools.py",
            "--turns",
            tmp_path / "turns.parquet",
            "--labels",
            file["labels"],
        ]
        command += ["--benchmark", f"b={tmp_path / 'tasks.parquet'}", "--settings", json.dumps(settings)]
        subprocess.run([*command, *(word for name in tables_written[1:] for word in (f"--{name}", file[name]))], **run)
        seen.append({name: path.read_bytes() for name, path in file.items()})
    assert [name for name in tables_written if seen[0][name] != seen[1][name]] == []
    assert pl.read_parquet(tmp_path / "quarantine-1.out").height > 0
    assert dict(pl.read_parquet(tmp_path / "dsat-1.out")["split"].value_counts().rows()).keys() == {"train", "test"}


@settings(deadline=None, max_examples=15)
@given(
    st.lists(
        st.tuples(
            st.sampled_from("abcdef"),
            st.sampled_from([None, "u", "v", "w"]),
            st.lists(st.sampled_from(["DSAT", "SAT"]), max_size=4),
        ),
        min_size=1,
        max_size=14,
    ),
    st.integers(0, 5),
    st.integers(0, 3),
)
def test_no_reply_is_lost_or_doubled_and_nothing_is_on_both_sides(tmp_path_factory, conversations, tests, seed):
    """Whatever users and openings conversations share, and however they are linked through others."""
    corpus = Corpus(tmp_path_factory.mktemp("split"))
    # One that shares nothing: there is always something to train on.
    corpus.add("alone", "z", ("reply z", "no", "DSAT"))
    for number, (opening, user, labels) in enumerate(conversations):
        said = [(f"reply {number} {turn}", "no" if label == "DSAT" else "thanks", label) for turn, label in enumerate(labels)]
        corpus.add(f"c{number}", opening, *said, user_id=user and f"s:{user}")
    corpus.add("apart", "y", ("reply y", "no", "DSAT"))
    try:
        chosen, ledger = corpus.choose(seed=seed, test_conversations=tests, test_correction_conversations=tests, max_sat=3)
    except StageError:
        assert tests  # all that disappointed went to the test side: said, and nothing is written
        return
    labels = {(row["conversation_id"], row["turn"]): row["label"] for row in corpus.labels}
    for pool, rows in chosen.items():
        assert rows["prompt_id"].is_unique().all()
        wanted = "SAT" if pool == "sat" else "DSAT"
        assert {labels[key] for key in rows.select("conversation_id", "turn").rows()} <= {wanted}
        steps = ledger.filter(lineage=pool).sort("step")
        assert steps["rows_in"][0] == len(labels) == steps["dropped"].sum() + rows.height
    sides = pl.concat(rows.select("conversation_id", "split") for rows in chosen.values()).unique()
    assert sides["conversation_id"].is_unique().all()
    told = pl.DataFrame(corpus.turns, schema=tables.Turns.create_empty().schema).filter(turn=0)
    shared = sides.join(told.select("conversation_id", "user_id", "user"), on="conversation_id")
    for column in ("user_id", "user"):
        assert (shared.drop_nulls(column).group_by(column).agg(pl.col("split").n_unique())["split"] == 1).all()


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


LONG = "Write a prompt for an image of a castle on a hill, in the style of number {}, with every detail that can be seen from afar, "
LONG += "the weather of the day, the people at the gate, the horses, the flags, the river below, and all that is behind the walls: {}"


def test_every_filter_drops_what_it_names_and_can_be_switched_off(corpus):
    corpus.add("good", "What is it?", ("It is this.", "no", "DSAT"))
    corpus.add("toxic", "toxic one", ("reply t", "no", "DSAT"), toxic=True)
    corpus.add("masked", "masked one", ("reply m", "no", "DSAT"), redacted=True)
    corpus.add("merged", "merged one", ("reply n", "no", "DSAT"), flags=["merged_user"])
    corpus.add("blank", "blank one", ("  \n ", "no", "DSAT"))
    corpus.add("pager", "Please continue.", ("reply p", "no", "DSAT"))
    corpus.add("refusal", "refused one", ("I'm sorry, but I cannot help with that.", "no", "DSAT"))
    chosen, ledger = corpus.choose(drop_redacted=True)
    assert ids(chosen["dsat"]) == {"s:good/0"}
    assert drops(ledger, "dsat") == {
        "toxic": 1,
        "redacted": 1,
        "messages of one role in a row": 1,
        "prompt message or reply under min_chars": 1,
        "prompt only asks to go on": 1,
        "reply refuses": 1,
    }
    off = dict.fromkeys(("drop_toxic", "drop_merged", "drop_continuations", "drop_refusals"), False)
    assert corpus.choose(**off)[0]["dsat"].height == 6
    with pytest.raises(StageError, match="label under min_score: 2"):
        corpus.choose(min_score=0.9)


def test_refusals_and_pagers_are_not_taken_for_what_only_looks_like_them(corpus):
    corpus.add("a", "How do I continue a for loop?", ("Use continue.", "no", "DSAT"))
    corpus.add("b", "What is a sorry excuse?", ("A poor one. I'm sorry to say there are many.", "no", "DSAT"))
    corpus.add("c", "Next question: what is DNA?", ("A molecule that cannot be seen.", "no", "DSAT"))
    assert corpus.choose()[0]["dsat"].height == 3


def test_users_and_templates_have_their_share(corpus):
    for number in range(6):
        corpus.add(f"u{number}", f"user question {number}", (f"a{number}", "no", "DSAT"), user_id="s:1")
        corpus.add(
            f"t{number}", LONG.format(number, "x" * 40 * (number + 1)), (f"b{number}", "no", "DSAT"), user_id=f"s:{number + 2}"
        )
    chosen, ledger = corpus.choose(max_per_user=2, max_per_template=3, near_duplicates=None)
    assert chosen["dsat"].height == 5
    assert drops(ledger, "dsat") == {"over max_per_user": 4, "over max_per_template": 3}


def test_of_near_duplicates_one_stays(corpus):
    words = [f"word{number}" for number in range(80)]
    corpus.add("a", "Tell me:", (" ".join(words), "no", "DSAT"))
    corpus.add("b", "tell me", (" ".join([*words[:-1], "other"]), "no", "DSAT"))
    corpus.add("c", "Tell me:", (" ".join(words[::-1]), "no", "DSAT"))
    chosen, ledger = corpus.choose()
    assert ids(chosen["dsat"]) == {"s:a/0", "s:c/0"}
    assert drops(ledger, "dsat") == {"nearly the same message and reply as another": 1}
    assert corpus.choose(near_duplicates=None)[0]["dsat"].height == 3


def test_a_conversation_that_holds_a_benchmark_prompt_is_quarantined_with_the_evidence(corpus, tmp_path):
    secret = "Name the seven rivers that cross the old border and say in which year each of them was first bridged"
    tasks = [("t1", secret), ("planted", "Another question that nobody asks?")]
    rows = [{"prompt_id": name, "prompt": [{"role": "user", "content": text}]} for name, text in tasks]
    path = tmp_path / "bench.parquet"
    tables.write_table(pl.DataFrame(rows, schema=tables.Tasks.create_empty().schema), tables.Tasks, path)
    corpus.add("clean", "something else", ("r", "no", "DSAT"))
    corpus.add("exact", secret.upper(), ("r1", "no", "DSAT"))
    corpus.add("inside", "Hello. " + secret + " Answer in French.", ("r2", "no", "DSAT"))
    corpus.add("later", "before", ("r3", f"{secret}?", "DSAT"), ("r4", "no", "DSAT"))
    corpus.add("planted", "whatever", ("r5", "no", "DSAT"))
    corpus.benchmarks = {"bench": str(path)}
    chosen, ledger = corpus.choose()
    assert ids(chosen["dsat"]) == {"s:clean/0", "s:later/0"}  # the first reply of `later` came before the prompt
    assert drops(ledger, "dsat") == {"holds a benchmark prompt": 4}
    held = {row["prompt_id"]: row for row in corpus.quarantine.to_dicts()}
    tables.Quarantine.validate(corpus.quarantine.sort("pool", "prompt_id"), cast=True)
    assert {name: (row["how"], row["task"]) for name, row in held.items()} == {
        "s:exact/0": ("exact", "t1"),
        "s:inside/0": ("ngram", "t1"),
        "s:later/1": ("exact", "t1"),
        "s:planted/0": ("id", "planted"),
    }
    assert "seven rivers" in held["s:inside/0"]["evidence"]


def test_label_noise_turns_a_seeded_share_of_the_labels_round(corpus):
    for number in range(200):
        corpus.add(f"c{number}", f"question {number}", (f"r{number}", "no", "DSAT"))
    clean, half, most = (corpus.choose(label_noise=noise)[0] for noise in (0.0, 0.3, 0.8))
    assert clean["dsat"].height == 200
    assert not clean["dsat"]["flipped"].any()
    assert half["sat"]["flipped"].all()
    assert 35 <= half["sat"].height <= 85
    assert half["sat"].height + half["dsat"].height == 200
    assert ids(half["sat"]) < ids(most["sat"])
    assert ids(corpus.choose(label_noise=0.3, seed=7)[0]["sat"]) != ids(half["sat"])


@pytest.mark.parametrize("seed", range(4))
def test_a_users_conversations_and_near_copies_of_openings_are_on_one_side(corpus, seed):
    for number in range(40):
        opening = (
            " ".join([f"picture {number // 4}", *(f"w{n}" for n in range(200))]) if number % 2 else f"question {number} of many"
        )
        reply = " ".join(f"r{number}w{word}" for word in range(300))
        corpus.add(f"c{number}", opening, (reply, "no", "DSAT"), user_id=f"s:{number // 2}" if number % 8 else None)
    chosen, _ = corpus.choose(seed=seed, test_conversations=6, max_per_template=None)
    sides = chosen["dsat"].with_columns(number=pl.col("conversation_id").str.extract(r"(\d+)").cast(pl.Int32))
    assert set(sides["split"]) == {"train", "test"}
    users = sides.filter(pl.col("number") % 8 != 0).group_by(pl.col("number") // 2).agg(pl.col("split").n_unique())
    assert users["split"].max() == 1
    copies = sides.filter(pl.col("number") % 2 == 1)
    assert copies["split"].n_unique() == 1
    assert copies["split"][0] == "train"  # more conversations than the test side asks for


def test_the_oldest_come_first_where_the_released_rule_is_asked_for(corpus):
    for number in range(9):
        when = datetime(2024, 1, 9 - number)
        corpus.add(f"c{number}", f"question {number}", (f"r{number}", "no", "DSAT"), timestamp=when)
    chosen, _ = corpus.choose(pick="first", test_conversations=2, max_dsat=3)
    assert ids(chosen["dsat"], "test") == {"s:c8/0", "s:c7/0"}
    assert ids(chosen["dsat"], "train") == {"s:c6/0", "s:c5/0", "s:c4/0"}


def test_a_setting_that_is_missing_is_named(corpus, tmp_path):
    many(corpus).choose()
    files = [
        word
        for name in ("dsat", "sat", "corrections", "quarantine", "ledger")
        for word in (f"--{name}", tmp_path / f"{name}.out")
    ]
    command = [sys.executable, REPOSITORY / "scripts/pools.py", "--turns", tmp_path / "turns.parquet"]
    command += ["--labels", tmp_path / "labels.parquet", "--settings", json.dumps({"labeler": "words"}), *files]
    failed = subprocess.run(command, capture_output=True, text=True)
    assert failed.returncode == 1
    assert failed.stderr.startswith("error: --settings has no 'label_noise'")
