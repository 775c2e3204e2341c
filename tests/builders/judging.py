"""Tasks, answers, questions and verdicts, as small as the tests of judging need them."""

import json
import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

import judge_requests
import judgments
from drift import tables
from drift.config import load
from drift.judging import prompts
from drift.settings.judging import JudgmentSettings, Protocol, QuestionSettings
from tests.conftest import REPOSITORY

TEMPLATES = {
    path.stem.removeprefix("judge-"): path.read_text() for path in (REPOSITORY / "scripts/templates").glob("judge-*.txt")
}
LETTER = Protocol(verdict="letter", pairwise=True, order="both", letters=("A", "B"), votes=1)
CHOICE = LETTER.model_copy(update={"verdict": "choice"})
SCORE = LETTER.model_copy(update={"verdict": "score", "pairwise": False})
SEED = 42
QUESTION = "Where is the market?"

# What was published of prompts and judges; not part of the repository.
PUBLISHED = REPOSITORY.parent / "shared"
needs_published = pytest.mark.skipif(not PUBLISHED.is_dir(), reason="the published files are not on this machine")


def configuration(benchmarks: dict[str, dict], judges: dict[str, dict], **evaluation) -> dict:
    """The validated configuration of a run with these rows; the first judge is evaluation.judge."""
    rows = {"benchmarks": benchmarks, "judges": judges, "judge": next(iter(judges))}
    return load(
        {
            "run": "tiny",
            "models": {"tiny": {"path": "model"}},
            "data": {
                "sources": {"chats": {"kind": "logs", "path": "logs.jsonl"}},
                "labelers": {"lexical": {"kind": "lexical"}},
                "labeler": "lexical",
            },
            "evaluation": rows | evaluation,
        }
    )


def changed(protocol: Protocol, **values) -> Protocol:
    """`protocol` with other values."""
    return protocol.model_copy(update=values)


def question_settings(protocol: Protocol, **values) -> QuestionSettings:
    """Settings of judge_requests.py; a short context, and a verdict of one token."""
    defaults = {"seed": SEED, "context": 1024, "max_tokens": 1, "template_sha256": "0"}
    return QuestionSettings(judging=protocol, **(defaults | values))


def judgment_settings(protocol: Protocol) -> JudgmentSettings:
    """Settings of judgments.py."""
    return JudgmentSettings(seed=SEED, judging=protocol, least_mass=0.05)


def talk(*contents: str) -> list[dict[str, str]]:
    """A conversation of user and assistant, in turns."""
    return [{"role": ("user", "assistant")[number % 2], "content": content} for number, content in enumerate(contents)]


def tasks_of(*prompts: str | list[dict], **columns) -> pl.DataFrame:
    """Tasks s:0/0, s:1/0, ... with a baseline."""
    rows = [
        {
            "prompt_id": f"s:{number}/0",
            "cluster": f"s:{number}",
            "prompt": talk(prompt) if isinstance(prompt, str) else prompt,
            "baseline": "The logged reply.",
        }
        | columns
        for number, prompt in enumerate(prompts)
    ]
    return pl.DataFrame(rows, schema=tables.Tasks.create_empty().schema)


def answers(*responses: str) -> pl.DataFrame:
    """Responses: one answer to each task."""
    rows = [
        {"prompt_id": f"s:{number}/0", "sample": 0, "response": text, "finish_reason": "stop", "completion_tokens": 5}
        for number, text in enumerate(responses)
    ]
    return pl.DataFrame(rows, schema=tables.Responses.create_empty().schema)


def requests_of(
    protocol: Protocol,
    tasks: pl.DataFrame,
    responses: pl.DataFrame,
    *,
    tokenizer=None,
    template: str | None = None,
    **settings,
) -> tuple[pl.DataFrame, Counter]:
    """Requests about answers, and the counts of questions; `template` is the text of a judge
    prompt."""
    chat = prompts.read_template(template or TEMPLATES[protocol.verdict], protocol, source="judge.txt")
    return judge_requests.build(tasks, responses, chat, tokenizer, question_settings(protocol, **settings))


def ask(
    tokenizer,
    protocol: Protocol,
    *responses: str,
    tasks: pl.DataFrame | None = None,
    **options,
) -> tuple[list[dict], Counter]:
    """The requests about answers, and the counts of questions."""
    tasks = tasks_of(*[QUESTION] * len(responses)) if tasks is None else tasks
    requests, counts = requests_of(protocol, tasks, answers(*responses), tokenizer=tokenizer, **options)
    return tables.Requests.validate(requests, cast=True).to_dicts(), counts


def shown(requests: list[dict], kind: str) -> str:
    """The question of a kind, as the judge sees it."""
    return next(request["messages"][-1]["content"] for request in requests if request["kind"] == kind)


def between(text: str, tag: str) -> str:
    """What stands in a part of a judge prompt."""
    return text.split(f"<{tag}>\n", 1)[1].split(f"\n</{tag}>", 1)[0]


def completions_of(requests: pl.DataFrame, reply: Callable[[dict], dict]) -> pl.DataFrame:
    """Completions, where `reply(request)` gives the columns that matter."""
    given = {
        "text": "",
        "finish_reason": "stop",
        "prompt_tokens": 1,
        "completion_tokens": 1,
        "choice_logprobs": None,
        "error": None,
        "policy_hash": "abc",
    }
    rows = [given | {"request_id": row["request_id"]} | reply(row) for row in requests.iter_rows(named=True)]
    return pl.DataFrame(rows, schema=tables.Completions.create_empty().schema)


def judged(
    protocol: Protocol,
    reply: Callable[[dict], dict],
    *responses: str,
    tokenizer=None,
) -> list[dict]:
    """Judgments of answers, where `reply(request)` gives the columns of the completion that
    matter."""
    given = answers(*(responses or ("Answer 0.", "Answer 1.", "Answer 2.")))
    tasks = tasks_of(*[QUESTION] * len(given))
    requests, _ = requests_of(protocol, tasks, given, tokenizer=tokenizer, context=8192)
    # In any order: replies are found by their request.
    completions = completions_of(requests, reply).sample(fraction=1.0, shuffle=True, seed=1)
    rows = judgments.judge(tasks, given, requests, completions, judgment_settings(protocol))
    return tables.Judgments.validate(pl.DataFrame(rows, schema=tables.Judgments.create_empty().schema), cast=True).to_dicts()


def letters(a: float, b: float, names: str = "AB") -> dict:
    """The reply of a judge that gives two letters these probabilities as its first token."""
    logs = [math.log(value) if value else -math.inf for value in (b, a)]
    return {"choice_logprobs": [{"choice": choice, "logprob": log} for choice, log in zip(reversed(names), logs, strict=True)]}


def by_order(rows: list[dict], column: str) -> dict[str, list]:
    """A column of Judgments by the order of presentation."""
    return {order: [row[column] for row in rows if row["order"] == order] for order in ("AB", "BA")}


def write_lines(path: Path, *rows: dict) -> Path:
    """A JSON Lines file."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path
