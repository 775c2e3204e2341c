"""Say how good each of a policy's answers to a benchmark is, by a ranker.

Reads:  the benchmark's Tasks and the policy's Responses (--tasks, --responses), and the folder or
        file that the ranker's kind needs, if any (--path).
Writes: an AnswerRewards table (--rewards). An answer that the ranker cannot score has no row.
"""

import _python  # noqa: F401 - before what may be missing
from pathlib import Path

import polars as pl

from drift import cli, plugins
from drift.settings.sampling import RewardSettings
from drift.tables import AnswerRewards, Responses, Tasks, read_table, write_table


def rewards(tasks: pl.DataFrame, responses: pl.DataFrame, settings: RewardSettings, path: Path | None) -> pl.DataFrame:
    """AnswerRewards by a ranker. Raises StageError where it scores no answer at all."""
    rows = responses.join(tasks, on="prompt_id", validate="m:1").sort("prompt_id", "sample")
    named = rows.with_columns(request_id=pl.format("{}#{}", "prompt_id", "sample"), text="response")
    scores = plugins.load(plugins.RANKERS, settings.kind).scores(
        named.select("request_id", "prompt", "text").to_dicts(), settings, path
    )
    if not scores:
        raise cli.StageError(
            f"{settings.kind} scored none of {rows.height} answers, and without rewards there is nothing to explore; fix the row "
            "of rankers that exploration.reward names (max_length, path)"
        )
    print(f"{settings.kind}: {len(scores)} of {rows.height} answers were scored")
    found = pl.DataFrame(list(scores.items()), schema={"request_id": pl.String, "reward": pl.Float64}, orient="row")
    return named.join(found, on="request_id", validate="1:1").select("prompt_id", "sample", "reward")


def main() -> None:
    command = cli.parser(__doc__, RewardSettings)
    command.add_argument("--tasks", required=True, help="Tasks table")
    command.add_argument("--responses", required=True, help="Responses table")
    command.add_argument("--path", nargs="?", type=Path, help="folder of the ranker's model or file that it reads, if any")
    command.add_argument("--rewards", required=True, help="table to write")
    arguments = command.parse_args()
    tasks, responses = read_table(Tasks, arguments.tasks), read_table(Responses, arguments.responses)
    write_table(rewards(tasks, responses, arguments.settings, arguments.path), AnswerRewards, arguments.rewards)


if __name__ == "__main__":
    cli.run(main)
