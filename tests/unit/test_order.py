"""What is trained on in each step: as many rows in the last one as in the others, and the same ones
on any number of devices."""

import pytest
import torch
from accelerate.data_loader import prepare_data_loader
from torch.utils.data import DataLoader, Sampler

from drift.training.order import AsStored, SimilarLengths, filled

BATCH, DEVICE_BATCH = 32, 4


def order(kind: str, count: int, epoch: int = 0) -> Sampler:
    if kind == "as stored":
        return AsStored(count, BATCH)
    return SimilarLengths([10 + row % 7 for row in range(count)], BATCH, 42, lambda: epoch)


def steps(sampler: Sampler, count: int, devices: int) -> list[list[int]]:
    """The rows of each step, sorted, as the trainer's loader spreads them over devices."""
    accumulated, shares = BATCH // (DEVICE_BATCH * devices), []
    for device in range(devices):
        loader = DataLoader(range(count), DEVICE_BATCH, sampler=sampler, drop_last=True)
        options = {"num_processes": devices, "process_index": device, "put_on_device": False, "even_batches": True}
        prepared = prepare_data_loader(loader, device=torch.device("cpu"), **options)
        shares.append([batch.tolist() for batch in prepared])
    return [
        sorted(row for share in shares for batch in share[start : start + accumulated] for row in batch)
        for start in range(0, len(shares[0]), accumulated)
    ]


@pytest.mark.parametrize("kind", ["as stored", "by length"])
@pytest.mark.parametrize("count", [33, 20, 100, 5, 64])
def test_every_step_has_the_same_rows_on_any_number_of_devices(kind, count):
    sampler = order(kind, count)
    alone = steps(sampler, count, 1)
    assert {len(rows) for rows in alone} == {BATCH}
    assert len(sampler) == len(list(sampler)) == BATCH * len(alone)
    assert {row for rows in alone for row in rows} == set(range(count))
    for devices in (2, 4, 8):
        assert steps(sampler, count, devices) == alone, devices


@pytest.mark.parametrize("epoch", [0, 3])
def test_the_last_step_is_filled_up_from_the_beginning_of_its_own_epoch(epoch):
    rows = list(order("by length", 33, epoch))
    assert rows[33:] == rows[:31]
    assert sorted(rows[:33]) == list(range(33))


def test_whole_steps_have_each_row_once():
    assert sorted(order("by length", 64)) == list(order("as stored", 64)) == list(range(64))


def test_fewer_rows_than_a_step_are_repeated_as_often_as_needed():
    assert filled([2, 0, 1], 7) == [2, 0, 1, 2, 0, 1, 2]
