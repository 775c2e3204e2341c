"""How often a run waits in a cluster's queue: the jobs that are submitted one after another."""

from graphlib import TopologicalSorter

from drift.workflow.dry_run import Job

# Rules with `localrule: True`, which are never submitted.
NEVER_SUBMITTED = frozenset({"fetch", "resolved_config"})


def is_light(job: Job) -> bool:
    """Whether a job is of a light stage: `light=1` in the resources of its rule."""
    return "light=1" in job.fields.get("resources", "").split(", ")


def waits(jobs: list[Job], *, light_submitted: bool) -> int:
    """The most jobs that a cluster starts one after another, each when the one before is done; each
    waits in the queue. Light stages are submitted, or run where Snakemake runs."""
    by_file = {file: number for number, job in enumerate(jobs) for file in job.files}
    before = {number: {by_file[file] for file in job.inputs if file in by_file} - {number} for number, job in enumerate(jobs)}
    longest: dict[int, int] = {}
    for number in TopologicalSorter(before).static_order():
        job = jobs[number]
        submitted = job.rule not in NEVER_SUBMITTED and (light_submitted or not is_light(job))
        longest[number] = submitted + max((longest[other] for other in before[number]), default=0)
    return max(longest.values(), default=0)
