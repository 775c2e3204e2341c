"""The report's view of how policies write: a line at the top, a table, points of the curves, and
which policies are outside a limit."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from drift.config import Config
from drift.metrics.behaviour import MEASURES
from drift.metrics.display import hundredths, percent, signed_tenths, whole
from drift.report.notices import Notice
from drift.report.reading import Catalog, Policy, configured


@dataclass(frozen=True)
class Column:
    """A measure as a column of the table."""

    measure: str
    label: str
    text: Callable[[float], str] = percent

    @property
    def help(self) -> str:
        """What it measures."""
        return MEASURES[self.measure]


COLUMNS = (
    Column("tokens_p25", "Length, 25%", whole),
    Column("tokens_median", "Length, half", whole),
    Column("tokens_p75", "Length, 75%", whole),
    Column("on_prompt", "On prompt"),
    Column("ended", "Ended"),
    Column("distinct_2", "Distinct-2", hundredths),
    Column("repeated_4", "Repeated"),
    Column("empty", "Empty"),
    Column("identical", "Identical"),
    Column("script", "Script"),
)


@dataclass(frozen=True)
class Cell:
    """A measure of a policy, and below it those of the policy before and of the base model."""

    value: str
    others: str
    failed: bool


@dataclass(frozen=True)
class BehaviourRow:
    """How a policy writes, a cell a column; `longer`: how many tokens the y+ of its pairs have
    more than the y-, None where the pairs are not there."""

    policy: Policy
    cells: list[Cell]
    longer: str | None


def behaviour_rows(catalog: Catalog, config: Config) -> list[dict]:
    """The rows of the view for the configured policies."""
    return configured(catalog.query("SELECT * FROM behaviour"), config)


def outside(rows: Iterable[dict]) -> dict[Policy, list[dict]]:
    """The measures that do not pass, by policy, in the order of the table."""
    order = [column.measure for column in COLUMNS]
    found: dict[Policy, list[dict]] = {}
    for row in sorted((row for row in rows if row["passed"] is False), key=lambda row: order.index(row["measure"])):
        found.setdefault(Policy.of(row), []).append(row)
    return found


def marked(rows: Iterable[dict]) -> set[tuple[str, str, int]]:
    """Model, method and iteration of the policies that are outside a limit with any seed: scores
    are shown over all of them."""
    return {(policy.model, policy.method, policy.iteration) for policy in outside(rows)}


def notices(rows: list[dict], config: Config) -> list[Notice]:
    """What the top of the page says: which policies are outside a limit, or that none is; nothing
    where nothing was compared."""
    if not rows:
        return []
    failed = outside(rows)
    if failed:
        policies = sorted(failed, key=lambda policy: policy.position(config))
        texts = [f"{policy.named(config)} {_said(failed[policy])}: do not use it." for policy in policies]
        return [Notice("Behaviour", text, "failure") for text in texts]
    if all(row["passed"] is None for row in rows):
        text = (
            f"{min(row['n'] for row in rows)} answers are too few to say whether a policy collapsed "
            f"(training.behaviour.min_replies: {config.training.behaviour.min_replies})."
        )
        return [Notice("Behaviour", text, "note")]
    policies = len({Policy.of(row) for row in rows})
    return [Notice("Behaviour", f"All {policies} trained policies write within the limits of training.behaviour.", "fine")]


def _said(failed: list[dict]) -> str:
    by_measure = {row["measure"]: row for row in failed}
    if row := by_measure.get("tokens_median"):
        limit = f"at least {row['low']:.3g}" if row["value"] < row["low"] else f"at most {row['high']:.3g}"
        said = f"writes {row['value']:.3g} tokens where the base model writes {row['base']:.3g} (median; limit: {limit})"
    else:
        row = failed[0]
        said = f"is outside a limit: {row['detail']}"
    others = len(failed) - 1
    return said + (f", and is outside {others} other {'limit' if others == 1 else 'limits'}" if others else "")


def behaviour_table(rows: list[dict], catalog: Catalog) -> list[BehaviourRow]:
    """A row a policy; `rows` as of behaviour_rows."""
    pairs = catalog.query("SELECT model, method, iteration, seed, chosen_tokens - rejected_tokens AS longer FROM pair_lengths")
    longer = {Policy.of(row): row["longer"] for row in pairs}
    by_policy: dict[Policy, dict[str, dict]] = {}
    for row in rows:
        by_policy.setdefault(Policy.of(row), {})[row["measure"]] = row
    return [
        BehaviourRow(
            policy,
            [_cell(measured[column.measure], column.text) for column in COLUMNS],
            None if longer.get(policy) is None else signed_tenths(longer[policy]),
        )
        for policy, measured in by_policy.items()
    ]


def _cell(row: dict, text: Callable[[float], str]) -> Cell:
    value, before, base = ("\N{EN DASH}" if row[name] is None else text(row[name]) for name in ("value", "before", "base"))
    return Cell(value, f"{before}, {base}", row["passed"] is False)


# Over all seeds together, seed 0, and of each alone.
_POINTS = """
    SELECT DISTINCT model, method, iteration, coalesce(seed, 0) AS seed, {}
    FROM {} WHERE seed = 0 OR list_contains(?, seed)
    GROUP BY GROUPING SETS ((model, method, iteration, seed), (model, method, iteration)) ORDER BY ALL
"""
# With the base model as a policy of its own.
_WITH_BASE = (
    "(SELECT model, method, iteration, seed, measure, value FROM behaviour "
    "UNION SELECT model, 'base', -1, 0, measure, base FROM behaviour)"
)
_LENGTHS = _POINTS.format(
    "avg(value) FILTER (measure = 'tokens_median') AS value, avg(value) FILTER (measure = 'tokens_p25') AS low, "
    "avg(value) FILTER (measure = 'tokens_p75') AS high",
    _WITH_BASE,
)
_ON_PROMPT = _POINTS.format(
    "avg(value) FILTER (measure = 'on_prompt') AS value, NULL::DOUBLE AS low, NULL::DOUBLE AS high", _WITH_BASE
)
_VARIETIES = _POINTS.format(
    "avg(value / base) FILTER (measure = 'distinct_2') AS value, NULL::DOUBLE AS low, NULL::DOUBLE AS high", "behaviour"
)


def length_points(catalog: Catalog, config: Config) -> list[dict]:
    """The median length of every policy's answers with the middle half, the base model's
    included."""
    return configured(catalog.query(_LENGTHS, config.seeds), config)


def on_prompt_points(catalog: Catalog, config: Config) -> list[dict]:
    """The share of every policy's answers that are on their prompt, the base model's included."""
    return configured(catalog.query(_ON_PROMPT, config.seeds), config)


def variety_points(catalog: Catalog, config: Config) -> list[dict]:
    """distinct_2 of every trained policy as a share of the base model's, of as many word pairs."""
    return configured(catalog.query(_VARIETIES, config.seeds), config)
