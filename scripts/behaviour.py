"""Compare how a policy writes with the policy before it and with the base model.

Reads:  the Responses of all three to one benchmark (--responses, --before, --base), and its Tasks
        (--tasks); none where training.behaviour is off.
Writes: a Behaviour table (--behaviour), whatever it says: the next iteration's training is what
        stops where a limit is broken (drift/training/behaviour_gate.py).

drift/metrics/behaviour.py defines the measures. Lengths are compared with the policy before and
with the base model, so that neither a sudden nor a slow collapse goes unnoticed; the other measures
with the base model alone.
"""

import _python  # noqa: F401 - before what may be missing
from dataclasses import dataclass

import polars as pl

from drift import cli
from drift.metrics import behaviour
from drift.settings.training import BehaviourLimits, BehaviourSettings
from drift.tables import Behaviour, Responses, Tasks, read_table, write_table


@dataclass(frozen=True)
class Bounds:
    """What passes; None: no limit on that side."""

    low: float | None = None
    high: float | None = None

    def admit(self, value: float) -> bool:
        """Whether a value passes."""
        return (self.low is None or value >= self.low) and (self.high is None or value <= self.high)

    def __str__(self) -> str:
        sides = [f"at {word} {side:.3g}" for word, side in (("least", self.low), ("most", self.high)) if side is not None]
        return " and ".join(sides)


def bounds(measure: str, before: float | None, base: float | None, limits: BehaviourLimits) -> Bounds:
    """What passes of a measure, by its values for the policy before and for the base model. None
    where these are not defined."""
    if measure == "script":
        return Bounds(low=limits.min_script)
    if base is None or before is None:
        return Bounds()
    if measure in behaviour.QUARTILES:
        low = max(limits.min_length_before * before, limits.min_length_base * base)
        high = min(limits.max_length_before * before, limits.max_length_base * base)
        # Where a reply is short anyway, a longer one is no fault.
        return Bounds(low, None if measure == "tokens_p25" else high)
    return {
        "empty": Bounds(high=min(1.0, base + limits.max_empty)),
        "identical": Bounds(high=min(1.0, base + limits.max_identical)),
        "ended": Bounds(low=max(0.0, base - limits.max_unended)),
        "distinct_2": Bounds(low=base * limits.min_distinct),
        "repeated_4": Bounds(high=min(1.0, base + limits.max_repetition)),
        "on_prompt": Bounds(low=max(0.0, base - limits.max_off_prompt)),
    }[measure]


def compare(
    responses: pl.DataFrame, before: pl.DataFrame, base: pl.DataFrame, tasks: pl.DataFrame, settings: BehaviourSettings
) -> pl.DataFrame:
    """The rows of Behaviour for three Responses tables to the same Tasks."""
    policies = (responses, before, base)
    pairs = min(behaviour.word_pairs(replies["response"].to_list()).total() for replies in policies)
    prompts = {
        prompt_id: "\n".join(message["content"] for message in prompt)
        for prompt_id, prompt in tasks.select("prompt_id", "prompt").iter_rows()
    }
    measured = [behaviour.measures(replies, base, pairs, prompts) for replies in policies]
    few = min(replies.height for replies in policies)
    rows = []
    for measure in behaviour.MEASURES:
        value, was, basic = (values[measure] for values in measured)
        limit = bounds(measure, was, basic, settings.limits) if few >= settings.limits.min_replies else Bounds()
        passed = limit.admit(value) if value is not None and str(limit) else None
        rows.append(
            {
                "measure": measure,
                "benchmark": settings.benchmark,
                "value": value,
                "before": was,
                "base": basic,
                "low": limit.low,
                "high": limit.high,
                "passed": passed,
                "stops": passed is False and settings.outcome == "fail",
                "detail": detail(measure, value, was, basic, limit, settings),
                "n": few,
            }
        )
    return pl.DataFrame(rows, schema=Behaviour.create_empty().schema)


def detail(
    measure: str, value: float | None, before: float | None, base: float | None, limit: Bounds, settings: BehaviourSettings
) -> str:
    """A measure of a policy in words."""
    of_policy, of_before, of_base = ("not defined" if one is None else f"{one:.3g}" for one in (value, before, base))
    allowed = f" (limit: {limit})" if str(limit) else ""
    return f"{behaviour.MEASURES[measure]}: {of_policy}{allowed}; of {settings.before} {of_before}, of the base model {of_base}"


def main() -> None:
    command = cli.parser(__doc__, BehaviourSettings)
    command.add_argument("--responses", nargs="?", help="Responses table of the policy")
    command.add_argument("--before", nargs="?", help="that of the policy that it was trained from")
    command.add_argument("--base", nargs="?", help="that of the base model")
    command.add_argument("--tasks", nargs="?", help="Tasks table of what they answer")
    command.add_argument("--behaviour", required=True, help="Behaviour table to write")
    arguments = command.parse_args()
    rows = Behaviour.create_empty()
    if arguments.settings.outcome != "off":
        tables = [read_table(Responses, path) for path in (arguments.responses, arguments.before, arguments.base)]
        rows = compare(*tables, read_table(Tasks, arguments.tasks), arguments.settings)
    write_table(rows, Behaviour, arguments.behaviour)


if __name__ == "__main__":
    cli.run(main)
