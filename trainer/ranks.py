"""One object made of many processes: every call goes to all of them at once, process 0's answer is the answer.

    handle = await placement.place_ranks(4, build_sharded_learner, recipe)
    metrics = await handle.call("step", samples)

The processes are a `torch.distributed` group (gloo). An error that all of them raise alike, such as a step that was
refused, leaves the group as it was. One that falls out of step leaves the group, the others notice at their next
collective, and from then on every call says so: resume the run from its last checkpoint.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

from gym_core.errors import PalaestraError
from trainer.handles import ActorDied, Placed

TIMEOUT_S = 600.0
"""How long a process waits for the others inside one collective before it gives them up."""


class RankHost:
    """One of the processes: it meets the others, makes its part, and leaves when it can no longer keep step."""

    def __init__(self, rank: int, world: int, timeout_s: float = TIMEOUT_S) -> None:
        self.rank, self.world, self.timeout_s = rank, world, timeout_s
        self._group = ExitStack()
        self._object: Any = None

    def address(self) -> str:
        """Where this process can be met: a free port of this machine."""
        host = socket.gethostbyname(socket.gethostname())
        with socket.socket() as probe:
            probe.bind((host, 0))
            return f"tcp://{host}:{probe.getsockname()[1]}"

    def join(self, init_method: str, factory: Callable[..., Any], args: tuple[Any, ...]) -> None:
        """Meet the others, then make the object among them."""
        from model.parallel.ranks import member

        if init_method.startswith("file:") and sys.platform == "linux":
            os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # one machine: nothing listens beyond it
        self._group.enter_context(member(self.rank, self.world, init_method, timeout_s=self.timeout_s))
        self._object = self._in_step(lambda: factory(*args))

    def run(self, method: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The object's method. Only process 0 sends its answer back: the others' are parts, or the same."""
        answer = self._in_step(lambda: getattr(self._object, method)(*args, **kwargs))
        return answer if self.rank == 0 else None

    def _in_step(self, work: Callable[[], Any]) -> Any:
        from model.parallel.ranks import RankLost

        try:
            return work()
        except (PalaestraError, OSError):
            raise  # all of them raise it: see `ShardedLearner`
        except BaseException as error:
            self.leave()
            if isinstance(error, RankLost):
                raise ActorDied(str(error), stage="learner", server="trainer") from None
            raise

    def leave(self) -> None:
        """Close the connections to the others, who wait in vain otherwise."""
        self._group.close()


class RanksHandle:
    """All processes as one object."""

    def __init__(self, name: str, handles: Sequence[Placed]) -> None:
        self.name, self._handles = name, handles
        self._lost = ""

    async def join(self, init_method: str, factory: Callable[..., Any], args: tuple[Any, ...]) -> RanksHandle:
        await self._all("join", init_method or await self._handles[0].call("address"), factory, args)
        return self

    async def call(self, method: str, *args: Any, **kwargs: Any) -> Any:
        if self._lost:
            raise self._died(self._lost)
        return (await self._all("run", method, args, kwargs))[0]

    async def _all(self, method: str, *args: Any) -> list[Any]:
        """Every process's answer. What went wrong first is raised, not what the others made of it."""
        calls = (handle.call(method, *args) for handle in self._handles)
        results = await asyncio.gather(*calls, return_exceptions=True)
        errors = [result for result in results if isinstance(result, BaseException)]
        if not errors:
            return results
        if len(errors) < len(results) or not all(_in_step(error) for error in errors):
            cause = next((error for error in errors if not isinstance(error, ActorDied)), errors[0])
            self._lost = f"{type(cause).__name__}: {cause}"
            raise self._died(self._lost) from cause
        raise errors[0]

    def _died(self, why: str) -> ActorDied:
        return ActorDied(
            f"a process of {self.name} is gone ({why})",
            stage="learner",
            server="trainer",
            hint="resume the run from its last checkpoint; --set layout.dp=… begins with fewer processes",
        )

    async def alive(self) -> bool:
        """Whether all of them are there and in step: one that is gone takes the object with it."""
        return not self._lost and all(await asyncio.gather(*(handle.alive() for handle in self._handles)))

    async def close(self) -> None:
        await asyncio.gather(*(handle.close() for handle in self._handles))  # at once: they may wait for one another


def _in_step(error: BaseException) -> bool:
    return isinstance(error, PalaestraError | OSError) and not isinstance(error, ActorDied)
