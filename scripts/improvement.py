"""Ask of an iteration whether what its pairs teach is what its users want, where code can check it.

Reads:  the iteration's Pairs (--pairs), and how many of its prompts' checks each side keeps, as
        Ranks (--ratings; none where no ranker of kind checks rates pairs); a benchmark's Requests
        (--requests); the Responses and Checks of the policy that the iteration started from
        (--responses, --checks) and the Checks of the one that it made (--checks-after); the folders
        of both, the latter first (--policies), and their remainders (--remainders, none of a base
        model).
Writes: Improvement (--improvement). J is the pass rate of the benchmark, the mean of the directions
        of length:

    p_imp, p_tie, p_worse   share of the pairs whose y+ keeps more checks than y-, as many, fewer
    measured_gain           J of the policy less J of the policy before
    predicted_gain          <grad J, w' - w>, the linear term of the gain; w and w' are the weights
                            before and after
    lambda_imp              <grad J, mean d> over a sample of the pairs of p_imp, where d = grad log
                            pi(y+|x) - grad log pi(y-|x): how fast J would rise on a step on their
                            margins alone. Theorem 1 of DRIFT (arXiv 2510.02341) takes it to be
                            positive
    lambda_rest             the same of the other pairs

grad J is the expectation of (u - b) grad log pi(y|x) over answers y of the policy before (Williams
1992), u being whether an answer keeps a check and b how many of the answers to other prompts keep
that check. So its product with a direction is a mean over answers, with a bootstrap interval over
prompts. pi is the policy as it was trained, at the temperature of the answers; that these are drawn
in bf16, and within top_p, is left out. Greedy answers have no grad J, and no predictions.
"""

import _python  # noqa: F401 - before what may be missing
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from transformers.utils.logging import disable_progress_bar

from drift import cli
from drift.chat import end_of_turn, load_tokenizer, render_reply, whole_characters, without_end
from drift.judging.candidates import differences
from drift.metrics import check_metrics, resampling
from drift.metrics.resampling import Bounded
from drift.seeds import picked
from drift.settings.training import ImprovementSettings
from drift.tables import Checks, Improvement, Pairs, Ranks, Requests, Responses, read_table, write_table
from drift.training import directional
from drift.training.logps import load, token_rows

ANSWER = ["prompt_id", "sample"]
# Resamples behind the intervals. Not those of the scores: another number of these should measure
# nothing again.
RESAMPLES = 1000
# By the sign of the difference that y+ makes, the name of its share.
SHARES = {1.0: "p_imp", 0.0: "p_tie", -1.0: "p_worse"}


def advantages(checks: pl.DataFrame) -> pl.DataFrame:
    """Checks with the column `advantage`, u - b: whether an answer keeps a check, less the share of
    the answers to other prompts that keep it. 0 where no other prompt has the check: nothing is
    known of it."""
    passed = pl.col("passed").cast(pl.Float64)
    others = pl.len().over("check") - pl.len().over("check", "prompt_id")
    kept = passed.sum().over("check") - passed.sum().over("check", "prompt_id")
    return checks.with_columns(advantage=pl.when(others > 0).then(passed - kept / others).otherwise(0.0))


def answers(requests: pl.DataFrame, responses: pl.DataFrame, tokenizer, count: int, seed: int) -> pl.DataFrame:
    """`count` of the answers (all, if there are fewer), a seeded sample: prompt_id, sample, and the
    token ids of prompt and reply. Empty ones, and those that share a token with their prompt, are
    left out."""
    asked = requests.select(*ANSWER, "messages", "prompt_token_ids")
    end, rows = end_of_turn(tokenizer), []
    for row in responses.join(asked, on=ANSWER, validate="1:1").sort(ANSWER).iter_rows(named=True):
        text, ended = row["response"], row["finish_reason"] != "length"
        text = text if ended else whole_characters(text)
        ids = render_reply(tokenizer, row["messages"], text, row["prompt_token_ids"])
        if ids:
            # What was sampled: without what the template has after the end of a turn.
            ids = without_end(ids, end) + ([end] if ended else [])
        if ids and text.strip():
            rows.append({name: row[name] for name in ANSWER} | {"prompt_ids": row["prompt_token_ids"], "reply_ids": ids})
    by_name = {f"{row['prompt_id']}#{row['sample']}": row for row in rows}
    schema = {"prompt_id": pl.String, "sample": pl.Int32, "prompt_ids": pl.List(pl.Int32), "reply_ids": pl.List(pl.Int32)}
    return pl.DataFrame([by_name[name] for name in picked(by_name, count, seed)], schema=schema)


@dataclass(frozen=True)
class Slope:
    """grad J, as the answers of a policy estimate it."""

    model: object
    rows: pl.DataFrame  # of `answers`
    checks: pl.DataFrame  # of `advantages`, of all answers
    settings: ImprovementSettings

    def along(self, point: Callable[[], None]) -> Bounded:
        """Its product with the direction that `point` leaves in the weights' gradients."""
        point()
        replies = list(self.rows.select("prompt_ids", "reply_ids").iter_rows())
        slopes = directional.derivatives(self.model, replies, self.settings.temperature)
        of_answer = self.rows.select(ANSWER).with_columns(slope=pl.Series(slopes, dtype=pl.Float64))
        found = self.checks.join(of_answer, on=ANSWER, maintain_order="left")
        statistic = check_metrics.balanced(found, found["advantage"] * found["slope"])
        return resampling.bounded(statistic, RESAMPLES, self.settings.seed)


def measured_gain(before: pl.DataFrame, after: pl.DataFrame, seed: int) -> Bounded:
    """How much J rose, by the Checks of two policies."""
    both = resampling.shared(*(check_metrics.balanced(checks, checks["passed"].cast(pl.Float64)) for checks in (after, before)))
    drawn = [resampling.bootstrap(one, RESAMPLES, seed) for one in both]
    ends = resampling.interval(drawn[0] - drawn[1], len(both[0].keys))
    return Bounded(both[0].value() - both[1].value(), *(ends or (None, None)), len(both[0].keys))


def shares(signs: pl.DataFrame, seed: int) -> dict[str, Bounded]:
    """The shares of pairs by which side keeps more."""
    return {
        name: resampling.bounded(resampling.mean(signs["pair_id"], signs["sign"] == sign), RESAMPLES, seed)
        for sign, name in SHARES.items()
    }


def predictions(slope: Slope, pairs: pl.DataFrame, signs: pl.DataFrame, after: tuple[Path, Path | None]) -> dict[str, Bounded]:
    """What grad J says of the update, and of a sample of the pairs with a sign."""
    found = {"predicted_gain": slope.along(lambda: directional.towards_policy(slope.model, *after))}
    rows, settings = token_rows(pairs), slope.settings
    for name, members in (("lambda_imp", signs.filter(pl.col("sign") > 0)), ("lambda_rest", signs.filter(pl.col("sign") <= 0))):
        chosen = set(picked(members["pair_id"], settings.pairs, settings.seed))
        if sampled := [row for row in rows if row["pair_id"] in chosen]:
            found[name] = slope.along(lambda sampled=sampled: directional.towards_pairs(slope.model, sampled))
    return found


def main() -> None:
    command = cli.parser(__doc__, ImprovementSettings)
    command.add_argument("--pairs", required=True, help="table to read")
    command.add_argument("--ratings", nargs="*", default=[], help="Ranks of both sides of the pairs")
    command.add_argument("--requests", required=True, help="Requests of the benchmark")
    command.add_argument("--responses", required=True, help="Responses of the policy before")
    command.add_argument("--checks", required=True, help="Checks of these")
    command.add_argument("--checks-after", required=True, help="Checks of the policy's own answers")
    command.add_argument("--policies", required=True, nargs=2, type=Path, help="folders: trained, before the iteration")
    command.add_argument("--remainders", nargs="*", default=[], type=Path, help="folders of both's, if they have any")
    command.add_argument("--improvement", required=True, help="table to write")
    arguments = command.parse_args()
    settings: ImprovementSettings = arguments.settings
    disable_progress_bar()

    checks, after = (read_table(Checks, path) for path in (arguments.checks, arguments.checks_after))
    signs = differences(read_table(Ranks, *arguments.ratings)) if arguments.ratings else None
    found = shares(signs, settings.seed) if signs is not None else {}
    found["measured_gain"] = measured_gain(checks, after, settings.seed)
    if settings.answers and settings.temperature:
        trained, before = arguments.policies
        remainders = [*arguments.remainders, None, None]
        requests, responses = read_table(Requests, arguments.requests), read_table(Responses, arguments.responses)
        rows = answers(requests, responses, load_tokenizer(before), settings.answers, settings.seed)
        if rows.is_empty():
            print("no answer of the policy before the iteration has a word: there are no predictions")
        else:
            slope = Slope(load(before, remainders[1], backward=True), rows, advantages(checks), settings)
            none = pl.DataFrame(schema={"pair_id": pl.String, "sign": pl.Float64})
            pairs = read_table(Pairs, arguments.pairs)
            found |= predictions(slope, pairs, none if signs is None else signs, (trained, remainders[0]))
    table = [{"metric": metric} | vars(estimate) for metric, estimate in found.items()]
    print("\n".join(f"{row['metric']}: {row['value']:.4f}" for row in table))
    write_table(pl.DataFrame(table, schema=Improvement.create_empty().schema), Improvement, arguments.improvement)


if __name__ == "__main__":
    cli.run(main)
