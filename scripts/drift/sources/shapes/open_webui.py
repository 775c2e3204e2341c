"""A chat a record as Open WebUI exports them
(https://docs.openwebui.com/features/chat-conversations/data-controls/import-export): id, user_id
and chat, which has history {currentId, messages by id with parentId}, or a list of messages.

Of a chat with regenerated or edited messages, the branch that the user saw last is the
conversation. A reply's annotation has rating (1 or -1), reason, comment and details.rating (1 to
10) (https://docs.openwebui.com/features/administration/evaluation): the comment, or else the
reason, is the feedback in words.
"""

from drift.sources import details
from drift.sources.shapes.base import first
from drift.sources.shapes.bodies import decoded
from drift.sources.shapes.opinions import thumbs

NAME = "Open WebUI"
KEYS = "chat with history or messages"


def fits(record: dict) -> bool:
    """Whether the record has the keys of this shape."""
    chat = record.get("chat")
    return isinstance(chat, dict) and ("history" in chat or "messages" in chat)


def read(record: dict) -> dict:
    """The conversation, its messages in OpenAI's words."""
    chat = record["chat"]
    said = _branch(chat.get("history")) or chat.get("messages")
    said = said if isinstance(said, list) else []
    return {
        "id": first(record, "id") or first(chat, "id"),
        "messages": [_message(part) for part in said],
        "model": next((part["model"] for part in said if isinstance(part, dict) and part.get("model")), None),
        "user": record.get("user_id"),
        "timestamp": first(record, "created_at") or first(chat, "timestamp"),
    }


def _branch(history: object) -> list[dict]:
    """The messages from the first to the current one."""
    history = decoded(history)
    messages = history.get("messages") if isinstance(history, dict) else None
    found: list[dict] = []
    place, seen = history.get("currentId") if isinstance(messages, dict) else None, set()
    while isinstance(place, str) and place not in seen and isinstance(messages.get(place), dict):
        seen.add(place)
        found.append(messages[place])
        place = messages[place].get("parentId")
    return found[::-1]


def _message(part: object) -> object:
    if not isinstance(part, dict):
        return part
    message = {"role": part.get("role"), "content": part.get("content")}
    files = part.get("files")
    if isinstance(files, list) and any(isinstance(file, dict) and file.get("type") == "image" for file in files):
        message["content"] = [{"type": "text", "text": part.get("content")}, {"type": "image_url"}]
    if said := _feedback(part.get("annotation")):
        message["feedback"] = said
    return message


def _feedback(annotation: object) -> dict:
    said = {}
    if thumb := thumbs(first(annotation, "rating")):
        said["thumbs"] = thumb
    rating = details.number(first(first(annotation, "details"), "rating"))
    if rating is not None and 1 <= rating <= 10:
        said |= {"rating": rating, "scale": [1, 10]}
    comment, reason = first(annotation, "comment"), first(annotation, "reason")
    words = comment if isinstance(comment, str) else reason.replace("_", " ") if isinstance(reason, str) else None
    return said | ({"comment": words} if words else {})
