"""Plans of one workflow under many changes: snakemake is imported once, and each plan is made in a
fork.

Reads a JSON list of cases from stdin: {"arguments": [...], "edit": [FILE, TEXT] or null}, where the
file holds the text while the case is planned. Writes a JSON list with the jobs of each: rule,
outputs, inputs (ancient ones left out, as they never make a job run), whether its params or its set
of inputs differ from what was recorded, outputs that are missing, and whether it would run. Runs
with the driver's Python.
"""

import gc
import json
import os
import sys
from pathlib import Path

import snakemake.cli
import snakemake.dag
from snakemake.io import is_flagged


async def describe_jobs(dag, *_, **__) -> list:
    """Print the DAG in place of what --list-changes would; that lists every output with recorded
    params, changed or not."""
    persistence = dag.workflow.persistence
    jobs = [
        {
            "rule": job.rule.name,
            "outputs": [str(path) for path in job.output],
            "inputs": [str(path) for path in job.input if not is_flagged(path, "ancient")],
            "changed": bool(persistence.params_changed(job)) or any(persistence.input_changed(job)),
            "missing": [str(path) for path in job.output if not os.path.exists(path)],
            "runs": dag.needrun(job),
        }
        for job in dag.jobs
        if job.output
    ]
    print("\n" + json.dumps(jobs))
    return []


snakemake.dag.DAG.get_outputs_with_changes = describe_jobs


def plan(arguments: list[str]) -> list[dict] | str:
    """The jobs that snakemake plans for `arguments`; what it printed where it did not come to that."""
    read, write = os.pipe()
    if not (child := os.fork()):
        gc.disable()  # The child ends with its plan; collecting costs a sixth of its time.
        os.dup2(write, 1)
        os.dup2(write, 2)
        snakemake.cli.main([*arguments, "--list-changes", "params"])
    os.close(write)
    with open(read, encoding="utf-8") as output:
        printed = output.read()
    os.waitpid(child, 0)
    described = [line for line in printed.splitlines() if line.startswith("[{")]
    return json.loads(described[0]) if described else printed


def plan_edited(arguments: list[str], edit: list[str] | None) -> list[dict] | str:
    """The same, with a file edited meanwhile."""
    if edit is None:
        return plan(arguments)
    path, before = Path(edit[0]), Path(edit[0]).read_text(encoding="utf-8")
    path.write_text(edit[1], encoding="utf-8")
    try:
        return plan(arguments)
    finally:
        path.write_text(before, encoding="utf-8")


if __name__ == "__main__":
    json.dump([plan_edited(**case) for case in json.load(sys.stdin)], sys.stdout)
