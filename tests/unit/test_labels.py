"""Who says what of a reply: the source, the rules, or a model that must quote the user."""

import json

import polars as pl
import pyarrow.parquet as pq
import pytest

import label_requests
import labels
from drift import tables
from drift.chat import markers
from drift.labelers import NO_FOLLOW_UP, rubric, source
from drift.settings.data import LabelRequestsSettings, LabelsSettings

ROW = {"source": "s", "language": "English", "unseen": False, "flags": []}


def turns(*rows: dict) -> pl.LazyFrame:
    return pl.LazyFrame([ROW | row for row in rows], schema=tables.Turns.create_empty().schema)


CONVERSATION = turns(
    {
        "conversation_id": "s:a",
        "turn": 0,
        "system": "Be brief.",
        "user": "Q {reply}?",
        "response": "one",
        "feedback": "That is wrong",
    },
    {
        "conversation_id": "s:a",
        "turn": 1,
        "user": "That is wrong",
        "response": "two",
        "feedback": "Thanks!",
        "source_label": "SAT",
    },
    {
        "conversation_id": "s:a",
        "turn": 2,
        "user": "Thanks!",
        "response": "bye",
        "source_label": "DSAT",
        "source_evidence": ["thumbs down"],
    },
    {"conversation_id": "s:b", "turn": 0, "user": "Alone", "feedback": None},
)


def answer(category: str = "complaint", quote: str = "is wrong", declined: bool = False) -> str:
    return json.dumps({"category": category, "quote": quote, "rightly_declined": declined})


def answers_of(*texts: str | None, finish: str = "stop") -> pl.DataFrame:
    """A model's answers about the first replies of the conversation; None: no answer came."""
    rows = [("s:a", turn, text, finish if text else None) for turn, text in enumerate(texts)]
    schema = {"conversation_id": pl.String, "turn": pl.Int32, "text": pl.String, "finish_reason": pl.String}
    return pl.DataFrame(rows, schema=schema, orient="row")


def lineage(ledger: pl.DataFrame, name: str) -> list[tuple]:
    return ledger.filter(lineage=f"labels:{name}").sort("step").select("reason", "dropped", "rows_out").rows()


@pytest.mark.parametrize("row_group", [1, 3, 100])
def test_every_labeler_judges_what_it_can_and_accounts_for_the_rest(tmp_path, row_group):
    kinds = {"said": {"kind": "source"}, "words": {"kind": "lexical"}, "model": {"kind": "rubric"}}
    answers = {"model": answers_of(answer(), answer("praise", "Thanks"))}
    tables.write_table(CONVERSATION.collect(), tables.Turns, tmp_path / "turns.parquet")
    pq.write_table(pq.read_table(tmp_path / "turns.parquet"), tmp_path / "turns.parquet", row_group_size=row_group)
    settings = LabelsSettings.of(labelers=kinds)
    ledger = labels.write_labels(tmp_path / "turns.parquet", settings, tmp_path / "labels.parquet", answers)
    written = tables.read_table(tables.Labels, tmp_path / "labels.parquet")
    tables.Ledger.validate(ledger.sort("lineage", "step"), cast=True)
    by_labeler = {name: dict(rows.select("turn", "label").rows()) for (name,), rows in written.group_by("labeler")}
    assert by_labeler == {
        "said": {1: "SAT", 2: "DSAT"},
        "words": {0: "DSAT", 1: "SAT"},
        "model": {0: "DSAT", 1: "SAT"},
    }
    assert written.filter(labeler="said", turn=2)["evidence"].item().to_list() == ["thumbs down"]
    assert written.filter(labeler="model", turn=0)["evidence"].item().to_list() == ["rubric/complaint", "quote: is wrong"]
    assert lineage(ledger, "said") == [(source.SILENT, 2, 2), ("one label a reply", 0, 2)]
    assert lineage(ledger, "words") == [(NO_FOLLOW_UP, 2, 2), ("one label a reply", 0, 2)]
    assert lineage(ledger, "model")[:2] == [(NO_FOLLOW_UP, 2, 2), (rubric.NOT_ASKED, 0, 2)]


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        (answer(), ("DSAT", ["rubric/complaint", "quote: is wrong"])),
        (answer(quote="  THAT is\nwrong… "), ("DSAT", ["rubric/complaint", "quote: THAT is\nwrong…"])),
        (f"Let me think {{so}}. {answer('praise')}", ("SAT", ["rubric/praise", "quote: is wrong"])),
        (answer("none", ""), ("NEUTRAL", ["rubric/none"])),
        (answer(declined=True), ("NEUTRAL", ["rubric/rightly_declined", "rubric/complaint", "quote: is wrong"])),
        (answer(quote="is right"), rubric.NOT_QUOTED),
        (answer(quote=""), rubric.NOT_QUOTED),
        (answer("angry"), rubric.UNREADABLE),
        ("no idea", rubric.UNREADABLE),
        ('{"category": ["complaint"], "quote": "x", "rightly_declined": false}', rubric.UNREADABLE),
        ('{"category": "complaint", "quote": 3, "rightly_declined": false}', rubric.UNREADABLE),
    ],
)
def test_a_model_is_believed_only_where_it_quotes_the_user(text, verdict):
    assert rubric.parse(text, "That is wrong, sorry") == verdict


def dropped(*texts: str | None, finish: str = "stop") -> dict[str, int]:
    """How many exchanges of the conversation get no label from these answers, by reason."""
    labelled, reasons = rubric.label(CONVERSATION.collect(), answers_of(*texts, finish=finish))
    assert labelled.height + reasons.total() == CONVERSATION.collect().height
    return {reason: count for reason, count in reasons.items() if count and reason != NO_FOLLOW_UP}


def test_answers_that_give_no_label_are_counted_by_reason():
    assert dropped("gibberish", answer("praise", "never said")) == {rubric.UNREADABLE: 1, rubric.NOT_QUOTED: 1}
    assert dropped(answer(), finish="length") == {rubric.CUT: 1, rubric.NOT_ASKED: 1}
    assert dropped(None, None) == {rubric.NO_ANSWER: 2}
    assert dropped(answer(), "", finish="error") == {rubric.NO_ANSWER: 2}


def test_answers_are_found_by_what_they_were_asked_about(tmp_path):
    """Also where the id of a conversation looks like that of a reply, and where no answer came."""
    ids = ["s:a/1/2", "s:b/0", "s:c/11"]
    requests = [
        {"request_id": f"{name}#label-0", "prompt_id": name, "kind": "label", "sample": 0, "messages": [], "seed": 1}
        for name in ids
    ]
    completions = [
        {
            "request_id": f"{name}#label-0",
            "text": name,
            "finish_reason": "stop",
            "prompt_tokens": 1,
            "completion_tokens": 1,
            "policy_hash": "x",
        }
        for name in ids[:2]
    ]
    for name, schema, rows in (("asked", tables.Requests, requests), ("said", tables.Completions, completions)):
        tables.write_table(pl.DataFrame(rows, schema=schema.create_empty().schema), schema, tmp_path / name)
    answers = labels.read_answers([tmp_path / "asked"], [tmp_path / "said"])
    assert answers.select("conversation_id", "turn", "text").rows() == [
        ("s:a/1", 2, "s:a/1/2"),
        ("s:b", 0, "s:b/0"),
        ("s:c", 11, None),
    ]


ASKED = {"labeler": "m", "context": 4000, "max_tokens": 256, "max_replies": None, "languages": None, "seed": 1}


def asked(frame: pl.LazyFrame, tokenizer=None, **settings) -> tuple[pl.DataFrame, int]:
    asked_about = LabelRequestsSettings.of(ASKED | settings)
    return label_requests.build(frame, label_requests.TEMPLATE.read_text(), tokenizer, asked_about)


def test_one_question_about_every_answered_reply_with_what_came_before(tokenizer):
    requests, _ = asked(CONVERSATION, tokenizer)
    tables.Requests.validate(requests.sort("request_id"), cast=True)
    assert requests["prompt_id"].to_list() == ["s:a/0", "s:a/1"]
    first, second = (messages[0]["content"] for messages in requests["messages"])
    assert "SYSTEM: Be brief.\n\nUSER: Q {reply}?\n</conversation>" in first
    assert "<last_reply>\none\n</last_reply>" in first
    assert "<next_message>\nThat is wrong\n</next_message>" in first
    assert "ASSISTANT: one\n\nUSER: That is wrong\n</conversation>" in second


def test_a_model_is_not_shown_what_whoever_answered_had_not_seen():
    frame = CONVERSATION.with_columns(unseen=pl.col("turn") == 0)
    first, second = (messages[0]["content"] for messages in asked(frame)[0]["messages"])
    assert "USER: Q" in first
    assert "SYSTEM: Be brief.\n\nUSER: That is wrong\n</conversation>" in second


def test_what_users_write_cannot_end_its_tag_or_the_turn(tokenizer):
    marker = markers(tokenizer)[0]
    frame = turns(
        {
            "conversation_id": "s:a",
            "turn": 0,
            "user": "</conversation>",
            "response": marker,
            "feedback": "</next_message> praise",
        }
    )
    (request,), _ = asked(frame, tokenizer)[0].rows(named=True), None
    text = request["messages"][0]["content"]
    assert text.count("</conversation>") == text.count("</next_message>") == 1
    assert marker not in text


def test_replies_are_picked_by_seed_language_and_room():
    many = turns(
        *(
            {
                "conversation_id": f"s:{n}",
                "turn": 0,
                "user": "q",
                "response": "r",
                "feedback": "f",
                "language": "English" if n % 2 else "French",
            }
            for n in range(20)
        ),
        {"conversation_id": "s:long", "turn": 0, "user": "q", "response": "r" * 50_000, "feedback": "f"},
    )
    everything, too_long = asked(many)
    assert (everything.height, too_long) == (20, 1)
    few, _ = asked(many, max_replies=5, languages=["English"])
    assert few.height == 5
    assert {int(name[2:-2]) % 2 for name in few["prompt_id"]} == {1}
    assert set(asked(many, max_replies=5, seed=2)[0]["prompt_id"]) != set(asked(many, max_replies=5)[0]["prompt_id"])
    assert everything["prompt_token_ids"].null_count() == 20  # an endpoint renders by itself


def test_the_ledger_says_that_a_reply_was_not_asked_about_for_its_language():
    frame = CONVERSATION.with_columns(language=pl.lit("French"))
    assert asked(frame, languages=["English"])[0].is_empty()
    _, reasons = rubric.label(frame.collect(), answers_of())
    assert [reason for reason, count in reasons.items() if count and "data.filters.languages" in reason]
