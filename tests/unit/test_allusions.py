"""Replies that open with words on feedback which their prompt does not show."""

import pytest

from drift.data.allusions import alludes, without_allusion
from tests.builders.corpus import Corpus, drops

CODE = "```python\nprint(1)\n```\nIt prints the number one, and nothing else."
LIST = "1. Zest is the outer skin of citrus fruits.\n2. Pulp is what is left of them."
# An opening as logs have it, and what is to be left of the reply that follows it.
OPENINGS = [
    ("I apologize for the confusion. ", LIST, LIST),
    ("Oh, I apologize for the mistake. ", LIST, LIST),
    ("I apologize for that, here's the complete answer:\n\n", LIST, LIST),
    ("I apologize for the previous response. Here is the corrected information on fruits:\n", LIST, LIST),
    ("I apologize for the confusion, but ", "the capital of Italy is Rome, and has been since 1871.", None),
    ("You're right; I made a mistake in line 3. I apologize for the confusion. I will correct the code:\n", CODE, CODE),
    ("You are absolutely correct, and I apologize. I made a mistake there, and thank you for it.\n\n", LIST, LIST),
    ("My apologies for the confusion.\n", CODE, CODE),
    ("Certainly! Here is a revised version of the script that draws lines:\n", CODE, CODE),
    ("Thank you for your feedback! ", LIST, LIST),
    ("**Updated code:**\n", CODE, CODE),
    ("You\u2019re absolutely right. ", LIST, LIST),
    ("I\u2019m sorry for the \u201cmistake.\u201d I\u2019ll correct the lines:\n", CODE, CODE),
    ("I'm so sorry about that! ", "# Title\n* a first point of the list\n* a second point of the list", None),
]


@pytest.mark.parametrize(("opening", "reply", "left"), OPENINGS)
def test_words_on_the_feedback_are_recognised_and_stripped(opening, reply, left):
    assert alludes(opening + reply)
    assert without_allusion(opening + reply) == (left or reply[0].upper() + reply[1:])


@pytest.mark.parametrize(
    "text",
    [
        "Here is a list of cities.",
        "The answer is 4.",
        "Apologetics is a discipline.",
        "A better way is to walk.",
        "I'm sorry, but I cannot browse the internet.",
        "I'm sorry to hear that you are sad. What happened?",
        "I\u2019m sorry, but I can\u2019t browse the internet.",
        "Here is another one: I apologize, he said.",
    ],
)
def test_other_openings_stay_as_they_are(text):
    assert not alludes(text)
    assert without_allusion(text) == text


@pytest.mark.parametrize("text", ["I apologize for the confusion.", "I apologize for the confusion. Please try again."])
def test_of_an_apology_alone_nothing_is_left(text):
    assert without_allusion(text) is None


APOLOGY = "I apologize for the confusion. "


@pytest.fixture
def corpus(tmp_path):
    """Corrections, of which every other one opens with an apology, and one is nothing else."""
    corpus = Corpus(tmp_path)
    for number in range(20):
        corrected = f"{APOLOGY if number % 2 else ''}Answer {number} is that it was built in the year {1800 + number}."
        corpus.add(f"c{number}", f"question {number}", (f"r{number}", "no", "DSAT"), (corrected, "thanks", "SAT"))
    corpus.add("empty", "a question", ("r", "no", "DSAT"), (APOLOGY, "thanks", "SAT"))
    corpus.add("same", "same question", (LIST, "no", "DSAT"), (APOLOGY + LIST, "thanks", "SAT"))
    return corpus


REASON = "chosen reply opens with words on the feedback"


def test_corrections_are_kept_dropped_or_stripped_side_by_side(corpus):
    held_out = {"test_correction_conversations": 4}

    def openings(train: str, test: str) -> tuple[dict[str, tuple[int, int]], int]:
        """Of each side how many corrections allude as logged, and as they are; how many were
        dropped."""
        chosen, ledger = corpus.choose(allusions={"train": train, "test": test}, **held_out)
        rows = chosen["corrections"]
        sides = {side: rows.filter(split=side) for side in ("train", "test")}
        assert sides["test"].height == 4
        return {
            side: (part["alludes"].sum(), part["chosen"].str.starts_with(APOLOGY.strip()).sum()) for side, part in sides.items()
        }, drops(ledger, "corrections").get(REASON, 0)

    kept, dropped = openings("keep", "keep")
    assert sum(logged for logged, _ in kept.values()) == sum(now for _, now in kept.values()) == 12
    assert dropped == 0
    stripped, dropped = openings("strip", "strip")
    assert [now for _, now in stripped.values()] == [0, 0]
    assert sum(logged for logged, _ in stripped.values()) == 10
    assert dropped == 2, "of one next to nothing was left, of one the rejected reply"
    mixed, dropped = openings("keep", "drop")
    assert mixed == {"train": (12, 12), "test": (0, 0)}
    assert dropped == 0, "others were held out in their place"
    assert openings("drop", "drop")[1] == 12


def test_the_rest_of_a_stripped_correction_is_as_it_was(corpus):
    kept, _ = corpus.choose(allusions={"train": "keep", "test": "keep"})
    stripped, _ = corpus.choose(allusions={"train": "strip", "test": "keep"})
    before = dict(kept["corrections"].select("prompt_id", "chosen").rows())
    for prompt_id, chosen in stripped["corrections"].select("prompt_id", "chosen").rows():
        assert chosen == before[prompt_id].removeprefix(APOLOGY)
