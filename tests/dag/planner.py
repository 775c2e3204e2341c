"""Plans of one workflow under many changes: the first is rehearsed, and then each is made in a
fork.

Reads a JSON list of cases from stdin: {"arguments": [...], "edit": [FILE, TEXT] or null, "modules":
[FILE, ...] or null}. The file of `edit` holds the text while the case is planned. Writes a JSON
list with the jobs of each: rule, outputs, inputs (ancient ones left out, as they never make a job
run), whether its params or its set of inputs differ from what was recorded, outputs that are
missing, and whether it would run; for a case with `modules` instead of jobs the rules whose code is
another one after each of these modules did something more, by module. Runs with the driver's
Python.
"""

import gc
import json
import os
import sys
from contextlib import redirect_stderr, redirect_stdout, suppress
from functools import cache, partial
from pathlib import Path

import snakemake.cli
import snakemake.dag
import snakemake.workflow
from snakemake.io import is_flagged


async def describe(dag, *_, **__) -> list:
    """Print what the case asks for."""
    print("\n" + json.dumps(described(dag)))
    return []


def jobs_of(dag) -> list[dict]:
    """The jobs of a plan."""
    persistence = dag.workflow.persistence
    return [
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


# What a plan prints in place of what --list-changes would, which is every output with recorded
# params, changed or not.
described = jobs_of


def changed_code(dag, modules: list[str]) -> list[dict]:
    """The rules whose code changes with each module. A fingerprint is cheap where a plan is not."""
    code = dag.workflow.globals["code"]
    jobs = [job for job in dag.jobs if hasattr(job.params, "code")]
    changes = []
    for path in map(Path, modules):
        before = path.read_text(encoding="utf-8")
        path.write_text(before + "\nprint()\n", encoding="utf-8")
        code._known.clear()
        rules = {job.rule.name for job in jobs if job.rule.params.code(job.wildcards) != job.params.code}
        changes.append({"module": str(path), "rules": sorted(rules)})
        path.write_text(before, encoding="utf-8")
    return changes


snakemake.dag.DAG.get_outputs_with_changes = describe


def parsed_once(parse):
    """Snakemake's parser of rules, by file."""
    known = {}

    def parse_once(path, workflow, linemap, overwrite_shellcmd=None, rulecount=0):
        key = path.get_path_or_uri(secret_free=True), rulecount
        if key not in known:
            lines = {}
            known[key] = parse(path, workflow, lines, overwrite_shellcmd, rulecount), lines
        answer, lines = known[key]
        linemap |= lines
        return answer

    return parse_once


def rehearse(arguments: list[str], scripts: Path) -> None:
    """Plan once in this process: what every plan of one workflow reads, imports, compiles and
    parses again otherwise is half of its time. No file may be edited after it."""
    sys.path.insert(0, str(scripts))
    from drift.workflow import fingerprint

    fingerprint.fingerprint = cache(fingerprint.fingerprint)
    snakemake.workflow.parse = parsed_once(snakemake.workflow.parse)
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere), suppress(SystemExit):
        snakemake.cli.main([*arguments, "--list-changes", "params"])


def plan(arguments: list[str], modules: list[str] | None) -> list[dict] | str:
    """What the case asks for; what snakemake printed where it did not come to that."""
    global described
    described = partial(changed_code, modules=modules) if modules else jobs_of
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
    answers = [line for line in printed.splitlines() if line.startswith("[{")]
    return json.loads(answers[0]) if answers else printed


def plan_edited(arguments: list[str], edit: list[str] | None = None, modules: list[str] | None = None) -> list[dict] | str:
    """The same, with a file edited meanwhile."""
    if edit is None:
        return plan(arguments, modules)
    path, before = Path(edit[0]), Path(edit[0]).read_text(encoding="utf-8")
    path.write_text(edit[1], encoding="utf-8")
    try:
        return plan(arguments, modules)
    finally:
        path.write_text(before, encoding="utf-8")


if __name__ == "__main__":
    cases = json.load(sys.stdin)
    if cases and not any(case.get("edit") or case.get("modules") for case in cases):
        rehearse(cases[0]["arguments"], Path(sys.argv[1]))
    json.dump([plan_edited(**case) for case in cases], sys.stdout)
