"""The store: what goes in comes out, once, whatever happens between."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select
from store_samples import ids, make_rollout

from gym_core.contracts import Outcome, TaskProfile, Verdict
from gym_core.errors import BadRequest, Conflict, ErrorInfo, Unavailable, UnknownName
from gym_core.store import Run, Store
from gym_core.store.models import TaskRow


async def test_a_rollout_comes_back_as_it_went_in(store: Store) -> None:
    rollout = make_rollout(error=ErrorInfo(code="x", message="y"), labels={"a": "b"}, timings_ms={"verify": 1.25})
    await store.put_rollout(rollout, b"\x00\x01\xff")
    assert await store.get_rollout("r1") == (rollout, b"\x00\x01\xff")
    assert await store.get_rollout("r2") is None


async def test_it_is_still_there_after_opening_again(place: str) -> None:
    async with await Store.open(place) as store:
        await store.put_rollout(make_rollout(), b"abc")
    async with await Store.open(place, create=False) as store:
        assert await store.get_rollout("r1") == (make_rollout(), b"abc")


async def test_the_same_id_twice_keeps_the_first(store: Store) -> None:
    first, second = make_rollout(), make_rollout(outcome=Outcome.CANCELLED, verdict=None)
    puts = (store.put_rollout(first, b"one"), store.put_rollout(second, b"two"), store.put_rollout(first, b"one"))
    assert await asyncio.gather(*puts) == [True, False, True], "each is told whether it is what is kept"
    assert not await store.put_rollout(second, b"three") and not await store.put_rollout(first, b"other")
    assert await store.put_rollout(first, b"one")
    assert await store.get_rollout("r1") == (first, b"one")
    assert await store.count_rollouts() == 1


async def test_a_rollout_without_tokens_needs_no_file(store: Store) -> None:
    await store.put_rollout(make_rollout(traces=[]))
    assert await store.get_rollout("r1") == (make_rollout(traces=[]), b"")
    assert not store.blobs.exists()


async def test_rollouts_are_selected_and_come_in_order_of_commit(store: Store) -> None:
    for number in range(150):
        await store.put_rollout(
            make_rollout(
                f"r{number}",
                environment=("maths", "ledger")[number % 2],
                step=number // 50,
                group_id=f"g{number // 8}",
                outcome=Outcome.SCORED if number % 3 else Outcome.ENV_ERROR,
                run_id="run" if number < 140 else "other",
            ),
            bytes([number]),
        )
    assert await ids(store, run_id="run") == [f"r{number}" for number in range(140)]
    assert await ids(store) == [f"r{number}" for number in range(150)]
    assert await ids(store, run_id="other", environment="ledger") == ["r141", "r143", "r145", "r147", "r149"]
    assert await ids(store, group_id="g1", outcome=Outcome.ENV_ERROR) == ["r9", "r12", "r15"]
    assert await store.count_rollouts("run", step=2) == 40
    assert await ids(store, run_id="none") == []
    blobs = [blob async for _, blob in store.iter_rollouts("other")]
    assert blobs == [bytes([number]) for number in range(140, 150)]
    assert [blob async for _, blob in store.iter_rollouts("other", blobs=False)] == [b""] * 10


async def test_an_infrastructure_failure_has_no_reward(store: Store) -> None:
    await store.put_rollout(make_rollout(outcome=Outcome.ENV_ERROR, verdict=None))
    assert await store.totals("run") == [("maths", "env_error", 1, 0, 0.0)]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"rollout_id": ""}, "rollout_id"),
        ({"timings_ms": {"verify": float("nan")}}, "timings_ms.verify"),
        ({"task_id": "a\0b"}, "task_id"),
        ({"step": 1 << 63}, "step"),
        ({"labels": {"half": "\ud800"}}, "rollout"),
        ({"verdict": Verdict(reward=1.0, components={"x": float("inf")})}, "verdict.components.x"),
    ],
)
async def test_what_could_not_be_read_back_is_refused(store: Store, changes: dict[str, Any], field: str) -> None:
    with pytest.raises(BadRequest) as caught:
        await store.put_rollout(make_rollout(**changes))
    assert caught.value.field == field
    assert await store.count_rollouts() == 0


async def test_whoever_stops_waiting_does_not_undo_the_write(store: Store) -> None:
    task = asyncio.create_task(store.put_rollout(make_rollout(), b"abc"))
    await asyncio.sleep(0)  # let it queue
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await store.put_rollout(make_rollout("r2"))
    assert await ids(store) == ["r1", "r2"]


async def test_many_at_once_are_committed_together(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    commits: list[int] = []
    transact = store._writer._transact

    def counting(jobs: list[Any]) -> None:
        commits.append(len(jobs))
        transact(jobs)

    monkeypatch.setattr(store._writer, "_transact", counting)
    await asyncio.gather(*(store.put_rollout(make_rollout(f"r{n}"), b"x") for n in range(600)))
    assert await store.count_rollouts() == sum(commits) == 600
    assert max(commits) <= 256
    assert len(commits) < 60


async def test_one_bad_change_does_not_take_its_neighbours_with_it(store: Store) -> None:
    await store.create_run(Run(run_id="run"))
    results = await asyncio.gather(
        store.put_rollout(make_rollout("r1"), b"a"),
        store.create_run(Run(run_id="run")),
        store.put_rollout(make_rollout("r2"), b"b"),
        store.finish_run("nobody"),
        store.put_rollout(make_rollout("r3"), b"c"),
        return_exceptions=True,
    )
    assert [type(result) for result in results] == [bool, Conflict, bool, UnknownName, bool]
    assert [blob async for _, blob in store.iter_rollouts()] == [b"a", b"b", b"c"]


async def test_runs_keep_recipe_and_summary(store: Store) -> None:
    await store.create_run(Run(run_id="b", recipe={"lr": 0.1, "pattern": ["M", "*"]}, seed=3, arm="sft", created_at=2))
    await store.create_run(Run(run_id="a", kind="eval", created_at=1))
    await store.finish_run("b", "done", {"reward_after": 0.75})
    first, second = await store.runs()
    assert (first.run_id, first.status, first.finished_at) == ("a", "running", None)
    assert (second.recipe, second.seed, second.arm) == ({"lr": 0.1, "pattern": ["M", "*"]}, 3, "sft")
    assert (second.status, second.summary) == ("done", {"reward_after": 0.75})
    assert second.finished_at is not None and second.finished_at > 1e9
    assert await store.run("a") == first
    assert await store.run("c") is None


async def test_secrets_never_reach_the_disk(tmp_path: Path, place: str) -> None:
    recipe = {"max_tokens": 12, "judge": {"api_key": "sk-hidden", "url": "http://x"}, "peers": [{"token": "sk-hidden"}]}
    async with await Store.open(place) as store:
        await store.create_run(Run(run_id="run", recipe=recipe))
        await store.finish_run("run", summary={"password": "sk-hidden"})
        kept = await store.run("run")
    assert kept is not None
    assert kept.recipe == {
        "max_tokens": 12,
        "judge": {"api_key": "***", "url": "http://x"},
        "peers": [{"token": "***"}],
    }
    assert all(b"sk-hidden" not in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


async def test_metrics_of_a_step_join(store: Store) -> None:
    await store.put_metrics("run", 1, {"loss": 1.0, "reward": 0.1})
    await store.put_metrics("run", 0, {"loss": float("nan")})
    await store.put_metrics("run", 1, {"reward": 0.2, "eval": {"maths": 0.3}})
    assert await store.metrics("run") == [
        (0, {"loss": None}),
        (1, {"loss": 1.0, "reward": 0.2, "eval": {"maths": 0.3}}),
    ]
    assert await store.metrics("other") == []


async def test_profiles_are_replaced_and_selected(store: Store) -> None:
    def profile(environment: str, task: str, checkpoint: str, passes: float) -> TaskProfile:
        return TaskProfile(environment=environment, task_id=task, checkpoint=checkpoint, passes=passes, count=4)

    await store.put_profiles([profile("maths", "t1", "c1", 1.0), profile("maths", "t2", "c1", 2.0)])
    await store.put_profiles([profile("maths", "t1", "c1", 3.0), profile("ledger", "t1", "c2", 0.0)])
    await store.put_profiles([])
    assert [p.passes for p in await store.profiles("maths")] == [3.0, 2.0]
    assert await store.profiles(checkpoint="c2") == [profile("ledger", "t1", "c2", 0.0)]
    assert len(await store.profiles()) == 3


async def test_a_closed_store_says_so(place: str) -> None:
    store = await Store.open(place)
    pending = [asyncio.ensure_future(store.put_rollout(make_rollout(f"r{n}"), b"x")) for n in range(20)]
    await asyncio.sleep(0)  # let them queue
    await store.close()
    await store.close()
    await asyncio.gather(*pending)
    with pytest.raises(Unavailable, match="is closed"):
        await store.put_rollout(make_rollout())
    with pytest.raises(Unavailable, match="is closed"):
        await store.get_rollout("r1")
    async with await Store.open(place) as again:
        assert await again.count_rollouts() == 20, "what was queued is committed before the store closes"
    assert not any(thread.name.startswith("store-") for thread in threading.enumerate())


async def test_the_row_that_was_played_is_kept_once(store: Store) -> None:
    row = {"responses_create_params": {"input": "2+2?"}, "expected_answer": "4", "task_id": "t1"}
    for number in range(3):
        await store.put_rollout(make_rollout(f"r{number}"), b"x", row)
    await store.put_rollout(make_rollout("other"), b"y", {**row, "expected_answer": "5"})
    await store.put_rollout(make_rollout("bare"), b"z")
    stored = {one.rollout.rollout_id: one async for one in store.iter_stored("run")}
    assert [stored[name].row for name in ("r0", "r2")] == [row, row]
    assert stored["other"].row == {**row, "expected_answer": "5"}, "the same id with another content is another row"
    assert stored["bare"].row is None
    assert stored["other"].blob == b"y"
    found = await store.get_stored("r1", blobs=False)
    assert found == (make_rollout("r1"), b"", row)
    rows = select(func.count()).select_from(TaskRow)
    assert await store._reading.ask(lambda connection: connection.execute(rows).scalar()) == 2


async def test_what_is_stored_is_counted_by_run_and_by_outcome(store: Store) -> None:
    await store.create_run(Run(run_id="empty"))
    for number, reward in enumerate((0.5, 1.0, 0.0)):
        await store.put_rollout(make_rollout(f"a{number}", verdict=Verdict(reward=reward), created_at=number + 1.0))
    await store.put_rollout(make_rollout("b", run_id="nobody made it", outcome=Outcome.CANCELLED, verdict=None))
    assert await store.played() == [("run", 3, 1.0, 3.0), ("nobody made it", 1, 12.5, 12.5)]
    assert await store.totals("run") == [("maths", "scored", 3, 3, 1.5)]
    assert await store.totals("empty") == []


async def test_two_stores_of_one_place_write_and_read_at_once(place: str) -> None:
    async with await Store.open(place) as one, await Store.open(place) as two:
        await asyncio.gather(
            *(
                store.put_rollout(make_rollout(f"r{n}"), bytes([w]))
                for n in range(100)
                for w, store in enumerate((one, two))
            )
        )
        kept = {rollout.rollout_id: blob async for rollout, blob in one.iter_rollouts()}
        assert sorted(kept) == sorted(f"r{n}" for n in range(100)), "none is doubled"
        assert {name: blob async for (r, blob) in two.iter_rollouts() for name in [r.rollout_id]} == kept
