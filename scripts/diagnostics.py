"""Measure what an iteration of training did to its pairs and to the policy.

Reads the iteration's Pairs, the reference's log-probabilities of them, fitted prompts with held-out rows, and the folders of three
policies: the trained one, the one that the iteration started from, and the one that the method started from. Writes Margins (per
pair), Gradients (per pair of a seeded sample) and Diagnostics, where each metric is given before and after the iteration:

    p_sigma_ge_TAU           P(E), E = {sigma(-s) >= TAU}: the share of pairs whose gradient still weighs at least TAU
    lemma1_bound_TAU         beta TAU P(E) E[||d|| | E] over the sample: the lower bound on pair_gradient_norm in Lemma 1 of DRIFT
                             (arXiv 2510.02341); d = grad log pi(y+|x) - grad log pi(y-|x). Absent where no pair is in E
    pair_gradient_norm       E ||grad loss||, the mean of the norms of single pairs' gradients (what Lemma 1 bounds)
    mean_gradient_norm       ||E grad loss||, the norm of their mean (what the optimizer follows); pairs that pull against each
                             other make it small while the former is not
    chosen_logp              mean log pi(y+|x); that both fall while the margin grows is likelihood displacement (Razin et al. 2024)
    rejected_logp            mean log pi(y-|x)
    chosen_logp_fell         share of pairs whose y+ is less likely than before the iteration (after only)
    chosen_tokens            mean length of y+, end of turn included (before only: it is the data's, not the policy's)
    rejected_tokens          mean length of y- (before only)
    kl_previous, kl_initial  mean over tokens of KL(pi(.|x, y<t) || pi'(.|x, y<t)), pi' the policy before the iteration and the one
                             that the method started from

The KL divergences are exact sums over the vocabulary at every position of logged held-out replies y (the per-step term of
the Rao-Blackwellised estimator of Amini, Vieira and Cotterell 2025, on given texts instead of samples): no sampling noise, and
the same contexts for all policies. They are not the divergence over sequences that a policy would write by itself.
"""

import hashlib
from pathlib import Path

import polars as pl
import torch
from transformers.utils.logging import disable_progress_bar

from drift import cli
from drift.chat import load_tokenizer, render_reply
from drift.progress import Progress
from drift.tables import Diagnostics, Gradients, Logps, Margins, Pairs, Prompts, read_table, write_table
from drift.training.logps import load, pair_logps, token_rows
from drift.training.reference_logps import score_pairs

THRESHOLDS = (0.05, 0.1, 0.25, 0.4, 0.5)
MOMENTS = {"before": "_before", "after": ""}


def margins(reference: dict, start: dict, policy: dict, beta: float) -> pl.DataFrame:
    """Margins of pair_id -> (chosen, rejected) log-probabilities under the reference, the start and the trained policy.

    s = beta [(log pi(y+|x) - log pi_ref(y+|x)) - (log pi(y-|x) - log pi_ref(y-|x))], the logit of the DPO loss (Rafailov et
    al. 2023, eq. 7); sigma(-s) weighs the pair in its gradient.
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
    for moment, name in (("_before", "start"), ("", "policy")):
        chosen = pl.col(f"{name}_chosen_logp") - pl.col("reference_chosen_logp")
        rejected = pl.col(f"{name}_rejected_logp") - pl.col("reference_rejected_logp")
        table = table.with_columns((beta * (chosen - rejected)).alias(f"s{moment}"))
        table = table.with_columns((1 / (1 + pl.col(f"s{moment}").exp())).alias(f"sigma_minus_s{moment}"))
    return table


def sample(rows: list[dict], count: int, seed: int) -> list[dict]:
    """`count` of `rows` (all, if there are fewer) by a hash of the seed and their `pair_id`: the same ones in whatever order."""
    return sorted(rows, key=lambda row: hashlib.blake2b(f"{seed}|{row['pair_id']}".encode()).digest())[:count]


def gradients(model, rows: list[dict], sigma: dict[str, float], beta: float) -> tuple[dict[str, float], float]:
    """||d|| of each row by pair_id, and ||mean of the rows' loss gradients||; `sigma` is sigma(-s) by pair_id.

    grad loss = -beta sigma(-s) d. Memory: the model, and its gradients once. Over all weights, the frozen ones of a policy
    that was trained with adapters included, so that policies can be compared.
    """
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    squares, weight = [], 1.0

    def weigh(gradient: torch.Tensor) -> torch.Tensor:
        """Called with the gradient of one backward pass, before it is added to that of the passes before."""
        squares.append(gradient.float().pow(2).sum())
        return gradient * weight

    hooks = [parameter.register_hook(weigh) for parameter in parameters]
    norms = {}
    for row in Progress(rows, desc="gradients", unit="pair"):
        squares.clear()
        weight = beta * sigma[row["pair_id"]] / len(rows)
        chosen, rejected = pair_logps(model, row)
        (rejected - chosen).backward()
        norms[row["pair_id"]] = torch.stack(squares).sum().sqrt().item()
    for hook in hooks:
        hook.remove()
    total = sum(parameter.grad.float().pow(2).sum().item() for parameter in parameters if parameter.grad is not None)
    return norms, total**0.5


@torch.no_grad()
def kl(policy, other, rows: list[dict]) -> float:
    """Mean over the tokens of all rows' `reply_ids` of KL(policy || other) of the next token, nats; see the top of this file."""
    total, tokens = 0.0, 0
    for row in Progress(rows, desc="KL", unit="reply"):
        keep = len(row["reply_ids"]) + 1
        ours, theirs = (
            model(torch.tensor([row["prompt_ids"] + row["reply_ids"]], device=model.device), logits_to_keep=keep)
            .logits[0, :-1]
            .float()
            .log_softmax(-1)
            for model in (policy, other)
        )
        theirs = theirs.to(ours.device)
        total += (ours.exp() * (ours - theirs)).sum().item()
        tokens += keep - 1
    return total / tokens


def summary(table: pl.DataFrame, pairs: pl.DataFrame, norms: pl.DataFrame, means: dict[str, float], beta: float) -> list[dict]:
    """Diagnostics of Margins, Pairs, Gradients and ||E grad loss|| by moment; all but the KL divergences."""
    rows = []

    def add(metric: str, moment: str, value: float, n: int) -> None:
        rows.append({"metric": metric, "moment": moment, "value": value, "n": n})

    for moment, suffix in MOMENTS.items():
        name = "start" if moment == "before" else "policy"
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
    fell = table["policy_chosen_logp"] < table["start_chosen_logp"]
    add("chosen_logp_fell", "after", fell.mean(), table.height)
    for side in ("chosen", "rejected"):
        add(f"{side}_tokens", "before", pairs[f"{side}_tokens"].mean(), pairs.height)
    return rows


def main() -> None:
    command = cli.parser(__doc__)
    command.add_argument("--pairs", required=True)
    command.add_argument("--reference-logps", required=True, help="Logps of the pairs, as training used them")
    command.add_argument("--heldout", required=True, help="fitted prompts; their test rows with a logged reply are read")
    command.add_argument(
        "--policies", required=True, nargs=3, type=Path, help="folders: trained, before the iteration, initial"
    )
    command.add_argument("--margins", required=True, help="table to write")
    command.add_argument("--gradients", required=True, help="table to write")
    command.add_argument("--diagnostics", required=True, help="table to write")
    arguments = command.parse_args()
    settings, training = arguments.settings, arguments.settings["training"]
    trained, start, initial = arguments.policies
    disable_progress_bar()

    pairs = read_table(Pairs, arguments.pairs)
    tokenizer = load_tokenizer(trained)
    pad_token_id = tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
    rows = token_rows(pairs.iter_rows(named=True), tokenizer)
    reference = {row[0]: row[1:] for row in read_table(Logps, arguments.reference_logps).iter_rows()}
    after = score_pairs(trained, rows, training, pad_token_id, "after the iteration")
    before = reference
    if settings["reference"] == "initial" and start != initial:
        before = score_pairs(start, rows, training, pad_token_id, "before the iteration")
    table = margins(reference, before, after, training["beta"])

    norms, means, sampled = [], {}, sample(rows, settings["pairs"], settings["seed"])
    for moment, suffix in MOMENTS.items() if sampled else ():
        sigma = dict(table.select("pair_id", f"sigma_minus_s{suffix}").iter_rows())
        found, means[moment] = gradients(load(start if moment == "before" else trained), sampled, sigma, training["beta"])
        norms += [(pair_id, moment, norm, training["beta"] * sigma[pair_id] * norm) for pair_id, norm in found.items()]
    norms = pl.DataFrame(norms, schema=Gradients.create_empty().schema, orient="row")
    metrics = summary(table, pairs, norms, means, training["beta"])

    heldout = [
        {
            "pair_id": row["prompt_id"],
            "prompt_ids": row["prompt_token_ids"],
            "reply_ids": render_reply(tokenizer, row["prompt"], row["rejected"]),
        }
        for row in read_table(Prompts, arguments.heldout).filter(split="test").iter_rows(named=True)
    ]
    heldout = sample([row for row in heldout if row["reply_ids"]], settings["prompts"], settings["seed"])
    if heldout:
        policy = load(trained)
        for metric, other in (("kl_previous", start), ("kl_initial", initial)):
            value = metrics[-1]["value"] if metric == "kl_initial" and initial == start else kl(policy, load(other, 1), heldout)
            metrics.append({"metric": metric, "moment": "after", "value": value, "n": len(heldout)})
    write_table(table, Margins, arguments.margins)
    write_table(norms, Gradients, arguments.gradients)
    write_table(pl.DataFrame(metrics), Diagnostics, arguments.diagnostics)


if __name__ == "__main__":
    cli.run(main)
