"""Make preference pairs: for each training prompt a chosen and a rejected reply, as the recipe
says.

Reads:  a Prompts table (--prompts) and the model's tokenizer (--policy); where a side is sampled,
        the Requests and Completions (--requests, --completions) and, where candidates are ranked,
        their Ranks (--ranks), and how far two rankings agree (--agreement); the Tasks tables that
        no pair may share a prompt with (--benchmark NAME=PATH).
Writes: a Pairs table (--pairs), a Dropped table (--dropped) and the ledger (--ledger).

A pair is always of the plain prompt, and carries the token ids of both replies as they were checked
here. One limit of tokens holds for sampled and for logged replies: else it would make one side the
shorter one, and length is learnt first. Whatever could teach the wrong thing (an empty reply, the
same reply twice, a chat marker in the text) is dropped with its reason. Of several samples the
first sound one is taken; best and worst are the sound ones farthest apart in the ranking. A prompt
that contains a benchmark's stops the run: the pools leave these out.
"""

import _python  # noqa: F401 - before what may be missing
from collections import Counter
from functools import cache, partial
from pathlib import Path

import polars as pl

from drift import cli, plugins
from drift.chat import end_of_turn, load_tokenizer, markers, render_reply
from drift.data.allusions import alludes, without_allusion
from drift.data.contamination import check_decontaminated
from drift.data.fresh import at_share, drawn_prompts
from drift.data.trained_replies import (
    LEAKED,
    LONG,
    OVER,
    SHARED,
    UNSAID,
    TrainedReply,
    check_rendering,
    prompt_fault,
    reply_fault,
    trained_replies,
)
from drift.judging.candidates import ENDS
from drift.ledger import LedgerBook
from drift.seeds import chance, picked
from drift.settings.data import FreshSettings
from drift.settings.training import PairsSettings, Sides, Subset
from drift.sides import can_ask, candidates
from drift.tables import (
    Completions,
    Dropped,
    Ledger,
    Pairs,
    Prompts,
    RankAgreement,
    Ranks,
    Requests,
    Tasks,
    read_table,
    write_table,
)

UNRANKED = "too few candidates have a score"
CUT = "sampled reply did not end its turn"
EMPTY = "sampled reply is empty"
MARKER = "sampled reply contains a chat marker"
ALLUSION = "sampled reply mentions the feedback"
EQUAL = "chosen equals rejected"
TIED = "no candidate ranks above another"
LOW = "no candidate reaches min_score"
# In the order in which a candidate is checked; the first that applies is its reason.
REASONS = (UNSAID, UNRANKED, CUT, EMPTY, MARKER, ALLUSION, SHARED, OVER, EQUAL, TIED, LOW, LEAKED, LONG)
# What helps where a ranking leaves too few pairs, by the commonest reason.
RANKING = {
    UNRANKED: "most have too few candidates with a score. Has the ranker a limit on length (rankers.NAME.max_length), or does it "
    "know these prompts? More candidates in the recipe help where some fail",
    TIED: "of most all candidates have the same score. Let who ranks vote several times (votes and a temperature), ask for more "
    "candidates, or use another rank",
    LOW: "of most no candidate reaches min_score. Ask for more candidates, or lower it in the recipe",
}
# Of a sound pair that training.pairs leaves out.
SPARE = "more than training.pairs"
# Of prompts that nothing was sampled for, and of sound pairs: the share of fresh ones takes no more
# of their age.
UNDRAWN = "prompt beyond the share of its data (fresh)"
BEYOND = "pair beyond the share of its data (fresh)"


def shows_feedback(kind: str) -> bool:
    """Whether requests of a kind (a sampled side) show the user's feedback to the policy."""
    return "feedback" in plugins.load(plugins.SIDES, kind).NEEDS.shown


def sampled_replies(requests: pl.DataFrame, completions: pl.DataFrame) -> dict[tuple[str, str], list[dict]]:
    """Completions by (prompt_id, kind), in the order of their sample numbers, joined to their
    requests by key."""
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
    prompt: dict, sides: dict, trained: dict[str, TrainedReply | None], words: list[str], settings: PairsSettings
) -> tuple[str, str] | None:
    """The first of REASONS that applies, with the text or number that shows it; None for a sound
    pair.

    `trained`: both replies as `trained_replies` returns them; `words` are chat markers.
    """
    for side in sides.values():
        if side["reply"] and (reason := sample_fault(side, words, settings)):
            return reason
    texts = {side: reply["text"] for side, reply in sides.items()}
    if reason := reply_fault(texts, trained, drop_cut=settings.cut == "drop"):
        return reason
    if trained["chosen"].text.strip() == trained["rejected"].text.strip():
        return EQUAL, trained["chosen"].text
    best, worst = sides["chosen"]["score"], sides["rejected"]["score"]
    if best is not None and worst is not None and best <= worst:
        return TIED, f"{best:g} and {worst:g}"
    if settings.recipe.min_score is not None and best is not None and best < settings.recipe.min_score:
        return LOW, f"{best:g}"
    return prompt_fault(prompt, trained, settings.instruction, settings.max_length)


def sample_fault(side: dict, words: list[str], settings: PairsSettings) -> tuple[str, str] | None:
    """The same of a sampled reply by itself."""
    if side["reply"]["finish_reason"] not in ENDS[settings.cut]:
        return CUT, side["reply"]["finish_reason"]
    said = side["reply"]["text"].strip()
    if not said:
        return EMPTY, ""
    if marker := next((word for word in words if word in side["text"]), None):
        return MARKER, marker
    if shows_feedback(side["reply"]["kind"]) and alludes(said) and (settings.allusions == "drop" or not side["text"]):
        return ALLUSION, said[:80]
    return None


def stripped(side: dict, settings: PairsSettings) -> dict:
    """A side without its words on the feedback, where these are stripped of guided replies. Its
    text is empty where next to nothing is left."""
    if side["reply"] and settings.allusions == "strip" and shows_feedback(side["reply"]["kind"]):
        return side | {"text": without_allusion(side["text"]) or ""}
    return side


def hides_feedback(prompt: dict, side: dict, trained: TrainedReply) -> bool:
    """Whether a reply, as it is `trained` on, opens with words on feedback that its prompt does not
    show."""
    if side["reply"]:
        return shows_feedback(side["reply"]["kind"]) and alludes(trained.text)
    # Of two logged replies the chosen one came after the feedback on the other, where there is any.
    return prompt["rejected"] is not None and prompt["feedback"] is not None and alludes(trained.text)


def make_pairs(
    prompts: pl.DataFrame,
    replies: dict[tuple[str, str], list[dict]],
    tokenizer,
    settings: PairsSettings,
    scores: dict[str, float] | None = None,
) -> tuple[pl.DataFrame, pl.DataFrame, Counter]:
    """Pairs and Dropped of the training split, and how many candidates failed each check (a prompt
    may have several).

    `replies` as `sampled_replies` returns them; `scores` of ranked replies by request_id. Raises
    StageError where a prompt renders to other tokens than it was fitted with.
    """
    words, end = markers(tokenizer), end_of_turn(tokenizer)
    pairs, dropped, failed = [], [], Counter()
    for prompt in prompts.filter(split="train").iter_rows(named=True):
        check_rendering(prompt, tokenizer)
        # A reply is in several candidates where both sides are sampled.
        rendered = cache(partial(render_reply, tokenizer, prompt["prompt"], prompt=prompt["prompt_token_ids"]))
        reasons, recipe = [], sides_of(prompt["prompt_id"], settings.recipe)
        for drawn in candidates(prompt, replies, recipe, scores or {}):
            sides = {side: stripped(reply, settings) for side, reply in drawn.items()}
            texts = {side: sides[side]["text"] for side in sides}
            trained = trained_replies(texts, finish_reasons(sides), rendered, tokenizer, end, settings.max_tokens)
            reason = fault(prompt, sides, trained, words, settings)
            if reason is None:
                pairs.append(pair(prompt, sides, trained))
                break
            reasons.append(reason)
        else:
            nothing = UNRANKED if all(can_ask(side, prompt) for side in recipe.values()) else UNSAID
            reason, detail = reasons[0] if reasons else (nothing, "")
            dropped.append({"prompt_id": prompt["prompt_id"], "reason": reason, "detail": detail})
        failed.update(reason for reason, _ in reasons)
    return (
        pl.DataFrame(pairs, schema=Pairs.create_empty().schema),
        pl.DataFrame(dropped, schema=Dropped.create_empty().schema),
        failed,
    )


def sides_of(prompt_id: str, recipe: Sides) -> dict[str, str]:
    """The sides of a prompt's pair: the rejected one may be of another side, for a share of the
    prompts. A larger share adds to the prompts of a smaller one."""
    mix = recipe.mix
    other = mix is not None and chance("mix", mix.seed, prompt_id) < mix.share
    return {"chosen": recipe.chosen, "rejected": mix.side if other else recipe.rejected}


def finish_reasons(sides: dict) -> dict[str, str | None]:
    """How the engine says that each side ended; None of a logged one."""
    return {side: sides[side]["reply"] and sides[side]["reply"]["finish_reason"] for side in sides}


def pair(prompt: dict, sides: dict, trained: dict[str, TrainedReply]) -> dict:
    """A row of Pairs."""
    return {
        "pair_id": prompt["prompt_id"],
        "prompt": prompt["prompt"],
        "prompt_token_ids": prompt["prompt_token_ids"],
        **{side: reply.text for side, reply in trained.items()},
        **{f"{side}_from": sides[side]["from"] for side in sides},
        **{f"{side}_finish": finish for side, finish in finish_reasons(sides).items()},
        **{f"{side}_cut": reply.cut for side, reply in trained.items()},
        **{f"{side}_token_ids": reply.token_ids for side, reply in trained.items()},
        **{f"{side}_tokens": len(reply.token_ids) for side, reply in trained.items()},
        "alludes": hides_feedback(prompt, sides["chosen"], trained["chosen"]),
    }


def consistency(agreement: pl.DataFrame) -> pl.Expr:
    """The consistency of two rankings over a data set, 0 to 1: the mean of (tau + 1) / 2 over
    prompts (CREAM, arXiv 2410.12735, eq. 8); null without a second ranking. `agreement`:
    RankAgreement."""
    mean = agreement["tau"].mean()
    return pl.lit(None if mean is None else (mean + 1) / 2, pl.Float64)


def subset_of(
    pairs: pl.DataFrame, subset: Subset | None, fresh: FreshSettings | None = None
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """As many of `pairs` as training.pairs asks for, by a hash of their prompts and at the share of
    fresh ones, and Dropped of the others. All of them where there are fewer: `check_count` refuses
    these."""
    kept = pairs["pair_id"]
    if fresh:
        kept = pl.Series(at_share(kept, fresh), dtype=pl.String)
    wanted = kept if subset is None else pl.Series(picked_pairs(kept, subset, fresh), dtype=pl.String)
    reason = pl.when(pl.col("pair_id").is_in(kept.implode())).then(pl.lit(SPARE)).otherwise(pl.lit(BEYOND))
    is_kept = pl.col("pair_id").is_in(wanted.implode())
    spare = pairs.filter(~is_kept).select(prompt_id="pair_id", reason=reason, detail=pl.lit(None, pl.String))
    return pairs.filter(is_kept), spare


def picked_pairs(names: pl.Series, subset: Subset, fresh: FreshSettings | None) -> list[str]:
    """As many of the pairs as training.pairs asks for."""
    return at_share(names, fresh, subset.pairs) if fresh else picked(names, subset.pairs, subset.seed)


def check_count(pairs: pl.DataFrame, dropped: pl.DataFrame, settings: PairsSettings) -> None:
    """Raise StageError where no pair is left, or fewer than training.pairs asks for."""
    wanted = settings.subset.pairs if settings.subset else 1
    if pairs.height >= wanted:
        return
    prompts, commonest = pairs.height + dropped.height, next(iter(dropped["reason"].mode().sort()), "no training prompts")
    if commonest in RANKING:
        raise cli.StageError(
            f"{settings.lineage}: {pairs.height or 'no'} pairs of {prompts} training prompts; {RANKING[commonest]}"
        )
    raise cli.StageError(
        f"{settings.lineage}: {pairs.height or 'no'} pairs of {prompts} training prompts"
        + (f", and training.pairs asks for {wanted}" if settings.subset else "")
        + (f", {settings.fresh.share:.0%} of them of {', '.join(settings.fresh.sources)} (fresh)" if settings.fresh else "")
        + f"; the commonest reason is '{commonest}'. sampling.cut: prefix or a larger sampling.max_tokens help against replies "
        "that are too long, sampling.n against samples that fail a check, and more data (data.max_dsat, data.max_sat) against "
        "too few prompts" + ("; or lower training.pairs, for all methods alike" if settings.subset else "")
    )


def report(pairs: pl.DataFrame, failed: Counter) -> None:
    """Print what the tables do not show: every sample that was passed over."""
    print(f"{pairs.height} pairs; {failed.total()} candidates failed a check: {dict(failed)}")


def write_ledger(
    path: str, lineage: str, prompts: pl.DataFrame, pairs: pl.DataFrame, dropped: pl.DataFrame, undrawn: int | None = None
) -> None:
    """Write how many prompts became pairs, and what became of the others. `undrawn`: prompts that a
    share of fresh ones leaves out; None without a share."""
    book = LedgerBook(lineage, "pairs", "prompts", prompts.height)
    book.drop("test split", prompts.filter(split="test").height)
    if undrawn is not None:
        book.drop(UNDRAWN, undrawn)
    for reason in (*REASONS, *([BEYOND] if undrawn is not None else []), SPARE):
        book.drop(reason, dropped.filter(reason=reason).height)
    book.regroup("one pair per prompt", "pairs", pairs.height)
    write_table(book.table(), Ledger, path)


def main() -> None:
    command = cli.parser(__doc__, PairsSettings)
    command.add_argument("--prompts", required=True, help="table to read")
    command.add_argument("--policy", required=True, type=Path, help="folder with the model's tokenizer")
    command.add_argument("--requests", nargs="*", default=[], help="table of what was sampled")
    command.add_argument("--completions", nargs="*", default=[], help="shards of the answers")
    command.add_argument("--ranks", nargs="*", default=[], help="table with the scores of the sampled replies")
    command.add_argument("--agreement", nargs="*", default=[], help="table with the agreement of two rankings of them")
    cli.add_benchmarks(command, "pair")
    command.add_argument("--pairs", required=True, help="table to write")
    command.add_argument("--dropped", required=True, help="table to write")
    command.add_argument("--ledger", required=True, help="table to write")
    arguments = command.parse_args()
    settings: PairsSettings = arguments.settings

    prompts = read_table(Prompts, arguments.prompts)
    requests, completions = read_table(Requests, *arguments.requests), read_table(Completions, *arguments.completions)
    scores = dict(read_table(Ranks, *arguments.ranks).select("request_id", "score").iter_rows())
    tokenizer = load_tokenizer(arguments.policy)
    asked = drawn_prompts(prompts, settings.fresh)
    pairs, dropped, failed = make_pairs(asked, sampled_replies(requests, completions), tokenizer, settings, scores)
    pairs = pairs.with_columns(consistency=consistency(read_table(RankAgreement, *arguments.agreement)))
    if settings.subset or settings.fresh:
        pairs, spare = subset_of(pairs, settings.subset, settings.fresh)
        dropped = pl.concat([dropped, spare])
    report(pairs, failed)

    # Written even where no pair is left, so that the reasons can be read.
    write_table(dropped, Dropped, arguments.dropped)
    undrawn = prompts.height - asked.height if settings.fresh else None
    write_ledger(arguments.ledger, settings.lineage, prompts, pairs, dropped, undrawn)
    check_count(pairs, dropped, settings)
    check_decontaminated(pairs, "pair_id", {name: read_table(Tasks, path) for name, path in arguments.benchmark})
    write_table(pairs, Pairs, arguments.pairs)


if __name__ == "__main__":
    cli.run(main)
