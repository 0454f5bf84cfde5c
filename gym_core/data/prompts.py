"""What a row asks, as text; its identity; and a sketch by which nearly equal prompts find each other.

The sketch keeps the 8 smallest hashes of all runs of 13 words (the n-gram size of arXiv 2005.14165, appendix C), so a
row costs 8 numbers however long it is (bottom-k sampling, Cohen & Kaplan 2007).
"""

from __future__ import annotations

import hashlib
import heapq
import unicodedata
from typing import Any

SHINGLE_WORDS = 13
SKETCH = 8


def prompt_text(row: dict[str, Any]) -> str:
    """All text of a row's input, messages one after another; "" where it has none."""
    params = row.get("responses_create_params")
    given = params.get("input") if isinstance(params, dict) else None
    if isinstance(given, str):
        return given
    if not isinstance(given, list):
        return ""
    return "\n".join(filter(None, (_item_text(item) for item in given)))


def _item_text(item: Any) -> str:
    content = item.get("content") if isinstance(item, dict) else None
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return "".join(part["text"] for part in parts if isinstance(part, dict) and isinstance(part.get("text"), str))


def normalised(text: str) -> str:
    """Case, white space and Unicode form do not make another prompt."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def digest(text: str) -> int:
    """64 bits of a text."""
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).digest(), "little")


def sketch(text: str) -> tuple[int, ...]:
    """The smallest hashes of the runs of words in a normalised text; a short text is one run."""
    words = text.split()
    if not words:
        return ()
    runs = max(1, len(words) - SHINGLE_WORDS + 1)
    hashes = {digest(" ".join(words[start : start + SHINGLE_WORDS])) for start in range(runs)}
    return tuple(heapq.nsmallest(SKETCH, hashes))
