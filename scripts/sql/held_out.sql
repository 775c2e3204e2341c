-- What the start keeps out of later data: the conversations on its test side, those of the same users, and
-- those that open alike. Tables of pools.py: tested (conversation_id; sql/tested.sql), and alike
-- (conversation_id, cluster), whose clusters are those of openings that are nearly the same.
-- One step from the test side, not all that hangs together with it: one user's second conversation would
-- else hold out all that open like it.

CREATE TEMP TABLE held_out AS
WITH openings AS (
    SELECT conversation_id, user_id, md5_number_upper(plain("user")) AS opening_key
    FROM turns
    WHERE turn = 0
),
of_tests AS (
    SELECT user_id, opening_key FROM openings WHERE conversation_id IN (FROM tested)
)
SELECT conversation_id
FROM openings
WHERE conversation_id IN (FROM tested)
    OR user_id IN (SELECT user_id FROM of_tests WHERE user_id IS NOT NULL)
    OR opening_key IN (SELECT opening_key FROM of_tests)
    OR conversation_id IN (
        SELECT conversation_id FROM alike WHERE cluster IN (SELECT cluster FROM alike WHERE conversation_id IN (FROM tested))
    );

CREATE TEMP TABLE held_out_messages AS
SELECT md5_number_upper(plain(list_last(prompt).content)) AS message_key
FROM read_parquet(getvariable('first'), union_by_name = true)
WHERE split = 'test' AND rejected IS NOT NULL;
