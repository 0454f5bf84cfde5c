"""Warm REPLs by header: importing a library takes seconds, so it is done once for each process and never for a proof.

    async with pool.lease(header) as (repl, env): answer = await repl.ask(Command(cmd=…, env=env), timeout_s=…)

At most `size` processes, each busy with one proof or idle; the one that was idle longest makes room for a new header.
A process is replaced when it died or overran, and after `max_asked` questions: it keeps every environment it made.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from environments.lean_proofs.protocol import Command
from environments.lean_proofs.repl import Repl, ReplFault
from gym_core.errors import Busy

Starter = Callable[[], Awaitable[Repl]]
MAX_WAITING = 256


class ReplPool:
    """REPLs that have read a header. Used on one event loop."""

    def __init__(self, start: Starter, size: int = 2, *, max_asked: int = 200, header_s: float = 120.0) -> None:
        self._start = start
        self._slots = asyncio.Semaphore(size)
        self._idle: list[tuple[str, Repl, int]] = []
        self._size = size
        self._busy = 0
        self._waiting = 0
        self.max_asked = max_asked
        self.header_s = header_s

    @asynccontextmanager
    async def lease(self, header: str) -> AsyncIterator[tuple[Repl, int]]:
        """A process that has read this header, and the environment that came of it; nobody else's meanwhile.

        Raises `Busy` when too many wait, `ReplFault` where the header itself is wrong.
        """
        if self._waiting >= MAX_WAITING:
            raise Busy(f"{MAX_WAITING} proofs wait for Lean already", retry_after_s=1.0)
        self._waiting += 1
        try:
            await self._slots.acquire()
        finally:
            self._waiting -= 1
        self._busy += 1
        try:
            repl, env = await self._ready(header)
            try:
                yield repl, env
            finally:
                await self._give_back(header, repl, env)
        finally:
            self._busy -= 1
            self._slots.release()

    async def close(self) -> None:
        """End the idle processes; a busy one ends when its proof does."""
        idle, self._idle, self.max_asked = self._idle, [], 0
        for _, repl, _ in idle:
            await repl.close()

    async def _ready(self, header: str) -> tuple[Repl, int]:
        for number in reversed(range(len(self._idle))):
            known, repl, env = self._idle[number]
            if known == header:
                del self._idle[number]
                if repl.alive:
                    return repl, env
                await repl.close()
        while len(self._idle) + self._busy > self._size:
            _, oldest, _ = self._idle.pop(0)
            await oldest.close()
        return await self._warm(header)

    async def _warm(self, header: str) -> tuple[Repl, int]:
        repl = await self._start()
        try:
            answer = await repl.ask(Command(cmd=header), self.header_s)
        except BaseException:
            await repl.close()
            raise
        if answer.env is None or answer.errors:
            await repl.close()
            said = answer.message or "; ".join(message.data for message in answer.errors[:2])
            raise ReplFault(f"Lean refuses the header: {said[:300]}")
        return repl, answer.env

    async def _give_back(self, header: str, repl: Repl, env: int) -> None:
        if repl.alive and repl.asked < self.max_asked:
            self._idle.append((header, repl, env))
        else:
            await repl.close()
