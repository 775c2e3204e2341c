"""Which weights can go; tests/dag/test_rerun.py deletes them in a finished run."""

import prune
from drift.workflow.dry_run import Job


def job(rule: str, made: list[str], read: list[str], trained: str) -> Job:
    fields = {"output": ", ".join(made), "input": ", ".join(read), "wildcards": f"model=m, trained={trained}"}
    return Job(rule, fields)


def training(trained: str, start: str) -> Job:
    made = [f"r/m/{trained}/{name}" for name in ("policy", "remainder", "policy.json")]
    return job("train", made, [f"r/m/{start}/policy", f"r/m/{trained}/pairs.parquet"], trained)


def test_a_policy_of_the_future_goes_when_it_was_asked():
    """Nothing is trained from it, and it is not among the evaluated."""
    first, second, future = ("x/seed1/iter1", "x/seed1/iter2", "x.future/seed1/iter2")
    asks = job("sample_of", ["r/m/of.parquet"], [f"r/m/{future}/policy"], second)
    jobs = [training("warmup", "base"), training(first, "warmup"), training(future, first), training(second, first), asks]
    gone = [f"r/m/{future}/policy", f"r/m/{future}/remainder", f"r/m/{first}/policy"]
    assert prune.prunable(jobs, []) == sorted(gone)
    assert prune.prunable(jobs, [asks]) == sorted(gone[1:]), "not before"
