"""The top of the page: what was run, and what a reader must know before any number."""

import json
from dataclasses import dataclass
from typing import Literal

from drift.config import Config, Section, warms_up
from drift.config.recipes import POOLS
from drift.judging.families import kinships
from drift.labelers.lexical import CHECKED
from drift.metrics.check_metrics import PASS_RATE
from drift.metrics.display import percent
from drift.report.cost_tables import PolicyCost
from drift.report.gate_tables import GateSummary
from drift.report.judge_behaviour import Behaviour
from drift.report.judge_tables import judged_by
from drift.report.metric_labels import interval
from drift.report.reading import Catalog, Policy, configured

# A served policy that shows less of an update than this is for the most part the one before.
LITTLE_SERVED = 0.5


@dataclass(frozen=True)
class Notice:
    """A box above the scores."""

    title: str
    text: str
    kind: Literal["note", "warning", "failure"]


def notices(config: Config, gates: GateSummary) -> list[Notice]:
    """Judges that are not trusted or are related to what they judge, labels from a heuristic, label
    noise, and failed gates."""
    shown = []
    for judge in judges(config):
        if not config.evaluation.judges[judge].trusted:
            text = (
                "By the configuration (trusted: false) the verdicts of this judge mean nothing by themselves: they show that the "
                "machinery works."
            )
            shown.append(Notice(f"Judge {judge}", text, "warning"))
    shown += [
        Notice("A judge of the same family", f"{one.text}.", "warning") for one in kinships(config.model_dump(mode="json"))
    ]
    if config.data.labelers[config.data.labeler].kind == "lexical":
        text = f"Labels come from a lexical heuristic: fixed rules on the user's next message, not from people or a model. {CHECKED}"
        shown.append(Notice("Labels", text, "note"))
    noise = config.data.label_noise
    if shares := {pool: share for pool in POOLS if (share := getattr(noise, pool))}:
        rows = ", ".join(f"{percent(share)} of {pool}" for pool, share in shares.items())
        replies = "replies that were labelled NEUTRAL" if noise.drawn_from == "neutral" else "replies with the opposite label"
        text = f"Training rows that are false on purpose, made of {replies} (data.label_noise): {rows}. Held-out rows are not."
        shown.append(Notice("Label noise", text, "warning"))
    if gates.failed:
        text = f"{len(gates.failed)} of {gates.total} correctness gates failed; do not trust the policies below."
        shown.append(Notice("Gates", text, "failure"))
    return shown


def behaviour_notices(judged: list[Behaviour], config: Config) -> list[Notice]:
    """What the judges' behaviour leaves of their verdicts, whatever the configuration says of
    them."""
    shown = []
    for one in judged:
        title = f"Judge {one.judge} on {one.benchmark}"
        if one.nothing:
            trusted = " (trusted: true in the configuration)" if config.evaluation.judges[one.judge].trusted else ""
            text = f"Its verdicts mean nothing here{trusted}: {'; '.join([*one.nothing, *one.caution])}."
            shown.append(Notice(title, text, "failure"))
        elif one.caution:
            shown.append(Notice(title, f"Read its verdicts with caution: {'; '.join(one.caution)}.", "warning"))
    return shown


def rounding_notices(costs: list[PolicyCost], config: Config) -> list[Notice]:
    """Policies whose training bf16 hides for the most part."""
    hidden = [cost for cost in costs if cost.served_share is not None and cost.served_share < LITTLE_SERVED]
    if not hidden:
        return []
    named = [f"{cost.policy.named(config)} ({percent(cost.served_share)})" for cost in hidden]
    text = (
        f"In bf16, in which policies are sampled and answer benchmarks, less than {percent(LITTLE_SERVED)} of what a training did "
        f"shows in {', '.join(named)}. Scores are of the part that shows; with training.carry: fp32 later iterations go on from "
        "the whole."
    )
    return [Notice("Small updates", text, "warning")]


def judge_notices(scores: list[dict], refused: dict[tuple[str, str], str]) -> list[Notice]:
    """Scores that are withheld (`refused`: why, by benchmark and judge), letters without
    probabilities, and benchmarks with several judges."""
    shown = [Notice("Scores withheld", text, "failure") for text in refused.values()]
    written = {(row["benchmark"], row["judge"]) for row in scores if "written_win_rate" in row["metric"]}
    for benchmark, judge in sorted(written):
        text = (
            f"{judge} gives no probabilities for {benchmark}, so the letters that it wrote count. Their share is a different "
            "measure from a win rate over probabilities; length control, which is made for those, is left out."
        )
        shown.append(Notice("Letters without probabilities", text, "note"))
    for benchmark in dict.fromkeys(row["benchmark"] for row in scores):
        names = sorted({row["judge"] for row in scores if row["benchmark"] == benchmark and row["judge"]})
        if len(names) > 1:
            text = (
                f"{benchmark} was judged by {' and by '.join(names)}. Each has columns and curves of its own: two judges of the "
                "same answers differ by more than the methods do, so their scores are not put in one column."
            )
            shown.append(Notice("Several judges", text, "note"))
    return shown


def check_notices(scores: list[dict]) -> list[Notice]:
    """Checks that the base model's answers always keep, or never: they can show no improvement."""
    stem = f"{PASS_RATE}:"
    base = [row for row in scores if row["iteration"] == -1 and row["metric"].startswith(stem)]
    idle = {rate: [row for row in base if row["value"] == rate] for rate in (0, 1)}
    shown = []
    for rate, text in ((0, "never keep"), (1, "always keep")):
        if idle[rate]:
            named = ", ".join(f"{row['benchmark']}: {row['metric'].removeprefix(stem)}" for row in idle[rate])
            consequence = "seldom teach or show anything" if rate == 0 else "cannot show an improvement"
            shown.append(
                Notice("Checks without a signal", f"The base model's answers {text} {named}: they {consequence}.", "note")
            )
    return shown


def quality_notices(quality: list[dict], config: Config) -> list[Notice]:
    """Iterations whose y+ is the worse reply by a rater that is trusted: the whole interval is
    below one half. `quality`: rows of PairQuality."""
    judges = config.evaluation.judges
    shown = []
    for row in quality:
        trusted = row["rater"] not in judges or judges[row["rater"]].trusted
        if trusted and row["high"] is not None and row["high"] < 0.5:
            text = (
                f"{row['rater']} finds y+ better than y- in only {percent(row['value'])} of the pairs of {Policy.of(row).named(config)} (95% interval "
                f"{interval(row, percent)}, {row['n']} pairs): they teach the reply that it finds worse."
            )
            shown.append(Notice("Pairs the wrong way round", text, "warning"))
    return shown


def facts(config: Config) -> list[tuple[str, list[str]]]:
    """What was run, in a few lines: a name and its values."""
    labeler = config.data.labeler
    kind = config.data.labelers[labeler].kind
    warm = warms_up(config.model_dump(mode="json"))
    return [
        ("Models", list(config.models)),
        ("Methods", config.methods),
        ("Iterations", [f"K = {config.iterations}" + (", after a warm-up on the corrections" if warm else "")]),
        ("Sources", [f"{name} ({source.kind})" for name, source in config.data.sources.items()]),
        ("Labels", [f"{labeler} ({'lexical heuristic' if kind == 'lexical' else kind})"]),
        ("Judges", judges(config) or ["none"]),
        ("Sampling", values(config.sampling, "temperature", "top_p", "max_tokens", "cut", "context")),
        ("Training", values(config.training, "beta", "learning_rate", "epochs", "global_batch", "max_length")),
        *own_values(config),
        ("Seeds", [*map(str, config.seeds), f"of the data {config.data.seed}"]),
    ]


def own_values(config: Config) -> list[tuple[str, list[str]]]:
    """What methods have of their own in training and sampling: a name and its values, a method
    each."""
    found = []
    for method in config.methods:
        recipe, own = config.recipes[method], []
        for overrides, section in ((recipe.sampling, config.sampling), (recipe.training, config.training)):
            keys = [key for key in type(overrides).model_fields if key in overrides.model_fields_set]
            own += [key for key in values(overrides, *keys) if key not in values(section, *keys)]
        if own:
            found.append((f"Of {method} alone", own))
    return found


def judges(config: Config) -> list[str]:
    """The judges that judge a benchmark of the run, by name."""
    return sorted({judge for _, judge in judged_by(config)})


def values(section: Section, *keys: str) -> list[str]:
    """These keys of a section, each with its value."""
    return [f"{key} {getattr(section, key)}" for key in keys]


def versions(catalog: Catalog, config: Config) -> list[tuple[str, str]]:
    """Library versions of all trained policies; several where these differ."""
    by_library: dict[str, set[str]] = {}
    for policy in configured(catalog.query("SELECT model, method, iteration, seed, versions FROM policies"), config):
        for library, version in json.loads(policy["versions"] or "{}").items():
            by_library.setdefault(library, set()).add(str(version))
    return [(library, ", ".join(sorted(used))) for library, used in sorted(by_library.items())]
