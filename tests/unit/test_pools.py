"""The choice of what to learn from: who gets in, and who is left out and why."""

import json
import subprocess
import sys

import polars as pl
import pytest

from drift import tables
from drift.cli import StageError
from tests.builders.corpus import Corpus, add_many, drops, ids
from tests.conftest import REPOSITORY


@pytest.fixture
def corpus(tmp_path):
    return Corpus(tmp_path)


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


def test_an_exchange_that_nobody_saw_is_in_no_later_prompt(corpus):
    corpus.add(
        "a",
        "Hi",
        ("Hello!", "one", "NEUTRAL"),
        ("two", "one", "DSAT"),
        ("three", "who?", "SAT"),
        ("four", "no", "DSAT"),
        system="be brief",
    )
    corpus.turns[1]["unseen"] = True
    chosen, _ = corpus.choose(max_chars=len("be brief" + "Hi" + "Hello!" + "one" + "three" + "who?" + "four"))
    told = {row["turn"]: [m["content"] for m in row["prompt"]] for pool in ("dsat", "sat") for row in chosen[pool].to_dicts()}
    before = ["be brief", "Hi", "Hello!", "one"]
    assert told == {1: before, 2: before, 3: [*before, "three", "who?"]}
    assert chosen["corrections"].select("rejected", "chosen").rows() == [("two", "three")]


def add_published(corpus: Corpus, name: str, rejected: str, chosen: str, asked: str = "Why?"):
    """A published pair after a greeting: two replies to one prompt, of which nobody said a word."""
    corpus.add(name, "Hi", ("Hello!", asked, "NEUTRAL"), (rejected, None, "DSAT"), (chosen, None, "SAT"))
    corpus.turns[-1:] = []
    corpus.turns[-2]["unseen"], corpus.turns[-1]["user"] = True, asked


def test_a_published_pair_is_a_correction_and_two_replies_of_which_nobody_said_anything(corpus):
    add_published(corpus, "a", "Bad.", "Good.")
    chosen, ledger = corpus.choose()
    (row,) = chosen["corrections"].rows(named=True)
    assert [message["content"] for message in row["prompt"]] == ["Hi", "Hello!", "Why?"]
    assert (row["rejected"], row["chosen"], row["feedback"]) == ("Bad.", "Good.", None)
    ((prompt, said),) = chosen["sat"].select("prompt", "feedback").rows()
    assert ([message["content"] for message in prompt], said) == (["Hi", "Hello!", "Why?"], None)
    assert chosen["wordless"]["rejected"].to_list() == ["Bad."]
    assert chosen["dsat"].is_empty()
    assert drops(ledger, "dsat")["the user said nothing of it"] == 1


def test_a_reply_of_which_nobody_said_anything_is_corrected_by_none_that_came_after_it(corpus):
    corpus.add("seen", "a", ("b", None, "DSAT"), ("c", "thanks", "SAT"))
    corpus.turns[1]["user"] = "more"
    chosen, ledger = corpus.choose()
    assert chosen["corrections"].is_empty()
    assert drops(ledger, "corrections")["the user said nothing of it"] == 1


def test_a_published_reply_that_apologizes_is_kept_as_it_is(corpus):
    sorry = "I apologize for the confusion."
    add_published(corpus, "published", "Bad.", sorry)
    bicycle = "The bicycle that you ask about is no longer made anywhere."
    corpus.add("logged", "Which one?", ("That one.", "no", "DSAT"), (f"{sorry} {bicycle}", "thanks", "SAT"))
    logged, published = corpus.choose()[0]["corrections"].sort("prompt_id").select("chosen", "alludes").rows()
    assert published == (sorry, False)
    assert logged == (bicycle, True)


def test_a_prompt_is_the_same_whether_or_not_an_exchange_before_it_went_unseen(corpus):
    corpus.add("a", "Hi", ("Hello!", "one", "NEUTRAL"), ("two", "one", "DSAT"), ("three", "thanks", "SAT"))
    corpus.turns[1]["unseen"] = True
    corpus.add("b", "Hi", ("Hello!", "one", "NEUTRAL"), ("three", "thanks", "SAT"))
    chosen, ledger = corpus.choose(near_duplicates=None)
    assert chosen["sat"]["prompt_id"].to_list() == ["s:a/2"]
    assert drops(ledger, "sat")["same prompt and reply as another"] == 1


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


def test_the_same_messages_in_another_order_are_another_prompt(corpus):
    corpus.add("a", "one", ("x", "two", "NEUTRAL"), ("y", "three", "NEUTRAL"), ("z", "no", "DSAT"))
    corpus.add("b", "two", ("y", "one", "NEUTRAL"), ("x", "three", "NEUTRAL"), ("z", "no", "DSAT"))
    corpus.add("c", "one", ("x", "two", "NEUTRAL"), ("y", "three", "NEUTRAL"), ("z", "bad", "DSAT"))
    chosen, ledger = corpus.choose(near_duplicates=None)
    assert drops(ledger, "dsat")["same prompt and reply as another"] == 1
    assert ids(chosen["dsat"]) == {"s:a/2", "s:b/2"}


def test_labels_of_another_labeler_do_not_count(corpus):
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
    corpus.add("tool", "tool one", ("reply o", "no", "DSAT"), flags=["merged_response", "tool_call"])
    corpus.add("image", "image one", ("reply i", "no", "DSAT"), flags=["missing_part"])
    corpus.add("blank", "blank one", ("  \n ", "no", "DSAT"))
    corpus.add("pager", "Please continue.", ("reply p", "no", "DSAT"))
    corpus.add("refusal", "refused one", ("I'm sorry, but I cannot help with that.", "no", "DSAT"))
    chosen, ledger = corpus.choose(drop_redacted=True)
    assert ids(chosen["dsat"]) == {"s:good/0"}
    assert drops(ledger, "dsat") == {
        "toxic": 1,
        "redacted": 1,
        "reply after a tool call": 1,
        "prompt or reply had an image, audio or file": 1,
        "messages of one role in a row": 1,
        "prompt message or reply under min_chars": 1,
        "prompt only asks to go on": 1,
        "reply refuses": 1,
    }
    names = ("drop_toxic", "drop_tool_calls", "drop_missing_parts", "drop_merged", "drop_continuations", "drop_refusals")
    assert corpus.choose(**dict.fromkeys(names, False))[0]["dsat"].height == 8
    with pytest.raises(StageError, match="label under min_score: 2"):
        corpus.choose(min_score=0.9)


def test_a_reply_that_is_unable_to_help_refuses_in_short_and_in_long(corpus):
    for name, opening in enumerate(("I am", "I'm", "I\u2019m")):
        corpus.add(f"unable{name}", f"question {name}", (f"{opening} unable to assist with that request.", "no", "DSAT"))
        corpus.add(f"not able{name}", f"question {name}", (f"{opening} not able to provide a list.", "no", "DSAT"))
    corpus.add("able", "one more question", ("I'm able to provide a list: here it is.", "no", "DSAT"))
    chosen, ledger = corpus.choose()
    assert ids(chosen["dsat"]) == {"s:able/0"}
    assert drops(ledger, "dsat") == {"reply refuses": 6}


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
    tasks = [("t1", secret), ("named", "Another question that nobody asks?")]
    rows = [{"prompt_id": name, "cluster": name, "prompt": [{"role": "user", "content": text}]} for name, text in tasks]
    path = tmp_path / "bench.parquet"
    tables.write_table(pl.DataFrame(rows, schema=tables.Tasks.create_empty().schema), tables.Tasks, path)
    corpus.add("clean", "something else", ("r", "no", "DSAT"))
    corpus.add("exact", secret.upper(), ("r1", "no", "DSAT"))
    corpus.add("inside", "Hello. " + secret + " Answer in French.", ("r2", "no", "DSAT"))
    corpus.add("later", "before", ("r3", f"{secret}?", "DSAT"), ("r4", "no", "DSAT"))
    # Sources number their conversations as benchmarks their tasks: a name alone says nothing.
    corpus.add("named", "whatever", ("r5", "no", "DSAT"))
    corpus.benchmarks = {"bench": path}
    chosen, ledger = corpus.choose()
    assert ids(chosen["dsat"]) == {"s:clean/0", "s:later/0", "s:named/0"}  # the first reply of `later` came before the prompt
    assert drops(ledger, "dsat") == {"holds a benchmark prompt": 3}
    held = {row["prompt_id"]: row for row in corpus.quarantine.to_dicts()}
    tables.Quarantine.validate(corpus.quarantine.sort("pool", "prompt_id"), cast=True)
    assert {name: (row["how"], row["task"]) for name, row in held.items()} == {
        "s:exact/0": ("exact", "t1"),
        "s:inside/0": ("ngram", "t1"),
        "s:later/1": ("exact", "t1"),
    }
    assert "seven rivers" in held["s:inside/0"]["evidence"]


def test_published_pairs_that_hold_a_benchmark_prompt_or_are_nearly_the_same_are_left_out(corpus, tmp_path):
    path = tmp_path / "bench.parquet"
    task = {"prompt_id": "t1", "cluster": "t1", "prompt": [{"role": "user", "content": "Why?"}]}
    tables.write_table(pl.DataFrame([task], schema=tables.Tasks.create_empty().schema), tables.Tasks, path)
    add_published(corpus, "held", "Bad.", "Good.")
    told = "It goes up the hill, past the old mill, over the bridge and then along the river to the harbour"
    for name, rejected in (("a", told), ("b", f"{told}.")):
        add_published(corpus, name, rejected, f"Good {name}.", asked="Which way does the bus to the harbour go?")
    corpus.benchmarks = {"bench": path}
    chosen, ledger = corpus.choose()
    assert ids(chosen["corrections"]) == ids(chosen["wordless"]) == {"s:a/1"}
    for pool in ("corrections", "wordless"):
        assert drops(ledger, pool)["holds a benchmark prompt"] == 1
        assert drops(ledger, pool)["nearly the same message and reply as another"] == 1
    assert ids(chosen["sat"]) == {"s:a/2", "s:b/2"}


def test_a_correction_that_answers_a_benchmark_prompt_is_quarantined(corpus, tmp_path):
    """Its chosen reply answers the user's second message, which is not in its prompt."""
    asked = "Then name the seven rivers that cross the old border."
    path = tmp_path / "bench.parquet"
    task = {"prompt_id": "t1", "cluster": "t1", "prompt": [{"role": "user", "content": asked}]}
    tables.write_table(pl.DataFrame([task], schema=tables.Tasks.create_empty().schema), tables.Tasks, path)
    corpus.add("plain", "Hello", ("r1", "That is no answer.", "DSAT"), ("r2", "Thanks", "SAT"))
    corpus.add("held", "Good day", ("r3", f"No. {asked}", "DSAT"), ("r4", "Thanks", "SAT"))
    corpus.benchmarks = {"bench": path}
    chosen, _ = corpus.choose()
    assert ids(chosen["corrections"]) == {"s:plain/0"}
    assert ids(chosen["dsat"]) == {"s:plain/0", "s:held/0"}
    held = corpus.quarantine.select("pool", "prompt_id", "how").rows()
    assert held == [("corrections", "s:held/0", "coverage"), ("sat", "s:held/1", "coverage")]


def test_a_setting_that_is_missing_is_named(corpus, tmp_path):
    add_many(corpus).choose()
    files = [
        word
        for name in ("dsat", "sat", "corrections", "quarantine", "ledger")
        for word in (f"--{name}", tmp_path / f"{name}.out")
    ]
    command = [sys.executable, REPOSITORY / "scripts/pools.py", "--turns", tmp_path / "turns.parquet"]
    command += ["--labels", tmp_path / "labels.parquet", "--settings", json.dumps({"labeler": "words"}), *files]
    failed = subprocess.run(command, capture_output=True, text=True)
    assert failed.returncode == 2
    assert "label_noise: Field required" in failed.stderr
