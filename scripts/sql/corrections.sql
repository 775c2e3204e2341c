-- Corrections: a reply that disappointed, followed by one that satisfied, or published with a better one. The first reason
-- that applies is the one recorded.

CREATE TYPE corrections_reason AS ENUM (
    'not labelled DSAT',
    'the user said nothing of it',
    'the next reply is not labelled SAT',
    'the next reply is the same text',
    -- Which side a correction is unfit for is known before the split, but counts after it.
    'chosen reply opens with words on the feedback'
);

CREATE TEMP VIEW corrections_choices AS
SELECT
    'corrections' AS pool,
    first_reply.* EXCLUDE (label, score, unfit, unseen, answered),
    first_reply.label <> 'DSAT' AS flipped,
    CASE
        WHEN first_reply.label <> 'DSAT' AND NOT may_be_false(first_reply.label, 'DSAT', getvariable('noise_corrections'))
            THEN 'not labelled DSAT'
        -- A published pair: the next reply answers the same prompt, and nobody said a word between them.
        WHEN NOT first_reply.answered AND NOT first_reply.unseen
            THEN 'the user said nothing of it'
        WHEN coalesce(next_reply.label, '') <> 'SAT'
            THEN 'the next reply is not labelled SAT'
        WHEN first_reply.reply_md5 = next_reply.reply_md5
            THEN 'the next reply is the same text'
        ELSE unfit_row(
            coalesce(first_reply.unfit, next_reply.unfit),
            least(first_reply.score, next_reply.score),
            first_reply.prompt_chars + greatest(first_reply.reply_chars, next_reply.reply_chars)
        )
    END AS reason
FROM replies AS first_reply
LEFT JOIN replies AS next_reply
    ON next_reply.conversation_id = first_reply.conversation_id AND next_reply.turn = first_reply.turn + 1;
