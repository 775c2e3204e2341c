"""Write down what a policy is asked: the prompts of one split, plain or guided.

Reads a Prompts table and the model's tokenizer; writes a Requests table. A guided request shows the conversation, the reply
that disappointed and the user's feedback, and asks for a better one; a plain request is the prompt alone.
"""

from pathlib import Path

import polars as pl

from drift import cli
from drift.chat import load_tokenizer, render, render_guided
from drift.seeds import completion_seed
from drift.tables import Prompts, Requests, read_table, write_table


def build(prompts: pl.DataFrame, tokenizer, settings: dict) -> pl.DataFrame:
    """The requests about every prompt of `settings["split"]`: of each kind as many as `settings["samples"]` says."""
    requests = []
    for row in prompts.filter(split=settings["split"]).iter_rows(named=True):
        for kind, sample in ((kind, sample) for kind, count in settings["samples"].items() for sample in range(count)):
            if kind == "guided":
                messages, ids = render_guided(
                    tokenizer, row["prompt"], row["rejected"], row["feedback"], settings["style"], settings["instruction"]
                )
            else:
                messages, ids = row["prompt"], render(tokenizer, row["prompt"])
            requests.append(
                {
                    "request_id": f"{row['prompt_id']}#{kind}-{sample}",
                    "prompt_id": row["prompt_id"],
                    "kind": kind,
                    "sample": sample,
                    "messages": messages,
                    "prompt_token_ids": ids,
                    "seed": completion_seed(settings["seed"], settings["unit"], row["prompt_id"], kind, sample),
                }
            )
    return pl.DataFrame(requests, schema=Requests.create_empty().schema)


def main() -> None:
    command = cli.parser(__doc__)
    command.add_argument("--prompts", required=True)
    command.add_argument("--policy", required=True, type=Path, help="folder with the model's tokenizer")
    command.add_argument("--requests", required=True, help="table to write")
    arguments = command.parse_args()
    requests = build(read_table(Prompts, arguments.prompts), load_tokenizer(arguments.policy), arguments.settings)
    if requests.is_empty():
        raise cli.StageError(
            f"{arguments.prompts} has no {arguments.settings['split']} prompts; the ledger says where they went"
        )
    write_table(requests, Requests, arguments.requests)


if __name__ == "__main__":
    cli.run(main)
