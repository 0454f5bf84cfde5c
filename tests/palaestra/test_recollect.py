"""What a collection takes from its store, and under which ids it plays the rest."""

from __future__ import annotations

from pathlib import Path

import pytest

from gym_core.contracts import RUN_KEY, Outcome, Rollout, Verdict
from gym_core.store import Run, Store
from palaestra.recollect import base_of, begin, recall


def rollout(name: str, outcome: Outcome) -> Rollout:
    verdict = Verdict(reward=1.0) if outcome.trainable else None
    return Rollout(rollout_id=name, environment="e", task_id="t", outcome=outcome, verdict=verdict)


async def test_what_is_finished_is_taken_and_what_failed_gets_another_id(tmp_path: Path) -> None:
    requests = {
        name: {RUN_KEY: {"rollout_id": name, "seed": 1}, "note": name} for name in ("new", "done", "bad", "late")
    }
    async with await Store.open(tmp_path / "store.db") as store:
        for name, outcome in (
            ("done", Outcome.SCORED),
            ("bad", Outcome.CANCELLED),
            ("bad~1", Outcome.POLICY_ERROR),
            ("late", Outcome.ENV_ERROR),
            ("late~1", Outcome.TRUNCATED),
        ):
            await store.put_rollout(rollout(name, outcome))
        finished, left = await recall(store, requests)
    assert {base: one.rollout_id for base, one in finished.items()} == {"done": "done", "late": "late~1"}
    assert left == {
        "new": {RUN_KEY: {"rollout_id": "new", "seed": 1}, "note": "new"},
        "bad~2": {RUN_KEY: {"rollout_id": "bad~2", "seed": 1}, "note": "bad"},
    }


@pytest.mark.parametrize(
    ("name", "base"), [("r/0-t/1", "r/0-t/1"), ("r/0-t/1~12", "r/0-t/1"), ("r/0-a~1/2", "r/0-a~1/2")]
)
def test_an_id_knows_what_it_was_asked_by_first(name: str, base: str) -> None:
    assert base_of(name) == base


async def test_a_run_that_was_begun_before_goes_on(tmp_path: Path) -> None:
    async with await Store.open(tmp_path / "store.db") as store:
        for _ in range(2):
            await begin(store, Run(run_id="r", kind="collect"))
        assert [run.run_id for run in await store.runs()] == ["r"]
