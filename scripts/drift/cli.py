"""How every stage is called: named inputs and outputs, and one JSON string of settings."""

import argparse
import sys
import textwrap
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NoReturn, get_args

from pydantic import BaseModel, ValidationError


class StageError(Exception):
    """Something a user can fix: the message names the cause and the cure, and is shown without a
    traceback."""


def parser(description: str | None, settings: type[BaseModel] | None = None) -> argparse.ArgumentParser:
    """An argument parser; with --settings, and what they are in --help, where the stage has any."""
    command = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    if settings is not None:
        add_settings(command, "--settings", settings, "JSON object of what shapes the result")
    return command


def add_settings(command: argparse.ArgumentParser, option: str, settings: type[BaseModel], text: str) -> None:
    """Add an option that takes `settings` as a JSON object; --help lists its keys."""
    command.add_argument(option, required=True, type=partial(_parsed, settings, option), help=text)
    # A line a key, the keys of a section below it.
    listed = "\n".join([f"{option.removeprefix('--')}:", *_described(settings, 2)])
    command.epilog = f"{command.epilog}\n\n{listed}" if command.epilog else listed


def _described(settings: type[BaseModel], indent: int) -> Iterator[str]:
    for name, field in settings.model_fields.items():
        text = f"{' ' * indent}{name:<{24 - indent}} {field.description or ''}"
        yield from textwrap.wrap(text, 100, subsequent_indent=" " * 25, break_long_words=False)
        kinds = [field.annotation, *get_args(field.annotation)]
        for kind in kinds:
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from _described(kind, indent + 2)


def _parsed(settings: type[BaseModel], option: str, text: str) -> BaseModel:
    try:
        return settings.model_validate_json(text, strict=False)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc'])) or option}: {fault['msg']}" for fault in error.errors())
        raise argparse.ArgumentTypeError(f"{faults}; --help lists every key") from error


def named_path(text: str) -> tuple[str, Path]:
    """NAME=PATH of the command line, for `type=`; dict() of a list of them is what a program
    wants."""
    name, separator, path = text.partition("=")
    if not separator or not name or not path:
        raise argparse.ArgumentTypeError(f"{text}: NAME=PATH is needed")
    return name, Path(path)


def add_benchmarks(command: argparse.ArgumentParser, rows: str) -> None:
    """Give a program the option --benchmark: Tasks tables of which no `rows` may hold a prompt."""
    command.add_argument(
        "--benchmark",
        nargs="*",
        default=[],
        type=named_path,
        metavar="NAME=PATH",
        help=f"Tasks tables of which no {rows} may hold a prompt",
    )


def run(main: Callable[[], None]) -> NoReturn:
    """Call `main()` and end the program; errors that a user can fix are printed as one line, others
    with a traceback."""
    try:
        main()
    except StageError as error:
        sys.exit(f"error: {error}")
    except Exception as error:
        # Python, polars and safetensors each raise an error of their own for it, with the system's
        # words inside; torch.save finds itself at another place in its file than it should be.
        full = ("No space left on device", "Disk quota exceeded", "PytorchStreamWriter failed writing", "unexpected pos ")
        if any(words in str(error) for words in full):
            sys.exit(f"error: the disk is full ({error}): free some space and run again; nothing half-written is kept")
        raise
    sys.exit(0)
