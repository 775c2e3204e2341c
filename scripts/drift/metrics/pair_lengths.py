"""How long the pairs of an iteration are, as a view of the catalog.

A length that differs between the sides is what a policy learns first, and margins, accuracy and
loss do not show it.
"""

DESCRIPTION = (
    "One row per policy that was trained: how long its pairs are, how many of their replies are cut, and how many of its "
    "prompts are those of the first iteration."
)

_OF_A_SIDE = {  # $: chosen or rejected; &: its sign
    "$_tokens": ("DOUBLE", "mean length of & in tokens, as far as it is trained on", "avg($_tokens)"),
    "$_tokens_q1": ("DOUBLE", "first quartile of it", "quantile_cont($_tokens, 0.25)"),
    "$_tokens_median": ("DOUBLE", "median of it", "quantile_cont($_tokens, 0.5)"),
    "$_tokens_q3": ("DOUBLE", "third quartile of it", "quantile_cont($_tokens, 0.75)"),
    "$_sampled_cut": (
        "DOUBLE",
        "share of pairs whose & was sampled and is cut at sampling.max_tokens",
        "avg(($_cut AND $_finish IS NOT NULL)::INTEGER)",
    ),
    "$_logged_cut": (
        "DOUBLE",
        "share of pairs whose & was logged and is cut there",
        "avg(($_cut AND $_finish IS NULL)::INTEGER)",
    ),
}
# By name: type, description and SQL of a column.
_COLUMNS = {
    "prompts": ("BIGINT", "training prompts", "count(*) + any_value(coalesce(lost, 0))"),
    "pairs": ("BIGINT", "pairs that are trained on", "count(*)"),
    "shared_with_first": (
        "DOUBLE",
        "share of the pairs whose prompt has a pair in the first iteration of the method too; null for the warm-up",
        "CASE WHEN iteration > 0 THEN avg((first.pair_id IS NOT NULL)::INTEGER) END",
    ),
    "chosen_shorter": (
        "DOUBLE",
        "share of pairs whose y+ is shorter than y-",
        "avg((chosen_tokens < rejected_tokens)::INTEGER)",
    ),
} | {
    name.replace("$", side): (kind, text.replace("&", sign), sql.replace("$", side))
    for side, sign in (("chosen", "y+"), ("rejected", "y-"))
    for name, (kind, text, sql) in _OF_A_SIDE.items()
}

KEYS = ("model", "method", "iteration", "seed")
COLUMNS = {name: (kind, text) for name, (kind, text, _) in _COLUMNS.items()}
QUERY = f"""
    SELECT {", ".join(KEYS)}, {", ".join(f"{sql} AS {name}" for name, (_, _, sql) in _COLUMNS.items())}
    FROM pairs
    LEFT JOIN (SELECT model, method, seed, pair_id FROM pairs WHERE iteration = 1) AS first USING (model, method, seed, pair_id)
    LEFT JOIN (SELECT {", ".join(KEYS)}, count(*) AS lost FROM dropped GROUP BY ALL) AS others USING ({", ".join(KEYS)})
    GROUP BY {", ".join(KEYS)}
    ORDER BY ALL
"""
