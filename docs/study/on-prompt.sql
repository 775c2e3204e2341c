-- How the limit on on_prompt goes with the topics that answers name: policies, and the correlation.
WITH policies AS (
    SELECT named.value AS named, likeness.value AS on_prompt, likeness.passed
    FROM 'docs/study/scores.csv' AS named
    JOIN 'docs/study/behaviour.csv' AS likeness USING (method, iteration, seed)
    WHERE named.metric = 'on_topic' AND likeness.measure = 'on_prompt'
)
SELECT
    named < 0.6 AS left_the_topic,
    passed AS within_the_limit,
    count(*) AS how_many,
    (SELECT corr(named, on_prompt) FROM policies) AS correlation_of_all
FROM policies
GROUP BY ALL
ORDER BY ALL
