-- The sides, what the training side leaves out for the sake of the other, the maximum, and label noise.
-- The table test_groups (pool, group_key; pools.py) says which groups of conversations were picked for
-- the test side, and for which pool. Later data have none of their own: the tables held_out (conversation_id)
-- and held_out_messages (message_key; sql/held_out.sql) say what the start keeps out of them.

CREATE TEMP TABLE split_candidates AS
WITH
-- Whole groups go to the test side, for all pools. A false row goes where anything that it is tied to
-- goes; what false rows tie together decides over no true row.
sides AS (
    SELECT
        * EXCLUDE (group_key, wider_key),
        coalesce(group_key, wider_key) AS group_key,
        CASE
            WHEN flipped AND wider_key IN (SELECT wider_key FROM groups WHERE group_key IN (SELECT group_key FROM test_groups))
                THEN 'test'
            WHEN NOT flipped AND group_key IN (SELECT group_key FROM test_groups)
                THEN 'test'
            ELSE 'train'
        END AS split
    FROM few
),
as_many_as_asked_for AS (
    SELECT
        * EXCLUDE (reason),
        CASE
            WHEN reason IS NOT NULL
                THEN reason
            WHEN conversation_id IN (FROM held_out)
                THEN 'held out with the data of the start'
            WHEN pool IN ('dsat', 'corrections') AND split = 'test' AND (pool, group_key) NOT IN (SELECT (pool, group_key) FROM test_groups)
                THEN 'held out for another pool'
            WHEN pool = 'corrections'
                AND prompt_id IN (SELECT prompt_id FROM allusions WHERE CASE split WHEN 'test' THEN test ELSE train END)
                THEN 'chosen reply opens with words on the feedback'
        END AS reason
    FROM sides
),
apart_from_tests AS (
    SELECT
        * EXCLUDE (reason),
        CASE
            WHEN reason IS NOT NULL
                THEN reason
            WHEN split = 'train'
                AND message_key IN (
                    SELECT message_key FROM as_many_as_asked_for WHERE reason IS NULL AND split = 'test' AND NOT flipped AND pool IN ('dsat', 'corrections')
                    UNION ALL
                    FROM held_out_messages
                )
                THEN 'same message as a held-out prompt'
        END AS reason
    FROM as_many_as_asked_for
),
limits (pool, max_training_rows, noise) AS (
    VALUES
    ('dsat', getvariable('max_dsat'), getvariable('noise_dsat')),
    ('sat', getvariable('max_sat'), getvariable('noise_sat')),
    ('corrections', getvariable('max_corrections'), getvariable('noise_corrections')),
    ('wordless', NULL, 0)
),
under_the_maximum AS (
    SELECT
        * EXCLUDE (reason),
        CASE
            WHEN reason IS NOT NULL
                THEN reason
            WHEN split = 'train' AND NOT flipped
                AND row_number() OVER (PARTITION BY pool, flipped, reason, split, from_iteration ORDER BY place(timestamp, prompt_id)) > max_training_rows
                THEN 'training row over the maximum'
        END AS reason
    FROM apart_from_tests
    JOIN limits USING (pool)
),
-- Noise comes last: the pools are what they are without it, and then false rows take the places of true
-- ones. The hash has no share in it, so a larger share adds to the false rows of a smaller one.
counted AS (
    SELECT
        *,
        round(noise * count(*) FILTER (reason IS NULL AND split = 'train' AND NOT flipped) OVER (PARTITION BY pool)) AS false_rows,
        row_number() OVER (
            PARTITION BY pool, flipped, reason, split
            ORDER BY md5(getvariable('seed') || '/noise/' || prompt_id)
        ) AS noise_place
    FROM under_the_maximum
)
SELECT
    * EXCLUDE (reason, max_training_rows, noise, noise_place, from_iteration),
    CASE
        WHEN flipped AND (reason IS NOT NULL OR split = 'test' OR noise_place > false_rows)
            THEN other_label(pool)
        WHEN reason IS NULL AND split = 'train' AND NOT flipped AND noise_place <= false_rows
            THEN 'replaced by a false row (label noise)'
        ELSE reason
    END AS reason
FROM counted;
