"""Checks: what code alone can decide about a reply, such as "at most 30 words".

A new check is one module of this package, and one line in CHECKS of drift/plugins.py. The module
has what `Module` lists. Checks are named with their arguments in tasks:
{"name": "words", "arguments": {"at_most": 30}}.

Rules load these modules, so they import the standard library and pydantic alone.
"""

import json
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

from pydantic import ConfigDict, ValidationError, validate_call

from drift import plugins
from drift.config.base import unknown
from drift.names import DIRECTIONS


class Module(Protocol):
    """What a module of this package has. The check's arguments are keywords of each of its
    functions; a ValueError says what is wrong with them."""

    def passes(self, text: str, **arguments: Any) -> bool:
        """Whether a reply, which is not empty, keeps the check."""

    def direction(self, **arguments: Any) -> str:
        """One of DIRECTIONS."""

    def wish(self, **arguments: Any) -> str:
        """The check as a user asks for it: a sentence."""

    def complaint(self, **arguments: Any) -> str:
        """What a user says of a reply that fails it: a sentence."""


@dataclass(frozen=True)
class Check:
    """A check with its arguments, which `of` has looked at."""

    name: str
    arguments: str  # a JSON object with sorted keys
    direction: str  # one of DIRECTIONS

    @classmethod
    def of(cls, name: object, arguments: object = None, direction: object = None) -> "Check":
        """The check of that name. `direction`: where it is another than the check's own, as that of
        "exactly two paragraphs" for a model that writes one. ValueError says what is wrong."""
        if not isinstance(name, str) or name not in plugins.CHECKS:
            raise ValueError(f"checks: {unknown(str(name), plugins.CHECKS)}")
        if not isinstance(arguments, dict | None):
            raise ValueError(f"check {name}: arguments is not an object")
        if direction not in (None, *DIRECTIONS):
            raise ValueError(f"check {name}: direction is none of {', '.join(DIRECTIONS)}")
        return _checked(name, json.dumps(arguments or {}, sort_keys=True), direction)

    @property
    def label(self) -> str:
        """The check in one word, as metrics name it: words(at_most=30)."""
        given = ",".join(f"{key}={value}" for key, value in json.loads(self.arguments).items())
        return f"{self.name}({given})" if given else self.name

    def passes(self, text: str) -> bool:
        """Whether a reply keeps the check. An empty reply keeps none."""
        return bool(text.strip()) and self._call("passes", text)

    @property
    def wish(self) -> str:
        """The check as a user asks for it."""
        return self._call("wish")

    @property
    def complaint(self) -> str:
        """What a user says of a reply that fails it."""
        return self._call("complaint")

    def _call(self, function: str, *given: str) -> Any:
        return getattr(plugins.load(plugins.CHECKS, self.name), function)(*given, **json.loads(self.arguments))


@cache
def _checked(name: str, arguments: str, direction: str | None) -> Check:
    """A check whose arguments are what its module takes."""
    module = plugins.load(plugins.CHECKS, name)
    try:
        # The same arguments are keywords of all its functions: what one takes, all take.
        own = validate_call(module.direction, config=ConfigDict(strict=True))(**json.loads(arguments))
        check = Check(name, arguments, direction or own)
        check.passes("A reply.")
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        raise ValueError(f"check {name}: {faults}") from error
    except ValueError as error:
        raise ValueError(f"check {name}: {error}") from error
    return check
