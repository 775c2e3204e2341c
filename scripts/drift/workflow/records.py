"""Where the log and the timings of every job are: LOGS/RULE/WILDCARDS.log and
TIMINGS/RULE/WILDCARDS.jsonl.

Declared here once for all rules instead of in each, where they could only repeat the rule's name
and the wildcards of its output.
"""

import re
from typing import Any

# A shard's two wildcards are one part of a name. A wildcard may bring its constraint: {i,[0-9]+}.
_WILDCARDS = re.compile(r"\{i\b[^}]*\}-of-\{n\b[^}]*\}|\{(\w+)[^}]*\}")


def place(rule: str, output: str) -> str:
    """The name of a rule's records, by the pattern of its first output: the rule, and each wildcard
    once in the order of that pattern.

    >>> place("responses", "results/demo/{model}/{policy}/eval/{benchmark}/responses.parquet")
    'responses/{model}/{policy}/{benchmark}'
    """
    wildcards = [f"{{{match[1]}}}" if match[1] else "{i}-of-{n}" for match in _WILDCARDS.finditer(output)]
    return "/".join([rule, *(dict.fromkeys(wildcards) or ["all"])])


def keep(workflow: Any, logs: str, timings: str) -> None:
    """Give a log and timings, below the folders `logs` and `timings`, to every rule of Snakemake's
    `workflow` that runs something and declares no log of its own."""
    for rule in workflow.rules:
        if rule.log or rule.norun:
            continue
        name = place(rule.name, str(next(iter(rule.output), "")))
        # What a `log:` and a `benchmark:` of the rule would do.
        rule.log_modifier = rule.benchmark_modifier = workflow.modifier.path_modifier
        rule.set_log(f"{logs}/{name}.log")
        rule.benchmark = f"{timings}/{name}.jsonl"
