"""How every stage is called: named inputs and outputs, and one JSON string of settings."""

import argparse
import json
import sys
from collections.abc import Callable
from typing import NoReturn


class StageError(Exception):
    """Something a user can mend: the message names the cause and the cure, and is shown without a traceback."""


def parser(description: str | None) -> argparse.ArgumentParser:
    """An argument parser with the option that every stage has."""
    command = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    command.add_argument("--settings", type=_json_object, default={}, help="JSON object of what shapes the result")
    return command


class Settings(dict):
    """What --settings holds. A key that a program needs and that is not there is a mistake of whoever called it by hand."""

    def __missing__(self, key: str):
        raise StageError(f"--settings has no '{key}', which this program needs; --help says what each setting is")


def _json_object(text: str) -> dict:
    try:
        value = json.loads(text, object_hook=Settings)
    except json.JSONDecodeError as error:
        raise argparse.ArgumentTypeError(f"not JSON: {error}") from error
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(f"a JSON object is needed, not {type(value).__name__}")
    return value


def run(main: Callable[[], None]) -> NoReturn:
    """Call `main()` and end the program; errors that a user can mend are printed as one line, others with a traceback."""
    from drift.tables import TableError

    try:
        main()
    except (StageError, TableError) as error:
        sys.exit(f"error: {error}")
    except Exception as error:
        # Python, polars and safetensors each raise an error of their own for it, with the system's words inside; torch.save
        # finds itself at another place in its file than it should be.
        full = ("No space left on device", "Disk quota exceeded", "PytorchStreamWriter failed writing", "unexpected pos ")
        if any(words in str(error) for words in full):
            sys.exit(f"error: the disk is full ({error}): free some space and run again; nothing half-written is kept")
        raise
    sys.exit(0)
