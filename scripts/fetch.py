"""Fetch a model or raw conversations.

Reads:  an address (--address; see scripts/drift/downloads.py).
Writes: a folder with the files that it names (--folder).
"""

import _python  # noqa: F401 - before what may be missing
from pathlib import Path

from drift import cli
from drift.downloads import fetch, wait_for_others
from drift.files import visible


def main() -> None:
    command = cli.parser(__doc__)
    command.add_argument("--address", required=True, help="hf:..., hf-dataset:... or pypi:...")
    command.add_argument("--folder", required=True, type=Path, help="where the files go; made if it is not there")
    arguments = command.parse_args()
    waited = wait_for_others(arguments.folder)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    if not (waited and visible(arguments.folder)):
        fetch(arguments.address, arguments.folder)


if __name__ == "__main__":
    cli.run(main)
