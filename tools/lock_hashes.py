"""Write the hashes of all files of the locked versions into locks, so that pip installs nothing
else. Changes no version.

    python tools/lock_hashes.py --uv .venv/uv/bin/uv envs/*.lock

They are those of PyPI. `make hashes` calls it, and `make locks` at its end.
"""

import argparse
import re
import subprocess
from pathlib import Path

_PIN = re.compile(r"^(?P<pin>[\w.-]+==[^\s\\]+)(?: \\\n(?:    --hash=.*\n?)+)?", re.MULTILINE)


def pins(lock: str) -> list[str]:
    """The NAME==VERSION of a lock."""
    return [match["pin"] for match in _PIN.finditer(lock)]


def with_hashes(lock: str, hashed: str) -> str:
    """A lock, with or without hashes, with those of `hashed`, which has the same pins. Its comments
    stay."""
    blocks = {match["pin"]: match[0].rstrip("\n") for match in _PIN.finditer(hashed)}
    return _PIN.sub(lambda match: blocks[match["pin"]] + ("\n" if match[0].endswith("\n") else ""), lock)


def main() -> None:
    command = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    command.add_argument("--uv", required=True, type=Path, help="the program that asks the index")
    command.add_argument("locks", nargs="+", type=Path, help="files to write again")
    arguments = command.parse_args()
    asking = [
        arguments.uv,
        "pip",
        "compile",
        "--quiet",
        "--python-version",
        "3.11",
        "--no-deps",
        "--no-annotate",
        "--no-header",
    ]
    for path in arguments.locks:
        lock = path.read_text()
        done = subprocess.run(
            [*asking, "--generate-hashes", "-"], input="\n".join(pins(lock)), capture_output=True, text=True, check=True
        )
        path.write_text(with_hashes(lock, done.stdout))


if __name__ == "__main__":
    main()
