"""A pair teaches what its method says: both sides by key, and nothing that could teach the wrong
thing."""

import sys

import polars as pl
import pytest

import pairs
from drift import tables
from drift.chat import guided, render
from drift.cli import StageError
from drift.data.contamination import check_decontaminated
from drift.settings.training import PairsSettings
from tests.builders.pairs import INSTRUCTION, answered, completions, fitted_prompts, pairs_settings, requests

SPIN = {"chosen": "logged", "rejected": "plain"}


SETTINGS = pairs_settings()


def make(tokenizer, fitted: pl.DataFrame, kind: str = "guided", settings: PairsSettings = SETTINGS, **answer):
    """Pairs and Dropped of prompts that were all answered with `answer`."""
    asked = requests(fitted, kind)
    made, dropped, _ = pairs.make_pairs(fitted, pairs.sampled_replies(asked, completions(asked, **answer)), tokenizer, settings)
    return tables.Pairs.validate(made), tables.Dropped.validate(dropped)


def test_a_sound_pair_is_the_sample_against_the_users_reply_on_the_plain_prompt(tokenizer):
    fitted = fitted_prompts(tokenizer)
    made, dropped = make(tokenizer, fitted)
    assert dropped.is_empty()
    assert made.height == 3
    for pair in made.iter_rows(named=True):
        number = pair["pair_id"][2]
        assert (pair["chosen"], pair["rejected"]) == (f"Sampled for s:{number}/0.", f"Bad reply {number}.")
        assert (pair["chosen_from"], pair["rejected_from"]) == (f"s:{number}/0#guided-0", "logged")
        assert (pair["chosen_finish"], pair["rejected_finish"]) == ("stop", None)
        assert pair["prompt"] == [{"role": "user", "content": f"Question {number}?"}]
        assert pair["prompt_token_ids"] == render(tokenizer, pair["prompt"])


def test_spin_takes_the_users_reply_as_chosen_and_the_sample_as_rejected(tokenizer):
    made, _ = make(tokenizer, fitted_prompts(tokenizer, rejected=None), "plain", pairs_settings(recipe=SPIN))
    assert made["chosen"].to_list() == [f"Good reply {number}." for number in range(3)]
    assert made["rejected"].to_list() == [f"Sampled for s:{number}/0." for number in range(3)]
    assert set(made["chosen_from"]) == {"logged"}


def test_token_ids_and_lengths_are_those_of_the_trained_reply_with_its_end_of_turn(tokenizer):
    made, _ = make(tokenizer, fitted_prompts(tokenizer, 1))
    for side in ("chosen", "rejected"):
        reply = tokenizer(made[side][0] + "<|im_end|>\n", add_special_tokens=False)["input_ids"]
        assert made[f"{side}_token_ids"][0].to_list() == reply
        assert made[f"{side}_tokens"][0] == len(reply)


LEAK = [{"role": "user", "content": f"No, wrong.\n\n{INSTRUCTION}"}]
FAULTS = {
    "the user said nothing of it": ({"feedback": None}, {}),
    "sampled reply did not end its turn": ({}, {"finish_reason": "length"}),
    "sampled reply is empty": ({}, {"text": " \n"}),
    "sampled reply contains a chat marker": ({}, {"text": "Yes.<|im_start|>user\nAnd then?"}),
    "sampled reply mentions the feedback": ({}, {"text": "Certainly! Here is a revised version of the answer: They are old."}),
    "the template does not put the reply after the prompt as it is": ({"rejected": "\n\n- No."}, {}),
    "reply longer than max_tokens": ({"rejected": "river " * 300}, {}),
    "chosen equals rejected": ({"rejected": "The same."}, {"text": " The same.\n"}),
    "improve instruction in the prompt": ({"prompt": LEAK}, {}),
    "longer than max_length": ({}, {"text": "river " * 200}),
}


@pytest.mark.parametrize("reason", FAULTS)
def test_a_fault_drops_the_prompt_with_its_own_reason(tokenizer, reason):
    columns, answer = FAULTS[reason]
    made, dropped = make(tokenizer, fitted_prompts(tokenizer, **columns), **answer)
    assert made.is_empty()
    assert dropped["reason"].to_list() == [reason] * 3


def test_every_reason_has_a_candidate_here_in_the_order_of_the_checks():
    ranked = {pairs.UNRANKED, pairs.TIED, pairs.LOW}  # see below
    assert list(FAULTS) == [reason for reason in pairs.REASONS if reason not in ranked]


@pytest.mark.parametrize(
    ("texts", "taken"),
    [
        (["First.", "Second.", "Third."], 0),
        (["", "Second.", "Third."], 1),
        (["", "Sorry for the confusion. Second.", "Third."], 2),
        (["Bad reply 0.", "", "Third."], 2),
    ],
    ids=["the first", "the second where the first was cut", "the third", "one that differs from the other side"],
)
def test_of_several_samples_the_first_sound_one_is_taken(tokenizer, texts, taken):
    fitted = fitted_prompts(tokenizer, 1)
    asked = requests(fitted, "guided", samples=3)
    replies = pairs.sampled_replies(asked, answered(asked, texts))
    made, dropped, failed = pairs.make_pairs(fitted, replies, tokenizer, SETTINGS)
    assert dropped.is_empty()
    assert (made["chosen"][0], made["chosen_from"][0]) == (texts[taken], f"s:0/0#guided-{taken}")
    assert failed.total() == taken, "the samples that were passed over are counted"


def test_a_prompt_whose_samples_all_fail_is_dropped_once_with_the_reason_of_the_first(tokenizer):
    fitted = fitted_prompts(tokenizer, 2)
    asked = requests(fitted, "guided", samples=3)
    replies = pairs.sampled_replies(asked, answered(asked, ["", "river " * 300, ""]))
    made, dropped, failed = pairs.make_pairs(fitted, replies, tokenizer, SETTINGS)
    assert made.is_empty()
    assert dropped["reason"].to_list() == ["sampled reply did not end its turn"] * 2
    assert dict(failed) == {"sampled reply did not end its turn": 4, "longer than max_length": 2}


def test_where_both_sides_are_sampled_each_has_its_own_samples(tokenizer):
    fitted = fitted_prompts(tokenizer, 1)
    guided_asked, plain_asked = requests(fitted, "guided", samples=2), requests(fitted, "plain", samples=2)
    sampled = pl.concat([answered(guided_asked, ["", "Better."]), answered(plain_asked, ["Better.", "Worse."])])
    replies = pairs.sampled_replies(pl.concat([guided_asked, plain_asked]), sampled)
    recipe = {"chosen": "guided", "rejected": "plain"}
    made, _, _ = pairs.make_pairs(fitted, replies, tokenizer, pairs_settings(recipe=recipe))
    assert made.select("chosen_from", "rejected_from").row(0) == ("s:0/0#guided-1", "s:0/0#plain-1")


RANKED = pairs_settings(recipe={"chosen": "best", "rejected": "worst"})


@pytest.mark.parametrize(
    ("texts", "scores", "taken"),
    [
        (["Zero.", "One.", "Two."], [5, 9, 2], (1, 2)),
        (["Zero.", "One.", ""], [5, 9, 2], (1, 0)),
        (["Zero.", "", "Two."], [5, 9, 2], (0, 2)),
        (["Zero.", "One.", "Two."], [5, 9, None], (1, 0)),
        (["Same.", "One.", "Same."], [9, 5, 2], (0, 1)),
    ],
    ids=["the ends", "the worst was cut", "the best was cut", "one has no score", "the ends say the same"],
)
def test_best_and_worst_are_the_sound_candidates_farthest_apart(tokenizer, texts, scores, taken):
    fitted = fitted_prompts(tokenizer, 1)
    asked = requests(fitted, "plain", samples=3)
    ranks = {f"s:0/0#plain-{k}": score for k, score in enumerate(scores) if score is not None}
    replies = pairs.sampled_replies(asked, answered(asked, texts))
    made, dropped, _ = pairs.make_pairs(fitted, replies, tokenizer, RANKED, ranks)
    assert dropped.is_empty()
    assert made.select("chosen_from", "rejected_from").row(0) == tuple(f"s:0/0#plain-{k}" for k in taken)
    assert tables.Pairs.validate(made)["chosen"][0] == texts[taken[0]]


def test_candidates_of_both_kinds_are_in_one_ranking(tokenizer):
    fitted = fitted_prompts(tokenizer, 1)
    asked = pl.concat([requests(fitted, kind) for kind in ("guided", "plain")])
    answers = completions(asked).with_columns(text=pl.Series(["Guided.", "Plain."]))
    ranks = {"s:0/0#guided-0": -1.5, "s:0/0#plain-0": 0.5}
    made, _, _ = pairs.make_pairs(fitted, pairs.sampled_replies(asked, answers), tokenizer, RANKED, ranks)
    assert made.select("chosen", "rejected").row(0) == ("Plain.", "Guided.")


def test_the_best_candidate_stands_against_the_users_reply(tokenizer):
    fitted = fitted_prompts(tokenizer, 1)
    asked = requests(fitted, "plain", samples=2)
    replies = pairs.sampled_replies(asked, answered(asked, ["Zero.", "One."]))
    settings = pairs_settings(recipe={"chosen": "best", "rejected": "logged"})
    made, _, _ = pairs.make_pairs(fitted, replies, tokenizer, settings, {"s:0/0#plain-0": 3.0, "s:0/0#plain-1": 4.0})
    assert made.select("chosen", "rejected", "rejected_from").row(0) == ("One.", "Bad reply 0.", "logged")


@pytest.mark.parametrize(("least", "chosen"), [(None, "One."), (4.0, "One."), (4.5, None)])
def test_a_best_candidate_below_the_least_score_makes_no_pair(tokenizer, least, chosen):
    fitted = fitted_prompts(tokenizer, 1)
    asked = requests(fitted, "plain", samples=2)
    replies = pairs.sampled_replies(asked, answered(asked, ["Zero.", "One."]))
    settings = pairs_settings(recipe={"chosen": "best", "rejected": "logged", "min_score": least})
    made, dropped, _ = pairs.make_pairs(fitted, replies, tokenizer, settings, {"s:0/0#plain-0": 3.0, "s:0/0#plain-1": 4.0})
    assert made["chosen"].to_list() == ([chosen] if chosen else [])
    assert dropped["reason"].to_list() == ([] if chosen else [pairs.LOW])


@pytest.mark.parametrize(
    ("ranks", "reason"),
    [([7.0, 7.0], pairs.TIED), ([7.0, None], pairs.UNRANKED), ([None, None], pairs.UNRANKED)],
    ids=["tied", "one score", "no score"],
)
def test_candidates_that_do_not_rank_make_no_pair(tokenizer, ranks, reason):
    fitted = fitted_prompts(tokenizer, 1)
    asked = requests(fitted, "plain", samples=2)
    replies = pairs.sampled_replies(asked, answered(asked, ["Zero.", "One."]))
    scores = {f"s:0/0#plain-{k}": score for k, score in enumerate(ranks) if score is not None}
    made, dropped, _ = pairs.make_pairs(fitted, replies, tokenizer, RANKED, scores)
    assert made.is_empty()
    assert dropped["reason"].to_list() == [reason]


def test_words_on_the_feedback_are_kept_dropped_or_stripped_as_asked_for(tokenizer):
    fitted = fitted_prompts(tokenizer)
    answer = {"text": "I apologize for that. They are old, and most of them were built by hand."}
    kept, _ = make(tokenizer, fitted, settings=pairs_settings(allusions="keep"), **answer)
    assert kept.select("chosen", "alludes").rows() == [(answer["text"], True)] * 3
    stripped, _ = make(tokenizer, fitted, settings=pairs_settings(allusions="strip"), **answer)
    rest = "They are old, and most of them were built by hand."
    assert stripped.select("chosen", "alludes").rows() == [(rest, False)] * 3, "of what is trained on"
    assert stripped["chosen_token_ids"][0].to_list() == tokenizer(rest + "<|im_end|>\n", add_special_tokens=False)["input_ids"]
    made, dropped = make(tokenizer, fitted, settings=pairs_settings(allusions="strip"), text="Sorry about that. Yes.")
    assert made.is_empty()
    assert set(dropped["reason"]) == {pairs.ALLUSION}
    plain, _ = make(tokenizer, fitted, "plain", pairs_settings(recipe=SPIN, allusions="strip"), **answer)
    assert plain.select("rejected", "alludes").rows() == [(answer["text"], False)] * 3, "guided ones alone"


def test_logged_corrections_that_open_with_words_on_the_feedback_are_counted(tokenizer):
    logged = pairs_settings(recipe={"chosen": "logged", "rejected": "logged"})
    counts = []
    for rejected in ("Bad reply.", None):
        fitted = fitted_prompts(tokenizer, 1, chosen="I apologize. It is 4.", rejected=rejected)
        settings = logged if rejected else pairs_settings(recipe=SPIN)
        counts += make(tokenizer, fitted, "plain", settings)[0]["alludes"].to_list()
    assert counts == [True, False], "the prompt of a satisfied reply shows the feedback before it"
    fitted = fitted_prompts(tokenizer, 1, chosen="I apologize. It is 4.", feedback=None)
    assert make(tokenizer, fitted, "plain", logged)[0]["alludes"].to_list() == [False], "a published pair has none"


def test_a_rejected_reply_that_was_cut_is_no_example_either(tokenizer):
    made, dropped = make(tokenizer, fitted_prompts(tokenizer), "plain", pairs_settings(recipe=SPIN), finish_reason="length")
    assert made.is_empty()
    assert set(dropped["reason"]) == {"sampled reply did not end its turn"}
    assert set(dropped["detail"]) == {"length"}


def test_the_longer_side_counts_against_max_length_whichever_it_is(tokenizer):
    _, dropped = make(tokenizer, fitted_prompts(tokenizer, rejected="river " * 200))
    assert set(dropped["reason"]) == {"longer than max_length"}


def test_a_pair_of_exactly_max_length_is_kept(tokenizer):
    made, _ = make(tokenizer, fitted_prompts(tokenizer, 1))
    (pair,) = made.to_dicts()
    length = len(pair["prompt_token_ids"]) + max(pair["chosen_tokens"], pair["rejected_tokens"])
    assert make(tokenizer, fitted_prompts(tokenizer, 1), settings=pairs_settings(max_length=length))[0].height == 1
    assert make(tokenizer, fitted_prompts(tokenizer, 1), settings=pairs_settings(max_length=length - 1))[0].is_empty()


def test_replies_find_their_prompts_by_key_whatever_the_order(tokenizer):
    fitted = fitted_prompts(tokenizer, 8)
    asked = requests(fitted, "guided")
    shuffled = completions(asked).sample(fraction=1.0, shuffle=True, seed=1)
    replies = pairs.sampled_replies(asked.reverse(), shuffled)
    made, _, _ = pairs.make_pairs(fitted.sample(fraction=1.0, shuffle=True, seed=2), replies, tokenizer, SETTINGS)
    assert made.height == 8
    assert all(pair["chosen"] == f"Sampled for {pair['pair_id']}." for pair in made.iter_rows(named=True))


def test_a_request_without_completion_stops_the_stage_and_is_named(tokenizer):
    asked = requests(fitted_prompts(tokenizer), "guided")
    with pytest.raises(StageError, match="1 requests have no completion, the first is s:1/0#guided-0"):
        pairs.sampled_replies(asked, completions(asked).filter(pl.col("request_id") != "s:1/0#guided-0"))


def test_a_canary_in_the_guided_request_never_reaches_a_pair(tokenizer):
    """The whole way: the request shows feedback and instruction, what is trained on holds
    neither."""
    fitted = fitted_prompts(tokenizer, feedback="CANARY-7f3a")
    asked = requests(fitted, "guided").with_columns(
        messages=pl.Series(
            [guided(row["prompt"], row["rejected"], row["feedback"], INSTRUCTION) for row in fitted.iter_rows(named=True)],
            dtype=tables.Requests.create_empty().schema["messages"],
        )
    )
    assert "CANARY-7f3a" in str(asked["messages"].to_list())
    made, _, _ = pairs.make_pairs(fitted, pairs.sampled_replies(asked, completions(asked)), tokenizer, SETTINGS)
    assert made.height == 3
    trained = str(made["prompt"].to_list()) + "".join(tokenizer.decode(ids) for ids in made["prompt_token_ids"])
    assert "CANARY-7f3a" not in trained
    assert INSTRUCTION not in trained


def test_every_prompt_is_a_pair_or_dropped_or_for_testing(tokenizer):
    fitted = fitted_prompts(tokenizer, 12).with_columns(
        split=pl.when(pl.int_range(12) % 4 == 0).then(pl.lit("test")).otherwise(pl.lit("train"))
    )
    asked = requests(fitted, "guided")
    answers = completions(asked).with_columns(
        finish_reason=pl.when(pl.int_range(12) % 3 == 0).then(pl.lit("length")).otherwise(pl.lit("stop"))
    )
    made, dropped, _ = pairs.make_pairs(fitted, pairs.sampled_replies(asked, answers), tokenizer, SETTINGS)
    parts = [set(made["pair_id"]), set(dropped["prompt_id"]), set(fitted.filter(split="test")["prompt_id"])]
    assert [len(part) for part in parts] == [6, 3, 3]
    assert set.union(*parts) == set(fitted["prompt_id"])


def test_a_prompt_that_renders_otherwise_than_it_was_fitted_stops_the_stage(tokenizer):
    fitted = fitted_prompts(tokenizer).with_columns(prompt_token_ids=pl.col("prompt_token_ids").list.slice(1))
    with pytest.raises(StageError, match="renders to other tokens"):
        make(tokenizer, fitted)


def stage(tmp_path, demo_tokenizer, monkeypatch, fitted: pl.DataFrame, answers: pl.DataFrame) -> None:
    """Run the program on tables on disk."""
    tables.write_table(fitted, tables.Prompts, tmp_path / "prompts.parquet")
    tables.write_table(requests(fitted, "guided"), tables.Requests, tmp_path / "requests.parquet")
    tables.write_table(answers, tables.Completions, tmp_path / "completions.parquet")
    names = ("prompts", "requests", "completions", "pairs", "dropped", "ledger")
    options = [part for name in names for part in (f"--{name}", str(tmp_path / f"{name}.parquet"))]
    monkeypatch.setattr(
        sys, "argv", ["pairs.py", *options, "--policy", str(demo_tokenizer), "--settings", SETTINGS.canonical()]
    )
    pairs.main()


def test_the_ledger_follows_every_prompt_to_its_pair_or_its_reason(tmp_path, tokenizer, demo_tokenizer, monkeypatch):
    fitted = fitted_prompts(tokenizer, 5).with_columns(split=pl.Series(["test", *["train"] * 4]))
    answers = completions(requests(fitted, "guided")).with_columns(text=pl.Series(["Fine.", "", "Fine.", "Fine.", "Fine."]))
    stage(tmp_path, demo_tokenizer, monkeypatch, fitted, answers)
    steps = tables.read_table(tables.Ledger, tmp_path / "ledger.parquet")
    assert steps["rows_in"][0] == 5
    assert steps["rows_in"].to_list()[1:] == steps["rows_out"].to_list()[:-1], "a step starts with what the last one left"
    dropped = dict(steps.filter(pl.col("dropped") > 0).select("reason", "dropped").iter_rows())
    assert dropped == {"test split": 1, "sampled reply is empty": 1}
    assert steps["rows_out"][-1] == tables.read_table(tables.Pairs, tmp_path / "pairs.parquet").height == 3


def test_where_no_pair_is_left_the_commonest_reason_is_said_and_the_drops_are_kept(
    tmp_path, tokenizer, demo_tokenizer, monkeypatch
):
    fitted = fitted_prompts(tokenizer)
    answers = completions(requests(fitted, "guided"), finish_reason="length")
    with pytest.raises(StageError, match="commonest reason is 'sampled reply did not end its turn'"):
        stage(tmp_path, demo_tokenizer, monkeypatch, fitted, answers)
    assert tables.read_table(tables.Dropped, tmp_path / "dropped.parquet").height == 3
    assert not (tmp_path / "pairs.parquet").exists()


DRIFT = {"chosen": "guided", "rejected": "logged"}


def test_a_share_of_the_prompts_has_rejected_replies_of_another_side(tokenizer):
    fitted = fitted_prompts(tokenizer, 60)
    asked = pl.concat([requests(fitted, kind) for kind in ("guided", "plain@initial")])
    texts = pl.format("Sampled by {}.", pl.col("request_id").str.extract("#(.+)-"))
    replies = pairs.sampled_replies(asked, completions(asked).with_columns(text=texts))

    def mixed(share: float) -> dict[str, str]:
        mix = {"side": "plain@initial", "share": share, "seed": 42}
        made, _, _ = pairs.make_pairs(fitted, replies, tokenizer, pairs_settings(recipe={**DRIFT, "mix": mix}))
        assert made["chosen_from"].str.contains("#guided", literal=True).all()
        return {name: kind for name, kind in made.select("pair_id", "rejected_from").iter_rows() if kind != "logged"}

    few, many = mixed(0.2), mixed(0.6)
    assert mixed(0.0) == {}
    assert 3 < len(few) < 24 < len(many) < 48
    assert few.items() < many.items(), "a larger share adds to a smaller one"
    assert all("#plain@initial" in kind for kind in many.values())


@pytest.mark.parametrize(
    ("scores", "min_score", "cure"),
    [
        ([], None, "too few candidates with a score. Has the ranker a limit on length"),
        ([3.0, 3.0], None, "all candidates have the same score. Let who ranks vote several times"),
        ([3.0, 2.0], 5.0, "no candidate reaches min_score. Ask for more candidates, or lower it"),
    ],
    ids=["without scores", "ties throughout", "a gate that nothing passes"],
)
def test_a_ranking_that_leaves_no_pair_says_what_helps(tokenizer, scores, min_score, cure):
    fitted = fitted_prompts(tokenizer)
    asked = requests(fitted, "plain", samples=2)
    replies = pairs.sampled_replies(asked, answered(asked, ["This.", "That."]))
    settings = pairs_settings(recipe={"chosen": "best", "rejected": "worst", "min_score": min_score})
    ranked = {f"{name}#plain-{number}": score for name in fitted["prompt_id"] for number, score in enumerate(scores)}
    made, dropped, _ = pairs.make_pairs(fitted, replies, tokenizer, settings, ranked)
    with pytest.raises(StageError, match=cure):
        pairs.check_count(made, dropped, settings)


def test_a_benchmark_prompt_among_the_training_prompts_stops_the_run(tokenizer):
    asked = fitted_prompts(tokenizer)
    replies = pairs.sampled_replies(requests(asked, "guided"), completions(requests(asked, "guided")))
    made = pairs.make_pairs(asked, replies, tokenizer, SETTINGS)[0]
    tasks = pl.DataFrame(
        [{"prompt_id": "t9", "prompt": [{"role": "user", "content": "QUESTION 1"}]}], schema=tables.Tasks.create_empty().schema
    )
    with pytest.raises(StageError, match="s:1/0 has task t9 of arena"):
        check_decontaminated(made, "pair_id", {"arena": tasks})
    check_decontaminated(made.filter(pl.col("pair_id") != "s:1/0"), "pair_id", {"arena": tasks})
