"""Measure how far each judge agrees with published figures.

Reads:  per --judge JUDGE BENCHMARK JUDGMENTS PUBLISHED, the Judgments of a judge that judged
        published answers as it judges that benchmark, and the Published table of their figures (see
        validation_tasks.py).
Writes: a Validation table (--validation): one row per judge, benchmark and measure.
"""

import _python  # noqa: F401 - before what may be missing
from collections.abc import Callable

import numpy as np
import polars as pl

from drift import cli
from drift.metrics import correlation
from drift.metrics.resampling import interval
from drift.settings.judging import ValidationSettings
from drift.tables import Judgments, Published, Validation, read_table, write_table

# Models that a correlation of their ranks takes at least.
MIN_MODELS = 3


def by_item(judgments: pl.DataFrame) -> pl.DataFrame:
    """Per item with a verdict in every order it was asked in: the judge's figure, and whether the
    preferred answer is another one in the other order of presentation (`flips`; null where one was
    asked alone). A draw is no flip, as in the scores of a run (judge_metrics.comparisons).

    The figure is a score, or a preference (an outcome of -2 to 2 as 0 to 1), averaged over votes
    and then over orders.
    """
    figure = pl.coalesce("score", "preference", (pl.col("outcome") + 2) / 4)
    by_order = judgments.group_by("prompt_id", "order").agg(figure=figure.mean())
    preferred = (pl.col("figure") - 0.5).sign()
    return (
        by_order.group_by("prompt_id")
        .agg(
            pl.col("figure").mean(),
            flips=pl.when(pl.len() == 2).then(preferred.product() < 0),
            complete=pl.col("figure").is_not_null().all(),
        )
        .filter("complete")
        .drop("complete")
        .sort("prompt_id")
    )


def measures(items: pl.DataFrame) -> dict[str, Callable[[np.ndarray], float]]:
    """The measures of agreement, each a function of row numbers of `items`, which may repeat.

    items: the judge's `figure` next to the published `score` (1 to 10) or `preference` (0 to 1) of
    each item. Scores agree where they differ by a point at most, preferences where they are for the
    same answer.
    """
    scored = items["score"].null_count() == 0
    judge = items["figure"].to_numpy()
    published = items["score" if scored else "preference"].to_numpy()
    # Kappa compares classes: whole scores, or the preferred answer (-1, 0, 1).
    if scored:
        classes = [np.rint(judge), np.rint(published)]
        agree = np.abs(judge - published) <= 1
    else:
        classes = [np.sign(values - 0.5) for values in (judge, published)]
        agree = classes[0] == classes[1]
    found = {
        "pearson": lambda rows: correlation.pearson(judge[rows], published[rows]),
        "spearman": lambda rows: correlation.spearman(judge[rows], published[rows]),
        "kappa": lambda rows: correlation.kappa(classes[0][rows], classes[1][rows], quadratic=scored),
        "agreement": lambda rows: _share(agree[rows]),
    }
    flips = items["flips"].cast(pl.Float64).to_numpy()  # NaN: asked in one order
    if not scored and not np.isnan(flips).all():
        found["position_flip_rate"] = lambda rows: _share(flips[rows][~np.isnan(flips[rows])])
    return found


def _share(values: np.ndarray) -> float:
    """Share of true values; NaN of none."""
    return float(np.mean(values)) if len(values) else np.nan


def rank_agreement(items: pl.DataFrame) -> tuple[float, int]:
    """Kendall's tau between the models' means by the judge and as published, and the number of
    models; NaN of fewer than MIN_MODELS."""
    scored = items["score"].null_count() == 0
    first = items.select("model", "figure", published="score" if scored else "preference")
    # A preference is about two models: for the other one it counts the other way round.
    second = items.select(model="opponent", figure=1 - pl.col("figure"), published=1 - pl.col("preference"))
    means = pl.concat([first, *([] if scored else [second])]).drop_nulls("model").group_by("model").mean()
    if len(means) < MIN_MODELS:
        return np.nan, len(means)
    return correlation.kendall(means["figure"].to_numpy(), means["published"].to_numpy()), len(means)


def validate(judgments: pl.DataFrame, published: pl.DataFrame, settings: ValidationSettings) -> list[dict]:
    """Rows of Validation without judge and benchmark."""
    items = published.join(by_item(judgments), on="prompt_id").sort("prompt_id")
    everything, rows = np.arange(len(items)), []
    for metric, measure in measures(items).items():
        # The same resamples for every measure.
        generator = np.random.default_rng(settings.seed)
        draws = [
            measure(generator.integers(len(items), size=len(items))) for _ in range(settings.bootstrap if len(items) else 0)
        ]
        rows.append(row(metric, measure(everything), len(items), draws))
    rows.append(row("rank_agreement", *rank_agreement(items)))
    return [*rows, row("judged", len(items) / len(published), len(published))]


def row(metric: str, value: float, n: int, draws: list[float] | None = None) -> dict:
    """A row of Validation: `value`, its interval over the resamples' values (`draws`), and the
    number of items or models. NaN is null; the interval is over those of `draws` that are
    defined."""
    low, high = (interval(np.array(draws or [])) if np.isfinite(value) else None) or (None, None)
    return {"metric": metric, "value": float(value) if np.isfinite(value) else None, "low": low, "high": high, "n": n}


def main() -> None:
    command = cli.parser(__doc__, ValidationSettings)
    command.add_argument(
        "--judge",
        nargs=4,
        action="append",
        required=True,
        metavar=("JUDGE", "BENCHMARK", "JUDGMENTS", "PUBLISHED"),
        help="a judge that is validated for a benchmark; once for each",
    )
    command.add_argument("--validation", required=True, help="Validation table to write")
    arguments = command.parse_args()
    rows = [
        {"judge": judge, "benchmark": benchmark} | measured
        for judge, benchmark, judgments, published in arguments.judge
        for measured in validate(read_table(Judgments, judgments), read_table(Published, published), arguments.settings)
    ]
    write_table(pl.DataFrame(rows, schema=Validation.create_empty().schema), Validation, arguments.validation)


if __name__ == "__main__":
    cli.run(main)
