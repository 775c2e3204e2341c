"""Work ahead of its use: in order, bounded, and no error lost."""

import threading

import pytest

from drift.data.prefetch import THREADS, ahead, mapped


@pytest.mark.parametrize("run", [ahead, lambda items: mapped(lambda item: item, items)])
@pytest.mark.parametrize("count", [0, 1, 50])
def test_everything_comes_once_and_in_order(run, count):
    assert list(run(iter(range(count)))) == list(range(count))


def failing():
    yield 1
    yield 2
    raise ValueError("third")


@pytest.mark.parametrize("run", [ahead, lambda items: mapped(lambda item: item, items)])
def test_an_error_of_the_items_ends_the_loop(run):
    with pytest.raises(ValueError, match="third"):
        list(run(failing()))


def test_an_error_of_the_work_comes_in_its_place():
    made = mapped(lambda item: 6 // item, [3, 2, 0, 1])
    assert [next(made), next(made)] == [2, 3]
    with pytest.raises(ZeroDivisionError):
        next(made)


def test_few_items_are_taken_before_they_are_used():
    taken = []
    made = mapped(lambda item: item, (taken.append(item) or item for item in range(100)))
    next(made)
    assert len(taken) <= THREADS + 1
    made.close()


def test_items_are_worked_on_at_once():
    both = threading.Barrier(2, timeout=10)
    assert list(mapped(lambda item: both.wait() >= 0, range(4))) == [True] * 4
