"""How a judge behaves decides what the report says of its verdicts, whatever the configuration says
of the judge."""

import pytest

from drift.report.judge_behaviour import Behaviour, behaviour, behaviours
from drift.report.notices import behaviour_notices
from tests.builders.run import CONFIG, evaluation
from tests.unit.report.rows import score

# A judge without fault, by its scores of one policy.
SOUND = {"win_rate": 0.6, "position_flip_rate": 0.1, "parse_failure_rate": 0.0, "verdict_mass": 0.99}


def judged(n: int = 400, cut: float = 0.0, **values) -> Behaviour:
    """The behaviour of a judge with these scores over `n` items, the others as those of SOUND."""
    rows = [score("tiny", metric, value=value, n=n) for metric, value in (SOUND | values).items()]
    return behaviour("heldout", "tiny", [*rows, score("", "cut_by_limit", value=cut, n=n)], [])


@pytest.mark.parametrize(
    ("table", "reading", "said"),
    [
        ({}, "no fault found", None),
        # Flips: as often as a judge that reads neither answer, at the n that was seen.
        ({"position_flip_rate": 0.5}, "means nothing", "changes sides with the order of the answers in 50.0% of 400 items"),
        ({"position_flip_rate": 0.44}, "with caution", "GPT-4 did in 35.0% of MT-Bench's"),
        ({"position_flip_rate": 0.46}, "means nothing", "cannot be told from a judge that reads neither"),
        ({"position_flip_rate": 0.34}, "no fault found", None),
        # The same rate of fewer items says less, and none of two says nothing.
        ({"position_flip_rate": 0.44, "n": 97}, "means nothing", "in 44.0% of 97 items"),
        ({"position_flip_rate": 0.0, "n": 7}, "with caution", "it judged 7 items, which leave a win rate open by 37.0%"),
        ({"position_flip_rate": 0.0, "n": 5}, "means nothing", "it judged 5 items, of which not even 5 equal verdicts"),
        ({"n": 96}, "with caution", "leave a win rate open by 10.0% either way"),
        ({"n": 97}, "no fault found", None),
        # What is no verdict.
        ({"verdict_mass": 0.02}, "means nothing", "only 2.0% of the probability of its first token"),
        ({"verdict_mass": 0.8}, "with caution", "only 80.0% of the probability"),
        ({"parse_failure_rate": 0.6}, "means nothing", "no verdict on 60.0% of the questions"),
        ({"parse_failure_rate": 0.2}, "with caution", "no verdict on 20.0% of the questions"),
        ({"parse_failure_rate": 0.05}, "no fault found", None),
        # Answers that the limit cut.
        ({"cut": 0.62}, "means nothing", "the token limit cut 62.0% of the answers"),
        ({"cut": 0.2}, "with caution", "the token limit cut 20.0% of the answers"),
    ],
)
def test_the_numbers_say_what_to_think_of_a_judge(table, reading, said):
    found = judged(**table)
    assert found.reading == reading
    reasons = found.nothing + found.caution
    assert not reasons if said is None else said in "; ".join(reasons)


def test_a_score_has_no_flips_and_no_mass():
    rows = [score("tiny", "judge_score", value=6.5, n=1024), score("tiny", "parse_failure_rate", value=0.0, n=1024)]
    assert behaviour("wildbench", "tiny", rows, []).reading == "no fault found"


@pytest.mark.parametrize(("low", "reading"), [(-0.05, "means nothing"), (0.2, "no fault found")])
def test_a_judge_that_agrees_with_published_verdicts_by_chance_alone_means_nothing(low, reading):
    kappa = {"metric": "kappa", "value": 0.25, "low": low, "high": 0.5, "n": 60}
    found = behaviour("heldout", "tiny", [score("tiny", n=400)], [kappa])
    assert found.reading == reading


def test_flips_are_those_of_all_policies_over_the_items_that_they_share():
    rows = [score("tiny", "position_flip_rate", method=f"m{k}", value=value, n=100) for k, value in enumerate((0.3, 0.5))]
    found = behaviour("heldout", "tiny", rows, [])
    assert found.nothing == (), "the interval of 0.40 of 100 ends below a half, that of 200 items further below"
    (reason,) = found.caution
    assert "40.0% of 100 items" in reason


@pytest.mark.parametrize("trusted", [True, False])
def test_a_judge_that_flips_half_of_its_verdicts_means_nothing_whether_it_is_trusted_or_not(trusted):
    config = CONFIG.model_copy(update={"evaluation": evaluation(trusted=trusted)})
    rows = [score("tiny", metric, value=value, n=400) for metric, value in (SOUND | {"position_flip_rate": 0.5}).items()]
    (notice,) = behaviour_notices(behaviours(rows, [], config), config)
    assert (notice.title, notice.kind) == ("Judge tiny on heldout", "failure")
    assert notice.text.startswith("Its verdicts mean nothing here")
    assert ("trusted: true in the configuration" in notice.text) == trusted


def test_a_judge_without_fault_is_no_warning_and_one_without_scores_is_not_read():
    rows = [score("tiny", metric, value=value, n=400) for metric, value in SOUND.items()]
    found = behaviours(rows, [], CONFIG)
    assert [(one.benchmark, one.reading) for one in found] == [("heldout", "no fault found")]
    assert [notice.kind for notice in behaviour_notices(found, CONFIG)] == ["fine"]
