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
from drift.sources import wildfeedback
from tests.builders.sources import turns_settings
from tests.shards import wildchat_1m

SAT, DSAT, NEITHER, NOTHING = (True, False), (False, True), (False, False), (None, None)


def annotate(said: list[str], judged: dict[int, tuple], *, agent: dict[int, tuple] | None = None, **fields) -> list[dict]:
    """The utterances of a conversation; `judged` has the flags of its user utterances, `agent`
    those of the agent's.

    As in the published file, an utterance of the agent otherwise repeats the annotation of the user
    before it.
    """
    utterances = []
    for place, text in enumerate(said):
        of_agent = place % 2 == 1
        flags = (agent or {}).get(place // 2) if of_agent and agent is not None else judged.get(place // 2, NEITHER)
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


def join(folder: Path, utterances: list[dict], wildchat: pa.Table) -> tuple[dict, pl.DataFrame]:
    """The label and evidence of every reply by text of reply, and the ledger."""
    (folder / "annotations.json").write_text(json.dumps(utterances, indent=1))
    pq.write_table(wildchat, folder / "train-0.parquet")
    ledger = turns.write_turns(
        {"wf": folder / "annotations.json"},
        turns_settings(wf="wildfeedback"),
        folder / "turns.parquet",
        {"wf": folder / "train-0.parquet"},
    )
    rows = tables.read_table(tables.Turns, folder / "turns.parquet")
    return {row["response"]: (row["source_label"], row["source_evidence"]) for row in rows.to_dicts()}, ledger


def dropped_in(ledger: pl.DataFrame) -> dict[str, int]:
    return {reason: count for reason, count in ledger.select("reason", "dropped").rows() if count}


ONE = ["q1", "r1", "q2", "r2", "q3", "r3"]


def test_the_annotation_of_a_user_message_judges_the_reply_before_it(tmp_path):
    said, ledger = join(tmp_path, annotate(ONE, {1: DSAT, 2: SAT}), shard(ONE, ["other", "talk"]))
    assert said["r1"] == ("DSAT", ["DSAT: pointed at an error"])
    assert said["r2"] == ("SAT", ["SAT: thanked"])
    assert said["r3"] == (None, None)
    assert dropped_in(ledger) == {}
    assert ledger["rows_in"][0] == 1


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
    ],
)
def test_what_the_fields_say(tmp_path, flags, fields, label):
    utterances = annotate(ONE, {1: flags}, **fields) + annotate(["other", "talk", "thanks", "bye"], {1: SAT})
    said, _ = join(tmp_path, utterances, shard(ONE, ["other", "talk", "thanks", "bye"]))
    assert said["r1"][0] == label
    if flags == (["Gratitude", "Learning"], []):
        assert said["r1"][1] == ["SAT: Gratitude", "SAT: Learning", "SAT: thanked"]


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


def test_every_annotated_conversation_is_accounted_for(tmp_path):
    copied = ["c1", "d1", "c2", "d2"]
    twice = ["t1", "u1", "t2", "u2"]
    utterances = [
        *annotate(ONE, {1: DSAT}),
        *annotate(ONE, {1: SAT}),
        *annotate(["never", "in", "WildChat", "!"], {1: DSAT}),
        *annotate([None, "r"], {}),
        *annotate(copied, {1: DSAT}),
        *annotate(twice, {1: DSAT}),
    ]
    wildchat = shard(ONE, copied, copied, twice, ["t1", "another reply", "t2", "u2"], ["not", "annotated"])
    said, ledger = join(tmp_path, utterances, wildchat)
    assert set(said) == {"r1", "r2", "r3", "d1", "d2"}
    assert dropped_in(ledger) == {
        wildfeedback.NO_TEXT: 1,
        wildfeedback.TWICE: 1,
        wildfeedback.UNMATCHED: 1,
        wildfeedback.AMBIGUOUS: 1,
        turns.EXACT_COPY: 1,
    }
    assert ledger["rows_in"][0] == 6


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
    annotated = data.draw(st.lists(st.sampled_from(chats), min_size=1, max_size=4))
    utterances = []
    wanted = set()
    for chat in annotated:
        place = data.draw(st.integers(1, len(chat) // 2 - 1))
        utterances += annotate(chat, {place: DSAT})
        asked = [text for text in chat[::2] if text]
        if chat[2 * place]:
            wanted.add((tuple(asked), sum(bool(text) for text in chat[: 2 * place : 2])))
    folder = tmp_path_factory.mktemp("join")
    (folder / "annotations.json").write_text(json.dumps(utterances))
    pq.write_table(shard(*chats), folder / "w.parquet")
    counts = turns.Counter()
    frames = wildfeedback.read([folder / "annotations.json"], counts, [folder / "w.parquet"])
    for row in (row for frame in frames for row in frame.to_dicts()):
        asked = [m["content"] for m in row["messages"] if m["role"] == "user" and m["content"]]
        for place, message in enumerate(row["messages"]):
            if message["label"] == "DSAT":
                before = sum(1 for m in row["messages"][:place] if m["role"] == "user" and m["content"])
                assert (tuple(asked), before) in wanted
