"""Say what a run would do, and why, in words: which setting, definition or table changed.

Asks snakemake for a dry run with the arguments that are given (`python tools/why.py --profile
slurm`), and sorts the jobs into those that run for a reason of their own and those that follow from
them. Runs with the driver's Python.
"""

import _path  # noqa: F401 - must come before drift
import ast
import json
import re
import sys
from collections import Counter, defaultdict

from drift.workflow.dry_run import DryRunError, Job, dry_run, parse

_PARAMS = "Params have changed since last execution: Union of exclusive params before and now across all output: "
_FOLLOWS = "Input files updated by another job"
_MISSING = "not there"
# What rules carry hashes of, by where these are in their params.
_HASHED = {"code.": "code", "contents.": "files"}
# The rule whose settings are the whole configuration.
_CONFIGURATION = "resolved_config"
# How many names a line shows before it counts the rest.
_SHOWN = 4


def own_reasons(job: Job) -> list[str]:
    """The reasons that the job has itself; none where it only follows from jobs before it."""
    reasons = []
    text = job.reason
    if _PARAMS in text:
        text, _, params = text.partition(_PARAMS)
        reasons += _param_changes(params) or ["setting: the order of its rows"]
    for part in filter(None, (part.strip() for part in text.split("; "))):
        kind, _, files = part.partition(": ")
        if kind == "Missing output files":
            reasons.append(f"{_MISSING}: " + _shorten(files.split(", ")))
        elif kind == "Updated input files":
            reasons.append("newer than what was made of it: " + _shorten(files.split(", ")))
        elif kind == "Incomplete output files":
            reasons.append("a killed job left it half-made: " + _shorten(files.split(", ")))
        elif part == "Set of input files has changed since last execution":
            reasons.append("reads other files than last time")
        elif kind != _FOLLOWS:
            reasons.append(part)
    return reasons


def _param_changes(text: str) -> list[str]:
    """What differs between the params that snakemake prints as `before: REPR,REPR now:
    REPR,REPR`."""
    before, now = _split(text)
    changes = []
    for kind in (dict, str, list):
        old, new = ([value for value in values if isinstance(value, kind)] for values in (before, now))
        if kind is dict:
            for was, after in _matched(old, new):
                changes += _differences(was, after)
        elif old or new:
            changes.append(f"argument: {_shorten(map(str, old))} -> {_shorten(map(str, new))}")
    return changes


def _split(text: str) -> tuple[list, list]:
    # A setting may hold the words ' now: ' itself: the right place to cut is where both sides are
    # Python literals.
    for cut in re.finditer(r" now: ", text):
        try:
            return _literals(text[: cut.start()].removeprefix("before: ")), _literals(text[cut.end() :])
        except (SyntaxError, ValueError):
            continue
    raise ValueError(f"snakemake printed params in a form that is not known: {text[:200]}")


def _literals(text: str) -> list:
    if text.strip() == "<nothing exclusive>":
        return []
    return [_decoded(value) for value in ast.literal_eval(f"[{text.strip()}]")]


def _decoded(value):
    try:
        return json.loads(value)
    except (TypeError, ValueError):
        return value


def _matched(old: list[dict], new: list[dict]) -> list[tuple[dict, dict]]:
    """Pairs of settings, and of code, before and after: those that share most keys."""
    left, pairs = list(new), []
    for was in old:
        after = max(left, key=lambda values: len(values.keys() & was.keys()), default={})
        pairs.append((was, after))
        left = [values for values in left if values is not after]
    return pairs + [({}, after) for after in left]


def _differences(was: dict, after: dict, where: str = "") -> list[str]:
    lines = []
    for key in sorted(was.keys() | after.keys()):
        old, new = was.get(key), after.get(key)
        if old == new and (key in was) == (key in after):
            continue
        if isinstance(old, dict) and isinstance(new, dict):
            lines += _differences(old, new, f"{where}{key}.")
        elif where in _HASHED:
            verb = "changed" if key in was and key in after else "is used now" if key in after else "is no longer used"
            lines.append(f"{_HASHED[where]}: {key} {verb}")
        else:
            lines.append(f"setting: {where}{key}: {_value(old)} -> {_value(new)}")
    return lines


def _value(value) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."


def _shorten(names) -> str:
    names = list(names)
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")


def explain(jobs: list[Job]) -> str:
    """The jobs by reason: what differs in the configuration, what changed, what is missing, and
    what follows from these."""
    if not jobs:
        return "Nothing would run: every table and policy is there, and nothing that shapes it has changed."
    changed, missing, following, configuration = defaultdict(list), defaultdict(list), Counter(), []
    for job in jobs:
        reasons = own_reasons(job)
        if not reasons:
            following[job.rule] += 1
        elif all(reason.startswith(_MISSING) for reason in reasons):
            missing[job.rule].append(job)
        elif job.rule == _CONFIGURATION:
            configuration = reasons
        else:
            changed[(job.rule, tuple(reasons))].append(job)
    paragraphs = [f"{len(jobs)} jobs would run."]
    if configuration:
        paragraphs.append("The configuration differs from the last run's:\n" + _indented(configuration))
    for (rule, reasons), members in changed.items():
        paragraphs.append(f"{_counted(rule, members)}:\n" + _indented(reasons))
    if missing:
        lines = [_counted(rule, members) for rule, members in missing.items()]
        paragraphs.append("Not there yet, or deleted:\n" + _indented(lines))
    if following:
        lines = [f"{rule} {count}" for rule, count in following.items()]
        paragraphs.append("These follow, because what they read is made again:\n" + _indented([", ".join(lines)]))
    return "\n\n".join(paragraphs)


def _counted(rule: str, jobs: list[Job]) -> str:
    names = [job.name for job in jobs if job.name]
    return f"{rule} {len(jobs)}" + (f" ({_shorten(names)})" if names else "")


def _indented(lines) -> str:
    return "\n".join(f"    {line}" for line in lines)


def main() -> None:
    if {"-h", "--help"} & set(sys.argv[1:]):
        print(__doc__)
        return
    try:
        printed = dry_run(*sys.argv[1:])
    except DryRunError as error:
        sys.exit(str(error))
    print(explain(parse(printed)))
    if unknown := re.search(r"(\d+) jobs have missing provenance", printed):
        print(
            f"\nOf {unknown[1]} jobs snakemake has no record of how they were made (.snakemake/metadata did not move along with "
            "the results?): a changed setting or module is not noticed there, only missing and newer files."
        )


if __name__ == "__main__":
    main()
