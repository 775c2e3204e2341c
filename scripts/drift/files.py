"""Files: which a folder has, what they can hold, written whole or not at all, and their hashes."""

import hashlib
import os
import re
import tempfile
from pathlib import Path

_SURROGATES = re.compile("[\ud800-\udfff]")


def visible(folder: Path) -> list[Path]:
    """The files in `folder` and below, by name, without hidden ones and those in hidden folders."""
    below = (file for file in folder.rglob("*") if not any(part.startswith(".") for part in file.relative_to(folder).parts))
    return sorted(file for file in below if file.is_file())


def storable(text: str) -> str:
    """`text` with U+FFFD for lone surrogates, which no UTF-8 file can hold."""
    return text if text.isascii() else _SURROGATES.sub("\ufffd", text)


class atomic_path:
    """`with atomic_path(path) as temporary:` write to `temporary`; it becomes `path` if the block
    ends well, else it goes."""

    def __init__(self, path: str | Path):
        self.path = Path(path)

    def __enter__(self) -> Path:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=self.path.parent, prefix=f".{self.path.name}.")
        os.close(handle)
        self.temporary = Path(name)
        return self.temporary

    def __exit__(self, kind, error, trace) -> None:
        if kind is not None:
            self.temporary.unlink(missing_ok=True)
            return
        with open(self.temporary, "rb") as file:
            os.fsync(file.fileno())
        share(self.temporary)  # mkstemp makes files private
        os.replace(self.temporary, self.path)


def share(file: Path) -> None:
    """Let others read a file as far as the user's umask does, like any other file the user
    writes."""
    umask = os.umask(0)
    os.umask(umask)
    os.chmod(file, 0o666 & ~umask)


def write_text(path: str | Path, text: str) -> None:
    """Write `text` as UTF-8, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def sha256(path: str | Path) -> str:
    """The SHA-256 of a file, as hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
