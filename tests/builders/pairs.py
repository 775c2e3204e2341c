"""Fitted prompts, what is asked about them, what was answered, and pairs."""

import polars as pl

from drift import tables
from drift.chat import render, render_reply, without_end
from drift.settings.training import PairsSettings

INSTRUCTION = "Please improve your answer."


def pairs_settings(**changed) -> PairsSettings:
    """Settings of a recipe; DRIFT's where no other is named."""
    values = {
        "lineage": "tiny/drift/seed42/iter1",
        "recipe": {"chosen": "guided", "rejected": "logged"},
        "max_length": 200,
        "instruction": INSTRUCTION,
        "allusions": "drop",
        "max_tokens": 250,
        "cut": "drop",
        "subset": None,
    }
    values |= changed
    values["recipe"] = {"min_score": None} | values["recipe"]
    return PairsSettings.model_validate(values)


def fitted_prompts(tokenizer, count: int = 3, **columns) -> pl.DataFrame:
    """Fitted prompts, each with both logged replies."""
    rows = []
    for number in range(count):
        row = {
            "prompt_id": f"s:{number}/0",
            "split": "train",
            "cluster": f"s:{number}",
            "prompt": [{"role": "user", "content": f"Question {number}?"}],
            "turns_trimmed": 0,
            "chosen": f"Good reply {number}.",
            "rejected": f"Bad reply {number}.",
            "feedback": "No, that is wrong.",
        } | columns
        rows.append(row | {"prompt_token_ids": render(tokenizer, row["prompt"])})
    return pl.DataFrame(rows, schema=tables.Prompts.create_empty().schema)


def requests(prompts: pl.DataFrame, kind: str, samples: int = 1) -> pl.DataFrame:
    """`samples` requests of one kind about each prompt."""
    rows = [
        {
            "request_id": f"{row['prompt_id']}#{kind}-{sample}",
            "prompt_id": row["prompt_id"],
            "kind": kind,
            "sample": sample,
            "messages": row["prompt"],
            "prompt_token_ids": row["prompt_token_ids"],
            "seed": 1,
        }
        for row in prompts.iter_rows(named=True)
        for sample in range(samples)
    ]
    return pl.DataFrame(rows, schema=tables.Requests.create_empty().schema)


def completions(asked: pl.DataFrame, **columns) -> pl.DataFrame:
    """An answer to every request that names its prompt."""
    rows = [
        {
            "request_id": row["request_id"],
            "text": f"Sampled for {row['prompt_id']}.",
            "finish_reason": "stop",
            "prompt_tokens": 5,
            "completion_tokens": 6,
            "policy_hash": "abc",
            "error": None,
        }
        | columns
        for row in asked.iter_rows(named=True)
    ]
    return pl.DataFrame(rows, schema=tables.Completions.create_empty().schema)


def answered(asked: pl.DataFrame, texts: list[str]) -> pl.DataFrame:
    """Sample k of every prompt has the text texts[k]; an empty text was cut."""
    replies = completions(asked).drop("text", "finish_reason").join(asked.select("request_id", "sample"), on="request_id")
    text = pl.col("sample").replace_strict(dict(enumerate(texts)), return_dtype=pl.String)
    rows = replies.with_columns(text=text).with_columns(
        finish_reason=pl.when(pl.col("text") == "").then(pl.lit("length")).otherwise(pl.lit("stop"))
    )
    return rows.select(tables.Completions.column_names())


def pair_row(pair_id: str, token_ids: dict[str, list[int]], **columns) -> dict:
    """A row of Pairs with logged replies; `token_ids` of prompt, chosen and rejected."""
    return {
        "pair_id": pair_id,
        "prompt": [{"role": "user", "content": "Hello?"}],
        "prompt_token_ids": token_ids["prompt"],
        "chosen": "Good.",
        "rejected": "Bad.",
        "chosen_from": "logged",
        "rejected_from": "logged",
        "chosen_finish": None,
        "rejected_finish": None,
        "chosen_cut": False,
        "rejected_cut": False,
        **{f"{side}_token_ids": token_ids[side] for side in ("chosen", "rejected")},
        **{f"{side}_tokens": len(token_ids[side]) for side in ("chosen", "rejected")},
        "consistency": None,
        "alludes": False,
    } | columns


def pairs_table(rows: list[dict]) -> pl.DataFrame:
    """Pairs of `pair_row`s."""
    return pl.DataFrame(rows, schema=tables.Pairs.create_empty().schema)


_REPLIES = ("They are old.", "Many people use them.", "It depends.", "That is a long story.", "They cost little.")


def small_pairs(tokenizer, count: int) -> pl.DataFrame:
    """Pairs of short questions of several lengths, as the tokenizer renders them."""
    rows = []
    for number in range(count):
        prompt = [{"role": "user", "content": f"Tell me about thing {'very ' * (number % 4)}number {number}."}]
        sides = {"chosen": _REPLIES[number % 5], "rejected": f"I can not say much about {number}."}
        token_ids = {side: render_reply(tokenizer, prompt, text) for side, text in sides.items()}
        rows.append(pair_row(f"s:{number}/0", {"prompt": render(tokenizer, prompt), **token_ids}, prompt=prompt, **sides))
    return pairs_table(rows)


def with_prefixes(pairs: pl.DataFrame, tokenizer) -> pl.DataFrame:
    """The same, with both sides of the first pair cut, and the chosen one of the second, before
    their end of turn."""
    end = tokenizer.eos_token_id
    rows = pairs.to_dicts()
    for row, sides in ((rows[0], ("chosen", "rejected")), (rows[1], ("chosen",))):
        for side in sides:
            ids = without_end(row[f"{side}_token_ids"], end)
            row |= {f"{side}_cut": True, f"{side}_token_ids": ids, f"{side}_tokens": len(ids)}
    return pl.DataFrame(rows, schema=pairs.schema)


def prompts_of(pairs: pl.DataFrame) -> pl.DataFrame:
    """The prompts of `pairs`, and some of held-out conversations with a logged reply."""
    rows = pairs.select("prompt", "prompt_token_ids", "chosen", "rejected", prompt_id="pair_id", split=pl.lit("train"))
    rows = rows.with_columns(cluster="prompt_id", turns_trimmed=pl.lit(0, pl.Int32), feedback=pl.lit("No, that is wrong."))
    heldout = rows.head(4).with_columns(prompt_id="h" + pl.col("prompt_id"), split=pl.lit("test"))
    return pl.concat([rows, heldout]).select(tables.Prompts.column_names())
