"""Simulated users: they ask for something that code can check, and say whether they got it."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from drift.checks import Check
from drift.seeds import chance
from drift.settings.data import UserSettings

if TYPE_CHECKING:
    import polars as pl

# Kinds of their requests.
FIRST, AGAIN = "first", "again"
THANKS = "Thank you, that is what I asked for."
# What a user adds to the complaint who asks once more.
PLEASE = "Please answer again."


def coin(row: Mapping, kind: str, settings: UserSettings) -> tuple[str | int, ...]:
    """What the chances of a reply's user are drawn by: whoever asks again of a reply is the one
    whose log says that it disappointed. `row` has the prompt_id and sample of the reply, `kind` is
    FIRST or AGAIN."""
    return settings.seed, settings.source, row["prompt_id"], row["sample"], kind


def complaint(checks: Sequence[Check], reply: str, wrong: float, *coin: str | int) -> str | None:
    """What a user says of a reply that disappoints; None where she is satisfied.

    With probability `wrong`, by a coin that the parts of `coin` determine, she takes a reply that
    keeps every check for one that fails, and the other way round.
    """
    failed = next((check for check in checks if not check.passes(reply)), None)
    if chance("wrong", *coin) < wrong:
        failed = checks[0] if failed is None else None
    return failed and failed.complaint


def asks_again(share: float, *coin: str | int) -> bool:
    """Whether a disappointed user asks once more; of all coins a `share` does."""
    return chance("again", *coin) < share


def replies(requests: "pl.DataFrame", completions: "pl.DataFrame") -> Iterator[dict]:
    """The rows of both tables joined, where the reply came to its end: users wait for it."""
    asked = requests.select("request_id", "prompt_id", "sample", "messages")
    rows = asked.join(completions, on="request_id", how="inner", validate="1:1").sort("request_id")
    return rows.filter(finish_reason="stop").iter_rows(named=True)
