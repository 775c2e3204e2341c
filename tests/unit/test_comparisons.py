"""Policies are compared over the items that both have, and the number of tests is corrected for."""

import pytest

from drift.metrics import comparisons, resampling


def policy(method: str, iteration: int, seed: int = 42) -> comparisons.Policy:
    return comparisons.Policy("m", method, iteration, seed if iteration > 0 else 0)


def scored(values: list[float], keys: str = "abcdefghij") -> comparisons.Scored:
    statistic = resampling.mean(list(keys), values)
    return comparisons.Scored(statistic, resampling.bootstrap(statistic, 200, 1))


def test_policies_are_compared_with_base_predecessor_and_the_other_methods():
    compared = list(
        comparisons.pairs(
            [policy("base", -1), policy("warmup", 0)] + [policy(method, k) for method in ("drift", "spin") for k in (1, 2)]
        )
    )
    named = {(against, a.method, a.iteration, b.method, b.iteration) for against, a, b in compared}
    assert named == {
        *(
            ("base", method, k, "base", -1)
            for method, k in (("warmup", 0), ("drift", 1), ("drift", 2), ("spin", 1), ("spin", 2))
        ),
        *(("previous", method, 1, "warmup", 0) for method in ("drift", "spin")),
        *(("previous", method, 2, method, 1) for method in ("drift", "spin")),
        *(("method", "drift", k, "spin", k) for k in (1, 2)),
    }
    assert len(compared) == len(named)


def test_iterations_are_compared_with_those_of_the_same_seed_and_with_what_all_seeds_share():
    made = [policy(method, k, seed) for method in ("drift", "spin") for seed in (1, 2) for k in (1, 2)]
    compared = list(comparisons.pairs([policy("base", -1), policy("warmup", 0), *made]))
    assert {(a.seed, b.seed) for _, a, b in compared if b.iteration > 0} == {(1, 1), (2, 2)}
    assert len(compared) == 1 + len(made) * 2 + 4, "base and predecessor of each, and the methods at each iteration and seed"


def test_comparison_is_over_the_items_that_both_have():
    found = comparisons.contrast(scored([1.0, 0.0], "ab"), scored([0.25, 9.0], "ac"), 200, 1)
    assert (found["n"], found["difference"]) == (1, 0.75)
    nothing = comparisons.contrast(scored([1.0], "a"), scored([1.0], "b"), 200, 1)
    assert (nothing["n"], nothing["difference"], nothing["p"]) == (0, None, None)


def test_comparisons_are_corrected_for_their_number_and_never_mix_judges():
    policies = [policy("base", -1), policy("warmup", 0), policy("drift", 1)]
    better = [0.5] * 10
    found = comparisons.contrasts(
        policies,
        {
            (policies[0], "heldout", "one", "win_rate"): scored([0.0] * 10),
            (policies[1], "heldout", "two", "win_rate"): scored(better),
            (policies[2], "heldout", "one", "win_rate"): scored(better),
            (policies[2], "heldout", "two", "win_rate"): scored(better),
            (policies[0], "heldout", "one", "verdict_mass"): scored(better),
            (policies[2], "heldout", "one", "verdict_mass"): scored(better),
        },
        {"win_rate"},
        200,
        1,
    )
    assert [(row["judge"], row["against"], row["difference"]) for row in found] == [
        ("one", "base", 0.5),
        ("two", "previous", 0.0),
    ]
    assert found[0]["p"] == pytest.approx(2 / 2**10, abs=1e-3)
    assert (found[0]["p_holm"], found[1]["p_holm"]) == (2 * found[0]["p"], 1.0)
