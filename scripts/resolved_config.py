"""Write the configuration of a run, defaults included, as YAML.

Writes: the configuration (--config), which the report shows and reads.
"""

import _python  # noqa: F401 - before what may be missing
from pathlib import Path

import yaml

from drift import cli
from drift.config import Config
from drift.files import write_text


def main() -> None:
    command = cli.parser(__doc__, Config)
    command.add_argument("--config", required=True, type=Path, help="file to write")
    arguments = command.parse_args()
    values = arguments.settings.model_dump(mode="json")
    write_text(arguments.config, yaml.safe_dump(values, sort_keys=False, allow_unicode=True))


if __name__ == "__main__":
    cli.run(main)
