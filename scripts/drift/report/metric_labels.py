"""What the report shows of each score: its name, how its numbers are written, and the sentence that explains its curve."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

FIRST = {-1: "base", 0: "warm-up"}


def percent(value: float) -> str:
    return f"{100 * value:.1f}%"


def points(value: float) -> str:
    """A difference of shares, in percentage points."""
    return minus(f"{100 * value:+.1f}")


def minus(text: str) -> str:
    """`text` with a minus as long as its plus."""
    return text.replace("-", "\N{MINUS SIGN}")


def tenths(value: float) -> str:
    return minus(f"{value:.1f}")


def signed_tenths(value: float) -> str:
    return minus(f"{value:+.1f}")


def hundredths(value: float) -> str:
    return minus(f"{value:.2f}")


def probability(value: float) -> str:
    """A p-value."""
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def whole(value: float) -> str:
    return f"{value:,.0f}"


def signed(value: float) -> str:
    return minus(f"{value:+.3f}" if abs(value) < 10 else f"{value:+,.1f}")


def duration(seconds: float) -> str:
    """Seconds as people say them: 4.2 s, 3 min 20 s, 2 h 05 min."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60:,} h {minutes % 60:02d} min"


def size(megabytes: float) -> str:
    return f"{megabytes:,.0f} MiB" if megabytes < 1024 else f"{megabytes / 1024:,.1f} GiB"


def iteration_name(iteration: int) -> str:
    return FIRST.get(iteration, f"iteration {iteration}")


@dataclass(frozen=True)
class Metric:
    """How a metric of the scores is called and shown; `curve` is the sentence under its chart, '' where it has none."""

    name: str
    label: str
    text: Callable[[float], str]
    axis: str = ",~r"
    help: str = ""
    curve: str = ""
    rule: float | None = None
    detail: bool = False  # shown on demand only

    def difference(self, value: float) -> str:
        """A difference of two values, with its sign; of shares in percentage points."""
        return {percent: points, tenths: signed_tenths}.get(self.text, signed)(value)


JUDGED_METRICS = (
    Metric(
        "win_rate",
        "Win rate",
        percent,
        "%",
        "share of verdicts for the policy's answer against the one that it is compared with; over the orders, averaged",
        "Rising: the judge more often prefers the policy's answer to the one that it is compared with. 50% (dashed) is a draw.",
        0.5,
    ),
    Metric(
        "length_controlled_win_rate",
        "Win rate, length-controlled",
        percent,
        "%",
        "the win rate that a logistic model predicts were both answers of one length (AlpacaEval 2)",
        "Rising less than the win rate: part of its gain came from longer answers. 50% (dashed) is the baseline.",
        0.5,
    ),
    Metric(
        "written_win_rate",
        "Win rate, written letters",
        percent,
        "%",
        "share of the letters that the judge wrote, as its endpoint gives no probabilities: no win rate from probabilities",
        "Rising: the judge more often writes the letter of the policy's answer. 50% (dashed) is a draw.",
        0.5,
    ),
    Metric("discrete_win_rate", "Win rate, discrete", percent, help="an item counts for whoever has more than half of it"),
    Metric("standard_error", "Standard error", percent, help="of the win rate, over items", detail=True),
    Metric(
        "wb_score_task_macro",
        "WB-Score, task-weighted",
        tenths,
        ",~r",
        "weighted mean of the groups' scores, -80 to 100: what is reported as WildBench's task score",
        "Rising: the judge scores the answers higher over the groups of tasks; 0 is a score of 5 of 10.",
    ),
    Metric("wb_score", "WB-Score", tenths, help="mean score over all tasks, -80 to 100; 0 is a score of 5 of 10"),
    Metric("wb_score_raw", "WB-Score, 1 to 10", hundredths, help="mean score as the judge gives it", detail=True),
    Metric("wb_score_adjusted", "WB-Score, adjusted", hundredths, help="the same less 5, doubled", detail=True),
    Metric(
        "wb_reward_task_macro_k500",
        "WB-Reward, task-weighted, K = 500",
        tenths,
        ",~r",
        "as WB-Reward with K = 500, as the weighted mean of the groups",
        "Rising: against the references' answers the judge more often prefers the policy's; slight wins by over 500 characters "
        "count as draws. 0 (dashed) is a draw.",
        0.0,
    ),
    Metric(
        "wb_reward_k500", "WB-Reward, K = 500", tenths, help="WB-Reward where a slight win by over 500 characters is a draw"
    ),
    Metric(
        "wb_reward_task_macro", "WB-Reward, task-weighted", tenths, help="without a penalty on length, by groups", detail=True
    ),
    Metric("wb_reward", "WB-Reward", tenths, help="without a penalty on length", detail=True),
    Metric(
        "elo_bradley_terry",
        "Rating (Bradley-Terry)",
        whole,
        ",~r",
        "of this run's policies among each other, from their scores on the same tasks; their mean is 1,000",
        "Rising: scored at least two points higher than the run's other policies on more tasks.",
    ),
    Metric("elo", "Elo", whole, help="the same by sequential Elo, as WildBench has it, over random orders of the votes"),
    Metric(
        "judge_score", "Judge's score", hundredths, ",~r", "mean score, 1 to 10", "Rising: the judge scores the answers higher."
    ),
    Metric(
        "position_flip_rate", "Verdict flips", percent, help="share of items whose verdict changes with the order of answers"
    ),
    Metric("parse_failure_rate", "No verdict", percent, help="share of the questions to the judge that gave no verdict"),
    Metric("verdict_mass", "Verdict mass", percent, help="how much of the judge's first token was a verdict at all"),
)
ANSWER_METRICS = (
    Metric(
        "response_tokens",
        "Answer length",
        whole,
        "~s",
        "mean tokens of an answer",
        "Rising together with the scores: part of the gain may be that the judge likes longer answers.",
    ),
    Metric(
        "cut_by_limit",
        "Cut by limit",
        percent,
        "%",
        "share of answers that the token limit cut",
        "Rising: more answers do not come to an end before the token limit; they are judged as they are.",
    ),
)
PAIR_METRICS = (
    Metric(
        "preference_accuracy",
        "Preference accuracy",
        percent,
        "%",
        "share of held-out corrections with s > 0, measured from the base model",
        "Rising: on conversations never trained on, the reply that satisfied gains on the reply that disappointed. "
        "50% (dashed) is chance.",
        0.5,
    ),
    Metric(
        "margin",
        "Held-out margin s",
        signed,
        ",~r",
        "mean s on held-out corrections, measured from the base model",
        "Rising: the preference learned from the pairs carries over to unseen corrections; 0 (dashed) is the base model.",
        0.0,
    ),
    Metric("likelihood_accuracy", "Likelihood accuracy", percent, help="share where the satisfying reply is the likelier one"),
    Metric(
        "chosen_logp_change",
        "Chosen log-probability",
        signed,
        ",~r",
        "mean change of log p(satisfying reply) from the base model, nats",
        "Falling: the satisfying replies themselves become less likely than under the base model (dashed), "
        "so the margin grows only because the rejected ones fall faster.",
        0.0,
    ),
    Metric(
        "rejected_logp_change",
        "Rejected log-probability",
        signed,
        ",~r",
        "mean change of log p(disappointing reply) from the base model, nats",
        "Falling: the policy moves away from the replies that disappointed; it should fall faster than the chosen one.",
        0.0,
    ),
)
KNOWN = {metric.name: (place, metric) for place, metric in enumerate(JUDGED_METRICS + ANSWER_METRICS + PAIR_METRICS)}


def metric_named(name: str) -> Metric:
    """How the scores' metric of this name is shown. NAME:X is NAME against the reference X, or over the group X: a detail."""
    stem, _, part = name.partition(":")
    known = KNOWN[stem][1]
    return replace(known, name=name, label=f"{known.label}: {part}", curve="", detail=True) if part else known


def in_order(names: Iterable[str]) -> list[Metric]:
    """The metrics of these names, the most telling first."""
    return [metric_named(name) for name in sorted(names, key=lambda name: (KNOWN[name.partition(":")[0]][0], name))]


TRAINING_CURVES = (
    Metric(
        "s",
        "Training margin s",
        signed,
        ",~r",
        curve="How far an iteration moved its own pairs from where it started (mean; whiskers: the middle half of the pairs). "
        "Falling towards 0 (dashed): the later iterations find less to learn in their pairs.",
        rule=0.0,
    ),
    Metric(
        "sigma_minus_s",
        "Weight left: sigma(-s)",
        percent,
        ".2f",
        curve="The weight of a pair's gradient after the iteration (mean; whiskers: the middle half). It starts at 0.5 (dashed); "
        "falling: the pairs are fitted and their signal is used up; at 0.5: the iteration hardly moved the policy.",
        rule=0.5,
    ),
)
