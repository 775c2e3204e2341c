"""Every job's log and timings are found by its rule and its wildcards."""

import pytest

from drift.workflow.records import place


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("results/demo/data/turns.parquet", "stage/all"),
        ("results/demo/{model}/{policy}/eval/{benchmark}/responses.parquet", "stage/{model}/{policy}/{benchmark}"),
        ("{model}/{trained,warmup|x}/completions/{i,[1-9][0-9]*}-of-{n,[1-9]}.parquet", "stage/{model}/{trained}/{i}-of-{n}"),
        ("judges/{judge}/validation/{benchmark}/{judge}.parquet", "stage/{judge}/{benchmark}"),
    ],
)
def test_records_are_named_by_the_rule_and_each_wildcard_once(output, expected):
    assert place("stage", output) == expected
