-- Some rows of a pool, with their texts: conversations are put together here, and not before.

WITH
taken AS (
    SELECT prompt_id, conversation_id, turn, split, group_key AS cluster, flipped
    FROM split_candidates
    WHERE reason IS NULL AND pool = getvariable('pool')
    ORDER BY prompt_id
    LIMIT getvariable('rows_at_a_time') OFFSET getvariable('first_row')
),
messages AS (
    SELECT conversation_id, turn, FALSE AS unseen, 0 AS place, 'system' AS role, system AS content FROM candidate_turns
    UNION ALL
    SELECT conversation_id, turn, unseen, 1 AS place, 'user' AS role, "user" AS content FROM candidate_turns
    UNION ALL
    SELECT conversation_id, turn, unseen, 2 AS place, 'assistant' AS role, response AS content FROM candidate_turns
),
prompts AS (
    SELECT
        wanted.conversation_id,
        wanted.turn,
        list({'role': messages.role, 'content': messages.content} ORDER BY messages.turn, messages.place) AS prompt
    FROM taken AS wanted
    JOIN messages
        ON messages.conversation_id = wanted.conversation_id
        AND ((messages.turn < wanted.turn AND NOT messages.unseen) OR (messages.turn = wanted.turn AND messages.role <> 'assistant'))
    WHERE messages.content IS NOT NULL
    GROUP BY wanted.conversation_id, wanted.turn
)
SELECT
    taken.prompt_id,
    taken.conversation_id,
    taken.turn,
    replied.source,
    taken.split,
    taken.cluster,
    taken.flipped,
    prompts.prompt,
    replied.response,
    replied.feedback,
    followed.response AS next_response,
    judged.labeler,
    judged.evidence,
    judged.score
FROM taken
JOIN prompts USING (conversation_id, turn)
JOIN candidate_turns AS replied USING (conversation_id, turn)
JOIN judged USING (conversation_id, turn)
LEFT JOIN candidate_turns AS followed
    ON followed.conversation_id = taken.conversation_id AND followed.turn = taken.turn + 1
ORDER BY taken.prompt_id;
