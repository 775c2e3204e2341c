"""Write down what simulated users ask a deployed model: their prompts; or, of those whom its reply
disappointed, the complaint and the request to answer again.

Reads:  tasks of a benchmark of kind checks (--prompts; a JSON Lines file), the deployed model's
        tokenizer (--model; none for a model behind an endpoint); and for the second question the
        first Requests and Completions (--requests, --completions).
Writes: a Requests table (--questions).
"""

import _python  # noqa: F401 - before what may be missing
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from drift import chat, cli
from drift.benchmarks.checks import read_prompts
from drift.checks.users import AGAIN, FIRST, PLEASE, asks_again, coin, complaint, replies
from drift.seeds import completion_seed, picked
from drift.settings.data import UserSettings
from drift.tables import Completions, Requests, read_table, write_table


def first_questions(prompts: dict[str, dict], settings: UserSettings) -> Iterator[tuple[str, int, chat.Messages]]:
    """Prompt id, number of the conversation, and messages."""
    asked = set(picked(prompts, settings.max_prompts or len(prompts), settings.seed))
    for prompt_id, prompt in prompts.items():
        if prompt_id in asked:
            yield from ((prompt_id, sample, prompt["prompt"]) for sample in range(settings.samples))


def second_questions(
    prompts: dict[str, dict], answered: Iterator[dict], settings: UserSettings
) -> Iterator[tuple[str, int, chat.Messages]]:
    """The same of those who were disappointed and ask again."""
    for row in answered:
        drawn_by = coin(row, FIRST, settings)
        said = complaint(prompts[row["prompt_id"]]["checks"], row["text"], settings.wrong, *drawn_by)
        if said and asks_again(settings.ask_again, *drawn_by):
            asked = [
                *row["messages"],
                {"role": "assistant", "content": row["text"].strip()},
                {"role": "user", "content": f"{said} {PLEASE}"},
            ]
            yield row["prompt_id"], row["sample"], asked


def build(
    questions: Iterator[tuple[str, int, chat.Messages]], kind: str, tokenizer, settings: UserSettings
) -> tuple[pl.DataFrame, int]:
    """Requests of the questions, and how many do not fit the model's context. `tokenizer` None: the
    model is behind an endpoint, and lengths are estimated."""
    requests, too_long = [], 0
    for prompt_id, sample, messages in questions:
        if chat.count_tokens(tokenizer, messages) > settings.context - settings.max_tokens:
            too_long += 1
            continue
        requests.append(
            {
                "request_id": f"{prompt_id}#{kind}-{sample}",
                "prompt_id": prompt_id,
                "kind": kind,
                "sample": sample,
                "messages": messages,
                "prompt_token_ids": chat.render(tokenizer, messages) if tokenizer else None,
                "seed": completion_seed(settings.seed, settings.source, prompt_id, kind, sample),
            }
        )
    return pl.DataFrame(requests, schema=Requests.create_empty().schema), too_long


def main() -> None:
    command = cli.parser(__doc__, UserSettings)
    command.add_argument("--prompts", required=True, type=Path, help="JSON Lines of prompts with checks")
    command.add_argument("--model", nargs="*", type=Path, default=[], help="folder with the model's tokenizer, or none")
    command.add_argument("--requests", nargs="*", default=[], help="Requests table of the first questions")
    command.add_argument("--completions", nargs="*", default=[], help="shards of the answers to them")
    command.add_argument("--questions", required=True, help="Requests table to write")
    arguments = command.parse_args()
    settings: UserSettings = arguments.settings
    prompts = read_prompts(arguments.prompts)
    tokenizer = chat.load_tokenizer(arguments.model[0]) if arguments.model else None
    if arguments.requests:
        answered = replies(read_table(Requests, *arguments.requests), read_table(Completions, *arguments.completions))
        requests, too_long = build(second_questions(prompts, answered, settings), AGAIN, tokenizer, settings)
    else:
        requests, too_long = build(first_questions(prompts, settings), FIRST, tokenizer, settings)
    print(f"{requests.height} questions; {too_long} more are too long for {settings.context} tokens")
    if requests.is_empty():
        key = f"data.sources.{settings.source}.simulation"
        if too_long:
            room = settings.context - settings.max_tokens
            cause = f"all {too_long} questions are over the {room} tokens that a reply leaves them; raise {key}.context"
        elif arguments.requests:
            cause = f"nobody whom a reply disappointed asks again. Where that is as it should be, set {key}.ask_again to 0"
        else:
            cause = f"{arguments.prompts} has no prompt"
        raise cli.StageError(f"source {settings.source}: users ask nothing: {cause}")
    write_table(requests, Requests, arguments.questions)


if __name__ == "__main__":
    cli.run(main)
