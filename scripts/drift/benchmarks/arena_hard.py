"""Arena-Hard (Li et al. 2024, arXiv:2406.11939): prompts of Chatbot Arena, answered against a
baseline, judged in both orders.

The task file is question.jsonl of lmarena/arena-hard-auto, version 0.1 (500 prompts) or 2.0 (750);
`baseline` is a model's file of answers from there. Verdicts have five levels.
"""

from drift.benchmarks.records import Judging, clean, identity, single_turn

JUDGING = Judging("choice")
SIZE = None
FILES = ("path", "baseline", "references")


def key(record: dict) -> str:
    """The question's id, under the name of either version."""
    return identity(record, "uid", "question_id")


def task(record: dict) -> dict:
    """A question as a task."""
    text = record["turns"][0]["content"] if record.get("turns") else record["prompt"]
    named = record.get("subcategory") or record.get("cluster") or record.get("category")
    return {"prompt": single_turn(text, "prompt"), "categories": [clean(named, "category")] if named else None}
