"""An object in a process of its own on this machine, called over a pipe; it ends when whoever made it does."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import pickle
import signal
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from typing import Any

from trainer.handles import ActorDied

ENDING_S = 10.0


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
        self._asked = False

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
        self._asked = True
        try:
            self._connection.send(question)
            done, answer = self._connection.recv()
        except (EOFError, ConnectionError, BrokenPipeError):
            self._process.join(ENDING_S)
            raise ActorDied(
                f"the process {self.name} ended with {self._process.exitcode}", stage=self.name, server="trainer"
            ) from None
        finally:
            self._asked = False
        if not done:
            raise answer
        return answer

    async def alive(self) -> bool:
        return not self._connection.closed and self._process.is_alive()

    def kill(self) -> None:
        """End it now, whatever it does."""
        if not self._connection.closed and self._process.pid is not None:
            self._process.kill()

    async def ended(self) -> None:
        """Return once the process is gone."""
        if self._connection.closed:
            return
        loop, gone = asyncio.get_running_loop(), asyncio.Event()
        watched = os.dup(self._process.sentinel)  # of our own: several may wait
        loop.add_reader(watched, gone.set)
        try:
            await gone.wait()
        finally:
            loop.remove_reader(watched)
            os.close(watched)

    async def close(self) -> None:
        """End the process; a second time does nothing. One that is still at work for a caller who no longer waits, as
        after Ctrl-C, is ended in the middle of it: what it writes is whole or not there."""
        if not self._connection.closed:
            if self._asked:
                self.kill()
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
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal tells all of its processes; the program ends this one
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
            connection.send((False, _portable(error, traceback.format_exc())))


def _portable(error: Exception, note: str) -> Exception:
    """The error as it can be sent: another one in its words where its class cannot travel. It must not end the process,
    and the object's state with it."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception as failure:  # whatever its class does when it is taken apart and put together
        error = RuntimeError(f"{type(error).__qualname__}: {error} (it cannot be sent as it is: {failure})")
    error.add_note(note)
    return error
