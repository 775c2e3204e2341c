"""Which replies are kept for testing, and that the choice depends on the seed alone."""

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
from tests.builders.corpus import Corpus, add_many, drops, ids, pools_settings
from tests.conftest import REPOSITORY


@pytest.fixture
def corpus(tmp_path):
    return Corpus(tmp_path)


@pytest.mark.parametrize("seed", range(5))
def test_no_opening_is_on_both_sides(corpus, seed):
    chosen, _ = add_many(corpus).choose(seed=seed, test_conversations=5, test_correction_conversations=7)
    sides = pl.concat(
        rows.select("split", opening=pl.col("prompt").list.first().struct.field("content")) for rows in chosen.values()
    ).unique()
    assert sides["opening"].is_unique().all()
    held_out = [rows.filter(pl.col("split") == "test") for rows in (chosen["dsat"], chosen["corrections"])]
    assert [rows["conversation_id"].n_unique() for rows in held_out] == [5, 7]
    assert set(held_out[0]["conversation_id"]) < set(held_out[1]["conversation_id"])


@pytest.mark.parametrize("seed", range(3))
def test_the_test_side_has_as_many_conversations_as_were_asked_for(corpus, seed):
    """Users have one to five conversations, and half of the conversations hold a correction."""
    for number in range(90):
        labels = ("DSAT", "SAT") if number % 2 else ("DSAT", "NEUTRAL")
        replies = [(f"r{number} {turn}", f"f{number} {turn}", label) for turn, label in enumerate(labels)]
        corpus.add(f"c{number}", f"question {number}", *replies, user_id=f"s:{int(number**0.7)}")
    chosen, ledger = corpus.choose(seed=seed, test_conversations=20, test_correction_conversations=15)
    for pool, asked in (("dsat", 20), ("corrections", 15)):
        assert chosen[pool].filter(split="test")["conversation_id"].n_unique() == asked
    of_corrections = drops(ledger, "dsat")["held out for another pool"]
    assert 90 - 20 - of_corrections == chosen["dsat"].filter(split="train").height


def test_no_training_row_asks_what_a_held_out_row_asks(corpus):
    for number in range(40):
        said = ("r", f"Tell me  about {number // 2} again" if number % 2 else f"tell me about {number // 2} AGAIN", "NEUTRAL")
        corpus.add(f"c{number}", f"question {number}", said, (f"s{number}", "no", "DSAT"), (f"t{number}", "thanks", "SAT"))
    chosen, ledger = corpus.choose(test_conversations=6, test_correction_conversations=6)

    def last_messages(split: str, *names: str) -> set[str]:
        asked = [chosen[name].filter(split=split)["prompt"].list.last().struct.field("content") for name in names]
        return set(pl.concat(asked).str.to_lowercase().str.replace_all(r"\s+", " "))

    assert last_messages("test", "dsat", "corrections")
    assert not last_messages("test", "dsat", "corrections") & last_messages("train", *pools.SCHEMAS)
    assert drops(ledger, "dsat")["same message as a held-out prompt"] > 0


def test_rows_of_one_user_and_of_conversations_that_open_alike_are_one_cluster(corpus):
    for number, user in enumerate(("ann", "ann", "bob", "cy")):
        opening = f"Question {min(number, 2)}?"
        corpus.add(f"c{number}", opening, (f"r{number}", "no", "DSAT"), (f"s{number}", "thanks", "SAT"), user_id=user)
    chosen, _ = corpus.choose()
    for pool in ("dsat", "sat", "corrections"):
        clusters = dict(chosen[pool].select("conversation_id", "cluster").unique().iter_rows())
        assert clusters["s:c0"] == clusters["s:c1"], "one user"
        assert clusters["s:c2"] == clusters["s:c3"], "one opening"
        assert clusters["s:c0"] != clusters["s:c2"]


def test_openings_that_differ_in_case_and_spaces_stay_together(corpus):
    add_many(corpus)
    for number in range(8):
        corpus.add(f"same{number}", "  ".join(["Tell", "ME"]) if number % 2 else "tell me", (f"x{number}", "no", "DSAT"))
    for seed in range(6):
        chosen, _ = corpus.choose(seed=seed, test_conversations=8)
        assert chosen["dsat"].filter(pl.col("conversation_id").str.starts_with("s:same"))["split"].n_unique() == 1


def test_maxima_cut_training_rows_only_and_a_smaller_one_is_a_part_of_a_larger(corpus):
    add_many(corpus)
    held_out = {"test_conversations": 5, "test_correction_conversations": 3}
    whole, few, fewer = (corpus.choose(**held_out, max_dsat=n, max_sat=n, max_corrections=n)[0] for n in (None, 8, 3))
    for pool in ("dsat", "sat", "corrections"):
        assert ids(whole[pool], "test") == ids(few[pool], "test") == ids(fewer[pool], "test")
        assert len(ids(few[pool], "train")) == 8
        assert len(ids(fewer[pool], "train")) == 3
        assert ids(fewer[pool]) < ids(few[pool]) < ids(whole[pool])
        assert ids(few[pool], "train") != set(sorted(ids(whole[pool], "train"))[:8])


def test_a_test_side_that_leaves_the_warm_up_a_handful_of_corrections_is_refused_with_the_cure(corpus):
    for number in range(12):
        corpus.add(f"c{number}", f"question {number}", (f"bad {number}", "no", "DSAT"), (f"good {number}", "thanks", "SAT"))
    with pytest.raises(StageError, match="2 corrections are left to train on, and 10 are kept for"):
        corpus.choose(test_correction_conversations=10)
    assert not (corpus.folder / "dsat.parquet").exists()
    chosen, _ = corpus.choose(test_correction_conversations=6, max_corrections=1)
    assert (len(ids(chosen["corrections"], "train")), len(ids(chosen["corrections"], "test"))) == (1, 6), "a maximum is meant"


def test_the_choice_depends_on_the_seed_alone(corpus):
    add_many(corpus)
    settings = {"test_conversations": 4, "max_dsat": 9}
    files = []
    for _ in range(2):
        corpus.turns.reverse()
        corpus.choose(**settings)
        files.append([(corpus.folder / f"{pool}.parquet").read_bytes() for pool in pools.SCHEMAS])
    assert files[0] == files[1]
    assert ids(corpus.choose(**settings)[0]["dsat"]) != ids(corpus.choose(**settings, seed=43)[0]["dsat"])


def test_rows_put_together_a_few_at_a_time_are_the_same_rows(corpus, monkeypatch):
    whole, _ = add_many(corpus).choose()
    monkeypatch.setattr(pools, "ROWS_AT_A_TIME", 3)
    few, _ = corpus.choose()
    assert all(few[pool].equals(whole[pool]) for pool in pools.SCHEMAS)
    assert min(whole["dsat"].height, whole["sat"].height, whole["corrections"].height) > 3


def test_any_number_of_threads_gives_the_same_bytes_from_turns_to_pools(corpus, tmp_path):
    """The programs as the rules call them: labels over several batches, pools with a benchmark and
    near-duplicates."""
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
    tasks = [{"prompt_id": "t", "cluster": "t", "prompt": [{"role": "user", "content": corpus.turns[3]["user"]}]}]
    tables.write_table(pl.DataFrame(tasks, schema=tables.Tasks.create_empty().schema), tables.Tasks, tmp_path / "tasks.parquet")
    settings = pools_settings(test_conversations=20).canonical()
    tables_written = ("labels", *pools.SCHEMAS, "quarantine", "ledger")
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
        command += ["--benchmark", f"b={tmp_path / 'tasks.parquet'}", "--settings", settings]
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
            st.lists(st.sampled_from(["DSAT", "SAT", "NEUTRAL"]), max_size=4),
        ),
        min_size=1,
        max_size=14,
    ),
    st.integers(0, 5),
    st.integers(0, 3),
    st.sampled_from([0.0, 0.3]),
    st.sampled_from(["opposite", "neutral"]),
)
def test_no_reply_is_lost_or_doubled_and_nothing_is_on_both_sides(
    tmp_path_factory, conversations, tests, seed, noise, drawn_from
):
    """Whatever users, openings and messages conversations share, directly or through others, and
    whatever rows are false on purpose."""
    corpus = Corpus(tmp_path_factory.mktemp("split"))
    # One that shares nothing: there is always something to train on.
    corpus.add("alone", "z", ("reply z", "no", "DSAT"))
    for number, (opening, user, labels) in enumerate(conversations):
        said = [(f"reply {number} {turn}", "no" if label == "DSAT" else "thanks", label) for turn, label in enumerate(labels)]
        corpus.add(f"c{number}", opening, *said, user_id=user and f"s:{user}")
    corpus.add("apart", "y", ("reply y", "no", "DSAT"))
    try:
        chosen, ledger = corpus.choose(
            seed=seed,
            test_conversations=tests,
            test_correction_conversations=tests,
            max_sat=3,
            label_noise={"dsat": noise, "sat": noise, "corrections": noise, "drawn_from": drawn_from},
        )
    except StageError:
        # All that disappointed went to the test side, or there are too few false rows: said, and
        # nothing is written.
        assert tests or noise
        return
    labels = {(row["conversation_id"], row["turn"]): row["label"] for row in corpus.labels}
    for pool, rows in chosen.items():
        assert rows["prompt_id"].is_unique().all()
        wanted = "SAT" if pool == "sat" else "DSAT"
        assert {labels[key] for key in rows.filter(~pl.col("flipped")).select("conversation_id", "turn").rows()} <= {wanted}
        assert wanted not in {labels[key] for key in rows.filter("flipped").select("conversation_id", "turn").rows()}
        held_out = rows.filter(split="test")
        assert pool == "sat" or held_out["conversation_id"].n_unique() <= tests
        assert not held_out["flipped"].any()
        steps = ledger.filter(lineage=pool).sort("step")
        assert steps["rows_in"][0] == len(labels) == steps["dropped"].sum() + rows.height
    asked = {
        split: {row["prompt"][-1]["content"] for pool in pools_asked for row in chosen[pool].filter(split=split).to_dicts()}
        for split, pools_asked in (("test", ("dsat", "corrections")), ("train", pools.SCHEMAS))
    }
    assert not asked["test"] & asked["train"]
    sides = pl.concat(rows.select("conversation_id", "split") for rows in chosen.values()).unique()
    assert sides["conversation_id"].is_unique().all()
    told = pl.DataFrame(corpus.turns, schema=tables.Turns.create_empty().schema).filter(turn=0)
    shared = sides.join(told.select("conversation_id", "user_id", "user"), on="conversation_id")
    for column in ("user_id", "user"):
        assert (shared.drop_nulls(column).group_by(column).agg(pl.col("split").n_unique())["split"] == 1).all()


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


def test_of_one_conversation_the_second_turn_is_older_than_the_tenth(corpus):
    for name, when in (("undated", None), ("dated", datetime(2024, 1, 1))):
        labels = ["DSAT" if turn in (2, 10) else "NEUTRAL" for turn in range(12)]
        said = [(f"{name} reply {turn}", f"{name} says no {turn}", label) for turn, label in enumerate(labels)]
        corpus.add(name, f"the {name} question", *said, timestamp=when)
    chosen, _ = corpus.choose(pick="first", max_per_conversation=1)
    assert ids(chosen["dsat"]) == {"s:undated/2", "s:dated/2"}
