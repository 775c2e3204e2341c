"""Chance that can be repeated: seeds of completions, samples of rows, and coins that were thrown by
others before."""

import hashlib
import random
from collections.abc import Iterable


def completion_seed(*parts: str | int) -> int:
    """A 63-bit seed from what the completion is: the same parts give the same seed anywhere, other
    parts another one."""
    digest = hashlib.blake2b("|".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def chance(*parts: str | int) -> float:
    """A number in [0, 1) from what the coin is about: the same parts give the same number."""
    return completion_seed(*parts) / 2**63


def is_switched(instruction: str, seed: int = 0) -> bool:
    """Whether AlpacaEval's published annotator shows the model's answer first, as m, and the
    baseline's as M.

    A coin that `instruction` (the exact text) and `seed` determine, so that all models are judged
    in the same orders.
    """
    return random.Random(f"is_switched_outputs{instruction}{seed}").choices([False, True], k=1)[0]


def picked(names: Iterable[str], count: int, seed: int) -> list[str]:
    """`count` of `names` (all, if there are fewer), those of the smallest seeded hash: the same
    ones in whatever order the names come."""
    return sorted(names, key=lambda name: hashlib.blake2b(f"{seed}|{name}".encode()).digest())[:count]
