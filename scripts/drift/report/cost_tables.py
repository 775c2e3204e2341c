"""The report's costs: tokens, steps and time of every policy, and time and memory of every rule."""

from dataclasses import dataclass
from statistics import fmean

from drift.config import Config
from drift.report.reading import Catalog, Policy, configured
from drift.report.timings import Timing


@dataclass(frozen=True)
class PolicyCost:
    """What went into a policy; None where it was not measured or does not apply."""

    policy: Policy
    read: int | None = None  # tokens of prompts sampled for its pairs
    written: int | None = None  # tokens of replies sampled for its pairs
    pairs: int | None = None
    trained: int | None = None  # tokens of its pairs: prompt and reply of both sides
    steps_done: int | None = None
    steps_planned: int | None = None
    changed_share: float | None = None  # of the weights in bf16, 0 to 1
    served_share: float | None = None  # of the update, about 0 to 1
    seconds: float | None = None  # of training
    evaluated: int | None = None  # tokens read and written in its evaluation, the judges' included


_POLICY_SUMS = (
    "SELECT model, method, iteration, seed, steps_done, steps_planned, changed_share, served_share, seconds FROM policies",
    "SELECT model, method, iteration, seed, count(*) AS pairs, "
    "sum(2 * len(prompt_token_ids) + chosen_tokens + rejected_tokens) AS trained FROM pairs GROUP BY ALL",
    "SELECT model, method, iteration, seed, sum(prompt_tokens) FILTER (benchmark IS NULL) AS read, "
    "sum(completion_tokens) FILTER (benchmark IS NULL) AS written, "
    "sum(prompt_tokens + completion_tokens) FILTER (benchmark IS NOT NULL) AS evaluated FROM completions GROUP BY ALL",
)


def policy_costs(catalog: Catalog, config: Config) -> list[PolicyCost]:
    """The cost of every configured policy, in their order."""
    by_policy: dict[Policy, dict] = {}
    for sql in _POLICY_SUMS:
        for row in configured(catalog.query(sql), config):
            sums = by_policy.setdefault(Policy.of(row), {})
            sums |= {name: value for name, value in row.items() if name not in ("model", "method", "iteration", "seed")}
    ordered = sorted(by_policy, key=lambda policy: policy.position(config))
    return [PolicyCost(policy, **by_policy[policy]) for policy in ordered]


@dataclass(frozen=True)
class RuleCost:
    """The cost of the jobs of one rule."""

    rule: str
    jobs: int
    seconds: float
    mean: float
    longest: float
    cpu: float
    memory: float | None  # None: no job ran long enough to be measured

    @classmethod
    def of(cls, rule: str, timings: list[Timing]) -> "RuleCost":
        """The sum of these jobs."""
        seconds = [timing.seconds for timing in timings if timing.seconds is not None]
        return cls(
            rule=rule,
            jobs=len(timings),
            seconds=sum(seconds),
            mean=fmean(seconds) if seconds else 0.0,
            longest=max(seconds, default=0.0),
            cpu=sum(timing.cpu for timing in timings if timing.cpu is not None),
            memory=max((timing.memory for timing in timings if timing.memory is not None), default=None),
        )


@dataclass(frozen=True)
class CostTable:
    """Costs by rule, the most expensive first, and their sum; None where nothing was recorded."""

    rules: list[RuleCost]
    total: RuleCost | None


def cost_table(timings: list[Timing]) -> CostTable:
    """The costs of all rules."""
    by_rule: dict[str, list[Timing]] = {}
    for timing in timings:
        by_rule.setdefault(timing.rule, []).append(timing)
    costs = [RuleCost.of(rule, jobs) for rule, jobs in by_rule.items()]
    costs.sort(key=lambda cost: (-cost.seconds, cost.rule))
    return CostTable(costs, RuleCost.of("all", timings) if timings else None)
