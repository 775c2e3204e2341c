"""What a reader must know before any number: of the judges, of the labels, of the gates, of what a
training left."""

from dataclasses import dataclass
from typing import Literal

from drift.config import Config
from drift.config.recipes import POOLS
from drift.judging.families import kinships
from drift.labelers.lexical import CHECKED
from drift.metrics.check_metrics import PASS_RATE
from drift.metrics.display import percent
from drift.report.cost_tables import PolicyCost
from drift.report.gate_tables import GateSummary
from drift.report.judge_behaviour import Behaviour
from drift.report.judge_tables import judges
from drift.report.metric_labels import interval
from drift.report.reading import Policy

# A served policy that shows less of an update than this is for the most part the one before.
LITTLE_SERVED = 0.5


@dataclass(frozen=True)
class Notice:
    """A line on whether the numbers below it can be believed, most serious first: failure, warning,
    note, and fine for a check that found no fault."""

    title: str
    text: str
    kind: Literal["failure", "warning", "note", "fine"]


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
    elif gates.total:
        text = f"All {gates.total} correctness gates passed in {len(gates.by_policy)} trained policies."
        shown.append(Notice("Gates", text, "fine"))
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
        else:
            shown.append(Notice(title, "Its behaviour shows no fault: order, verdict mass, missing verdicts, items.", "fine"))
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
