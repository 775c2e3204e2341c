-- Every reply that the chosen labeler judged, with what the pools ask of it. Hashes take the place of
-- the texts, which are long; they are numbers, which take half the memory of their digits.

CREATE TEMP VIEW turns AS
    SELECT * FROM read_parquet(getvariable('turns'));

-- A number in [0, 1) that depends on the seed and the key alone.
CREATE TEMP MACRO seeded_share(key) AS md5_number_upper(getvariable('seed') || '/' || key) / 18446744073709551616.0;

-- The labels that make the pairs. Label noise flips a seeded share of the DSAT and SAT labels, so that
-- its effect can be measured.
CREATE TEMP VIEW judged AS
    SELECT
        * EXCLUDE (label),
        label <> 'NEUTRAL'
            AND seeded_share('noise/' || conversation_id || '/' || turn) < getvariable('label_noise') AS flipped,
        CASE WHEN NOT flipped THEN label WHEN label = 'DSAT' THEN 'SAT' ELSE 'DSAT' END AS label
    FROM read_parquet(getvariable('labels'))
    WHERE labeler = getvariable('labeler');

CREATE TEMP TABLE replies AS
WITH
-- Conversations in which every label is NEUTRAL are not measured.
measured AS (
    SELECT
        conversation_id,
        turn,
        user_id,
        timestamp,
        CASE WHEN judged.label <> 'NEUTRAL' THEN unfit(turns) END AS unfit,
        max(CASE WHEN starts_over THEN turn ELSE 0 END) OVER (PARTITION BY conversation_id ORDER BY turn) AS first_turn,
        -- Long messages that begin alike, numbers apart, are one template filled in again and again.
        CASE
            WHEN length("user") >= 200
                THEN md5_number_upper(regexp_replace(left(plain(left("user", 200)), 100), '[0-9]+', '0', 'g'))
        END AS template_key,
        CASE WHEN turn = 0 THEN md5_number_upper(plain("user")) END AS opening_key,
        feedback IS NOT NULL AS answered,
        length("user") AS message_chars,
        length(response) AS reply_chars,
        coalesce(length(system), 0) AS system_chars,
        md5_number(system) AS system_md5,
        md5_number(turn || '/' || md5("user")) AS message_md5,
        md5_number(turn || '/' || md5("user") || '/' || md5(response)) AS exchange_md5,
        md5_number(response) AS reply_md5
    FROM turns
    LEFT JOIN judged USING (conversation_id, turn)
    WHERE conversation_id IN (SELECT conversation_id FROM judged WHERE label <> 'NEUTRAL')
),
-- A prompt is the system message, which comes before the first exchange, all exchanges before the
-- reply since the conversation last started over, and the user's message. Its hash combines those of
-- its parts, each with its turn.
prompts AS (
    SELECT
        * EXCLUDE (opening_key),
        coalesce(sum(message_chars + reply_chars) OVER before, 0) + sum(system_chars) OVER conversation + message_chars
            AS prompt_chars,
        xor(
            xor(message_md5, coalesce(bit_xor(exchange_md5) OVER before, 0)),
            coalesce(first_value(system_md5) OVER conversation, 0)
        ) AS prompt_md5,
        first_value(opening_key) OVER conversation AS opening_key
    FROM measured
    WINDOW
        conversation AS (PARTITION BY conversation_id ORDER BY turn),
        before AS (PARTITION BY conversation_id, first_turn ORDER BY turn ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
)
SELECT
    conversation_id || '/' || turn AS prompt_id,
    conversation_id,
    turn,
    prompts.* EXCLUDE (conversation_id, turn, system_chars, system_md5, message_md5, exchange_md5),
    judged.label,
    judged.score,
    judged.flipped
FROM judged
LEFT JOIN prompts USING (conversation_id, turn);
