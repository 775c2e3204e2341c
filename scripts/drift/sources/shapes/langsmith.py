"""A run a record as LangSmith exports them (https://docs.langchain.com/langsmith/run-data-format).

A run has id, run_type, inputs, outputs, parent_run_id, start_time, extra and feedback_stats. Runs
with a parent are steps of a trace. The runs of a thread, which the metadata in `extra` name by
session_id, thread_id or conversation_id (https://docs.langchain.com/langsmith/threads), are a
conversation; `session_id` of the run itself is its project.

feedback_stats has the average and the comments by the key of a feedback
(https://docs.langchain.com/langsmith/feedback-data-format); keys of users are the feedback.
"""

from drift.sources.shapes.base import NO_REPLY, STEP, Call, first
from drift.sources.shapes.bodies import decoded, messages_of, reply_of
from drift.sources.shapes.opinions import Score

NAME = "LangSmith"
KEYS = "run_type, inputs, outputs"


def fits(record: dict) -> bool:
    """Whether the record has the keys of this shape."""
    return "run_type" in record and "inputs" in record


def read(record: dict) -> Call | str:
    """The call that a run is, or why there is none."""
    if first(record, "parent_run_id"):
        return STEP
    messages, reply = messages_of(record["inputs"]), reply_of(record.get("outputs"))
    if not messages or not reply:
        return NO_REPLY
    metadata = first(decoded(record.get("extra")), "metadata")
    return Call(
        id=record.get("id"),
        messages=[*messages, reply | {Score: _stats(record)}],
        conversation=first(metadata, "session_id", "thread_id", "conversation_id"),
        model=first(metadata, "ls_model_name"),
        user=first(metadata, "user_id", "user"),
        timestamp=record.get("start_time"),
    )


def _stats(record: dict) -> list[Score]:
    stats = decoded(record.get("feedback_stats"))
    made = []
    for key, one in stats.items() if isinstance(stats, dict) else ():
        if isinstance(one, dict):
            comments = one["comments"] if isinstance(one.get("comments"), list) else []
            words = [text for text in comments if isinstance(text, str) and text.strip()]
            made.append(Score(key, one.get("avg"), "\n\n".join(words)))
    return made
