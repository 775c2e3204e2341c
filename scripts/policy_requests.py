"""Write down what a policy is asked: the prompts of one split, plain or guided.

Reads a Prompts table and the model's tokenizer; writes a Requests table. A guided request shows the conversation, the reply
that disappointed and the user's feedback, and asks for a better one; a plain request is the prompt alone.
"""

from pathlib import Path

import polars as pl

from drift import cli
from drift.chat import guided, load_tokenizer, render
from drift.seeds import completion_seed
from drift.tables import Prompts, Requests, read_table, write_table


def build(prompts: pl.DataFrame, tokenizer, settings: dict) -> pl.DataFrame:
    """One request per prompt of `settings["split"]` and kind of `settings["kinds"]`."""
    requests = []
    for row in prompts.filter(split=settings["split"]).iter_rows(named=True):
        for kind in settings["kinds"]:
            messages = row["prompt"]
            if kind == "guided":
                messages = guided(row["prompt"], row["rejected"], row["feedback"], settings["instruction"])
            requests.append(
                {
                    "request_id": f"{row['prompt_id']}#{kind}-0",
                    "prompt_id": row["prompt_id"],
                    "kind": kind,
                    "sample": 0,
                    "messages": messages,
                    "prompt_token_ids": render(tokenizer, messages),
                    "seed": completion_seed(settings["seed"], settings["unit"], row["prompt_id"], kind, 0),
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
