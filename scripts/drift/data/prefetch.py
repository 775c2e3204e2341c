"""Work on the next items while the one before is used: for steps that leave the interpreter.

Polars, DuckDB and files do, so that threads are enough.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Made = TypeVar("Made")
# More would hold more batches of texts in memory and save little time: polars and DuckDB have
# threads of their own.
THREADS = 2


def ahead(items: Iterable[Item]) -> Iterator[Item]:
    """`items` in order, each made by another thread while the one before is used; at most one
    waits.

    What `items` raises is raised where its item would have come.
    """
    iterator, end = iter(items), object()
    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(next, iterator, end)
        while (item := coming.result()) is not end:
            coming = thread.submit(next, iterator, end)
            yield item


def mapped(function: Callable[[Item], Made], items: Iterable[Item]) -> Iterator[Made]:
    """`function` of every item, in order, by THREADS threads, at most THREADS + 1 items ahead.

    What `items` or `function` raises is raised where its result would have come.
    """
    coming: deque = deque()
    with ThreadPoolExecutor(THREADS) as threads:
        for item in items:
            coming.append(threads.submit(function, item))
            if len(coming) > THREADS:
                yield coming.popleft().result()
        while coming:
            yield coming.popleft().result()
