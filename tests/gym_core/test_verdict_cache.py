"""Verdicts that are known already: copies, bounded, never of failures, one check for all who ask at once."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gym_core.contracts import Grading, Verdict
from gym_core.errors import Busy, EnvironmentFault
from gym_core.reply import text_output
from gym_core.verdict_cache import MAX_ENTRY_BYTES, VerdictCache, verdict_key

ROW = {"responses_create_params": {"input": "q"}, "expected_answer": 2}


def key(row: dict[str, Any] | None = None, text: str = "x", **more: Any) -> bytes:
    asked = {"name": "sums", "version": "1", "grading": Grading.STRICT, **more}
    return verdict_key(row=row or ROW, output=text_output(text), **asked)


async def good() -> Verdict:
    return Verdict(reward=1.0, details={"list": [1]})


async def test_a_verdict_is_kept_and_each_caller_has_a_copy() -> None:
    cache = VerdictCache(10)
    first, known = await cache.fetch(b"k", good)
    assert not known
    first.details["list"].append(2)
    second, known = await cache.fetch(b"k", good)
    assert known and second == await good()
    second.details["list"].append(3)
    assert (await cache.fetch(b"k", good))[0] == await good()


async def test_the_oldest_go_first_and_use_keeps_them() -> None:
    cache = VerdictCache(2)
    for name in (b"a", b"b", b"a", b"c"):
        await cache.fetch(name, good)
    assert [(await cache.fetch(name, good))[1] for name in (b"a", b"c", b"b")] == [True, True, False]


async def test_bytes_are_bounded_too() -> None:
    async def large() -> Verdict:
        return Verdict(reward=1.0, details={"text": "x" * 1000})

    cache = VerdictCache(1000, max_bytes=5000)
    for number in range(20):
        await cache.fetch(bytes([number]), large)
    assert 1 <= len(cache) <= 4

    async def giant() -> Verdict:
        return Verdict(reward=1.0, details={"text": "x" * MAX_ENTRY_BYTES})

    await cache.fetch(b"giant", giant)
    assert (await cache.fetch(b"giant", giant))[1] is False


async def test_a_failure_is_not_kept() -> None:
    cache = VerdictCache(10)
    for error in (EnvironmentFault("no"), KeyError("bug"), TimeoutError()):

        async def failing(error: Exception = error) -> Verdict:
            raise error

        with pytest.raises(type(error)):
            await cache.fetch(b"k", failing)
    assert (await cache.fetch(b"k", good))[1] is False


class Slow:
    """A check that ends when the test says so."""

    def __init__(self, *ends: Any) -> None:
        self.ends = ends
        self.calls = 0
        self.go = asyncio.Event()

    async def __call__(self) -> Verdict:
        end = self.ends[min(self.calls, len(self.ends) - 1)]
        self.calls += 1
        await self.go.wait()
        if isinstance(end, Exception):
            raise end
        return Verdict(reward=end)


async def test_who_asks_at_the_same_moment_shares_one_check() -> None:
    cache, slow = VerdictCache(10), Slow(1.0)
    asking = [asyncio.create_task(cache.fetch(b"k", slow)) for _ in range(16)]
    await asyncio.sleep(0)
    slow.go.set()
    said = await asyncio.gather(*asking)
    assert slow.calls == 1
    assert [known for _, known in said] == [False] + [True] * 15
    assert len({id(verdict) for verdict, _ in said}) == 16


async def test_a_fault_is_shared_with_who_waits_and_a_full_queue_is_not() -> None:
    cache, slow = VerdictCache(10), Slow(EnvironmentFault("it hangs"))
    asking = [asyncio.create_task(cache.fetch(b"k", slow)) for _ in range(3)]
    await asyncio.sleep(0)
    slow.go.set()
    said = await asyncio.gather(*asking, return_exceptions=True)
    assert [str(error) for error in said] == ["it hangs"] * 3 and slow.calls == 1
    slow = Slow(Busy("full"), 1.0)
    asking = [asyncio.create_task(cache.fetch(b"k", slow)) for _ in range(3)]
    await asyncio.sleep(0)
    slow.go.set()
    said = await asyncio.gather(*asking, return_exceptions=True)
    assert isinstance(said[0], Busy) and slow.calls == 2
    assert [one[0].reward for one in said[1:]] == [1.0, 1.0]  # type: ignore[index]


async def test_a_first_caller_that_leaves_hands_over() -> None:
    cache, slow = VerdictCache(10), Slow(1.0)
    asking = [asyncio.create_task(cache.fetch(b"k", slow)) for _ in range(3)]
    await asyncio.sleep(0)
    asking[0].cancel()
    await asyncio.wait({asking[0]})
    slow.go.set()
    assert [(await one)[0].reward for one in asking[1:]] == [1.0, 1.0]
    assert slow.calls == 2


async def test_a_follower_that_leaves_harms_nobody() -> None:
    cache, slow = VerdictCache(10), Slow(1.0)
    asking = [asyncio.create_task(cache.fetch(b"k", slow)) for _ in range(3)]
    await asyncio.sleep(0)
    asking[1].cancel()
    slow.go.set()
    assert (await asking[0])[0].reward == (await asking[2])[0].reward == 1.0


def test_what_a_verifier_may_look_at_is_in_the_key() -> None:
    others = [
        key(),
        key(name="other"),
        key(version="2"),
        key(grading=Grading.PUBLISHED),
        key({**ROW, "expected_answer": 3}),
        key({**ROW, "extra": None}),
        key(dict(reversed(ROW.items()))),
        key(text="y"),
        key(text="x "),
        verdict_key("sums", "1", Grading.STRICT, ROW, text_output("x") * 2),
        verdict_key("sums", "1", Grading.STRICT, ROW, [{"type": "function_call", "name": "f", "arguments": "{}"}]),
        verdict_key("sums", "1", Grading.STRICT, ROW, [{"type": "function_call", "name": "f", "arguments": "{} "}]),
    ]
    assert all(one != other for one, other in itertools.combinations(others, 2))


def test_what_only_numbers_a_rollout_is_not() -> None:
    (item,) = text_output("x")
    (part,) = item["content"]
    marked = {**item, "id": "msg_7", "status": "incomplete", "generation_token_ids": [1, 2], "content": [part]}
    marked["content"] = [{**part, "annotations": [1], "logprobs": [0.1]}]
    assert verdict_key("sums", "1", Grading.STRICT, {**ROW, "_ng_rollout_index": 3}, [marked]) == key()


@given(st.lists(st.text(max_size=3), max_size=3), st.lists(st.text(max_size=3), max_size=3))
def test_texts_do_not_run_into_each_other(one: list[str], other: list[str]) -> None:
    def of(texts: list[str]) -> bytes:
        output = [item for text in texts for item in text_output(text)]
        return verdict_key("sums", "1", Grading.STRICT, ROW, output)

    assert (of(one) == of(other)) == (one == other)
