"""A plan as text."""

from collections import Counter
from dataclasses import asdict

from drift.workflow.cost_model import GIB
from drift.workflow.dry_run import Job
from drift.workflow.plan.budget import Budget
from drift.workflow.plan.queue import waits
from drift.workflow.plan.work import Lengths


def show(run: str, budget: Budget, rows: dict[str, float], lengths: Lengths, jobs: list[Job] | None) -> str:
    """The plan of a run; `rows` and `lengths` are what it assumes."""
    machine = budget.machine
    assumed = f"rows {pairs(rows)}; mean tokens {pairs(asdict(lengths))}; shares reached {pairs(machine.shares)}"
    lines = [
        f"run {run} on {machine.gpus} GPU(s) of {machine.memory} GiB, {machine.tflops} TFLOP/s (bf16), "
        f"{machine.bandwidth} TB/s",
        f"assumed: {assumed}",
    ]
    if jobs is not None:
        lines += ["", f"jobs (snakemake --dry-run --forceall): {len(jobs)}", "  " + pairs(Counter(job.rule for job in jobs))]
        lines.append(
            f"waits in a cluster's queue, one after another: {waits(jobs, light_submitted=False)}; "
            f"with light stages submitted too: {waits(jobs, light_submitted=True)}"
        )
    lines += ["", *_stages(budget)]
    if machine.price is not None:
        lines.append(f"GPUs at {machine.price:.2f} USD an hour: {budget.gpu_hours * machine.price:.2f} USD")
    lines.append(f"wall time: {budget.wall_hours:.1f} hours or more, waiting in queues apart")
    lines += ["", f"GPU memory at the peak, GiB a GPU (there are {machine.memory}):"]
    for what, memory in budget.memory.items():
        lines.append(f"  {what}: {sum(memory.values()) / GIB:.1f}")
        lines.append("      " + ", ".join(f"{part} {size / GIB:.1f}" for part, size in memory.items()))
    lines += ["", f"disk: {sum(budget.disk.values()) / 1e9:,.1f} GB and the raw data"]
    lines += [f"  {what}: {size / 1e9:,.1f}" for what, size in budget.disk.items()]
    lines += ["", "formulas and their sources: scripts/drift/workflow/cost_model.py"]
    return "\n".join(lines)


def _stages(budget: Budget) -> list[str]:
    lines = [f"{'stage':<20}{'who':<28}{'requests':>10}{'tokens read':>14}{'written':>12}{'GPU hours':>11}{'USD':>9}"]
    for stage in budget.stages.values():
        lines.append(
            f"{stage.rule:<20}{stage.who:<28}{stage.requests:>10,.0f}{stage.read / 1e6:>12,.1f} M"
            f"{stage.written / 1e6:>10,.2f} M{stage.gpu_hours:>11.2f}{stage.cost:>9.2f}"
        )
    return [*lines, f"{'all':<20}{'':<64}{budget.gpu_hours:>11.2f}{budget.bill:>9.2f}"]


def pairs(values: dict[str, float]) -> str:
    """Names and numbers in a line."""
    return ", ".join(f"{key} {value:,}" for key, value in values.items())
