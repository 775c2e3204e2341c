"""Chat templates of other models: what they refuse, change, add or ask for is known before anything
is sampled."""

import re
from pathlib import Path

import pytest

import prompts
import register
from drift.chat import (
    TODAY,
    ChatRefusedError,
    keeps_texts,
    load_tokenizer,
    opens_thought,
    reads_clock,
    render,
    render_reply,
    untrainable,
    write_template,
)
from drift.cli import StageError
from tests.builders import chat_templates

ASKED = [{"role": "user", "content": "Which river?"}]
SYSTEM = [{"role": "system", "content": "Be brief."}, *ASKED]
TURNS = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
BEGINS = "<|im_start|>assistant\n"
ADDS = "{% if add_generation_prompt %}" + BEGINS + "{% endif %}"
CHATML = TURNS + ADDS
NO_SYSTEM = "{% if messages[0].role == 'system' %}{{ raise_exception('no system turn') }}{% endif %}" + CHATML
ALTERNATE = (
    "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('alternate') }}{% endif %}"
    "{% endfor %}" + CHATML
)
LAST_TURN = (
    "{% for m in messages %}{% if m.role != 'system' %}[INST]{% if loop.last and messages[0].role == 'system' %}"
    "{{ messages[0].content }}{% endif %}{{ m.content }}[/INST]{% endif %}{% endfor %}"
)
NEVER = (
    "{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content }}[/INST]{% else %} {{ m.content }}<|im_end|>"
    "{% endif %}{% endfor %}"
)
NOT_AFTER = TURNS.replace("{{ m.content }}", "{{ m.content.split('</think>')[-1] }}") + ADDS


@pytest.fixture(scope="module")
def bytewise():
    """A tokenizer with a token for every byte and ChatML's control tokens."""
    return chat_templates.bytewise("<|im_end|>", ("<|im_start|>",))


@pytest.fixture
def written(bytewise, tmp_path):
    """A function that writes the tokenizer with a chat template to a folder."""

    def write(template: str) -> Path:
        bytewise.chat_template = template
        bytewise.save_pretrained(tmp_path / "policy")
        return tmp_path / "policy"

    return write


def test_a_conversation_that_the_template_refuses_is_told_from_others(written):
    tokenizer = load_tokenizer(written(NO_SYSTEM))
    with pytest.raises(ChatRefusedError, match=r"policy: the chat template refuses a conversation of system, user \(no system"):
        render(tokenizer, SYSTEM)
    rows = [{"prompt": prompt, "chosen": None, "rejected": "The Nile."} for prompt in (ASKED, SYSTEM)]
    assert [prompts.is_taken(row, tokenizer) for row in rows] == [True, False]


@pytest.mark.parametrize(
    "template",
    ["{{ raise_exception('never') }}", "{{ messages[0].absent.more }}", "{{ messages[0].content + 1 }}"],
    ids=["raises", "undefined", "a type"],
)
def test_a_template_that_renders_no_chat_at_all_is_refused(written, template):
    with pytest.raises(StageError, match="the chat template refuses a conversation of user, assistant, user"):
        load_tokenizer(written(template))


@pytest.mark.parametrize("tag", ["<think>", "<think>\n", "<thinking>\n\n", "[THINK]", "<|thought|>\n", "<reasoning>"])
def test_a_template_that_opens_a_thought_is_refused_whatever_its_tag(written, tag):
    with pytest.raises(StageError, match="ends every prompt with the beginning of a thought"):
        load_tokenizer(written(CHATML.replace(BEGINS, BEGINS + tag)))


@pytest.mark.parametrize("ends", ["", "<think>\n\n</think>\n\n", "<b>"])
def test_a_thought_that_is_closed_opens_none(written, ends):
    tokenizer = load_tokenizer(written(CHATML.replace(BEGINS, BEGINS + ends)))
    assert not opens_thought(tokenizer)


@pytest.mark.parametrize(
    "asks",
    [
        "{{ strftime_now('%d %B %Y') }}",
        "{% set now = strftime_now('%Y-%m-%d') %}{% set parts = now.split('-') %}{{ parts | join('/') }}",
        "{% macro day() %}{{ strftime_now('%A %H:%M:%S') }}{% endmacro %}{% if strftime_now is defined %}{{ day() }}{% endif %}",
    ],
)
def test_a_template_that_asks_for_the_date_gets_the_same_one_on_every_day(written, monkeypatch, asks):
    monkeypatch.setattr("transformers.utils.chat_template_utils.datetime", None)  # whoever asks the clock fails
    tokenizer = load_tokenizer(written(asks + CHATML))
    assert reads_clock(tokenizer)
    text = tokenizer.decode(render(tokenizer, ASKED))
    assert re.match(rf"{TODAY:%d %B %Y}|{TODAY:%Y/%m/%d}|{TODAY:%A} 00:00:00", text), text
    tokenizer.save_pretrained(tokenizer.name_or_path)
    again = load_tokenizer(Path(tokenizer.name_or_path))
    assert again.chat_template == tokenizer.chat_template, "a policy that is trained on has it already"
    assert not reads_clock(load_tokenizer(written(CHATML)))


@pytest.mark.parametrize(
    ("template", "fault"),
    [
        (CHATML, None),
        (NEVER, None),
        (ALTERNATE, None),
        (TURNS + "{% if not add_generation_prompt %}<|im_end|>{% else %}" + BEGINS + "{% endif %}", None),
        (TURNS + BEGINS, "begins another reply after every one"),
        ("{% if messages[-1].role == 'assistant' %}!{% endif %}" + CHATML, "differently once a reply follows"),
    ],
    ids=["on request", "never", "alternating", "an end of its own", "always", "another prompt"],
)
def test_a_template_by_which_no_reply_can_be_trained_on_says_why(written, template, fault):
    found = untrainable(load_tokenizer(written(template)))
    assert found is None if fault is None else fault in found


def test_a_system_message_that_only_the_last_turn_has_joins_no_reply(written):
    tokenizer = load_tokenizer(written(LAST_TURN))
    rows = [{"prompt": prompt, "chosen": None, "rejected": "The Nile."} for prompt in (ASKED, [*SYSTEM, *ASKED], SYSTEM)]
    assert [prompts.joins(row, tokenizer) for row in rows] == [True, False, False]


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("The Nile.  \n", True),
        ("<think>\nHm.\n</think>\n\nThe Nile.", True),
        ("Close it with </think> then.", False),
        ("<think>Hm.</think>Write </think> twice.", False),
    ],
)
def test_a_prompt_that_the_template_changes_is_known(written, said, kept):
    tokenizer = load_tokenizer(written(NOT_AFTER))
    assert keeps_texts(tokenizer, [*ASKED, {"role": "assistant", "content": said}, *ASKED]) is kept


def test_a_template_that_strips_space_loses_no_reply(written):
    tokenizer = load_tokenizer(written(CHATML.replace("m.content", "m.content | trim")))
    assert render_reply(tokenizer, ASKED, "The Nile. \n") is not None
    assert keeps_texts(tokenizer, [{"role": "user", "content": "  Which?\n"}])


@pytest.mark.parametrize(
    ("template", "finding"),
    [
        (CHATML, None),
        (NO_SYSTEM, r"prompts with a system message are left out, and the ledger counts them \(no system turn\)"),
        ("{{ strftime_now('%Y') }}" + CHATML, rf"asks for the date; it is {TODAY} in all stages"),
        (TURNS + BEGINS, "can judge, and cannot be trained: the chat template begins another reply"),
    ],
    ids=["none", "no system", "date", "another reply"],
)
def test_what_a_template_will_do_to_conversations_is_said_at_registration(written, template, finding):
    found = register.probe_template(written(template))
    assert found == [] if finding is None else re.search(finding, *found)


# After the manner of Qwen3: an empty thought before the last reply, and in prompts if asked for.
EMPTY = "<think>\\n\\n</think>\\n\\n"
OPTIONAL = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if loop.last and m.role == 'assistant' %}{{ '"
    + EMPTY
    + "' }}{% endif %}{{ m.content }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}"
    + BEGINS
    + "{% if enable_thinking is defined and enable_thinking is false %}{{ '"
    + EMPTY
    + "' }}{% endif %}{% endif %}"
)


def test_an_option_of_the_template_is_set_for_prompts_replies_and_trained_policies(written, tmp_path):
    folder = written(OPTIONAL)
    with_thought = load_tokenizer(folder)
    assert with_thought.decode(render(with_thought, ASKED)).endswith("assistant\n")
    write_template(folder, {"enable_thinking": False})
    without = load_tokenizer(folder)
    assert without.decode(render(without, ASKED)).endswith("assistant\n<think>\n\n</think>\n\n")
    assert without.decode(render_reply(without, ASKED, "The Nile.")) == "The Nile.<|im_end|>\n", "no thought is trained on"
    without.save_pretrained(tmp_path / "trained")
    trained = load_tokenizer(tmp_path / "trained")
    assert render(trained, ASKED) == render(without, ASKED)


@pytest.mark.parametrize(
    ("value", "shown"), [(True, "True"), (None, "None"), (3, "3"), ("a 'b' \"c\" {{ d }}", "a 'b' \"c\" {{ d }}")]
)
def test_the_value_of_an_option_is_what_was_written(written, value, shown):
    folder = written("{{ style }}" + CHATML)
    write_template(folder, {"style": value})
    tokenizer = load_tokenizer(folder)
    assert tokenizer.decode(render(tokenizer, ASKED)).startswith(f"{shown}<|im_start|>")


def test_the_models_own_template_stays_what_it_was(written, tmp_path):
    folder = written("{{ style }}" + CHATML)
    policy = tmp_path / "linked"
    policy.mkdir()
    register.link_model(folder, policy)
    before = (folder / "chat_template.jinja").read_text()
    write_template(policy, {"style": "brief"})
    assert (folder / "chat_template.jinja").read_text() == before


def test_an_option_that_the_template_does_not_have_is_refused(written):
    with pytest.raises(StageError, match="the chat template has no option enable_thinking; take it out"):
        write_template(written(CHATML), {"enable_thinking": False})
