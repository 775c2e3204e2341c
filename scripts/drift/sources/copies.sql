-- Which of the gathered conversations are kept: one of each text, over all sources, and one of each id.
-- Nothing here depends on the order in which they were read. What counts from an earlier iteration comes
-- first: data that come later change nothing of those before.

CREATE TEMP TABLE conversations AS
SELECT
    number,
    source,
    conversation_id,
    from_iteration,
    user_number,
    bit_xor(digest) AS digest,
    bit_xor(other_digest) AS other_digest,
    count(source_label) AS labels,
    max(timestamp) AS time,
    max(model) AS model
FROM read_parquet(getvariable('gathered'))
GROUP BY number, source, conversation_id, from_iteration, user_number;

CREATE TEMP TABLE told_apart AS
WITH
-- Of copies, the one that says most of its replies is kept: WildFeedback's rather than WildChat's.
copies AS (
    SELECT
        *,
        row_number() OVER (
            PARTITION BY digest, other_digest
            ORDER BY from_iteration, labels DESC, conversation_id, time, model, number
        ) > 1 AS is_copy
    FROM conversations
)
SELECT
    number,
    source,
    conversation_id,
    user_number,
    CASE
        WHEN is_copy
            THEN 'exact copy of another conversation'
        WHEN row_number() OVER (
            PARTITION BY conversation_id, is_copy
            ORDER BY labels DESC, time, model, digest, other_digest, number
        ) > 1
            THEN 'same id as another conversation, other text'
    END AS reason
FROM copies;

-- A user is a number, in the order of the conversations: what the source knows users by is not kept.
CREATE TEMP TABLE users AS
SELECT user_number, source || ':' || row_number() OVER (PARTITION BY source ORDER BY first_conversation) AS user_id
FROM (
    SELECT user_number, min(source) AS source, min(conversation_id) AS first_conversation
    FROM told_apart
    WHERE reason IS NULL AND user_number IS NOT NULL
    GROUP BY user_number
);

CREATE TEMP VIEW kept_exchanges AS
SELECT gathered.*, users.user_id
FROM read_parquet(getvariable('gathered')) AS gathered
SEMI JOIN (SELECT number FROM told_apart WHERE reason IS NULL) AS kept USING (number)
LEFT JOIN users USING (user_number);
