"""A policy that collapses is told from one that only changes, and nothing is trained from it."""

import sys

import pytest

import behaviour
from drift.cli import StageError
from drift.config import Behaviour as Section
from drift.files import write_text
from drift.settings.training import BehaviourLimits, BehaviourSettings
from drift.tables import Behaviour, Responses, Tasks, read_table, write_table
from drift.training.behaviour_gate import check_start
from drift.training.gates import Gates
from tests.builders.replies import PROMPTS, asked, policy, table, talk

BASE = policy(55)
# Words of a reply, of the policy before and of the policy in question, as they were measured in
# runs that stayed sound (docs/collapse.md).
SOUND = [(55, 42.7), (53, 46.8), (46.8, 30.4), (53, 47.4), (47.4, 34.2), (48.2, 31.6), (42.7, 59.4), (59.4, 46.6)]


def settings(outcome: str = "fail", **limits) -> BehaviourSettings:
    section = Section(outcome=outcome, **limits).model_dump()
    known = BehaviourLimits.of(section)
    return BehaviourSettings(before="tiny/warmup", benchmark="heldout", outcome=outcome, limits=known)


def failed(replies, before=BASE, base=BASE, **changed) -> dict[str, dict]:
    """The rows of the measures that do not pass."""
    rows = Behaviour.validate(behaviour.compare(replies, before, base, asked(), settings(**changed)), cast=True)
    return {row["measure"]: row for row in rows.to_dicts() if row["passed"] is False}


@pytest.mark.parametrize(("before", "words"), SOUND)
def test_a_policy_that_only_changes_passes(before, words):
    assert failed(policy(words), policy(before), policy(53)) == {}


def test_a_policy_is_stopped_in_the_iteration_in_which_it_collapses():
    warmup, first, second = policy(42.7), policy(21.8), policy(6.2)
    assert failed(warmup) == {}
    assert "tokens_median" in failed(first, warmup)
    assert failed(second, first).keys() >= {"tokens_p25", "tokens_median", "tokens_p75"}


def test_a_slow_collapse_is_stopped_by_the_base_model():
    words = 55.0
    for _ in range(3):
        before, words = words, 0.7 * words
    assert {"tokens_median"} <= failed(policy(words), policy(before)).keys()
    assert {"tokens_median"} & failed(policy(0.7 * 55)).keys() == set()


def test_a_quarter_of_the_replies_that_shrinks_to_a_word_is_noticed():
    texts = BASE["response"].to_list()
    some = table([text if number % 3 else "Sure." + str(number) for number, text in enumerate(texts)])
    assert "tokens_p25" in failed(some)


def test_replies_that_grow_and_do_not_end_are_noticed():
    assert failed(policy(140)).keys() >= {"tokens_median", "ended"}


def loop(prompt: int, words: int) -> str:
    return " ".join((f"it is {prompt} so good and " * words).split()[:words])


def stock(prompt: int, words: int) -> str:
    phrase = "I am sorry but I can not help you with this request at all because it is not clear to me"
    return " ".join((f"{phrase} {prompt} " * words).split()[:words])


COLLAPSED = {
    "empty": (lambda prompt, words: "" if prompt % 4 == 0 else talk(prompt, words), {"empty"}),
    "one reply to all": (lambda prompt, words: "Of course, " + talk(3, 50), {"identical", "distinct_2"}),
    "stock phrases": (stock, {"distinct_2"}),
    "loops": (loop, {"repeated_4", "distinct_2"}),
    "talk of something else": (lambda prompt, words: talk((prompt + 1) % PROMPTS, words), {"on_prompt"}),
    "another script": (lambda prompt, words: " ".join(f"слово{prompt} да{i}" for i in range(words // 2 + 1)), {"script"}),
}


@pytest.mark.parametrize("kind", COLLAPSED)
def test_other_ways_to_collapse_are_told_by_the_measure_that_is_about_them(kind):
    text, expected = COLLAPSED[kind]
    assert failed(policy(55, text)).keys() >= expected
    stops = {name for name, row in failed(policy(55, text)).items() if row["stops"]}
    assert stops >= expected


def test_variety_does_not_fall_by_length_alone():
    assert "distinct_2" not in failed(policy(20), policy(30)).keys() | failed(policy(120)).keys()


def test_a_warning_stops_nothing_and_few_replies_say_nothing():
    short = policy(3)
    assert {row["stops"] for row in failed(short, outcome="warn").values()} == {False}
    assert failed(short, min_replies=PROMPTS + 1) == {}
    few = behaviour.compare(short, BASE, BASE, asked(), settings(min_replies=PROMPTS + 1))
    assert few["passed"].null_count() == len(few)
    assert few["n"].unique().to_list() == [PROMPTS]


def test_a_limit_of_ones_own_counts():
    assert failed(policy(42), min_length_base=0.9).keys() >= {"tokens_median"}
    assert failed(policy(15), min_length_base=0.1, min_length_before=0.1) == {}


def test_the_row_says_the_measure_its_limit_and_the_other_policies():
    row = failed(policy(6), policy(42))["tokens_median"]
    assert row["value"] < row["low"] < row["before"]
    assert row["detail"] == (
        f"half of the replies are at most this long, tokens: {row['value']:.3g} (limit: at least {row['low']:.3g} and at most "
        f"{row['high']:.3g}); of tiny/warmup {row['before']:.3g}, of the base model {row['base']:.3g}"
    )


@pytest.fixture
def files(tmp_path):
    for name, replies in {"responses": policy(6), "before": policy(42), "base": BASE}.items():
        write_table(replies, Responses, tmp_path / f"{name}.parquet")
    write_table(asked(), Tasks, tmp_path / "tasks.parquet")
    write_text(tmp_path / "policy.json", '{"name": "tiny/drift/seed42/iter1"}')
    return tmp_path


def run(monkeypatch, folder, outcome: str) -> None:
    given = (
        [f"--{name}={folder / name}.parquet" for name in ("responses", "before", "base", "tasks")] if outcome != "off" else []
    )
    options = ["--settings", settings(outcome).canonical(), "--behaviour", str(folder / "behaviour.parquet")]
    monkeypatch.setattr(sys, "argv", ["behaviour.py", *given, *options])
    behaviour.main()


def test_the_table_is_written_although_a_limit_is_broken_and_training_is_refused(files, monkeypatch):
    run(monkeypatch, files, "fail")
    assert not read_table(Behaviour, files / "behaviour.parquet").filter("stops").is_empty()
    gates = Gates()
    with pytest.raises(StageError) as error:
        check_start(gates, files / "policy.json", files / "behaviour.parquet")
    message = str(error.value)
    for told in (
        "tiny/drift/seed42/iter1",
        "half of the replies are at most this long, tokens: 7 (limit: at least 25",
        *("min_score", "training.learning_rate", "rejected: worst", "training.behaviour", "chosen: best"),
    ):
        assert told in message
    assert [gate["passed"] for gate in gates.results] == [False]


@pytest.mark.parametrize("outcome", ["warn", "off"])
def test_training_goes_on_where_nothing_stops_it(files, monkeypatch, outcome):
    run(monkeypatch, files, outcome)
    assert read_table(Behaviour, files / "behaviour.parquet").is_empty() == (outcome == "off")
    gates = Gates()
    check_start(gates, files / "policy.json", files / "behaviour.parquet")
    assert [gate["passed"] for gate in gates.results] == [True]


def test_a_base_model_may_always_be_started_from():
    gates = Gates()
    check_start(gates, None, None)
    assert [gate["passed"] for gate in gates.results] == [True]
