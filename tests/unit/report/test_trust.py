"""Lines on whether the numbers can be believed, computed from the tables of a run."""

import polars as pl
import pytest

import pairs
from drift import tables
from drift.metrics.display import minus
from drift.report import trust
from drift.report.notices import Notice
from drift.report.reading import Catalog
from tests.builders.pairs import completions, fitted_prompts, pairs_settings, requests
from tests.builders.run import CONFIG, build_catalog, build_results, evaluation
from tests.unit.report.rows import score

UNJUDGED = CONFIG.model_copy(
    update={"evaluation": evaluation(benchmarks={"wishes": {"kind": "checks", "path": "w.jsonl", "judge": []}})}
)


def rate(metric: str, **columns) -> dict:
    return score("", metric, benchmark="wishes", **columns)


def said(notices: list[Notice]) -> list[tuple[str, str]]:
    return [(notice.kind, notice.text) for notice in notices]


def test_faults_come_first():
    kinds = ["fine", "warning", "failure", "note"]
    assert [notice.kind for notice in trust.in_order(Notice("", "", kind) for kind in kinds)] == [
        *("failure", "warning", "note", "fine")
    ]


def test_few_items_are_a_warning_with_what_they_leave_open():
    rows = [rate("pass_rate", n=24), rate("pass_rate:shorter", n=3)]
    assert said(trust.item_notices(rows, UNJUDGED)) == [
        ("warning", "wishes has 24 items, which leave a share open by 20.0% either way.")
    ]
    assert said(trust.item_notices([rate("pass_rate", n=198)], UNJUDGED)) == [("fine", "wishes has 198 items.")]


def test_cut_answers_are_told_of_the_worst_policy_and_the_base_model():
    rows = [rate("cut_by_limit", value=0.17), rate("cut_by_limit", value=0.32, method="drift", iteration=2)]
    ((kind, text),) = said(trust.cut_notices(rows, UNJUDGED))
    assert kind == "warning"
    assert text.startswith("The token limit cut 32.0% of the answers of drift iteration 2 to wishes, and 17.0% of the base")
    assert "Raise evaluation.benchmarks.wishes.decoding.max_tokens" in text
    assert [notice.kind for notice in trust.cut_notices([rate("cut_by_limit", value=0.05)], UNJUDGED)] == ["fine"]
    assert [notice.kind for notice in trust.cut_notices([rate("cut_by_limit", value=0.6)], UNJUDGED)] == ["failure"]


@pytest.fixture
def faulty(tmp_path, monkeypatch) -> Catalog:
    """A run whose prompts lost turns, and whose second iteration of drift made its y+ less
    likely."""
    root = build_results(tmp_path)
    for path, schema, columns in (
        ("prompts/dsat.parquet", tables.Prompts, {"turns_trimmed": 3}),
        ("drift/seed42/iter2/margins.parquet", tables.Margins, {"policy_chosen_logp": -52.0}),
        ("drift/seed42/iter2/pairs.parquet", tables.Pairs, {"alludes": True}),
    ):
        file = root / "qwen-0.5b" / path
        values = {name: pl.lit(value, schema.create_empty().schema[name]) for name, value in columns.items()}
        tables.write_table(pl.read_parquet(file).with_columns(**values), schema, file)
    build_catalog(tmp_path)
    monkeypatch.chdir(tmp_path)
    return Catalog("results/demo/catalog.duckdb")


def test_what_the_pairs_hide_is_said(faulty):
    (trimmed,) = said(trust.trimmed_notices(faulty, CONFIG))
    (count,) = faulty.query("SELECT count(*) AS n FROM pairs WHERE method = 'warmup'")
    assert trimmed[0] == "warning"
    assert f"{count['n']} of {count['n']} pairs of the warm-up lost the oldest messages" in trimmed[1]
    assert f"and {count['n']} of them have the last message alone" in trimmed[1]
    ((kind, text),) = said(trust.likelihood_notices(faulty, CONFIG))
    (pairs,) = faulty.query("SELECT count(*) AS n FROM margins WHERE method = 'drift' AND iteration = 2")
    assert kind == "warning"
    assert f"drift iteration 2 ({pairs['n']} of {pairs['n']} pairs, mean {minus('-2.0')} nats)" in text
    ((kind, text),) = said(trust.alluding_notices(faulty, CONFIG))
    assert (kind, text.split(" open ")[0]) == ("warning", f"{pairs['n']} of {pairs['n']} y+ of drift iteration 2")


@pytest.mark.parametrize(("allusions", "kind"), [("keep", "warning"), ("strip", "fine")])
def test_words_on_feedback_that_were_stripped_are_no_warning(tokenizer, tmp_path, monkeypatch, allusions, kind):
    root, fitted = build_results(tmp_path) / "qwen-0.5b", fitted_prompts(tokenizer)
    asked = requests(fitted, "guided")
    replies = pairs.sampled_replies(
        asked, completions(asked, text="I apologize. They are old; most were built by hand, long ago.")
    )
    made, _, _ = pairs.make_pairs(fitted, replies, tokenizer, pairs_settings(allusions=allusions))
    for file in root.rglob("pairs.parquet"):
        kept = pl.read_parquet(file).with_columns(alludes=pl.lit(False))
        tables.write_table(made if "drift/seed42/iter2" in str(file) else kept, tables.Pairs, file)
    build_catalog(tmp_path)
    monkeypatch.chdir(tmp_path)
    (notice,) = trust.alluding_notices(Catalog("results/demo/catalog.duckdb"), CONFIG)
    assert notice.kind == kind


def test_labels_whose_precision_may_be_low_are_a_warning(catalog):
    ((kind, text),) = said(trust.label_notices(catalog, CONFIG))
    assert kind == "warning", "the interval begins at 79%"
    assert text == "Of the replies that rules labels DSAT, 91.0% are (95% interval 79.0% to 98.0%) by gold, over 175 replies."


def test_tasks_in_the_training_data_are_a_warning_where_they_were_not_kept_out(catalog):
    ((kind, text),) = said(trust.contamination_notices(catalog, CONFIG))
    assert (kind, text[:41]) == ("warning", "Training rows hold 2 tasks of late, which")


def test_pairs_that_were_never_rated_are_a_note():
    assert [notice.kind for notice in trust.quality_notices([])] == ["note"]
    assert [notice.kind for notice in trust.quality_notices([{"value": 0.6}])] == ["fine"]
    assert trust.quality_notices([{"value": 0.4}]) == [], "notices.quality_notices says more of it"
