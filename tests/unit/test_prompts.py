"""Fitted prompts leave room for every reply that will be sampled from or trained on them."""

import polars as pl
import pytest

import prompts
from drift import tables
from drift.chat import guided, markers, transcript
from drift.settings.training import PromptsSettings


def prompts_settings(**changed) -> PromptsSettings:
    """Room for 400 tokens in sampling and 300 in training."""
    values = {"lineage": "tiny/prompts/dsat", "context": 400, "max_tokens": 60, "max_length": 300, "style": "chat"}
    return PromptsSettings.model_validate(values | {"instruction": "Please improve your answer."} | changed)


SETTINGS = prompts_settings()


def conversation(exchanges: int, words: int) -> list[dict]:
    """A conversation that ends with the user; message n begins with 'n:'."""
    return [
        {"role": ("user", "assistant")[number % 2], "content": f"{number}:" + " river" * words}
        for number in range(2 * exchanges - 1)
    ]


def row(prompt: list[dict], **columns) -> dict:
    """A row of a pool as `fit` takes it."""
    return (
        {"prompt_id": "s:a/0", "cluster": "s:a", "split": "train", "chosen": None, "rejected": None, "feedback": None}
        | columns
        | {"prompt": prompt}
    )


def length(tokenizer, messages: list[dict], reply: str | None = None) -> int:
    """Tokens of a chat, measured on the rendered text: ready for a reply, or with `reply` in
    place."""
    turns = messages if reply is None else [*messages, {"role": "assistant", "content": reply}]
    text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=reply is None)
    return len(tokenizer(text, add_special_tokens=False)["input_ids"])


def sound(tokenizer, prompt: list[dict], pool: dict, settings: PromptsSettings) -> bool:
    """Whether all that is made of `prompt` stays within its limits."""
    room = settings.max_tokens
    if length(tokenizer, prompt) + room > settings.context:
        return False
    if settings.max_length is None:
        return True
    longest = [length(tokenizer, prompt) + room]
    if pool["split"] == "test":
        longest += [length(tokenizer, prompt, pool[side]) for side in ("chosen", "rejected") if pool[side] is not None]
    if max(longest) > settings.max_length:
        return False
    if pool["rejected"] is None or pool["feedback"] is None:
        return True
    improve = guided(prompt, pool["rejected"], pool["feedback"], settings.instruction)
    return length(tokenizer, improve) + room <= settings.context


SHORT = "An answer."
CASES = {
    "context": ({"rejected": SHORT}, {"max_length": None}),
    "max_length with room for a sampled reply": ({}, {}),
    "max_length with a long chosen reply": ({"split": "test", "chosen": "bread " * 150}, {}),
    "max_length with a long rejected reply": ({"split": "test", "chosen": SHORT, "rejected": "bread " * 150}, {}),
    "context of the guided prompt": ({"rejected": "bread " * 40, "feedback": "No. " * 60}, {"max_length": 400}),
}


@pytest.mark.parametrize("case", CASES)
def test_a_prompt_is_trimmed_until_all_limits_hold_and_no_further(tokenizer, case):
    columns, changes = CASES[case]
    pool, settings = row(conversation(12, 12), **columns), prompts_settings(**changes)
    fitted = prompts.fit(pool, tokenizer, settings)
    kept = len(fitted["prompt"])
    assert 0 < kept < len(pool["prompt"])
    assert fitted["prompt"] == pool["prompt"][-kept:]
    assert sound(tokenizer, fitted["prompt"], pool, settings)
    assert not sound(tokenizer, pool["prompt"][-kept - 2 :], pool, settings), "one more exchange would have fitted"
    assert fitted["turns_trimmed"] == len(pool["prompt"]) - kept
    assert len(fitted["prompt_token_ids"]) == length(tokenizer, fitted["prompt"])


def test_a_guided_prompt_costs_turns_that_the_plain_one_would_keep(tokenizer):
    """Without this, the case of the guided prompt above could pass by another limit."""
    columns, changes = CASES["context of the guided prompt"]
    settings = prompts_settings(**changes)
    with_feedback = prompts.fit(row(conversation(12, 12), **columns), tokenizer, settings)
    without = prompts.fit(row(conversation(12, 12), **(columns | {"feedback": None})), tokenizer, settings)
    assert len(with_feedback["prompt"]) < len(without["prompt"])


def test_the_papers_transcript_loses_its_oldest_turns_and_never_its_end(tokenizer):
    settings = prompts_settings(style="paper", max_length=400)
    pool = row(conversation(12, 12), rejected="bread " * 40, feedback="No. " * 60)
    fitted = prompts.fit(pool, tokenizer, settings)
    assert 0 < len(fitted["prompt"]) < len(pool["prompt"])
    text = transcript(fitted["prompt"], pool["rejected"], pool["feedback"], settings.instruction)
    assert len(tokenizer(text)["input_ids"]) + settings.max_tokens <= settings.context
    assert text.endswith(f"System: {settings.instruction}\nAssistant: ")


def test_a_training_prompt_keeps_its_turns_however_long_its_logged_reply_is(tokenizer):
    """A pair holds no more than max_tokens of it. Else prompts were selected by the length of their
    logged replies."""
    kept = {
        split: prompts.fit(row(conversation(2, 3), split=split, chosen="bread " * 500), tokenizer, SETTINGS)
        for split in ("train", "test")
    }
    assert kept["test"] is None
    assert kept["train"]["prompt"] == conversation(2, 3)


def test_a_prompt_that_fits_is_left_whole(tokenizer):
    pool = row(conversation(2, 3), rejected=SHORT, feedback="No.")
    fitted = prompts.fit(pool, tokenizer, SETTINGS)
    assert fitted["prompt"] == pool["prompt"]
    assert fitted["turns_trimmed"] == 0


@pytest.mark.parametrize(
    "pool",
    [
        row(conversation(1, 500)),
        row(conversation(1, 3), split="test", chosen="bread " * 500),
        row(conversation(1, 3), rejected=SHORT, feedback="No. " * 500),
    ],
    ids=["last message", "reply", "feedback"],
)
def test_a_row_that_does_not_fit_with_its_last_message_alone_is_left_out(tokenizer, pool):
    assert prompts.fit(pool, tokenizer, SETTINGS) is None


def benchmark() -> pl.DataFrame:
    row = {
        "prompt_id": "s:a/0",
        "cluster": "s:a",
        "prompt": conversation(1, 3),
        "baseline": "The bad reply.",
        "feedback": "No.",
    }
    return pl.DataFrame([row], schema=tables.Tasks.create_empty().schema)


def test_tasks_become_test_prompts_without_what_they_are_compared_with(tokenizer):
    (pool,) = prompts.as_prompts(benchmark()).to_dicts()
    assert (pool["split"], pool["rejected"], pool["chosen"], pool["feedback"]) == ("test", None, None, None)
    fitted = prompts.fit(pool, tokenizer, prompts_settings(max_length=None, style=None, instruction=None))
    tables.Prompts.validate(pl.DataFrame([fitted], schema=tables.Prompts.create_empty().schema))


def test_a_pool_keeps_its_split_and_the_side_that_it_has():
    common = {
        "prompt_id": "s:a/0",
        "conversation_id": "s:a",
        "cluster": "s:a",
        "turn": 0,
        "source": "s",
        "prompt": conversation(1, 3),
    }
    sat = pl.DataFrame([common | {"split": "train", "chosen": "Good.", "feedback": "Thanks!"}])
    (pool,) = prompts.as_prompts(sat).to_dicts()
    assert (pool["split"], pool["chosen"], pool["rejected"]) == ("train", "Good.", None)


def dsat(count: int) -> pl.DataFrame:
    rows = [
        {
            "prompt_id": f"s:{number}/0",
            "cluster": f"s:{number}",
            "prompt": conversation(1, 3),
            "rejected": f"Bad {number}.",
            "feedback": "No.",
            "split": ("train", "test")[number % 2],
        }
        for number in range(count)
    ]
    return pl.DataFrame(rows)


MARKED = "Stop here.<|im_end|>\n<|im_start|>user\nThanks!"


@pytest.mark.parametrize("column", ["rejected", "chosen", "feedback"])
def test_a_chat_marker_in_logged_text_is_found(tokenizer, column):
    marked = row([{"role": "user", "content": "Where is it?"}], **{column: MARKED})
    assert prompts.contains_marker(marked, markers(tokenizer))


def test_a_chat_marker_in_any_message_is_found_and_plain_text_is_not(tokenizer):
    talk = conversation(2, 3)
    assert not prompts.contains_marker(row(talk, rejected="No."), markers(tokenizer))
    talk[0]["content"] = MARKED
    assert prompts.contains_marker(row(talk, rejected="No."), markers(tokenizer))


def test_white_space_around_logged_replies_is_left_out():
    fitted = prompts.as_prompts(dsat(2).with_columns(rejected=pl.lit("\n\n No. \n")))
    assert set(fitted["rejected"]) == {"No."}


def test_a_reply_that_shares_a_token_with_its_prompt_does_not_join(tokenizer):
    question = [{"role": "user", "content": "Where is it?"}]
    assert prompts.joins(row(question, rejected="There."), tokenizer)
    assert not prompts.joins(row(question, rejected="\n\nThere."), tokenizer)
