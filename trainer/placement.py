"""Where the long-lived objects of a run live: in this process, or as Ray actors. The same objects either way.

    placement = LocalPlacement() | RayPlacement()
    learner = await placement.place(build_learner, recipe, seed)     # the factory runs where the object will live
    metrics = await learner.call("step", samples)
    spread = await placement.place_ranks(4, build_sharded_learner, recipe)    # one object of four processes (ranks.py)

An object is called from one thread at a time and never blocks the event loop. An actor that dies is a typed error
in the caller, not a hang.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

from gym_core.errors import DeadlineExceeded
from trainer.ranks import ActorDied, Handle, ProcessHandle, RankHost, RanksHandle

__all__ = ["ActorDied", "Handle", "LocalHandle", "LocalPlacement", "Placement", "RayHandle", "RayPlacement"]

LOCAL_CPUS = 2
LOCAL_STORE_BYTES = 96 << 20
"""A local Ray holds a learner and a policy engine; what they send each other is small."""


class Placement(Protocol):
    """Makes handles."""

    async def place(self, factory: Callable[..., Any], *args: Any, **kwargs: Any) -> Handle: ...

    async def place_ranks(self, world: int, factory: Callable[..., Any], *args: Any) -> Handle: ...

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

    async def close(self) -> None:
        for handle in self._handles:
            await handle.close()
        self._handles.clear()
        for folder in self._meeting:
            folder.cleanup()


class _Actor:
    """What runs inside a Ray actor: the object, made there."""

    def __init__(self, factory: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._object = factory(*args, **kwargs)

    def call(self, method: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return getattr(self._object, method)(*args, **kwargs)

    def ready(self) -> bool:
        return True


class RayHandle:
    """An actor. Never restarted by itself: its state would be lost in silence; the run resumes from a checkpoint."""

    def __init__(self, actor: Any, name: str, timeout_s: float) -> None:
        self._actor, self._name, self._timeout_s = actor, name, timeout_s

    async def call(self, method: str, *args: Any, **kwargs: Any) -> Any:
        return await self._wait(self._actor.call.remote(method, args, kwargs), method)

    async def ready(self) -> RayHandle:
        await self._wait(self._actor.ready.remote(), "ready")
        return self

    async def _wait(self, reference: Any, what: str) -> Any:
        import ray

        try:
            return await asyncio.wait_for(_as_future(reference), self._timeout_s)
        except ray.exceptions.RayTaskError as error:
            cause = error.cause if isinstance(error.cause, Exception) else error
            raise cause from error
        except ray.exceptions.RayActorError as error:
            raise ActorDied(
                f"the actor {self._name} died during `{what}`: {str(error).splitlines()[0]}",
                stage=what,
                server="ray",
                hint="resume the run from its last checkpoint",
            ) from None
        except TimeoutError:
            raise DeadlineExceeded(
                f"`{what}` of the actor {self._name} took over {self._timeout_s} s", stage=what, server="ray"
            ) from None

    async def close(self) -> None:
        import ray

        ray.kill(self._actor, no_restart=True)


async def _as_future(reference: Any) -> Any:
    return await reference


class RayPlacement:
    """Ray actors, on one machine or a cluster. `address` None starts a small local Ray with room for `actors`, whatever
    the machine has; `options` go to every actor."""

    def __init__(
        self, address: str | None = None, *, actors: int = LOCAL_CPUS, call_timeout_s: float = 3600.0, **options: Any
    ) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        import ray

        self._call_timeout_s = call_timeout_s
        self._options = {"num_cpus": 1, "max_restarts": 0, **options}
        self._handles: list[Handle] = []
        self._started = not ray.is_initialized()
        if self._started:
            small: dict[str, Any] = (
                {} if address else {"num_cpus": max(actors, LOCAL_CPUS), "object_store_memory": LOCAL_STORE_BYTES}
            )
            ray.init(address=address, include_dashboard=False, log_to_driver=False, configure_logging=False, **small)

    async def place(self, factory: Callable[..., Any], *args: Any, **kwargs: Any) -> Handle:
        handle = self._actor(getattr(factory, "__name__", "object"), factory, args, kwargs)
        self._handles.append(handle)
        return await handle.ready()

    async def place_ranks(self, world: int, factory: Callable[..., Any], *args: Any) -> Handle:
        """An object of `world` actors, wherever the cluster has room; they meet on the machine of the first."""
        name = getattr(factory, "__name__", "object")
        handles = [self._actor(f"{name}-{rank}", RankHost, (rank, world), {}) for rank in range(world)]
        ranks = RanksHandle(name, handles)
        self._handles.append(ranks)
        await asyncio.gather(*(handle.ready() for handle in handles))
        return await ranks.join("", factory, args)

    def _actor(
        self, name: str, factory: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> RayHandle:
        import ray

        return RayHandle(
            ray.remote(_Actor).options(**self._options).remote(factory, args, kwargs), name, self._call_timeout_s
        )

    async def close(self) -> None:
        import ray

        for handle in self._handles:
            await handle.close()
        self._handles.clear()
        if self._started:
            ray.shutdown()
