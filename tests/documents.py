"""The pages of the documentation as tests read them: blocks, paragraphs, links."""

import re
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import REPOSITORY

PAGES = sorted([*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").glob("*.md")])

_TITLE = re.compile(r'title="(?P<title>[^"]*)"')


@dataclass(frozen=True)
class Block:
    """A fenced block."""

    language: str
    title: str
    text: str
    # The prose around it: the paragraph before, and the one after.
    before: str
    after: str


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order."""
    # Odd parts are blocks, with the info string on their first line; even ones are the prose
    # between.
    parts = re.split(r"^```", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    found = []
    for place in range(1, len(parts) - 1, 2):
        info, _, text = parts[place].partition("\n")
        title = _TITLE.search(info)
        found.append(
            Block(
                language=info.split(" ", 1)[0].strip(),
                title=title["title"] if title else "",
                text=text,
                before=_paragraphs(parts[place - 1])[-1],
                after=_paragraphs(parts[place + 1])[0],
            )
        )
    return found


def prose(page: Path) -> str:
    """A page without its fenced blocks."""
    return "".join(re.split(r"^```", page.read_text(encoding="utf-8"), flags=re.MULTILINE)[::2])


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def _paragraphs(text: str) -> list[str]:
    return [part for part in re.split(r"\n\s*\n", text) if part.strip()] or [""]
