"""WildBench v2 (Lin et al. 2024, arXiv:2406.04770): 1,024 tasks from real conversations, each with a checklist.

The task file is the data set allenai/WildBench, config v2; files of answers are those of allenai/WildBench-V2-Model-Outputs.
Answers are scored 1 to 10, and compared with those of `references` by judges whose verdict is a choice (WB-Reward).
"""

from drift.benchmarks.records import Judging, conversation, identity, texts

JUDGING = Judging("score", order="random")
SIZE = 1024


def key(record: dict) -> str:
    """The session of the conversation."""
    return identity(record, "session_id", "id")


def task(record: dict) -> dict:
    """A row of the data set as a task, with the groups that its tags belong to."""
    from drift.cli import StageError
    from drift.metrics.wildbench import groups_of

    checklist = texts(record.get("checklist"), "checklist")
    if not checklist:
        raise ValueError("no checklist: this is not version 2 of WildBench")
    tags = [record["primary_tag"], *(texts(record.get("secondary_tags"), "secondary_tags") or [])]
    try:
        categories = sorted(groups_of(tags))
    except StageError as error:
        raise ValueError(str(error)) from error
    return {
        "prompt": conversation(record["conversation_input"], "conversation_input"),
        "checklist": checklist,
        "categories": categories,
    }
