"""One object made of many processes: every call goes to all of them at once, process 0's answer is the answer.

    handle = await placement.place_ranks(4, build_sharded_learner, recipe)
    metrics = await handle.call("step", samples)

The processes are a `torch.distributed` group (gloo). An error that all of them raise alike, such as a step that was
refused, leaves the group as it was. One that falls out of step leaves the group, the others notice at their next
collective, and from then on every call says so: resume the run from its last checkpoint.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import socket
import sys
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from multiprocessing.connection import Connection
from typing import Any, ClassVar, Protocol

from gym_core.errors import PalaestraError

TIMEOUT_S = 600.0
"""How long a process waits for the others inside one collective before it gives them up."""
ENDING_S = 10.0


class ActorDied(PalaestraError):
    """The process that held a placed object is gone, and its state with it."""

    code: ClassVar[str] = "actor_died"


class Handle(Protocol):
    """A placed object: call its methods, close it."""

    async def call(self, method: str, *args: Any, **kwargs: Any) -> Any: ...

    async def close(self) -> None: ...


class Placed(Handle, Protocol):
    """One that can be told to be gone."""

    name: str

    async def alive(self) -> bool: ...


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
        for handle in self._handles:
            await handle.close()


def _in_step(error: BaseException) -> bool:
    return isinstance(error, PalaestraError | OSError) and not isinstance(error, ActorDied)


class ProcessHandle:
    """The object in a process of its own on this machine, which ends with this one."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["trainer.sharded_learner"])
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs,), name=name, daemon=True)
        self._theirs: Connection | None = theirs

    async def make(self, factory: Callable[..., Any], *args: Any) -> ProcessHandle:
        await self._in_thread(self._start)
        await self._in_thread(self._ask, (factory, args))
        return self

    async def call(self, method: str, *args: Any, **kwargs: Any) -> Any:
        return await self._in_thread(self._ask, (method, args, kwargs))

    async def _in_thread(self, work: Callable[..., Any], *args: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *args)

    def _start(self) -> None:
        assert self._theirs is not None
        self._process.start()
        self._theirs.close()  # so that its end is seen here
        self._theirs = None

    def _ask(self, question: tuple[Any, ...]) -> Any:
        try:
            self._connection.send(question)
            done, answer = self._connection.recv()
        except (EOFError, ConnectionError, BrokenPipeError):
            self._process.join(ENDING_S)
            raise ActorDied(
                f"the process {self.name} ended with {self._process.exitcode}", stage="learner", server="trainer"
            ) from None
        if not done:
            raise answer
        return answer

    async def alive(self) -> bool:
        return not self._connection.closed and self._process.is_alive()

    async def close(self) -> None:
        """End the process; a second time does nothing."""
        if not self._connection.closed:
            await self._in_thread(self._end)
        self._thread.shutdown(wait=True)

    def _end(self) -> None:
        self._connection.close()
        if self._process.pid is None:
            return
        self._process.join(ENDING_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._process.close()


def _serve(connection: Connection) -> None:
    """The other end of a ProcessHandle: make the object, then call it, until nobody asks any more."""
    held: Any = None
    while True:
        try:
            question = connection.recv()
        except (EOFError, ConnectionError):
            return
        try:
            if held is None:
                factory, args = question
                held, answer = factory(*args), None
            else:
                method, args, kwargs = question
                answer = getattr(held, method)(*args, **kwargs)
            connection.send((True, answer))
        except Exception as error:  # the process boundary: what went wrong is the caller's to know
            error.add_note(traceback.format_exc())
            connection.send((False, error))
