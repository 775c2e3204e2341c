"""Replies that were paid for: kept as they came, one JSON object a line, and never deleted.

A reply is kept under a hash of all that was sent for it. After a job was killed, a shard deleted or
a table of requests changed in part, what was answered before is read from here, and only the rest
is asked.
"""

import hashlib
import json
import os
import platform
import re
import time
from collections.abc import Iterator
from pathlib import Path


def reply_key(url: str, body: dict, sample: int, seed: int | None) -> str:
    """The key of a reply: SHA-256 of the endpoint's address, the request's body and the sample
    number, and of the request's seed where that tells draws apart and is not sent (None elsewhere).
    The address counts, as two servers may call different models by one name."""
    sent = json.dumps([url, body, sample, *([] if seed is None else [seed])], sort_keys=True)
    return hashlib.sha256(sent.encode()).hexdigest()


class ReplyStore:
    """The replies of one model, in a folder. Every process writes a file of its own, so that none
    has to wait for another."""

    SYNC_SECONDS = 1.0

    def __init__(self, folder: Path, model: str):
        self.folder = folder / re.sub(r"[^A-Za-z0-9._-]", "_", model)
        self._file, self._synced = None, 0.0

    def read(self, keys: set[str]) -> Iterator[tuple[str, dict]]:
        """(key, reply) of the kept replies among `keys`, oldest first. A key may be repeated."""
        for path in sorted(self.folder.glob("*.jsonl")):
            for line in path.read_bytes().splitlines():
                try:
                    kept = json.loads(line)
                except ValueError:
                    continue  # the last line of a machine that lost its power
                if kept["key"] in keys:
                    yield kept["key"], kept["reply"]

    def add(self, key: str, request_id: str, reply: dict) -> None:
        """Keep a reply. It survives the process at once, a power failure after SYNC_SECONDS."""
        if self._file is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            path = self.folder / f"{time.time_ns()}-{platform.node()}-{os.getpid()}.jsonl"
            self._file = path.open("xb")
        line = json.dumps({"key": key, "request_id": request_id, "time": round(time.time(), 3), "reply": reply})
        self._file.write(line.encode() + b"\n")
        self._file.flush()
        if time.monotonic() - self._synced > self.SYNC_SECONDS:
            self._sync()

    def close(self) -> None:
        """Put everything on disk; no more replies come."""
        if self._file is not None:
            self._sync()
            self._file.close()
            self._file = None

    def _sync(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._synced = time.monotonic()
