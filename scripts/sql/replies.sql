-- Every reply that the chosen labeler judged, with what the pools ask of it. Hashes stand for the texts, which are long.

CREATE TEMP VIEW turns AS
    SELECT * FROM read_parquet(getvariable('turns'));

CREATE TEMP TABLE replies AS
WITH
-- A prompt is the system message and all exchanges before the reply, then the user's message.
exchanges AS (
    SELECT
        *,
        coalesce(sum(length("user") + length(response)) OVER before, 0) + length("user") AS exchanged_chars,
        coalesce(string_agg(md5("user") || md5(response), '') OVER before, '') || md5("user") AS exchanged_md5s
    FROM turns
    WINDOW before AS (PARTITION BY conversation_id ORDER BY turn ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
),
-- Conversations that open with the same message are copies or continuations of one another: they stay together.
openings AS (
    SELECT
        conversation_id,
        coalesce(system, '') AS system,
        md5(lower(trim(regexp_replace("user", '\s+', ' ', 'g')))) AS group_key
    FROM turns
    WHERE turn = 0
)
SELECT
    conversation_id || '/' || turn AS prompt_id,
    conversation_id,
    turn,
    group_key,
    language,
    label,
    length("user") AS message_chars,
    length(response) AS reply_chars,
    length(openings.system) + exchanged_chars AS prompt_chars,
    md5(md5(openings.system) || exchanged_md5s) AS prompt_md5,
    md5(response) AS reply_md5
FROM exchanges
JOIN openings USING (conversation_id)
JOIN read_parquet(getvariable('labels')) AS labels USING (conversation_id, turn)
WHERE labels.labeler = getvariable('labeler');

-- What each pool makes of each reply; reason is why it is not taken, and null where it may be.
CREATE TEMP TABLE candidates (
    pool VARCHAR,
    prompt_id VARCHAR,
    conversation_id VARCHAR,
    turn INTEGER,
    group_key VARCHAR,
    prompt_md5 VARCHAR,
    reply_md5 VARCHAR,
    reason VARCHAR
);

CREATE TEMP MACRO language_wanted(name) AS
    getvariable('languages') IS NULL OR coalesce(list_contains(getvariable('languages'), name), FALSE);

-- A place in an order that depends on the seed and the key alone: not on the file, nor on the other rows.
CREATE TEMP MACRO seeded_order(key) AS md5(getvariable('seed') || '/' || key);
