"""Map the answers of all policies, and measure how much of the others' high-reward region each of
them covers there.

Reads:  of each policy its Embeddings and AnswerRewards (--policy), and the benchmark's Tasks
        (--tasks).
Writes: an Exploration table (--coverage), a Maps table (--maps), and of the first map a Landscape
        table (--landscape).
"""

import _python  # noqa: F401 - before what may be missing
from collections.abc import Iterator

import numpy as np
import polars as pl
from threadpoolctl import threadpool_limits

from drift import cli
from drift.exploration import chance, landscape
from drift.exploration.answers import Answers, add_policies, check_neighbours, gathered, read_policies
from drift.settings.exploration import LandscapeSettings
from drift.tables import Exploration, Landscape, Maps, Tasks, read_table, write_table

# What counts: from which quantile of the mass on a reward is high, and the bandwidth; and what else
# is looked at. Scott's rule is for one normal distribution, and maps have many clouds: at half of
# it a made-up policy of one cloud out of four covers what it should, at all of it too much.
QUANTILE, QUANTILES = 0.8, (0.7, 0.8, 0.9)
BANDWIDTH, BANDWIDTHS = 0.5, (0.25, 0.5, 1.0, 2.0)
# Each takes as long as all policies' densities on every map.
RESAMPLES = 200


def maps_of(answers: Answers, settings: LandscapeSettings, *, centred: bool) -> dict[int, np.ndarray]:
    """Where the answers are, (P, N, n, 2), by the seed of the map."""
    points = answers.directions(centred=centred).reshape(-1, answers.vectors.shape[-1])
    near = landscape.nearest(points, settings.neighbours)
    shape = (*answers.rewards.shape, 2)
    return {
        seed: landscape.whitened(landscape.umap_of(points, near, seed)).reshape(shape) for seed in range(1, settings.maps + 1)
    }


def covered(answers: Answers, places: dict[int, np.ndarray], seed: int) -> Iterator[dict]:
    """The rows of coverage: on each map, and their mean."""
    once = np.ones((1, len(answers.prompts)))
    for bandwidth in BANDWIDTHS:
        grids = [landscape.Landscape(answers, places[number], bandwidth) for number in places]
        for quantile in QUANTILES:
            # (maps, P)
            values = np.stack([grid.all_coverage(once, quantile)[:, 0] for grid in grids])
            means = values.mean(axis=0)
            spread = values.std(axis=0, ddof=1) if len(grids) > 1 else [None] * len(means)
            tested = bandwidth == BANDWIDTH and quantile == QUANTILE
            beside = tests(answers, grids, means, seed) if tested else [{} for _ in means]
            for place, policy in enumerate(answers.policies):
                row = vars(policy) | {"quantile": quantile, "bandwidth": bandwidth}
                yield row | {"umap_seed": 0, "value": means[place], "spread": spread[place]} | beside[place]
                for number, value in zip(places, values[:, place], strict=True):
                    yield row | {"umap_seed": number, "value": value}


def tests(answers: Answers, grids: list[landscape.Landscape], means: np.ndarray, seed: int) -> list[dict]:
    """The interval of each policy's mean over the maps, and its test against the base model."""
    counts = chance.drawn(answers.clusters, RESAMPLES, seed)
    coins = chance.exchanged(answers.clusters, RESAMPLES, seed)
    replicates = np.mean([grid.all_coverage(counts, QUANTILE) for grid in grids], axis=0)

    def difference(policy: int, exchanges: np.ndarray) -> np.ndarray:
        return np.mean([grid.difference(policy, answers.base, exchanges, QUANTILE) for grid in grids], axis=0)

    found = []
    for policy, value in enumerate(means):
        low, high = chance.around(value, replicates[policy], answers.clusters)
        p = None if policy == answers.base else chance.p_value(lambda coins, one=policy: difference(one, coins), coins)
        found.append({"low": low, "high": high, "p": p})
    return found


def points(answers: Answers, effects: str, places: dict[int, np.ndarray]) -> pl.DataFrame:
    """Maps of the answers."""
    policies, prompts, samples = answers.rewards.shape
    keys = {
        name: np.repeat([getattr(policy, name) for policy in answers.policies], prompts * samples)
        for name in ("method", "iteration", "seed")
    }
    keys["prompt_id"] = np.tile(np.repeat(answers.prompts, samples), policies)
    keys["sample"] = np.tile(answers.samples, policies * prompts)
    tables = [
        pl.DataFrame(keys | {"x": flat[:, 0], "y": flat[:, 1]}).with_columns(
            effects=pl.lit(effects), umap_seed=pl.lit(number, pl.Int32)
        )
        for number, flat in ((number, found.reshape(-1, 2).astype(np.float64)) for number, found in places.items())
    ]
    return pl.concat(tables).cast({"iteration": pl.Int32, "seed": pl.Int32, "sample": pl.Int32})


def grid(answers: Answers, places: np.ndarray) -> pl.DataFrame:
    """Landscape of one map."""
    drawn = landscape.Landscape(answers, places, BANDWIDTH)
    densities, regions, own = drawn.drawn(QUANTILE)
    column, row = np.divmod(np.arange(landscape.GRID**2), landscape.GRID)
    highest = densities.max()
    tables = [
        pl.DataFrame(
            {
                "column": column,
                "row": row,
                "density": (densities[place] / highest).astype(np.float64).clip(0),
                "region": regions[place],
                "covered": own[place],
            }
        ).with_columns(**{name: pl.lit(value) for name, value in vars(policy).items()})
        for place, policy in enumerate(answers.policies)
    ]
    integers = dict.fromkeys(("column", "row", "iteration", "seed"), pl.Int32)
    return pl.concat(tables).cast(integers)


def main() -> None:
    command = cli.parser(__doc__, LandscapeSettings)
    add_policies(command)
    command.add_argument("--tasks", required=True, help="Tasks table")
    command.add_argument("--coverage", required=True, help="table to write")
    command.add_argument("--maps", required=True, help="table to write")
    command.add_argument("--landscape", required=True, help="table to write")
    arguments = command.parse_args()
    settings: LandscapeSettings = arguments.settings
    answers = gathered(read_policies(arguments.policy), read_table(Tasks, arguments.tasks), "whole")
    check_neighbours(answers, settings.neighbours)
    rows, drawn = [], []
    # By one thread the same sums come in the same order: the same answers give the same bytes.
    with threadpool_limits(1):
        for effects in ("removed", "raw"):
            places = maps_of(answers, settings, centred=effects == "removed")
            rows += [{"effects": effects} | row for row in covered(answers, places, settings.seed)]
            drawn.append(points(answers, effects, places))
            if effects == "removed":
                write_table(grid(answers, places[1]), Landscape, arguments.landscape)
    constants = {"space": "map", "part": "whole", "metric": "coverage", "n": len(answers.prompts), "total": answers.total}
    table = pl.DataFrame([row | constants for row in rows], schema=Exploration.create_empty().schema)
    write_table(table, Exploration, arguments.coverage)
    write_table(pl.concat(drawn), Maps, arguments.maps)


if __name__ == "__main__":
    cli.run(main)
