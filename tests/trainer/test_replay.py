from collections.abc import Sequence

import pytest

from gym_core.errors import BadRequest
from trainer.config import parse_recipe
from trainer.journal import Entry
from trainer.pack import Sample
from trainer.played import Played
from trainer.replay import Compared, replay

RECIPE = parse_recipe({"name": "x", "environments": {"maths": {}}})


class Recorder:
    """A learner that remembers what it was given and answers the sum of the advantages' squares."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, int]] = []

    def step(self, samples: Sequence[Sample], step: int = 0) -> dict[str, float]:
        self.seen.append((step, len(samples)))
        return {"loss": sum(s.advantage**2 for s in samples), "policy_training_time": 1.0, "new": 2.0}


def entry(step: int, **metrics: float) -> Entry:
    members = [(f"g{step}/{i}", "scored", float(i % 2)) for i in range(4)]
    return Entry(step=step, version=step + 2, metrics=metrics, groups={f"g{step}": members})


@pytest.fixture
def fetch(member):
    async def found(rollout_id: str) -> Played | None:
        return None if rollout_id == "g1/3" else member(float(int(rollout_id[-1]) % 2), repeat=int(rollout_id[-1]))

    return found


async def test_steps_on_the_way_are_done_and_the_last_is_compared(fetch) -> None:
    learner = Recorder()
    entries = [entry(4, loss=9.0), entry(5, loss=3.0, policy_training_time=7.0)]
    (compared,) = await replay(RECIPE, learner, entries, start=4, step=5, fetch=fetch)
    assert learner.seen == [(4, 4), (5, 4)]
    # rewards 0, 1, 0, 1: deviations of a half over a spread of sqrt(1/3), squared 0.75 each
    assert compared == Compared("loss", 3.0, pytest.approx(3.0, rel=1e-5))


async def test_a_number_that_differs_by_a_bit_differs() -> None:
    assert Compared("loss", 1.0, 1.0).same
    assert not Compared("loss", 1.0, 1.0 + 2**-52).same
    assert Compared("loss", float("nan"), float("nan")).same


async def test_a_step_that_was_never_done_is_named_before_anything_runs(fetch) -> None:
    learner = Recorder()
    with pytest.raises(BadRequest, match="no step 7") as caught:
        await replay(RECIPE, learner, [entry(0), entry(2)], start=0, step=7, fetch=fetch)
    assert "0 to 2" in caught.value.hint
    assert learner.seen == []


async def test_a_rollout_that_is_gone_is_named(fetch) -> None:
    with pytest.raises(BadRequest, match="g1/3"):
        await replay(RECIPE, Recorder(), [entry(1)], start=1, step=1, fetch=fetch)
