"""Snakemake without its start: each call of it is made in a fork of this process, which keeps what
earlier ones read, imported, compiled and parsed.

Runs with the driver's Python; the folder of the workflow's scripts is the argument. Reads questions
from stdin, a line each, and answers each with a line: {"cases": [...], "rehearse": whether they are
made in this process, one after the other, for later ones to start from}. A case is {"arguments":
those of snakemake, "modules": [FILE, ...] or null}; its answer {"code", "stdout", "stderr"}.

With --list-changes snakemake prints the jobs of the plan as JSON: rule, outputs, inputs (ancient
ones left out, as they never make a job run), whether its params or its set of inputs differ from
what was recorded, outputs that are missing, and whether it would run. For a case with `modules` it
prints instead the rules whose code is another one after each of these modules did something more,
by module.
"""

import gc
import io
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from functools import cache, partial
from pathlib import Path

import snakemake.cli
import snakemake.dag
import snakemake.executors.touch
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
    fingerprints = Fingerprints()

    def changed() -> list[str]:
        code._known.clear()
        return sorted({job.rule.name for job in jobs if job.rule.params.code(job.wildcards) != job.params.code})

    assert changed() == []
    changes = []
    for path in map(Path, modules):
        before = path.read_text(encoding="utf-8")
        path.write_text(before + "\nprint()\n", encoding="utf-8")
        with fingerprints.without(path):
            changes.append({"module": str(path), "rules": changed()})
        path.write_text(before, encoding="utf-8")
    return changes


class Fingerprints:
    """Stands in for the fingerprints of code: they are made again where a file that was read for
    them is another one."""

    def __init__(self):
        from drift.workflow import fingerprint

        self._make, self._known, self._opened = fingerprint.fingerprint, {}, set()
        fingerprint.fingerprint = self
        sys.addaudithook(self._listen)

    def _listen(self, event: str, arguments: tuple) -> None:
        if event == "open" and not isinstance(arguments[0], int):
            self._opened.add(os.path.realpath(arguments[0]))

    def __call__(self, *files: Path) -> str:
        if files not in self._known:
            self._opened.clear()
            self._known[files] = self._make(*files), set(self._opened)
        return self._known[files][0]

    @contextmanager
    def without(self, path: Path) -> Iterator[None]:
        """Forget, for as long as the context is open, those that `path` was read for."""
        known, changed = self._known, os.path.realpath(path)
        self._known = {files: (made, read) for files, (made, read) in known.items() if changed not in read}
        yield
        self._known = known


snakemake.dag.DAG.get_outputs_with_changes = describe
# It touches a job's files after those of the jobs before, and waits in between for file systems
# whose times are coarse: a tenth of a second for each job.
snakemake.executors.touch.Executor.SLEEPING_TIME = 0


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


@cache
def remember(scripts: Path) -> None:
    """From here on rules are parsed, and code is fingerprinted, once. No file of the workflow may
    be edited after it."""
    sys.path.insert(0, str(scripts))
    from drift.workflow import fingerprint

    fingerprint.fingerprint = cache(fingerprint.fingerprint)
    snakemake.workflow.parse = parsed_once(snakemake.workflow.parse)


def called(arguments: list[str]) -> int:
    """Call snakemake in this process, as its command does; the code that it ends with."""
    sys.argv[:] = ["snakemake", *arguments]
    try:
        snakemake.cli.main(arguments)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def rehearsed(case: dict, scripts: Path) -> dict:
    """A case made in this process, which is then as it was before but for what it has learned."""
    remember(scripts)
    from drift.workflow.contents import contents

    folder, environment, planned = os.getcwd(), dict(os.environ), snakemake.dag.DAG.update_needrun
    with redirect_stdout(io.StringIO()) as stdout, redirect_stderr(io.StringIO()) as stderr:
        code = called(case["arguments"])
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    snakemake.dag.DAG.update_needrun = planned  # the workflow wraps it each time
    contents.cache_clear()  # by paths in a run's folder, where files may change
    return {"code": code, "stdout": stdout.getvalue(), "stderr": stderr.getvalue()}


def start(case: dict, folder: Path) -> int:
    """Make a case in a fork, which prints to files in `folder`; the fork's number."""
    global described
    if child := os.fork():
        return child
    gc.disable()  # The child ends with its plan; collecting costs a sixth of its time.
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, name in enumerate(("stdout", "stderr"), start=1):
        os.dup2(os.open(folder / name, os.O_WRONLY | os.O_CREAT), number)
    if case.get("modules"):
        described = partial(changed_code, modules=case["modules"])
    code = 1
    try:
        code = called(case["arguments"])
    except BaseException:
        sys.excepthook(*sys.exc_info())
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # Clearing away all that was shared costs as much as a plan.


def made(cases: list[dict]) -> list[dict]:
    """Make the cases in forks, one for each core at a time."""
    with tempfile.TemporaryDirectory() as folder:
        folders = [Path(folder, str(number)) for number in range(len(cases))]
        running, codes = {}, {}
        for number, case in enumerate(cases):
            if len(running) == os.cpu_count():
                ended, status = os.wait()
                codes[running.pop(ended)] = os.waitstatus_to_exitcode(status)
            folders[number].mkdir()
            running[start(case, folders[number])] = number
        for child, number in running.items():
            codes[number] = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        return [
            {"code": codes[number]} | {name: (place / name).read_text(encoding="utf-8") for name in ("stdout", "stderr")}
            for number, place in enumerate(folders)
        ]


if __name__ == "__main__":
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        question = json.loads(line)
        if question["rehearse"]:
            answer = [rehearsed(case, Path(sys.argv[1])) for case in question["cases"]]
        else:
            answer = made(question["cases"])
        print(json.dumps(answer), file=answers, flush=True)
