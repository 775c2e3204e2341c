-- The test side of the start, for later data: every conversation of its groups. The variable `first` has
-- its pools, and the table start_groups (conversation_id, group_key; pools.py) the groups of its
-- conversations.

CREATE TEMP TABLE tested AS
WITH rows_of_tests AS (
    SELECT conversation_id FROM read_parquet(getvariable('first'), union_by_name = true) WHERE split = 'test'
)
FROM rows_of_tests
UNION
SELECT conversation_id
FROM start_groups
WHERE group_key IN (SELECT group_key FROM start_groups WHERE conversation_id IN (FROM rows_of_tests));
