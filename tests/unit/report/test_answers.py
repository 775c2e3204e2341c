"""The same prompt with the answers of several policies."""

import pytest

from drift.report.answers import Piece, changed_share, marked, side_by_side
from tests.builders.run import CONFIG


def test_the_words_that_changed_are_marked_on_both_sides_and_the_texts_stay_whole():
    one, other = "Use a  small\nbowl. ", "Use a large bowl now."
    base, last = marked(one, other)
    assert ["".join(piece.text for piece in side) for side in (base, last)] == [one, other]
    assert [piece.text.strip() for piece in base if piece.changed] == ["small\nbowl."]
    assert [piece.text.strip() for piece in last if piece.changed] == ["large bowl now."]
    assert marked("same", "same") == ([Piece("same", False)], [Piece("same", False)])
    assert marked("", "new") == ([], [Piece("new", True)])


@pytest.mark.parametrize(
    ("one", "other", "share"), [("a b", "a b", 0.0), ("a b", "b a", 0.0), ("a b", "a c", 0.5), ("a", "b c", 1.0), ("", "", 0.0)]
)
def test_the_share_of_changed_words(one, other, share):
    assert changed_share(one, other) == pytest.approx(share)


def test_the_last_policy_of_each_method_is_beside_the_base_model_the_largest_change_first(catalog):
    drift, spin = side_by_side(catalog, CONFIG)
    assert [(found.policy.method, found.policy.iteration, found.policy.seed) for found in (drift, spin)] == [
        ("drift", 2, 42),
        ("spin", 2, 42),
    ]
    assert (drift.prompts, drift.noise) == (6, None)
    shares = [answer.share for answer in drift.shown]
    assert shares == sorted(shares, reverse=True)
    first = drift.shown[0]
    (row,) = catalog.query("SELECT baseline FROM tasks WHERE prompt_id = ? AND benchmark = 'heldout'", first.prompt_id)
    assert row["baseline"].startswith(first.logged.head)
    assert first.reference == "Logged reply, which disappointed"
