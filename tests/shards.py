"""Shards of WildChat-1M and of WildFeedback's annotations as the hub has them, filled with other
text.

The real data sets cannot be had everywhere; their schemas are known. Columns that hold personal
data hold the word SECRET here, so that a test can look for it in whatever is written.
"""

import hashlib
from datetime import datetime

import numpy as np
import pyarrow as pa

_ZONED = pa.timestamp("us", tz="UTC")
_HEADER = pa.struct({"accept-language": pa.string(), "user-agent": pa.string()})
_PLACE = {"country": pa.string(), "hashed_ip": pa.string(), "header": _HEADER, "state": pa.string()}
_MESSAGE = pa.struct(
    {"content": pa.string()}
    | {"country": pa.string(), "hashed_ip": pa.string(), "header": _HEADER, "language": pa.string(), "redacted": pa.bool_()}
    | {"role": pa.string(), "state": pa.string(), "timestamp": _ZONED, "toxic": pa.bool_(), "turn_identifier": pa.int64()}
)
_CATEGORIES = (
    "harassment",
    "harassment/threatening",
    "harassment_threatening",
    "hate",
    "hate/threatening",
    "hate_threatening",
    "self-harm",
    "self-harm/instructions",
    "self-harm/intent",
    "self_harm",
    "self_harm_instructions",
    "self_harm_intent",
    "sexual",
    "sexual/minors",
    "sexual_minors",
    "violence",
    "violence/graphic",
    "violence_graphic",
)
_MODERATION = pa.struct(
    {
        "categories": pa.struct(dict.fromkeys(_CATEGORIES, pa.bool_())),
        "category_scores": pa.struct(dict.fromkeys(_CATEGORIES, pa.float64())),
        "flagged": pa.bool_(),
    }
)
_TOXICITY = ("identity_attack", "insult", "obscene", "severe_toxicity", "sexual_explicit", "threat", "toxicity")
_DETOXIFY = pa.struct(dict.fromkeys(_TOXICITY, pa.float64()))
WILDCHAT_1M = pa.schema(
    {
        "conversation_hash": pa.string(),
        "model": pa.string(),
        "timestamp": _ZONED,
        "conversation": pa.list_(_MESSAGE),
        "turn": pa.int64(),
        "language": pa.string(),
        "openai_moderation": pa.list_(_MODERATION),
        "detoxify_moderation": pa.list_(_DETOXIFY),
        "toxic": pa.bool_(),
        "redacted": pa.bool_(),
        "state": pa.string(),
        "country": pa.string(),
        "hashed_ip": pa.string(),
        "header": _HEADER,
    }
)
_TIME = datetime(2023, 4, 9, 0, 2, 53)


def wildchat_1m(texts: pa.Array, lengths: np.ndarray, first: int = 0) -> pa.Table:
    """A shard of conversations: `lengths` of them in messages (user and assistant in turn), which
    hold `texts` in order.

    `first` is the number of the first conversation: hashes, turn identifiers and users follow from
    it.
    """
    rows, messages = len(lengths), len(texts)
    numbers = np.arange(first, first + rows)
    hashes = pa.array([hashlib.md5(str(number).encode()).hexdigest() for number in numbers])
    ips = pa.array([f"SECRET{number % 4999}" for number in numbers])
    of = np.repeat(np.arange(rows), lengths)
    place = np.arange(messages) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    user = pa.array(place % 2 == 0)
    columns = {
        "content": texts,
        "country": _only(user, "SECRET", pa.string()),
        "hashed_ip": pa.compute.if_else(user, ips.take(pa.array(of)), None),
        "header": _constant({"accept-language": "SECRET", "user-agent": "SECRET"}, messages, _HEADER),
        "language": _constant("English", messages),
        "redacted": _constant(False, messages),
        "role": pa.compute.if_else(user, "user", "assistant"),
        "state": _only(user, "SECRET", pa.string()),
        "timestamp": pa.compute.if_else(user, pa.scalar(None, _ZONED), pa.scalar(_TIME, _ZONED)),
        "toxic": _constant(False, messages),
        "turn_identifier": pa.array(numbers[of] * 1000 + place // 2),
    }
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))

    def listed(values: pa.Array) -> pa.Array:
        return pa.ListArray.from_arrays(offsets, values)

    safe = {
        "categories": dict.fromkeys(_CATEGORIES, False),
        "category_scores": dict.fromkeys(_CATEGORIES, 1e-5),
        "flagged": False,
    }
    table = {
        "conversation_hash": hashes,
        "model": _constant("gpt-3.5-turbo-0301", rows),
        "timestamp": _constant(_TIME, rows, _ZONED),
        "conversation": listed(pa.StructArray.from_arrays([columns[field.name] for field in _MESSAGE], fields=list(_MESSAGE))),
        "turn": pa.array(lengths // 2),
        "language": _constant("English", rows),
        "openai_moderation": listed(_constant(safe, messages, _MODERATION)),
        "detoxify_moderation": listed(_constant(dict.fromkeys(_TOXICITY, 1e-4), messages, _DETOXIFY)),
        "toxic": _constant(False, rows),
        "redacted": _constant(False, rows),
        "state": _constant("SECRET", rows),
        "country": _constant("SECRET", rows),
        "hashed_ip": ips,
        "header": _constant({"accept-language": "SECRET", "user-agent": "SECRET"}, rows, _HEADER),
    }
    return pa.table([table[name].cast(WILDCHAT_1M.field(name).type) for name in WILDCHAT_1M.names], schema=WILDCHAT_1M)


def _constant(value: object, length: int, kind: pa.DataType | None = None) -> pa.Array:
    return pa.repeat(pa.scalar(value, kind), length)


def _only(where: pa.Array, value: object, kind: pa.DataType) -> pa.Array:
    return pa.compute.if_else(where, pa.scalar(value, kind), pa.scalar(None, kind))
