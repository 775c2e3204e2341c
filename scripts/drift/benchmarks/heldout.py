"""The run's own test split: prompts whose logged reply disappointed a real user, and that reply as
the one to beat."""

from drift.benchmarks.records import Judging, conversation, identity

JUDGING = Judging("letter")
SIZE = None
# It is made from the DSAT table and compares with the logged replies.
FILES = ()


def key(record: dict) -> str:
    """The prompt_id of the DSAT table."""
    return identity(record, "prompt_id")


def task(record: dict) -> dict | None:
    """A test row of the DSAT table as a task."""
    if record["split"] != "test":
        return None
    return {
        "cluster": record["cluster"],
        "prompt": conversation(record["prompt"], "prompt"),
        "baseline": record["rejected"],
        "feedback": record["feedback"],
    }
