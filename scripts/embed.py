"""Embed a policy's answers to a benchmark: as vectors, each whole and by its beginning.

Reads:  the Responses (--responses) and the folder of an encoder (--model).
Writes: an Embeddings table (--embeddings).
"""

import _python  # noqa: F401 - before what may be missing
from pathlib import Path

import polars as pl

from drift import cli
from drift.engines import encoders
from drift.settings.exploration import EmbedSettings
from drift.tables import Embeddings, Responses, read_table, write_table

KEY = "exploration.embedder.path"
# The tokens of a beginning, as tables.Embeddings has it.
BEGINNING = 128


def embedded(responses: pl.DataFrame, model, tokenizer, max_length: int | None) -> pl.DataFrame:
    """Embeddings of every answer. Equal texts are read once, and the beginning of a short answer
    is the whole."""
    texts = responses["response"].unique().sort().to_list()
    beginnings, cut = encoders.embed(model, tokenizer, texts, min(max_length or BEGINNING, BEGINNING))
    wholes, too_long = beginnings.copy(), list(cut)
    longer = [place for place, short in enumerate(cut) if short]
    if longer and (max_length is None or max_length > BEGINNING):
        wholes[longer], again = encoders.embed(model, tokenizer, [texts[place] for place in longer], max_length)
        for place, still in zip(longer, again, strict=True):
            too_long[place] = still
    parts = []
    for part, vectors, truncated in (("whole", wholes, too_long), ("beginning", beginnings, cut)):
        found = pl.DataFrame({"response": texts, "vector": list(vectors), "truncated": truncated})
        parts.append(responses.join(found, on="response", validate="m:1").with_columns(part=pl.lit(part)))
    return pl.concat(parts).cast({"vector": pl.List(pl.Float32)})


def main() -> None:
    command = cli.parser(__doc__, EmbedSettings)
    command.add_argument("--responses", required=True, help="Responses table")
    command.add_argument("--model", required=True, type=Path, help="folder of the encoder")
    command.add_argument("--embeddings", required=True, help="table to write")
    arguments = command.parse_args()
    model, tokenizer = encoders.load(arguments.model, KEY)
    responses = read_table(Responses, arguments.responses)
    table = embedded(responses, model, tokenizer, arguments.settings.max_length)
    cut = table.filter(pl.col("part") == "whole")["truncated"].sum()
    print(f"{responses.height} answers were embedded, {cut} of them by their beginning: the encoder reads no more")
    write_table(table, Embeddings, arguments.embeddings)


if __name__ == "__main__":
    cli.run(main)
