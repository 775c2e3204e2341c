"""Where conversations come from: one reader a kind of source.

A reader is a module with

    SUFFIXES            of its files, where the source is a folder
    UNIT                what its files hold: records, lines, rows
    DROPS               why it drops such a unit, in the order of the ledger
    CONVERSATION_DROPS  why it drops a conversation that it has put together (none where a unit is a conversation)
    read(files, counts) yields frames of conversations (see drift/sources/conversations.py); counts UNIT, "conversations"
                        and its drops by name into the Counter `counts`

What is common to all sources is done after it, for all alike (drift/sources/exchanges.py): empty messages, neighbours of one
role, unknown roles, system prompts. So a new kind of source is one module that says where its files keep id, role and text, one
line in READERS, and one word in `Source.kind` of drift/config.py; lmsys.py is a short one to start from.
"""

from pathlib import Path
from types import ModuleType

from drift.cli import StageError
from drift.sources import lmsys, logs, sharegpt, ultrafeedback, wildchat, wildfeedback

READERS = {
    "wildchat": wildchat,
    "wildfeedback": wildfeedback,
    "ultrafeedback": ultrafeedback,
    "lmsys": lmsys,
    "sharegpt": sharegpt,
    "logs": logs,
}


def source_files(path: Path, reader: ModuleType) -> list[Path]:
    """`path` itself, or the reader's files in the folder `path` and below, by name. Raises StageError where there are none."""
    # huggingface_hub keeps its own records in a folder .cache beside what it has fetched.
    below = [file for file in path.rglob("*") if file.name.endswith(reader.SUFFIXES) and ".cache" not in file.parts]
    files = sorted(below) if path.is_dir() else [path]
    if not files or not files[0].exists():
        suffixes = " or ".join(f"*{suffix}" for suffix in reader.SUFFIXES)
        raise StageError(f"{path}: no {suffixes} file there. Check the path of the source, and that it was fetched.")
    return files
