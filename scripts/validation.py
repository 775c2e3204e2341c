"""Say how far each judge agrees with published figures.

Reads, per --trial JUDGE BENCHMARK FOLDER PUBLISHED, FOLDER/judgments.parquet and the Published table of its items (see
validation_tasks.py); writes one Validation table.

Settings: seed, bootstrap (number of resamples).
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl

from drift import cli
from drift.metrics import correlation
from drift.metrics.resampling import LEVEL
from drift.tables import Judgments, Published, Validation, read_table, write_table

MODELS = 3  # that a rank agreement takes at least


def by_item(judgments: pl.DataFrame) -> pl.DataFrame:
    """Per item with a verdict in every order it was asked in: the judge's figure, and whether its side depends on the order.

    The figure is a score, or a preference (an outcome of -2 to 2 as 0 to 1), averaged over votes and then over orders.
    """
    figure = pl.coalesce("score", "preference", (pl.col("outcome") + 2) / 4)
    by_order = judgments.group_by("prompt_id", "order").agg(figure=figure.mean())
    side = (pl.col("figure") - 0.5).sign()
    return (
        by_order.group_by("prompt_id")
        .agg(pl.col("figure").mean(), flips=side.n_unique() > 1, complete=pl.col("figure").is_not_null().all())
        .filter("complete")
        .drop("complete")
        .sort("prompt_id")
    )


def figures(items: pl.DataFrame) -> dict[str, Callable[[np.ndarray], float]]:
    """The measures of agreement, each a function of the rows of `items` (a judge's figures beside the published ones)."""
    scored = items["score"].null_count() == 0
    judge = items["figure"].to_numpy()
    published = items["score" if scored else "preference"].to_numpy()
    if scored:
        classes = [np.rint(judge), np.rint(published)]
        agree = np.abs(judge - published) <= 1
    else:
        classes = [np.sign(values - 0.5) for values in (judge, published)]
        agree = classes[0] == classes[1]
    measures = {
        "pearson": lambda at: correlation.pearson(judge[at], published[at]),
        "spearman": lambda at: correlation.spearman(judge[at], published[at]),
        "kappa": lambda at: correlation.kappa(classes[0][at], classes[1][at], quadratic=scored),
        "agreement": lambda at: float(np.mean(agree[at])) if len(at) else np.nan,
    }
    if not scored and items["asked_twice"].any():
        flips = items["flips"].to_numpy()
        measures["position_flip_rate"] = lambda at: float(np.mean(flips[at])) if len(at) else np.nan
    return measures


def rank_agreement(items: pl.DataFrame) -> tuple[float, int]:
    """Kendall's tau between the models' means by the judge and as published, and the number of models."""
    scored = items["score"].null_count() == 0
    first = items.select("model", "figure", published="score" if scored else "preference")
    second = items.select(model="opponent", figure=1 - pl.col("figure"), published=1 - pl.col("preference"))
    means = pl.concat([first, *([] if scored else [second])]).drop_nulls("model").group_by("model").mean()
    if len(means) < MODELS:
        return np.nan, len(means)
    return correlation.kendall(means["figure"].to_numpy(), means["published"].to_numpy()), len(means)


def validate(judgments: pl.DataFrame, published: pl.DataFrame, settings: dict) -> list[dict]:
    """Rows of Validation without judge and benchmark."""
    twice = judgments.group_by("prompt_id").agg(asked_twice=pl.col("order").n_unique() > 1)
    items = published.join(by_item(judgments), on="prompt_id").join(twice, on="prompt_id").sort("prompt_id")
    everything, rows = np.arange(len(items)), []
    for metric, measure in figures(items).items():
        generator = np.random.default_rng(settings["seed"])
        draws = (
            [measure(generator.integers(len(items), size=len(items))) for _ in range(settings["bootstrap"])]
            if len(items)
            else []
        )
        rows.append(row(metric, measure(everything), len(items), draws))
    rows.append(row("rank_agreement", *rank_agreement(items)))
    return [*rows, row("judged", len(items) / len(published), len(published))]


def row(metric: str, value: float, n: int, draws: list[float] | None = None) -> dict:
    """A row of Validation; the interval is over those of `draws` in which the figure is defined."""
    defined = [draw for draw in draws or [] if np.isfinite(draw)]
    low, high = np.percentile(defined, LEVEL).tolist() if defined and np.isfinite(value) else (None, None)
    return {"metric": metric, "value": float(value) if np.isfinite(value) else None, "low": low, "high": high, "n": n}


def main() -> None:
    command = cli.parser(__doc__)
    command.add_argument(
        "--trial", nargs=4, action="append", required=True, metavar=("JUDGE", "BENCHMARK", "FOLDER", "PUBLISHED")
    )
    command.add_argument("--validation", required=True, help="table to write")
    arguments = command.parse_args()
    rows = [
        {"judge": judge, "benchmark": benchmark} | found
        for judge, benchmark, folder, published in arguments.trial
        for found in validate(
            read_table(Judgments, Path(folder) / "judgments.parquet"), read_table(Published, published), arguments.settings
        )
    ]
    write_table(pl.DataFrame(rows, schema=Validation.create_empty().schema), Validation, arguments.validation)


if __name__ == "__main__":
    cli.run(main)
