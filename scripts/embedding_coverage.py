"""Measure how much of the others' high-reward answers each policy covers, among the vectors, and
how far its answers to a prompt differ.

Reads:  of each policy its Embeddings and AnswerRewards (--policy), and the benchmark's Tasks
        (--tasks).
Writes: an Exploration table (--coverage).
"""

import _python  # noqa: F401 - before what may be missing
from collections.abc import Iterator

import numpy as np
import polars as pl
from threadpoolctl import threadpool_limits

from drift import cli
from drift.exploration import neighbours, within_prompts
from drift.exploration.answers import Answers, add_policies, gathered, read_policies
from drift.metrics.resampling import bounded, mean
from drift.metrics.significance import PERMUTATIONS, permutation_p
from drift.settings.exploration import EmbeddingCoverageSettings
from drift.tables import Exploration, Tasks, read_table, write_table

# From which quantile of the rewards on they are high: what counts, and what else is looked at.
QUANTILE, OTHERS = 0.8, (0.7, 0.9)
# Exchanges of the labels of answers.
EXCHANGES = 1000


def covered(answers: Answers, settings: EmbeddingCoverageSettings) -> Iterator[dict]:
    """The rows of coverage, with the effects of prompts and without, by quantile."""
    for effects in ("removed", "raw"):
        directions = answers.directions(centred=effects == "removed")
        for quantile in (QUANTILE, *OTHERS):
            resamples, exchanges = (settings.bootstrap, EXCHANGES) if quantile == QUANTILE else (0, 0)
            rows = neighbours.coverage(answers, directions, quantile, resamples, exchanges, settings.seed)
            for policy, row in zip(answers.policies, rows, strict=True):
                yield vars(policy) | {"effects": effects, "metric": "coverage", "quantile": quantile} | row


def within(answers: Answers, settings: EmbeddingCoverageSettings) -> Iterator[dict]:
    """The rows of what is measured in each prompt by itself."""
    measured = {
        ("recall", QUANTILE): within_prompts.recall(answers, QUANTILE),
        ("vendi", 0.0): within_prompts.vendi(answers),
        ("distance", 0.0): within_prompts.distance(answers),
        ("best_of_n", 0.0): within_prompts.best_of_n(answers),
    }
    for (metric, quantile), values in measured.items():
        # Prompts without a high-reward answer of the others say nothing, whoever's these are.
        defined = ~np.isnan(values).any(axis=0)
        means = [mean(answers.prompts[defined], of_policy[defined]) for of_policy in values]
        compared = [[(one, means[answers.base])] for one in means]
        tests = permutation_p(compared, answers.clusters, PERMUTATIONS, settings.seed)
        for place, (policy, statistic) in enumerate(zip(answers.policies, means, strict=True)):
            row = vars(bounded(statistic, settings.bootstrap, settings.seed, answers.clusters))
            p = None if place == answers.base or not defined.any() else tests[place]
            yield vars(policy) | {"effects": "within", "metric": metric, "quantile": quantile} | row | {"p": p}


def measured(answers: Answers, part: str, settings: EmbeddingCoverageSettings) -> pl.DataFrame:
    """Exploration of the answers, by one part of them."""
    rows = [{"n": len(answers.prompts)} | row for row in (*covered(answers, settings), *within(answers, settings))]
    constants = {"space": "embedding", "part": part, "bandwidth": 0.0, "umap_seed": 0, "total": answers.total}
    table = pl.DataFrame([row | constants for row in rows], schema=Exploration.create_empty().schema)
    # A reward is of the whole answer.
    return table.fill_nan(None).remove((pl.col("metric") == "best_of_n") & (pl.col("part") == "beginning"))


def main() -> None:
    command = cli.parser(__doc__, EmbeddingCoverageSettings)
    add_policies(command)
    command.add_argument("--tasks", required=True, help="Tasks table")
    command.add_argument("--coverage", required=True, help="table to write")
    arguments = command.parse_args()
    policies, tasks = read_policies(arguments.policy), read_table(Tasks, arguments.tasks)
    # By one thread the same sums come in the same order: the same answers give the same bytes.
    with threadpool_limits(1):
        parts = [measured(gathered(policies, tasks, part), part, arguments.settings) for part in ("whole", "beginning")]
    write_table(pl.concat(parts), Exploration, arguments.coverage)


if __name__ == "__main__":
    cli.run(main)
