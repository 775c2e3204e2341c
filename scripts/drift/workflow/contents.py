"""What lies at a local path, as a hash: a log that grew or weights that were replaced make the
stages that read them run again, and a copy or a new time stamp does not.

Of a large file blocks are read, evenly spread: folders of models have many gigabytes, and every
Slurm job starts snakemake anew. Its size counts, its first block and its last: what is added to a
log, cut off or written over at length is seen; a few bytes that are exchanged for as many others
may not be.
"""

import hashlib
from functools import cache
from pathlib import Path

_BLOCK, _BLOCKS = 2**16, 64


@cache
def contents(path: str) -> str:
    """A hash of the names, sizes and contents of the file, or of all files of the folder, at a
    path; of a path where nothing is, that."""
    root = Path(path)
    files = sorted(file for file in root.rglob("*") if file.is_file()) if root.is_dir() else [root]
    digest = hashlib.blake2b(digest_size=8)
    for file in files:
        digest.update(f"{file.relative_to(root).as_posix()}\0".encode())
        if file.is_file():
            _add(file, digest)
    return digest.hexdigest()


def _add(file: Path, digest) -> None:
    size = file.stat().st_size
    digest.update(f"{size}\0".encode())
    with file.open("rb") as opened:
        if size <= _BLOCK * _BLOCKS:
            digest.update(opened.read())
            return
        for number in range(_BLOCKS):
            opened.seek((size - _BLOCK) * number // (_BLOCKS - 1))
            digest.update(opened.read(_BLOCK))
