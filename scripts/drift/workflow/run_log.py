"""What a run says of itself while it runs: on the terminal, a line when a job that takes longer
starts, how far it is, and when it is done or why it failed; and in logs/run.jsonl the same for
programs, such as tools/status.py.

Snakemake names jobs by number and says neither for whom they are nor how far. So its own lines on
jobs are left out on the terminal; --verbose, --printshellcmds and dry runs have them.
"""

import contextlib
import json
import logging
import os
import platform
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from drift.workflow import job_logs
from drift.workflow.time_left import TimeLeft, duration

# Seconds after which a job is said to have started, and between two lines on how far one is; with
# many jobs at once, there are as many seconds more for each.
_LONG, _BETWEEN, _EACH = 3.0, 20.0, 5.0
# Snakemake's events that are told here, and the beginnings of its lines on them.
_TOLD = {"job_info", "job_finished", "job_error", "progress"}
_CHATTER = ("Select jobs to execute", "Execute ")


@dataclass
class Job:
    """A job that was started."""

    rule: str
    name: str  # its wildcards, as in its log's path; empty where the rule has none
    purpose: str  # what the rule does, in a sentence
    logs: list[str]
    started: float = field(default_factory=time.time)
    announced: bool = False
    told: float = 0.0  # when its progress was last told
    progress: str = ""

    def __str__(self) -> str:
        return f"{self.rule} {self.name}".strip()


def name_of(rule: str, logs: Iterable[str]) -> str:
    """What a job is for, by its log logs/RULE/WILDCARDS.log."""
    # At the first one: a wildcard may have the rule's name, as a judge that is called judge.
    name = next(iter(logs), "").partition(f"logs/{rule}/")[2].removesuffix(".log")
    return "" if name == "all" else name


class RunLog(logging.Handler):
    """Tells the events of a run that snakemake logs.

    `record` is the file for programs; `purposes` says what each rule does that runs something;
    `show` prints a line.
    """

    def __init__(self, record: Path, timings: Path, purposes: Mapping[str, str], show: Callable[[str], None]):
        super().__init__()
        self._record, self._purposes, self._show = record, purposes, show
        self._time_left = TimeLeft(timings)
        self._jobs: dict[int, Job] = {}
        self._planned: dict[str, int] = {}
        self._total, self._done = 0, 0
        self._ended = threading.Event()
        self._watch: threading.Thread | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Tell an event; called by `logging`, under the handler's lock."""
        tell = getattr(self, f"_on_{getattr(record, 'event', None)}", None)
        if tell and not self._ended.is_set():
            tell(record)

    def _on_run_info(self, record: logging.LogRecord) -> None:
        self._planned = {rule: count for rule, count in record.stats.items() if rule in self._purposes}

    def begin(self) -> None:
        """Say that the planned jobs are started now."""
        self._total = sum(self._planned.values())
        self._time_left.expect(self._planned)
        self._write("start", jobs=self._planned, pid=os.getpid(), host=platform.node(), command=" ".join(sys.argv))

    def _on_job_info(self, record: logging.LogRecord) -> None:
        rule, logs = record.rule_name, list(record.log)
        if rule not in self._purposes:
            return
        job = Job(rule, name_of(rule, logs), self._purposes[rule], logs)
        self._jobs[record.jobid] = job
        self._write("job", id=record.jobid, rule=rule, name=job.name, logs=logs)
        if self._watch is None:
            self._watch = threading.Thread(target=self._look, daemon=True)
            self._watch.start()

    def _on_job_finished(self, record: logging.LogRecord) -> None:
        job = self._jobs.pop(record.job_id, None)
        if job is None:
            return
        self._done += 1
        seconds = time.time() - job.started
        self._time_left.finished(job.rule, seconds)
        self._write("done", id=record.job_id)
        left = self._time_left.text([(other.rule, time.time() - other.started) for other in self._jobs.values()])
        self._say(f"{job}: done in {duration(seconds)}{left if job.announced else ''}")
        for warning in (line for log in job.logs for line in job_logs.warnings(log)):
            self._show(warning)

    def _on_job_error(self, record: logging.LogRecord) -> None:
        job = self._jobs.pop(record.jobid, None)
        rule, logs = record.rule_name, list(record.log)
        message = next(filter(None, map(job_logs.failure, logs)), "it printed nothing")
        if record.rule_msg:
            message = f"{record.rule_msg}\n{message}"
        self._write("failed", id=record.jobid, rule=rule, name=name_of(rule, logs), logs=logs, message=message)
        lines = [f"Error in rule {job or rule}: {self._purposes.get(rule, '')}", *message.splitlines()]
        self._say("\n    ".join([*lines, *(f"its log: {log}" for log in logs)]))

    def end(self, *, good: bool) -> None:
        """Say nothing more: the run is over."""
        with self.lock:
            self._ended.set()
            self._write("end", good=good)

    def _look(self) -> None:
        while not self._ended.wait(1.0):
            with self.lock:
                for job in list(self._jobs.values()):
                    self._tell_progress(job)

    def _tell_progress(self, job: Job) -> None:
        now = time.time()
        if now - job.started < _LONG:
            return
        if not job.announced:
            if not job_logs.begun(job.logs, job.started):
                return
            job.announced, job.told = True, now
            self._say(f"{job}: {job.purpose}")
        elif now - job.told > max(_BETWEEN, _EACH * len(self._jobs)):
            progress = next(filter(None, map(job_logs.progress, job.logs)), None)
            if progress and str(progress) != job.progress:
                job.progress, job.told = str(progress), now
                self._say(f"{job}: {progress}")

    def _say(self, text: str) -> None:
        self._show(f"{time.strftime('%H:%M:%S')} [{self._done}/{self._total}] {text}")

    def _write(self, event: str, **values: Any) -> None:
        line = json.dumps({"event": event, "time": time.time(), **values}, ensure_ascii=False)
        if event == "start":
            line = "\n" + line  # the line before may have been cut by a full disk
        # A run does not stop because it cannot be told of.
        with contextlib.suppress(OSError):
            self._record.parent.mkdir(parents=True, exist_ok=True)
            with self._record.open("a", encoding="utf-8") as file:
                file.write(line + "\n")


class _Heading(HTMLParser):
    """The description of a page, in its head."""

    description = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take the description from the page's meta elements."""
        values = dict(attrs)
        if tag == "meta" and values.get("name") == "description":
            self.description = values.get("content") or ""


def first_line(report: Path) -> str:
    """What a report says in a sentence: the description in its head; empty where it has none."""
    page = _Heading()
    # It has a sentence for each method.
    page.feed(report.read_text(encoding="utf-8").partition("</head>")[0])
    return page.description


def show(text: str) -> None:
    """Print a line to the terminal, next to Snakemake's own."""
    print(text, file=sys.stderr, flush=True)


class Telling:
    """The run log of snakemake's `workflow`, in this process, and what is printed at its end."""

    def __init__(self, workflow: Any, record: str, timings: str, report: str):
        self._workflow, self._report = workflow, Path(report)
        manager = workflow.logger_manager
        purposes = {rule.name: " ".join((rule.docstring or "").split()) for rule in workflow.rules if not rule.norun}
        self._show = (lambda text: None) if {"ALL"} & {kind.name for kind in manager.settings.quiet or ()} else show
        self._log = RunLog(Path(record), Path(timings), purposes, self._show)
        if not workflow.is_main_process or manager.settings.dryrun:
            return
        manager.logger.addHandler(self._log)
        for handler in manager.logger.handlers:
            if handler.name == "DefaultStreamHandler" and not (manager.settings.verbose or manager.settings.printshellcmds):
                handler.addFilter(_untold)

    def started(self) -> None:
        """Note that the run begins."""
        self._log.begin()

    def succeeded(self) -> None:
        """Name the report and what it says first, where this run was to make it."""
        self._log.end(good=True)
        if any(job.rule.name == "report" for job in self._workflow.dag.jobs) and self._report.is_file():
            self._show("\n".join(filter(None, [f"\nThe report: {self._report}", first_line(self._report)])))

    def failed(self) -> None:
        """Say how to go on."""
        self._log.end(good=False)
        self._show("\nWhat is finished is kept: mend what the messages above name, and start the same command again.")


def _untold(record: logging.LogRecord) -> bool:
    """Whether a line of snakemake's is not about what the run log tells."""
    return getattr(record, "event", None) not in _TOLD and not str(record.msg).startswith(_CHATTER)
