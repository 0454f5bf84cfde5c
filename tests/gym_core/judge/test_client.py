"""The endpoint: what is sent, what is tried again, what ends in a typed fault in time."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from gym_core.client import Backoff
from gym_core.errors import JudgeFault
from gym_core.judge.client import JudgeClient
from gym_core.judge.config import JudgeConfig
from gym_core.judge.protocols import EQUIVALENCE

PAIR = {"question": "q", "first": "1", "second": "one"}


async def ask(made: Any, **limits: float) -> Any:
    return await made.client.judge(**limits).ask(EQUIVALENCE, **PAIR)


async def test_what_is_sent(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUDGE_KEY", "sk-1")
    made = await bench("[[A!=B]]", api_key_env="JUDGE_KEY", temperature=0.5, top_p=0.9, max_tokens=64, extra={"n": 1})
    await ask(made)
    (body,) = made.fake.asked
    assert {name: value for name, value in body.items() if name != "messages"} == {
        "model": "m",
        "temperature": 0.5,
        "top_p": 0.9,
        "max_tokens": 64,
        "n": 1,
    }
    assert made.fake.keys == ["Bearer sk-1"]


async def test_sampling_that_is_none_is_left_to_the_endpoint(bench: Any) -> None:
    made = await bench("[[A!=B]]", temperature=None, max_tokens=None)
    await ask(made)
    assert set(made.fake.asked[0]) == {"model", "messages"}


async def test_an_address_may_end_in_v1(bench: Any) -> None:
    made = await bench("[[A!=B]]")
    config = JudgeConfig(base_url=made.fake.url + "/v1/", model="m")
    async with JudgeClient(config) as client:
        assert (await client.judge().ask(EQUIVALENCE, **PAIR)).value is False


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
async def test_a_failure_that_may_pass_is_tried_again(bench: Any, status: int) -> None:
    made = await bench(status, status, "[[A!=B]]", retries=2)
    assert (await ask(made)).value is False
    assert made.metric('palaestra_judge_requests_total{outcome="failed",protocol="equivalence"}') == 2


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
async def test_a_refusal_is_not_tried_again(bench: Any, status: int) -> None:
    made = await bench(status, "[[A=B]]")
    with pytest.raises(JudgeFault, match=f"answered {status}: not now"):
        await ask(made)
    assert len(made.fake.asked) == 1


async def test_a_refused_key_names_the_way_out(bench: Any) -> None:
    made = await bench(401)
    with pytest.raises(JudgeFault) as fault:
        await ask(made)
    assert "api_key_env" in fault.value.hint


async def test_tries_are_bounded(bench: Any) -> None:
    made = await bench(503, retries=2)
    with pytest.raises(JudgeFault, match=r"the judge failed \(3 tries\)"):
        await ask(made)
    assert len(made.fake.asked) == 3


async def test_waits_between_tries_are_jittered_and_bounded() -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    backoff = Backoff(base_s=0.5, cap_s=10.0, sleep=sleep, uniform=lambda low, high: high)
    async with JudgeClient(JudgeConfig(base_url="http://127.0.0.1:9", model="m", retries=3), backoff=backoff) as client:
        with pytest.raises(JudgeFault, match="nobody answers"):
            await client.judge().ask(EQUIVALENCE, **PAIR)
    assert waits == [0.5, 1.0, 2.0]


async def test_a_judge_that_hangs_is_a_fault_within_the_deadline(bench: Any) -> None:
    async def hang(_: Any) -> str:
        await asyncio.Event().wait()
        return ""

    made = await bench(hang)
    began = time.monotonic()
    with pytest.raises(JudgeFault, match="deadline"):
        await ask(made, limit_s=0.1)
    assert time.monotonic() - began < 10.0


async def test_one_slow_request_is_given_up_and_tried_again(bench: Any) -> None:
    async def hang(_: Any) -> str:
        await asyncio.Event().wait()
        return ""

    made = await bench(hang, "[[A!=B]]", timeout_s=2.0)
    assert (await ask(made)).value is False


@pytest.mark.parametrize("reply", [None, "", [{"type": "text", "text": "hmm"}]])
async def test_a_reply_without_words_is_a_fault_and_no_ruling(bench: Any, reply: Any) -> None:
    made = await bench(reply, retries=1)
    with pytest.raises(JudgeFault):
        await ask(made)


async def test_parts_of_text_are_one_text(bench: Any) -> None:
    made = await bench([{"type": "text", "text": "[[A"}, {"type": "text", "text": "!=B]]"}])
    assert (await ask(made)).value is False


async def test_something_that_is_no_judge_is_a_fault(bench: Any) -> None:
    made = await bench({"not": "text"}, retries=0)
    with pytest.raises(JudgeFault, match="not what was asked for"):
        await ask(made)


async def test_few_requests_are_under_way_at_once(bench: Any) -> None:
    inside, most = 0, 0
    gate = asyncio.Event()

    async def slow(_: Any) -> str:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        if inside == 2:
            gate.set()
        await gate.wait()
        inside -= 1
        return "[[A!=B]]"

    made = await bench(slow, concurrency=2)
    rulings = await asyncio.gather(*(ask(made) for _ in range(8)))
    assert [ruling.value for ruling in rulings] == [False] * 8
    assert most == 2


async def test_without_a_judge_there_is_a_fault_that_says_how_to_get_one() -> None:
    async with JudgeClient(JudgeConfig()) as client:
        with pytest.raises(JudgeFault) as fault:
            await client.judge().ask(EQUIVALENCE, **PAIR)
    assert "base_url" in fault.value.hint
