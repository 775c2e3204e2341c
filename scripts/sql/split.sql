-- What all pools do alike with their candidates: no benchmark prompt, no near-duplicate, a few of each
-- conversation, user and template, the test side, the maximum. Each step ranks only what the steps
-- before it left: partitions hold rows with and without a reason apart. Texts are compared in pools.py;
-- its tables quarantine, near_duplicates (pool, prompt_id) and groups (conversation_id, group_key) say
-- which were found.

-- A place in the order in which rows are picked: by a seeded hash, which depends on neither the file
-- nor the other rows, or the oldest first.
CREATE TEMP MACRO place(timestamp, key) AS
    CASE getvariable('pick')
        WHEN 'hash' THEN md5(getvariable('seed') || '/' || key)
        ELSE coalesce(strftime(timestamp, '%Y-%m-%d %H:%M:%S.%f'), 'unknown') || '/' || key
    END;

CREATE TEMP TABLE split_candidates AS
WITH
apart_from_benchmarks AS (
    SELECT
        * EXCLUDE (reason),
        CASE
            WHEN reason IS NOT NULL
                THEN reason
            WHEN (pool, prompt_id) IN (SELECT (pool, prompt_id) FROM quarantine)
                THEN 'holds a benchmark prompt'
            WHEN (pool, prompt_id) IN (SELECT (pool, prompt_id) FROM near_duplicates)
                THEN 'nearly the same message and reply as another'
        END AS reason
    FROM candidates
),
few_of_each_conversation AS (
    SELECT
        * EXCLUDE (reason),
        CASE
            WHEN reason IS NOT NULL
                THEN reason
            WHEN row_number() OVER (PARTITION BY pool, reason, conversation_id ORDER BY place(timestamp, prompt_id))
                > getvariable('max_per_conversation')
                THEN 'over max_per_conversation'
        END AS reason
    FROM apart_from_benchmarks
),
few_of_each_user AS (
    SELECT
        * EXCLUDE (reason),
        CASE
            WHEN reason IS NOT NULL
                THEN reason
            WHEN user_id IS NOT NULL
                AND row_number() OVER (PARTITION BY pool, reason, user_id ORDER BY place(timestamp, prompt_id))
                > getvariable('max_per_user')
                THEN 'over max_per_user'
        END AS reason
    FROM few_of_each_conversation
),
few_of_each_template AS (
    SELECT
        * EXCLUDE (reason),
        CASE
            WHEN reason IS NOT NULL
                THEN reason
            WHEN template_key IS NOT NULL
                AND row_number() OVER (PARTITION BY pool, reason, template_key ORDER BY place(timestamp, prompt_id))
                > getvariable('max_per_template')
                THEN 'over max_per_template'
        END AS reason
    FROM few_of_each_user
),
grouped AS (
    SELECT *, count(DISTINCT conversation_id) OVER (PARTITION BY group_key) AS group_conversations
    FROM few_of_each_template
    JOIN groups USING (conversation_id)
),
-- Whole groups go to the test side, for all pools: some with dissatisfied users, some with
-- corrections. A group that is larger than the test side itself stays with the training rows.
places AS (
    SELECT
        pool,
        group_key,
        row_number() OVER (
            PARTITION BY pool
            ORDER BY CASE getvariable('pick') WHEN 'hash' THEN place(NULL, group_key) ELSE min(place(timestamp, prompt_id)) END
        ) AS group_place
    FROM grouped
    WHERE reason IS NULL
        AND group_conversations
            <= CASE pool WHEN 'corrections' THEN getvariable('test_correction_conversations') ELSE getvariable('test_conversations') END
    GROUP BY pool, group_key
),
test_groups AS (
    SELECT DISTINCT group_key
    FROM places
    WHERE (pool = 'dsat' AND group_place <= getvariable('test_conversations'))
        OR (pool = 'corrections' AND group_place <= getvariable('test_correction_conversations'))
),
sides AS (
    SELECT *, CASE WHEN group_key IN (SELECT group_key FROM test_groups) THEN 'test' ELSE 'train' END AS split
    FROM grouped
),
maxima (pool, max_training_rows) AS (
    VALUES ('dsat', getvariable('max_dsat')), ('sat', getvariable('max_sat')), ('corrections', getvariable('max_corrections'))
)
SELECT
    * EXCLUDE (reason, max_training_rows),
    CASE
        WHEN reason IS NOT NULL
            THEN reason
        WHEN split = 'train'
            AND row_number() OVER (PARTITION BY pool, reason, split ORDER BY place(timestamp, prompt_id)) > max_training_rows
            THEN 'training row over the maximum'
    END AS reason
FROM sides
JOIN maxima USING (pool);
