"""Replies under one limit of tokens, as they are trained on: whole, or cut short, on both sides of
a pair alike. And what makes a prompt with such replies unfit for training."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from drift.chat import render, whole_characters, without_end
from drift.cli import StageError

# Why replies, or their prompt, are not trained on.
SHARED = "the template does not put the reply after the prompt as it is"
OVER = "reply longer than max_tokens"
LEAKED = "improve instruction in the prompt"
LONG = "longer than max_length"
UNSAID = "the user said nothing of it"


@dataclass(frozen=True)
class TrainedReply:
    """A reply as it is trained on."""

    text: str
    token_ids: list[int]
    # A prefix, which does not end its turn: what comes after it is nothing that the policy is
    # taught.
    cut: bool


def trained_replies(
    texts: Mapping[str, str],
    finish: Mapping[str, str | None],
    render: Callable[[str], list[int] | None],
    tokenizer,
    end: int,
    max_tokens: int,
) -> dict[str, TrainedReply | None]:
    """The replies to a prompt, both of a pair or a single one, by side; None where one does not
    join its prompt.

    A sampled reply ends within the limit where the engine says so (its `finish`, as in
    Completions), a logged one (None) where its tokens and its end of turn are at most `max_tokens`.
    Replies that do are whole. Those that do not are prefixes of one length, the longest that both
    have below the limit, so that no side is shorter for the limit alone. Its token_ids are empty
    where there is no such prefix.

    `end` is the token that ends a turn (drift.chat.end_of_turn). `render` gives the token ids of a
    text as the reply to the prompt (drift.chat.render_reply). The
    text of a prefix is one that renders to its token ids, so that the trainer finds them by itself.
    """
    written = {side: whole_characters(text) if finish[side] == "length" else text for side, text in texts.items()}
    rendered = {side: render(text) for side, text in written.items()}
    whole = {side: TrainedReply(written[side], ids, cut=False) if ids else None for side, ids in rendered.items()}
    bodies = {side: without_end(ids, end) for side, ids in rendered.items() if ids}
    cut = {
        side: body
        for side, body in bodies.items()
        if finish[side] == "length" or (finish[side] is None and len(body) >= max_tokens)
    }
    if not cut:
        return whole

    def prefix(body: list[int], length: int) -> TrainedReply | None:
        text = tokenizer.decode(body[:length], clean_up_tokenization_spaces=False)
        ids = render(text)
        stable = ids is not None and without_end(ids, end) == body[:length]
        return TrainedReply(text, body[:length], cut=True) if stable else None

    for length in range(min(max_tokens, *map(len, cut.values())), 0, -1):
        prefixes = {side: prefix(body, length) for side, body in cut.items()}
        if all(prefixes.values()):
            return whole | prefixes
    return whole | dict.fromkeys(cut, TrainedReply("", [], cut=True))


def reply_fault(
    texts: Mapping[str, str], trained: Mapping[str, TrainedReply | None], *, drop_cut: bool
) -> tuple[str, str] | None:
    """Why `trained_replies` of `texts` are unfit, SHARED or OVER, with what shows it; None where
    they are not."""
    for side, reply in trained.items():
        if reply is None:
            return SHARED, texts[side][:20]
    for side, reply in trained.items():
        if not reply.token_ids or (reply.cut and drop_cut):
            return OVER, f"{side}, {len(texts[side])} characters"
    return None


def prompt_fault(
    prompt: Mapping, trained: Mapping[str, TrainedReply], instruction: str, max_length: int
) -> tuple[str, str] | None:
    """Why a row of Prompts is unfit with these replies, LEAKED or LONG, with what shows it."""
    if any(instruction in message["content"] for message in prompt["prompt"]):
        return LEAKED, instruction
    longest = len(prompt["prompt_token_ids"]) + max(len(reply.token_ids) for reply in trained.values())
    return (LONG, f"{longest} tokens") if longest > max_length else None


def check_rendering(prompt: Mapping, tokenizer) -> None:
    """Raise StageError where a row of Prompts renders to other tokens than it was fitted with."""
    if render(tokenizer, prompt["prompt"]) != prompt["prompt_token_ids"]:
        raise StageError(
            f"prompt {prompt['prompt_id']} renders to other tokens than it was fitted with: the chat template "
            "or the tokenizer changed since; rerun the rule prompts"
        )
