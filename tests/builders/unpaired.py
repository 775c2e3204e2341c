"""Single replies that a method trains on, and the fitted prompts that they are made of."""

import polars as pl

from drift import tables
from drift.chat import in_hindsight, render
from drift.settings.training import UnpairedSettings
from tests.builders.pairs import INSTRUCTION, fitted_prompts, small_pairs


def unpaired_settings(**changed) -> UnpairedSettings:
    """Settings that take every reply."""
    values = {"lineage": "tiny/kto/seed42/iter1", "max_tokens": 250, "cut": "drop", "replies": None, "seed": 42}
    return UnpairedSettings.model_validate(
        values | {"max_length": 200, "instruction": INSTRUCTION, "hindsight": False} | changed
    )


def fitted_pools(tokenizer, dsat: int = 3, sat: int = 2, wordless: int = 2) -> dict[str, pl.DataFrame]:
    """As many fitted prompts of each pool as asked for, no two the same."""
    sides = {"dsat": "rejected", "sat": "chosen", "wordless": "rejected"}
    pools = {}
    for name, count in {"dsat": dsat, "sat": sat, "wordless": wordless}.items():
        absent = [pl.lit(None, pl.String).alias(side) for side in ("chosen", "rejected") if side != sides[name]]
        rows = fitted_prompts(tokenizer, count, feedback=None if name == "wordless" else "I see.").with_columns(absent)
        rows = rows.with_columns((name + ":" + pl.col("prompt_id")).alias("prompt_id"), pl.col(sides[name]) + f" ({name})")
        pools[name] = rows
    return pools


def small_replies(tokenizer, count: int) -> pl.DataFrame:
    """Unpaired rows of short questions, all with an answer of the user: of every three the first is
    desirable."""
    rows = []
    for number, pair in enumerate(small_pairs(tokenizer, count).iter_rows(named=True)):
        side = "rejected" if number % 3 else "chosen"
        rows.append(
            {
                "prompt_id": pair["pair_id"],
                "pool": "wordless" if number % 3 == 2 else "dsat" if number % 3 else "sat",
                "prompt": pair["prompt"],
                "prompt_token_ids": pair["prompt_token_ids"],
                "reply": pair[side],
                "desirable": side == "chosen",
                "cut": False,
                "reply_token_ids": pair[f"{side}_token_ids"],
                "reply_tokens": pair[f"{side}_tokens"],
                "hindsight_token_ids": render(tokenizer, in_hindsight(pair["prompt"], f"No, answer {number}.")),
            }
        )
    return pl.DataFrame(rows, schema=tables.Unpaired.create_empty().schema)
