"""Where the sides of a pair come from: each side's requests, and the replies that it takes."""

import sys
from types import ModuleType

import pytest
from pydantic import ValidationError

from drift import plugins, sides
from drift.cli import StageError
from drift.config import Recipe

RANKED = {"chosen": "best", "rejected": "worst"}
PROMPT = {"prompt_id": "p", "chosen": "Good.", "rejected": "Bad.", "feedback": "No."}


def completion(kind: str, sample: int = 0, text: str = " Yes.\n") -> dict:
    return {"request_id": f"p#{kind}-{sample}", "kind": kind, "sample": sample, "text": text}


def taken(chosen: str, rejected: str, *completions: dict, scores: dict | None = None) -> list[tuple[str, str]]:
    """Where both sides of each candidate come from."""
    by_kind = {}
    for row in completions:
        by_kind.setdefault(("p", row["kind"]), []).append(row)
    found = sides.candidates(PROMPT, by_kind, {"chosen": chosen, "rejected": rejected}, scores or {})
    return [(pair["chosen"]["from"], pair["rejected"]["from"]) for pair in found]


@pytest.mark.parametrize(
    ("recipe", "asked"),
    [
        ({"chosen": "logged", "rejected": "logged"}, {}),
        ({"chosen": "guided", "rejected": "logged"}, {"previous": {"guided": 3}}),
        ({"chosen": "guided", "rejected": "plain"}, {"previous": {"guided": 3, "plain": 3}}),
        ({"chosen": "guided", "rejected": "plain@initial"}, {"previous": {"guided": 3}, "initial": {"plain@initial": 3}}),
        (RANKED | {"candidates": ["plain", "guided", "plain"]}, {"previous": {"guided": 1, "plain": 2}}),
        (RANKED | {"rejected": "logged", "candidates": ["guided", "guided"]}, {"previous": {"guided": 2}}),
        (RANKED | {"candidates": ["plain@initial", "plain"]}, {"previous": {"plain": 1}, "initial": {"plain@initial": 1}}),
    ],
)
def test_a_prompt_is_asked_what_its_sides_need_of_the_policy_that_they_are_from(recipe, asked):
    assert sides.samples(recipe, 3) == asked
    for kinds in sides.samples(recipe, 3).values():
        assert list(kinds) == sorted(kinds), "the order of requests is that of their kinds"


def test_a_logged_side_is_the_logged_reply_of_that_side():
    (pair,) = sides.candidates(PROMPT, {}, {"chosen": "logged", "rejected": "logged"}, {})
    assert [pair[side]["text"] for side in ("chosen", "rejected")] == ["Good.", "Bad."]
    assert [pair[side]["reply"] for side in ("chosen", "rejected")] == [None, None]


def test_samples_are_taken_in_their_order_without_white_space_around_them():
    rows = [completion("guided", 0), completion("guided", 1)]
    assert taken("guided", "logged", *rows) == [("p#guided-0", "logged"), ("p#guided-1", "logged")]
    (first, _) = sides.candidates(PROMPT, {("p", "guided"): rows}, {"chosen": "guided", "rejected": "logged"}, {})
    assert first["chosen"]["text"] == "Yes."


def test_the_ends_of_a_ranking_meet_and_no_reply_is_both():
    rows = [completion("plain", 0), completion("plain", 1), completion("guided", 0), completion("guided", 1)]
    scores = {"p#plain-0": 5.0, "p#plain-1": 1.0, "p#guided-0": 3.0}
    pairs = taken("best", "worst", *rows, scores=scores)
    assert pairs[0] == ("p#plain-0", "p#plain-1")
    assert len(pairs) == 6
    assert not [pair for pair in pairs if pair[0] == pair[1] or "p#guided-1" in pair], "without a score, in no ranking"


def test_an_anchor_of_the_initial_policy_is_rejected_at_most_however_well_it_ranks():
    rows = [completion("plain", 0), completion("plain", 1), completion("plain@initial", 0), completion("plain@initial", 1)]
    scores = {"p#plain-0": 5.0, "p#plain-1": 1.0, "p#plain@initial-0": 9.0, "p#plain@initial-1": 0.0}
    pairs = taken("best", "worst", *rows, scores=scores)
    assert pairs[0] == ("p#plain-0", "p#plain@initial-1")
    assert {chosen for chosen, _ in pairs} == {"p#plain-0", "p#plain-1"}
    assert "p#plain@initial-0" in {rejected for _, rejected in pairs}


def test_the_past_is_rejected_and_the_future_chosen():
    """Temporal Self-Rewarding: the best of the previous and the future policy, against the worst of
    the previous and the initial one."""
    kinds = ("plain", "plain@initial", "plain@future")
    rows = [completion(kind, sample) for kind in kinds for sample in (0, 1)]
    scores = dict(zip([row["request_id"] for row in rows], [5.0, 2.0, 9.0, 1.0, 6.0, 0.0], strict=True))
    assert taken("best", "worst", *rows, scores=scores)[0] == ("p#plain@future-0", "p#plain@initial-1")
    scores |= {"p#plain@future-0": 5.0, "p#plain@initial-1": 3.0}
    assert taken("best", "worst", *rows, scores=scores)[0] == ("p#plain-0", "p#plain-1"), "ties leave the draft as it is"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"chosen": "plain@initial", "rejected": "logged"}, "chosen: plain@initial is a rejected side, not a chosen one"),
        ({"chosen": "plain@future", "rejected": "logged"}, "chosen: plain@future is a candidate"),
        ({"chosen": "written", "rejected": "logged"}, "writer: a recipe with a side or a candidate that is written"),
        (
            {"chosen": "guided", "rejected": "logged", "mix": {"side": "guided", "shares": [0.5]}},
            "mix.side: guided must be another",
        ),
        (
            {"chosen": "guided", "rejected": "logged", "mix": {"side": "worst", "shares": [0.5]}},
            "mix.side: worst must be another",
        ),
        ({"chosen": "guided", "rejected": "logged", "writer": "judge"}, "writer: a recipe with a side"),
        (
            RANKED | {"candidates": ["plain", "plain", "plain@future"], "rank": "likelihood"},
            "rank: likelihood compares all candidates at once",
        ),
        (RANKED | {"candidates": ["plain", "plain@future"], "rank": "self"}, "candidates: a ranking needs two or more"),
        (
            RANKED | {"candidates": ["plain@initial", "plain@initial"], "rank": "self"},
            "candidates: best takes none of plain@initial, plain@initial, which are never chosen",
        ),
    ],
)
def test_a_reply_of_another_policy_where_it_cannot_be_is_refused(row, message):
    with pytest.raises(ValidationError, match=message):
        Recipe(prompts="dsat", **row)


def test_of_equal_scores_the_guided_reply_comes_first():
    rows = [completion("plain"), completion("guided")]
    pairs = taken("best", "logged", *rows, scores={"p#plain-0": 1.0, "p#guided-0": 1.0})
    assert pairs == [("p#guided-0", "logged"), ("p#plain-0", "logged")]


def test_a_prompt_without_the_requests_of_its_side_is_refused():
    with pytest.raises(StageError, match="prompt p has no guided request; rebuild the requests"):
        taken("guided", "logged", completion("plain"))


def test_a_prompt_without_what_a_side_shows_has_none_of_its_replies():
    silent = {"prompt_id": "p", "rejected": "no", "feedback": None}
    assert sides.replies_of_kind("guided", silent, {}, {}) == []


@pytest.fixture
def terse(monkeypatch):
    """A side of its own, plugged in: a reply that is sampled with the system's wish for brevity."""
    side = ModuleType("terse")
    side.NEEDS = sides.Needs(shown=("feedback",))
    side.asks = lambda recipe, n: {"terse": n}
    side.request = lambda tokenizer, prompt, settings: ([], [])
    side.replies = lambda prompt, side, sampled, scores: sides.replies_of_kind("terse", prompt, sampled, scores)
    monkeypatch.setitem(sys.modules, "terse", side)
    monkeypatch.setitem(plugins.SIDES, "terse", "terse")


def test_a_new_side_is_a_module_and_a_line(terse):
    assert sides.samples({"chosen": "terse", "rejected": "logged"}, 2) == {"previous": {"terse": 2}}
    assert taken("terse", "logged", completion("terse")) == [("p#terse-0", "logged")]
    assert Recipe(prompts="dsat", chosen="terse", rejected="logged").chosen == "terse"
    with pytest.raises(ValidationError, match="chosen: terse shows the user's feedback, which sat does not have; use plain"):
        Recipe(prompts="sat", chosen="terse", rejected="plain")


def test_a_side_that_nobody_plugged_in_is_refused_with_the_nearest():
    with pytest.raises(ValidationError, match="there is no 'gided', did you mean 'guided'"):
        Recipe(prompts="dsat", chosen="gided", rejected="logged")


def test_a_side_that_is_not_sampled_cannot_be_a_candidate():
    with pytest.raises(ValidationError, match="candidates: logged is not sampled from the policy; use plain or guided"):
        Recipe(prompts="dsat", chosen="best", rejected="worst", candidates=["logged", "plain"], rank="self")
