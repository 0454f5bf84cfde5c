"""Commands run in order and settle their callers; what is drained waits for others, but not beyond its time."""

from __future__ import annotations

import asyncio
import math
import time

import pytest

from gym_core.errors import PolicyFault, Unavailable
from policy_server.between_steps import Commands, Outbox, settle


@pytest.fixture
def outbox() -> Outbox:
    return Outbox()


@pytest.fixture
def commands(outbox: Outbox) -> Commands:
    return Commands(outbox)


async def test_callers_hear_of_what_was_run_once_it_is_delivered(commands: Commands, outbox: Outbox) -> None:
    ran: list[str] = []
    first = commands.add(lambda: ran.append("first"))
    second = commands.add(lambda: ran.append("second") or len(ran))
    assert commands and commands.num_next == 2
    commands.run_next()
    assert ran == ["first", "second"] and not commands
    assert not second.done()
    outbox.deliver()
    assert (await first, await second) == (None, 2)


async def test_an_error_is_the_callers_and_one_that_ends_the_thread_is_both(commands: Commands, outbox: Outbox) -> None:
    def end() -> None:
        raise SystemExit(3)

    wrong, fatal, late = commands.add(lambda: [][0]), commands.add(end), commands.add(lambda: 7)
    with pytest.raises(SystemExit):
        commands.run_next()
    commands.refuse(Unavailable("closed"))
    outbox.deliver()
    with pytest.raises(IndexError):
        await wrong
    with pytest.raises(PolicyFault, match="SystemExit: 3"):
        await fatal
    with pytest.raises(Unavailable):
        await late


async def test_a_drained_one_waits_for_the_others_until_it_is_late(commands: Commands, outbox: Outbox) -> None:
    patient, late = commands.add(lambda: "patient", math.inf), commands.add(lambda: "late", time.monotonic() - 1)
    commands.run_next()
    commands.run_drained(lambda: True)
    assert commands.num_drained == 2  # the late one is behind the other
    commands.run_drained(lambda: False)
    outbox.deliver()
    assert (await patient, await late) == ("patient", "late")
    overdue = commands.add(lambda: "overdue", time.monotonic() - 1)
    commands.run_drained(lambda: True)
    outbox.deliver()
    assert await overdue == "overdue"


async def test_a_caller_who_is_gone_is_not_settled_again() -> None:
    future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    future.cancel()
    settle(future, 1, None)
    assert future.cancelled()
