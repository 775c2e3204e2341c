"""The rules of the workflow as text: what tests read of them without planning a run."""

import re

from tests.conftest import REPOSITORY

FILES = sorted((REPOSITORY / "rules").glob("*.smk"))
_RULE = re.compile(r"^(?:rule (\w+)|use rule \w+ as (\w+) with):\n((?:[ \t].*\n|\n)+)", re.MULTILINE)


def rule_blocks() -> dict[str, str]:
    """The text of every rule of rules/*.smk, by name: from its first line to the next line that is
    not indented."""
    return {match[1] or match[2]: match[0] for path in FILES for match in _RULE.finditer(path.read_text())}


BLOCKS = rule_blocks()
# The rule that each `use rule` derives its own from.
PARENTS = {rule: match[1] for rule, text in BLOCKS.items() if (match := re.match(r"use rule (\w+) as", text))}


def has(rule: str, directive: str) -> bool:
    """Whether a rule has a directive, its own or its parent's."""
    own = re.search(rf"^    {directive}:", BLOCKS[rule], re.MULTILINE)
    return bool(own) or (rule in PARENTS and has(PARENTS[rule], directive))


def directive(rule: str, name: str) -> str:
    """The text of a rule's directive: its own, else its parent's, else empty."""
    if own := re.search(rf"^    {name}:(.*\n(?:     .*\n|\n)*)", BLOCKS[rule], re.MULTILINE):
        return own[1]
    return directive(PARENTS[rule], name) if rule in PARENTS else ""


def is_light(rule: str) -> bool:
    """Whether a rule is of a light stage."""
    return "light=1" in directive(rule, "resources")


LIGHT = {rule for rule in BLOCKS if is_light(rule)}


def program_of(rule: str) -> str | None:
    """The program whose code a rule carries, or the rule that it derives from; None where it has
    none."""
    if program := re.search(r'code\("(\w+)"', BLOCKS[rule]):
        return program[1]
    return program_of(PARENTS[rule]) if rule in PARENTS else None
