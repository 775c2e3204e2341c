-- Replies that disappointed without a word: a thumb down alone, or the rejected reply of a published
-- pair. They are no anchored negatives, as there is nothing to show to the policy that is to do better,
-- and teach by themselves. The first reason that applies is the one recorded.

CREATE TYPE wordless_reason AS ENUM ('not labelled DSAT', 'the user said something of it');

CREATE TEMP VIEW wordless_choices AS
SELECT
    'wordless' AS pool,
    replied.* EXCLUDE (label, score, unfit, unseen, answered),
    FALSE AS flipped,
    CASE
        WHEN label <> 'DSAT'
            THEN 'not labelled DSAT'
        WHEN answered
            THEN 'the user said something of it'
        ELSE unfit_row(unfit, score, prompt_chars + reply_chars)
    END AS reason
FROM replies AS replied;
