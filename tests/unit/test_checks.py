"""What code decides about replies: which check a reply keeps, and what is refused as a check."""

import json

import polars as pl
import pytest

import checks as stage
from drift import benchmarks, plugins, tables
from drift.checks import Check
from drift.checks.topics import names_topic
from drift.metrics.check_metrics import beyond_length, check_statistics
from drift.names import DIRECTIONS

EXACTLY_TWO = {"at_least": 2, "at_most": 2}


@pytest.mark.parametrize(
    ("name", "arguments", "kept", "failed"),
    [
        ("words", {"at_most": 3}, "one two three", "one two three four"),
        ("words", {"at_least": 3}, "one\n\ntwo three", "one two-three"),
        ("sentences", {"at_least": 1, "at_most": 1}, "Only one (really).", 'He said "Yes." Then he left.'),
        ("sentences", EXACTLY_TWO, "Is it? It is!", "It is 3.5 metres."),
        ("sentences", EXACTLY_TWO, "He said \u201cYes.\u201d Then he left.", "He said \u201cYes\u201d and left."),
        ("sentences", EXACTLY_TWO, "**Rinse it.** _Then dry it._", "**Rinse** it, and _dry_ it."),
        ("sentences", EXACTLY_TWO, "Wait\u2026 Then go.", "It is\u2026well, big."),
        ("sentences", EXACTLY_TWO, "\u79c1\u306f\u732b\u3002\u541b\u306f\uff1f", "\u732b\u3068\u72ac\u3001\u9ce5\u3002"),
        ("sentences", EXACTLY_TWO, "1. Rinse it.\n2. Dry it.", "1. Rinse it.\n2. Dry it.\n3. Fold it."),
        ("sentences", EXACTLY_TWO, "**1.** Soap\n**2.** Water", "In 1990. In 2000. In 2010."),
        ("paragraphs", EXACTLY_TWO, "first\n \nsecond\n", "first\nsecond"),
        ("includes", {"phrase": "because"}, "Because of rain.", "It is becausewise so."),
        ("includes", {"phrase": "for example"}, "Birds, for example, fly.", "Examples for birds."),
        ("ends_with", {"text_at_end": "?"}, "Does it? \n", "Does it? Yes."),
        ("ends_with", {"text_at_end": "Thank you. "}, "Done. Thank you.\n", "Thank you. Done."),
        ("ends_with", {"text_at_end": "?"}, "**Well?** _Shall I go on?_\n", "Shall I _go on?_ Yes."),
        ("ends_with", {"text_at_end": "*"}, "Marked with *", "Marked"),
        ("ends_with", {"text_at_end": "That's all."}, "So it is. That\u2019s all.", "That is all."),
        ("includes", {"phrase": " because "}, "It is because of rain.", "It is becausewise so."),
        ("includes", {"phrase": "because"}, "It is so _because_ of rain.", "It is _becausewise_ so."),
        ("includes", {"phrase": "don't"}, "They don\u2019t fly.", "They do not fly."),
        ("includes", {"phrase": "don\u2019t"}, "They don't fly.", "They do not fly."),
        ("includes", {"phrase": "\u56e0\u4e3a"}, "\u8fd9\u662f\u56e0\u4e3a\u4e0b\u96e8\u3002", "\u4e0b\u96e8\u3002"),
        ("no_digits", None, "three", "3"),
        ("no_list", None, "a - b, 1. c", "This:\n- a"),
        ("no_list", None, "plain", "1) first"),
    ],
)
def test_a_check_is_kept_or_not(name, arguments, kept, failed):
    check = Check.of(name, arguments)
    assert check.passes(kept)
    assert not check.passes(failed)
    assert not check.passes(" \n"), "an empty reply keeps nothing"


def test_every_check_can_be_asked_for_and_complained_of():
    arguments = {"includes": {"phrase": "x"}, "ends_with": {"text_at_end": "?"}, "no_digits": {}, "no_list": {}}
    for name in plugins.CHECKS:
        check = Check.of(name, arguments.get(name, EXACTLY_TWO))
        assert check.direction in DIRECTIONS
        assert check.wish.endswith(".")
        assert check.complaint.endswith(".")
        assert check.wish != check.complaint


def test_limits_on_a_count_shorten_or_lengthen_unless_the_task_knows_better():
    assert Check.of("words", {"at_most": 30}).direction == "shorter"
    assert Check.of("words", {"at_least": 60}).direction == "longer"
    assert Check.of("paragraphs", EXACTLY_TWO, "longer").direction == "longer"


@pytest.mark.parametrize(
    ("name", "arguments", "direction", "message"),
    [
        ("wrods", None, None, "there is no 'wrods', did you mean 'words'"),
        (None, None, None, "there is no 'None'"),
        ("words", {}, None, "check words: give at_least, at_most, or both"),
        ("words", {"at_most": "30"}, None, "check words: at_most: Input should be a valid integer"),
        ("words", {"maximum": 30}, None, "check words: maximum: Unexpected keyword argument"),
        ("words", {"at_most": 0}, None, "1 or more"),
        ("words", {"at_least": 5, "at_most": 3}, None, "at_least 5 is above at_most 3"),
        ("words", [30], None, "check words: arguments is not an object"),
        ("includes", {"phrase": " "}, None, "phrase is empty"),
        ("no_digits", {"x": 1}, None, "check no_digits: x: Unexpected keyword argument"),
        ("no_digits", None, "sideways", "direction is none of shorter, longer, neutral"),
    ],
)
def test_what_is_no_check_is_refused(name, arguments, direction, message):
    with pytest.raises(ValueError, match=message):
        Check.of(name, arguments, direction)


def task(number: int, *checks: dict) -> dict:
    """A task of the benchmark kind checks."""
    record = {"id": str(number), "prompt": "Tell me about owls.", "checks": list(checks)}
    return {"prompt_id": str(number)} | benchmarks.load("checks").task(record)


@pytest.mark.parametrize(
    ("checks", "message"),
    [
        ([], "a task that nothing checks"),
        ("words", "not a list"),
        ([{"name": "no_list"}, {"name": "no_list"}], "one is there twice"),
        ([{"name": "no_list", "argument": 3}], "other than name, arguments and direction"),
        (["no_list"], "other than name, arguments and direction"),
    ],
)
def test_a_task_whose_checks_cannot_be_read_is_refused(checks, message):
    with pytest.raises(ValueError, match=message):
        benchmarks.load("checks").task({"id": "1", "prompt": "Why?", "checks": checks})


@pytest.mark.parametrize(("topics", "message"), [("owls", "topics is not a list"), (["owl", " "], "topics: one is empty")])
def test_topics_that_cannot_be_read_are_refused(topics, message):
    with pytest.raises(ValueError, match=message):
        benchmarks.load("checks").task({"id": "1", "prompt": "Why?", "checks": [{"name": "no_list"}], "topics": topics})


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("Owls fly.", True),
        ("An OWL-like bird", True),
        ("Barn\nowls", True),
        ("I howl in the bowl.", False),
        ("Tell me more.", False),
        ("The maple  tree", False),
        ("The Maple trees", True),
        ("_Owls_ fly.", True),
        ("\u8fd9\u53ea\u732b\u5934\u9e70\u5728\u98de\u3002", True),
    ],
)
def test_a_reply_is_on_topic_where_a_word_begins_with_one_of_its_topics(text, named):
    assert names_topic(text, ["owl", "maple tree", "\u732b\u5934\u9e70"]) is named


def test_a_kept_wish_counts_on_topic_where_the_answer_names_the_topic():
    """Of four tasks three have a topic; the answers of two name it, of which one keeps its wish."""
    kind = benchmarks.load("checks")
    wish = [{"name": "words", "arguments": {"at_most": 3}}]
    named = {"1": ["owl"], "2": ["owl"], "3": ["owl"], "4": None}
    rows = [
        {"prompt_id": name} | kind.task({"id": name, "prompt": "Why?", "checks": wish, "topics": topics})
        for name, topics in named.items()
    ]
    tasks = pl.DataFrame(rows, schema=tables.Tasks.create_empty().schema)
    texts = {"1": "Owls fly.", "2": "Owls fly at night.", "3": "Three words only.", "4": "No topic here."}
    answers = pl.DataFrame([(name, 0, text) for name, text in texts.items()], ["prompt_id", "sample", "response"], orient="row")
    checks = (
        stage.check(tasks, answers, kind.check, {}).join(answers, on=["prompt_id", "sample"]).with_columns(tokens=pl.lit(3))
    )
    found = {name: statistic.value() for name, statistic in kind.check_metrics(checks, checks, tasks).items()}
    assert found["on_topic"] == pytest.approx(2 / 3)
    assert found["pass_rate_on_topic"] == pytest.approx(1 / 3)
    assert found["pass_rate"] == pytest.approx(3 / 4)
    without = kind.check_metrics(checks, checks, tasks.with_columns(topics=pl.lit(None, pl.List(pl.String))))
    assert without.keys() == found.keys() - {"on_topic", "pass_rate_on_topic"}


def test_each_answer_is_checked_for_what_its_own_task_asks():
    rows = [task(1, {"name": "words", "arguments": {"at_most": 2}}, {"name": "no_digits"}), task(2, {"name": "no_list"})]
    tasks = pl.DataFrame(rows, schema=tables.Tasks.create_empty().schema)
    answers = [("1", 0, "Two owls"), ("1", 1, "2 owls at night"), ("2", 0, "")]
    responses = pl.DataFrame(answers, schema=["prompt_id", "sample", "response"], orient="row")
    found = stage.check(tasks, responses, benchmarks.load("checks").check, {})
    assert found.select("prompt_id", "sample", "check", "passed").rows() == [
        ("1", 0, "words(at_most=2)", True),
        ("1", 0, "no_digits", True),
        ("1", 1, "words(at_most=2)", False),
        ("1", 1, "no_digits", False),
        ("2", 0, "no_list", False),
    ]
    assert json.loads(tasks["checks"][0][0]["arguments"]) == {"at_most": 2}


def test_a_policy_that_only_shortens_gains_in_one_direction_and_loses_in_the_other():
    def measured(shorter: list[bool], longer: list[bool]) -> dict[str, float]:
        rows = [(f"s{i}", 0, "words(at_most=9)", "shorter", passed) for i, passed in enumerate(shorter)]
        rows += [(f"l{i}", 0, "words(at_least=60)", "longer", passed) for i, passed in enumerate(longer)]
        table = pl.DataFrame(rows, schema=tables.Checks.create_empty().schema, orient="row")
        return {name: statistic.value() for name, statistic in check_statistics(table).items()}

    # Of nine checks that ask for less and one that asks for more, a plain mean would see 0.5 rise
    # to 0.9.
    before, after = measured([True] * 4 + [False] * 5, [True]), measured([True] * 9, [False])
    assert before["pass_rate"] == pytest.approx((4 / 9 + 1) / 2)
    assert after["pass_rate"] == pytest.approx(0.5)
    assert (after["pass_rate:shorter"], after["pass_rate:longer"]) == (1, 0)
    assert after["pass_rate:words(at_least=60)"] == 0
    assert after["all_passed"] == pytest.approx(0.9)


def test_pass_rate_is_the_mean_of_its_directions_however_many_checks_a_task_has():
    """Half of the tasks keep the one check that they have; the others keep two of three, not the
    one for more words. Two samples each."""
    rows = []
    for sample in (0, 1):
        rows += [(f"a{i}", sample, "words(at_least=60)", "longer", True) for i in range(50)]
        rows += [(f"b{i}", sample, "words(at_least=60)", "longer", False) for i in range(50)]
        rows += [(f"b{i}", sample, check, "neutral", True) for i in range(50) for check in ("no_list", "no_digits")]
    table = pl.DataFrame(rows, schema=tables.Checks.create_empty().schema, orient="row")
    found = {name: statistic.value() for name, statistic in check_statistics(table).items()}
    assert (found["pass_rate:longer"], found["pass_rate:neutral"]) == (0.5, 1.0)
    assert found["pass_rate"] == pytest.approx(0.75)
    answers = table.with_columns(tokens=pl.lit(9))
    base = answers.with_columns(passed=pl.lit(False))
    assert beyond_length(answers, base).value() == pytest.approx(0.75), "all answers are as long"


def of_lengths(*answers: tuple[int, bool], check: str = "words(at_most=9)", direction: str = "shorter") -> pl.DataFrame:
    """Checks of answers of these lengths, with whether they keep the check."""
    rows = [(str(number), 0, check, direction, passed, tokens) for number, (tokens, passed) in enumerate(answers)]
    return pl.DataFrame(rows, schema=tables.Checks.create_empty().schema | {"tokens": pl.Int64}, orient="row")


def test_a_gain_that_the_lengths_of_answers_explain_is_none_beyond_length():
    base = of_lengths(*[(tokens, tokens < 50) for tokens in range(100)])
    shorter = of_lengths(*[(tokens // 2, tokens // 2 < 50) for tokens in range(100)])
    assert check_statistics(shorter)["pass_rate"].value() == 1.0, "half of the base model's answers are too long"
    assert beyond_length(shorter, base).value() == pytest.approx(0, abs=0.06)
    as_long = of_lengths(*[(tokens, tokens < 80) for tokens in range(100)])
    assert beyond_length(as_long, base).value() == pytest.approx(0.3)
    assert beyond_length(base, base).value() == pytest.approx(0)


def test_beyond_length_is_the_mean_of_the_directions():
    base = of_lengths(*[(9, False)] * 4)
    gained = of_lengths(*[(9, True)] * 4)
    long = {"check": "words(at_least=60)", "direction": "longer"}
    as_before = of_lengths((9, False), **long)
    found = beyond_length(pl.concat([gained, as_before]), pl.concat([base, as_before]))
    assert found.value() == pytest.approx(0.5)


def test_beyond_length_is_of_the_directions_that_each_task_gives_a_check():
    """As pass_rate is: the same check makes the answers to one task longer, those to another
    shorter."""

    def answers(longer: bool, shorter: bool, first: str) -> pl.DataFrame:
        of = {"check": "paragraphs(at_least=2,at_most=2)", "direction": "longer"}
        rows = of_lengths((9, longer), **of), of_lengths(*[(9, shorter)] * 3, **of | {"direction": "shorter"})
        named = [table.with_columns(prompt_id=pl.col("direction") + pl.col("prompt_id")) for table in rows]
        return pl.concat(named if first == "longer" else named[::-1])

    for first in ("longer", "shorter"):
        base, policy = answers(False, False, first), answers(True, False, first)
        gained = [check_statistics(table)["pass_rate"].value() for table in (base, policy)]
        assert gained == [0, 0.5]
        assert beyond_length(policy, base).value() == pytest.approx(0.5)
