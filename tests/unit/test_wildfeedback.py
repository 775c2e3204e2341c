"""WildFeedback's annotations find their WildChat conversation, and all are accounted for."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import turns
from drift import tables
from drift.cli import StageError
from drift.sources import annotated, wildfeedback
from ledger import check_lineages
from tests.builders.sources import turns_settings
from tests.shards import wildchat_1m

SAT, DSAT, NEITHER, NOTHING = (True, False), (False, True), (False, False), (None, None)


def annotate(
    said: list[str | None], judged: dict[int, tuple], *, agent: dict[int, tuple] | None = None, **fields
) -> list[dict]:
    """The utterances of a conversation; `judged` has the flags of its user utterances, `agent`
    those of the agent's. Nothing is said of the first message.

    As in the published file, an utterance of the agent otherwise repeats the annotation of the user
    before it.
    """
    utterances = []
    for place, text in enumerate(said):
        of_agent = place % 2 == 1
        flags = (
            (agent or {}).get(place // 2)
            if of_agent and agent is not None
            else judged.get(place // 2, NEITHER if place // 2 else NOTHING)
        )
        satisfied, dissatisfied = flags or NOTHING
        utterances.append(
            {
                "UtteranceId": place,
                "TurnId": place // 2 + 1,
                "Role": "Agent" if of_agent else "User",
                "Content": text,
                "Preceeding": "YES",
                "Satisfaction": satisfied,
                "Satisfaction-Justificiation": "thanked" if satisfied else None,
                "Disatisfaction": dissatisfied,
                "Dissatisfaction-Justificiation": "pointed at an error" if dissatisfied else None,
            }
            | fields
        )
    return utterances


def shard(*conversations: list[str]) -> pa.Table:
    texts = [text for conversation in conversations for text in conversation]
    return wildchat_1m(pa.array(texts), np.array([len(conversation) for conversation in conversations]))


def join(folder: Path, utterances: list[dict], wildchat: pa.Table | None) -> tuple[dict, pl.DataFrame]:
    """The label and evidence of every reply by text of reply, and the ledger. Without WildChat the
    texts are those of the annotations."""
    (folder / "annotations.json").write_text(json.dumps(utterances, indent=1))
    conversations = {}
    if wildchat is not None:
        conversations = {"wf": folder / "train-0.parquet"}
        pq.write_table(wildchat, conversations["wf"])
    source, settings = {"wf": folder / "annotations.json"}, turns_settings(wf="wildfeedback")
    ledger = turns.write_turns(source, settings, folder / "turns.parquet", conversations)
    check_lineages(ledger)
    rows = tables.read_table(tables.Turns, folder / "turns.parquet")
    return {row["response"]: (row["source_label"], row["source_evidence"]) for row in rows.to_dicts()}, ledger


def dropped_in(ledger: pl.DataFrame, lineage: str = "source:wf") -> dict[str, int]:
    return {reason: count for reason, count in ledger.filter(lineage=lineage).select("reason", "dropped").rows() if count}


ONE = ["q1", "r1", "q2", "r2", "q3", "r3"]


def test_the_annotation_of_a_user_message_judges_the_reply_before_it(tmp_path):
    said, ledger = join(tmp_path, annotate(ONE, {1: DSAT, 2: SAT}), shard(ONE, ["other", "talk"]))
    assert said["r1"] == ("DSAT", ["DSAT: pointed at an error"])
    assert said["r2"] == ("SAT", ["SAT: thanked"])
    assert said["r3"] == (None, None)
    assert dropped_in(ledger) == dropped_in(ledger, "annotations:wf") == {}
    assert ledger.filter(step=0).select("lineage", "rows_in").rows() == [("source:wf", 1), ("annotations:wf", 2)]


def test_annotations_and_texts_that_differ_in_space_and_replies_still_match(tmp_path):
    cleaned = ["q1", "R1 <NAME>", " q2\n", "r2", "q3", "r3"]
    said, _ = join(tmp_path, annotate(cleaned, {1: DSAT}), shard(ONE))
    assert said["r1"][0] == "DSAT"


@pytest.mark.parametrize(
    ("flags", "fields", "label"),
    [
        ((True, True), {}, "DSAT"),
        (NEITHER, {}, "NEUTRAL"),
        (NOTHING, {}, None),
        (DSAT, {"Preceeding": "NO"}, None),
        (("", "Revision"), {}, "DSAT"),
        ((["Gratitude", "Learning"], []), {}, "SAT"),
        (("no", "YES"), {}, "DSAT"),
        (("N/A", "n/a"), {}, None),
        ((0.0, 1.0), {}, "DSAT"),
        ((1.0, 0.0), {"Preceeding": 1.0}, "SAT"),
    ],
)
def test_what_the_fields_say(tmp_path, flags, fields, label):
    utterances = annotate(ONE, {1: flags}, **fields) + annotate(["other", "talk", "thanks", "bye"], {1: SAT})
    said, _ = join(tmp_path, utterances, shard(ONE, ["other", "talk", "thanks", "bye"]))
    assert said["r1"][0] == label
    if flags == (["Gratitude", "Learning"], []):
        assert said["r1"][1] == ["SAT: Gratitude", "SAT: Learning", "SAT: thanked"]


@pytest.mark.parametrize("kind", [str, float])
def test_numbers_of_utterances_of_any_type_tell_conversations_apart(tmp_path, kind):
    utterances = annotate(ONE, {1: DSAT}) + annotate(["q", 7, "thanks", "bye"], {1: SAT})
    said, ledger = join(tmp_path, [said | {"UtteranceId": kind(said["UtteranceId"])} for said in utterances], None)
    assert ledger.filter(step=0)["rows_in"].to_list() == [2, 3], "conversations, annotations"
    assert said["r1"][0] == "DSAT"
    assert 7 not in said, "a reply that is no text"


def test_annotations_of_the_agent_alone_judge_its_own_reply(tmp_path):
    nobody = dict.fromkeys(range(3), NOTHING)
    said, _ = join(tmp_path, annotate(ONE, nobody, agent={0: DSAT, 1: NOTHING, 2: SAT}), shard(ONE))
    assert [said[reply][0] for reply in ("r1", "r2", "r3")] == ["DSAT", None, "SAT"]


def test_annotations_of_neither_or_of_both_roles_stop_with_what_was_found(tmp_path):
    nobody = dict.fromkeys(range(3), NOTHING)
    with pytest.raises(StageError, match="no utterance has Satisfaction or Disatisfaction set"):
        join(tmp_path, annotate(ONE, nobody), shard(ONE))
    with pytest.raises(StageError, match="utterances of User and of Agent are annotated, and differently in 1 conversation"):
        join(tmp_path, annotate(ONE, {1: DSAT}, agent={0: SAT, 1: SAT, 2: SAT}), shard(ONE))


def test_every_annotated_conversation_and_annotation_is_accounted_for(tmp_path):
    copied = ["c1", "d1", "c2", "d2"]
    utterances = [
        *annotate(ONE, {1: DSAT}),
        *annotate(ONE, {1: SAT}),
        *annotate(["never", "in", "WildChat", "!"], {1: DSAT}),
        *annotate([None, "r"], {0: DSAT}),
        *annotate(copied, {1: DSAT}),
        *annotate(["other", "replies", "to", "these"], {1: DSAT}),
        *annotate(["first", "f1", "", "f2", "second", "f3"], {0: SAT, 1: SAT, 2: SAT}),
        *annotate(["part", "p1", "of", "another", "chat", "p3"], {1: DSAT, 2: SAT}),
    ]
    part = ["part", "p1", "of", "it", "chat", "p3"]
    first = ["first", "f1", "", "f2", "second", "f3"]
    wildchat = shard(ONE, copied, copied, ["other", "talk", "to", "you"], first, part, ["not", "annotated"])
    said, ledger = join(tmp_path, utterances, wildchat)
    assert {reply: label for reply, (label, _) in said.items() if label} == {
        "r1": "DSAT",
        "r2": "NEUTRAL",
        "d1": "DSAT",
        "f1\n\nf2": "SAT",
        "p1": "DSAT",
    }
    assert said.keys() == {"r1", "r2", "r3", "d1", "d2", "f1\n\nf2", "f3", "p1", "it", "p3"}
    assert dropped_in(ledger) == {
        wildfeedback.NO_TEXT: 1,
        annotated.UNMATCHED: 1,
        annotated.OTHER_REPLIES: 1,
        annotated.TWICE: 1,
    }
    assert dropped_in(ledger, "annotations:wf") == {
        wildfeedback.NO_REPLY: 2,
        annotated.LEFT_OUT: 5,
        annotated.NOT_JUDGED: 1,
    }
    ends = ledger.group_by("lineage").agg(pl.col("rows_out").last()).rows()
    assert sorted(ends) == [("annotations:wf", 5), ("source:wf", 10)]


REPLY = "To sort a list in Python, call its method sort, or the function sorted, which leaves the list itself as it was before."


def test_a_reply_that_is_not_the_judged_one_has_no_label(tmp_path):
    utterances = annotate(["q1", REPLY, "q2", "last"], {1: DSAT}) + annotate(ONE, {1: SAT, 2: SAT})
    said, ledger = join(tmp_path, utterances, shard(["q1", "A shorter reply.", "q2", "last"], ONE))
    assert {reply for reply, (label, _) in said.items() if label} == {"r1", "r2"}
    assert said["A shorter reply."][0] is None
    assert dropped_in(ledger, "annotations:wf") == {annotated.NOT_JUDGED: 1}


def test_of_conversations_with_the_same_user_messages_the_one_with_the_judged_replies_is_labelled(tmp_path):
    utterances = annotate(["q1", REPLY, "q2", "r2"], {1: SAT}) + annotate(["q1", "No.", "q2", "r2"], {1: DSAT})
    said, ledger = join(tmp_path, utterances, shard(["q1", "No.", "q2", "r2"], ["q1", REPLY, "q2", "r2"]))
    assert {reply: label for reply, (label, _) in said.items()} == {"No.": "DSAT", REPLY: "SAT", "r2": None}
    assert dropped_in(ledger) == {}


def test_names_that_were_cut_out_of_the_annotations_hide_no_conversation(tmp_path):
    said = [
        "My name is Ada Lovelace. Write a letter.",
        f"Dear Ada Lovelace, {REPLY} Yours, Grace",
        "Thank you.",
        "You are welcome.",
    ]
    texts = [text.replace("Ada Lovelace", "<PERSON>").replace("Grace", "<PERSON>").replace("Ada", "<PERSON>") for text in said]
    found, ledger = join(tmp_path, annotate(texts, {1: DSAT}), shard(["other", "talk"], said))
    assert found[said[1]][0] == "DSAT"
    assert dropped_in(ledger) == {}


@pytest.mark.parametrize(
    "texts", [["My name is <PERSON>", "Hello <PERSON>", "q", "r"], ["q", "r", "<PERSON>?", "Hello <PERSON>"]]
)
def test_what_was_cut_out_of_a_short_text_stands_for_a_name_and_no_more(tmp_path, texts):
    filled = [text.replace("<PERSON>", "Ada Lovelace") for text in texts]
    other = [text.replace("<PERSON>", "and could you please explain to me what it is called") for text in texts]
    _, ledger = join(tmp_path, annotate(texts, {1: DSAT}), shard(filled, ["other", "talk"]))
    assert dropped_in(ledger) == {}
    with pytest.raises(StageError, match="none of 1 annotated conversations"):
        join(tmp_path, annotate(texts, {1: DSAT}), shard(other))


def test_an_annotation_that_does_not_say_whether_it_is_about_the_reply_before_it_labels_nothing(tmp_path):
    utterances = annotate(ONE, {1: DSAT, 2: SAT})
    for said in utterances[2:4]:
        said["Preceeding"] = None
    said, ledger = join(tmp_path, utterances, shard(ONE))
    assert [said[reply][0] for reply in ("r1", "r2", "r3")] == [None, "SAT", None]
    assert dropped_in(ledger, "annotations:wf") == {wildfeedback.NOT_SAID: 1}
    with pytest.raises(StageError, match=r"none of 2 annotations labels a reply \(not said whether .*: 2\)"):
        join(tmp_path, annotate(ONE, {1: DSAT, 2: SAT}, Preceeding=None), shard(ONE))


def test_without_wildchat_the_texts_are_those_of_the_annotations(tmp_path):
    utterances = (
        annotate(["q1", "Hello <PERSON>", "q2", None], {1: DSAT}) + annotate([None, "r"], {0: SAT}) + annotate(ONE, {2: SAT})
    )
    said, ledger = join(tmp_path, utterances, None)
    assert said["Hello <PERSON>"] == ("DSAT", ["DSAT: pointed at an error"])
    assert [said[reply][0] for reply in ("r1", "r2", "r3")] == ["NEUTRAL", "SAT", None]
    assert dropped_in(ledger) == {wildfeedback.NO_TEXT: 1}
    assert dropped_in(ledger, "annotations:wf") == {annotated.LEFT_OUT: 1}
    rows = tables.read_table(tables.Turns, tmp_path / "turns.parquet")
    kept = (
        rows.filter(pl.col("response").is_not_null()).select("conversation_id", "turn", "language", "redacted", "user").rows()
    )
    assert kept == [("wf:0", 0, "English", True, "q1")] + [
        ("wf:1", turn, "English", False, text) for turn, text in enumerate(("q1", "q2", "q3"))
    ]


def test_annotations_that_match_nothing_stop_with_the_cure(tmp_path):
    with pytest.raises(StageError, match=r"none of 1 annotated conversations .* Check that `conversations` is WildChat-1M"):
        join(tmp_path, annotate(ONE, {1: DSAT}), shard(["other", "talk"]))


WHOLE = json.dumps(annotate(ONE, {1: DSAT})).encode()


@pytest.mark.parametrize("broken", [WHOLE[:1], WHOLE[:200], WHOLE[:-3], WHOLE.replace(b"q1", b"\xed\xa0\xbd")])
def test_a_file_that_is_cut_off_or_not_utf8_stops_with_its_name(tmp_path, broken):
    (tmp_path / "cut.json").write_bytes(broken)
    with pytest.raises(StageError, match=r"cut\.json: not a whole JSON array"):
        list(wildfeedback.read([tmp_path / "cut.json"], turns.Counter(), []))


@pytest.mark.parametrize("other", [[{"id": "a_0", "conversations": []}], [7], [annotate(ONE, {})[0] | {"Role": "Bot"}]])
def test_other_json_stops_with_what_it_has(tmp_path, other):
    (tmp_path / "x.json").write_text(json.dumps(other))
    with pytest.raises(StageError, match=r"element 0 (lacks one of UtteranceId, Role, Content|has the role 'Bot')"):
        list(wildfeedback.read([tmp_path / "x.json"], turns.Counter(), []))


conversations = st.lists(
    st.lists(st.sampled_from(["a", "b", "c", ""]), min_size=2, max_size=6).filter(lambda said: len(said) % 2 == 0),
    min_size=1,
    max_size=6,
)


@settings(deadline=None, max_examples=30)
@given(conversations, st.data())
def test_a_reply_is_never_given_the_annotation_of_another(tmp_path_factory, chats, data):
    """Whatever repeats: a reply with a label is in a conversation with the annotated user messages,
    at the annotated place."""
    chats = [["start", "hello", *chat] for chat in chats]
    chosen = data.draw(st.lists(st.sampled_from(chats), min_size=1, max_size=4))
    utterances = annotate(ONE, {1: DSAT})
    wanted = {(("q1", "q2", "q3"), 1)}
    for chat in chosen:
        place = data.draw(st.integers(1, len(chat) // 2 - 1))
        utterances += annotate(chat, {place: DSAT})
        asked = [text for text in chat[::2] if text]
        if chat[2 * place]:
            wanted.add((tuple(asked), sum(bool(text) for text in chat[: 2 * place : 2])))
    folder = tmp_path_factory.mktemp("join")
    (folder / "annotations.json").write_text(json.dumps(utterances))
    pq.write_table(shard(ONE, *chats), folder / "w.parquet")
    counts = turns.Counter()
    frames = wildfeedback.read([folder / "annotations.json"], counts, [folder / "w.parquet"])
    for row in (row for frame in frames for row in frame.to_dicts()):
        asked = [m["content"] for m in row["messages"] if m["role"] == "user" and m["content"]]
        for place, message in enumerate(row["messages"]):
            if message["label"] == "DSAT":
                before = sum(1 for m in row["messages"][:place] if m["role"] == "user" and m["content"])
                assert (tuple(asked), before) in wanted
