"""The order in which the rows of an epoch are trained on.

It is made of whole steps. Where the last one lacks rows, rows from the beginning of the epoch's
order fill it up. Else accelerate would, with as many as the number of devices asks for, and the
policy would depend on that number.
"""

import math
from collections.abc import Callable
from typing import TypeVar

import torch
from datasets import Dataset
from torch.utils.data import Sampler
from transformers import Trainer, TrainingArguments

# Global batches that are sorted by length together: the more, the less padding, and the less random
# which pairs share a step.
_SORTED_TOGETHER = 50

T = TypeVar("T")


def filled(order: list[T], batch: int) -> list[T]:
    """`order` and, until it is a multiple of `batch` rows, its beginning again, as often as that
    takes."""
    return [order[place % len(order)] for place in range(batch * math.ceil(len(order) / batch))]


class AsStored(Sampler):
    """The order of every epoch is that of the `count` rows; `batch` in rows."""

    def __init__(self, count: int, batch: int):
        self.order = filled(list(range(count)), batch)

    def __len__(self) -> int:
        return len(self.order)

    def __iter__(self):
        return iter(self.order)


class SimilarLengths(Sampler):
    """The order of an epoch: global batches of pairs of similar length, in random order.

    It follows from `seed` and the epoch alone, so that neither an interruption nor the number of
    devices changes it. `lengths` of the pairs in tokens, `batch` in pairs.
    """

    def __init__(self, lengths: list[int], batch: int, seed: int, epoch: Callable[[], int]):
        self.lengths, self.batch, self.seed, self.epoch = lengths, batch, seed, epoch

    def __len__(self) -> int:
        return self.batch * math.ceil(len(self.lengths) / self.batch)

    def __iter__(self):
        generator = torch.Generator().manual_seed(self.seed + self.epoch())
        order = torch.randperm(len(self.lengths), generator=generator).tolist()
        together = self.batch * _SORTED_TOGETHER
        ordered = []
        for start in range(0, len(order), together):
            ordered += sorted(order[start : start + together], key=lambda row: -self.lengths[row])
        batches = [ordered[start : start + self.batch] for start in range(0, len(ordered), self.batch)]
        # A last batch that is not full stays the last, where the first ones fill it up.
        full = len(ordered) // self.batch
        shuffled = torch.randperm(full, generator=generator).tolist() + list(range(full, len(batches)))
        return iter(filled([row for number in shuffled for row in batches[number]], self.batch))


def as_stored(trainer: Trainer, rows: Dataset | None) -> AsStored:
    """The order of `rows`, of the trainer's own where there are none, as they are stored."""
    return AsStored(len(trainer.train_dataset if rows is None else rows), _step_rows(trainer.args))


def by_length(trainer: Trainer, rows: Dataset | None) -> SimilarLengths:
    """The same by their column `length`, whatever epoch the trainer is in."""
    rows, batch = trainer.train_dataset if rows is None else rows, _step_rows(trainer.args)
    steps = math.ceil(len(rows) / batch)
    return SimilarLengths(list(rows["length"]), batch, trainer.args.seed, lambda: trainer.state.global_step // steps)


def _step_rows(arguments: TrainingArguments) -> int:
    """Rows of an optimizer step over all devices."""
    return arguments.per_device_train_batch_size * arguments.gradient_accumulation_steps * arguments.world_size
