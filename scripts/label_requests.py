"""Write down what a rubric labeler's model is asked: one question about every reply that the user answered.

Reads:  the Turns table (--turns), and the model's tokenizer (--model; none for a model behind an endpoint).
Writes: a Requests table (--requests).

Settings: labeler (its name), context (tokens that the model reads and writes), max_tokens (that it writes), max_replies (how many
are asked about, by seeded hash; null: all), languages (that are asked about, null: all), seed.

A conversation that is too long loses its oldest turns. A reply that is too long even alone is not asked about.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from drift import cli
from drift.chat import Messages, load_tokenizer, markers, render, trim
from drift.labelers.rubric_schema import KIND
from drift.seeds import completion_seed
from drift.tables import Requests, write_table

TEMPLATE = Path(__file__).parent / "templates" / "rubric.txt"
TAGS = ("<conversation>", "</conversation>", "<last_reply>", "</last_reply>", "<next_message>", "</next_message>")
# The chat markers of common models, for a model whose tokenizer is not here.
MARKERS = (
    "<|im_start|>",
    "<|im_end|>",
    "<|endoftext|>",
    "<|eot_id|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "[INST]",
    "[/INST]",
)
CHARS_PER_TOKEN = 3  # a careful guess, for a model whose tokenizer is not here


def picked(turns: pl.LazyFrame, settings: dict) -> pl.DataFrame:
    """conversation_id, turn and seed of the replies to ask about, those with the smallest seeds where there are too many."""
    replies = turns.filter(pl.col("response").is_not_null() & pl.col("feedback").is_not_null())
    if settings["languages"] is not None:
        replies = replies.filter(pl.col("language").is_in(settings["languages"]))
    keys = replies.select("conversation_id", "turn").sort("conversation_id", "turn").collect()
    seeds = [completion_seed(settings["seed"], "label", *map(str, key)) for key in keys.iter_rows()]
    keys = keys.with_columns(seed=pl.Series(seeds, dtype=pl.Int64))
    return keys.sort("seed", "conversation_id", "turn").head(settings["max_replies"] or keys.height)


def exchanges(turns: pl.LazyFrame, keys: pl.DataFrame) -> Iterator[tuple[Messages, dict]]:
    """For every key the conversation before the reply, and the row of Turns with its seed."""
    columns = ["conversation_id", "turn", "system", "user", "response", "feedback"]
    wanted = turns.select(columns).join(keys.lazy().select("conversation_id").unique(), on="conversation_id", how="semi")
    rows = wanted.join(keys.lazy(), on=["conversation_id", "turn"], how="left").sort("conversation_id", "turn").collect()
    said: Messages = []
    for row in rows.iter_rows(named=True):
        if row["turn"] == 0:
            said = [{"role": "system", "content": row["system"]}] if row["system"] else []
        said = [*said, {"role": "user", "content": row["user"]}]
        if row["seed"] is not None:
            yield said, row
        if row["response"] is not None:
            said = [*said, {"role": "assistant", "content": row["response"]}]


def question(template: str, before: Messages, reply: str, feedback: str) -> Messages:
    """The chat in which the model is asked. Texts are put in in one pass: braces in them stay text."""
    conversation = "\n\n".join(f"{message['role'].upper()}: {message['content']}" for message in before)
    values = {"conversation": conversation, "reply": reply, "feedback": feedback}
    filled = re.sub(r"\{(conversation|reply|feedback)\}", lambda match: values[match[1]], template)
    return [{"role": "user", "content": filled}]


def build(turns: pl.LazyFrame, template: str, tokenizer, settings: dict) -> tuple[pl.DataFrame, int]:
    """One request per reply, and how many replies do not fit. `tokenizer` None: the model is elsewhere and renders by itself."""
    words = [*TAGS, *(markers(tokenizer) if tokenizer else MARKERS)]
    broken = re.compile("|".join(re.escape(word) for word in sorted(words, key=len, reverse=True)))
    room = settings["context"] - settings["max_tokens"]
    requests, too_long = [], 0

    def harmless(text: str) -> str:
        """`text` with what would end its tags, or the turn, broken by a space."""
        return broken.sub(lambda match: f"{match[0][0]} {match[0][1:]}", text)

    def length(asked: Messages) -> int:
        return len(render(tokenizer, asked)) if tokenizer else len(asked[0]["content"]) // CHARS_PER_TOKEN

    for before, row in exchanges(turns, picked(turns, settings)):
        before = [message | {"content": harmless(message["content"])} for message in before]
        reply, feedback = harmless(row["response"]), harmless(row["feedback"])
        kept = trim(before, lambda tail, said=(reply, feedback): length(question(template, tail, *said)) <= room)
        if kept is None:
            too_long += 1
            continue
        asked = question(template, kept, reply, feedback)
        prompt_id = f"{row['conversation_id']}/{row['turn']}"
        requests.append(
            {
                "request_id": f"{prompt_id}#{KIND}-0",
                "prompt_id": prompt_id,
                "kind": KIND,
                "sample": 0,
                "messages": asked,
                "prompt_token_ids": render(tokenizer, asked) if tokenizer else None,
                "seed": row["seed"],
            }
        )
    return pl.DataFrame(requests, schema=Requests.create_empty().schema), too_long


def main() -> None:
    command = cli.parser(__doc__)
    command.add_argument("--turns", required=True, help="Turns table")
    command.add_argument("--model", type=Path, help="folder with the model's tokenizer")
    command.add_argument("--requests", required=True, help="table to write")
    arguments = command.parse_args()
    tokenizer = load_tokenizer(arguments.model) if arguments.model else None
    requests, too_long = build(pl.scan_parquet(arguments.turns), TEMPLATE.read_text(), tokenizer, arguments.settings)
    print(f"{requests.height} replies to ask about; {too_long} more are too long for the model")
    if requests.is_empty():
        raise cli.StageError(
            f"nothing to ask the labeler {arguments.settings['labeler']}: no reply that a user answered is in the languages of "
            f"data.filters and fits {arguments.settings['context']} tokens; raise data.labelers.NAME.context"
        )
    write_table(requests, Requests, arguments.requests)


if __name__ == "__main__":
    cli.run(main)
