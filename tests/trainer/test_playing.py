"""A step is drawn beside the event loop and once, and is played ahead of its turn where it was begun."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any, cast

from trainer.collect import AgentPool
from trainer.config import parse_recipe
from trainer.curriculum import Curriculum
from trainer.draws import Draws
from trainer.journal import Journal
from trainer.playing import Playing

RECIPE = parse_recipe({"name": "r", "environments": {"maths": {}}, "overlap": {"steps": 1}})


class Agents:
    """Plays nothing; remembers which steps it was asked for."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.go = asyncio.Event()

    async def run(self, rows: Any, **asked: Any) -> list[Any]:
        self.asked.append(asked["step"])
        await self.go.wait()
        return [asked["step"]]


class SlowDraws(Draws):
    """A draw that is not done before the event loop has done something else."""

    def __init__(self, curriculum: Curriculum) -> None:
        super().__init__(curriculum)
        self.elsewhere = threading.Event()

    def rows(self, step: int) -> list[dict[str, Any]]:
        assert self.elsewhere.wait(60), "the event loop stood still while tasks were drawn"
        return super().rows(step)


def curriculum() -> Curriculum:
    rows = [{"task_id": f"m{number}", "environment": "maths"} for number in range(40)]
    return Curriculum({"maths": rows}, {"maths": 1.0}, prompts_per_step=4, steps=9, seed=0)


def playing(folder: Path, draws: Draws, agents: Agents) -> Playing:
    return Playing(RECIPE, cast(AgentPool, agents), draws, Journal(folder / "journal.jsonl"))


async def test_others_are_answered_while_a_step_is_drawn(tmp_path: Path) -> None:
    draws = SlowDraws(curriculum())
    drawing = asyncio.create_task(playing(tmp_path, draws, Agents()).draw(0))
    await asyncio.sleep(0)
    draws.elsewhere.set()
    assert len(await asyncio.wait_for(drawing, 60)) == 4


async def test_a_step_that_was_begun_ahead_is_not_played_again(tmp_path: Path) -> None:
    agents = Agents()
    made = playing(tmp_path, Draws(curriculum()), agents)
    await made.begin_ahead(1)
    await asyncio.sleep(0)
    agents.go.set()
    assert await made.collect(1) == [1] and agents.asked == [1]
    await made.draw(2)
    assert await made.collect(2) == [2] and agents.asked == [1, 2]


async def test_what_is_still_played_when_a_run_ends_is_cut_off(tmp_path: Path) -> None:
    agents = Agents()
    made = playing(tmp_path, Draws(curriculum()), agents)
    await made.begin_ahead(1)
    await asyncio.sleep(0)
    await asyncio.wait_for(made.stop(), 60)
    agents.go.set()
    assert await made.collect(1) == [1] and agents.asked == [1, 1]
