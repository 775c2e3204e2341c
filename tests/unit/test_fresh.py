"""How many of an iteration's prompts and pairs are of the newest data."""

import polars as pl
import pytest

import pairs
from drift import tables
from drift.cli import StageError
from drift.data.fresh import at_share, drawn_prompts, is_fresh
from drift.settings.data import FreshSettings
from drift.settings.sampling import RequestsSettings
from drift.settings.training import Subset
from tests.builders.pairs import fitted_prompts, pairs_settings
from tests.builders.run import stage

OLD, NEW = "logs", "users@2"


def fresh(share: float, **changed) -> FreshSettings:
    return FreshSettings(**{"share": share, "sources": [NEW], "seed": 1} | changed)


def names(older: int, newest: int) -> list[str]:
    return [f"{OLD}:{number}/0" for number in range(older)] + [f"{NEW}:{number}/0" for number in range(newest)]


def counted(taken: list[str], settings: FreshSettings) -> tuple[int, int]:
    """How many are older, and how many fresh."""
    found = [is_fresh(name, settings) for name in taken]
    return len(found) - sum(found), sum(found)


@pytest.mark.parametrize(
    ("share", "older", "newest", "wanted", "expected"),
    [
        (1.0, 90, 30, None, (0, 30)),
        (0.5, 90, 30, None, (30, 30)),
        (0.25, 90, 30, None, (90, 30)),
        (0.75, 90, 30, None, (10, 30)),
        (0.75, 4, 30, None, (4, 12)),
        (0.5, 90, 30, 20, (10, 10)),
        (1.0, 90, 30, 40, (0, 30)),
        (0.3, 7, 3, None, (7, 3)),
        (0.5, 0, 30, None, (0, 0)),
    ],
)
def test_as_many_are_taken_as_there_can_be_with_the_share(share, older, newest, wanted, expected):
    assert counted(at_share(names(older, newest), fresh(share), wanted), fresh(share)) == expected


def test_the_choice_depends_on_the_seed_alone():
    all_names = names(50, 50)
    one = at_share(all_names, fresh(0.5), 20)
    assert one == at_share(all_names[::-1], fresh(0.5), 20)
    assert set(one) != set(at_share(all_names, fresh(0.5, seed=2), 20))
    assert set(one) < set(at_share(all_names, fresh(0.5), 40)), "fewer are a part of more"


def test_a_source_is_not_taken_for_one_whose_name_begins_alike():
    assert not is_fresh("users:1/0", fresh(1.0))
    assert is_fresh("users@2:1/0", fresh(1.0))


@pytest.fixture
def fitted(tokenizer):
    """Prompts of six older and four newer conversations, one of them held out."""
    rows = fitted_prompts(tokenizer, 10)
    ids = names(6, 4)
    split = ["test" if number == 0 else "train" for number in range(10)]
    return rows.with_columns(prompt_id=pl.Series(ids), split=pl.Series(split, dtype=rows.schema["split"]))


def test_only_prompts_that_may_become_pairs_are_sampled_for(fitted, tokenizer):
    assert drawn_prompts(fitted, None).equals(fitted)
    drawn = drawn_prompts(fitted, fresh(1.0))
    assert drawn.filter(split="train").height == 4
    assert drawn.filter(split="test").height == 1
    assert counted(drawn_prompts(fitted, fresh(0.8)).filter(split="train")["prompt_id"], fresh(0.8)) == (1, 4)


@pytest.mark.parametrize(("sources", "cure"), [(["nothing"], "see in the ledger"), ([OLD, NEW], "raise fresh")])
def test_a_share_that_cannot_be_taken_stops_the_iteration_before_it_samples(fitted, sources, cure):
    with pytest.raises(StageError, match=f"share of 0.5 of fresh prompts cannot be taken.*{cure}"):
        drawn_prompts(fitted, fresh(0.5, sources=sources))


def test_pairs_keep_the_share_whatever_became_of_the_prompts():
    made = pl.DataFrame({"pair_id": names(10, 4)})
    kept, spare = pairs.subset_of(made, None, fresh(0.5))
    assert counted(kept["pair_id"].to_list(), fresh(0.5)) == (4, 4)
    assert spare["reason"].to_list() == [pairs.BEYOND] * 6
    kept, spare = pairs.subset_of(made, Subset(pairs=6, seed=9), fresh(0.5))
    assert counted(kept["pair_id"].to_list(), fresh(0.5)) == (3, 3)
    assert sorted(spare["reason"]) == [pairs.SPARE] * 2 + [pairs.BEYOND] * 6


def test_the_ledger_counts_what_the_share_costs(fitted, tmp_path):
    asked = drawn_prompts(fitted, fresh(0.5))
    made = asked.filter(split="train").select(pair_id="prompt_id")
    kept, spare = pairs.subset_of(made.filter(pl.col("pair_id") != f"{NEW}:0/0"), None, fresh(0.5))
    failed = pl.DataFrame({"prompt_id": [f"{NEW}:0/0"], "reason": [pairs.EMPTY], "detail": [""]})
    pairs.write_ledger(
        tmp_path / "ledger.parquet", "m/drift/iter2", fitted, kept, pl.concat([spare, failed]), fitted.height - asked.height
    )
    steps = tables.read_table(tables.Ledger, tmp_path / "ledger.parquet")
    dropped = dict(steps.filter(pl.col("dropped") > 0).select("reason", "dropped").iter_rows())
    assert dropped == {"test split": 1, pairs.UNDRAWN: 1, pairs.EMPTY: 1, pairs.BEYOND: 1}
    assert steps["rows_out"].to_list()[-2:] == [6, 6]


def test_too_few_pairs_of_the_newest_data_are_said_to_be_that():
    settings = pairs_settings(
        lineage="m/drift/iter2", subset={"pairs": 40, "seed": 7}, fresh={"share": 1.0, "sources": [NEW], "seed": 7}
    )
    made = pl.DataFrame({"pair_id": names(0, 3)})
    dropped = pl.DataFrame({"prompt_id": ["x"], "reason": [pairs.EMPTY]})
    with pytest.raises(StageError, match=r"training\.pairs asks for 40, 100% of them of users@2"):
        pairs.check_count(made, dropped, settings)


def test_nothing_is_asked_about_prompts_that_were_not_drawn(fitted, demo_tokenizer, tmp_path):
    tables.write_table(fitted, tables.Prompts, tmp_path / "prompts.parquet")
    settings = RequestsSettings(seed=1, unit="drift/iter2", split="train", samples={"plain": 1}, fresh=fresh(1.0))
    done = stage(
        "policy_requests.py",
        *("--prompts", "prompts.parquet", "--policy", demo_tokenizer),
        *("--settings", settings.canonical(), "--requests", "requests.parquet"),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    asked = tables.read_table(tables.Requests, tmp_path / "requests.parquet")["prompt_id"]
    assert sorted(asked) == names(0, 4)
