"""What callers on event loops and the engine's thread hand each other between two steps.

    caller ─▶ Commands ─▶ [between steps, in the engine's thread] ─▶ Outbox ─▶ the caller's event loop

A command runs before the next step; a drained one waits until no request has begun, or until it is too late for it.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from gym_core.errors import DeadlineExceeded, PolicyFault


class Outbox:
    """What event loops are to call once the step is over; belongs to the engine's thread."""

    def __init__(self) -> None:
        self._calls: dict[asyncio.AbstractEventLoop, list[Callable[[], None]]] = {}

    def post(self, loop: asyncio.AbstractEventLoop, function: Callable[..., Any], *args: Any) -> None:
        """Have an event loop call this at the next delivery. Waking a loop costs a system call, so it is done once."""
        self._calls.setdefault(loop, []).append(partial(function, *args))

    def deliver(self) -> None:
        for loop, calls in self._calls.items():
            try:
                loop.call_soon_threadsafe(_call_all, calls)
            except RuntimeError:
                if not loop.is_closed():  # a loop that is gone has nobody waiting
                    raise
        self._calls = {}


class _Command(NamedTuple):
    function: Callable[[], Any]
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]
    end: float


class Commands:
    """Functions that wait for the engine's thread. `add` under the engine's lock, the rest in its thread."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._next: deque[_Command] = deque()
        self._drained: deque[_Command] = deque()

    def __bool__(self) -> bool:
        return bool(self._next or self._drained)

    @property
    def num_next(self) -> int:
        return len(self._next)

    @property
    def num_drained(self) -> int:
        return len(self._drained)

    def add(self, function: Callable[[], Any], drain_until: float | None = None) -> asyncio.Future[Any]:
        """The future of what `function` returns or raises, in the running loop.

        With `drain_until`, a monotonic second, it waits for the requests that have begun; it is called all the same
        when that has passed.
        """
        loop = asyncio.get_running_loop()
        command = _Command(function, loop, loop.create_future(), math.inf if drain_until is None else drain_until)
        (self._next if drain_until is None else self._drained).append(command)
        return command.future

    def run_next(self) -> None:
        """Run what waits for no more than the end of a step."""
        while self._next:
            self._run(self._next.popleft())

    def run_drained(self, any_begun: Callable[[], bool]) -> None:
        """Run what waits for the requests that have begun, once there are none, or too late."""
        while self._drained:
            if time.monotonic() <= self._drained[0].end and any_begun():
                return
            self._run(self._drained.popleft())

    def refuse(self, error: Exception) -> None:
        """Nothing is run any more: whoever waits gets `error`."""
        for waiting in (self._next, self._drained):
            while waiting:
                self._settle(waiting.popleft(), None, error)

    def _run(self, command: _Command) -> None:
        try:
            value = command.function()
        except Exception as error:  # handed to whoever asked
            self._settle(command, None, error)
        except BaseException as error:  # that ends the thread's loop, yet whoever asked must not wait for ever
            fault = PolicyFault(f"the engine failed: {type(error).__name__}: {error}", stage="command")
            self._settle(command, None, fault)
            raise
        else:
            self._settle(command, value, None)

    def _settle(self, command: _Command, value: Any, error: Exception | None) -> None:
        self._outbox.post(command.loop, settle, command.future, value, error)


def settle(future: asyncio.Future[Any], value: Any, error: Exception | None) -> None:
    """Give a future its value or its error, unless nobody waits for it any more."""
    if future.done():
        return
    if error is None:
        future.set_result(value)
    else:
        future.set_exception(error)


def late(drain: bool, timeout_s: float) -> DeadlineExceeded:
    """The error of an exchange of weights that did not begin in time."""
    what = "requests were still running" if drain else "the engine was busy with one step"
    return DeadlineExceeded(
        f"the weights were not exchanged within {timeout_s:g} s: {what}",
        stage="drain" if drain else "switch",
        hint="the old weights are served on",
    )


def _call_all(calls: list[Callable[[], None]]) -> None:
    for call in calls:
        call()
