-- Corrections in the wild: a reply that disappointed, followed by one that satisfied. The first reason that applies is the
-- one recorded.

CREATE TYPE seed_reason AS ENUM (
    'not labelled DSAT',
    'the next reply is not labelled SAT',
    'the next reply is the same text',
    'language not asked for',
    'prompt message or reply under min_chars',
    'prompt and reply over max_chars',
    'same prompt and reply as another',
    'over max_per_conversation',
    'training row over the maximum'
);

INSERT INTO candidates BY NAME
SELECT
    'seed' AS pool,
    first_reply.prompt_id,
    first_reply.conversation_id,
    first_reply.turn,
    first_reply.group_key,
    first_reply.prompt_md5,
    first_reply.reply_md5,
    CASE
        WHEN first_reply.label <> 'DSAT'
            THEN 'not labelled DSAT'
        WHEN coalesce(next_reply.label, '') <> 'SAT'
            THEN 'the next reply is not labelled SAT'
        WHEN first_reply.reply_md5 = next_reply.reply_md5
            THEN 'the next reply is the same text'
        WHEN NOT language_wanted(first_reply.language)
            THEN 'language not asked for'
        WHEN least(first_reply.message_chars, first_reply.reply_chars, next_reply.reply_chars) < getvariable('min_chars')
            THEN 'prompt message or reply under min_chars'
        WHEN first_reply.prompt_chars + greatest(first_reply.reply_chars, next_reply.reply_chars) > getvariable('max_chars')
            THEN 'prompt and reply over max_chars'
    END::seed_reason AS reason
FROM replies AS first_reply
LEFT JOIN replies AS next_reply
    ON next_reply.conversation_id = first_reply.conversation_id AND next_reply.turn = first_reply.turn + 1;
