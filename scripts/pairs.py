"""Make preference pairs: for each training prompt a chosen and a rejected reply, as the method's recipe says.

Reads a Prompts table and, where a side is sampled, Requests and Completions; writes Pairs, Dropped and the ledger. A pair is
always of the plain prompt. Whatever could teach the wrong thing (a cut reply, an empty one, the same reply twice, a chat
marker in the text) is dropped here with its reason. Of several samples the first that is sound is taken; best and worst are
the sound ones farthest apart in a ranking (--ranks). A prompt that holds a benchmark's (--benchmark NAME=PATH, Tasks tables)
stops the run: the pools leave these out.
"""

import re
from collections import Counter
from pathlib import Path

import polars as pl

from drift import cli
from drift.chat import load_tokenizer, markers, render, render_reply
from drift.data.similarity import BenchmarkTexts, said_by_users
from drift.ledger import LedgerBook
from drift.sides import candidates
from drift.tables import Completions, Dropped, Ledger, Pairs, Prompts, Ranks, Requests, Tasks, read_table, write_table

UNRANKED = "too few candidates have a score"
CUT = "sampled reply did not end its turn"
EMPTY = "sampled reply is empty"
MARKER = "sampled reply holds a chat marker"
ALLUSION = "sampled reply speaks of the feedback"
SHARED = "prompt and reply share a token"
EQUAL = "chosen equals rejected"
TIED = "no candidate ranks above another"
LEAKED = "improve instruction in the prompt"
LONG = "longer than max_length"
# In the order in which a candidate is checked; the first that applies is its reason.
REASONS = (UNRANKED, CUT, EMPTY, MARKER, ALLUSION, SHARED, EQUAL, TIED, LEAKED, LONG)

# How a guided reply betrays what it was shown and its training prompt does not show.
_ALLUSION = re.compile(
    r"(i'?m (so |very )?sorry|i (sincerely )?apologi[sz]e|(my |sincere )?apologies|sorry (for|about)|you('re| are) (absolutely |quite )?(right|correct)"
    r"|thank you for (your|the) (feedback|clarif\w+|correct\w+|pointing)"
    r"|.{0,60}\b(revised|improved|updated|corrected|refined|rewritten|better) (\w+ ){0,2}(version|answer|response|reply|explanation|code|list|draft)\b)",
    re.IGNORECASE,
)


def alludes(text: str) -> bool:
    """Whether a reply opens with words on a reply before it: an apology, a thank you for the feedback, "Here is a revised
    version". English only, and a rough measure: where the prompt itself ends with a complaint, an apology is in place."""
    return _ALLUSION.match(text.lstrip(" #*\n")) is not None


def sampled_replies(requests: pl.DataFrame, completions: pl.DataFrame) -> dict[tuple[str, str], list[dict]]:
    """Completions by (prompt_id, kind), in the order of their sample numbers, joined to their requests by key."""
    asked = requests.select("request_id", "prompt_id", "kind", "sample")
    rows = asked.join(completions, on="request_id", how="left", validate="1:1").sort("sample")
    unanswered = rows.filter(pl.col("finish_reason").is_null())
    if unanswered.height:
        raise cli.StageError(f"{unanswered.height} requests have no completion, the first is {unanswered['request_id'].min()}")
    replies: dict[tuple[str, str], list[dict]] = {}
    for row in rows.iter_rows(named=True):
        replies.setdefault((row["prompt_id"], row["kind"]), []).append(row)
    return replies


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
        if settings["allusions"] == "drop" and side["reply"]["kind"] == "guided" and alludes(side["text"]):
            return ALLUSION, side["text"][:80]
    for side, ids in replies.items():
        if ids is None:
            return SHARED, sides[side]["text"][:20]
    if sides["chosen"]["text"] == sides["rejected"]["text"]:
        return EQUAL, sides["chosen"]["text"]
    best, worst = sides["chosen"]["score"], sides["rejected"]["score"]
    if best is not None and worst is not None and best <= worst:
        return TIED, f"{best:g} and {worst:g}"
    if any(settings["instruction"] in message["content"] for message in prompt["prompt"]):
        return LEAKED, settings["instruction"]
    longest = len(prompt["prompt_token_ids"]) + max(map(len, replies.values()))
    if longest > settings["max_length"]:
        return LONG, f"{longest} tokens"
    return None


def make_pairs(
    prompts: pl.DataFrame, replies: dict, tokenizer, settings: dict, scores: dict[str, float] | None = None
) -> tuple[pl.DataFrame, pl.DataFrame, Counter]:
    """Pairs and Dropped of the training split, and how many candidates failed each check (a prompt may have several).

    `replies` as `sampled_replies` gives them; `scores` of ranked replies by request_id.
    """
    words = markers(tokenizer)
    pairs, dropped, failed = [], [], Counter()
    for prompt in prompts.filter(split="train").iter_rows(named=True):
        if render(tokenizer, prompt["prompt"]) != prompt["prompt_token_ids"]:
            raise cli.StageError(
                f"prompt {prompt['prompt_id']} renders to other tokens than it was fitted with; rerun the fitting"
            )
        first = None
        for sides in candidates(prompt, replies, settings["recipe"], scores or {}):
            rendered = {side: render_reply(tokenizer, prompt["prompt"], sides[side]["text"]) for side in sides}
            found = fault(prompt, sides, rendered, words, settings)
            if found is None:
                pairs.append(pair(prompt, sides, rendered))
                break
            failed[found[0]] += 1
            first = first or found
        else:
            reason, detail = first or (UNRANKED, "")
            dropped.append({"prompt_id": prompt["prompt_id"], "reason": reason, "detail": detail})
    return (
        pl.DataFrame(pairs, schema=Pairs.create_empty().schema),
        pl.DataFrame(dropped, schema=Dropped.create_empty().schema),
        failed,
    )


def pair(prompt: dict, sides: dict, rendered: dict[str, list[int]]) -> dict:
    """A row of Pairs."""
    return {
        "pair_id": prompt["prompt_id"],
        "prompt": prompt["prompt"],
        "prompt_token_ids": prompt["prompt_token_ids"],
        **{side: sides[side]["text"] for side in sides},
        **{f"{side}_from": sides[side]["from"] for side in sides},
        **{f"{side}_finish": sides[side]["reply"] and sides[side]["reply"]["finish_reason"] for side in sides},
        **{f"{side}_tokens": len(rendered[side]) for side in sides},
    }


def report(pairs: pl.DataFrame, failed: Counter) -> None:
    """Print what the tables do not say: every sample that was passed over, and how many guided replies speak of the feedback."""
    print(f"{pairs.height} pairs; {failed.total()} candidates failed a check: {dict(failed)}")
    guided = pairs.filter(pl.col("chosen_from").str.contains(r"#guided-\d+$"))["chosen"]
    if len(guided):
        allusions = sum(map(alludes, guided))
        print(f"{allusions} of {len(guided)} guided replies open with words on the feedback, which their prompt does not show")


def check_decontaminated(pairs: pl.DataFrame, benchmarks: dict[str, pl.DataFrame]) -> None:
    """Raise StageError where a user's message in a training prompt is, word for word, a message of one of the Tasks tables."""
    said = said_by_users(pairs.select("pair_id", "prompt"))
    found = BenchmarkTexts(benchmarks.items(), ngram=None, similarity=None).found_in(said["content"])
    if not found.is_empty():
        row = found.row(0, named=True)
        pair = said["pair_id"][row["row"]]
        raise cli.StageError(
            f"{said['pair_id'].gather(found['row']).n_unique()} training prompts hold a prompt of a benchmark: {pair} has task "
            f"{row['task']} of {row['benchmark']}. Scores on it would mean nothing. Rerun the pools, which leave such prompts out."
        )


def main() -> None:
    command = cli.parser(__doc__)
    command.add_argument("--prompts", required=True)
    command.add_argument("--policy", required=True, type=Path, help="folder with the model's tokenizer")
    command.add_argument("--requests", nargs="*", default=[], help="of the sampled sides")
    command.add_argument("--completions", nargs="*", default=[], help="their shards")
    command.add_argument("--ranks", nargs="*", default=[], help="scores of the sampled replies, for best and worst")
    command.add_argument("--benchmark", nargs="*", default=[], metavar="NAME=PATH", help="Tasks tables to stay clear of")
    command.add_argument("--pairs", required=True, help="table to write")
    command.add_argument("--dropped", required=True, help="table to write")
    command.add_argument("--ledger", required=True, help="table to write")
    arguments = command.parse_args()

    prompts = read_table(Prompts, arguments.prompts)
    replies = {}
    if arguments.requests:
        completions = read_table(Completions, *arguments.completions)
        replies = sampled_replies(read_table(Requests, *arguments.requests), completions)
    scores = dict(read_table(Ranks, *arguments.ranks).select("request_id", "score").iter_rows()) if arguments.ranks else None
    pairs, dropped, failed = make_pairs(prompts, replies, load_tokenizer(arguments.policy), arguments.settings, scores)
    report(pairs, failed)

    book = LedgerBook(arguments.settings["lineage"], "pairs", "prompts", prompts.height)
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
    benchmarks = dict(benchmark.split("=", 1) for benchmark in arguments.benchmark)
    check_decontaminated(pairs, {name: read_table(Tasks, path) for name, path in benchmarks.items()})
    write_table(pairs, Pairs, arguments.pairs)


if __name__ == "__main__":
    cli.run(main)
