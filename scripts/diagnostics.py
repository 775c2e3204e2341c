"""Measure what an iteration of training did to its pairs and to the policy.

Reads:  the iteration's Pairs (--pairs), the reference's log-probabilities of them
        (--reference-logps), fitted prompts with held-out rows (--heldout), and the folders of three
        policies (--policies): the trained one, the one that the iteration started from, and the one
        that the method started from; remainders of the first two (--remainders, the latter none of
        a base model).
Writes: Margins, per pair (--margins); Gradients, per pair of a seeded sample (--gradients);
        Diagnostics (--diagnostics), where each metric is given before and after the iteration:

    p_sigma_ge_TAU           P(E), E = {sigma(-s) >= TAU}: the share of pairs whose gradient still
                             has a weight of at least TAU
    lemma1_bound_TAU         beta TAU P(E) E[||d|| | E] over the sample: the lower bound on
                             pair_gradient_norm in Lemma 1 of DRIFT (arXiv 2510.02341); d = grad log
                             pi(y+|x) - grad log pi(y-|x). Absent where no pair is in E
    pair_gradient_norm       E ||grad loss||, the mean of the norms of single pairs' gradients (what
                             Lemma 1 bounds)
    mean_gradient_norm       ||E grad loss||, the norm of their mean (what the optimizer follows);
                             pairs that pull against each other make it small while the former is
                             not
    chosen_logp              mean log pi(y+|x); that both fall while the margin grows is likelihood
                             displacement (Razin et al. 2024)
    rejected_logp            mean log pi(y-|x)
    chosen_logp_fell         share of pairs whose y+ is less likely than before the iteration (after
                             only)
    chosen_tokens            mean length of y+, end of turn included (before only: it is a property
                             of the data, not of the policy)
    rejected_tokens          mean length of y- (before only)
    kl_previous, kl_initial  mean over tokens of KL(pi(.|x, y<t) || pi'(.|x, y<t)), pi' the policy
                             before the iteration and the one that the method started from

Margins, log-probabilities and gradients are of the policies as they were trained, in fp32: of a
small step bf16 may show little (policies.served_share). The divergences are of the policies as they
are served, in bf16, which is what answers benchmarks and is sampled.

The KL divergences are exact sums over the vocabulary at every position of logged held-out replies y
(the per-step term of the Rao-Blackwellised estimator of Amini, Vieira and Cotterell 2025, on given
texts instead of samples): no sampling noise, and the same contexts for all policies. They are not
the divergence over sequences that a policy would sample by itself.
"""

from pathlib import Path
from typing import TypedDict

import polars as pl
import torch
from transformers.utils.logging import disable_progress_bar

from drift import cli
from drift.chat import load_tokenizer, pad_token_id, render_reply
from drift.progress import Progress
from drift.seeds import sample
from drift.settings.training import DiagnosticsSettings
from drift.tables import Diagnostics, Gradients, Margins, Pairs, Prompts, read_table, write_table
from drift.training.logps import PairLogps, PairTokens, load, pair_logps, read_logps, token_rows
from drift.training.reference_logps import score_pairs

THRESHOLDS = (0.05, 0.1, 0.25, 0.4, 0.5)
# By moment: which policy it is in the columns of Margins, and the suffix of its other columns.
MOMENTS = {"before": ("start", "_before"), "after": ("policy", "")}


class ReplyTokens(TypedDict):
    """A held-out prompt and its logged reply as token ids."""

    pair_id: str
    prompt_ids: list[int]
    reply_ids: list[int]


def margins(reference: PairLogps, start: PairLogps, policy: PairLogps, beta: float) -> pl.DataFrame:
    """Margins by the log-probabilities under the reference, the start and the trained policy.

    s = beta [(log pi(y+|x) - log pi_ref(y+|x)) - (log pi(y-|x) - log pi_ref(y-|x))], the logit of
    the DPO loss (Rafailov et al. 2023, eq. 7); sigma(-s) is the weight of the pair's gradient.
    """
    table = pl.DataFrame(
        {
            "pair_id": list(policy),
            **{
                f"{name}_{side}_logp": [logps[pair_id][i] for pair_id in policy]
                for name, logps in (("reference", reference), ("start", start), ("policy", policy))
                for i, side in enumerate(("chosen", "rejected"))
            },
        }
    )
    for name, suffix in MOMENTS.values():
        chosen = pl.col(f"{name}_chosen_logp") - pl.col("reference_chosen_logp")
        rejected = pl.col(f"{name}_rejected_logp") - pl.col("reference_rejected_logp")
        table = table.with_columns((beta * (chosen - rejected)).alias(f"s{suffix}"))
        table = table.with_columns((1 / (1 + pl.col(f"s{suffix}").exp())).alias(f"sigma_minus_s{suffix}"))
    return table


def gradients(model, rows: list[PairTokens], sigma: dict[str, float], beta: float) -> tuple[dict[str, float], float]:
    """||d|| of each row by pair_id, and ||mean of the rows' loss gradients||; `sigma` is sigma(-s)
    by pair_id.

    grad loss = -beta sigma(-s) d. Memory: the model, and its gradients once. Over all weights, the
    frozen ones of a policy that was trained with adapters included, so that policies can be
    compared.
    """
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    squares: list[torch.Tensor] = []
    weight = 1.0

    # A backward pass of log pi(y-|x) - log pi(y+|x) gives -d. Both norms need it, weighted
    # differently: alone for ||d||, times beta sigma(-s) / rows in the mean. The hook sees each
    # parameter's part of it before autograd adds it to .grad, so it can take the squared norm of
    # the one and scale it for the other.
    def measure_and_scale(gradient: torch.Tensor) -> torch.Tensor:
        squares.append(gradient.float().pow(2).sum())
        return gradient * weight

    hooks = [parameter.register_hook(measure_and_scale) for parameter in parameters]
    norms = {}
    for row in Progress(rows, desc="gradients", unit="pair"):
        squares.clear()
        weight = beta * sigma[row["pair_id"]] / len(rows)
        chosen, rejected = pair_logps(model, row)
        (rejected - chosen).backward()
        # The squared norm of a gradient is the sum of those of its parts, one a parameter.
        norms[row["pair_id"]] = torch.stack(squares).sum().sqrt().item()
    for hook in hooks:
        hook.remove()
    # .grad has accumulated the mean over all rows.
    total = sum(parameter.grad.float().pow(2).sum().item() for parameter in parameters if parameter.grad is not None)
    return norms, total**0.5


@torch.no_grad()
def kl(policy, other, rows: list[ReplyTokens]) -> float:
    """Mean over the tokens of all rows' `reply_ids` of KL(policy || other) of the next token, in
    nats; see the top of this file."""
    total, tokens = 0.0, 0
    for row in Progress(rows, desc="KL", unit="reply"):
        # The logits at position t predict token t+1: those of the last prompt token and of the
        # reply's but its last are needed, so one more than the reply is kept and the last dropped.
        keep = len(row["reply_ids"]) + 1
        # Two tables of log-probabilities, reply tokens x vocabulary.
        ours, theirs = (
            model(torch.tensor([row["prompt_ids"] + row["reply_ids"]], device=model.device), logits_to_keep=keep)
            .logits[0, :-1]
            .float()
            .log_softmax(-1)
            for model in (policy, other)
        )
        theirs = theirs.to(ours.device)
        # sum over tokens and vocabulary of p (log p - log q)
        total += (ours.exp() * (ours - theirs)).sum().item()
        tokens += keep - 1
    return total / tokens


def gradient_norms(
    folders: dict[str, tuple[Path, Path | None]], table: pl.DataFrame, rows: list[PairTokens], beta: float
) -> tuple[pl.DataFrame, dict[str, float]]:
    """Gradients of `rows`, and ||E grad loss|| by moment; `folders` of the policies and of their
    remainders by moment, `table` is their Margins. Both are empty without rows."""
    norms, means = [], {}
    for moment, stored in folders.items() if rows else ():
        _, suffix = MOMENTS[moment]
        sigma = dict(table.select("pair_id", f"sigma_minus_s{suffix}").iter_rows())
        by_pair, means[moment] = gradients(load(*stored), rows, sigma, beta)
        norms += [(pair_id, moment, norm, beta * sigma[pair_id] * norm) for pair_id, norm in by_pair.items()]
    return pl.DataFrame(norms, schema=Gradients.create_empty().schema, orient="row"), means


def heldout_replies(prompts: pl.DataFrame, tokenizer) -> list[ReplyTokens]:
    """The logged replies that disappointed, to the prompts of the test split; those that share a
    token with their prompt are left out."""
    rows = []
    for row in prompts.filter(split="test").iter_rows(named=True):
        if ids := render_reply(tokenizer, row["prompt"], row["rejected"]):
            rows.append(ReplyTokens(pair_id=row["prompt_id"], prompt_ids=row["prompt_token_ids"], reply_ids=ids))
    return rows


def divergences(trained: Path, start: Path, initial: Path, rows: list[ReplyTokens]) -> list[dict]:
    """Diagnostics of the KL divergences; none without rows."""
    if not rows:
        return []
    policy = load(trained)
    previous = kl(policy, load(start, number=1), rows)
    values = {
        "kl_previous": previous,
        "kl_initial": previous if initial == start else kl(policy, load(initial, number=1), rows),
    }
    return [{"metric": metric, "moment": "after", "value": value, "n": len(rows)} for metric, value in values.items()]


def summary(table: pl.DataFrame, pairs: pl.DataFrame, norms: pl.DataFrame, means: dict[str, float], beta: float) -> list[dict]:
    """Diagnostics of Margins, Pairs, Gradients and ||E grad loss|| by moment; all but the KL
    divergences."""
    rows = []

    def add(metric: str, moment: str, value: float, n: int) -> None:
        rows.append({"metric": metric, "moment": moment, "value": value, "n": n})

    for moment, (name, suffix) in MOMENTS.items():
        sigma = table[f"sigma_minus_s{suffix}"]
        sampled = norms.filter(moment=moment).join(table.select("pair_id", sigma=f"sigma_minus_s{suffix}"), on="pair_id")
        for tau in THRESHOLDS:
            add(f"p_sigma_ge_{tau}", moment, (sigma >= tau).mean(), table.height)
            event = sampled.filter(pl.col("sigma") >= tau)
            if event.height:
                bound = beta * tau * event.height / sampled.height * event["d_norm"].mean()
                add(f"lemma1_bound_{tau}", moment, bound, sampled.height)
        for side in ("chosen", "rejected"):
            add(f"{side}_logp", moment, table[f"{name}_{side}_logp"].mean(), table.height)
        if sampled.height:
            add("pair_gradient_norm", moment, sampled["gradient_norm"].mean(), sampled.height)
            add("mean_gradient_norm", moment, means[moment], sampled.height)
    less_likely = table["policy_chosen_logp"] < table["start_chosen_logp"]
    add("chosen_logp_fell", "after", less_likely.mean(), table.height)
    for side in ("chosen", "rejected"):
        add(f"{side}_tokens", "before", pairs[f"{side}_tokens"].mean(), pairs.height)
    return rows


def main() -> None:
    command = cli.parser(__doc__, DiagnosticsSettings)
    command.add_argument("--pairs", required=True, help="table to read")
    command.add_argument("--reference-logps", required=True, help="Logps of the pairs, as training used them")
    command.add_argument("--heldout", required=True, help="fitted prompts; their test rows with a logged reply are read")
    command.add_argument(
        "--policies", required=True, nargs=3, type=Path, help="folders: trained, before the iteration, initial"
    )
    command.add_argument("--remainders", nargs="*", default=[], type=Path, help="folders of the first two's, if they have any")
    command.add_argument("--margins", required=True, help="table to write")
    command.add_argument("--gradients", required=True, help="table to write")
    command.add_argument("--diagnostics", required=True, help="table to write")
    arguments = command.parse_args()
    settings: DiagnosticsSettings = arguments.settings
    training = settings.training
    trained, start, initial = arguments.policies
    disable_progress_bar()

    pairs, tokenizer = read_table(Pairs, arguments.pairs), load_tokenizer(trained)
    rows, pad = token_rows(pairs), pad_token_id(tokenizer)
    reference = read_logps(arguments.reference_logps)
    remainders = [*arguments.remainders, None, None]
    after_stored, before_stored = (trained, remainders[0]), (start, remainders[1])
    after = score_pairs(*after_stored, rows, training, pad, "after the iteration")
    before = reference
    if settings.reference == "initial" and start != initial:
        before = score_pairs(*before_stored, rows, training, pad, "before the iteration")
    table = margins(reference, before, after, training.beta)

    sampled = sample(rows, settings.pairs, settings.seed)
    norms, means = gradient_norms({"before": before_stored, "after": after_stored}, table, sampled, training.beta)
    heldout = heldout_replies(read_table(Prompts, arguments.heldout), tokenizer)
    metrics = summary(table, pairs, norms, means, training.beta)
    metrics += divergences(trained, start, initial, sample(heldout, settings.prompts, settings.seed))
    write_table(table, Margins, arguments.margins)
    write_table(norms, Gradients, arguments.gradients)
    write_table(pl.DataFrame(metrics), Diagnostics, arguments.diagnostics)


if __name__ == "__main__":
    cli.run(main)
