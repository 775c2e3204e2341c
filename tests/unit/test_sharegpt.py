"""ShareGPT files: records one by one, slices put together, widgets of the web page taken off."""

import itertools
import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drift.cli import StageError
from drift.sources import sharegpt

Q, A = "human", "gpt"


def messages(*texts: str) -> list[dict]:
    return [{"from": (Q, A)[place % 2], "value": text} for place, text in enumerate(texts)]


def record(record_id: str, *texts: str) -> dict:
    return {"id": record_id, "conversations": messages(*texts)}


@pytest.fixture
def read(tmp_path):
    """Write text as a ShareGPT file and read it: the conversations and the counts."""

    def write_and_read(text: str | bytes) -> tuple[list[dict], Counter]:
        file, counts = tmp_path / "sharegpt.json", Counter()
        file.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8"))
        return list(sharegpt.read_conversations([file], counts)), counts

    return write_and_read


@st.composite
def cut_conversations(draw) -> tuple[list[dict], list[tuple[int, list[dict]]]]:
    whole = messages(*draw(st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=12)))
    inner = draw(st.sets(st.integers(1, 11), max_size=4))
    cuts = [0, *sorted(cut for cut in inner if cut < len(whole)), len(whole)]
    overlap = draw(st.integers(0, 2))
    slices = [(max(0, start - overlap), whole[max(0, start - overlap) : end]) for start, end in itertools.pairwise(cuts)]
    return whole, draw(st.permutations(slices))


@given(cut_conversations())
def test_slices_in_any_order_give_the_conversation_back(cut):
    whole, slices = cut
    assert sharegpt.stitch(slices) == whole


@given(cut_conversations(), st.data())
def test_a_conversation_with_a_hole_is_never_put_together(cut, data):
    whole, _ = cut
    hole = data.draw(st.integers(0, len(whole) - 1))
    stitched = sharegpt.stitch([(0, whole[:hole]), (hole + 1, whole[hole + 1 :])])
    assert stitched == (whole[:hole] if hole == len(whole) - 1 else sharegpt.GAP)


def test_slices_that_disagree_are_a_conflict():
    assert sharegpt.stitch([(0, messages("a", "b")), (1, messages("x"))]) == sharegpt.CONFLICT


def test_slices_are_found_by_offset_wherever_they_stand_in_the_file(read):
    late = {"id": "s_1", "conversations": [{"from": A, "value": "two"}, {"from": Q, "value": "three"}]}
    text = json.dumps([late, record("other_0", "x", "y"), record("s_0", "one", "two")])
    conversations, counts = read(text)
    by_id = {conversation["id"]: [m["content"] for m in conversation["messages"]] for conversation in conversations}
    assert by_id == {"s": ["one", "two", "three"], "other": ["x", "y"]}
    assert counts == {"records": 3, "conversations": 2}


@pytest.mark.parametrize("kept", range(1, 40))
def test_a_record_that_the_end_of_the_file_cuts_is_counted_and_the_whole_ones_are_kept(read, kept):
    last = json.dumps(record("b_0", 'say "\u00e9"', "yes\u2028"))
    conversations, counts = read(f"[{json.dumps(record('a_0', 'q', 'r'))}, {last[:kept]}")
    assert [conversation["id"] for conversation in conversations] == ["a"]
    assert (counts["records"], counts[sharegpt.CUT_OFF]) == (2, 1)


def test_a_file_may_end_inside_a_character(read):
    whole = json.dumps([record("a_0", "q", "r"), record("b_0", "é")], ensure_ascii=False).encode()
    conversations, counts = read(whole[: whole.index("é".encode()) + 1])
    assert [conversation["id"] for conversation in conversations] == ["a"]
    assert counts[sharegpt.CUT_OFF] == 1


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('[{"id": "a_0", "conversations": [}, {"id": "b_0", "conversations": []}]', "character 33"),
        ('[{"id": "a_0", "conversations": []} {"id": "b_0", "conversations": []}]', "expected ','"),
        ('"a_0"', r"expected '\['"),
        ("", r"expected '\['"),
        ('[{"id": "a_0", "conversations": []}] more', "text after the end"),
    ],
)
def test_other_broken_json_stops_with_the_place(read, text, problem):
    with pytest.raises(StageError, match=problem):
        read(text)


def test_bytes_that_are_not_utf8_stop_with_the_place(read):
    with pytest.raises(StageError, match="byte 1 is not UTF-8"):
        read(b"[\xff" + b" " * 20 + b"]")


def test_odd_records_are_dropped_and_counted(read):
    odd = [7, {"id": 1.5, "conversations": []}, {"id": "x_0"}, {"id": "y_0", "conversations": [{"from": Q}]}]
    conversations, counts = read(json.dumps([*odd, record("z_0"), record("a_0", "q", "r")]))
    assert len(conversations) == 1
    assert counts == {"records": 6, sharegpt.NOT_A_RECORD: 4, sharegpt.EMPTY: 1, "conversations": 1}


@pytest.mark.parametrize(
    ("text", "stripped", "flags"),
    [
        ("continueShare Prompt", "continue", ["share_button"]),
        ("a list\nShare Prompt", "a list", ["share_button"]),
        ("Answer in English.지금 번역하기", "Answer in English.", ["translate_button"]),
        ("Go on.Share Prompt지금 번역하기", "Go on.", ["translate_button", "share_button"]),
        ("the text\n1 / 1", "the text", ["pager"]),
        ("in English language.2 / 3", "in English language.", ["pager"]),
        ("Share Prompt", "", ["share_button"]),
        ("How do I Share Prompt", "How do I Share Prompt", []),
        ("what is 10 / 2", "what is 10 / 2", []),
        ("solve\n4 / 2", "solve\n4 / 2", []),
        ("Translate now", "Translate now", []),
    ],
)
def test_only_what_the_page_added_is_stripped(text, stripped, flags):
    assert sharegpt.strip_widgets(text) == (stripped, flags)


def test_replies_and_banners(read):
    banner = {"from": "system", "value": "*This conversation is shared from [**ChatHub**](https://x)*"}
    texts = {"id": "a_0", "conversations": [banner, *messages("q", "the end\nShare Prompt")]}
    conversations, _ = read(json.dumps([texts]))
    assert [message["content"] for message in conversations[0]["messages"]] == ["q", "the end\nShare Prompt"]
