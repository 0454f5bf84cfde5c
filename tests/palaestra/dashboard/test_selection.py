"""Pages of rollouts: order, filters, search, and a bound on what one request looks at."""

from __future__ import annotations

from typing import Any

import pytest
from played import RUN, failed, message, rollout

from gym_core.contracts import Outcome
from gym_core.errors import BadRequest
from gym_core.store import Store
from palaestra.dashboard import selection
from palaestra.dashboard.selection import Wanted, page


def numbers(found: selection.Page) -> list[int]:
    return [int(one["rollout_id"].rpartition("/")[2]) for one in found.rollouts]


async def asked(store: Store, **wanted: Any) -> selection.Page:
    return await page(store, Wanted(run_id=RUN, **wanted))


async def test_pages_go_from_the_newest_to_the_oldest_and_back(filled: Store) -> None:
    first = await asked(filled, limit=5)
    assert numbers(first) == [11, 10, 9, 8, 7]
    second = await asked(filled, limit=5, before=first.next)
    assert numbers(second) == [6, 5, 4, 3, 2]
    third = await asked(filled, limit=5, before=second.next)
    assert (numbers(third), third.next) == ([1, 0], None)
    newer = await asked(filled, limit=3, after=third.rollouts[0]["seq"])
    assert numbers(newer) == [2, 3, 4]


async def test_a_row_says_what_a_list_shows(filled: Store) -> None:
    ok, *_ = (await asked(filled, before=12, limit=1)).rollouts
    assert ok["said"] == "answer 10" and ok["tokens"] == 3 and ok["total_ms"] == 20.0 and ok["reward"] == 0.5
    bad, *_ = (await asked(filled, limit=1)).rollouts
    assert (bad["outcome"], bad["reward"], bad["said"]) == ("env_error", None, "the worker died")


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"environment": "ledger"}, [11, 9, 7, 5, 3, 1]),
        ({"outcome": "env_error"}, [11]),
        ({"step": 1}, [7, 6, 5, 4]),
        ({"group_id": "group-2"}, [5, 4]),
        ({"reward_min": 0.5}, [10, 8, 7, 5, 4, 2, 1]),
        ({"reward_min": 0.5, "reward_max": 0.9, "environment": "math"}, [10, 4]),
        ({"text": "ANSWER 4"}, [4]),
        ({"text": "worker died"}, [11]),
        ({"text": "%"}, []),
        ({"text": "_nswer"}, []),
        ({"text": "nothing of that"}, []),
    ],
)
async def test_filters(filled: Store, filters: dict[str, Any], expected: list[int]) -> None:
    found = await asked(filled, **filters)
    assert numbers(found) == expected
    assert found.scanned == 12


@pytest.mark.parametrize("words", ['say "hi"', "a\\b", "50% of it", "line\nbreak", "größer", "under_score", "'; --"])
async def test_words_are_found_as_they_were_said(store: Store, words: str) -> None:
    await store.put_rollout(rollout(0, output=[message(f"he said: {words}!")]))
    await store.put_rollout(rollout(1, output=[message("something else")]))
    assert numbers(await asked(store, text=words)) == [0]


@pytest.mark.parametrize(
    ("wanted", "field"),
    [
        ({"limit": 0}, "limit"),
        ({"limit": 999}, "limit"),
        ({"text": "x" * 201}, "text"),
        ({"outcome": "fine"}, "outcome"),
    ],
)
async def test_what_cannot_be_asked_is_refused(filled: Store, wanted: dict[str, Any], field: str) -> None:
    with pytest.raises(BadRequest) as refused:
        await asked(filled, **wanted)
    assert refused.value.field == field


async def test_a_search_stops_in_time_and_goes_on_where_it_stopped(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selection, "WINDOW", 4)
    for number in range(10):
        await store.put_rollout(rollout(number))
    wanted = Wanted(run_id=RUN, text="answer 1", environment="ledger")
    first = await page(store, wanted, budget_s=0.0)
    assert (first.rollouts, first.scanned) == ([], 4) and first.next is not None
    second = await page(store, Wanted(run_id=RUN, text="answer 1", before=first.next), budget_s=0.0)
    assert (second.rollouts, second.scanned) == ([], 4)
    third = await page(store, Wanted(run_id=RUN, text="answer 1", before=second.next), budget_s=0.0)
    assert (numbers(third), third.scanned, third.next) == ([1], 2, None)
    assert numbers(await page(store, wanted, budget_s=60.0)) == [1]


async def test_a_huge_record_is_listed_without_being_opened(store: Store) -> None:
    await store.put_rollout(rollout(0, output=[message("x" * 300_000)]))
    (one,) = (await asked(store)).rollouts
    assert one["said"] == "" and one["record_chars"] > 300_000 and one["reward"] == 0.0


async def test_runs_that_nobody_recorded_are_found(store: Store) -> None:
    for number, run_id in enumerate(["b", "a", "", "b", "c"]):
        await store.put_rollout(rollout(number, run_id=run_id))
    assert await store.read(selection.run_ids) == ["", "a", "b", "c"]


async def test_members_of_a_group(store: Store) -> None:
    await store.put_rollout(rollout(4))
    await store.put_rollout(failed(5, Outcome.POLICY_ERROR))
    found = await store.read(lambda c: selection.group(c, "group-2"))
    assert [(one["rollout_id"], one["outcome"], one["reward"]) for one in found] == [
        (f"{RUN}/4", "scored", 0.5),
        (f"{RUN}/5", "policy_error", None),
    ]
    assert await store.read(lambda c: selection.group(c, "")) == []
