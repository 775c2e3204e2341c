"""Logs in the shapes of other tools: what is told by the keys of a record, and what becomes of the
opinions of users. The samples are made up, with the fields that the tools document."""

import csv
import json

import polars as pl
import pytest

from drift.cli import StageError
from drift.config import Source
from drift.sources import logs, sharegpt
from drift.sources.shapes import SHAPES, opinions, shape_of
from drift.sources.shapes.rows import BAD_ROW, NO_NAME
from tests.builders.logs import labels, read, said, spoken
from tests.builders.sources import EXCHANGE, exchanged, texts

FIRST = [said("user", "q1")]


LITELLM = {
    **{"request_id": "q-1", "call_type": "acompletion", "model": "gpt", "model_group": "chat", "end_user": "anna"},
    **{"startTime": "2026-01-02 03:04:05", "session_id": "s-1", "messages": FIRST, "metadata": {}},
    "response": {"choices": [{"message": {"role": "assistant", "content": "r1", "tool_calls": None}}]},
}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"messages": json.dumps(FIRST), "response": json.dumps(LITELLM["response"])},
        {"messages": {}, "proxy_server_request": {"model": "gpt", "messages": FIRST}},
        {"session_id": None, "trace_id": "s-1", "startTime": 1_767_323_045.0, "response": "r1"},
    ],
    ids=["a spend log", "as text", "messages of the request", "a payload"],
)
def test_litellm(tmp_path, changes):
    ((row,), _) = read(tmp_path, LITELLM | changes)
    assert (row["id"], row["user"], row["model"], spoken(row)) == ("s-1", "anna", "chat", "q1 r1")
    assert str(row["timestamp"]) == "2026-01-02 03:04:05"


def trace(number: int, question: object, answer: object, **fields) -> dict:
    known = {
        "id": f"t{number}",
        "timestamp": f"2026-01-01T00:0{number}:00.000Z",
        "name": "chat",
        "userId": "u",
        "sessionId": "s",
    }
    return known | {"input": question, "output": answer, "observations": [], "scores": []} | fields


def scored(**fields) -> list[dict]:
    return [{"id": "x", "name": "user-feedback", "source": "API", "dataType": "NUMERIC", "value": 0} | fields]


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("q1", "r1"),
        ({"messages": FIRST}, {"role": "assistant", "content": "r1"}),
        (FIRST, {"choices": [{"message": said("assistant", "r1")}]}),
        ({"question": "q1"}, {"answer": "r1"}),
        ({"args": []}, None),
    ],
    ids=["text", "messages", "a response", "fields", "of the generation"],
)
def test_langfuse_traces_of_a_session_are_a_conversation(tmp_path, question, answer):
    inner = {"type": "GENERATION", "startTime": "2026-01-01", "model": "gpt", "input": FIRST, "output": "r1"}
    first = trace(1, question, answer, observations=[{"type": "SPAN", "input": 1}, inner], scores=scored(comment="No."))
    ((row,), counts) = read(tmp_path, trace(2, "q2", "r2"), first)
    assert (row["id"], row["user"], row["model"], spoken(row), labels(row)) == ("s", "u", "gpt", "q1 r1 q2 r2", ["DSAT", None])
    assert row["messages"][1]["comment"] == "No."
    assert counts == {"records": 2, "conversations": 1}


@pytest.mark.parametrize(
    ("score", "label"),
    [
        ({"value": 1}, "SAT"),
        ({"dataType": "BOOLEAN", "value": 0, "stringValue": "False"}, "DSAT"),
        ({"dataType": "CATEGORICAL", "value": None, "stringValue": "thumbs_down"}, "DSAT"),
        ({"value": 0.5}, "NEUTRAL"),
        ({"value": 4}, None),  # on which scale?
        ({"name": "hallucination"}, None),
        ({"source": "EVAL"}, None),
    ],
)
def test_langfuse_scores_of_users_alone_are_feedback(tmp_path, score, label):
    ((row,), _) = read(tmp_path, trace(1, "q", "r", scores=scored(**score)))
    assert labels(row) == [label]


def test_where_scores_have_a_longer_scale_a_one_of_the_same_name_is_no_thumb_up(tmp_path):
    stars = [trace(n, f"q{n}", "r", sessionId=str(n), scores=scored(value=n, comment=f"{n} stars")) for n in (1, 4)]
    thumb = trace(3, "q3", "r", sessionId="3", scores=[*scored(name="thumbs", value=1), *scored(name=["no", "name"])])
    one, four, up = read(tmp_path, *stars, thumb)[0]
    assert [labels(row) for row in (one, four, up)] == [[None], [None], ["SAT"]]
    assert [row["messages"][1]["comment"] for row in (one, four)] == ["1 stars", "4 stars"]


def test_langfuse_observations_that_are_no_generations_are_steps(tmp_path):
    span = {"id": "o", "traceId": "t", "type": "SPAN", "startTime": "2026-01-01T00:00:00Z", "input": "q", "output": "r"}
    rows, counts = read(tmp_path, span, span | {"type": "GENERATION", "model": "gpt"})
    assert [(row["id"], row["model"]) for row in rows] == [("t", "gpt")]
    assert counts == {"records": 2, "conversations": 1, logs.REASONS[1]: 1}


def test_a_downloaded_session_and_a_page_of_an_api_are_their_traces(tmp_path):
    for name in ("traces", "data"):
        (tmp_path / "s.json").write_text(json.dumps({"id": "s", name: [trace(1, "q", "r")]}, indent=2))
        ((row,), _) = read(tmp_path, name="s.json")
        assert spoken(row) == "q r"


def run(number: int, question: object, answer: object, **fields) -> dict:
    known = {"id": f"r{number}", "name": "chat", "run_type": "chain", "parent_run_id": None, "session_id": "project"}
    extra = {"metadata": {"thread_id": "t", "user_id": "u", "ls_model_name": "gpt"}}
    return known | {"start_time": f"2026-01-01T00:0{number}:00", "inputs": question, "outputs": answer, "extra": extra} | fields


LANGCHAIN = {
    "lc": 1,
    "type": "constructor",
    "id": ["langchain", "schema", "messages", "HumanMessage"],
    "kwargs": {"content": "q1"},
}
GENERATED = {
    "lc": 1,
    "type": "constructor",
    "id": ["langchain", "schema", "messages", "AIMessage"],
    "kwargs": {"content": "r1"},
}


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ({"messages": FIRST}, {"choices": [{"message": said("assistant", "r1")}]}),
        (
            {"messages": [{"type": "human", "content": "q1"}]},
            {"messages": [{"type": "human", "content": "q1"}, {"type": "ai", "content": "r1"}]},
        ),
        ({"messages": [[LANGCHAIN]]}, {"generations": [[{"text": "r1", "message": GENERATED}]]}),
        ({"question": "q1"}, {"output": "r1"}),
    ],
    ids=["openai", "langchain", "serialised", "fields"],
)
def test_langsmith_runs_of_a_thread_are_a_conversation(tmp_path, question, answer):
    stats = {"user_score": {"n": 1, "avg": 0.0, "comments": ["Wrong."]}, "correctness": {"n": 1, "avg": 1.0}}
    step = run(3, {"question": "inner"}, {"output": "o"}, parent_run_id="r1")
    rows, counts = read(
        tmp_path, run(2, {"question": "q2"}, {"output": "r2"}), run(1, question, answer, feedback_stats=stats), step
    )
    (row,) = rows
    assert (row["id"], row["user"], row["model"], spoken(row), labels(row)) == ("t", "u", "gpt", "q1 r1 q2 r2", ["DSAT", None])
    assert (row["messages"][1]["comment"], counts[logs.REASONS[1]]) == ("Wrong.", 1)


def chat(annotation: dict | None = None) -> dict:
    """A chat of Open WebUI whose first reply was regenerated."""
    listed = [
        {"id": "a", "parentId": None, "childrenIds": ["b", "c"], "role": "user", "content": "q1", "timestamp": 1_700_000_000},
        {"id": "b", "parentId": "a", "childrenIds": [], "role": "assistant", "content": "first", "model": "llama"},
        {
            "id": "c",
            "parentId": "a",
            "childrenIds": ["d"],
            "role": "assistant",
            "content": "r1",
            "model": "llama",
            "annotation": annotation,
        },
        {"id": "d", "parentId": "c", "childrenIds": [], "role": "user", "content": "q2"},
    ]
    history = {"currentId": "d", "messages": {message["id"]: message for message in listed}}
    return {"id": "w", "user_id": "u", "created_at": 1_700_000_000, "chat": {"title": "T", "history": history, "messages": []}}


@pytest.mark.parametrize(
    ("annotation", "label", "comment"),
    [
        (None, None, None),
        ({"rating": 1}, "SAT", None),
        ({"rating": -1, "reason": "not_factually_correct"}, "DSAT", "not factually correct"),
        ({"rating": -1, "reason": "other", "comment": "It is 1815."}, "DSAT", "It is 1815."),
        ({"rating": 1, "details": {"rating": 2}}, "DSAT", None),
    ],
)
def test_open_webui_shows_the_branch_that_was_seen_last(tmp_path, annotation, label, comment):
    (tmp_path / "x.json").write_text(json.dumps([chat(annotation)]))
    ((row,), _) = read(tmp_path, name="x.json")
    assert (row["id"], row["user"], row["model"], spoken(row), labels(row)) == ("w", "u", "llama", "q1 r1 q2", [label])
    assert row["messages"][1]["comment"] == comment


def test_open_webui_keeps_what_was_said_beside_an_image():
    record = chat()
    record["chat"]["history"]["messages"]["d"]["files"] = [{"type": "image", "url": "data:..."}]
    conversation = logs.parse(shape_of(record).read(record))
    rows = exchanged(conversation)
    assert texts(rows) == [("q1", "r1", "q2"), ("q2", None, None)]
    assert rows[1]["flags"] == ["missing_part"]


def test_sharegpt(tmp_path):
    ((row,), _) = read(tmp_path, {"id": 5, "conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "r"}]})
    assert (row["id"], texts(exchanged(row))) == ("5", [("q", "r", None)])


COLUMNS = {"conversation": "chat", "role": "who", "content": "text", "time": "at", "feedback": "vote", "user": "customer"}
TABLE = [
    ("1", "user", "q1, please", "2026-01-01 00:00:00", "", "anna"),
    ("2", "user", "x", "2026-01-01 00:00:00", "", "ben"),
    ("1", "user", 'say "q2"\nnow', "2026-01-01 00:02:00", "", "anna"),
    ("1", "assistant", "r1", "2026-01-01 00:01:00", "-1", "anna"),
    ("2", "assistant", "[1]", "2026-01-01 00:01:00", "0", "ben"),
]


def write_csv(path, rows: list[tuple], separator: str = ",") -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file, delimiter=separator)
        writer.writerows([("chat", "who", "text", "at", "vote", "customer"), *rows])


@pytest.mark.parametrize("name", ["x.csv", "x.tsv", "x.parquet"])
def test_a_message_a_row_is_put_together_by_conversation_and_time(tmp_path, name):
    if name == "x.parquet":
        names = ("chat", "who", "text", "at", "vote", "customer")
        pl.DataFrame([dict(zip(names, (cell or None for cell in row), strict=True)) for row in TABLE]).write_parquet(
            tmp_path / name
        )
    else:
        write_csv(tmp_path / name, TABLE, ";" if name == "x.csv" else "\t")
    rows, counts = read(tmp_path, columns=COLUMNS, name=name)
    assert [(row["id"], row["user"], spoken(row), labels(row)) for row in rows] == [
        ("1", "anna", 'q1, please r1 say "q2"\nnow', ["DSAT"]),
        ("2", "ben", "x [1]", [None]),  # of votes of -1, 0 and 1, 0 is none
    ]
    assert counts == {"records": 5, "conversations": 2}


@pytest.mark.parametrize(("down", "none"), [(-1.0, 0.0), (0.0, None)], ids=["-1, 0 and 1", "0 and 1"])
@pytest.mark.parametrize("written", [int, float, " {:.1f}".format, "parquet"], ids=["whole", "floats", "padded", "parquet"])
def test_votes_are_the_same_numbers_however_they_are_written(tmp_path, written, down, none):
    """A column of numbers, some of which are missing, is one of floats in pandas."""
    votes = {"down": down, "up": 1.0, "none": none}
    cells = {name: "" if vote is None or written == "parquet" else written(vote) for name, vote in votes.items()}
    rows = [(name, who, "x", "", cell if who == "bot" else "", "") for name, cell in cells.items() for who in ("user", "bot")]
    write_csv(tmp_path / "x.csv", rows)
    if written == "parquet":
        vote = pl.when(pl.col("who") == "bot").then(pl.col("chat").replace_strict(votes, return_dtype=pl.Float64))
        pl.read_csv(tmp_path / "x.csv").with_columns(vote=vote).write_parquet(tmp_path / "x.parquet")
    columns = {role: COLUMNS[role] for role in ("conversation", "role", "content", "feedback")}
    found, _ = read(tmp_path, columns=columns, name="x.parquet" if written == "parquet" else "x.csv")
    said = {row["id"]: [message["label"] for message in row["messages"]] for row in found}
    assert said == {"down": [None, "DSAT"], "up": [None, "SAT"], "none": [None, None]}


def test_rows_that_cannot_be_read_cost_their_conversation_and_are_counted(tmp_path):
    bad = [("3", "", "no role", "2026-01-01", "", ""), ("", "user", "no name", "2026-01-01", "", "")]
    write_csv(tmp_path / "x.csv", [*TABLE, *bad, ("4", "user", "no time", "soon", "", "")])
    rows, counts = read(tmp_path, columns=COLUMNS, name="x.csv")
    assert [row["id"] for row in rows] == ["1", "2"]
    assert counts == {"records": 8, "conversations": 4, NO_NAME: 1, BAD_ROW: 2}


def test_in_a_column_of_stars_no_number_is_a_thumb(tmp_path):
    stars = [(name, "assistant", "r", "2026-01-02", vote, "") for name, vote in (("s1", "1"), ("s2", "4"), ("s3", "up"))]
    write_csv(tmp_path / "x.csv", [(name, "user", "q", "2026-01-01", "", "") for name in ("s1", "s2", "s3")] + stars)
    rows, counts = read(tmp_path, columns=COLUMNS, name="x.csv")
    assert [(row["id"], labels(row)) for row in rows] == [("s3", ["SAT"])]
    assert counts[BAD_ROW] == 2


def test_a_column_that_is_not_there_is_named_with_those_that_are(tmp_path):
    write_csv(tmp_path / "x.csv", TABLE)
    with pytest.raises(StageError, match=r"no column stars, .* it has: chat, who, text, at, vote, customer"):
        read(tmp_path, columns=COLUMNS | {"feedback": "stars"}, name="x.csv")


def test_the_configuration_says_what_columns_are_for():
    assert Source(kind="logs", path="x.csv", columns=COLUMNS).columns == COLUMNS
    for changes, fault in (
        ({"kind": "sharegpt"}, "only kind logs takes it"),
        ({"columns": {"conversation": "a", "role": "b"}}, "say which column holds content"),
        ({"columns": COLUMNS | {"stars": "s"}}, "Input should be 'conversation'"),
    ):
        with pytest.raises(ValueError, match=fault):
            Source(**{"kind": "logs", "path": "x.csv", "columns": COLUMNS} | changes)


def test_a_file_of_no_known_shape_is_refused_with_its_keys_and_the_shapes(tmp_path):
    with pytest.raises(StageError) as refused:
        read(tmp_path, {"prompt": "q", "completion": "r"}, {"prompt": "q"})
    for words in ("x.jsonl", "keys prompt, completion", *(shape.NAME for shape in SHAPES), "columns"):
        assert words in str(refused.value)


def test_a_record_of_no_known_shape_among_others_is_dropped_and_counted(tmp_path):
    rows, counts = read(tmp_path, {"a": 1}, {"id": 1, "messages": EXCHANGE})
    assert [row["id"] for row in rows] == ["1"]
    assert counts == {"records": 2, "conversations": 1, logs.NO_SHAPE: 1}


def test_an_array_that_is_cut_off_is_read_to_its_last_whole_record(tmp_path):
    (tmp_path / "x.json").write_text(json.dumps([{"id": 1, "messages": EXCHANGE}] * 2)[:-20])
    rows, counts = read(tmp_path, name="x.json")
    assert len(rows) == 1
    assert counts == {"records": 2, "conversations": 1, sharegpt.CUT_OFF: 1}


@pytest.mark.parametrize("value", ["up", "Thumbs Up", "thumbs_up", True, 1, 1.0, "1", "1.0", "true", "👍", "+1"])
def test_thumbs_up(value):
    assert opinions.thumbs(value) == "up"


@pytest.mark.parametrize("value", ["down", "thumbs-down", False, 0, -1, "-1", "-1.0", "0", "0.0", "Dislike", "👎"])
def test_thumbs_down(value):
    assert opinions.thumbs(value) == "down"


@pytest.mark.parametrize("value", ["", None, 3, 0.5, "0.5", "nan", "maybe", [1]])
def test_no_thumbs(value):
    assert opinions.thumbs(value) is None


@pytest.mark.parametrize(
    "asked", ["q", [said("user", "q")], [{"role": "user", "content": [{"type": "input_text", "text": "q"}]}]]
)
@pytest.mark.parametrize("kind", ["request", "trace"])
def test_instructions_of_the_responses_api_are_the_system_prompt(tmp_path, asked, kind):
    body = {"model": "m", "instructions": "Be brief.", "input": asked}
    answer = {
        "id": "resp",
        "output": [{"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "r"}]}],
    }
    record = {"request": body, "response": answer} if kind == "request" else trace(1, body, answer)
    ((row,), _) = read(tmp_path, record)
    assert [(message["role"], message["content"]) for message in row["messages"]] == [
        ("system", "Be brief."),
        ("user", "q"),
        ("assistant", "r"),
    ]
    assert exchanged(row)[0]["system"] == "Be brief."
    ((row,), _) = read(tmp_path, {"request": body | {"instructions": None}, "response": answer})
    assert spoken(row) == "q r"
