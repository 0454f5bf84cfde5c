"""Verdicts that were given before: a group of rollouts often says the same words, and each costs a check once.

    key = digest(environment, version, grading, row, what the policy said) ─▶ verdict, a copy for each caller

Only verdicts that follow from task and reply alone come here (`Host.cacheable`); failures and the words of a judge are
never kept. Callers who ask the same at the same moment wait for the first of them.
"""

from __future__ import annotations

import asyncio
import hashlib
import pickle
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from gym_core.contracts import Grading
from gym_core.errors import PalaestraError

MAX_BYTES = 16 << 20
"""Of all verdicts that are kept."""

MAX_ENTRY_BYTES = 64 << 10
"""A verdict with more details than this is not kept."""

BOOKKEEPING = frozenset(
    ("id", "status", "annotations", "logprobs", "prompt_token_ids", "generation_token_ids", "generation_log_probs")
)
"""Keys of output items, and of their parts, that differ between two rollouts that say the same."""

COUNTERS = "_ng_"
"""Prefix of row fields that number a rollout and say nothing of its task."""

_Outcome = bytes | PalaestraError | None


class VerdictCache:
    """The last `entries` verdicts of all environments of a process, within `max_bytes`."""

    def __init__(self, entries: int, max_bytes: int = MAX_BYTES) -> None:
        self.entries = entries
        self.max_bytes = max_bytes
        self._kept: OrderedDict[bytes, bytes] = OrderedDict()
        self._size = 0
        self._pending: dict[bytes, asyncio.Future[_Outcome]] = {}

    def __len__(self) -> int:
        return len(self._kept)

    async def fetch(self, key: bytes, grade: Callable[[], Awaitable[Any]]) -> tuple[Any, bool]:
        """What `grade` says, and whether it was known already.

        Who asks while somebody else's `grade` runs gets its verdict, or its failure where that would come again (not a
        full queue, not the other one's deadline); else the next of them tries.
        """
        while True:
            packed = self._kept.get(key)
            if packed is not None:
                self._kept.move_to_end(key)
                return pickle.loads(packed), True
            first = self._pending.get(key)
            if first is None:
                return await self._grade(key, grade), False
            outcome = await asyncio.shield(first)
            if isinstance(outcome, PalaestraError):
                raise PalaestraError.from_info(outcome.info())
            if outcome is not None:
                return pickle.loads(outcome), True

    async def _grade(self, key: bytes, grade: Callable[[], Awaitable[Any]]) -> Any:
        pending: asyncio.Future[_Outcome] = asyncio.get_running_loop().create_future()
        self._pending[key] = pending
        outcome: _Outcome = None
        try:
            value = await grade()
            outcome = _packed(value)
            self._keep(key, outcome)
            return value
        except PalaestraError as error:
            outcome = None if error.retryable else error
            raise
        finally:
            del self._pending[key]
            pending.set_result(outcome)

    def _keep(self, key: bytes, packed: bytes | None) -> None:
        if packed is None or len(packed) > MAX_ENTRY_BYTES or not self.entries:
            return
        self._kept[key] = packed
        self._size += len(packed)
        while len(self._kept) > self.entries or self._size > self.max_bytes:
            _, dropped = self._kept.popitem(last=False)
            self._size -= len(dropped)


def verdict_key(name: str, version: str, grading: Grading, row: dict[str, Any], output: list[dict[str, Any]]) -> bytes:
    """16 bytes that tell two questions apart. Order of keys counts: a verifier may look at it."""
    task = {key: value for key, value in row.items() if not key.startswith(COUNTERS)}
    said = [_bare(item) for item in output]
    return hashlib.blake2b(msgspec.json.encode([name, version, grading, task, said]), digest_size=16).digest()


def _bare(item: dict[str, Any]) -> dict[str, Any]:
    bare = {key: value for key, value in item.items() if key not in BOOKKEEPING}
    content = bare.get("content")
    if isinstance(content, list):
        bare["content"] = [
            {key: value for key, value in part.items() if key not in BOOKKEEPING} if isinstance(part, dict) else part
            for part in content
        ]
    return bare


def _packed(value: Any) -> bytes | None:
    """Bytes to copy a verdict from; None where its details cannot be copied."""
    try:
        return pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
    except (pickle.PicklingError, TypeError, AttributeError):
        return None
