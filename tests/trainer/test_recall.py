import msgspec
import pytest
from aiohttp import web

from gym_core.contracts import Outcome, Rollout
from gym_core.errors import Unavailable, UnknownName
from gym_core.serve import harden
from gym_core.tokens import FRAME_TYPE, pack_frame
from trainer.recall import Recall, recall


def store(*rollouts: tuple[str, Outcome, int]) -> web.Application:
    """An agent server that has these rollouts: id, outcome, policy version."""
    frames = {
        name: pack_frame(
            msgspec.json.encode(
                Rollout(
                    rollout_id=name,
                    environment="maths",
                    task_id="a",
                    outcome=outcome,
                    policy_version_min=version,
                    policy_version_max=version,
                )
            )
        )
        for name, outcome, version in rollouts
    }

    async def show(request: web.Request) -> web.Response:
        frame = frames.get(request.match_info["rollout_id"])
        if frame is None:
            raise UnknownName("no such rollout")
        return web.Response(body=frame, content_type=FRAME_TYPE)

    app = web.Application()
    app.router.add_get("/rollouts/{rollout_id:.+}", show)
    return harden(app, "agent")


def rows(*names: str) -> list[dict]:
    return [{"task_id": "a", "palaestra": {"rollout_id": name, "seed": 5}} for name in names]


def names_of(found, left) -> tuple[list[str], list[str]]:
    return [played.rollout.rollout_id for played in found], [row["palaestra"]["rollout_id"] for row in left]


S, E, T, C = Outcome.SCORED, Outcome.ENV_ERROR, Outcome.TRUNCATED, Outcome.CANCELLED


@pytest.mark.parametrize(
    ("stored", "taken", "played"),
    [
        ([], [], ["r/0"]),
        ([("r/0", S, 3)], ["r/0"], []),
        ([("r/0", T, 3)], ["r/0"], []),
        ([("r/0", C, 3)], [], ["r/0~1"]),  # an id names one rollout for ever
        ([("r/0", S, 2)], [], ["r/0~1"]),  # of other weights
        ([("r/0", E, 3), ("r/0~1", E, 3)], [], ["r/0~2"]),
        ([("r/0", E, 3), ("r/0~1", S, 3)], ["r/0~1"], []),
    ],
)
async def test_an_open_step_takes_what_is_good(connect, stored, taken, played) -> None:
    client = await connect(store(*stored))
    found, left = await recall(client, rows("r/0"), Recall(version=3))
    assert names_of(found, left) == (taken, played)
    assert all(p.recalled for p in found)
    assert all(row["palaestra"]["seed"] == 5 and row["task_id"] == "a" for row in left)


async def test_a_committed_step_takes_exactly_what_it_was_trained_on(connect) -> None:
    client = await connect(store(("r/0", S, 3), ("r/1", E, 3), ("r/2", E, 3), ("r/2~1", S, 3), ("r/3", S, 3)))
    committed = frozenset({"r/0", "r/1", "r/2~1", "r/4"})
    found, left = await recall(client, rows("r/0", "r/1", "r/2", "r/3", "r/4"), Recall(3, committed))
    # r/1 failed then and fails now; r/3 came too late to be trained on; r/4 is gone from the store
    assert names_of(found, left) == (["r/0", "r/1", "r/2~1"], ["r/4"])


async def test_an_agent_server_that_is_away_is_a_typed_error(connect) -> None:
    from gym_core.client import Client

    async with Client("http://127.0.0.1:1", retries=0) as nobody:
        with pytest.raises(Unavailable):
            await recall(nobody, rows("r/0"), Recall(3))
