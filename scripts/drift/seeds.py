"""One seed for each completion."""

import hashlib


def completion_seed(*parts: str | int) -> int:
    """A 63-bit seed from what the completion is: the same parts give the same seed anywhere, other parts another one."""
    digest = hashlib.blake2b("|".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1
