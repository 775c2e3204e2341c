"""The table of docs/models.md: what the stages do with chat templates after the manner of model
families."""

import re
from pathlib import Path

import pytest

import prompts
import register
from drift import chat, cli
from drift.engines.thoughts import OPENS
from tests.builders.chat_templates import FAMILIES, Family, write_family
from tests.conftest import REPOSITORY

ASKED = [{"role": "user", "content": "Which river?"}]
SYSTEM = [{"role": "system", "content": "Be brief."}, *ASKED]
LONG = [*ASKED, {"role": "assistant", "content": "The Nile."}, {"role": "user", "content": "And then?"}]
THOUGHT = "<think>\nHm.\n</think>\n\nThe Nile."


def row(family: Family, folder: Path) -> list[str]:
    """What becomes of a system prompt, the date and thoughts, what ends a turn, and whether replies
    can be sampled and trained on."""
    write_family(family, folder)
    if family.options:
        chat.write_template(folder, dict(family.options))
    try:
        tokenizer = chat.load_tokenizer(folder)
    except cli.StageError as error:
        refused = "begins every reply with one" if "beginning of a thought" in str(error) else str(error)
        return ["", "", f"refused: {refused}", "", "no"]
    assert not register.untrainable(tokenizer)
    return [
        system_prompt(tokenizer),
        str(chat.TODAY) if chat.reads_clock(tokenizer) else "not asked for",
        thoughts(tokenizer),
        f"`{tokenizer.decode(chat.end_of_turn(tokenizer))}`".replace("|", r"\|"),
        "yes",
    ]


def system_prompt(tokenizer) -> str:
    """What the template makes of one, in prompts of one exchange and of two."""
    if not prompts.is_taken({"prompt": SYSTEM, "chosen": None, "rejected": "No.", "feedback": None}, tokenizer):
        return "refused: the row is dropped"
    reply = {"chosen": None, "rejected": "No."}
    if not prompts.joins({"prompt": [*SYSTEM[:1], *LONG]} | reply, tokenizer):
        return "before the last message: the row is dropped"
    alone = tokenizer.decode(chat.render(tokenizer, ASKED))
    with_system = tokenizer.decode(chat.render(tokenizer, SYSTEM))
    assert "Be brief." in with_system
    if "user\nBe brief." in with_system:
        return "in the first message"
    return "kept; a default one without" if "system" in alone else "kept"


def thoughts(tokenizer) -> str:
    """Whether the template opens or closes them, and takes them out of earlier replies."""
    said = [*ASKED, {"role": "assistant", "content": THOUGHT}, *ASKED]
    taken_out = "Hm." not in tokenizer.decode(chat.render(tokenizer, said))
    empty = OPENS in tokenizer.decode(chat.render(tokenizer, ASKED))
    added = OPENS in tokenizer.decode(chat.render_reply(tokenizer, ASKED, "The Nile."))
    found = ["an empty one in every prompt"] * empty + ["an empty one before the reply that is trained on"] * added
    return "; ".join([*found, *["taken out of earlier replies"] * taken_out]) or "unknown to it"


def table(text: str) -> dict[str, list[str]]:
    """The rows of the page's table, by family."""
    lines = [re.split(r"(?<!\\)\|", line)[1:-1] for line in text.splitlines() if line.startswith("| ")]
    return {cells[0].strip(): [cell.strip() for cell in cells[1:]] for cells in lines[1:]}


@pytest.mark.parametrize("name", FAMILIES)
def test_the_page_says_what_becomes_of_a_familys_conversations(name, tmp_path):
    assert table((REPOSITORY / "docs/models.md").read_text())[name] == row(FAMILIES[name], tmp_path / "policy")


def test_the_page_has_every_family_and_no_other():
    assert set(table((REPOSITORY / "docs/models.md").read_text())) == set(FAMILIES)
