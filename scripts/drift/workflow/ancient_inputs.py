"""What depends on a job by ancient inputs alone is still looked at for changes of its own.

A job that is to run makes snakemake skip all that come after it, as these will run anyway. It
forgets that an ancient input makes nothing run: what follows behind one is neither run nor
looked at, and a changed setting there would be found by the next call of snakemake only. So while
it decides what to run, these edges of the graph are taken away here. A table that a training
waited for and that is gone is made again, and the training is not.

This leans on snakemake's internals: a unit test fails when they change.
"""

from collections import defaultdict
from typing import Any


def install() -> None:
    """Replace the method of this process's graphs."""
    from snakemake.dag import DAG  # which can be imported only where snakemake has started

    DAG.update_needrun = _looking_behind_ancient_inputs(DAG.update_needrun)


def _looking_behind_ancient_inputs(update_needrun):
    async def looking(dag: Any, *arguments, **options) -> None:
        whole, followed = dag.depending, defaultdict(dict)
        for job, followers in whole.items():
            followed[job] = {after: files for after, files in followers.items() if not all(file.is_ancient for file in files)}
        dag.depending = followed
        try:
            await update_needrun(dag, *arguments, **options)
        finally:
            dag.depending = whole

    return looking
