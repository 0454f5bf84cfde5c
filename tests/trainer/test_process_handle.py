"""Whatever goes wrong in the other process is told here, and the object keeps its state."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from trainer.placement import LocalPlacement
from trainer.process_handle import ProcessHandle


class TwoWords(Exception):
    """Is not put together again from its one argument."""

    def __init__(self, one: str, other: str) -> None:
        super().__init__(f"{one} {other}")


class Fragile:
    def __init__(self) -> None:
        self.calls = 0

    def two_words(self) -> None:
        self.calls += 1
        raise TwoWords("quite", "wrong")

    def nobody_knows_it(self) -> None:
        class Here(Exception):
            """Has no name elsewhere."""

        self.calls += 1
        raise Here("not from here")

    def no_answer_for_others(self) -> Callable[[], int]:
        self.calls += 1
        return lambda: 1

    def num_calls(self) -> int:
        return self.calls


async def test_an_error_that_cannot_be_sent_is_told_in_words_and_ends_nothing() -> None:
    handle = await ProcessHandle("fragile").make(Fragile)
    with pytest.raises(RuntimeError, match="TwoWords: quite wrong") as caught:
        await handle.call("two_words")
    assert "in two_words" in caught.value.__notes__[0]
    with pytest.raises(RuntimeError, match="Here: not from here"):
        await handle.call("nobody_knows_it")
    with pytest.raises(Exception, match="lambda"):
        await handle.call("no_answer_for_others")
    assert await handle.call("num_calls") == 3
    await handle.close()


class Busy:
    """Is at work until it is killed."""

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    def work(self) -> None:
        (self.folder / str(os.getpid())).touch()
        threading.Event().wait()


async def at_work(folder: Path, count: int) -> None:
    async with asyncio.timeout(60):
        while len(list(folder.iterdir())) < count:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("world", [1, 2])
async def test_work_that_nobody_waits_for_any_more_does_not_delay_the_end(world: int, tmp_path: Path) -> None:
    """Ctrl-C in the middle of a step: the caller is cancelled, and the processes end at once."""
    placement = LocalPlacement()
    if world == 1:
        handle = await placement.place_apart("busy", Busy, str(tmp_path))
    else:
        handle = await placement.place_ranks(world, Busy, str(tmp_path))
    call = asyncio.create_task(handle.call("work"))
    await at_work(tmp_path, world)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    async with asyncio.timeout(60):
        await placement.close()
    assert not await handle.alive()
