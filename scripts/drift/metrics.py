"""What the report shows of each score: its name, how its numbers are written, and the sentence that explains its curve."""

from dataclasses import dataclass

FIRST = {-1: "base", 0: "warm-up"}


def percent(value: float) -> str:
    return f"{100 * value:.1f}%"


def points(value: float) -> str:
    """A difference of shares, in percentage points."""
    return minus(f"{100 * value:+.1f}")


def minus(text: str) -> str:
    """`text` with a minus as long as its plus."""
    return text.replace("-", "\N{MINUS SIGN}")


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


def round_name(iteration: int) -> str:
    return FIRST.get(iteration, f"iteration {iteration}")


@dataclass(frozen=True)
class Metric:
    """How a metric of the scores is called and shown; `curve` is the sentence under its chart, '' where it has none."""

    name: str
    label: str
    text: object
    axis: str = ",~r"
    help: str = ""
    curve: str = ""
    rule: float | None = None


BENCHMARK_METRICS = (
    Metric(
        "win_rate",
        "Win rate",
        percent,
        "%",
        "share of verdicts for the policy's answer against the reply that disappointed the user; both orders, averaged",
        "Rising: the judge more often prefers the policy's answer to the reply that disappointed a real user. "
        "50% (dashed) is a draw.",
        0.5,
    ),
    Metric("win_rate_gain", "Gain over base", points, help="win rate less the base model's on the same items, points"),
    Metric(
        "response_tokens",
        "Answer length",
        whole,
        "~s",
        "mean tokens of an answer",
        "Rising together with the win rate: part of the gain may be that the judge likes longer answers.",
    ),
    Metric(
        "cut_by_limit",
        "Cut by limit",
        percent,
        "%",
        "share of answers that the token limit cut",
        "Rising: more answers do not come to an end before the token limit; they are judged as they are.",
    ),
    Metric(
        "position_flip_rate", "Verdict flips", percent, help="share of items whose verdict changes with the order of answers"
    ),
    Metric("verdict_mass", "Verdict mass", percent, help="how much of the judge's first token was a verdict at all"),
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
TRAINING_CURVES = (
    Metric(
        "s",
        "Training margin s",
        signed,
        ",~r",
        curve="How far a round moved its own pairs from where it started (mean; whiskers: the middle half of the pairs). "
        "Falling towards 0 (dashed): the later rounds find less to learn in their pairs.",
        rule=0.0,
    ),
    Metric(
        "sigma_minus_s",
        "Weight left: sigma(-s)",
        percent,
        ".2f",
        curve="The weight of a pair's gradient after the round (mean; whiskers: the middle half). It starts at 0.5 (dashed); "
        "falling: the pairs are fitted and their signal is used up; at 0.5: the round hardly moved the policy.",
        rule=0.5,
    ),
)
