-- Every reply that the chosen labeler judged, with what the pools ask of it. Hashes take the place of
-- the texts, which are long; they are numbers, which take half the memory of their digits.

CREATE TEMP VIEW turns AS
    SELECT * FROM read_parquet(getvariable('turns'));

-- The labels that make the pairs.
CREATE TEMP VIEW judged AS
    SELECT *
    FROM read_parquet(getvariable('labels'))
    WHERE labeler = getvariable('labeler');

-- Whether a reply with this label may become a false row of a pool for replies labelled otherwise:
-- `noise` is the share of false rows that the pool is to have.
CREATE TEMP MACRO may_be_false(label, pool_label, noise) AS
    noise > 0 AND label = CASE
        WHEN getvariable('noise_drawn_from') = 'neutral' THEN 'NEUTRAL'
        WHEN pool_label = 'DSAT' THEN 'SAT'
        ELSE 'DSAT'
    END;

CREATE TEMP TABLE replies AS
WITH
-- Conversations in which every label is NEUTRAL are not measured, unless false rows come from them.
measured AS (
    SELECT
        conversation_id,
        turn,
        user_id,
        timestamp,
        CASE WHEN judged.label <> 'NEUTRAL' OR getvariable('neutral_counts') THEN unfit(turns) END AS unfit,
        unseen,
        -- Long messages that begin alike, numbers apart, are one template filled in again and again.
        CASE
            WHEN length("user") >= 200
                THEN md5_number_upper(regexp_replace(left(plain(left("user", 200)), 100), '[0-9]+', '0', 'g'))
        END AS template_key,
        -- Of first messages, and of those whose reply may become a row.
        CASE
            WHEN turn = 0 OR judged.label <> 'NEUTRAL' OR getvariable('neutral_counts')
                THEN md5_number_upper(plain("user"))
        END AS message_key,
        feedback IS NOT NULL AS answered,
        length("user") AS message_chars,
        length(response) AS reply_chars,
        coalesce(length(system), 0) AS system_chars,
        md5_number(system) AS system_md5,
        md5_number("user") AS message_md5,
        md5_number(response) AS reply_md5
    FROM turns
    LEFT JOIN judged USING (conversation_id, turn)
    WHERE getvariable('neutral_counts') OR conversation_id IN (SELECT conversation_id FROM judged WHERE label <> 'NEUTRAL')
),
-- A window keeps and sorts what it passes on: here texts are numbers already.
placed AS (
    SELECT *, count(*) FILTER (NOT unseen) OVER before AS place
    FROM measured
    WINDOW before AS (PARTITION BY conversation_id ORDER BY turn ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
),
-- A prompt is the system message, which comes before the first exchange, all exchanges before the
-- reply that whoever answered has seen, and the user's message. Its hash combines those of its parts,
-- each with its place.
prompts AS (
    SELECT
        *,
        coalesce(sum(message_chars + reply_chars) FILTER (NOT unseen) OVER before, 0)
            + sum(system_chars) OVER conversation + message_chars AS prompt_chars,
        xor(
            xor(
                md5_number(place || '/' || message_md5),
                coalesce(bit_xor(md5_number(place || '/' || message_md5 || '/' || reply_md5)) FILTER (NOT unseen) OVER before, 0)
            ),
            coalesce(first_value(system_md5) OVER conversation, 0)
        ) AS prompt_md5,
        first_value(message_key) OVER conversation AS opening_key
    FROM placed
    WINDOW
        conversation AS (PARTITION BY conversation_id ORDER BY turn),
        before AS (PARTITION BY conversation_id ORDER BY turn ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
)
SELECT
    conversation_id || '/' || turn AS prompt_id,
    conversation_id,
    turn,
    prompts.* EXCLUDE (conversation_id, turn, place, system_chars, system_md5, message_md5),
    judged.label,
    judged.score
FROM judged
LEFT JOIN prompts USING (conversation_id, turn);
