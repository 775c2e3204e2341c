"""Write down what a rubric labeler's model is asked: a question about every answered reply.

Reads:  the Turns table (--turns), and the model's tokenizer (--model; none for a model behind an
        endpoint, which renders chats by itself).
Writes: a Requests table (--requests).

A conversation that is too long loses its oldest turns. A reply that is too long even alone is not
asked about.
"""

import _python  # noqa: F401 - before what may be missing
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from drift import chat, cli
from drift.labelers import answered
from drift.labelers.rubric_question import KIND, TAGS, question
from drift.seeds import completion_seed
from drift.settings.data import LabelRequestsSettings
from drift.tables import Requests, write_table

TEMPLATE = Path(__file__).parent / "templates" / "rubric.txt"


def picked(turns: pl.LazyFrame, settings: LabelRequestsSettings) -> pl.DataFrame:
    """conversation_id, turn and seed of the replies to ask about: those with the smallest seeds
    where there are more than max_replies."""
    replies = answered(turns)
    if settings.languages is not None:
        replies = replies.filter(pl.col("language").is_in(settings.languages))
    keys = replies.select("conversation_id", "turn").sort("conversation_id", "turn").collect()
    seeds = [completion_seed(settings.seed, "label", *map(str, key)) for key in keys.iter_rows()]
    keys = keys.with_columns(seed=pl.Series(seeds, dtype=pl.Int64))
    return keys.sort("seed", "conversation_id", "turn").head(settings.max_replies or keys.height)


def with_history(turns: pl.LazyFrame, keys: pl.DataFrame) -> Iterator[tuple[chat.Messages, dict]]:
    """For every key the conversation before the reply, and the row of Turns with its seed."""
    columns = ["conversation_id", "turn", "system", "unseen", "user", "response", "feedback"]
    wanted = turns.select(columns).join(keys.lazy().select("conversation_id").unique(), on="conversation_id", how="semi")
    rows = wanted.join(keys.lazy(), on=["conversation_id", "turn"], how="left").sort("conversation_id", "turn").collect()
    history: chat.Messages = []
    for row in rows.iter_rows(named=True):
        if row["turn"] == 0:
            history = [{"role": "system", "content": row["system"]}] if row["system"] else []
        asked = [*history, {"role": "user", "content": row["user"]}]
        if row["seed"] is not None:
            yield asked, row
        if row["response"] is not None and not row["unseen"]:
            history = [*asked, {"role": "assistant", "content": row["response"]}]


def build(turns: pl.LazyFrame, template: str, tokenizer, settings: LabelRequestsSettings) -> tuple[pl.DataFrame, int]:
    """One request per reply, and how many replies do not fit.

    `tokenizer` None: the model is behind an endpoint, and lengths are estimated.
    """
    plain = chat.breaker([*TAGS, *chat.markers(tokenizer)]) if tokenizer else chat.breaker(TAGS, chat.COMMON_MARKERS)
    room = settings.context - settings.max_tokens
    requests, too_long = [], 0
    for history, row in with_history(turns, picked(turns, settings)):
        history = [message | {"content": plain(message["content"])} for message in history]
        reply, feedback = plain(row["response"]), plain(row["feedback"])

        def fits(tail: chat.Messages, reply: str = reply, feedback: str = feedback) -> bool:
            return chat.count_tokens(tokenizer, question(template, tail, reply, feedback)) <= room

        kept = chat.trim(history, fits)
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
                "prompt_token_ids": chat.render(tokenizer, asked) if tokenizer else None,
                "seed": row["seed"],
            }
        )
    return pl.DataFrame(requests, schema=Requests.create_empty().schema), too_long


def main() -> None:
    command = cli.parser(__doc__, LabelRequestsSettings)
    command.add_argument("--turns", required=True, help="Turns table")
    command.add_argument("--model", nargs="*", type=Path, default=[], help="folder with the model's tokenizer, or none")
    command.add_argument("--requests", required=True, help="table to write")
    arguments = command.parse_args()

    settings: LabelRequestsSettings = arguments.settings
    tokenizer = chat.load_tokenizer(arguments.model[0]) if arguments.model else None
    requests, too_long = build(pl.scan_parquet(arguments.turns), TEMPLATE.read_text(encoding="utf-8"), tokenizer, settings)
    print(f"{requests.height} replies to ask about; {too_long} more are too long for the model")
    if requests.is_empty():
        raise cli.StageError(
            f"nothing to ask the labeler {settings.labeler}: no reply that a user answered is in the languages of "
            f"data.filters and fits {settings.context} tokens; raise data.labelers.NAME.context"
        )
    write_table(requests, Requests, arguments.requests)


if __name__ == "__main__":
    cli.run(main)
