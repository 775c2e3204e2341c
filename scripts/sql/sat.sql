-- Replies that the user was satisfied with. The first reason that applies is the one recorded.

CREATE TYPE sat_reason AS ENUM (
    'not labelled SAT',
    'language not asked for',
    'prompt message or reply under min_chars',
    'prompt and reply over max_chars',
    'same prompt and reply as another',
    'over max_per_conversation',
    'training row over the maximum'
);

INSERT INTO candidates BY NAME
SELECT
    'sat' AS pool,
    prompt_id,
    conversation_id,
    turn,
    group_key,
    prompt_md5,
    reply_md5,
    CASE
        WHEN label <> 'SAT'
            THEN 'not labelled SAT'
        WHEN NOT language_wanted(language)
            THEN 'language not asked for'
        WHEN least(message_chars, reply_chars) < getvariable('min_chars')
            THEN 'prompt message or reply under min_chars'
        WHEN prompt_chars + reply_chars > getvariable('max_chars')
            THEN 'prompt and reply over max_chars'
    END::sat_reason AS reason
FROM replies;
