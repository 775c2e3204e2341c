"""Single replies are what satisfied or disappointed somebody, each once, under the limits of pairs;
what cannot be is refused before anything runs."""

import json
import subprocess
import sys
from types import SimpleNamespace

import polars as pl
import pytest

import unpaired
from drift import layout, tables
from drift.config import load
from drift.names import UNPAIRED_POOLS
from drift.workflow.iterations import Iterations
from drift.workflow.plan.trainings import trainings
from drift.workflow.plan.work import Lengths, generations, readings
from drift.workflow.report import ReportInputs
from tests.builders.configurations import minimal, refusal
from tests.builders.corpus import Corpus, add_many, drops, ids
from tests.builders.unpaired import fitted_pools, unpaired_settings
from tests.conftest import REPOSITORY

KTO = {"prompts": "unpaired", "training": {"losses": {"kto": 1.0}}}


# The pool


def test_a_thumb_down_without_a_word_is_no_anchored_negative_and_has_a_pool_of_its_own(tmp_path):
    corpus = Corpus(tmp_path)
    corpus.add("said", "one", ("two", "no", "DSAT"))
    corpus.add("silent", "three", ("four", "", "DSAT"))
    corpus.add("copy", "three", ("four", "", "DSAT"))
    corpus.add("happy", "five", ("six", "", "SAT"))
    for turn in corpus.turns:
        turn["feedback"] = turn.get("feedback") or None
    chosen, ledger = corpus.choose()
    assert ids(chosen["dsat"]) == {"s:said/0"}
    assert ids(chosen["sat"]) == {"s:happy/0"}
    (row,) = chosen["wordless"].rows(named=True)
    assert (row["prompt_id"], row["rejected"], row["split"]) == ("s:copy/0", "four", "train")
    assert drops(ledger, "wordless") == {
        "not labelled DSAT": 1,
        "the user said something of it": 1,
        "same prompt and reply as another": 1,
    }


def test_what_users_left_without_a_word_is_on_the_side_of_the_split_that_its_user_is_on(tmp_path):
    corpus = add_many(Corpus(tmp_path))
    for number in range(30):
        corpus.add(f"silent{number}", f"Question {number - number % 3 // 2}?", (f"mute {number}", "", "DSAT"))
    for turn in corpus.turns:
        turn["feedback"] = turn.get("feedback") or None
    chosen, _ = corpus.choose(test_conversations=8)
    clusters = {
        pool: {split: set(rows.filter(split=split)["cluster"]) for split in ("train", "test")} for pool, rows in chosen.items()
    }
    assert clusters["wordless"]["test"]
    assert clusters["wordless"]["test"] <= clusters["dsat"]["test"]
    assert not clusters["wordless"]["train"] & clusters["dsat"]["test"]


# The rows


def test_every_reply_is_desirable_or_not_by_its_pool_and_carries_its_tokens(tokenizer):
    pools = fitted_pools(tokenizer)
    rows, dropped = unpaired.make_rows(unpaired.candidates(pools), tokenizer, unpaired_settings())
    tables.Unpaired.validate(rows)
    assert dropped.is_empty()
    found = rows.group_by("pool").agg(pl.col("desirable").unique(), pl.len()).sort("pool").rows()
    assert found == [("dsat", [False], 3), ("sat", [True], 2), ("wordless", [False], 2)]
    row = rows.row(0, named=True)
    assert tokenizer.decode(row["reply_token_ids"]).startswith(row["reply"])
    assert tokenizer.eos_token_id in row["reply_token_ids"][-2:]
    assert row["reply_tokens"] == len(row["reply_token_ids"])


def test_a_reply_over_the_limit_is_a_prefix_or_none(tokenizer):
    found = unpaired.candidates(fitted_pools(tokenizer)).with_columns(reply=pl.lit("word " * 40))
    rows, _ = unpaired.make_rows(found, tokenizer, unpaired_settings(max_tokens=8, cut="prefix"))
    assert set(rows["reply_tokens"]) == {8}
    assert rows["cut"].all()
    assert tokenizer.eos_token_id not in rows["reply_token_ids"][0]
    _, dropped = unpaired.make_rows(found, tokenizer, unpaired_settings(max_tokens=8))
    assert set(dropped["reason"]) == {"reply longer than max_tokens"}


def test_copies_contradictions_and_test_rows_are_left_out_and_counted(tokenizer, tmp_path):
    pools = fitted_pools(tokenizer)
    # The same exchange with and without a word; one reply with both labels; a held-out one.
    pools["wordless"] = pools["wordless"].with_columns(rejected=pl.col("rejected").str.replace("wordless", "dsat"))
    pools["sat"] = pools["sat"].with_columns(prompt_id=pl.col("prompt_id").str.replace("sat:s:1", "dsat:s:2"))
    pools["dsat"] = pools["dsat"].with_columns(split=pl.when(prompt_id="dsat:s:0/0").then(pl.lit("test")).otherwise("split"))
    found = unpaired.candidates(pools)
    rows, dropped = unpaired.make_rows(found, tokenizer, unpaired_settings())
    assert set(rows["prompt_id"]) == {"dsat:s:1/0", "sat:s:0/0", "wordless:s:0/0"}
    unpaired.write_ledger(str(tmp_path / "ledger.parquet"), "tiny/kto/seed42/iter1", found.height, rows, dropped)
    ledger = tables.read_table(tables.Ledger, tmp_path / "ledger.parquet")
    lost = dict(ledger.filter(pl.col("dropped") > 0).select("reason", "dropped").iter_rows())
    assert lost == {unpaired.TEST: 1, unpaired.BOTH: 2, unpaired.COPY: 1}
    assert (ledger["rows_in"][0], ledger["rows_out"][-1], ledger["unit_out"][-1]) == (7, 3, "replies")


def test_hindsight_is_the_prompt_with_what_the_user_said_and_needs_a_word(tokenizer):
    found = unpaired.candidates(fitted_pools(tokenizer))
    rows, dropped = unpaired.make_rows(found, tokenizer, unpaired_settings(hindsight=True))
    assert set(dropped["reason"]) == {"the user said nothing of it"}
    assert set(rows["pool"]) == {"dsat", "sat"}
    row = rows.row(0, named=True)
    told = tokenizer.decode(row["hindsight_token_ids"])
    assert row["prompt"][-1]["content"] in told
    assert "The user's answer: I see." in told
    assert "I see." not in tokenizer.decode(row["prompt_token_ids"]), "the policy itself is not told"
    _, dropped = unpaired.make_rows(found, tokenizer, unpaired_settings(hindsight=True, max_length=70))
    assert unpaired.FAR in set(dropped["reason"])
    with pytest.raises(unpaired.cli.StageError, match="no reply has an answer of its user that fits"):
        unpaired.check_count(rows.clear(), unpaired_settings(hindsight=True))
    unpaired.check_count(rows.filter("desirable"), unpaired_settings(hindsight=True))


def test_as_many_replies_are_taken_as_the_pairs_of_other_methods_have(tokenizer):
    rows, _ = unpaired.make_rows(unpaired.candidates(fitted_pools(tokenizer)), tokenizer, unpaired_settings())
    kept, spare = unpaired.subset_of(rows, 4, 42)
    assert (kept.height, spare.height) == (4, 3)
    fewer, _ = unpaired.subset_of(rows, 2, 42)
    assert set(fewer["prompt_id"]) < set(kept["prompt_id"])
    with pytest.raises(
        unpaired.cli.StageError, match=r"5 undesirable replies, and training\.pairs asks for 8, two for each pair"
    ):
        unpaired.check_count(rows, unpaired_settings(replies=8))


@pytest.mark.parametrize(
    ("pools", "said"), [({"sat": 0}, "none is desirable"), ({"dsat": 0, "wordless": 0}, "none is undesirable")]
)
def test_replies_of_one_label_alone_are_refused_with_the_cure_after_the_ledger_is_written(
    tokenizer, demo_tokenizer, tmp_path, pools, said
):
    for name, rows in fitted_pools(tokenizer, **pools).items():
        tables.write_table(rows, tables.Prompts, tmp_path / f"{name}.parquet")
    read = [word for name in UNPAIRED_POOLS for word in (f"--{name}", str(tmp_path / f"{name}.parquet"))]
    written = [word for name in ("unpaired", "dropped", "ledger") for word in (f"--{name}", str(tmp_path / f"{name}.parquet"))]
    command = [sys.executable, str(REPOSITORY / "scripts/unpaired.py"), *read, "--policy", str(demo_tokenizer), *written]
    command += ["--settings", unpaired_settings().canonical()]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert said in done.stderr
    assert "take one that reads what users left" in done.stderr
    assert (tmp_path / "ledger.parquet").is_file()
    assert not (tmp_path / "unpaired.parquet").is_file()


# The configuration


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (KTO | {"chosen": "guided", "rejected": "logged"}, "which have no chosen, rejected; leave that out, or make pairs"),
        (KTO | {"mix": {"side": "plain", "shares": [0.5]}}, "which have no mix"),
        (KTO | {"replay": 1}, "are the same in every iteration; set training.epochs"),
        ({"prompts": "unpaired"}, "sigmoid, sft compares the two replies of a pair, and prompts: unpaired has single ones"),
        ({"prompts": "unpaired", "training": {"losses": {"cream": 1.0}}}, "set training: {losses: {kto: 1.0}} in the row"),
        (KTO | {"training": {"losses": {"kto": 1.0, "sft": 0.1}}}, "kto is of single replies and has a trainer of its own"),
        (KTO | {"training": {"losses": {"kto": 1.0}, "device_batch": 1}}, "device_batch must be at least 2"),
        (
            KTO | {"training": {"losses": {"sdpo": 1.0}, "label_weights": {"desirable": 2.0}}},
            "label_weights has no effect on sdpo",
        ),
        (KTO | {"prompts": "dsat"}, "chosen and rejected: where does this side of a pair come from?"),
        (KTO | {"prompts": "unpared"}, "prompts: Input should be 'dsat', 'sat', 'corrections' or 'unpaired'"),
        (KTO | {"training": {"losses": {"kto": 1.0}, "pacing": {"shares": [0.5]}}}, "pacing: it orders pairs; set training"),
        (KTO | {"training": {"losses": {"kto": 1.0}, "label_weights": {"desirable": 0.0}}}, "greater than 0"),
    ],
)
def test_what_makes_no_sense_of_single_replies_is_refused_with_the_cure(row, said):
    assert said in refusal(minimal(methods=["mine"], recipes={"mine": row}))


def test_a_loss_of_single_replies_is_for_no_pairs():
    pairs = {"prompts": "dsat", "chosen": "guided", "rejected": "logged", "training": {"losses": {"kto": 1.0}}}
    said = "kto trains on replies one by one, which prompts: unpaired gives; set both in the row of a method"
    assert said in refusal(minimal(methods=["mine"], recipes={"mine": pairs}))
    assert "training.losses: " + said in refusal(minimal(training={"losses": {"kto": 1.0}}))
    weights = {"label_weights": {"desirable": 2.0}}
    assert "label_weights has no effect on sigmoid, sft; it belongs to kto" in refusal(minimal(training=weights))


@pytest.fixture
def config():
    own = KTO["training"] | {"label_weights": {"desirable": 2.0}}
    recipes = minimal()["recipes"] | {"kto": KTO | {"start": "base", "training": own}}
    return load(minimal(methods=["drift", "kto"], recipes=recipes, training={"pairs": 10}))


def test_an_iteration_waits_for_no_pairs_and_samples_nothing(config):
    paths = layout.paths("results/small")
    iterations = Iterations(config, paths)
    job = SimpleNamespace(model="llama", trained="kto/seed42/iter2")
    assert iterations.rows(job) == "results/small/llama/kto/seed42/iter2/unpaired.parquet"
    assert iterations.samples(job.trained) == {}
    assert {path.rsplit("/", 1)[1] for path in iterations.gate_prompts(job)} == {
        f"{pool}.parquet" for pool in ("corrections", "dsat", "sat", "wordless")
    }
    assert [path.name for path in iterations.losses(job)] == ["kto.py"]
    assert json.loads(iterations.train_settings(job))["label_weights"] == {"desirable": 2.0, "undesirable": None}
    job.trained = "drift/seed42/iter2"
    assert json.loads(iterations.train_settings(job))["label_weights"] is None
    report = ReportInputs(config, paths, iterations.policies("llama"))
    assert not [path for path in (*report.diagnostics(None), *report.pair_quality(None)) if "/kto/" in path]
    ledgers = report.ledgers(None)
    assert "results/small/llama/kto/seed42/iter1/ledger.parquet" in ledgers
    assert "results/small/llama/prompts/wordless.ledger.parquet" in ledgers


def test_a_plan_counts_two_replies_for_a_pair_and_neither_samples_nor_ratings(config):
    rows = {"dsat": 100, "sat": 50, "corrections": 5}
    trained = [training for training in trainings(config, rows) if training.method == "kto"]
    assert [(training.pairs, training.measured) for training in trained] == [(20, False)] * 2
    config["methods"] = ["kto"]
    assert {work.rule for work in generations(config, rows, Lengths())} == {"respond", "judge"}
    assert [work.rule for work in readings(config, rows, Lengths())] == ["logps"]
