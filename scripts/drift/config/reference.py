"""The page docs/configuration.md: every key with its type, default and meaning.

The page is made from the JSON schema of the configuration, so it cannot say anything else than the
check of the configuration and than editors do. `make docs` writes it.
"""

import json
import textwrap
from collections.abc import Iterator

from drift.config.overrides import OVERRIDES

_INTRODUCTION = """\
# Configuration

This page lists every key of a run's configuration. `make docs` generates it from
`scripts/drift/config/`, so edit the descriptions there. `config.yaml` shows the keys in use: the
paper's run, less what is not safe.

Keys without a default must be given. `NAME` stands for a name of your choice: it becomes a folder
and a column of the tables. Numbers with an exponent need a dot and a signed exponent (`5.0e-7`),
because YAML 1.1 reads `5e-7` as text.

A name that the configuration does not know is an error, and the message names the nearest one.
Editors complete and check a file that begins with
`# yaml-language-server: $schema=config.schema.json`.
"""

_LIMITS = {
    "minimum": "≥",
    "exclusiveMinimum": ">",
    "maximum": "≤",
    "exclusiveMaximum": "<",
}


def page(schema: dict) -> str:
    """The Markdown page for the JSON `schema` of a configuration."""
    sections = [_INTRODUCTION, *_sections(schema, schema["$defs"], "")]
    return "\n".join(sections)


def _sections(section: dict, definitions: dict, path: str) -> Iterator[str]:
    """A heading and a table for `section`, then the same for every section below it."""
    heading = f"`{path}`" if path else "The top level"
    lines = [f"## {heading}", ""]
    if path and section.get("description"):
        # The first paragraph of a class's docstring.
        words = " ".join(section["description"].split("\n\n")[0].split())
        lines += [textwrap.fill(words, 100, break_long_words=False, break_on_hyphens=False), ""]
    lines += ["| key | type | default | meaning |", "|---|---|---|---|"]
    below = []
    for key, field in section["properties"].items():
        lines.append(_row(key, field, key in section.get("required", []), definitions))
        below += _inner(key, field, definitions)
    yield "\n".join(lines) + "\n"
    for name, inner in below:
        yield from _sections(inner, definitions, f"{path}.{name}" if path else name)


def _row(key: str, field: dict, required: bool, definitions: dict) -> str:
    meaning = field.get("description") or ""
    cells = [f"`{key}`", _type(field, definitions), _default(field, required, definitions), meaning]
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def _alternatives(field: dict) -> list[dict]:
    return field.get("anyOf", [field])


def _inner(key: str, field: dict, definitions: dict) -> Iterator[tuple[str, dict]]:
    """The sections that a key leads to: itself, or the rows of a table."""
    for section in _sections_of(field, definitions):
        yield key, section
    for part in _alternatives(field):
        rows = _rows(part)
        if "$ref" in rows:
            yield f"{key}.NAME", definitions[rows["$ref"].rpartition("/")[2]]


def _rows(part: dict) -> dict:
    """The schema of a table's rows; an empty one where `part` is no table."""
    rows = part.get("additionalProperties") or next(iter(part.get("patternProperties", {}).values()), {})
    return rows if isinstance(rows, dict) else {}


def _type(field: dict, definitions: dict) -> str:
    return " or ".join(dict.fromkeys(_one_type(part, definitions) for part in _alternatives(field)))


def _one_type(part: dict, definitions: dict) -> str:
    if "$ref" in part:
        target = definitions[part["$ref"].rpartition("/")[2]]
        return "section" if "properties" in target else _one_type(target, definitions)
    if "enum" in part or "const" in part:
        return ", ".join(f"`{value}`" for value in part.get("enum", [part.get("const")]))
    if part.get("type") == "array":
        return f"list of {_type(part.get('items', {}), definitions)}"
    if part.get("type") == "object":
        return f"table of {_type(_rows(part), definitions)}s" if _rows(part) else "table"
    name = {"string": "text", "integer": "integer", "number": "number", "boolean": "true or false"}
    limits = [
        f"{sign} {part[limit]:{',' if isinstance(part[limit], int) else 'g'}}"
        for limit, sign in _LIMITS.items()
        if limit in part
    ]
    return " ".join([name.get(part.get("type"), part.get("type", "any")), ", ".join(limits)]).strip()


def _default(field: dict, required: bool, definitions: dict) -> str:
    if required:
        return "required"
    default = field.get("default")
    if isinstance(default, dict) and any(_sections_of(field, definitions)):
        return "see below"
    if isinstance(default, dict) and default and all(isinstance(row, dict) for row in default.values()):
        return "rows " + ", ".join(f"`{name}`" for name in default)
    return f"`{json.dumps(default, ensure_ascii=False)}`"


def _sections_of(field: dict, definitions: dict) -> Iterator[dict]:
    """The sections that the field is, and that this page lists: overrides are described where the
    section is that they override."""
    for part in _alternatives(field):
        section = definitions[part["$ref"].rpartition("/")[2]] if "$ref" in part else {}
        if "properties" in section and OVERRIDES not in section:
            yield section
