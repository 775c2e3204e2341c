"""Score an iteration's candidates by the likelihood that policies give them: the one that wrote
them, and those before it.

Reads:  the Prompts, Requests and Completions of the iteration (--prompts, --requests,
        --completions); the folders of the policies, the nearest first, and those of their
        remainders, which a base model does not have (--policies, --remainders).
Writes: a Likelihoods table (--likelihoods).

Only candidates that can make a pair are scored: not empty, and not cut where sampling.cut drops
these. Each by itself, in fp32: differences between policies are small against what padding changes.
"""

import _python  # noqa: F401 - before what may be missing
from itertools import zip_longest
from pathlib import Path

import polars as pl
import torch
from transformers.utils.logging import disable_progress_bar

from drift import cli
from drift.chat import end_of_turn, load_tokenizer, render_reply, whole_characters, without_end
from drift.config.training import Cut
from drift.judging.candidates import asked_and_answered
from drift.progress import Progress
from drift.settings.sampling import CandidatesSettings
from drift.tables import Completions, Likelihoods, Prompts, Requests, read_table, write_table
from drift.training.logps import load, reply_logp


def candidates(
    prompts: pl.DataFrame, requests: pl.DataFrame, completions: pl.DataFrame, tokenizer, cut: Cut
) -> list[tuple[str, list[int], list[int]]]:
    """Of each candidate that can make a pair, by `cut`: request_id, and the token ids of prompt and
    reply as they would be trained on. A reply that shares a token with its prompt makes no pair."""
    found, end = [], end_of_turn(tokenizer)
    for row in asked_and_answered(prompts, requests, completions, cut).iter_rows(named=True):
        text, ended = row["text"].strip(), row["finish_reason"] != "length"
        text = text if ended else whole_characters(text)
        reply = render_reply(tokenizer, row["prompt"], text, prompt=row["prompt_token_ids"])
        if reply and not ended:
            reply = without_end(reply, end)
        if reply:
            found.append((row["request_id"], row["prompt_token_ids"], reply))
    return found


@torch.no_grad()
def likelihoods(rows: list[tuple[str, list[int], list[int]]], policies: list[Path], remainders: list[Path]) -> pl.DataFrame:
    """Likelihoods of `rows` (as `candidates` returns them) under each policy, one model in memory
    at a time."""
    scored = []
    for back, (folder, remainder) in enumerate(zip_longest(policies, remainders), start=1):
        policy = load(folder, remainder)
        scored += [
            (request_id, back, reply_logp(policy, prompt, reply).item(), len(reply))
            for request_id, prompt, reply in Progress(rows, desc=f"candidates, {back} back")
        ]
        del policy  # before the next one is loaded
    return pl.DataFrame(scored, schema=Likelihoods.create_empty().schema, orient="row")


def main() -> None:
    command = cli.parser(__doc__, CandidatesSettings)
    command.add_argument("--prompts", required=True, help="Prompts table")
    command.add_argument("--requests", required=True, nargs="+", help="Requests tables of the candidates")
    command.add_argument("--completions", required=True, nargs="+", help="Completions tables, the shards")
    command.add_argument("--policies", required=True, nargs="+", type=Path, help="folders, the nearest policy first")
    command.add_argument("--remainders", nargs="*", default=[], type=Path, help="folders of their remainders, in that order")
    command.add_argument("--likelihoods", required=True, help="table to write")
    arguments = command.parse_args()

    disable_progress_bar()
    rows = candidates(
        read_table(Prompts, arguments.prompts),
        read_table(Requests, *arguments.requests),
        read_table(Completions, *arguments.completions),
        load_tokenizer(arguments.policies[0]),
        arguments.settings.cut,
    )
    if not rows:
        raise cli.StageError("no candidate ended its turn; a larger sampling.max_tokens or sampling.cut: prefix helps")
    write_table(likelihoods(rows, arguments.policies, arguments.remainders), Likelihoods, arguments.likelihoods)


if __name__ == "__main__":
    cli.run(main)
