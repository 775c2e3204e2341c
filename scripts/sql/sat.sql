-- Replies that the user was satisfied with. The first reason that applies is the one recorded.

CREATE TYPE sat_reason AS ENUM ('not labelled SAT');

CREATE TEMP VIEW sat_choices AS
SELECT
    'sat' AS pool,
    replied.* EXCLUDE (label, score, unfit, unseen, answered),
    label <> 'SAT' AS flipped,
    CASE
        WHEN label <> 'SAT' AND NOT may_be_false(label, 'SAT', getvariable('noise_sat'))
            THEN 'not labelled SAT'
        ELSE unfit_row(unfit, score, prompt_chars + reply_chars)
    END AS reason
FROM replies AS replied;
