"""A pool's fingerprint follows every change, says the same of the same state, and another of any other."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gym_core.contracts import TaskProfile
from gym_core.errors import BadRequest
from trainer import pool as module
from trainer.curriculum import Curriculum
from trainer.pool import Pool

TASKS = [f"t{number}" for number in range(6)]


def pool() -> Pool:
    return Pool("maths", [{"task_id": task} for task in TASKS], 2)


def profile(task: str, passes: float, count: int, checkpoint: str = "c") -> TaskProfile:
    return TaskProfile(environment="maths", task_id=task, checkpoint=checkpoint, passes=passes, count=count)


def state(of: Pool) -> dict[str, Any]:
    tried = {task: found for task, found in of.profiles.items() if found.count}
    return {"epoch": of.epoch, "used": sorted(of.used), "dropped": sorted(of.dropped), "profiles": tried}


task, some = st.sampled_from(TASKS), st.lists(st.sampled_from(TASKS))
CHANGES = st.one_of(
    st.tuples(st.just("use"), some),
    st.tuples(st.just("drop"), some),
    st.tuples(st.just("begin_epoch")),
    st.tuples(st.just("learn"), st.builds(profile, task, st.integers(0, 2), st.integers(0, 2), st.sampled_from("ab"))),
)


def changed(changes: list[tuple[Any, ...]]) -> Pool:
    made = pool()
    for method, *arguments in changes:
        getattr(made, method)(*arguments)
    return made


@given(st.lists(CHANGES), st.lists(CHANGES))
def test_fingerprints_are_equal_where_states_are(one: list[tuple[Any, ...]], other: list[tuple[Any, ...]]) -> None:
    first, second = changed(one), changed(other)
    assert (first.fingerprint() == second.fingerprint()) == (state(first) == state(second))
    saved = state(first)
    fresh = pool()
    fresh.load(saved["epoch"], saved["used"], saved["dropped"], saved["profiles"].values())
    assert fresh.fingerprint() == first.fingerprint()


def test_a_whole_number_of_passes_is_the_same_read_back() -> None:
    assert changed([("learn", profile("t0", 3, 4))]).fingerprint() == (
        changed([("learn", profile("t0", 3.0, 4))]).fingerprint()
    )


def test_a_step_hashes_what_it_changed_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"task_id": f"m{number}", "environment": "maths"} for number in range(2000)]
    curriculum = Curriculum({"maths": rows}, {"maths": 1.0}, prompts_per_step=4, steps=9, seed=0)
    curriculum.profile(profile(str(row["task_id"]), 1.0, 4) for row in rows)
    before, hashed = curriculum.digest(), []
    original = module._hash

    def counted(text: str) -> int:
        hashed.append(text)
        return original(text)

    monkeypatch.setattr(module, "_hash", counted)
    for row in curriculum.draw(0):
        curriculum.update("maths", row["task_id"], [1.0, 0.0], "2")
    assert curriculum.digest() != before
    assert len(hashed) == 4 * 3, "each drawn task: used, its old profile out, its new one in"


def test_a_pool_smaller_than_its_quota_is_refused() -> None:
    with pytest.raises(BadRequest, match="has 1 distinct tasks, a step draws 2"):
        Pool("maths", [{"task_id": "a"}, {"task_id": "a"}], 2)
