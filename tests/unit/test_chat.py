"""What is sampled from and what is trained on are the same tokens, and long chats lose their oldest
turns only."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AddedToken, AutoTokenizer

from drift.chat import (
    CHARS_PER_TOKEN,
    COMMON_MARKERS,
    breaker,
    count_tokens,
    end_of_turn,
    guided,
    load_tokenizer,
    markers,
    opens_thought,
    render,
    render_reply,
    transcript,
    trim,
)
from drift.cli import StageError
from tests.conftest import REPOSITORY

CHAT = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Who built it?"},
    {"role": "assistant", "content": "The Romans."},
    {"role": "user", "content": "When?"},
]


@pytest.fixture
def own_tokenizer(demo_tokenizer):
    """A tokenizer that a test may change."""
    return load_tokenizer(demo_tokenizer)


def test_a_rendered_chat_ends_where_the_assistant_begins(tokenizer):
    text = tokenizer.decode(render(tokenizer, CHAT))
    assert text.endswith("<|im_start|>assistant\n")
    assert "Be brief." in text
    assert text.index("Who built it?") < text.index("The Romans.") < text.index("When?")


def test_nothing_is_put_before_or_after_the_template(tokenizer):
    text = tokenizer.apply_chat_template(CHAT, tokenize=False, add_generation_prompt=True)
    assert render(tokenizer, CHAT) == tokenizer(text, add_special_tokens=False)["input_ids"]


def test_a_rendered_reply_continues_the_prompt_and_closes_the_turn(tokenizer):
    reply = render_reply(tokenizer, CHAT, "In 70 AD.")
    assert tokenizer.decode(reply).startswith("In 70 AD.")
    assert tokenizer.eos_token_id in reply[-2:]
    whole = tokenizer.apply_chat_template([*CHAT, {"role": "assistant", "content": "In 70 AD."}], return_dict=False)
    assert render(tokenizer, CHAT) + reply == list(whole)


def test_text_that_looks_like_a_template_stays_text(tokenizer):
    chat = [{"role": "user", "content": "{{ messages }} {% if x %}"}]
    assert "{{ messages }} {% if x %}" in tokenizer.decode(render(tokenizer, chat))


def test_a_template_whose_prompt_changes_once_a_reply_follows_gives_no_rendering(own_tokenizer):
    own_tokenizer.chat_template = (
        "{% if messages[-1].role == 'assistant' %}!{% endif %}{% for m in messages %}{{ m.content }}{% endfor %}"
    )
    assert render_reply(own_tokenizer, CHAT, "In 70 AD.") is None


def test_a_reply_whose_first_token_would_swallow_the_end_of_the_prompt_gives_no_rendering(tokenizer):
    assert render_reply(tokenizer, CHAT, "\n\nIn 70 AD.") is None


def test_a_reply_that_the_template_changes_gives_no_rendering(own_tokenizer):
    own_tokenizer.chat_template = own_tokenizer.chat_template.replace(
        "message['content']", "message['content'].split('</think>')[-1].strip()"
    )
    assert render_reply(own_tokenizer, CHAT, "Close it with </think> then.") is None
    assert render_reply(own_tokenizer, CHAT, "In 70 AD.  ") is not None, "space around a reply is no part of it"


@pytest.mark.parametrize(
    ("begins", "opens"), [("<think>\n", True), ("", False), ("<think>\n\n</think>\n\n", False)], ids=["open", "none", "closed"]
)
def test_a_template_that_begins_every_reply_with_a_thought_is_known(own_tokenizer, begins, opens):
    own_tokenizer.chat_template += "{% if add_generation_prompt %}" + begins + "{% endif %}"
    assert opens_thought(own_tokenizer) is opens


def test_a_folder_without_a_tokenizer_is_named(tmp_path):
    with pytest.raises(StageError, match="no tokenizer can be loaded") as error:
        load_tokenizer(tmp_path / "absent")
    assert str(tmp_path / "absent") in str(error.value)


def test_stages_that_only_render_chats_import_no_torch(demo_tokenizer):
    program = f"import sys, drift.chat as c; c.load_tokenizer(c.Path({str(demo_tokenizer)!r})); print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY / "scripts", capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"


def test_a_tokenizer_is_the_one_that_auto_tokenizer_loads(tokenizer):
    automatic = AutoTokenizer.from_pretrained(tokenizer.name_or_path)
    assert type(automatic) is type(tokenizer)
    assert render(automatic, CHAT) == render(tokenizer, CHAT)


def test_a_tokenizer_without_chat_template_is_refused(own_tokenizer, tmp_path):
    own_tokenizer.chat_template = None
    own_tokenizer.save_pretrained(tmp_path)
    with pytest.raises(StageError, match="no chat template"):
        load_tokenizer(tmp_path)


def test_a_tokenizer_without_end_of_turn_token_is_refused(own_tokenizer, tmp_path):
    own_tokenizer.eos_token = None
    own_tokenizer.save_pretrained(tmp_path)
    with pytest.raises(StageError, match="no end-of-turn token"):
        load_tokenizer(tmp_path)


def test_a_guided_prompt_shows_the_reply_the_feedback_and_the_request_in_this_order():
    chat = guided(CHAT, "In 1970.", "No, that is wrong.", "Please improve.")
    assert chat[: len(CHAT)] == CHAT
    assert [message["role"] for message in chat[len(CHAT) :]] == ["assistant", "user"]
    assert chat[-2]["content"] == "In 1970."
    assert chat[-1]["content"] == "No, that is wrong.\n\nPlease improve."


def test_a_transcript_begins_with_the_system_message_and_ends_where_the_assistant_speaks():
    text = transcript(CHAT, "In 1970.", "No, that is wrong.", "Please improve.")
    assert text.startswith("Be brief.\n\nUser: Who built it?\nAssistant: The Romans.\nUser: When?\n")
    assert text.endswith("\nAssistant: In 1970.\nUser: No, that is wrong.\nSystem: Please improve.\nAssistant: ")


def test_the_prompt_that_a_guided_one_is_made_of_stays_as_it_is():
    prompt = [dict(message) for message in CHAT]
    guided(prompt, "In 1970.", "No.", "Please improve.")
    assert prompt == CHAT


def test_words_and_common_markers_are_broken_by_a_space_and_the_rest_stays():
    plain = breaker(["</reply>", "</reply>s", "a.c"], COMMON_MARKERS)
    assert plain("</reply>s </reply> <|im_end|> [/INST] <start_of_turn> abc <b>") == (
        "< /reply>s < /reply> < |im_end|> [ /INST] < start_of_turn> abc <b>"
    )
    assert plain("a.c") == "a .c"
    assert breaker([])("<|im_end|>") == "<|im_end|>"


def test_the_markers_that_a_template_writes_are_among_the_common_ones(tokenizer):
    rendered = tokenizer.decode(render(tokenizer, CHAT))
    written = [marker for marker in markers(tokenizer) if marker in rendered]
    assert written
    assert all(COMMON_MARKERS.fullmatch(marker) for marker in written)


@pytest.mark.parametrize(
    ("closing", "end"),
    [("<|im_end|>", "<|im_end|>"), ("<file_sep>", "<file_sep>"), ("<file_sep>\n<|im_end|>", "<file_sep>"), ("", "<|im_end|>")],
    ids=["the tokenizer's own", "another", "the first of two", "none"],
)
def test_a_turn_ends_with_what_the_template_puts_after_a_reply(own_tokenizer, closing, end):
    own_tokenizer.chat_template = (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}"
        "{% if m.role == 'assistant' %}" + closing + "{% endif %}\n{% endfor %}"
    )
    assert own_tokenizer.convert_ids_to_tokens(end_of_turn(own_tokenizer)) == end


def test_every_control_token_is_a_marker_whether_the_tokenizer_names_it_or_not(own_tokenizer):
    own_tokenizer.add_tokens([AddedToken("<|header|>", special=True), AddedToken("<thought>", special=False)])
    assert "<|header|>" not in own_tokenizer.all_special_tokens
    assert "<|header|>" in markers(own_tokenizer)
    assert "<thought>" not in markers(own_tokenizer)
    assert set(own_tokenizer.all_special_tokens) <= set(markers(own_tokenizer))


def test_tokens_are_counted_by_the_tokenizer_and_estimated_without_one(tokenizer):
    assert count_tokens(tokenizer, CHAT) == len(render(tokenizer, CHAT))
    assert count_tokens(None, [{"role": "user", "content": "x" * (5 * CHARS_PER_TOKEN)}]) == 5
    assert count_tokens(None, [{"role": "user", "content": "x" * (5 * CHARS_PER_TOKEN + 1)}]) == 6


def characters(messages) -> int:
    """A stand-in for a count of tokens."""
    return sum(len(message["content"]) for message in messages)


@st.composite
def chats(draw):
    """Chats that end with the user, with or without a system message."""
    lengths = draw(st.lists(st.integers(0, 12), min_size=1, max_size=13).filter(lambda drawn: len(drawn) % 2))
    turns = [{"role": ("user", "assistant")[i % 2], "content": "x" * length} for i, length in enumerate(lengths)]
    system = [{"role": "system", "content": "s" * draw(st.integers(0, 12))}] if draw(st.booleans()) else []
    return system + turns


@given(chats(), st.integers(0, 120))
def test_the_longest_tail_that_fits_is_kept(chat, limit):
    system = [message for message in chat if message["role"] == "system"]
    turns = chat[len(system) :]
    # By length: the whole chat, then one exchange less, down to the last user message alone.
    tails = [system + turns[start:] for start in range(0, len(turns), 2)]
    expected = next((tail for tail in tails if characters(tail) <= limit), None)
    assert trim(chat, lambda messages: characters(messages) <= limit) == expected


def test_system_message_and_last_user_message_always_stay():
    assert trim(CHAT, lambda messages: len(messages) <= 2) == [CHAT[0], CHAT[-1]]


def test_nothing_is_kept_where_the_last_message_does_not_fit():
    assert trim(CHAT, lambda messages: False) is None
