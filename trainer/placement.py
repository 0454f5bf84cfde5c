"""Where the long-lived objects of a run live: in this process, or as Ray actors. The same objects either way.

    placement = LocalPlacement() | RayPlacement()
    learner = await placement.place(build_learner, recipe, seed)     # the factory runs where the object will live
    metrics = await learner.call("step", samples)
    spread = await placement.place_ranks(4, build_sharded_learner, recipe)    # one object of four processes (ranks.py)
    replica = await placement.place_apart("policy-1", PolicyHost, settings)   # it may die, and be placed again

An object is called from one thread at a time and never blocks the event loop. An actor that dies is a typed error
in the caller, not a hang. `lost` says which ones are dead, `renew` gives all places back and takes new ones, on
whatever nodes are left: a lost node costs a step, not the run.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

from trainer.handles import ActorDied, Apart, Handle
from trainer.process_handle import ProcessHandle
from trainer.ranks import RankHost, RanksHandle
from trainer.ray_placement import NoRoom, RayHandle, RayPlacement

__all__ = ["ActorDied", "Handle", "LocalHandle", "LocalPlacement", "NoRoom", "Placement", "RayHandle", "RayPlacement"]


class Placement(Protocol):
    """Makes handles. `lost` names the placed objects that are gone; after `renew` nothing is placed."""

    async def place(self, factory: Callable[..., Any], *args: Any, **kwargs: Any) -> Handle: ...

    async def place_ranks(self, world: int, factory: Callable[..., Any], *args: Any) -> Handle: ...

    async def place_apart(self, name: str, factory: Callable[..., Any], *args: Any) -> Apart:
        """In a process of its own, which whoever asked for it looks after. The same name again, once that process has
        ended, takes its place."""
        ...

    async def machines(self) -> int:
        """On how many machines places may be."""
        ...

    async def lost(self) -> list[str]: ...

    async def renew(self) -> None: ...

    async def close(self) -> None: ...


class LocalHandle:
    """The object in this process, on a thread of its own."""

    def __init__(self, name: str = "learner") -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._object: Any = None

    async def make(self, factory: Callable[..., Any], *args: Any, **kwargs: Any) -> LocalHandle:
        self._object = await self._run(lambda: factory(*args, **kwargs))
        return self

    async def call(self, method: str, *args: Any, **kwargs: Any) -> Any:
        return await self._run(lambda: getattr(self._object, method)(*args, **kwargs))

    async def _run(self, work: Callable[[], Any]) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def close(self) -> None:
        self._thread.shutdown(wait=True)
        self._object = None


class LocalPlacement:
    """Everything in this process, but what is made of several: laptops and tests."""

    def __init__(self) -> None:
        self._handles: list[Handle] = []
        self._apart: dict[str, ProcessHandle] = {}
        self._meeting: list[tempfile.TemporaryDirectory[str]] = []

    async def place(self, factory: Callable[..., Any], *args: Any, **kwargs: Any) -> Handle:
        handle = LocalHandle(getattr(factory, "__name__", "object"))
        self._handles.append(handle)
        return await handle.make(factory, *args, **kwargs)

    async def place_ranks(self, world: int, factory: Callable[..., Any], *args: Any) -> Handle:
        """An object of `world` processes of this machine."""
        folder = tempfile.TemporaryDirectory(prefix="palaestra-ranks-")
        self._meeting.append(folder)
        name = getattr(factory, "__name__", "object")
        handles = [ProcessHandle(f"{name}-{rank}") for rank in range(world)]
        ranks = RanksHandle(name, handles)
        self._handles.append(ranks)
        await asyncio.gather(*(handle.make(RankHost, rank, world) for rank, handle in enumerate(handles)))
        return await ranks.join(f"file://{Path(folder.name) / 'meeting'}", factory, args)

    async def place_apart(self, name: str, factory: Callable[..., Any], *args: Any) -> ProcessHandle:
        if (before := self._apart.pop(name, None)) is not None:
            await before.close()
        handle = self._apart[name] = ProcessHandle(name)
        return await handle.make(factory, *args)

    async def machines(self) -> int:
        return 1

    async def lost(self) -> list[str]:
        """Of those apart. The loss of this process, or of one of a layout's, is for a resume."""
        return [name for name, handle in self._apart.items() if not await handle.alive()]

    async def renew(self) -> None:
        await self.close()

    async def close(self) -> None:
        for apart in self._apart.values():
            apart.kill()
        for handle in (*self._handles, *self._apart.values()):
            await handle.close()
        self._handles.clear()
        self._apart.clear()
        for folder in self._meeting:
            folder.cleanup()
        self._meeting.clear()
