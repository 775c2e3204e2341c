"""Write down the conversations of simulated users, as logs of a deployment: their thumbs, their
comments, and where they asked again the second exchange.

Reads:  tasks of a benchmark of kind checks (--prompts), the first Requests and Completions
        (--requests, --completions), and the second ones, if any user asked again
        (--again-requests, --again-completions).
Writes: JSON Lines that the reader `logs` reads (--logs). Where the first reply was cut by the
        limit there is no conversation; where the second one was, it is as if it had not been asked.
"""

import _python  # noqa: F401 - before what may be missing
import json
from collections.abc import Iterator
from pathlib import Path

from drift import cli
from drift.benchmarks.checks import read_prompts
from drift.checks import Check
from drift.checks.users import AGAIN, FIRST, THANKS, coin, complaint, replies
from drift.files import write_text
from drift.settings.data import UserSettings
from drift.tables import Completions, Requests, read_table


def judged(row: dict, kind: str, checks: list[Check], settings: UserSettings) -> dict:
    """A reply as a message with its user's feedback."""
    said = complaint(checks, row["text"], settings.wrong, *coin(row, kind, settings))
    feedback = {"thumbs": "down" if said else "up", "comment": said or THANKS}
    return {"role": "assistant", "content": row["text"].strip(), "feedback": feedback}


def conversations(
    prompts: dict[str, dict], first: Iterator[dict], again: Iterator[dict], settings: UserSettings
) -> Iterator[dict]:
    """Every conversation, as a record of logs. One user has one prompt."""
    second = {(row["prompt_id"], row["sample"]): row for row in again}
    for row in first:
        checks = prompts[row["prompt_id"]]["checks"]
        messages = [*row["messages"], judged(row, FIRST, checks, settings)]
        if answered := second.get((row["prompt_id"], row["sample"])):
            messages += [answered["messages"][-1], judged(answered, AGAIN, checks, settings)]
        yield {"id": f"{row['prompt_id']}-{row['sample']}", "user": row["prompt_id"], "messages": messages}


def main() -> None:
    command = cli.parser(__doc__, UserSettings)
    command.add_argument("--prompts", required=True, type=Path, help="JSON Lines of prompts with checks")
    for option in ("--requests", "--completions", "--again-requests", "--again-completions"):
        command.add_argument(option, nargs="*", default=[], help=f"{option.rpartition('-')[2].title()} tables")
    command.add_argument("--logs", required=True, help="JSON Lines to write")
    arguments = command.parse_args()
    settings: UserSettings = arguments.settings
    first = replies(read_table(Requests, *arguments.requests), read_table(Completions, *arguments.completions))
    again = replies(read_table(Requests, *arguments.again_requests), read_table(Completions, *arguments.again_completions))
    made = list(conversations(read_prompts(arguments.prompts), first, again, settings))
    if not made:
        raise cli.StageError(
            f"source {settings.source}: no reply came to its end within {settings.max_tokens} tokens; raise "
            f"data.sources.{settings.source}.simulation.decoding.max_tokens"
        )
    satisfied = sum(
        message["feedback"]["thumbs"] == "up" for record in made for message in record["messages"] if "feedback" in message
    )
    print(
        f"{len(made)} conversations, {sum(len(record['messages']) > 2 for record in made)} of them asked again; {satisfied} thumbs up"
    )
    write_text(arguments.logs, "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in made))


if __name__ == "__main__":
    cli.run(main)
