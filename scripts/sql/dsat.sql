-- The anchored negatives: replies that the user was unhappy with. The first reason that applies is the one recorded.

CREATE TYPE dsat_reason AS ENUM ('not labelled DSAT', 'the user said nothing of it');

CREATE TEMP VIEW dsat_choices AS
SELECT
    'dsat' AS pool,
    replied.* EXCLUDE (label, score, unfit, unseen, answered),
    label <> 'DSAT' AS flipped,
    CASE
        WHEN label <> 'DSAT' AND NOT may_be_false(label, 'DSAT', getvariable('noise_dsat'))
            THEN 'not labelled DSAT'
        -- A thumb alone, or a published pair: sql/wordless.sql.
        WHEN NOT answered
            THEN 'the user said nothing of it'
        ELSE unfit_row(unfit, score, prompt_chars + reply_chars)
    END AS reason
FROM replies AS replied;
