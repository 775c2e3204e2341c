"""Make preference pairs: for each training prompt a chosen and a rejected reply, as the method's recipe says.

Reads a Prompts table and, where a side is sampled, Requests and Completions; writes Pairs, Dropped and the ledger. A pair is
always of the plain prompt. Whatever could teach the wrong thing (a cut reply, an empty one, the same reply twice, a chat
marker in the text) is dropped here with its reason.
"""

from pathlib import Path

import polars as pl

from drift import cli
from drift.chat import load_tokenizer, markers, render, render_reply
from drift.tables import Completions, Dropped, Ledger, LedgerBook, Pairs, Prompts, Requests, read_table, write_table

CUT = "sampled reply did not end its turn"
EMPTY = "sampled reply is empty"
MARKER = "sampled reply holds a chat marker"
SHARED = "prompt and reply share a token"
EQUAL = "chosen equals rejected"
LEAKED = "improve instruction in the prompt"
LONG = "longer than max_length"
# In the order in which a candidate is checked; the first that applies is its reason.
REASONS = (CUT, EMPTY, MARKER, SHARED, EQUAL, LEAKED, LONG)


def sampled_replies(requests: pl.DataFrame, completions: pl.DataFrame) -> dict[tuple[str, str], dict]:
    """Completions by (prompt_id, kind), joined to their requests by key."""
    rows = requests.select("request_id", "prompt_id", "kind").join(completions, on="request_id", how="left", validate="1:1")
    unanswered = rows.filter(pl.col("finish_reason").is_null())
    if unanswered.height:
        raise cli.StageError(f"{unanswered.height} requests have no completion, the first is {unanswered['request_id'][0]}")
    return {(row["prompt_id"], row["kind"]): row for row in rows.iter_rows(named=True)}


def candidate(prompt: dict, replies: dict[tuple[str, str], dict], recipe: dict) -> dict:
    """Both sides of a prompt's pair before any check: text, where it comes from, and the completion it was sampled as."""
    sides = {}
    for side in ("chosen", "rejected"):
        origin = recipe[side]
        reply = None if origin == "user" else replies.get((prompt["prompt_id"], origin))
        if origin != "user" and reply is None:
            raise cli.StageError(
                f"prompt {prompt['prompt_id']} has no {origin} request; rebuild the requests from these prompts"
            )
        sides[side] = {
            "text": reply["text"].strip() if reply else prompt[side],
            "from": reply["request_id"] if reply else "user",
            "reply": reply,
        }
    return sides


def fault(
    prompt: dict, sides: dict, replies: dict[str, list[int] | None], words: list[str], settings: dict
) -> tuple[str, str] | None:
    """The first of REASONS that applies, with the text or figure that shows it; None for a sound pair."""
    sampled = [side for side in sides.values() if side["reply"]]
    for side in sampled:
        if side["reply"]["finish_reason"] != "stop":
            return CUT, side["reply"]["finish_reason"]
        if not side["text"]:
            return EMPTY, ""
        found = [word for word in words if word in side["text"]]
        if found:
            return MARKER, found[0]
    for side, ids in replies.items():
        if ids is None:
            return SHARED, sides[side]["text"][:20]
    if sides["chosen"]["text"] == sides["rejected"]["text"]:
        return EQUAL, sides["chosen"]["text"]
    if any(settings["instruction"] in message["content"] for message in prompt["prompt"]):
        return LEAKED, settings["instruction"]
    longest = len(prompt["prompt_token_ids"]) + max(map(len, replies.values()))
    if longest > settings["max_length"]:
        return LONG, f"{longest} tokens"
    return None


def make_pairs(prompts: pl.DataFrame, replies: dict, tokenizer, settings: dict) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Pairs and Dropped of the training split."""
    words = markers(tokenizer)
    pairs, dropped = [], []
    for prompt in prompts.filter(split="train").iter_rows(named=True):
        if render(tokenizer, prompt["prompt"]) != prompt["prompt_token_ids"]:
            raise cli.StageError(
                f"prompt {prompt['prompt_id']} renders to other tokens than it was fitted with; rerun the fitting"
            )
        sides = candidate(prompt, replies, settings["recipe"])
        rendered = {side: render_reply(tokenizer, prompt["prompt"], sides[side]["text"]) for side in sides}
        found = fault(prompt, sides, rendered, words, settings)
        if found:
            dropped.append({"prompt_id": prompt["prompt_id"], "reason": found[0], "detail": found[1]})
            continue
        pairs.append(
            {
                "pair_id": prompt["prompt_id"],
                "prompt": prompt["prompt"],
                "prompt_token_ids": prompt["prompt_token_ids"],
                **{side: sides[side]["text"] for side in sides},
                **{f"{side}_from": sides[side]["from"] for side in sides},
                **{f"{side}_finish": sides[side]["reply"] and sides[side]["reply"]["finish_reason"] for side in sides},
                **{f"{side}_tokens": len(rendered[side]) for side in sides},
            }
        )
    return (
        pl.DataFrame(pairs, schema=Pairs.create_empty().schema),
        pl.DataFrame(dropped, schema=Dropped.create_empty().schema),
    )


def main() -> None:
    command = cli.parser(__doc__)
    command.add_argument("--prompts", required=True)
    command.add_argument("--policy", required=True, type=Path, help="folder with the model's tokenizer")
    command.add_argument("--requests", help="of the sampled sides")
    command.add_argument("--completions", nargs="*", default=[], help="their shards")
    command.add_argument("--pairs", required=True, help="table to write")
    command.add_argument("--dropped", required=True, help="table to write")
    command.add_argument("--ledger", required=True, help="table to write")
    arguments = command.parse_args()

    prompts = read_table(Prompts, arguments.prompts)
    replies = {}
    if arguments.requests:
        completions = read_table(Completions, *arguments.completions)
        replies = sampled_replies(read_table(Requests, arguments.requests), completions)
    pairs, dropped = make_pairs(prompts, replies, load_tokenizer(arguments.policy), arguments.settings)

    book = LedgerBook(arguments.settings["flow"], "pairs", "prompts", prompts.height)
    book.drop("test split", prompts.filter(split="test").height)
    for reason in REASONS:
        book.drop(reason, dropped.filter(reason=reason).height)
    book.regroup("one pair per prompt", "pairs", pairs.height)
    # Written even where no pair is left, so that the reasons can be read.
    write_table(dropped, Dropped, arguments.dropped)
    write_table(book.table(), Ledger, arguments.ledger)
    if pairs.is_empty():
        common = dropped["reason"].mode().to_list()
        raise cli.StageError(
            f"no pair is left of {prompts.height} prompts; the commonest reason is '{common[0] if common else 'no training prompts'}'. "
            "A larger sampling.max_tokens helps against replies that did not end, more data against an empty split"
        )
    write_table(pairs, Pairs, arguments.pairs)


if __name__ == "__main__":
    cli.run(main)
