"""Which prompts and pairs an iteration takes of the newest data, and which of older ones."""

from collections.abc import Iterable

import polars as pl

from drift import cli
from drift.seeds import picked
from drift.settings.data import FreshSettings


def is_fresh(prompt_id: str, fresh: FreshSettings) -> bool:
    """Whether a prompt (SOURCE:ID/TURN) is of the newest data."""
    return prompt_id.partition(":")[0] in fresh.sources


def at_share(prompt_ids: Iterable[str], fresh: FreshSettings, wanted: int | None = None) -> list[str]:
    """As many of `prompt_ids` as there can be with the share of fresh ones, or `wanted`; of either
    age those of the smallest seeded hash."""
    newest, older = [], []
    for prompt_id in prompt_ids:
        (newest if is_fresh(prompt_id, fresh) else older).append(prompt_id)
    most = len(newest) / fresh.share
    if fresh.share < 1:
        most = min(most, len(older) / (1 - fresh.share))
    # 49.999999 of a division is 50.
    total = int(most + 1e-9)
    total = total if wanted is None else min(total, wanted)
    count = round(fresh.share * total)
    return [*picked(newest, count, fresh.seed), *picked(older, total - count, fresh.seed)]


def drawn_prompts(prompts: pl.DataFrame, fresh: FreshSettings | None) -> pl.DataFrame:
    """The rows of a Prompts table that an iteration samples replies to: of the training split as
    many as the share of fresh ones leaves; all where there is none.

    Raises StageError where one of the two ages has no rows.
    """
    if fresh is None:
        return prompts
    train = prompts.filter(split="train")["prompt_id"]
    taken = at_share(train, fresh)
    if not taken:
        some = sum(is_fresh(prompt_id, fresh) for prompt_id in train)
        raise cli.StageError(
            f"a share of {fresh.share:g} of fresh prompts cannot be taken of {some} from {', '.join(fresh.sources)} and "
            f"{train.len() - some} older ones; {'raise' if some else 'leave out'} fresh in the recipe, or see in the ledger where "
            "prompts were dropped"
        )
    return prompts.filter((pl.col("split") != "train") | pl.col("prompt_id").is_in(taken))
