"""How the metrics are shown that any benchmark gets: of judged answers, of the judge itself, of
answers before anybody judges them, and of held-out corrections. Benchmarks add to them (METRICS).

Rules import this module: the standard library alone is imported here.
"""

from drift.metrics.display import Metric, hundredths, percent, signed, whole

LENGTH_CONTROLLED = Metric(
    "length_controlled_win_rate",
    "Win rate, length-controlled",
    percent,
    "%",
    "the win rate that a logistic model predicts if both answers had one length",
    "Rising less than the win rate: part of its gain came from longer answers. 50% (dashed) is a draw.",
    rule=0.5,
    headline=True,
    better="higher",
)
# Of verdicts on answers.
JUDGED = (
    Metric(
        "win_rate",
        "Win rate",
        percent,
        "%",
        "share of verdicts for the policy's answer against the one that it is compared with; averaged over the orders",
        "Rising: the judge more often prefers the policy's answer to the one that it is compared with. 50% (dashed) is a draw.",
        rule=0.5,
        headline=True,
        better="higher",
    ),
    LENGTH_CONTROLLED,
    Metric(
        "written_win_rate",
        "Win rate, written letters",
        percent,
        "%",
        "share of the letters that the judge wrote, as its endpoint gives no probabilities: no win rate from probabilities",
        "Rising: the judge more often writes the letter of the policy's answer. 50% (dashed) is a draw.",
        rule=0.5,
        headline=True,
        better="higher",
    ),
    Metric(
        "judge_score",
        "Judge's score",
        hundredths,
        help="mean score, 1 to 10",
        curve="Rising: the judge scores the answers higher.",
        headline=True,
        better="higher",
        unit="1 to 10",
    ),
)
# How far a judge can be believed.
RELIABILITY = (
    Metric(
        "position_flip_rate",
        "Verdict flips",
        percent,
        help="share of items whose verdict changes with the order of answers",
        better="lower",
    ),
    Metric(
        "parse_failure_rate",
        "No verdict",
        percent,
        help="share of the questions to the judge that gave no verdict",
        better="lower",
    ),
    Metric(
        "verdict_mass",
        "Verdict mass",
        percent,
        help="how much of the judge's first token was a verdict at all",
        better="higher",
    ),
)
# Of answers before anybody judges them.
ANSWERS = (
    Metric(
        "response_tokens",
        "Answer length",
        whole,
        "~s",
        "mean tokens of an answer",
        "Rising together with the scores: part of the gain may be that longer answers are scored higher.",
        unit="tokens",
    ),
    Metric(
        "cut_by_limit",
        "Cut by limit",
        percent,
        "%",
        "share of answers that the token limit cut",
        "Rising: more answers do not come to an end before the token limit; they are scored as they are.",
        better="lower",
    ),
)
# Of held-out corrections. Policies are not compared by margins, which grow with beta and with the
# lengths of the replies.
PAIRS = (
    Metric(
        "preference_accuracy",
        "Preference accuracy",
        percent,
        "%",
        "share of held-out corrections with s > 0, measured from the base model; s = 0 counts half",
        "Rising: on conversations never trained on, the reply that satisfied gains on the reply that disappointed. "
        "50% (dashed) is chance.",
        rule=0.5,
        headline=True,
        better="higher",
    ),
    Metric(
        "margin",
        "Held-out margin s",
        signed,
        help="mean s on held-out corrections, measured from the base model",
        curve="Rising: the preference learned from the pairs carries over to unseen corrections; 0 (dashed) is the base model.",
        rule=0.0,
        better="higher",
    ),
    Metric(
        "likelihood_accuracy",
        "Likelihood accuracy",
        percent,
        help="share where the satisfying reply is the likelier one",
        better="higher",
    ),
    Metric(
        "chosen_logp_change",
        "Chosen log-probability",
        signed,
        help="mean change of log p(satisfying reply) from the base model, nats",
        curve="Falling: the satisfying replies themselves become less likely than under the base model (dashed), "
        "so the margin grows only because the rejected ones fall faster.",
        rule=0.0,
        better="higher",
        unit="nats",
        scale="logp_change",
    ),
    Metric(
        "rejected_logp_change",
        "Rejected log-probability",
        signed,
        help="mean change of log p(disappointing reply) from the base model, nats",
        curve="Falling: the policy moves away from the replies that disappointed; it should fall faster than the chosen one.",
        rule=0.0,
        better="lower",
        unit="nats",
        scale="logp_change",
    ),
)
