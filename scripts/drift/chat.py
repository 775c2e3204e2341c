"""Chats as token ids: one rendering for sampling, training and judging, and the rule for chats that
do not fit.

The model's own chat template renders everything. What is sampled from and what is trained on come
from the same call, so a difference between the two cannot arise.
"""

import bisect
import itertools
import json
import math
import re
from collections.abc import Callable, Iterable
from datetime import date
from pathlib import Path

import jinja2

from drift.cli import StageError

Messages = list[dict[str, str]]

# Control tokens by their look (ChatML, Llama, Gemma, Mistral): for a model whose tokenizer is not
# here.
COMMON_MARKERS = re.compile(r"<\|\w+\|>|<(?:start|end)_of_turn>|\[/?INST\]")
# English has about four characters a token, code and other languages fewer. An estimate for a model
# whose tokenizer is not here: a chat that is too long all the same is refused by its endpoint.
CHARS_PER_TOKEN = 3
# Today, for chat templates that ask for the date: a run lasts over midnight, is repeated in another
# year, and its prompts must stay what they were. Any day will do that is the same for all.
TODAY = date(2025, 1, 1)
_CODES = ("Y", "y", "m", "-m", "d", "-d", "e", "B", "b", "A", "a", "j", "H", "I", "M", "S", "p", "F", "D", "x", "X", "c")
# A macro in place of the function by which templates read the clock.
_PINNED = (
    "{%- macro strftime_now(format) -%}{{ format"
    + "".join(f' | replace("%{code}", "{TODAY.strftime(f"%{code}")}")' for code in _CODES)
    + " }}{%- endmacro -%}"
)
# The tag of a thought at the end of a prompt: <think>, <thinking>, [THINK], ...
_OPENED = re.compile(r"[<\[]\|?\w*(?:think|thought|reason)\w*\|?[>\]]\s*\Z", re.IGNORECASE)
_THOUGHT = re.compile(r"\A\s*<think>.*?</think>", re.DOTALL)
_ASKED = {"role": "user", "content": "Which?"}


class ChatRefusedError(StageError):
    """A conversation that the chat template does not render."""


def load_tokenizer(folder: Path):
    """The tokenizer of a policy folder, for whose chat template it is always TODAY.

    Raises StageError where it has no chat template or no end-of-turn token, where the template
    refuses a plain chat, and where it opens a thought before every reply: no logged reply could
    follow such a prompt, and no judge could answer with a letter.
    """
    try:
        tokenizer = _tokenizer_class(folder).from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError) as error:
        raise StageError(f"{folder}: no tokenizer can be loaded ({error})") from error
    if not tokenizer.chat_template:
        raise StageError(
            f"{folder}: the tokenizer has no chat template; use an instruction-tuned model, or add chat_template.jinja"
        )
    if tokenizer.eos_token_id is None:
        raise StageError(f"{folder}: the tokenizer has no end-of-turn token; set eos_token in tokenizer_config.json")
    # Padding is masked, so that any token will do that the model can read: some have none, and some
    # fine-tuned models name one for which there is no embedding.
    if tokenizer.pad_token_id is None or tokenizer.pad_token_id >= _vocabulary(folder):
        tokenizer.pad_token = tokenizer.eos_token
    _pin_date(tokenizer)
    render(tokenizer, [_ASKED, {"role": "assistant", "content": "Yes"}, _ASKED])
    if opens_thought(tokenizer):
        raise StageError(
            f"{folder}: the chat template ends every prompt with the beginning of a thought (<think>), so that no reply can "
            "follow it without one; use the instruction-tuned model without reasoning, or a chat_template.jinja that stops "
            "where the assistant begins"
        )
    return tokenizer


def write_template(folder: Path, options: dict[str, bool | int | float | str | None]) -> None:
    """Set `options` in the chat template of a policy folder, for whoever renders with it.

    Raises StageError of an option that the template does not know, and where there are several
    templates to choose from.
    """
    template = _tokenizer_class(folder).from_pretrained(folder, local_files_only=True).chat_template
    if not isinstance(template, str):
        raise StageError(
            f"{folder}: chat_template_kwargs needs one chat template; put a chat_template.jinja into the model's folder"
        )
    for name, value in options.items():
        if not re.search(rf"\b{re.escape(name)}\b", template):
            raise StageError(f"{folder}: the chat template has no option {name}; take it out of chat_template_kwargs")
        literal = "none" if value is None else json.dumps(value)
        template = f"{{% set {name} = {literal} %}}{template}"
    file = folder / "chat_template.jinja"  # goes before a template in tokenizer_config.json
    file.unlink(missing_ok=True)  # a link to the model's own
    file.write_text(template, encoding="utf-8")


def reads_clock(tokenizer) -> bool:
    """Whether the chat template asks for the date, which is TODAY for it."""
    return any("strftime_now" in template for template in _templates(tokenizer).values())


def fix_date(tokenizer) -> None:
    """Let it always be TODAY for the chat template of a tokenizer, if it has one."""
    if tokenizer.chat_template:
        _pin_date(tokenizer)


def _pin_date(tokenizer) -> None:
    pinned = {
        name: template if "strftime_now" not in template or template.startswith(_PINNED) else _PINNED + template
        for name, template in _templates(tokenizer).items()
    }
    tokenizer.chat_template = pinned if isinstance(tokenizer.chat_template, dict) else pinned[""]


def _templates(tokenizer) -> dict[str, str]:
    """The chat templates by name; a lone one has none."""
    return tokenizer.chat_template if isinstance(tokenizer.chat_template, dict) else {"": tokenizer.chat_template}


def _vocabulary(folder: Path) -> float:
    """How many tokens the model in `folder` can read; no limit where it does not say."""
    config = _read_json(folder / "config.json")
    return config.get("vocab_size") or config.get("text_config", {}).get("vocab_size") or math.inf


def _read_json(file: Path) -> dict:
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}


def _tokenizer_class(folder: Path):
    """AutoTokenizer; or at once what it would come to, where the tokenizer names no class of its
    own: AutoTokenizer imports torch, which takes a stage that only renders chats three seconds."""
    named = _read_json(folder / "tokenizer_config.json").get("tokenizer_class")
    if named in ("PreTrainedTokenizerFast", "TokenizersBackend"):
        from transformers import PreTrainedTokenizerFast

        return PreTrainedTokenizerFast
    from transformers import AutoTokenizer

    return AutoTokenizer


def end_of_turn(tokenizer) -> int:
    """The token with which a model ends its turn: the first control token that the chat template
    puts after a reply. The tokenizer's end of a sequence may be another one (Gemma, Phi), and is
    taken where the template puts none."""
    control = {number for number, token in tokenizer.added_tokens_decoder.items() if token.special}
    control |= set(tokenizer.all_special_ids)
    # Two chats end alike as far as what the template puts after any reply.
    one, other = (
        _applied(tokenizer, [_ASKED, {"role": "assistant", "content": text}], return_dict=False) for text in ("Yes", "42")
    )
    return next((token for token in _common_end(one, other) if token in control), tokenizer.eos_token_id)


def _common_end(one: list[int], other: list[int]) -> list[int]:
    """The tokens that both end with."""
    alike = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(reversed(one), reversed(other), strict=False))
    return [token for token, _ in alike][::-1]


def stop_tokens(tokenizer, folder: Path) -> list[int]:
    """The tokens at which an engine stops a model: the end of a turn, the end of a sequence, and
    those that the model's generation_config.json names."""
    named = _read_json(folder / "generation_config.json").get("eos_token_id") or []
    return sorted({end_of_turn(tokenizer), tokenizer.eos_token_id, *([named] if isinstance(named, int) else named)})


def markers(tokenizer) -> list[str]:
    """The words that become control tokens wherever they stand in a text (<|im_end|>, ...): those
    that the tokenizer has a use for by name, and all others of its vocabulary."""
    special = {str(token) for token in tokenizer.added_tokens_decoder.values() if token.special}
    return sorted(word for word in special | set(tokenizer.all_special_tokens) if word.strip())


def breaker(words: Iterable[str], pattern: re.Pattern | None = None) -> Callable[[str], str]:
    """A function that breaks `words`, and what `pattern` matches, in others' text by a space after
    their first character: a marker or a tag that a user wrote stays readable and ends nothing."""
    # The longest first: of two words that begin alike, the longer one is the one that is meant.
    known = [re.escape(word) for word in sorted(set(words), key=lambda word: (-len(word), word))]
    broken = re.compile("|".join([*known, *([pattern.pattern] if pattern else [])]) or r"(?!)")
    return lambda text: broken.sub(lambda match: f"{match[0][0]} {match[0][1:]}", text)


def count_tokens(tokenizer, messages: Messages) -> int:
    """Tokens of `messages` as the model reads them; an estimate where `tokenizer` is None, which is
    a model behind an endpoint that renders chats by itself."""
    if tokenizer is None:
        return -(-sum(len(message["content"]) for message in messages) // CHARS_PER_TOKEN)
    return len(render(tokenizer, messages))


def render(tokenizer, messages: Messages) -> list[int]:
    """Token ids of `messages`, ready for the assistant's reply. Nothing may be added before or
    after them. Raises ChatRefusedError where the chat template does not render them."""
    return list(_applied(tokenizer, messages, add_generation_prompt=True, return_dict=False))


def rendered(tokenizer, messages: Messages) -> list[int]:
    """Token ids of `messages` as they are, with no reply to come. Raises ChatRefusedError as
    `render`."""
    return list(_applied(tokenizer, messages, return_dict=False))


def _applied(tokenizer, messages: Messages, **options):
    """Every chat is rendered here."""
    try:
        return tokenizer.apply_chat_template(messages, **options)
    except (jinja2.TemplateError, TypeError) as error:
        roles = ", ".join(message["role"] for message in messages)
        raise ChatRefusedError(
            f"{tokenizer.name_or_path}: the chat template refuses a conversation of {roles} ({error}); use a model whose "
            "template takes it, or put a chat_template.jinja that does into the model's folder"
        ) from error


def keeps_texts(tokenizer, messages: Messages) -> bool:
    """Whether the chat template leaves all texts as they are, but for the space around them and for
    the thought that a reply begins with."""
    text = _applied(tokenizer, messages, tokenize=False)
    contents = (_THOUGHT.sub("", message["content"]).strip() for message in messages)
    return all(content in text for content in contents)


def render_reply(tokenizer, messages: Messages, reply: str, prompt: list[int] | None = None) -> list[int] | None:
    """Token ids that training sees after the prompt: `reply` and whatever the template closes a
    turn with. `prompt`: the rendered messages, where they are known.

    None where the rendered prompt is not a prefix of prompt and reply, be it that a token spans the
    two (a reply that begins with a line break) or that the template renders a prompt differently
    once a reply follows: the model would be trained on another context than it is sampled from.
    None, too, where the template changes the reply by more than the space around it, as those of
    reasoning models do where a reply mentions the end of a thought.
    """
    prompt = render(tokenizer, messages) if prompt is None else prompt
    text = _applied(tokenizer, [*messages, {"role": "assistant", "content": reply}], tokenize=False)
    whole = list(tokenizer(text, add_special_tokens=False)["input_ids"])
    return whole[len(prompt) :] if whole[: len(prompt)] == prompt and reply.strip() in text else None


def opens_thought(tokenizer) -> bool:
    """Whether the chat template begins every reply with a thought."""
    return _OPENED.search(_applied(tokenizer, [_ASKED], add_generation_prompt=True, tokenize=False)) is not None


def untrainable(tokenizer) -> str | None:
    """Why no reply could be trained on as the chat template renders it; None where all is well."""
    prompt, reply = render(tokenizer, [_ASKED]), render_reply(tokenizer, [_ASKED], "Yes")
    if reply is None:
        return "the chat template renders a prompt differently once a reply follows, so that no reply can be trained on"
    # Prompt and whole chat end alike as far as the template begins another reply.
    asked_for = list(_applied(tokenizer, [_ASKED], return_dict=False)) != prompt
    if not asked_for and tokenizer.decode(_common_end(prompt, reply)).strip():
        return (
            "the chat template begins another reply after every one, which would be trained on; "
            "use a chat_template.jinja that does so for add_generation_prompt alone"
        )
    return None


def without_end(reply: list[int], end: int) -> list[int]:
    """The token ids of a rendered reply before the `end` of its turn, its last: what of a reply is
    trained on that was cut before it ended."""
    last = max((position for position, token in enumerate(reply) if token == end), default=len(reply))
    return reply[:last]


def whole_characters(cut: str) -> str:
    """The text of a reply that the token limit cut, without half a character at its end: the limit
    may fall between the bytes of one, which is then no text yet."""
    return cut.rstrip("\ufffd")


def guided(prompt: Messages, rejected: str, feedback: str, instruction: str) -> Messages:
    """The prompt that asks for a better reply: the conversation, the reply that disappointed, what
    the user said of it, and the request to improve. It is sampled from, never trained on."""
    return [
        *prompt,
        {"role": "assistant", "content": rejected},
        {"role": "user", "content": f"{feedback}\n\n{instruction}"},
    ]


# Where a model that was shown a transcript goes on to write the next turn.
TRANSCRIPT_STOPS = ["\nUser:", "\nAssistant:", "\nSystem:"]


def in_hindsight(prompt: Messages, feedback: str) -> Messages:
    """The prompt with what the user said of the reply to it, at the end of its last message: what
    the teacher of self-distillation is conditioned on. It is never trained on."""
    *earlier, last = prompt
    told = (
        "[In hindsight]\nThis is what the user answered to your reply, which was not good enough. Reply to the message above so "
        f"that there is no need for it.\nThe user's answer: {feedback}"
    )
    return [*earlier, last | {"content": f"{last['content']}\n\n{told}"}]


def transcript(prompt: Messages, rejected: str, feedback: str, instruction: str) -> str:
    """The same as plain text, after the manner of DRIFT's released code: the system message first,
    a line for each turn, the request as a System line, and the beginning of the assistant's."""
    turns = [*prompt, {"role": "assistant", "content": rejected}, {"role": "user", "content": feedback}]
    head = f"{turns.pop(0)['content']}\n\n" if turns[0]["role"] == "system" else ""
    lines = [f"{turn['role'].capitalize()}: {turn['content']}" for turn in turns]
    return head + "\n".join([*lines, f"System: {instruction}", "Assistant: "])


def render_guided(
    tokenizer, prompt: Messages, rejected: str, feedback: str, style: str, instruction: str
) -> tuple[Messages, list[int]]:
    """What a guided sample is drawn from: messages, and their token ids. style "chat" is `guided`
    in the model's template, "paper" is `transcript` as the tokenizer takes plain text."""
    if style == "chat":
        messages = guided(prompt, rejected, feedback, instruction)
        return messages, render(tokenizer, messages)
    text = transcript(prompt, rejected, feedback, instruction)
    return [{"role": "user", "content": text}], list(tokenizer(text)["input_ids"])


def trim(prompt: Messages, fits: Callable[[Messages], bool]) -> Messages | None:
    """The longest tail of `prompt` that `fits`; None where even the shortest does not.

    The oldest exchanges go first; the system message and the last user message always stay.
    """
    system = prompt[:1] if prompt[0]["role"] == "system" else []
    turns = prompt[len(system) :]
    # A tail starts with a user message, as templates want it.
    starts = [i for i, message in enumerate(turns) if message["role"] == "user"]
    tails = [system + turns[start:] for start in starts]
    first = bisect.bisect_left(range(len(tails)), True, key=lambda i: fits(tails[i]))
    return tails[first] if first < len(tails) else None
