"""Write down the configuration of a run, defaults included, as YAML."""

from pathlib import Path

import yaml

from drift import cli
from drift.files import atomic_path


class Dumper(yaml.SafeDumper):
    """Writes settings as the plain mappings that they are."""


Dumper.add_representer(cli.Settings, yaml.SafeDumper.represent_dict)


def main() -> None:
    command = cli.parser(__doc__)
    command.add_argument("--config", required=True, type=Path, help="file to write")
    arguments = command.parse_args()
    with atomic_path(arguments.config) as temporary:
        temporary.write_text(yaml.dump(arguments.settings, Dumper=Dumper, sort_keys=False, allow_unicode=True))


if __name__ == "__main__":
    cli.run(main)
