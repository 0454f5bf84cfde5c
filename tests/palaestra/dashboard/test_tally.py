"""What a run amounts to: counted once, brought up to date, counted anew where the store says otherwise."""

from __future__ import annotations

import pytest
from played import RUN, rollout
from sqlalchemy import text

from gym_core.store import Store
from palaestra.dashboard import tally as tallies
from palaestra.dashboard.tally import Tally, thinned


async def test_outcomes_and_rewards_by_environment_and_step(filled: Store) -> None:
    tally = Tally(RUN)
    await tally.catch_up(filled)
    assert tally.outcomes == {"math": {"scored": 6}, "ledger": {"scored": 5, "env_error": 1}}
    assert (tally.count, tally.complete, tally.last) == (12, True, 12)
    # math of step 0: rollouts 0 and 2, rewards 0 and 1; ledger of step 2: 9 and 11, the second without a reward
    assert tally.rewards["math"][0] == (1.0, 2)
    assert tally.rewards["ledger"][2] == (0.0, 1)


async def test_the_trainers_own_numbers_come_first(filled: Store) -> None:
    tally = Tally(RUN)
    await tally.catch_up(filled)
    source, curves = tally.reward_curves()
    assert source == "metrics" and [name for name in curves] == ["ledger", "math"]
    assert curves["math"] == [(0, 0.0), (1, pytest.approx(0.2)), (2, pytest.approx(0.4))]


async def test_without_metrics_the_rollouts_say_it(store: Store) -> None:
    for number in range(8):
        await store.put_rollout(rollout(number))
    tally = Tally(RUN)
    await tally.catch_up(store)
    source, curves = tally.reward_curves()
    # step 1: rollouts 4 (0.5) and 6 (0.0) are math, 5 (1.0) and 7 (0.5) ledger
    assert source == "rollouts" and curves == {"ledger": [(0, 0.25), (1, 0.75)], "math": [(0, 0.5), (1, 0.25)]}


async def test_only_what_is_new_is_read(filled: Store) -> None:
    tally = Tally(RUN)
    await tally.catch_up(filled)
    await filled.put_rollout(rollout(12))
    assert sum(row.rollouts for row in await filled.read(tally._newer)) == 1
    await filled.put_metrics(RUN, 2, {"val/reward": 0.9})
    await filled.put_metrics(RUN, 3, {"reward": 0.5})
    await tally.catch_up(filled)
    assert tally.count == 13
    assert tally.series("val/reward") == [(2, 0.9)] and tally.series("reward")[-1] == (3, 0.5)


async def test_a_long_run_is_counted_in_pieces(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tallies, "WINDOW", 3)
    for number in range(7):
        await store.put_rollout(rollout(number))
    tally = Tally(RUN)
    seen = []
    while not tally.complete:
        await tally.catch_up(store, budget_s=0.0)
        seen.append(tally.count)
    assert seen == [3, 6, 7]


async def test_deleted_rollouts_are_noticed(filled: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tallies, "RECOUNT_S", -1.0)
    tally = Tally(RUN)
    await tally.catch_up(filled)
    await filled._change(lambda c: c.execute(text("DELETE FROM rollouts WHERE seq <= 8")).rowcount)
    await tally.catch_up(filled)
    assert tally.count == 4 and sum(tally.outcomes["math"].values()) == 2


def test_thinned_by_hand() -> None:
    points = [(step, float(step)) for step in range(6)]
    assert thinned(points, 6) == points
    assert thinned(points, 3) == [(1, 0.5), (3, 2.5), (5, 4.5)]
    assert thinned([], 3) == []
