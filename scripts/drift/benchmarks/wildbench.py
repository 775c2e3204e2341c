"""WildBench v2 (Lin et al. 2024, arXiv:2406.04770): 1,024 tasks from real conversations, each with
a checklist.

The task file is the data set allenai/WildBench, config v2; files of answers are those of
allenai/WildBench-V2-Model-Outputs. Answers are scored 1 to 10 (WB-Score), and compared with those
of `references` by judges whose verdict is a choice (WB-Reward). Scores also rate the run's
policies.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from drift.benchmarks.records import Judging, conversation, identity, texts
from drift.metrics.display import Metric, hundredths, tenths, whole

if TYPE_CHECKING:
    import polars as pl

    from drift.metrics.resampling import Estimate, Statistic

JUDGING = Judging("score", order="random")
SIZE = 1024
FILES = ("path", "baseline", "references")
METRICS = (
    Metric(
        "wb_score_task_macro",
        "WB-Score, task-weighted",
        tenths,
        help="weighted mean of the groups' scores, -80 to 100: what is reported as WildBench's task score",
        curve="Rising: the judge scores the answers higher over the groups of tasks; 0 is a score of 5 of 10.",
        headline=True,
        better="higher",
    ),
    Metric(
        "wb_score",
        "WB-Score",
        tenths,
        help="mean score over all tasks, -80 to 100; 0 is a score of 5 of 10",
        better="higher",
    ),
    Metric(
        "wb_score_raw",
        "WB-Score, 1 to 10",
        hundredths,
        help="mean score as the judge gives it",
        detail=True,
        better="higher",
    ),
    Metric(
        "wb_score_adjusted",
        "WB-Score, adjusted",
        hundredths,
        help="the same less 5, doubled",
        detail=True,
        better="higher",
    ),
    Metric(
        "wb_reward_task_macro_k500",
        "WB-Reward, task-weighted, K = 500",
        tenths,
        help="as WB-Reward with K = 500, as the weighted mean of the groups",
        curve="Rising: against the references' answers the judge more often prefers the policy's; slight wins by over 500 "
        "characters count as draws. 0 (dashed) is a draw.",
        rule=0.0,
        headline=True,
        better="higher",
    ),
    Metric(
        "wb_reward_k500",
        "WB-Reward, K = 500",
        tenths,
        help="WB-Reward where a slight win by over 500 characters is a draw",
        better="higher",
    ),
    Metric(
        "wb_reward_task_macro",
        "WB-Reward, task-weighted",
        tenths,
        help="without a penalty on length, by groups",
        detail=True,
        better="higher",
    ),
    Metric(
        "wb_reward",
        "WB-Reward",
        tenths,
        help="without a penalty on length",
        detail=True,
        better="higher",
    ),
    Metric(
        "elo_bradley_terry",
        "Rating (Bradley-Terry)",
        whole,
        help="of this run's policies among each other, from their scores on the same tasks; their mean is 1,000",
        curve="Rising: scored at least two points higher than the run's other policies on more tasks.",
        better="higher",
    ),
    Metric(
        "elo",
        "Elo",
        whole,
        help="the same by sequential Elo, as WildBench has it, over random orders of the votes",
        better="higher",
    ),
)


def key(record: dict) -> str:
    """The session of the conversation."""
    return identity(record, "session_id", "id")


def task(record: dict) -> dict:
    """A row of the data set as a task, with the groups that its tags belong to."""
    from drift.cli import StageError
    from drift.metrics.wildbench import groups_of

    checklist = texts(record.get("checklist"), "checklist")
    if not checklist:
        raise ValueError("no checklist: this is not version 2 of WildBench")
    tags = [record["primary_tag"], *(texts(record.get("secondary_tags"), "secondary_tags") or [])]
    try:
        categories = sorted(groups_of(tags))
    except StageError as error:
        raise ValueError(str(error)) from error
    return {
        "prompt": conversation(record["conversation_input"], "conversation_input"),
        "checklist": checklist,
        "categories": categories,
    }


def metrics(judgments: "pl.DataFrame", tasks: "pl.DataFrame", files: Mapping[str, Path]) -> "dict[str, Statistic]":
    """WB-Score and WB-Reward; win rates, which WildBench does not report, have no place among
    them."""
    from drift.metrics import wildbench

    return wildbench.statistics(judgments, tasks)


def run_metrics(
    judged: "Sequence[pl.DataFrame]", tasks: "pl.DataFrame", resamples: int, seed: int
) -> "list[dict[str, Estimate]]":
    """Ratings of the run's policies among each other."""
    from drift.metrics import elo

    return elo.ratings(judged, tasks, resamples, seed)
