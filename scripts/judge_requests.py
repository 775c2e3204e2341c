"""Write down what a judge is asked about a policy's answers to a benchmark.

Reads:  the benchmark's Tasks (--tasks), a policy's Responses (--responses), the judge prompt
        (--template) and, where the judge is a model here, its tokenizer (--tokenizer).
Writes: a Requests table (--requests).

A question that is too long for the judge loses the oldest turns of the conversation; answers are
never cut. Two answers that are the same text are a draw, and nobody is asked.
"""

import _python  # noqa: F401 - before what may be missing
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from drift import cli
from drift.chat import Messages, count_tokens, load_tokenizer, markers, render
from drift.judging import prompts
from drift.seeds import completion_seed
from drift.settings.judging import QuestionSettings
from drift.tables import Requests, Responses, Tasks, read_table, write_table


def build(
    tasks: pl.DataFrame, responses: pl.DataFrame, template: Messages, tokenizer, settings: QuestionSettings
) -> tuple[pl.DataFrame, Counter]:
    """Requests about all answers, and how many questions were asked or not, by what became of them.

    template: the judge prompt, see prompts.read_template.
    tokenizer: the judge's; None for a judge behind an endpoint, which renders chats by itself, so
    that lengths are estimated.
    """
    protocol, requests, counts = settings.judging, [], Counter()
    break_up = prompts.breaker(template, protocol.letters, None if tokenizer is None else markers(tokenizer))
    room = settings.context - settings.max_tokens
    for row in responses.join(tasks, on="prompt_id", how="inner").iter_rows(named=True):
        prompt = [message | {"content": break_up(message["content"])} for message in row["prompt"]]
        checklist = row["checklist"] and [break_up(item) for item in row["checklist"]]
        questions = list(prompts.questions(row, protocol, settings.seed))
        counts["without an answer to compare with"] += not questions
        for question in questions:
            if question.same:
                counts["about two answers that are the same"] += 1
                continue
            shown = replace(question, answer=break_up(question.answer), other=question.other and break_up(question.other))
            messages = prompts.fitting_chat(
                template,
                shown,
                prompt,
                checklist,
                protocol.letters,
                fits=lambda messages: count_tokens(tokenizer, messages) <= room,
            )
            if messages is None:
                counts["too long for the judge"] += 1
                continue
            counts["asked"] += 1
            requests.append(request(question, messages, tokenizer, settings.seed))
    return pl.DataFrame(requests, schema=Requests.create_empty().schema), counts


def request(question: prompts.Question, messages: Messages, tokenizer, seed: int) -> dict[str, Any]:
    """A row of Requests."""
    parts = (question.prompt_id, question.opponent or "", question.order or "", question.sample, question.vote)
    return {
        "request_id": question.request_id,
        "prompt_id": question.prompt_id,
        "kind": f"{question.kind}-{question.order}" if question.order else question.kind,
        "sample": question.sample,
        "messages": messages,
        "prompt_token_ids": None if tokenizer is None else render(tokenizer, messages),
        "seed": completion_seed(seed, "judge", *parts),
    }


def main() -> None:
    command = cli.parser(__doc__, QuestionSettings)
    command.add_argument("--tasks", required=True, help="Tasks table of the benchmark")
    command.add_argument("--responses", required=True, help="Responses table of the policy")
    command.add_argument("--template", required=True, type=Path, help="file with the judge prompt")
    command.add_argument("--tokenizer", type=Path, nargs="*", default=[], help="folder of the judge's; none behind an endpoint")
    command.add_argument("--requests", required=True, help="Requests table to write")
    arguments = command.parse_args()

    settings: QuestionSettings = arguments.settings
    template = arguments.template.read_text(encoding="utf-8")
    requests, counts = build(
        read_table(Tasks, arguments.tasks),
        read_table(Responses, arguments.responses),
        prompts.read_template(template, settings.judging, source=str(arguments.template)),
        load_tokenizer(*arguments.tokenizer) if arguments.tokenizer else None,
        settings,
    )
    print("questions: " + ", ".join(f"{count} {what}" for what, count in sorted(counts.items()) if count))
    if requests.is_empty() and not counts["about two answers that are the same"]:
        raise cli.StageError(
            "there is nothing to judge: no answer fits the judge's context (raise evaluation.judges.NAME.context, or "
            "sampling.context where the policy itself ranks), or no task has an answer to compare with (give the benchmark a "
            "baseline or references, or the judge verdict: score)"
        )
    write_table(requests, Requests, arguments.requests)


if __name__ == "__main__":
    cli.run(main)
