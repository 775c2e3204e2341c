"""Records of logs, and what is read of them."""

from collections import Counter

from drift.sources import logs
from tests.builders.sources import write_logs


def said(role: str, content: object) -> dict:
    """A message of OpenAI's chat API."""
    return {"role": role, "content": content}


def read(folder, *records: object, columns: dict[str, str] | None = None, name: str = "x.jsonl") -> tuple[list[dict], Counter]:
    """Conversations of records, and the counts of reading them."""
    if records:
        write_logs(folder / name, *records)
    counts: Counter[str] = Counter()
    rows = [row for frame in logs.read([folder / name], counts, columns) for row in frame.to_dicts()]
    return rows, +counts


def spoken(conversation: dict) -> str:
    """The texts of all messages."""
    return " ".join(message["content"] for message in conversation["messages"])


def labels(conversation: dict) -> list[str | None]:
    """The label of each reply."""
    return [message["label"] for message in conversation["messages"] if message["role"] == "assistant"]


def logged(question: list[dict], reply: object, **fields) -> dict:
    """A call of OpenAI's chat API."""
    response = {
        "id": f"chatcmpl-{reply}",
        "created": 1_700_000_000,
        "model": "m-1",
        "choices": [{"message": said("assistant", reply)}],
    }
    return {"request": {"model": "m", "messages": question, "user": "u1"}, "response": response} | fields
