"""UltraFeedback becomes conversations in which the lowest-rated reply disappoints and the
highest-rated one satisfies."""

import json
from collections import Counter

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import labels
import pools
import turns
from drift import tables
from drift.settings.data import LabelsSettings
from drift.sources import ultrafeedback
from tests.builders.corpus import pools_settings
from tests.builders.sources import turns_settings


def completion(response: object, score: object, critique: object = "too short", model: str = "m") -> dict:
    return {"response": response, "overall_score": score, "critique": critique, "model": model, "annotations": {}}


def rows_of(tmp_path, file) -> tuple[list[dict], dict]:
    ledger = turns.write_turns({"u": file}, turns_settings(u="ultrafeedback"), tmp_path / "turns.out")
    dropped = {reason: count for reason, count in ledger.select("reason", "dropped").rows() if count}
    return tables.read_table(tables.Turns, tmp_path / "turns.out").to_dicts(), dropped


def test_the_lowest_rated_reply_disappoints_with_its_critique_and_the_highest_satisfies(tmp_path):
    completions = [
        completion("fine", 7.5, "good work"),
        completion("bad", 2.0, "wrong city", "alpaca"),
        completion("also bad", 2.0, "x"),
        completion("fair", 5, "y"),
    ]
    (tmp_path / "flan.jsonl").write_text(json.dumps({"source": "flan", "instruction": "Where?", "completions": completions}))
    (first, second), _ = rows_of(tmp_path, tmp_path / "flan.jsonl")
    assert (first["user"], first["response"], first["feedback"]) == ("Where?", "bad", "wrong city")
    assert (first["source_label"], first["source_evidence"], first["model"]) == ("DSAT", ["overall score 2"], "alpaca")
    assert (second["user"], second["response"], second["feedback"]) == ("Where?", "fine", "good work")
    assert (second["source_label"], second["source_evidence"]) == ("SAT", ["overall score 7.5"])
    assert (first["unseen"], second["unseen"]) == (True, False)


def test_both_replies_are_to_the_bare_question_in_every_pool_and_stay_together(tmp_path):
    lines = [
        {"instruction": f"question {n}", "completions": [completion(f"bad {n}", 1, f"wrong {n}"), completion(f"good {n}", 9)]}
        for n in range(12)
    ]
    (tmp_path / "x.jsonl").write_text("\n".join(map(json.dumps, lines)))
    rows_of(tmp_path, tmp_path / "x.jsonl")
    labels.write_labels(tmp_path / "turns.out", LabelsSettings(labelers={"r": {"kind": "source"}}), tmp_path / "labels.out", {})
    paths = {pool: tmp_path / f"{pool}.out" for pool in pools.SCHEMAS}
    held_out = {"test_conversations": 3, "test_correction_conversations": 3, "max_per_conversation": 1}
    settings = pools_settings(labeler="r", **held_out)
    pools.choose(tmp_path / "turns.out", tmp_path / "labels.out", {}, settings, paths)
    chosen = {pool: tables.read_table(schema, paths[pool]) for pool, schema in pools.SCHEMAS.items()}
    assert chosen.pop("wordless").is_empty(), "every rejected reply has its critique"
    sides = set()
    for pool, rows in chosen.items():
        assert rows.height == 12
        for row in rows.to_dicts():
            (message,) = row["prompt"]
            number = message["content"].removeprefix("question ")
            sides.add((number, row["split"]))
            told = {name: row[name] for name in ("rejected", "feedback", "chosen") if name in row}
            said = {"rejected": f"bad {number}", "feedback": f"wrong {number}", "chosen": f"good {number}"}
            if pool == "sat":
                said["feedback"] = "too short"
            assert told == {name: said[name] for name in told}
    assert len(sides) == 12
    assert sum(side == "test" for _, side in sides) == 3


def binarized(**changes) -> dict:
    def said(reply: str) -> list[dict]:
        return [{"content": "Where?", "role": "user"}, {"content": reply, "role": "assistant"}]

    row = {"prompt": "Where?", "prompt_id": "p", "chosen": said("fine"), "rejected": said("bad")}
    return row | {"messages": said("fine"), "score_chosen": 8.0, "score_rejected": 3.5} | changes


def test_binarized_rows_have_their_score_in_place_of_a_critique(tmp_path):
    pq.write_table(pa.Table.from_pylist([binarized()]), tmp_path / "train_prefs-00000-of-00001.parquet")
    (first, second), _ = rows_of(tmp_path, tmp_path)
    assert first["conversation_id"] == "u:p"
    assert (first["user"], first["response"], first["feedback"]) == ("Where?", "bad", "I rate this answer 3.5 out of 10.")
    assert (second["user"], second["response"], second["source_label"]) == ("Where?", "fine", "SAT")


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (["not", "an", "object"], ultrafeedback.NOT_JSON),
        ({"instruction": "a"}, ultrafeedback.NOT_JSON),
        ({"instruction": "a", "completions": None}, ultrafeedback.NOT_JSON),
        ({"instruction": 3, "completions": []}, ultrafeedback.NOT_JSON),
        ({"instruction": "a", "completions": [completion("b", 1)]}, ultrafeedback.NO_RATING),
        ({"instruction": "a", "completions": [completion("b", 1), completion("c", "N/A")]}, ultrafeedback.NO_RATING),
        ({"instruction": "a", "completions": [completion("b", 1), completion(None, 2)]}, ultrafeedback.NO_RATING),
        ({"instruction": "a", "completions": [completion("b", 1), completion("c", float("nan"))]}, ultrafeedback.NO_RATING),
        ({"instruction": "a", "completions": [completion("b", 4), completion("c", 4)]}, ultrafeedback.ALIKE),
    ],
)
def test_prompts_without_two_ratings_are_counted(tmp_path, record, reason):
    good = {"instruction": "Where?", "completions": [completion("a", 1), completion("b", 2)]}
    (tmp_path / "x.jsonl").write_text(f"{json.dumps(record)}\n\n{json.dumps(good)}\n")
    rows, dropped = rows_of(tmp_path, tmp_path / "x.jsonl")
    assert len(rows) == 2
    assert dropped == {reason: 1}


def test_rows_without_scores_are_counted(tmp_path):
    rows = [binarized(), binarized(prompt_id="q", score_chosen=None), binarized(prompt_id="r", rejected=[])]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "x.parquet")
    assert rows_of(tmp_path, tmp_path)[1] == {ultrafeedback.NO_RATING: 2}


def test_all_of_it_is_read(tmp_path):
    lines = [{"instruction": f"q{n}", "completions": [completion(f"a{n}", 1), completion("b", 2)]} for n in range(5000)]
    (tmp_path / "x.jsonl").write_text("\n".join(map(json.dumps, lines)))
    frames = list(ultrafeedback.read([tmp_path / "x.jsonl"], counts := Counter()))
    assert pl.concat(frames).height == counts["conversations"] == counts["prompts"] == 5000
