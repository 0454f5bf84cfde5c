"""The client for ordinary programs, called from a thread of its own as such a program would."""

from __future__ import annotations

import asyncio
import threading

import pytest
from whole_gym import Gym, KnowingPolicy

from gym_core.errors import BadRequest, UnknownName
from gym_core.sdk import Client


async def test_it_plays_as_the_other_one_does(gym: tuple[Gym, KnowingPolicy]) -> None:
    url = gym[0].agent.url

    def program() -> None:
        with Client(url) as client:
            rows = client.tasks("math", seed=11, count=2)
            assert {one["name"] for one in client.environments()} == {"ledger", "math"}
            played = client.run(rows[0], rollout_id="mine")
            assert played.reward == 1.0 and played.traces[0].loss_mask.sum() == 3
            assert client.rollout("mine").blob == played.blob
            assert sorted(one.rollout.task_id for one in client.rollouts(rows)) == sorted(r["task_id"] for r in rows)
            groups = list(client.groups(rows, 2))
            assert [group.rewards for group in groups] == [[1.0, 1.0]] * 2
            assert client.cancel("nothing") == 0
            with pytest.raises(UnknownName):
                client.run({**rows[0], "environment": "nowhere"})

    await asyncio.to_thread(program)


async def test_a_loop_that_runs_already_is_no_obstacle_and_an_iteration_may_be_left(
    gym: tuple[Gym, KnowingPolicy],
) -> None:
    url, rows = gym[0].agent.url, gym[0].math

    async def in_a_notebook() -> float | None:
        with Client(url) as client:
            for played in client.rollouts(rows):
                return played.reward
        raise AssertionError("nothing was played")

    assert await asyncio.to_thread(asyncio.run, in_a_notebook()) == 1.0


def test_closing_ends_the_thread_and_may_be_done_twice() -> None:
    client = Client("http://127.0.0.1:9")
    thread = client._thread
    client.close()
    client.close()
    assert not thread.is_alive() and "palaestra-client" not in [one.name for one in threading.enumerate()]
    with pytest.raises(BadRequest, match="not an address"):
        Client("nonsense")
