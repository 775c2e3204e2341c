"""What a policy is asked: prompts as they were fitted, or with feedback shown."""

import polars as pl
import pytest

import policy_requests
from drift import tables
from drift.chat import render
from drift.seeds import completion_seed
from drift.settings.sampling import RequestsSettings

SETTINGS = RequestsSettings(
    seed=42,
    unit="drift/iter1",
    split="train",
    samples={"guided": 1, "plain": 1},
    style="chat",
    instruction="Please improve.",
)


def asked(fitted: pl.DataFrame, tokenizer, **changes) -> pl.DataFrame:
    """The requests about `fitted` prompts, with changed settings."""
    settings = RequestsSettings.of(SETTINGS.model_dump(), **changes)
    return tables.Requests.validate(policy_requests.build(fitted, tokenizer, settings))


@pytest.fixture
def fitted(tokenizer) -> pl.DataFrame:
    """Six prompts, two of them for testing."""
    rows = []
    for number in range(6):
        prompt = [{"role": "user", "content": f"Question {number}?"}]
        rows.append(
            {
                "prompt_id": f"s:{number}/0",
                "split": "test" if number > 3 else "train",
                "prompt": prompt,
                "prompt_token_ids": render(tokenizer, prompt),
                "turns_trimmed": 0,
                "rejected": f"Bad reply {number}.",
                "feedback": f"That is wrong {number}.",
            }
        )
    return pl.DataFrame(rows, schema=tables.Prompts.create_empty().schema)


def test_each_prompt_of_the_split_is_asked_once_a_kind(fitted, tokenizer):
    requests = asked(fitted, tokenizer)
    assert sorted(requests.select("prompt_id", "kind").iter_rows()) == sorted(
        (f"s:{number}/0", kind) for number in range(4) for kind in ("guided", "plain")
    )
    heldout = asked(fitted, tokenizer, split="test", samples={"plain": 1})
    assert sorted(heldout["prompt_id"]) == ["s:4/0", "s:5/0"]


def test_a_plain_request_is_the_fitted_prompt_token_by_token(fitted, tokenizer):
    requests = asked(fitted, tokenizer).filter(kind="plain")
    joined = requests.join(fitted, on="prompt_id", suffix="_fitted")
    assert joined.height == 4
    assert joined["prompt_token_ids"].to_list() == joined["prompt_token_ids_fitted"].to_list()
    assert joined["messages"].to_list() == joined["prompt"].to_list()


def test_a_guided_request_shows_what_went_wrong_and_asks_for_better(fitted, tokenizer):
    for request in asked(fitted, tokenizer).filter(kind="guided").iter_rows(named=True):
        number = request["prompt_id"][2]
        read = tokenizer.decode(request["prompt_token_ids"])
        parts = [f"Question {number}?", f"Bad reply {number}.", f"That is wrong {number}.", "Please improve."]
        assert [read.find(part) for part in parts] == sorted(read.find(part) for part in parts)
        assert min(read.find(part) for part in parts) > 0
        assert read.endswith("<|im_start|>assistant\n")


def test_a_prompt_without_feedback_is_asked_nothing_that_shows_it(fitted, tokenizer):
    silent = fitted.with_columns(feedback=pl.when(pl.col("prompt_id") != "s:1/0").then("feedback"))
    asked_about = asked(silent, tokenizer).select("kind", "prompt_id").rows()
    assert ("plain", "s:1/0") in asked_about
    assert ("guided", "s:1/0") not in asked_about
    assert len(asked_about) == 7


def test_a_plain_request_shows_neither_feedback_nor_instruction(fitted, tokenizer):
    for request in asked(fitted, tokenizer).filter(kind="plain").iter_rows(named=True):
        read = tokenizer.decode(request["prompt_token_ids"])
        assert not any(part in read for part in ("Please improve", "That is wrong", "Bad reply"))


def test_the_papers_style_shows_a_transcript_and_leaves_the_plain_request_alone(fitted, tokenizer):
    paper = asked(fitted, tokenizer, style="paper")
    read = tokenizer.decode(paper.filter(prompt_id="s:1/0", kind="guided")["prompt_token_ids"][0].to_list())
    lines = ["User: Question 1?", "Assistant: Bad reply 1.", "User: That is wrong 1.", "System: Please improve.", "Assistant: "]
    assert read == "\n".join(lines)
    chat = asked(fitted, tokenizer)
    assert paper.filter(kind="plain").equals(chat.filter(kind="plain"))


def test_every_sample_is_asked_with_a_seed_of_its_own(fitted, tokenizer):
    one = asked(fitted, tokenizer)
    three = asked(fitted, tokenizer, samples={"guided": 3, "plain": 3})
    assert three.height == 3 * one.height
    assert three["seed"].n_unique() == three["request_id"].n_unique() == three.height
    assert three.filter(sample=0).equals(one), "more samples leave the first as it was"
    assert set(three.filter(sample=2)["request_id"].str.tail(2)) == {"-2"}


def seeds(fitted, tokenizer, **settings) -> dict[str, int]:
    built = asked(fitted, tokenizer, **settings)
    return dict(built.select("request_id", "seed").iter_rows())


def test_every_completion_has_a_seed_of_its_own(fitted, tokenizer):
    first = seeds(fitted, tokenizer)
    second = seeds(fitted, tokenizer, unit="drift/iter2")
    other_run = seeds(fitted, tokenizer, seed=43)
    values = [*first.values(), *second.values(), *other_run.values()]
    assert len(first) == 8
    assert len(set(values)) == 24, "prompts, kinds, iterations and runs are seeded apart"
    assert all(0 <= value < 2**63 for value in values)


def test_a_seed_depends_on_what_the_completion_is_and_on_nothing_else(fitted, tokenizer):
    alone = seeds(fitted.filter(prompt_id="s:2/0"), tokenizer, samples={"plain": 1})
    assert alone.items() <= seeds(fitted.reverse(), tokenizer).items()


def test_seeds_stay_the_same_from_release_to_release():
    """A change here resamples everything that anyone has."""
    assert completion_seed(42, "drift/iter1", "s:1/0", "guided", 0) == 8370750716819115974
