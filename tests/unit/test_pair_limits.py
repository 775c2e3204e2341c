"""One limit of tokens holds for both sides of a pair: no side is the shorter one because it was
sampled, or because it was logged."""

import polars as pl
import pytest

import pairs
from drift import tables
from drift.chat import render_reply, without_end
from drift.cli import StageError
from drift.data.trained_replies import trained_replies
from tests.builders.pairs import answered, completions, fitted_prompts, pairs_settings, requests

LIMIT = 12
DRIFT, SPIN = {"chosen": "plain", "rejected": "logged"}, {"chosen": "logged", "rejected": "plain"}
SHORT, LONG = "They are old.", "The river is wide and the bridge is old " * 3


def make(tokenizer, recipe: dict, cut: str, logged: str, sampled: str, finish: str = "stop"):
    """Pairs and Dropped of two prompts with a logged and a sampled reply."""
    fitted = fitted_prompts(tokenizer, 2, chosen=logged, rejected=logged)
    asked = requests(fitted, "plain")
    replies = pairs.sampled_replies(asked, completions(asked, text=sampled, finish_reason=finish))
    settings = pairs_settings(recipe=recipe, cut=cut, max_tokens=LIMIT)
    made, dropped, _ = pairs.make_pairs(fitted, replies, tokenizer, settings)
    return tables.Pairs.validate(made), tables.Dropped.validate(dropped)


def ends(tokenizer, ids: pl.Series) -> bool:
    return tokenizer.eos_token_id in ids.to_list()


@pytest.mark.parametrize("recipe", [DRIFT, SPIN], ids=["drift", "spin"])
def test_a_logged_reply_is_under_the_limit_of_sampled_ones(tokenizer, recipe):
    logged, sampled = sorted(recipe, key=recipe.get)
    made, dropped = make(tokenizer, recipe, "drop", LONG, SHORT)
    assert made.is_empty()
    assert dropped["reason"].to_list() == ["reply longer than max_tokens"] * 2
    made, dropped = make(tokenizer, recipe, "prefix", LONG, SHORT)
    assert dropped.is_empty()
    for row in made.iter_rows(named=True):
        assert (row[f"{logged}_tokens"], row[f"{logged}_cut"], row[f"{logged}_finish"]) == (LIMIT, True, None)
        assert LONG.startswith(row[logged])
        assert (row[sampled], row[f"{sampled}_cut"]) == (SHORT, False)
    assert not any(ends(tokenizer, ids) for ids in made[f"{logged}_token_ids"])
    assert all(ends(tokenizer, ids) for ids in made[f"{sampled}_token_ids"])


@pytest.mark.parametrize("recipe", [DRIFT, SPIN], ids=["drift", "spin"])
@pytest.mark.parametrize("logged", [LONG.upper(), "Longer than the limit, in words. " * 9])
def test_where_both_sides_are_longer_than_the_limit_they_are_equally_long_and_neither_ends(tokenizer, recipe, logged):
    made, _ = make(tokenizer, recipe, "prefix", logged, LONG, finish="length")
    assert made["chosen_tokens"].to_list() == made["rejected_tokens"].to_list() == [LIMIT] * 2
    assert made["chosen_cut"].all()
    assert made["rejected_cut"].all()
    assert not any(ends(tokenizer, ids) for side in ("chosen", "rejected") for ids in made[f"{side}_token_ids"])


def test_beside_a_sampled_reply_that_was_cut_a_logged_one_that_ended_stays_whole(tokenizer):
    made, _ = make(tokenizer, DRIFT, "prefix", SHORT, "river " * 8, finish="length")
    row = made.row(0, named=True)
    assert (row["chosen_cut"], row["chosen_finish"], row["chosen"]) == (True, "length", ("river " * 8).strip())
    assert (row["rejected"], row["rejected_cut"]) == (SHORT, False)
    assert not ends(tokenizer, made["chosen_token_ids"][0])
    assert ends(tokenizer, made["rejected_token_ids"][0])


def test_a_longer_logged_reply_is_trimmed_to_the_length_of_the_sampled_one_that_was_cut(tokenizer):
    """Stripped and tokenised again, a cut sample may be a little shorter than the limit."""
    made, _ = make(tokenizer, DRIFT, "prefix", LONG, "river " * 8, finish="length")
    assert made["chosen_tokens"].to_list() == made["rejected_tokens"].to_list()
    assert made["chosen_tokens"][0] < LIMIT


def test_a_logged_reply_may_be_as_long_as_a_sampled_one_with_its_end(tokenizer):
    words = "a" + " b" * (LIMIT - 2)
    made, _ = make(tokenizer, DRIFT, "drop", words, SHORT)
    assert without_end(made["rejected_token_ids"][0].to_list(), tokenizer.eos_token_id) == tokenizer(words)["input_ids"]
    assert len(tokenizer(words)["input_ids"]) == LIMIT - 1
    assert make(tokenizer, DRIFT, "drop", words + " b", SHORT)[0].is_empty()


def test_replies_of_the_warm_up_are_under_the_same_limit(tokenizer):
    fitted = fitted_prompts(tokenizer, 1, chosen=SHORT, rejected=LONG)
    recipe = {"chosen": "logged", "rejected": "logged"}
    made = {
        cut: pairs.make_pairs(fitted, {}, tokenizer, pairs_settings(recipe=recipe, cut=cut, max_tokens=LIMIT))[0]
        for cut in ("drop", "prefix")
    }
    assert made["drop"].is_empty()
    assert made["prefix"].select("chosen_cut", "rejected_cut", "rejected_tokens").row(0) == (False, True, LIMIT)


def test_replies_that_differ_only_beyond_the_limit_make_no_pair(tokenizer):
    _, dropped = make(tokenizer, DRIFT, "prefix", LONG + "and red.", LONG + "and blue.", finish="length")
    assert dropped["reason"].to_list() == ["chosen equals rejected"] * 2


@pytest.mark.parametrize("finish", ["error", "content_filter"])
def test_a_reply_that_neither_ended_nor_reached_the_limit_is_no_prefix(tokenizer, finish):
    _, dropped = make(tokenizer, DRIFT, "prefix", SHORT, "The river", finish=finish)
    assert dropped["reason"].to_list() == ["sampled reply did not end its turn"] * 2


def test_the_first_sample_counts_though_it_was_cut(tokenizer):
    """Else of several samples the shorter ones would be chosen."""
    fitted = fitted_prompts(tokenizer, 1)
    asked = requests(fitted, "plain", samples=2)
    answers = answered(asked, [LONG, SHORT]).with_columns(finish_reason=pl.Series(["length", "stop"]))
    chosen = {}
    for cut in ("drop", "prefix"):
        settings = pairs_settings(recipe=DRIFT, cut=cut, max_tokens=LIMIT)
        made, _, _ = pairs.make_pairs(fitted, pairs.sampled_replies(asked, answers), tokenizer, settings)
        chosen[cut] = made["chosen_from"][0]
    assert chosen == {"drop": "s:0/0#plain-1", "prefix": "s:0/0#plain-0"}


def test_best_and_worst_may_both_be_cut(tokenizer):
    fitted = fitted_prompts(tokenizer, 1)
    asked = requests(fitted, "plain", samples=2)
    answers = answered(asked, [LONG, LONG.upper()]).with_columns(finish_reason=pl.lit("length"))
    settings = pairs_settings(recipe={"chosen": "best", "rejected": "worst"}, cut="prefix", max_tokens=LIMIT)
    scores = {"s:0/0#plain-0": 2.0, "s:0/0#plain-1": 5.0}
    made, _, _ = pairs.make_pairs(fitted, pairs.sampled_replies(asked, answers), tokenizer, settings, scores)
    assert made.select("chosen_from", "chosen_tokens", "rejected_tokens").row(0) == ("s:0/0#plain-1", LIMIT, LIMIT)


TEXTS = [
    "Ünïcödé and 漢字漢字漢字漢字漢字漢字漢字",
    "👩‍👩‍👧‍👦 👩‍👩‍👧‍👦 👩‍👩‍👧‍👦 families",
    "x = {\n    'a': 1,\n    'b': 2,\n}\n\n\n\nprint(x)  # done",
    "1234567890 " * 4,
    "incomprehensibilities, antidisestablishmentarianism, floccinaucinihilipilification",
]


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("limit", [3, 7, 12])
def test_a_prefix_is_text_that_renders_to_the_tokens_that_are_trained_on(tokenizer, text, limit):
    """What the trainer finds by itself; and they are the first tokens of the whole reply."""
    prompt = [{"role": "user", "content": "Tell me."}]

    def render(reply):
        return render_reply(tokenizer, prompt, reply)

    texts, finish = {"chosen": text, "rejected": "word " * 40}, {"chosen": None, "rejected": None}
    cut = trained_replies(texts, finish, render, tokenizer, tokenizer.eos_token_id, limit)
    end = tokenizer.eos_token_id
    for side, reply in cut.items():
        assert reply.cut
        assert texts[side].startswith(reply.text)
        assert without_end(render(reply.text), end) == reply.token_ids == render(texts[side])[: len(reply.token_ids)]
    assert len(cut["chosen"].token_ids) == len(cut["rejected"].token_ids)
    assert limit - 3 < len(cut["chosen"].token_ids) <= limit


def test_a_character_that_the_limit_split_is_not_taught(tokenizer):
    made, _ = make(tokenizer, DRIFT, "prefix", SHORT, "The river is \ufffd", finish="length")
    assert made["chosen"].str.strip_chars().to_list() == ["The river is"] * 2


@pytest.mark.parametrize("cut", ["drop", "prefix"])
def test_the_ledger_counts_what_the_limit_and_the_number_of_pairs_cost(tokenizer, tmp_path, cut):
    fitted = fitted_prompts(tokenizer, 8)
    texts = ["Short."] * 6 + [LONG] * 2
    fitted = fitted.with_columns(rejected=pl.Series(texts))
    asked = requests(fitted, "plain")
    settings = pairs_settings(recipe=DRIFT, cut=cut, max_tokens=LIMIT, subset={"pairs": 4, "seed": 1})
    replies = pairs.sampled_replies(asked, completions(asked, text="Sampled."))
    made, dropped, _ = pairs.make_pairs(fitted, replies, tokenizer, settings)
    kept, spare = pairs.subset_of(made, settings.subset)
    pairs.write_ledger(tmp_path / "ledger.parquet", "m/drift/iter1", fitted, kept, pl.concat([dropped, spare]))
    steps = tables.read_table(tables.Ledger, tmp_path / "ledger.parquet")
    counted = dict(steps.filter(pl.col("dropped") > 0).select("reason", "dropped").iter_rows())
    expected = {
        "drop": {"reply longer than max_tokens": 2, "more than training.pairs": 2},
        "prefix": {"more than training.pairs": 4},
    }
    assert counted == expected[cut]
    assert steps["rows_out"][-1] == 4


def test_a_subset_takes_the_same_prompts_in_every_iteration_as_far_as_they_have_a_pair(tokenizer):
    made = pl.DataFrame({"pair_id": [f"s:{number}/0" for number in range(100)]})
    settings = pairs_settings(subset={"pairs": 40, "seed": 7}).subset
    first, spare = pairs.subset_of(made, settings)
    assert (first.height, spare.height) == (40, 60)
    assert set(first["pair_id"]) | set(spare["prompt_id"]) == set(made["pair_id"])
    second, _ = pairs.subset_of(made.reverse().filter(pl.col("pair_id") != first["pair_id"][0]), settings)
    assert len(set(first["pair_id"]) & set(second["pair_id"])) == 39, "one had no pair"
    other = pairs.subset_of(made, settings.model_copy(update={"seed": 8}))[0]
    assert set(other["pair_id"]) != set(first["pair_id"])


def test_too_few_pairs_for_training_pairs_stop_the_method_before_its_training(tokenizer):
    made, dropped = make(tokenizer, DRIFT, "drop", SHORT, "The river", finish="length")
    settings = pairs_settings(lineage="tiny/spin/iter2", subset={"pairs": 40, "seed": 7})
    with pytest.raises(StageError) as error:
        pairs.check_count(made, dropped, settings)
    said = str(error.value)
    assert "tiny/spin/iter2: no pairs of 2 training prompts, and training.pairs asks for 40" in said
    assert "'sampled reply did not end its turn'" in said
    for knob in ("sampling.cut", "sampling.max_tokens", "sampling.n", "data.max_dsat", "lower training.pairs"):
        assert knob in said
