"""False rows are put among the training rows on purpose, and change nothing else."""

import polars as pl
import pytest

import pools
from drift.cli import StageError
from drift.config import ConfigError, load
from tests.builders.configurations import minimal
from tests.builders.corpus import Corpus, drops, ids

LABELS = (("DSAT", "SAT"), ("SAT", "SAT"), ("NEUTRAL", "SAT", "DSAT"), ("DSAT", "NEUTRAL"), ("NEUTRAL", "NEUTRAL"))


@pytest.fixture
def corpus(tmp_path):
    """Conversations of users who share openings, in some of which every reply is NEUTRAL."""
    corpus = Corpus(tmp_path)
    for number in range(120):
        replies = [(f"r{number} {turn}", f"f{number} {turn}", label) for turn, label in enumerate(LABELS[number % 5])]
        corpus.add(f"c{number}", f"question {number % 70}", *replies, user_id=f"s:{number // 3}" if number % 3 else None)
    return corpus


def choose(corpus: Corpus, dsat: float, sat: float, corrections: float, drawn_from: str, **changed):
    noise = {"dsat": dsat, "sat": sat, "corrections": corrections, "drawn_from": drawn_from}
    held_out = {"test_conversations": 20, "test_correction_conversations": 10, "max_sat": 30}
    chosen, ledger = corpus.choose(label_noise=noise, **held_out | changed)
    assert chosen.pop("wordless").is_empty()
    tests = []
    for pool, rows in chosen.items():
        path = corpus.folder / f"{pool}-test.parquet"
        rows.filter(split="test").write_parquet(path)
        tests.append(path.read_bytes())
    return chosen, ledger, tests


@pytest.mark.parametrize("drawn_from", ["opposite", "neutral"])
def test_false_rows_replace_true_training_rows_and_the_test_side_stays_as_it_is(corpus, drawn_from):
    clean, ledger_before, tests = choose(corpus, 0.0, 0.0, 0.0, drawn_from)
    assert all(rows.filter(split="test").height for rows in clean.values())
    given = {(row["conversation_id"], row["turn"]): row["label"] for row in corpus.labels}
    source = {"opposite": {"dsat": "SAT", "sat": "DSAT", "corrections": "SAT"}}.get(drawn_from, {})
    held_out = pl.concat(rows.filter(split="test").select("conversation_id") for rows in clean.values())
    users = pl.DataFrame(corpus.turns).select("conversation_id", "user_id").drop_nulls().unique()
    held_out_users = set(users.join(held_out, on="conversation_id", how="semi")["user_id"])
    false_before = {pool: set() for pool in pools.SCHEMAS}
    for share in (0.1, 0.3):
        noisy, ledger, same_tests = choose(corpus, share, share, share, drawn_from)
        assert same_tests == tests
        for pool, rows in noisy.items():
            false = rows.filter("flipped")
            assert rows.height == clean[pool].height
            assert false.height == int(share * clean[pool].filter(split="train").height + 0.5) > 0
            assert {given[key] for key in false.select("conversation_id", "turn").rows()} == {source.get(pool, "NEUTRAL")}
            assert ids(rows.filter(~pl.col("flipped"))) < ids(clean[pool])
            assert false_before[pool] < ids(false)
            assert drops(ledger, pool)["replaced by a false row (label noise)"] == false.height
            false_before[pool] = ids(false)
            assert not set(users.join(false, on="conversation_id", how="semi")["user_id"]) & held_out_users
            started = ledger.filter(lineage=pool).sort("step")["rows_in"][0]
            assert started == ledger_before.filter(lineage=pool).sort("step")["rows_in"][0]


def test_noise_of_one_pool_leaves_the_others_as_they_are(corpus):
    clean, _, _ = choose(corpus, 0.0, 0.0, 0.0, "opposite")
    noisy, _, _ = choose(corpus, 0.2, 0.0, 0.0, "opposite")
    assert not noisy["dsat"].equals(clean["dsat"])
    assert all(noisy[pool].equals(clean[pool]) for pool in ("sat", "corrections"))
    other_seed, _, _ = choose(corpus, 0.2, 0.0, 0.0, "opposite", seed=7)
    assert ids(other_seed["dsat"].filter("flipped")) != ids(noisy["dsat"].filter("flipped"))


def test_a_false_row_is_no_copy_of_a_true_one(tmp_path):
    corpus = Corpus(tmp_path)
    words = " ".join(f"word{number}" for number in range(80))
    corpus.add("true", "Tell me", (words, "no", "DSAT"))
    corpus.add("same", "tell me:", (words, "thanks", "SAT"))
    corpus.add("alike", "tell me!", (f"{words} more", "thanks", "SAT"))
    with pytest.raises(StageError, match="asks for 1 false rows, but only 0"):
        corpus.choose(label_noise={"dsat": 1.0, "sat": 0.0, "corrections": 0.0, "drawn_from": "opposite"})


def test_more_false_rows_than_there_are_is_refused_with_the_number(corpus):
    with pytest.raises(
        StageError, match=r"label_noise\.sat is 1, which asks for \d+ false rows, but only \d+ replies labelled NEUTRAL"
    ):
        choose(corpus, 0.0, 1.0, 0.0, "neutral", max_sat=None, max_per_conversation=9)


def test_one_number_for_all_pools_is_refused_with_the_new_keys():
    with pytest.raises(ConfigError, match=r"label_noise.*\{dsat: 0\.1, sat: 0\.1\}"):
        load(minimal(data={"label_noise": 0.1}))
