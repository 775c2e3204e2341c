"""Make the tables and figures of docs/study.md from what has been run of examples/study.yaml.

    python tools/study.py               write docs/study/, then the page
    python tools/study.py --targets     print what snakemake is to make

What results/study has more of than docs/study/chains is kept there first; all numbers are of the
chains there, whichever machine ran them. Works with whatever policies are finished: a mean is over
the seeds that have the policy, a contrast over those that have all of its policies, and what was
not run is listed. --page-only makes the figures, and the part of the page between its two marks,
from the tables that are there.
"""

import _path  # noqa: F401 - must come before drift
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
import yaml

import scores
import study_chains
import study_figures
from drift import cli, config, layout, tables
from drift.judging.candidates import differences
from drift.layout import BASE, PolicyName
from drift.metrics import resampling
from drift.metrics.comparisons import Policy
from drift.settings.evaluation import ScoresSettings
from drift.workflow.evaluation import Evaluation
from study_claims import BETTER, CONTRASTS, J, Numbers, claims, judged

REPOSITORY = Path(__file__).resolve().parents[1]
BENCHMARK = RATER = "wishes"
# Whether answers are about what was asked, and J where only these count; the plan had neither.
NAMED, KEPT = "on_topic", "pass_rate_on_topic"
# The control that has one iteration: its further ones are of no use.
SINGLE = "drift-epochs"
BEGIN, END = "<!-- from docs/study/ by tools/study.py -->", "<!-- end -->"
KEYS = ("method", "iteration", "seed")


class Study:
    """The run of a configuration, as far as it is finished."""

    def __init__(self, configuration: Path, results: Path):
        self.config = config.load(yaml.safe_load(configuration.read_text()))
        (self.model,) = self.config["models"]
        self.paths = layout.paths(str(results))

    def planned(self) -> list[PolicyName]:
        """Every policy."""
        last = self.config["iterations"]
        return [
            PolicyName(method, k, seed)
            for method in self.config["methods"]
            for seed in self.config["seeds"]
            for k in range(1, 2 if method == SINGLE else last + 1)
        ]

    def targets(self) -> list[str]:
        """What is to be made of every policy: its checked answers, its behaviour, its pairs."""
        named = {"model": self.model, "benchmark": BENCHMARK, "rater": RATER}
        patterns = (self.paths.checks, self.paths.behaviour, self.paths.pair_quality)
        made = [pattern.format(policy=name, trained=name, **named) for name in self.planned() for pattern in patterns]
        return [self.paths.checks.format(policy=BASE, **named), *made]

    def finished(self) -> list[PolicyName]:
        """The policies whose answers are checked. Raises StageError where the base model's are
        not."""
        done = [name for name in [PolicyName(BASE, -1, 0), *self.planned()] if self.table("checks", name).is_file()]
        if not done or done[0].method != BASE:
            raise cli.StageError(f"{self.table('checks', PolicyName(BASE, -1, 0))} is not there: run make study first")
        return done

    def table(self, kind: str, name: PolicyName) -> Path:
        """A table of a policy."""
        pattern = getattr(self.paths, kind)
        return Path(pattern.format(model=self.model, policy=name, trained=name, benchmark=BENCHMARK, rater=RATER))

    def scores(self) -> "scores.Run":
        """The finished policies as scores.py sees them."""
        settings = Evaluation(self.config, self.paths).score_settings(lambda benchmark: {})
        pattern = {kind: getattr(self.paths, kind).replace("{model}/{policy}", "{policy}") for kind in ("responses", "checks")}
        files = scores.Files(
            tasks=self.paths.tasks, corrections=Path(self.paths.corrections), judgments="", logps="", extra={}, **pattern
        )
        policies = {
            f"{self.model}/{name}": Policy(self.model, name.method, name.iteration, name.seed) for name in self.finished()
        }
        return scores.Run(policies, files, ScoresSettings.model_validate_json(settings))

    def pairs(self, name: PolicyName) -> pl.DataFrame:
        """The rated pairs of an iteration: pair_id, better (1 y+ keeps more of the wish, 0 as much,
        -1 less), and the lengths of both sides."""
        rated = tables.read_table(tables.Ranks, self.table("pair_scores", name))
        lengths = pl.read_parquet(self.table("pairs", name), columns=["pair_id", "chosen_tokens", "rejected_tokens"])
        return differences(rated).rename({"sign": "better"}).join(lengths, on="pair_id", maintain_order="left")


Measurements = Mapping[tuple[str, int], Mapping[tuple[str, str, str], Mapping[int, "scores.Measured"]]]


def measurements(run: "scores.Run") -> Measurements:
    """Every number of the finished policies: by method and iteration, by benchmark, judge and
    metric, by seed."""
    found: dict = {}
    for name, policy in run.policies.items():
        of_policy = found.setdefault((policy.method, policy.iteration), {})
        for measure, measured in run.measured(name):
            of_policy.setdefault(measure, {})[policy.seed] = measured
    return found


def score_rows(run: "scores.Run", model: str, measured: Measurements) -> pl.DataFrame:
    """Scores of every finished policy, and their means over the seeds that have it as seed 0."""
    rows = []
    for (method, iteration), measures in measured.items():
        for measure, by_seed in measures.items():
            policy = Policy(model, method, iteration)
            rows += [
                scores.score_row(run, replace(policy, seed=seed), measure, {seed: one}) for seed, one in by_seed.items() if seed
            ]
            rows.append(scores.score_row(run, policy, measure, by_seed))
    columns = ["metric", *KEYS, "seeds", "value", "low", "high", "n"]
    return pl.DataFrame(rows, schema=tables.Scores.create_empty().schema).select(columns).sort("metric", *KEYS)


def pair_rows(study: Study) -> pl.DataFrame:
    """What the pairs of every finished policy are like."""
    rows = []
    for name in study.finished()[1:]:
        pairs = study.pairs(name)
        shares = {word: float((pairs["better"] == sign).mean()) for word, sign in (("better", 1), ("tie", 0), ("worse", -1))}
        lengths = {side: float(pairs[side].mean()) for side in ("chosen_tokens", "rejected_tokens")}
        rows.append({key: getattr(name, key) for key in KEYS} | {"pairs": pairs.height} | shares | lengths)
    return pl.DataFrame(rows)


def behaviour_rows(study: Study) -> pl.DataFrame:
    """How every finished policy writes, next to the limits."""
    frames = []
    for name in study.finished()[1:]:
        read = tables.read_table(tables.Behaviour, study.table("behaviour", name))
        keys = [pl.lit(getattr(name, key)).alias(key) for key in KEYS]
        frames.append(read.select(*keys, "measure", "value", "before", "base", "low", "high", "passed"))
    return pl.concat(frames)


def contrast_rows(study: Study, run: "scores.Run", measured: Measurements) -> pl.DataFrame:
    """Every claim of the plan whose policies are finished."""
    numbers: dict[str, dict] = {}
    for (method, iteration), measures in measured.items():
        for (_, _, metric), by_seed in measures.items():
            known = {
                (method, iteration, seed): (one.value, one.replicates, run.effective_clusters(BENCHMARK, one))
                for seed, one in by_seed.items()
            }
            numbers.setdefault(metric, {}).update(known)
    numbers[BETTER] = better_pairs(study, run.settings)
    rows = []
    for claim in claims(study.config["methods"], study.config["iterations"]):
        if row := judged(claim, numbers.get(claim.metric, {})):
            if claim.metric == J:
                same = judged(replace(claim, metric=KEPT), numbers[KEPT])
                row |= {"on_topic": same["difference"], "on_topic_low": same["low"], "on_topic_high": same["high"]}
            rows.append(row)
    return pl.DataFrame(rows, schema=CONTRASTS)


def better_pairs(study: Study, settings: ScoresSettings) -> Numbers:
    """Of every finished policy the share of its pairs whose y+ keeps more of the wish, with
    replicates over the prompts of both pools."""
    paths = (study.paths.dsat, study.paths.sat)
    prompts = pl.concat([pl.read_parquet(path, columns=["prompt_id", "cluster", "split"]) for path in paths]).filter(
        split="train"
    )
    clusters = resampling.Clusters.of(prompts["prompt_id"], prompts["cluster"])
    found = {}
    for name in study.finished()[1:]:
        pairs = study.pairs(name)
        share = resampling.mean(pairs["pair_id"], pairs["better"] == 1)
        drawn = resampling.bootstrap(share, settings.bootstrap, settings.seed, clusters)
        found[name.method, name.iteration, name.seed] = share.value(), drawn, clusters.effective(share.keys)
    return found


def cell_rows(study: Study) -> pl.DataFrame:
    """How many iterations of every method and seed are finished, and how many are planned."""
    planned = pl.DataFrame([{"method": name.method, "seed": name.seed} for name in study.planned()])
    done = pl.DataFrame([{"method": name.method, "seed": name.seed} for name in study.finished()[1:]], schema=planned.schema)
    counted = [
        frame.group_by("method", "seed", maintain_order=True).len(column)
        for frame, column in ((planned, "planned"), (done, "finished"))
    ]
    return (
        counted[0]
        .join(counted[1], on=["method", "seed"], how="left", maintain_order="left")
        .with_columns(pl.col("finished").fill_null(0))
    )


def made(study: Study) -> dict[str, pl.DataFrame]:
    """The tables of docs/study/, by the names of their files."""
    run = study.scores()
    measured = measurements(run)
    return {
        "cells": cell_rows(study),
        "scores": score_rows(run, study.model, measured),
        "contrasts": contrast_rows(study, run, measured),
        "pairs": pair_rows(study),
        "behaviour": behaviour_rows(study),
    }


# -------------------------------------------------------------------------------------------- page


def markdown(rows: list[list[str]], header: list[str]) -> str:
    """A table of the page."""
    lines = [f"| {' | '.join(line)} |" for line in (header, *rows)]
    return "\n".join([lines[0], "|" + "---|" * len(header), *lines[1:]])


def percent(value: float | None, signed: bool = False) -> str:
    """A share in per cent; nothing where there is none."""
    return "" if value is None else f"{100 * value:{'+' if signed else ''}.1f}"


def points(difference: float | None, low: float | None, high: float | None) -> str:
    """A difference in points with its interval; nothing where there is none."""
    return "" if difference is None else f"{percent(difference, True)} ({percent(low, True)} to {percent(high, True)})"


def curve_table(scores_: pl.DataFrame) -> str:
    """J of every method by iteration, the mean over its seeds with its interval."""
    means = scores_.filter(metric="pass_rate", seed=0)
    (base,) = means.filter(method=BASE)["value"]
    trained = means.filter(pl.col("iteration") > 0)
    last = trained["iteration"].max() or 0
    cells = {(row["method"], row["iteration"]): row for row in trained.to_dicts()}

    def cell(method: str, iteration: int) -> str:
        row = cells.get((method, iteration))
        return f"{percent(row['value'])} ({percent(row['low'])} to {percent(row['high'])})" if row else ""

    rows = [
        [f"`{method}`", percent(base), *(cell(method, iteration) for iteration in range(1, last + 1))]
        for method in trained["method"].unique(maintain_order=True)
    ]
    return markdown(rows, ["method", "base", *(f"{iteration}" for iteration in range(1, last + 1))])


def direction_table(scores_: pl.DataFrame) -> str:
    """What the last iteration of every method is like: by direction, beyond length, length."""
    means = scores_.filter(seed=0)
    trained = means.filter(pl.col("iteration") > 0)
    lasts = trained.group_by("method", maintain_order=True).agg(pl.col("iteration").max())
    shown = ["pass_rate:shorter", "pass_rate:neutral", "pass_rate:longer", "pass_rate_beyond_length"]
    rows = []
    for method, iteration in [(BASE, -1), *lasts.iter_rows()]:
        values = {row["metric"]: row for row in means.filter(method=method, iteration=iteration).to_dicts()}
        beyond = values.get(shown[-1])
        interval = f" ({percent(beyond['low'], True)} to {percent(beyond['high'], True)})" if beyond else ""
        rows.append(
            [f"`{method}`", str(iteration) if iteration > 0 else ""]
            + [percent(values[metric]["value"]) for metric in shown[:-1]]
            + [percent(beyond and beyond["value"], True) + interval]
            + [percent(values[metric]["value"]) for metric in (NAMED, KEPT)]
            + [f"{values['response_tokens']['value']:.0f}", percent(values["cut_by_limit"]["value"])]
        )
    header = ["method", "iteration", "shorter", "neutral", "longer", "beyond length (95 %)"]
    header += ["names the topic", "J of these alone", "tokens", "cut"]
    return markdown(rows, header)


def contrast_table(contrasts: pl.DataFrame) -> str:
    """The claims of the plan whose policies are finished."""
    if contrasts.is_empty():
        return "Of no claim of the plan all policies are finished."
    rows = [
        [
            row["claim"] + (" (primary)" if row["family"] == "primary" else ""),
            f"{row['contrast']}, {row['claimed']}",
            str(row["seeds"]),
            points(row["difference"], row["low"], row["high"]),
            row["verdict"],
            points(row["on_topic"], row["on_topic_low"], row["on_topic_high"]),
        ]
        for row in contrasts.to_dicts()
    ]
    return markdown(rows, ["claim", "contrast", "seeds", "points (95 %)", "verdict", "on topic"])


def behaviour_table(behaviour: pl.DataFrame) -> str:
    """What was outside the limits on behaviour."""
    outside = behaviour.filter(pl.col("passed").not_())
    if outside.is_empty():
        return "No policy was outside a limit on behaviour."
    rows = [
        [f"`{row['method']}`", str(row["seed"]), str(row["iteration"]), f"`{row['measure']}`"]
        + ["" if row[column] is None else f"{row[column]:.2f}" for column in ("value", "before", "base")]
        for row in outside.to_dicts()
    ]
    return markdown(rows, ["method", "seed", "iteration", "outside a limit", "value", "before", "base"])


def cell_table(cells: pl.DataFrame) -> str:
    """How many iterations of every method and seed are finished."""
    seeds = cells["seed"].unique().sort().to_list()
    counts = {(row["method"], row["seed"]): f"{row['finished']} of {row['planned']}" for row in cells.to_dicts()}
    rows = [
        [f"`{method}`", *(counts[method, seed] for seed in seeds)] for method in cells["method"].unique(maintain_order=True)
    ]
    return markdown(rows, ["iterations of", *(f"seed {seed}" for seed in seeds)])


def page(made_: Mapping[str, pl.DataFrame]) -> str:
    """The part of the page that is made from the tables."""
    figures = [f"![{text}](study/{name}.svg)" for name, text in study_figures.FIGURES.items()]
    parts = [
        f"{made_['cells']['finished'].sum()} of {made_['cells']['planned'].sum()} policies are finished:",
        cell_table(made_["cells"]),
        "J by iteration, in per cent, the mean over seeds (95 %):",
        curve_table(made_["scores"]),
        figures[0],
        "The last iteration, in per cent; beyond length in points:",
        direction_table(made_["scores"]),
        *figures[1:],
        contrast_table(made_["contrasts"]),
        behaviour_table(made_["behaviour"]),
    ]
    return "\n\n".join(parts)


def filled(text: str, part: str) -> str:
    """The page with `part` between its marks. StageError where it has none."""
    pattern = re.compile(f"{re.escape(BEGIN)}.*?{re.escape(END)}", re.DOTALL)
    if not pattern.search(text):
        raise cli.StageError(f"the page has no part between {BEGIN} and {END}: add these two lines where it is to be")
    return pattern.sub(lambda _: f"{BEGIN}\n\n{part}\n\n{END}", text)


def main() -> None:
    command = cli.parser(__doc__)
    command.add_argument("--configuration", type=Path, default=REPOSITORY / "examples/study.yaml", help="of the run")
    command.add_argument("--results", type=Path, default=Path("results/study"), help="the run's folder")
    command.add_argument("--tables", type=Path, default=REPOSITORY / "docs/study", help="folder of the tables and figures")
    command.add_argument("--page", type=Path, default=REPOSITORY / "docs/study.md", help="the page")
    command.add_argument("--targets", action="store_true", help="print what is to be made, and do nothing")
    command.add_argument("--page-only", action="store_true", help="of the tables that are there")
    arguments = command.parse_args()
    study, chains = Study(arguments.configuration, arguments.results), arguments.tables / "chains"
    if arguments.targets:
        print("\n".join(study.targets()))
        return
    if not arguments.page_only:
        arguments.tables.mkdir(parents=True, exist_ok=True)
        if study.table("checks", PolicyName(BASE, -1, 0)).is_file() or not chains.is_dir():
            chains.mkdir(parents=True, exist_ok=True)
            print(*study_chains.save(study, chains), sep="\n")
        with TemporaryDirectory() as folder:
            kept = Study(arguments.configuration, Path(folder))
            study_chains.unpack(chains, kept)
            written = made(kept)
        for name, table in written.items():
            table.write_csv(arguments.tables / f"{name}.csv", float_precision=4)
    read = {path.stem: pl.read_csv(path, infer_schema_length=None) for path in sorted(arguments.tables.glob("*.csv"))}
    study_figures.write(read, arguments.tables)
    arguments.page.write_text(filled(arguments.page.read_text(encoding="utf-8"), page(read)), encoding="utf-8")


if __name__ == "__main__":
    cli.run(main)
