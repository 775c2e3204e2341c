"""Read a judge's verdicts.

Reads:  a benchmark's Tasks, a policy's Responses, and the judge's Requests and Completions about
        them (--tasks, --responses, --requests, --completions).
Writes: Judgments (--judgments): one row per question, asked or not, with its verdict or the reason
        why there is none.

The stage fails where fewer than --min-verdicts of the questions got a verdict: the scores would be
those of other items.
"""

import _python  # noqa: F401 - before what may be missing
from typing import Any

import polars as pl

from drift import cli
from drift.judging import parsing, prompts
from drift.metrics.judge_metrics import written_letters
from drift.settings.judging import JudgmentSettings
from drift.tables import Completions, Judgments, Requests, Responses, Tasks, read_table, write_table

# Replies without a verdict that are printed, and the characters of each.
SHOWN = 3
EXCERPT = 300


def judge(
    tasks: pl.DataFrame,
    responses: pl.DataFrame,
    requests: pl.DataFrame,
    completions: pl.DataFrame,
    settings: JudgmentSettings,
) -> list[dict[str, Any]]:
    """A row of Judgments for every question about the answers. StageError where a request was not
    answered."""
    replies = {row["request_id"]: row for row in completions.iter_rows(named=True)}
    unanswered = [name for name in requests["request_id"] if name not in replies]
    if unanswered:
        raise cli.StageError(
            f"{len(unanswered)} requests have no reply, {unanswered[0]} the first: delete completions/ to ask again"
        )
    # A letter and a probability are two measures: one without the other counts only where no reply
    # has probabilities.
    written = not any(reply["choice_logprobs"] for reply in replies.values())
    return [
        columns_of(question) | parsing.read(question, replies.get(question.request_id), settings, written=written)
        for row in responses.join(tasks, on="prompt_id", how="inner").iter_rows(named=True)
        for question in prompts.questions(row, settings.judging, settings.seed)
    ]


def columns_of(question: prompts.Question) -> dict[str, Any]:
    """The columns of Judgments that name the question."""
    names = ("request_id", "prompt_id", "sample", "kind", "opponent", "order", "vote")
    lengths = {
        "policy_chars": len(question.answer),
        "opponent_chars": None if question.other is None else len(question.other),
    }
    return {name: getattr(question, name) for name in names} | lengths


def main() -> None:
    command = cli.parser(__doc__, JudgmentSettings)
    command.add_argument("--tasks", required=True, help="Tasks table of the benchmark")
    command.add_argument("--responses", required=True, help="Responses table of the policy")
    command.add_argument("--requests", required=True, help="Requests table of the questions")
    command.add_argument("--completions", required=True, nargs="+", help="Completions tables: the replies, by shard")
    command.add_argument("--min-verdicts", type=float, default=0.0, help="share, 0 to 1")
    command.add_argument("--judgments", required=True, help="Judgments table to write")
    arguments = command.parse_args()
    completions = read_table(Completions, *arguments.completions)
    rows = judge(
        read_table(Tasks, arguments.tasks),
        read_table(Responses, arguments.responses),
        read_table(Requests, arguments.requests),
        completions,
        arguments.settings,
    )
    judgments = pl.DataFrame(rows, schema=Judgments.create_empty().schema)
    failed = judgments.drop_nulls("error")
    reasons = failed["error"].value_counts(sort=True).iter_rows()
    print(f"{len(judgments)} questions, {len(failed)} without a verdict" + "".join(f"; {n}: {why}" for why, n in reasons))
    if written_letters(judgments).height:
        print(
            "the judge gives no probabilities: the letters that it wrote count, 0 or 1. Their share is called "
            "written_win_rate, as it is another measure than a win_rate"
        )
    for name, text in completions.join(failed, on="request_id").select("request_id", "text").head(SHOWN).iter_rows():
        print(f"{name} was answered: {text[:EXCERPT]!r}")
    if len(judgments) - len(failed) < arguments.min_verdicts * len(judgments):
        raise cli.StageError(
            f"only {len(judgments) - len(failed)} of {len(judgments)} questions got a verdict, fewer than min_verdicts "
            f"{arguments.min_verdicts}. The reasons are above: use another judge, another template, or longer verdicts "
            "(evaluation.judges.NAME), or lower min_verdicts."
        )
    write_table(judgments, Judgments, arguments.judgments)


if __name__ == "__main__":
    cli.run(main)
