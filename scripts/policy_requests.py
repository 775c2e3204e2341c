"""Write down what a policy is asked: requests of each kind about the prompts of one split.

Reads:  a Prompts table (--prompts) and the model's tokenizer (--policy).
Writes: a Requests table (--requests).

A kind of requests is a sampled side of a recipe (drift/sides): plain is the prompt alone, guided
shows the reply that disappointed and the user's feedback and asks for a better one.
"""

import _python  # noqa: F401 - before what may be missing
from pathlib import Path

import polars as pl

from drift import cli, plugins
from drift.chat import load_tokenizer
from drift.data.fresh import drawn_prompts
from drift.seeds import completion_seed
from drift.settings.sampling import RequestsSettings
from drift.sides import can_ask
from drift.tables import Prompts, Requests, read_table, write_table


def build(prompts: pl.DataFrame, tokenizer, settings: RequestsSettings) -> pl.DataFrame:
    """Requests about every prompt of the split: of each kind as many as `samples` has, none where
    the prompt lacks what they show."""
    kinds = {kind: plugins.load(plugins.SIDES, kind) for kind in settings.samples}
    requests = []
    for prompt in prompts.filter(split=settings.split).iter_rows(named=True):
        for kind, side in kinds.items():
            if not can_ask(kind, prompt):
                continue
            messages, ids = side.request(tokenizer, prompt, settings)
            for sample in range(settings.samples[kind]):
                seed = completion_seed(settings.seed, settings.unit, prompt["prompt_id"], kind, sample)
                requests.append(
                    {
                        "request_id": f"{prompt['prompt_id']}#{kind}-{sample}",
                        "prompt_id": prompt["prompt_id"],
                        "kind": kind,
                        "sample": sample,
                        "messages": messages,
                        "prompt_token_ids": ids,
                        "seed": seed,
                    }
                )
    return pl.DataFrame(requests, schema=Requests.create_empty().schema)


def main() -> None:
    command = cli.parser(__doc__, RequestsSettings)
    command.add_argument("--prompts", required=True, help="Prompts table")
    command.add_argument("--policy", nargs="?", type=Path, help="folder with the model's tokenizer; none of an endpoint's")
    command.add_argument("--requests", required=True, help="table to write")
    arguments = command.parse_args()
    tokenizer = arguments.policy and load_tokenizer(arguments.policy)
    prompts = drawn_prompts(read_table(Prompts, arguments.prompts), arguments.settings.fresh)
    requests = build(prompts, tokenizer, arguments.settings)
    if requests.is_empty():
        raise cli.StageError(
            f"{arguments.prompts} has no {arguments.settings.split} prompts with what is shown; the ledger shows where they were left out"
        )
    write_table(requests, Requests, arguments.requests)


if __name__ == "__main__":
    cli.run(main)
