"""Randomness as a tree (DESIGN §5.7): run → task → repeat → turn. A path names a seed; the same path, the same seed."""

from __future__ import annotations

import hashlib
import random

SEED_BITS = 63


def derive(*path: int | str) -> int:
    """The seed at this path of the tree, in [0, 2**63); independent of process and hash seed."""
    text = "\x1f".join(str(part) for part in path)
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> (64 - SEED_BITS)


def rng(*path: int | str) -> random.Random:
    """A generator of its own at this path of the tree."""
    return random.Random(derive(*path))
