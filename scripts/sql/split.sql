-- What all pools do alike with their candidates: one of each copy, a few of each conversation, the test side, the maximum.
-- Each step ranks only what the steps before it left: partitions hold rows with and without a reason apart.

CREATE TEMP TABLE split_candidates AS
WITH
one_of_each AS (
    SELECT
        * EXCLUDE (reason),
        CASE
            WHEN reason IS NOT NULL
                THEN reason
            WHEN row_number() OVER (PARTITION BY pool, reason, prompt_md5, reply_md5 ORDER BY prompt_id) > 1
                THEN 'same prompt and reply as another'
        END AS reason
    FROM candidates
),
few_of_each_conversation AS (
    SELECT
        * EXCLUDE (reason),
        CASE
            WHEN reason IS NOT NULL
                THEN reason
            WHEN row_number() OVER (PARTITION BY pool, reason, conversation_id ORDER BY seeded_order(prompt_id))
                > getvariable('max_per_conversation')
                THEN 'over max_per_conversation'
        END AS reason
    FROM one_of_each
),
-- Whole groups go to the test side, for all pools: some with dissatisfied users, some with corrections.
groups AS (
    SELECT pool, group_key, row_number() OVER (PARTITION BY pool ORDER BY seeded_order(group_key)) AS place
    FROM few_of_each_conversation
    WHERE reason IS NULL
    GROUP BY pool, group_key
),
test_groups AS (
    SELECT DISTINCT group_key
    FROM groups
    WHERE (pool = 'dsat' AND place <= getvariable('test_conversations'))
        OR (pool = 'seed' AND place <= getvariable('test_seed_conversations'))
),
sides AS (
    SELECT *, CASE WHEN group_key IN (SELECT group_key FROM test_groups) THEN 'test' ELSE 'train' END AS split
    FROM few_of_each_conversation
),
maxima (pool, max_training_rows) AS (
    VALUES ('dsat', getvariable('max_dsat')), ('sat', getvariable('max_sat')), ('seed', getvariable('max_seed'))
)
SELECT
    * EXCLUDE (reason, max_training_rows),
    CASE
        WHEN reason IS NOT NULL
            THEN reason
        WHEN split = 'train'
            AND row_number() OVER (PARTITION BY pool, reason, split ORDER BY seeded_order(prompt_id))
                > max_training_rows
            THEN 'training row over the maximum'
    END AS reason
FROM sides
JOIN maxima USING (pool);
