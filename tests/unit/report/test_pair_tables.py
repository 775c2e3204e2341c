"""Pairs to read, and prompts without one."""

from markupsafe import Markup

from drift.config import Recipe
from drift.report.excerpts import LONGEST, OPEN_CHARACTERS, OPEN_LINES, Excerpt, excerpt, safe
from drift.report.pair_tables import dropped_table, pair_lengths, sampled_pairs
from drift.report.reading import Policy
from tests.builders.run import CONFIG


def test_sampled_pairs_are_of_the_last_iterations(catalog):
    pairs = sampled_pairs(catalog, CONFIG)
    assert len(pairs) == 12
    assert {(pair.policy.method, pair.policy.iteration) for pair in pairs} == {("drift", 2), ("spin", 2)}
    assert len({(pair.policy.method, pair.pair_id) for pair in pairs}) == 12
    spin = next(pair for pair in pairs if pair.policy.method == "spin")
    assert (spin.earlier, spin.chosen.origin, spin.rejected.origin) == (2, "logged reply", "sampled")
    (row,) = catalog.query("SELECT feedback FROM sat WHERE prompt_id = ?", spin.pair_id)
    assert spin.feedback == excerpt(row["feedback"]), "the feedback is of the method's own pool"


def test_lengths_of_every_trained_policy_are_shown(catalog, page):
    rows = pair_lengths(catalog, CONFIG)
    assert [(row.policy.method, row.policy.iteration) for row in rows][:3] == [("warmup", 0), ("drift", 1), ("drift", 2)]
    warmup, first, second = rows[:3]
    assert (warmup.shared, first.shared) == (None, first.pairs)
    shared = "SELECT count(*) AS n FROM pairs WHERE iteration = 2 AND method = 'drift' AND pair_id IN (SELECT pair_id FROM pairs WHERE iteration = 1 AND method = 'drift')"
    (row,) = catalog.query(shared)
    assert 0 < second.shared == row["n"] < second.pairs
    assert (second.chosen.mean, second.rejected.quartiles, second.chosen_shorter) == (40.0, (50.0, 50.0, 50.0), 1.0)
    assert f'{100 * second.shared_share:.1f}%<span class="interval">{second.shared}</span>' in page


def test_long_text_is_folded_then_cut():
    shown = excerpt("a" * 6000)
    assert (len(shown.head), len(shown.rest), shown.left_out) == (OPEN_CHARACTERS, LONGEST - OPEN_CHARACTERS, 1000)
    assert excerpt("short") == Excerpt("short", "", 0)
    moves = "".join(f"{n}.e4 e5\n" for n in range(30))
    shown = excerpt(moves)
    assert shown.head.count("\n") == OPEN_LINES
    assert shown.head + shown.rest == moves


def test_dropped_prompts_and_pairs_add_up(catalog):
    dropped = dropped_table(catalog, CONFIG)
    assert [(policy.method, policy.iteration) for policy in dropped.policies][:3] == [("warmup", 0), ("drift", 1), ("drift", 2)]
    totals = [kept + sum(counts[i] for _, counts in dropped.reasons) for i, kept in enumerate(dropped.kept)]
    assert totals == [18] * 5
    counted = "SELECT count(*) FILTER (alludes) AS n FROM pairs WHERE method = ? AND iteration = ? AND seed = ?"
    for policy, alluding in zip(dropped.policies, dropped.alluding, strict=True):
        assert alluding == catalog.query(counted, policy.method, policy.iteration, policy.seed)[0]["n"]
    assert sum(dropped.alluding) > 0


def test_replies_of_a_method_without_pairs_are_counted_in_their_place(catalog):
    recipes = CONFIG.recipes | {"kto": Recipe(prompts="unpaired", start="base")}
    with_kto = CONFIG.model_copy(update={"methods": [*CONFIG.methods, "kto"], "recipes": recipes})
    dropped = dropped_table(catalog, with_kto)
    (row,) = catalog.query("SELECT count(*) AS n FROM unpaired WHERE method = 'kto'")
    assert dict(zip(dropped.policies, dropped.kept, strict=True))[Policy("qwen-0.5b", "kto", 1, 42)] == row["n"] > 0


def test_marks_of_direction_and_control_characters_are_in_no_cell_of_the_page():
    """One filter is on all that the page shows, ids included; what is markup stays markup."""
    assert safe("users:1\u202e<b>\x1b[31m\x00") == "users:1\ufffd<b>\ufffd[31m\ufffd"
    assert safe("שלום\n👨\u200d👩") == "שלום\n👨\u200d👩", "other scripts and joined emoji are texts"
    assert isinstance(safe(Markup("<svg>\u202e</svg>")), Markup)
    assert (safe(3), safe(None)) == (3, None)
