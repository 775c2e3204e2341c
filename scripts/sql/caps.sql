-- What all pools do alike with their candidates before the split: no benchmark prompt, no
-- near-duplicate, a few of each conversation, user and template. Each step ranks only what the steps
-- before it left: partitions hold rows with and without a reason apart. Texts are compared in pools.py;
-- its tables quarantine, near_duplicates (pool, prompt_id), groups (conversation_id, group_key,
-- wider_key) and allusions (prompt_id, train, test: of corrections, whether they are unfit for a side)
-- say which were found.

-- A place in the order in which rows are picked: by a seeded hash, which depends on neither the file
-- nor the other rows, or the oldest first.
CREATE TEMP MACRO place(timestamp, key) AS
    CASE getvariable('pick')
        WHEN 'hash' THEN md5(getvariable('seed') || '/' || key)
        -- The turn, at the end of the key, has leading zeros: as text 10 comes before 2.
        ELSE coalesce(strftime(timestamp, '%Y-%m-%d %H:%M:%S.%f'), 'unknown') || '/'
            || regexp_extract(key, '(?s)^(.*)/', 1) || '/' || lpad(regexp_extract(key, '[0-9]+$'), 9, '0')
    END;

CREATE TEMP TABLE few AS
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
            WHEN row_number() OVER (PARTITION BY pool, reason, conversation_id ORDER BY flipped, place(timestamp, prompt_id))
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
                AND row_number() OVER (PARTITION BY pool, reason, user_id ORDER BY flipped, place(timestamp, prompt_id))
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
                AND row_number() OVER (PARTITION BY pool, reason, template_key ORDER BY flipped, place(timestamp, prompt_id))
                > getvariable('max_per_template')
                THEN 'over max_per_template'
        END AS reason
    FROM few_of_each_user
)
SELECT few_of_each_template.*, group_key, wider_key
FROM few_of_each_template
JOIN groups USING (conversation_id);

-- Groups that may go to the test side, for the pools that have one: in which order, and with how many
-- conversations. A group that is larger than the test side itself stays with the training rows.
CREATE TEMP TABLE test_choices AS
SELECT
    pool,
    group_key,
    count(DISTINCT conversation_id) AS conversations,
    CASE getvariable('pick') WHEN 'hash' THEN place(NULL, group_key) ELSE min(place(timestamp, prompt_id)) END AS place
FROM (SELECT *, count(DISTINCT conversation_id) OVER (PARTITION BY group_key) AS group_conversations FROM few WHERE NOT flipped)
WHERE reason IS NULL
    AND NOT (pool = 'corrections' AND prompt_id IN (SELECT prompt_id FROM allusions WHERE test))
    AND group_conversations
        <= CASE pool WHEN 'dsat' THEN getvariable('test_conversations') WHEN 'corrections' THEN getvariable('test_correction_conversations') END
GROUP BY pool, group_key;
