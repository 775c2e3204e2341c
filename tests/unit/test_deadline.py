"""A job that stops by itself: in time, and when it is asked to."""

import os
import signal

import pytest

from drift.training.deadline import ALLOWANCE, Deadline


@pytest.fixture(autouse=True)
def restored():
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def test_an_allowance_is_kept_of_the_limit():
    deadline = Deadline(60)
    assert deadline.near(3600 - ALLOWANCE + 1)
    assert not deadline.near(3600 - ALLOWANCE - 10)


def test_a_short_limit_is_not_all_allowance():
    assert not Deadline(2).near(0.9 * 120 - 5)


def test_without_a_limit_only_sigterm_ends_it():
    deadline = Deadline(None)
    assert not deadline.near(1e9)
    os.kill(os.getpid(), signal.SIGTERM)
    assert deadline.near(0)
    assert "SIGTERM" in deadline.reason
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL, "a second SIGTERM must end the program at once"
