-- What each pool makes of every reply; of rows with the same prompt and the same reply, one stays.
-- Candidates for false rows (label noise; `flipped`) come after the true ones in every choice, so that
-- noise changes no true row. What came earlier stays before what came later (table arrivals: source,
-- from_iteration): an export that repeats old replies is no new data.

-- Why a reply that was not taken for a false row is not in the pool.
CREATE TEMP MACRO other_label(pool) AS CASE pool WHEN 'sat' THEN 'not labelled SAT' ELSE 'not labelled DSAT' END;

CREATE TEMP VIEW choices AS
    SELECT * FROM dsat_choices
    UNION ALL BY NAME
    SELECT * FROM sat_choices
    UNION ALL BY NAME
    SELECT * FROM corrections_choices
    UNION ALL BY NAME
    SELECT * FROM wordless_choices;

-- Nearly all replies end here, for one reason or another: they are counted, not kept.
CREATE TEMP TABLE dropped AS
    SELECT pool, CASE WHEN flipped THEN other_label(pool) ELSE reason END AS reason, count(*) AS rows
    FROM choices
    WHERE reason IS NOT NULL
    GROUP BY ALL;

CREATE TEMP TABLE candidates AS
    SELECT
        choices.* EXCLUDE (reason),
        coalesce(arrivals.from_iteration, 1) AS from_iteration,
        CASE
            WHEN row_number() OVER (
                PARTITION BY pool, prompt_md5, reply_md5
                ORDER BY flipped, coalesce(arrivals.from_iteration, 1), prompt_id
            ) > 1
                THEN 'same prompt and reply as another'
        END AS reason
    FROM choices
    LEFT JOIN arrivals ON arrivals.source = split_part(conversation_id, ':', 1)
    WHERE reason IS NULL;

CREATE TEMP VIEW true_candidates AS
    SELECT * FROM candidates WHERE NOT flipped;

-- Those of the start, where data came later.
CREATE TEMP VIEW start_candidates AS
    SELECT * FROM true_candidates WHERE from_iteration = 1;

-- What comes after reads these conversations alone, and more than once.
CREATE TEMP TABLE candidate_turns AS
    SELECT conversation_id, turn, source, unseen, system, "user", response, feedback
    FROM turns
    WHERE conversation_id IN (SELECT conversation_id FROM candidates);
