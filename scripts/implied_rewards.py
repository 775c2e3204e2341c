"""Rank an iteration's candidates by the rewards that policies imply, and say how far two rankings
agree.

Reads:  the Requests that the candidates were sampled by (--requests) and their Likelihoods
        (--likelihoods).
Writes: a Ranks table (--ranks), and a RankAgreement table (--agreement).

The reward that a policy implies is log pi(y|x) - log pi'(y|x), pi' being the policy before it
(Rafailov et al. 2023, eq. 5, without beta and what depends on x alone); of a base model, before
which there is none, the mean of log pi over tokens. Candidates are ranked by the policy that wrote
them; the ranking by the policy before it is what this one is compared with (CREAM, arXiv
2410.12735, algorithm 1). Prompts are joined by their ids: CREAM's code pairs them by position.
"""

import _python  # noqa: F401 - before what may be missing

import numpy as np
import polars as pl

from drift import cli
from drift.metrics.correlation import kendall
from drift.tables import Likelihoods, RankAgreement, Ranks, Requests, read_table, write_table


def rewards(likelihoods: pl.DataFrame, back: int) -> pl.DataFrame | None:
    """request_id and the score by the policy that is `back` iterations back; None where there is no
    such policy."""
    own = likelihoods.filter(back=back).select("request_id", "tokens", own="logp")
    if own.is_empty():
        return None
    before = likelihoods.filter(back=back + 1).select("request_id", before="logp")
    if before.is_empty():
        return own.select("request_id", score=pl.col("own") / pl.col("tokens"))
    joined = own.join(before, on="request_id", validate="1:1")
    return joined.select("request_id", score=pl.col("own") - pl.col("before"))


def agreement(requests: pl.DataFrame, ranks: pl.DataFrame, earlier: pl.DataFrame | None) -> pl.DataFrame:
    """RankAgreement of two tables of request_id and score: of each prompt with two candidates or
    more, unless a ranking ties all of them. Empty where there is no second ranking."""
    rows = []
    if earlier is not None:
        both = requests.select("request_id", "prompt_id").join(ranks, on="request_id", validate="1:1")
        both = both.join(earlier.rename({"score": "earlier"}), on="request_id", validate="1:1")
        for (prompt_id,), group in both.sort("request_id").group_by("prompt_id", maintain_order=True):
            tau = kendall(group["score"].to_numpy(), group["earlier"].to_numpy())
            if not np.isnan(tau):
                rows.append((prompt_id, tau, group.height))
    return pl.DataFrame(rows, schema=RankAgreement.create_empty().schema, orient="row")


def main() -> None:
    command = cli.parser(__doc__)
    command.add_argument("--requests", required=True, nargs="+", help="Requests tables of the candidates")
    command.add_argument("--likelihoods", required=True, help="Likelihoods table")
    command.add_argument("--ranks", required=True, help="table to write")
    command.add_argument("--agreement", required=True, help="table to write")
    arguments = command.parse_args()
    likelihoods = read_table(Likelihoods, arguments.likelihoods)
    ranks, earlier = rewards(likelihoods, 1), rewards(likelihoods, 2)
    if ranks["score"].n_unique() < 2:
        raise cli.StageError(
            "the policy that wrote the candidates finds all of them as likely as the one before it does, so that nothing "
            "ranks them: has the last iteration trained anything? Its margins (view margins) say so"
        )
    found = agreement(read_table(Requests, *arguments.requests), ranks, earlier)
    print(f"{ranks.height} candidates, {found.height} prompts with two rankings, mean tau {found['tau'].mean()}")
    write_table(ranks, Ranks, arguments.ranks)
    write_table(found, RankAgreement, arguments.agreement)


if __name__ == "__main__":
    cli.run(main)
