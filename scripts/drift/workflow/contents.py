"""What lies at a local path, as a hash: a log that grew or weights that were replaced make the
stages that read them run again, and a copy or a new time stamp does not.

Every byte counts. A file is read once for each of its states, told by its size, times and inode,
and its hash is remembered in the working folder: folders of models have many gigabytes, and every
Slurm job starts snakemake anew.
"""

import hashlib
import json
import os
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from drift.files import sha256, write_text

# Next to what snakemake remembers of every output: who deletes it reads the files once more.
MEMORY = Path(".snakemake/contents.json")
# From so many bytes on, reading takes long enough to be announced.
LARGE = 1 << 30


@cache
def contents(path: str) -> str:
    """A hash of the contents of the file, or of the names and contents of all files of the folder,
    at a path; of a path where nothing is, that. Hidden files do not count. Of PEFT's adapters the
    model that they are of counts, if it is here."""
    root = Path(path)
    named = {file.relative_to(root).as_posix(): file for file in _files(root)}
    hashes = _hashes(list(named.values()))
    parts = [[name, hashes[file]] for name, file in sorted(named.items())]
    if (base := _base_of(root)) is not None:
        parts.append(["base", contents(str(base))])
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _files(root: Path) -> Iterator[Path]:
    if root.is_file():
        yield root
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (file for name in names if not name.startswith(".") and (file := Path(folder, name)).is_file())


def _base_of(adapters: Path) -> Path | None:
    try:
        config = json.loads((adapters / "adapter_config.json").read_text(encoding="utf-8"))
        base = Path(config["base_model_name_or_path"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return base if base.is_dir() and base.resolve() != adapters.resolve() else None


def _hashes(files: list[Path]) -> dict[Path, str]:
    """The hash of every file, from memory where its state is known."""
    remembered = _read(MEMORY)
    # By the real path: a folder of links to one store is read once. The state is taken first: what
    # is written while a file is read changes it.
    states = {file: (os.path.realpath(file), _state(file)) for file in files}
    known = {file: remembered.get(where, [None, None]) for file, (where, _) in states.items()}
    hashes = {file: known[file][1] for file in files if known[file][0] == states[file][1]}
    new = [file for file in files if file not in hashes]
    size = sum(states[file][1][0] for file in new)
    if size >= LARGE:
        print(f"reading {size / 1e9:.1f} GB of local files once, to know when they change", file=sys.stderr)
    if new:
        hashes |= {file: sha256(file) for file in new}
        added = {states[file][0]: [states[file][1], hashes[file]] for file in new}
        # Again from the file: another process may have added to it. Should two write at once, one
        # of them reads its files again next time.
        write_text(MEMORY, json.dumps(_read(MEMORY) | added, indent=0))
    return hashes


def _state(file: Path) -> list[int]:
    """What changes when a file is written or replaced, without a look into it."""
    found = file.stat()
    # The time of the last change of the inode, too: a copy may keep the other time.
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino]


def _read(memory: Path) -> dict[str, list]:
    try:
        remembered = json.loads(memory.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return remembered if isinstance(remembered, dict) else {}
