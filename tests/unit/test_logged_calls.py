"""Conversations of the calls that were logged of them."""

import pytest

from drift.sources.shapes.calls import BRANCH
from tests.builders.logs import labels, logged, read, said, spoken

FIRST = [said("user", "q1")]
SECOND = [*FIRST, said("assistant", "r1"), said("user", "q2")]


def test_the_longest_call_of_a_conversation_has_all_of_it_and_the_feedback_on_the_others(tmp_path):
    down = {"thumbs": "down"}
    calls = [
        logged(SECOND, "r2", conversation_id="c"),
        logged(FIRST, "r1", conversation_id="c", feedback=down),
        logged(FIRST, "other", conversation_id="d"),
    ]
    rows, counts = read(tmp_path, *calls)
    assert [(row["id"], spoken(row), labels(row)) for row in rows] == [
        ("c", "q1 r1 q2 r2", ["DSAT", None]),
        ("d", "q1 other", [None]),
    ]
    assert counts == {"records": 3, "conversations": 2}
    assert (rows[0]["model"], rows[0]["user"], rows[0]["timestamp"].year) == ("m-1", "u1", 2023)


def test_calls_that_name_no_conversation_are_put_together_by_what_they_share(tmp_path):
    rows, counts = read(tmp_path, logged(FIRST, "r1"), logged(SECOND, "r2"), logged([said("user", "else")], "r"))
    assert [(row["id"], spoken(row)) for row in rows] == [("chatcmpl-r1", "q1 r1 q2 r2"), ("chatcmpl-r", "else r")]
    assert counts == {"records": 3, "conversations": 2}


def test_a_system_prompt_that_changes_from_call_to_call_parts_no_conversation(tmp_path):
    dated = [
        logged([said("system", day), *sent], reply, session_id="s")
        for day, sent, reply in (("Mo", FIRST, "r1"), ("Tu", SECOND, "r2"))
    ]
    ((row,), _) = read(tmp_path, *dated)
    assert spoken(row) == "Tu q1 r1 q2 r2"


def test_calls_with_the_new_message_alone_follow_each_other_by_time(tmp_path):
    later = logged([said("user", "q2")], "r2", session_id="s", timestamp="2026-01-01T00:01:00Z")
    sooner = logged([said("user", "q1")], "r1", session_id="s", timestamp="2026-01-01T00:00:00Z")
    ((row,), _) = read(tmp_path, later, sooner)
    assert spoken(row) == "q1 r1 q2 r2"


def test_of_branches_the_longest_is_kept_and_the_others_are_counted(tmp_path):
    edited = [*FIRST, said("assistant", "r1"), said("user", "edited")]
    longest = [*SECOND, said("assistant", "r2"), said("user", "q3")]
    rows, counts = read(tmp_path, *(logged(sent, "r", session_id="s") for sent in (edited, longest)))
    assert [spoken(row) for row in rows] == ["q1 r1 q2 r2 q3 r"]
    assert counts == {"records": 2, "conversations": 2, BRANCH: 1}


def parts(text: str) -> list[dict]:
    return [{"type": "text", "text": text}]


@pytest.mark.parametrize(
    ("answered", "repeated"),
    [
        ("<think>Hm.</think>\n\nr1", "r1"),
        ("Hm.\n</think>\n\nr1", "r1"),
        ([{"type": "thinking", "thinking": "Hm."}, *parts("r1")], "r1"),
        ("r1", parts("r1")),
        ("r1\n", "r1"),
        ("r1", "r1 "),
    ],
    ids=["a thought", "one that the prompt opened", "a part", "in parts", "stripped", "padded"],
)
@pytest.mark.parametrize("named", [{"conversation_id": "c"}, {}], ids=["named", "without a name"])
def test_a_reply_that_the_next_call_repeats_in_another_form_is_the_same(tmp_path, answered, repeated, named):
    sent = [said("user", parts("q1")), said("assistant", repeated), said("user", "q2")]
    further = [said("user", "q1"), said("assistant", "r1"), said("user", "q2"), said("assistant", "r2"), said("user", "q3")]
    calls = [
        logged(FIRST, answered, feedback={"thumbs": "down", "comment": "Not so."}),
        logged(sent, "<think>Hm.</think>r2", feedback="down"),
        logged(further, "r3"),
    ]
    for ordered in (calls, calls[::-1]):
        ((row,), counts) = read(tmp_path, *(call | named for call in ordered))
        assert labels(row) == ["DSAT", "DSAT", None]
        assert (row["messages"][1]["comment"], counts) == ("Not so.", {"records": 3, "conversations": 1})


def test_a_question_that_lost_its_image_is_another_one(tmp_path):
    """Without it nobody would know that the reply rests on an image."""
    seen = logged([said("user", [*parts("q1"), {"type": "image_url"}])], "r1", conversation_id="c")
    rows, counts = read(tmp_path, seen, logged(SECOND, "r2", conversation_id="c"))
    assert [spoken(row) for row in rows] == ["q1 r1 q2 r2"]
    assert counts == {"records": 2, "conversations": 2, BRANCH: 1}


def regenerated(**fields) -> list[dict]:
    """Two replies to one question, to the first of which the user said no."""
    sooner, later = "2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z"
    return [
        logged(FIRST, "other", timestamp=later, feedback="up", **fields),
        logged(FIRST, "r1", timestamp=sooner, feedback="down", **fields),
    ]


def test_where_calls_show_histories_a_regenerated_reply_is_a_branch(tmp_path):
    """Put one after the other, they would be a history that no model saw."""
    whole = [logged(FIRST, "r1", conversation_id="d"), logged(SECOND, "r2", conversation_id="d")]
    calls = [*regenerated(conversation_id="c"), *whole]
    for ordered in (calls, calls[::-1]):
        rows, counts = read(tmp_path, *ordered)
        assert {row["id"]: (spoken(row), labels(row)) for row in rows} == {
            "c": ("q1 r1", ["DSAT"]),
            "d": ("q1 r1 q2 r2", [None, None]),
        }
        assert counts == {"records": 4, "conversations": 3, BRANCH: 1}


def test_the_steps_of_a_tool_are_no_history(tmp_path):
    call = {"role": "assistant", "content": None, "tool_calls": [{"id": "t"}]}
    stepped = [said("user", "q2"), call, {"role": "tool", "content": "9 min", "tool_call_id": "t"}]
    later = logged(stepped, "r2", session_id="s", timestamp="2026-01-01T00:01:00Z")
    sooner = logged(FIRST, "r1", session_id="s", timestamp="2026-01-01T00:00:00Z")
    ((row,), counts) = read(tmp_path, later, sooner)
    assert (spoken(row).split(), counts) == (["q1", "r1", "q2", "r2"], {"records": 2, "conversations": 1})


@pytest.mark.parametrize("said", [0, False, -1, {"score": 0, "thumbs": None}])
def test_a_thumb_down_that_is_a_nought_is_no_missing_feedback(tmp_path, said):
    for calls in ([logged(FIRST, "r1", feedback=said)], [logged(FIRST, "r1", feedback=said), logged(SECOND, "r2")]):
        ((row,), _) = read(tmp_path, *calls)
        assert labels(row)[0] == "DSAT"
