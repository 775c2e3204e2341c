"""From a score back to what it is made of, as a view of the catalog: verdicts, checks and held-out
pairs with the answers, and the pairs that a policy was trained on, each with its conversation."""

DESCRIPTION = (
    "One row per verdict, check, held-out pair and training pair or reply of a policy, with its texts and its conversation: what a row of "
    "scores is made of. Join scores USING (model, method, iteration, seed, benchmark, judge); a mean over seeds (seed 0) is made "
    "of the rows of all seeds."
)
KEYS = ("model", "method", "iteration", "seed", "benchmark")
COLUMNS = {
    "judge": ("VARCHAR", "scores.judge: empty where nobody judged; null: a training pair or reply"),
    "part": ("VARCHAR", "verdict, check, held-out pair, training pair, training reply (of a method without pairs)"),
    "prompt_id": ("VARCHAR", "prompts.prompt_id and tasks.prompt_id"),
    "sample": ("INTEGER", "responses.sample; null for pairs"),
    "request_id": ("VARCHAR", "judgments.request_id; null where nobody was asked"),
    "value": (
        "DOUBLE",
        "of a verdict its preference, outcome or score; of a check 1 or 0; of a held-out pair log p(chosen) - log p(rejected); of a "
        "training pair margins.s; of a training reply 1 where it is desirable, else 0",
    ),
    "detail": (
        "VARCHAR",
        "of a verdict its kind, order and error; the check; where the chosen reply of a training pair is from; the pool of a training "
        "reply",
    ),
    "asked": ("VARCHAR", "the message that is answered"),
    "answer": ("VARCHAR", "the policy's answer; of pairs the chosen reply"),
    "other": ("VARCHAR", "the task's own answer to compare with, where it has one; of pairs the rejected reply"),
    "conversation_id": ("VARCHAR", "turns.conversation_id; null where the prompt is of no conversation"),
    "turn": ("INTEGER", "turns.turn"),
}
_POLICY = "model, method, iteration, seed"
_SHOWN = ", ".join([*KEYS, *COLUMNS])
QUERY = f"""
    WITH origins AS (
        FROM dsat SELECT prompt_id, conversation_id, turn
        UNION FROM sat SELECT prompt_id, conversation_id, turn
        UNION FROM corrections SELECT prompt_id, conversation_id, turn
        UNION FROM later_dsat SELECT prompt_id, conversation_id, turn
        UNION FROM later_sat SELECT prompt_id, conversation_id, turn
        UNION FROM later_corrections SELECT prompt_id, conversation_id, turn
        UNION FROM wordless SELECT prompt_id, conversation_id, turn
        UNION FROM later_wordless SELECT prompt_id, conversation_id, turn
    ),
    answers AS (
        SELECT {_POLICY}, benchmark, prompt_id, sample, prompt[-1].content AS asked, response AS answer, baseline AS other
        FROM responses JOIN tasks USING (benchmark, prompt_id)
    )
    SELECT {_SHOWN}
    FROM (
        SELECT *,
            'verdict' AS part, coalesce(preference, outcome, score) AS value, concat_ws(' ', kind, "order", error) AS detail
        FROM judgments JOIN answers USING ({_POLICY}, benchmark, prompt_id, sample)
        UNION ALL BY NAME
        SELECT *, '' AS judge, 'check' AS part, passed::DOUBLE AS value, "check" AS detail
        FROM checks JOIN answers USING ({_POLICY}, benchmark, prompt_id, sample)
        UNION ALL BY NAME
        SELECT {_POLICY}, benchmark, prompt_id, '' AS judge, 'held-out pair' AS part, chosen_logp - rejected_logp AS value,
            prompt[-1].content AS asked, chosen AS answer, rejected AS other
        FROM logps JOIN corrections USING (prompt_id)
        UNION ALL BY NAME
        SELECT {_POLICY}, pairs.prompt_id, 'training pair' AS part, s AS value, chosen_from AS detail,
            prompt[-1].content AS asked, chosen AS answer, rejected AS other
        FROM pairs LEFT JOIN margins USING ({_POLICY}, pair_id)
        UNION ALL BY NAME
        SELECT {_POLICY}, prompt_id, 'training reply' AS part, desirable::DOUBLE AS value, pool AS detail,
            prompt[-1].content AS asked, reply AS answer
        FROM unpaired
    )
    LEFT JOIN origins USING (prompt_id)
"""
