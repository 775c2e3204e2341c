"""Where conversations come from: one reader a kind of source.

A reader is a module with

    SUFFIXES            of its files, where the source is a folder; .gz and .zst may follow
    UNIT                what its files hold: records, lines, rows
    DROPS               why it drops such a unit, in the order of the ledger
    CONVERSATION_DROPS  why it drops a conversation that it has put together (none where a unit is a
                        conversation)
    read(files, counts) yields frames of conversations (see conversations.py); counts UNIT,
                        "conversations" and its drops by name into the Counter `counts`

What all sources have in common is done afterwards, for all alike (exchanges.py): empty messages,
neighbours of one role, unknown roles, system prompts. So a new kind of source is one module that
says where its files keep id, role and text, and a line in plugins.py; lmsys.py is a short one to
start from.

A reader of a message a row (plugins.TABULAR) takes the source's `columns`, where the configuration
has them, as a third argument.

A source of annotations (plugins.ANNOTATING) also has CONVERSATIONS, the reader of the conversations
that it annotates, and ANNOTATION_DROPS, why an annotation labels no reply. It gets the files of
these conversations as a third argument, where the configuration names them, and also counts
"annotations", "labels" and ANNOTATION_DROPS; wildfeedback.py is the one.
"""

import sys
from pathlib import Path
from types import ModuleType

from drift.cli import StageError
from drift.files import visible
from drift.sources.files import suffix


def source_files(path: Path, reader: ModuleType) -> list[Path]:
    """`path` itself, or the reader's files in the folder `path` and below, by name.

    Files of the folder that the reader does not know are named on stderr. Raises StageError where
    there are none that it knows.
    """
    if path.is_dir():
        # Hidden ones are somebody's records: huggingface_hub keeps its own in a folder .cache.
        found = visible(path)
        files = [file for file in found if suffix(file) in reader.SUFFIXES]
        if unread := [file for file in found if suffix(file) not in reader.SUFFIXES]:
            names = ", ".join(str(file.relative_to(path)) for file in unread[:5])
            print(f"warning: {path}: {len(unread)} of {len(found)} files are not read: {names}", file=sys.stderr)
    else:
        files = [path]
    if not files or not files[0].exists():
        suffixes = " or ".join(f"*{suffix}" for suffix in reader.SUFFIXES)
        raise StageError(f"{path}: no {suffixes} file there. Check the path of the source, and that it was fetched.")
    return files
