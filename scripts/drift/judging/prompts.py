"""Judging answers: the questions that a judge is asked, and what it is shown.

The conversation and the answers are others' text. They are put into the judge prompt in one pass, so braces in them stay text;
whatever in them would end the judge's turn, or a part of the prompt, is broken by a space.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from drift.chat import Messages, trim
from drift.cli import StageError
from drift.seeds import completion_seed, is_switched
from drift.settings.judging import Protocol

EMPTY = "(The reply is empty.)"
TOO_LONG = "the question does not fit the judge's context"

# Names under which a template may show each thing: ours, and those of the published WildBench and AlpacaEval prompts.
_ALIASES = {
    "query": ("user_query", "instruction"),
    "reply": ("model_output",),
    "reply_a": ("candidate_A", "output_1"),
    "reply_b": ("candidate_B", "output_2"),
}
_PLACEHOLDER = re.compile(r"\{\$?(\w+)\}")
_TURN = re.compile(r"<\|im_start\|>(\w+)\n(.*?)<\|im_end\|>", re.DOTALL)
_TAG = re.compile(r"<[/|]?\w+\|?>")
# Where the judge's tokenizer is not here, control tokens are known by their look.
MARKER = re.compile(r"<\|\w+\|>|<(?:start|end)_of_turn>|\[/?INST\]")


# ------------------------------------------------------------------------------------------------------------ questions


@dataclass(frozen=True)
class Question:
    """One thing to ask of a judge about one answer of a policy."""

    request_id: str
    prompt_id: str
    sample: int
    kind: str  # pairwise or score
    opponent: str | None
    order: str | None
    vote: int
    answer: str
    other: str | None  # the opponent's answer

    @property
    def same(self) -> bool:
        """Whether both answers are the same text: a draw that nobody needs to judge."""
        return self.answer == self.other


def questions(row: dict[str, Any], protocol: Protocol, seed: int) -> Iterator[Question]:
    """All questions about an answer; none where there is no other answer to compare it with.

    row: a row of Responses with the columns of its task. White space around an answer does not count
    for its quality, so it is not shown.
    """
    prompt_id, sample, answer = row["prompt_id"], row["sample"], row["response"].strip()
    if protocol.pairwise:
        for opponent, other in opponents(row).items():
            for order in orders(row, protocol.order, seed):
                for vote in range(protocol.votes):
                    name = f"{prompt_id}#pairwise-{order}-{opponent}-{sample}.{vote}"
                    yield Question(name, prompt_id, sample, "pairwise", opponent, order, vote, answer, other.strip())
    else:
        for vote in range(protocol.votes):
            name = f"{prompt_id}#score-{sample}.{vote}"
            yield Question(name, prompt_id, sample, "score", None, None, vote, answer, None)


def opponents(row: dict[str, Any]) -> dict[str, str]:
    """The answers to compare a task's answer with, by who gave them."""
    baseline = {} if row["baseline"] is None else {"baseline": row["baseline"]}
    return baseline | {reference["model"]: reference["response"] for reference in row["references"] or []}


def orders(row: dict[str, Any], order: str, seed: int) -> tuple[str, ...]:
    """The orders of presentation of a task's answers; AB: the policy's first. The same for every policy and opponent."""
    if order == "both":
        return "AB", "BA"
    if order == "alpacaeval":
        first = is_switched(row["prompt"][-1]["content"])
    else:
        first = completion_seed(seed, "order", row["prompt_id"]) % 2 == 0
    return ("AB",) if first else ("BA",)


# --------------------------------------------------------------------------------------------------------- judge prompts


def read_template(text: str, protocol: Protocol, source: str) -> Messages:
    """A judge prompt as chat messages: one user message, or several messages where it is written in
    ChatML, as AlpacaEval's are.

    source: its file, for the message. Raises StageError where it does not show what is to be judged.
    """
    named = set(_PLACEHOLDER.findall(text))
    for shown in ("reply_a", "reply_b") if protocol.pairwise else ("reply",):
        if not named & {shown, *_ALIASES[shown]}:
            raise StageError(
                f"{source}: a judge prompt for verdict {protocol.verdict} has to show {{{shown}}}; "
                "scripts/templates/judge-*.txt are examples"
            )
    turns = [{"role": role, "content": content.strip()} for role, content in _TURN.findall(text)]
    return turns or [{"role": "user", "content": text.strip()}]


def fill(template: Messages, values: dict[str, str]) -> Messages:
    """`template` with each {name}, or {$name}, of `values` replaced; values are not looked into, and other braces stay."""
    named = values | {alias: values[name] for name, aliases in _ALIASES.items() if name in values for alias in aliases}

    def filled(text: str) -> str:
        return _PLACEHOLDER.sub(lambda match: named.get(match[1], match[0]), text)

    return [{"role": turn["role"], "content": filled(turn["content"])} for turn in template]


def breaker(template: Messages, letters: tuple[str, str], markers: list[str] | None) -> Callable[[str], str]:
    """A function that breaks, in others' text, chat markers of the judge and tags of the judge prompt, by a space each.

    `markers` None: the judge's are not known, and those of common chat formats are broken.
    """
    shown = fill(template, dict(zip("ab", letters, strict=True)))
    words = {tag for turn in shown for tag in _TAG.findall(turn["content"])} | set(markers or ())
    # The longest first: of two words that begin alike, the longer one is the one that stands there.
    known = [re.escape(word) for word in sorted(words, key=lambda word: (-len(word), word))]
    pattern = re.compile("|".join([*known, *([] if markers is not None else [MARKER.pattern])]) or r"(?!)")
    return lambda text: pattern.sub(lambda match: f"{match[0][0]} {match[0][1:]}", text)


def chat(
    template: Messages, question: Question, prompt: Messages, checklist: list[str] | None, letters: tuple[str, str]
) -> Messages:
    """The judge's chat for a question about an answer to `prompt`. All texts have gone through a `breaker`."""
    said = [f"{message['role'].upper()}: {message['content']}" for message in prompt]
    values = {
        "conversation": "\n\n".join(said),
        "history": "\n\n".join(said[:-1]) or "(none)",
        "query": prompt[-1]["content"],
        "checklist": "\n".join(f"- {item}" for item in checklist or []) or "(none)",
    }
    shown = question.answer or EMPTY
    if question.kind == "pairwise":
        both = (shown, question.other or EMPTY) if question.order == "AB" else (question.other or EMPTY, shown)
        values |= dict(zip(("reply_a", "reply_b", "a", "b"), (*both, *letters), strict=True))
    else:
        values["reply"] = shown
    return fill(template, values)


def fitted(make: Callable[[Messages], Messages], prompt: Messages, fits: Callable[[Messages], bool]) -> Messages | None:
    """The judge's chat, made of the longest tail of `prompt` with which it fits; None where none does."""
    tail = trim(prompt, lambda shorter: fits(make(shorter)))
    return None if tail is None else make(tail)
