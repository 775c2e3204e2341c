"""How often y+ is better than y-, by whoever rates the pairs."""

import sys
from types import ModuleType

import polars as pl
import pytest

import pair_quality
import rated_pairs
import rewards
from drift import plugins, tables
from drift.settings.judging import PairQualitySettings, RatedPairsSettings
from drift.settings.sampling import RewardSettings
from tests.builders.judging import LETTER, requests_of
from tests.builders.judgments import compared, frame, judgment

SETTINGS = PairQualitySettings(rater="tiny", seed=1, bootstrap=200)


def pairs(count: int) -> pl.DataFrame:
    """Pairs whose y+ is longer than their y-, but for the last two: as long, and shorter."""
    rows = [
        {
            "pair_id": f"s:{number}/0",
            "prompt": [{"role": "user", "content": "Why?"}],
            "prompt_token_ids": [1],
            "chosen": {count - 2: "Nope.", count - 1: "N."}.get(number, "Because of it."),
            "rejected": "Well.",
            "chosen_from": f"s:{number}/0#guided-0",
            "rejected_from": "logged",
            "chosen_finish": "stop",
            "chosen_token_ids": [3, 4],
            "rejected_token_ids": [3],
            "chosen_tokens": 2,
            "rejected_tokens": 1,
            "chosen_cut": False,
            "rejected_cut": False,
            "consistency": None,
            "alludes": False,
        }
        for number in range(count)
    ]
    return frame(rows, tables.Pairs)


def asked(count: int, per_user: int = 1) -> pl.DataFrame:
    """Tasks s:0/0, s:1/0, ... of pairs; so many of them are of one user."""
    return frame([{"prompt_id": f"s:{n}/0", "cluster": f"u{n // per_user}"} for n in range(count)], tables.Tasks)


def run(monkeypatch, program: ModuleType, settings, **options) -> None:
    """Run a stage with these options; paths are written as text."""
    words = [str(word) for name, value in options.items() for word in (f"--{name}", value)]
    monkeypatch.setattr(sys, "argv", [program.__name__, *words, "--settings", settings.canonical()])
    program.main()


@pytest.fixture
def rated(tmp_path, monkeypatch):
    """Call to write a sample of some pairs down; returns where its tables are."""

    def write(count: int, sampled: int) -> dict:
        tables.write_table(pairs(count), tables.Pairs, tmp_path / "pairs.parquet")
        prompts = pairs(count).select("prompt", "prompt_token_ids", prompt_id="pair_id", split=pl.lit("train"))
        prompts = prompts.with_columns(cluster=pl.lit("user of ") + pl.col("prompt_id"))
        tables.write_table(
            frame(prompts.to_dicts(), tables.Prompts).with_columns(turns_trimmed=0),
            tables.Prompts,
            tmp_path / "prompts.parquet",
        )
        written = {name: tmp_path / f"{name}.parquet" for name in ("tasks", "responses")}
        settings = RatedPairsSettings(seed=1, pairs=sampled)
        run(
            monkeypatch,
            rated_pairs,
            settings,
            pairs=tmp_path / "pairs.parquet",
            prompts=tmp_path / "prompts.parquet",
            **written,
        )
        return written

    return write


def test_a_judge_is_asked_about_y_plus_against_y_minus_in_both_orders(rated):
    written = rated(6, 4)
    tasks, responses = (
        tables.read_table(schema, written[name]) for name, schema in (("tasks", tables.Tasks), ("responses", tables.Responses))
    )
    assert tasks["prompt_id"].to_list() == responses["prompt_id"].to_list()
    assert tasks.height == 4, "a sample"
    assert tasks["cluster"].to_list() == [f"user of {name}" for name in tasks["prompt_id"]]
    asked, _ = requests_of(LETTER, tasks.tail(1), responses.tail(1))
    assert asked["kind"].to_list() == ["pairwise-AB", "pairwise-BA"]
    first, second = (messages[-1]["content"] for messages in asked["messages"])
    chosen = responses["response"][-1]
    assert first.index(chosen) < first.index("Well.")
    assert second.index("Well.") < second.index(chosen)


def test_a_judge_that_prefers_what_it_sees_first_finds_no_difference():
    rows = [(f"s:{n}/0", order, preference) for n in range(20) for order, preference in (("AB", 0.9), ("BA", 0.1))]
    row = pair_quality.quality(pair_quality.judged(compared(*rows)), asked(20), SETTINGS)
    assert (row["value"], row["low"], row["high"]) == pytest.approx((0.5, 0.5, 0.5))
    assert row["ties"] == 1.0


def test_wins_ties_and_pairs_that_are_read_in_one_order_only():
    outcomes = {"s:0/0": (2, 1), "s:1/0": (1, -1), "s:2/0": (0, 0), "s:3/0": (-1, -2), "s:4/0": (1, None)}
    verdicts = [
        judgment(name, order, **({"error": "unread"} if outcome is None else {"outcome": outcome}))
        for name, both in outcomes.items()
        for order, outcome in zip(("AB", "BA"), both, strict=True)
    ]
    row = pair_quality.quality(pair_quality.judged(frame(verdicts)), asked(5), SETTINGS)
    assert row["value"] == pytest.approx((1 + 0.5 + 0.5 + 0) / 4), "a tie, and a verdict that turns with the order, count half"
    assert (row["ties"], row["n"], row["total"]) == (0.5, 4, 5)
    assert row["low"] < row["value"] < row["high"]
    tables.PairQuality.validate(frame([row], tables.PairQuality))


def test_pairs_of_one_user_are_drawn_together():
    """Whose judgments agree, so that twenty pairs of four users are no more than four."""
    rows = [(f"s:{n}/0", order, float(n < 10)) for n in range(20) for order in ("AB", "BA")]
    shares = pair_quality.judged(compared(*rows))
    alone, together = (pair_quality.quality(shares, asked(20, per_user), SETTINGS) for per_user in (1, 5))
    assert alone["value"] == together["value"] == 0.5
    assert together["high"] - together["low"] > 1.5 * (alone["high"] - alone["low"])


def test_where_nothing_was_read_there_is_no_figure():
    row = pair_quality.quality(pair_quality.judged(compared(("s:0/0", "AB", None), ("s:0/0", "BA", None))), asked(1), SETTINGS)
    assert (row["value"], row["low"], row["high"], row["n"], row["total"]) == (None, None, None, 0, 1)
    tables.PairQuality.validate(frame([row], tables.PairQuality))


@pytest.fixture
def longest(monkeypatch):
    """A ranker that needs no model, plugged in: the longer a reply, the better."""
    ranker = ModuleType("longest")
    ranker.NEEDS_PATH = ""
    ranker.scores = lambda rows, settings, model: {
        row["request_id"]: len(row["text"]) for row in rows if row["request_id"] != "s:0/0#rejected"
    }
    monkeypatch.setitem(sys.modules, "longest", ranker)
    monkeypatch.setitem(plugins.RANKERS, "longest", "longest")


def test_a_rankers_higher_score_wins(rated, longest, tmp_path, monkeypatch):
    """Six pairs: y+ is longer in four, as long in one, shorter in one; one side got no score."""
    written = rated(6, 64)
    scores, quality = tmp_path / "scores.parquet", tmp_path / "quality.parquet"
    run(
        monkeypatch,
        rewards,
        RewardSettings(kind="longest", path=None, max_length=64, wrong=0.0, seed=42, cut="drop"),
        ranks=scores,
        **written,
    )
    run(monkeypatch, pair_quality, SETTINGS, tasks=written["tasks"], scores=scores, quality=quality)
    (row,) = tables.read_table(tables.PairQuality, quality).to_dicts()
    assert row["value"] == pytest.approx((3 + 0.5 + 0) / 5)
    assert (row["rater"], row["n"], row["total"], row["ties"]) == ("tiny", 5, 6, 0.2)


def test_verdicts_of_a_judge_come_from_its_table(rated, tmp_path, monkeypatch):
    written = rated(3, 64)
    verdicts = compared(*[(f"s:{n}/0", order, 0.75) for n in range(3) for order in ("AB", "BA")])
    tables.write_table(verdicts, tables.Judgments, tmp_path / "judgments.parquet")
    quality = tmp_path / "quality.parquet"
    options = {"tasks": written["tasks"], "judgments": tmp_path / "judgments.parquet", "quality": quality}
    run(monkeypatch, pair_quality, SETTINGS, **options)
    assert tables.read_table(tables.PairQuality, quality)["value"].to_list() == [0.75]
