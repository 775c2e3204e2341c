"""Judging answers: the questions that a judge is asked, and what it is shown.

The conversation and the answers are others' text. They are put into the judge prompt in one pass,
so that braces in them stay text; whatever in them would end the judge's turn, or a part of the
prompt, is broken by a space.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from drift import chat
from drift.chat import Messages
from drift.cli import StageError
from drift.names import BASELINE
from drift.seeds import completion_seed, is_switched
from drift.settings.judging import Protocol

EMPTY = "(The reply is empty.)"
TOO_LONG = "the question does not fit the judge's context"

# Names under which a template may show each thing, besides ours: those of the published WildBench
# and AlpacaEval prompts.
_ALIASES = {
    "query": ("user_query", "instruction"),
    "reply": ("model_output",),
    "reply_a": ("candidate_A", "output_1"),
    "reply_b": ("candidate_B", "output_2"),
}
_PLACEHOLDER = re.compile(r"\{\$?(\w+)\}")
# A turn of a template in ChatML, and what may delimit a part of a template.
_TURN = re.compile(r"<\|im_start\|>(\w+)\n(.*?)<\|im_end\|>", re.DOTALL)
_TAG = re.compile(r"<[/|]?\w+\|?>")


# ---------------------------------------------------------------------------------------- questions


@dataclass(frozen=True)
class Question:
    """One question to a judge about one answer of a policy; the names are those of Judgments."""

    request_id: str
    prompt_id: str
    sample: int
    # pairwise or score
    kind: str
    # Of a pair: who gave the other answer, and the order of presentation (AB: the policy's first).
    opponent: str | None
    order: str | None
    vote: int
    # The policy's answer, and the opponent's.
    answer: str
    other: str | None

    @property
    def same(self) -> bool:
        """Whether both answers are the same text: a draw that nobody needs to judge."""
        return self.answer == self.other


def questions(row: dict[str, Any], protocol: Protocol, seed: int) -> Iterator[Question]:
    """All questions about an answer; none where there is no other answer to compare it with.

    row: a row of Responses with the columns of its task. White space around an answer does not
    count for its quality, so it is not shown.
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
    """The answers to compare an answer to a task with, by who gave them."""
    baseline = {} if row["baseline"] is None else {BASELINE: row["baseline"]}
    return baseline | {reference["model"]: reference["response"] for reference in row["references"] or []}


def orders(row: dict[str, Any], order: str, seed: int) -> tuple[str, ...]:
    """The orders in which answers to a task are shown, by Protocol.order; AB: the policy's first.

    They depend on the task alone: the same for every policy and opponent.
    """
    if order == "both":
        return "AB", "BA"
    if order == "alpacaeval":
        first = is_switched(row["prompt"][-1]["content"])
    else:
        first = completion_seed(seed, "order", row["prompt_id"]) % 2 == 0
    return ("AB",) if first else ("BA",)


# ------------------------------------------------------------------------------------ judge prompts


def read_template(text: str, protocol: Protocol, source: str) -> Messages:
    """A judge prompt as chat messages: one user message, or several messages where it is written in
    ChatML, as AlpacaEval's are.

    source: its file, for the message. Raises StageError where it does not show what is to be
    judged.
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
    """`template` with each {name}, or {$name}, of `values` replaced. Placeholders inside values are
    not replaced, and other braces stay."""
    named = values | {alias: values[name] for name, aliases in _ALIASES.items() if name in values for alias in aliases}

    def filled(text: str) -> str:
        return _PLACEHOLDER.sub(lambda match: named.get(match[1], match[0]), text)

    return [{"role": turn["role"], "content": filled(turn["content"])} for turn in template]


def breaker(template: Messages, letters: tuple[str, str], markers: list[str] | None) -> Callable[[str], str]:
    """A function that breaks, in others' text, the judge's chat markers and the tags of its prompt.

    markers: None where they are not known; then those of common chat formats are broken.
    """
    shown = fill(template, dict(zip("ab", letters, strict=True)))
    tags = {tag for turn in shown for tag in _TAG.findall(turn["content"])}
    return chat.breaker([*tags, *(markers or [])], chat.COMMON_MARKERS if markers is None else None)


def judge_chat(
    template: Messages,
    question: Question,
    prompt: Messages,
    checklist: list[str] | None,
    letters: tuple[str, str],
) -> Messages:
    """The judge's chat for a question about an answer to `prompt`. All texts have gone through a
    `breaker`."""
    turns = [f"{message['role'].upper()}: {message['content']}" for message in prompt]
    values = {
        "conversation": "\n\n".join(turns),
        "history": "\n\n".join(turns[:-1]) or "(none)",
        "query": prompt[-1]["content"],
        "checklist": "\n".join(f"- {item}" for item in checklist or []) or "(none)",
    }
    answer = question.answer or EMPTY
    if question.kind == "pairwise":
        other = question.other or EMPTY
        both = (answer, other) if question.order == "AB" else (other, answer)
        values |= dict(zip(("reply_a", "reply_b", "a", "b"), (*both, *letters), strict=True))
    else:
        values["reply"] = answer
    return fill(template, values)


def fitting_chat(
    template: Messages,
    question: Question,
    prompt: Messages,
    checklist: list[str] | None,
    letters: tuple[str, str],
    fits: Callable[[Messages], bool],
) -> Messages | None:
    """The judge's chat with the longest tail of `prompt` with which it fits; None where none
    does."""

    def shown(tail: Messages) -> Messages:
        return judge_chat(template, question, tail, checklist, letters)

    tail = chat.trim(prompt, lambda shorter: fits(shown(shorter)))
    return None if tail is None else shown(tail)
