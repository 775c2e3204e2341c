"""Read a judge's verdicts.

Reads the judge's Requests and Completions; writes Judgments: how sure the judge is that the policy's answer is the better one,
from the log-probabilities of A and B as its first token.
"""

import polars as pl

from drift import cli
from drift.tables import Completions, Judgments, Requests, read_table, write_table


def verdicts(requests: pl.DataFrame, completions: pl.DataFrame) -> pl.DataFrame:
    """One judgment per question. A judge that gave neither letter any mass has no preference: 0.5."""
    rows = requests.join(completions, on="request_id", how="left", validate="1:1")

    def probability(choice: str) -> pl.Expr:
        element = pl.element()
        logprob = pl.col("choice_logprobs").list.eval(
            pl.when(element.struct.field("choice") == choice).then(element.struct.field("logprob"))
        )
        return logprob.list.max().exp()

    mass = probability("A") + probability("B")
    policy_first = pl.col("kind") == "judge-AB"
    policy = pl.when(policy_first).then(probability("A")).otherwise(probability("B"))
    return rows.select(
        "request_id",
        "prompt_id",
        order=pl.col("kind").str.strip_prefix("judge-"),
        preference=pl.when(mass > 0).then(policy / mass).otherwise(0.5),
        mass=mass,
    )


def main() -> None:
    command = cli.parser(__doc__)
    command.add_argument("--requests", required=True)
    command.add_argument("--completions", required=True, nargs="+", help="its shards")
    command.add_argument("--judgments", required=True, help="table to write")
    arguments = command.parse_args()
    completions = read_table(Completions, *arguments.completions)
    write_table(verdicts(read_table(Requests, arguments.requests), completions), Judgments, arguments.judgments)


if __name__ == "__main__":
    cli.run(main)
