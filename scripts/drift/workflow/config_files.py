"""What snakemake's reading of a configuration would lose: a key that stands twice, and the name of
a run that the command line gives as a number."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from drift.config import ConfigError


def refuse_repeated_keys(files: Iterable[Path | str]) -> None:
    """Raise ConfigError where a key stands twice in one section of a file: YAML forbids it, and its
    readers take the last one without a word."""
    faults = []
    for file in files:
        try:
            root = yaml.compose(Path(file).read_text(encoding="utf-8-sig"), Loader=yaml.SafeLoader)
        except (OSError, ValueError, yaml.YAMLError):
            continue  # snakemake says what is wrong with it
        faults += [
            f"  - {key}: stands twice in {file}, lines {one} and {two}; make one of both"
            for key, one, two in _repeated(root, "")
        ]
    if faults:
        raise ConfigError("the configuration cannot be used:\n" + "\n".join(faults))


def _repeated(node: Any, path: str) -> Iterator[tuple[str, int, int]]:
    """Every key that is repeated in `node` or below it, with the lines of both."""
    if isinstance(node, yaml.SequenceNode):
        for part in node.value:
            yield from _repeated(part, path)
    if not isinstance(node, yaml.MappingNode):
        return
    lines: dict[str, int] = {}
    for key, value in node.value:
        name, line = str(key.value), key.start_mark.line + 1
        place = f"{path}.{name}" if path else name
        if name in lines:
            yield place, lines[name], line
        lines[name] = line
        yield from _repeated(value, place)


def named(config: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """`config` with the run's name as text where the command line (`given`) has a whole number:
    snakemake takes off the quotes that make a text of it in a file."""
    run = given.get("run")
    return {**config, "run": str(run)} if type(run) is int else dict(config)
