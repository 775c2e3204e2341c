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
                             pi(y+|x) - grad log pi(y-|x). Absent where no pair is in E. Where s is
                             0 for all pairs, as at the start of an iteration from its reference,
                             the bound at 0.5 is pair_gradient_norm itself, for every method
    pair_gradient_norm       E ||grad loss||, the mean of the norms of single pairs' gradients (what
                             Lemma 1 bounds; pairs that cancel out do not make it small)
    mean_gradient_norm_squared  ||E grad loss||^2, of the gradient that the optimizer follows:
                             without bias, so that it may be below 0
    gradient_signal_to_noise ||E grad loss||^2 over the trace of the covariance of single pairs'
                             gradients (both: drift/metrics/gradient_signal.py)
    chosen_logp              mean log pi(y+|x); that both fall while the margin grows is likelihood
                             displacement (Razin et al. 2024)
    rejected_logp            mean log pi(y-|x)
    chosen_logp_fell         share of pairs whose y+ is less likely than before the iteration (after
                             only)
    chosen_tokens            mean length of y+, end of turn included (before only: it is a property
                             of the data, not of the policy)
    rejected_tokens          mean length of y- (before only)
    kl_previous, kl_initial  KL(pi(.|x, y<t) || pi'(.|x, y<t)), mean over the tokens of each reply y
                             that the trained policy pi itself sampled to a held-out prompt, then
                             over replies; pi' is the policy before the iteration and the one that
                             the method started from
    kl_logged_previous, kl_logged_initial  the same along logged replies that disappointed: the
                             same contexts for all policies, but texts that some methods push down
                             and others never see

Gradients are of the policies as they were trained, in fp32. Margins and log-probabilities are what
the trainer's own arithmetic makes of them: with training.precision: bf16 it rounds the matrices
that it multiplies, and with adapters the policy is read as it is served, so that little of a small
step may show (policies.served_share). The divergences are of the policies as they are served, in
bf16, which is what answers benchmarks and is sampled.

Divergences are exact sums over the vocabulary at every position. Own replies are cut at max_tokens.
Their interval is a bootstrap over clusters of prompts, that of the gradients a jackknife over
pairs.
"""

import _python  # noqa: F401 - before what may be missing
import math
from functools import partial
from pathlib import Path

import polars as pl
import torch
from transformers.utils.logging import disable_progress_bar

from drift import cli
from drift.chat import load_tokenizer, render_reply
from drift.metrics import gradient_signal, resampling
from drift.metrics.resampling import Bounded, Clusters
from drift.progress import Progress
from drift.seeds import picked
from drift.settings.training import DiagnosticsSettings
from drift.tables import Diagnostics, Gradients, Margins, Pairs, Prompts, read_table, write_table
from drift.training.divergences import ReplyTokens, divergences, own_replies
from drift.training.logps import PairLogps, PairTokens, load, pair_logps, read_logps, token_rows
from drift.training.reference_logps import score_pairs

THRESHOLDS = (0.05, 0.1, 0.25, 0.4, 0.5)
# By moment: which policy it is in the columns of Margins, and the suffix of its other columns.
MOMENTS = {"before": ("start", "_before"), "after": ("policy", "")}
# Resamples behind the intervals of the divergences. Not those of the scores: another number of
# these should measure nothing again.
RESAMPLES = 1000


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


def gradients(model, rows: list[PairTokens], sigma: dict[str, float], beta: float) -> dict[str, tuple[float, float | None]]:
    """Of each row, by pair_id, ||d|| and the mean inner product of its loss gradient with those of
    the other rows (None for a single one); `sigma` is sigma(-s) by pair_id.

    grad loss = -beta sigma(-s) d. Over all weights, the frozen ones of a policy that was trained
    with adapters included, so that policies can be compared. A first pass over the rows sums their
    gradients, a second one multiplies each with the sum of the others: exact, and the memory is
    that of the model and of its gradients once, however many rows there are. Two rows need no
    second pass.
    """
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    found: list[torch.Tensor] = []
    weight = 1.0

    # A backward pass of log pi(y-|x) - log pi(y+|x) gives -d. The hooks see each parameter's part
    # of it before autograd adds it to .grad.
    def sum_up(parameter: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
        found.append(gradient.float().pow(2).sum(dtype=torch.float64))
        return gradient * weight

    def multiply(parameter: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
        own = gradient * weight
        found.append((own * (parameter.grad - own)).float().sum(dtype=torch.float64))
        return torch.zeros_like(gradient)  # .grad stays the sum

    def one_pass(hook, what: str) -> dict[str, float]:
        nonlocal weight
        hooks = [parameter.register_hook(partial(hook, parameter)) for parameter in parameters]
        sums = {}
        for row in Progress(rows, desc=what, unit="pair"):
            found.clear()
            weight = beta * sigma[row["pair_id"]]
            chosen, rejected = pair_logps(model, row)
            (rejected - chosen).backward()
            # A product of two gradients is the sum of those of their parts, one a parameter.
            sums[row["pair_id"]] = torch.stack(found).sum().item()
        for handle in hooks:
            handle.remove()
        return sums

    norms = {pair_id: square**0.5 for pair_id, square in one_pass(sum_up, "gradients").items()}
    if len(rows) > 2:
        products = one_pass(multiply, "products of gradients")
        return {pair_id: (norm, products[pair_id] / (len(rows) - 1)) for pair_id, norm in norms.items()}
    whole = sum(float(one.grad.float().pow(2).sum(dtype=torch.float64)) for one in parameters if one.grad is not None)
    squares = sum((beta * sigma[pair_id] * norm) ** 2 for pair_id, norm in norms.items())
    # ||a + b||^2 = ||a||^2 + ||b||^2 + 2 a . b
    product = (whole - squares) / 2 if len(rows) == 2 else None
    return {pair_id: (norm, product) for pair_id, norm in norms.items()}


def gradient_table(
    folders: dict[str, tuple[Path, Path | None]], table: pl.DataFrame, rows: list[PairTokens], beta: float
) -> pl.DataFrame:
    """Gradients of `rows`, empty without any; `folders` of the policies and of their remainders by
    moment, `table` is their Margins."""
    found = []
    for moment, stored in folders.items() if rows else ():
        _, suffix = MOMENTS[moment]
        sigma = dict(table.select("pair_id", f"sigma_minus_s{suffix}").iter_rows())
        # No name holds the model, so that it is gone before the next one is loaded.
        for pair_id, (norm, product) in gradients(load(*stored, backward=True), rows, sigma, beta).items():
            found.append((pair_id, moment, norm, beta * sigma[pair_id] * norm, product))
    return pl.DataFrame(found, schema=Gradients.create_empty().schema, orient="row")


def sample(rows: list, key: str, count: int, seed: int) -> list:
    """`count` of `rows` (all, if there are fewer), a seeded sample by their `key`."""
    by_name = {row[key]: row for row in rows}
    return [by_name[name] for name in picked(by_name, count, seed)]


def heldout_replies(prompts: pl.DataFrame, tokenizer) -> list[ReplyTokens]:
    """The logged replies that disappointed, to the prompts of the test split; those that share a
    token with their prompt are left out."""
    rows = []
    for row in prompts.filter(split="test").iter_rows(named=True):
        if ids := render_reply(tokenizer, row["prompt"], row["rejected"]):
            rows.append(ReplyTokens(prompt_id=row["prompt_id"], prompt_ids=row["prompt_token_ids"], reply_ids=ids))
    return rows


def distances(folders: list[Path], logged: list[ReplyTokens], clusters: Clusters, settings: DiagnosticsSettings) -> list[dict]:
    """Diagnostics of the KL divergences, along own replies and along the `logged` ones; none
    without these. `folders`: of the trained, the previous and the initial policy; `clusters` of the
    prompts."""
    if not logged:
        return []
    trained, start, initial = folders
    own = own_replies(trained, logged, settings.max_tokens, settings.seed)
    policy, measured = load(trained), {}
    for name, folder in {"previous": start, "initial": initial}.items():
        if name == "initial" and initial == start:
            measured |= {metric.replace("previous", name): values for metric, values in measured.items()}
            continue
        other = load(folder, number=1)
        for metric, replies in {f"kl_{name}": own, f"kl_logged_{name}": logged}.items():
            measured[metric] = divergences(policy, other, replies)
        del other  # before the next one is loaded
    prompts = [row["prompt_id"] for row in logged]
    return [
        row(metric, "after", resampling.bounded_mean(prompts, values, clusters, RESAMPLES, settings.seed))
        for metric, values in measured.items()
    ]


def row(metric: str, moment: str, estimate: Bounded) -> dict:
    """A row of Diagnostics."""
    return {"metric": metric, "moment": moment} | vars(estimate)


def summary(table: pl.DataFrame, pairs: pl.DataFrame, norms: pl.DataFrame, beta: float) -> list[dict]:
    """Diagnostics of Margins, Pairs and Gradients: all but the KL divergences."""
    rows = []

    def add(metric: str, moment: str, value: float, n: int) -> None:
        rows.append(row(metric, moment, Bounded(value, None, None, n)))

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
        rows += [row(metric, moment, estimate) for metric, estimate in signal(sampled).items()]
    less_likely = table["policy_chosen_logp"] < table["start_chosen_logp"]
    add("chosen_logp_fell", "after", less_likely.mean(), table.height)
    for side in ("chosen", "rejected"):
        add(f"{side}_tokens", "before", pairs[f"{side}_tokens"].mean(), pairs.height)
    return rows


def signal(sampled: pl.DataFrame) -> dict[str, Bounded]:
    """What the gradients of one moment have in common, by metric; none of fewer than two pairs."""
    if sampled.height < 2:
        return {}
    products, squares = sampled["mean_product"].to_numpy(), sampled["gradient_norm"].to_numpy() ** 2
    estimates = {
        "mean_gradient_norm_squared": gradient_signal.norm_squared(products),
        "gradient_signal_to_noise": gradient_signal.signal_to_noise(squares, products),
    }
    return {metric: estimate for metric, estimate in estimates.items() if math.isfinite(estimate.value)}


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
    rows, pad = token_rows(pairs), tokenizer.pad_token_id
    reference = read_logps(arguments.reference_logps)
    remainders = [*arguments.remainders, None, None]
    after_stored, before_stored = (trained, remainders[0]), (start, remainders[1])
    after = score_pairs(*after_stored, rows, training, pad, "after the iteration")
    before = reference
    if settings.reference == "initial" and start != initial:
        before = score_pairs(*before_stored, rows, training, pad, "before the iteration")
    table = margins(reference, before, after, training.beta)

    sampled = sample(rows, "pair_id", settings.pairs, settings.seed)
    if len(sampled) < settings.pairs:
        print(f"there are {len(sampled)} pairs, of {settings.pairs} whose gradients were to be measured")
    norms = gradient_table({"before": before_stored, "after": after_stored}, table, sampled, training.beta)
    metrics = summary(table, pairs, norms, training.beta)
    prompts = read_table(Prompts, arguments.heldout)
    heldout = sample(heldout_replies(prompts, tokenizer), "prompt_id", settings.prompts, settings.seed)
    clusters = Clusters.of(prompts["prompt_id"], prompts["cluster"])
    metrics += distances(arguments.policies, heldout, clusters, settings)
    write_table(table, Margins, arguments.margins)
    write_table(norms, Gradients, arguments.gradients)
    write_table(pl.DataFrame(metrics, schema=Diagnostics.create_empty().schema), Diagnostics, arguments.diagnostics)


if __name__ == "__main__":
    cli.run(main)
