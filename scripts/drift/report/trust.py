"""Whether the numbers can be believed: lines computed from the data of a run, faults first."""

from collections.abc import Callable, Iterable

from drift.config import Config
from drift.metrics.display import percent, signed_tenths
from drift.report.data_tables import late_tasks
from drift.report.judge_behaviour import MOST, USUAL_CUT, USUAL_ITEMS, left_open
from drift.report.judge_tables import unjudged
from drift.report.metric_labels import metric_named
from drift.report.notices import Notice
from drift.report.reading import Catalog, Policy, configured

# Shares of pairs above which a line is a warning; ours.
USUAL_TRIMMED = 0.1
USUAL_ALLUDING = 0.05
# Least precision of DSAT labels: of replies that are trained against, one in five may be sound.
USUAL_PRECISION = 0.8
_ORDER = ("failure", "warning", "note", "fine")


def in_order(notices: Iterable[Notice]) -> list[Notice]:
    """The most serious first."""
    return sorted(notices, key=lambda notice: _ORDER.index(notice.kind))


def data_notices(scores: list[dict], catalog: Catalog, config: Config) -> list[Notice]:
    """Items, cut answers, prompts and pairs, labels and seeds: what the tables say of them.
    `scores`: rows of Scores that are shown."""
    return [
        *item_notices(scores, config),
        *cut_notices(scores, config),
        *trimmed_notices(catalog, config),
        *likelihood_notices(catalog, config),
        *alluding_notices(catalog, config),
        *label_notices(catalog, config),
        *contamination_notices(catalog, config),
        *seed_notices(config),
    ]


def item_notices(scores: list[dict], config: Config) -> list[Notice]:
    """How many items are behind what nobody judged; of judges their behaviour says it."""
    shown = []
    for benchmark in unjudged(config):
        rows = [row for row in scores if row["benchmark"] == benchmark and is_headline(row["metric"])]
        if not rows:
            continue
        n = min(row["n"] for row in rows)
        if n < USUAL_ITEMS:
            text = f"{benchmark} has {n} items, which leave a share open by {percent(left_open(n))} either way."
            shown.append(Notice("Few items", text, "warning"))
        else:
            shown.append(Notice("Items", f"{benchmark} has {n} items.", "fine"))
    return shown


def is_headline(metric: str) -> bool:
    """Whether policies are compared by a metric: its groups (NAME:X) have items of their own."""
    return ":" not in metric and metric_named(metric).headline


def cut_notices(scores: list[dict], config: Config) -> list[Notice]:
    """Answers that the token limit cut, of what nobody judged; of judges their behaviour says
    it."""
    shown = []
    for benchmark in unjudged(config):
        rows = [
            row
            for row in scores
            if row["benchmark"] == benchmark
            and row["metric"] == "cut_by_limit"
            and row["seed"] == 0
            and row["value"] is not None
        ]
        if not rows:
            continue
        most = max(rows, key=lambda row: row["value"])
        said = f"The token limit cut {percent(most['value'])} of the answers of {Policy.of(most).named(config)} to {benchmark}"
        base = next((row["value"] for row in rows if row["iteration"] == -1), None)
        said += "" if base is None or most["iteration"] == -1 else f", and {percent(base)} of the base model's"
        kind = "fine" if most["value"] <= USUAL_CUT else "failure" if most["value"] > MOST else "warning"
        cure = f"Raise evaluation.benchmarks.{benchmark}.decoding.max_tokens"
        text = f"{said}." if kind == "fine" else f"{said}; what comes after it counts for nothing. {cure}."
        shown.append(Notice("Cut answers", text, kind))
    return shown


# Prompts are the same in every pool that holds them.
_TRIMMED = """
    SELECT model, method, iteration, seed, count(*) AS n, count(*) FILTER (trimmed > 0) AS trimmed,
        count(*) FILTER (trimmed > 0 AND len(pairs.prompt) = 1) AS alone
    FROM pairs
    JOIN (
        SELECT model, prompt_id AS pair_id, max(turns_trimmed) AS trimmed
        FROM (SELECT model, prompt_id, turns_trimmed FROM prompts UNION ALL SELECT model, prompt_id, turns_trimmed FROM later_prompts)
        GROUP BY ALL
    ) USING (model, pair_id)
    GROUP BY ALL ORDER BY ALL
"""


def trimmed_notices(catalog: Catalog, config: Config) -> list[Notice]:
    """Pairs whose conversation lost its oldest messages, as it was longer than the context."""

    def said(worst: dict) -> str:
        return (
            f"{worst['trimmed']} of {worst['n']} pairs of {Policy.of(worst).named(config)} lost the oldest messages of their "
            f"conversation to the context (sampling.context), and {worst['alone']} of them have the last message alone."
        )

    none = Notice("Trimmed prompts", "No pair's conversation was shortened to fit the context.", "fine")
    return _of_worst(configured(catalog.query(_TRIMMED), config), "trimmed", USUAL_TRIMMED, none, said)


def _of_worst(rows: list[dict], column: str, usual: float, none: Notice, said: Callable[[dict], str]) -> list[Notice]:
    """A line on the policy with the largest share of its pairs in `column`, `none` where no policy
    has any; nothing without pairs."""
    if not rows:
        return []
    worst = max(rows, key=lambda row: row[column] / row["n"])
    if not worst[column]:
        return [none]
    return [Notice(none.title, said(worst), "warning" if worst[column] > usual * worst["n"] else "note")]


_LIKELIHOOD = """
    SELECT model, method, iteration, seed, count(*) AS n, avg(policy_chosen_logp - start_chosen_logp) AS change,
        count(*) FILTER (policy_chosen_logp < start_chosen_logp) AS fell
    FROM margins GROUP BY ALL ORDER BY ALL
"""


def likelihood_notices(catalog: Catalog, config: Config) -> list[Notice]:
    """Iterations that made the chosen replies of their own pairs less likely."""
    rows = configured(catalog.query(_LIKELIHOOD), config)
    fell = [row for row in rows if row["change"] < 0]
    if fell:
        named = ", ".join(
            f"{Policy.of(row).named(config)} ({row['fell']} of {row['n']} pairs, mean {signed_tenths(row['change'])} nats)"
            for row in fell
        )
        text = (
            f"y+ of its own pairs became less likely in training: {named}. Their margins grow because y\N{MINUS SIGN} falls faster; "
            "the policy may end up saying neither."
        )
        return [Notice("Falling likelihood of y+", text, "warning")]
    return [Notice("Likelihood of y+", "Every iteration made its own y+ more likely, on average.", "fine")] if rows else []


def alluding_notices(catalog: Catalog, config: Config) -> list[Notice]:
    """Chosen replies that open with words on feedback that the prompt does not show."""
    sql = "SELECT model, method, iteration, seed, count(*) AS n, count(*) FILTER (alludes) AS alluding FROM pairs GROUP BY ALL"

    def said(worst: dict) -> str:
        return (
            f"{worst['alluding']} of {worst['n']} y+ of {Policy.of(worst).named(config)} open with words on feedback that the "
            "prompt does not show: the policy learns to apologize unasked."
        )

    none = Notice("Allusions", "No y+ opens with words on feedback that its prompt does not show.", "fine")
    return _of_worst(configured(catalog.query(sql), config), "alluding", USUAL_ALLUDING, none, said)


def quality_notices(quality: list[dict]) -> list[Notice]:
    """Whether y+ was found to beat y- at all; drift.report.notices warns of policies where it does
    not. `quality`: rows of PairQuality."""
    rated = [row for row in quality if row["value"] is not None]
    if not rated:
        text = "Whether y+ of the pairs beats y\N{MINUS SIGN} was not measured (training.pair_quality)."
        return [Notice("Quality of pairs", text, "note")]
    least = min(rated, key=lambda row: row["value"])
    if least["value"] < 0.5:
        return []
    return [
        Notice("Quality of pairs", f"y+ beats y\N{MINUS SIGN} in at least {percent(least['value'])} of rated pairs.", "fine")
    ]


def label_notices(catalog: Catalog, config: Config) -> list[Notice]:
    """How precise the DSAT labels are, against every reference."""
    sql = "SELECT * FROM agreement WHERE labeler = ? AND target = 'DSAT' AND metric = 'precision' AND value IS NOT NULL ORDER BY ALL"
    shown = []
    for row in catalog.query(sql, config.data.labeler):
        text = (
            f"Of the replies that {row['labeler']} labels DSAT, {percent(row['value'])} are (95% interval {percent(row['low'])} to "
            f"{percent(row['high'])}) by {row['reference']}, over {row['n']} replies."
        )
        shown.append(Notice("Quality of labels", text, "warning" if row["low"] < USUAL_PRECISION else "fine"))
    if not shown:
        text = f"Nothing says how precise the labels of {config.data.labeler} are (data.label_files)."
        shown.append(Notice("Quality of labels", text, "note"))
    return shown


def contamination_notices(catalog: Catalog, config: Config) -> list[Notice]:
    """Benchmarks whose prompts are in the training data."""
    text = (
        "Training rows hold {held} tasks of {benchmark}, which was not kept out (keep_out: false): its scores may be too high."
    )
    return [Notice("Contamination", text.format(**row), "warning") for row in late_tasks(catalog, config) if row["held"]]


def seed_notices(config: Config) -> list[Notice]:
    """Whether anything is known of how two trainings differ."""
    if len(config.seeds) > 1:
        return [
            Notice("Seeds", f"Every method was trained with {len(config.seeds)} seeds; intervals include their spread.", "fine")
        ]
    text = "Every method was trained once: results are about these policies. How far two trainings of one method differ is not known."
    return [Notice("One seed", text, "note")]
