"""The circuit breaker: when it opens, whom it lets in, how long it rests; and what a rollout is told."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp import web
from fakes import FakePolicy, message

from agent_server.breaker import CLOSED, HALF_OPEN, OPEN, Breaker, CircuitOpen


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def broken(clock: Clock, failures: int = 3) -> Breaker:
    breaker = Breaker("math", failures, rest_s=1.0, clock=clock)
    for _ in range(failures):
        breaker.leave(breaker.enter(), False)
    return breaker


def test_failures_in_a_row_open_it_and_a_good_one_between_them_does_not() -> None:
    breaker = Breaker("math", 3, clock=Clock())
    for well in (False, False, True, False, None, False):
        breaker.leave(breaker.enter(), well)
        assert breaker.state == CLOSED
    breaker.leave(breaker.enter(), False)
    assert (breaker.state, breaker.opened) == (OPEN, 1)
    with pytest.raises(CircuitOpen, match="3 times in a row"):
        breaker.enter()
    assert breaker.refused == 1


def test_after_its_rest_one_probe_goes_and_closes_it() -> None:
    clock = Clock()
    breaker = broken(clock)
    clock.now += 1.0
    assert breaker.state == HALF_OPEN
    assert breaker.enter() is True
    with pytest.raises(CircuitOpen):
        breaker.enter()
    breaker.leave(True, True)
    assert breaker.state == CLOSED and breaker.enter() is False


def test_each_failed_probe_doubles_the_rest_up_to_half_a_minute() -> None:
    clock, rests = Clock(), []
    breaker = broken(clock)
    clock.now += 1.0
    for _ in range(7):
        breaker.leave(breaker.enter(), False)
        with pytest.raises(CircuitOpen) as caught:
            breaker.enter()
        rests.append(caught.value.retry_after_s)
        clock.now += rests[-1]
    assert rests == [2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]
    assert breaker.state == HALF_OPEN


def test_a_probe_that_never_comes_back_is_followed_by_another() -> None:
    clock = Clock()
    breaker = broken(clock)
    clock.now += 1.0
    assert breaker.enter()
    clock.now += 0.9
    with pytest.raises(CircuitOpen):
        breaker.enter()
    clock.now += 0.1
    assert breaker.enter()


def test_what_began_before_it_opened_may_close_it_but_does_not_lengthen_its_rest() -> None:
    clock = Clock()
    breaker = broken(clock)
    breaker.leave(False, False)
    clock.now += 1.0
    assert breaker.state == HALF_OPEN
    breaker.leave(False, True)
    assert breaker.state == CLOSED


def test_zero_never_opens() -> None:
    breaker = broken(Clock(), 0)
    for _ in range(100):
        breaker.leave(breaker.enter(), False)
    assert breaker.state == CLOSED


def row(number: int) -> dict[str, Any]:
    return {"environment": "fake", "responses_create_params": {"input": f"task {number}"}}


async def test_rollouts_of_a_failing_environment_are_told_circuit_open_and_metrics_say_so(house: Any) -> None:
    async def fails(_: web.Request) -> web.Response:
        return web.Response(status=500, text="Internal Server Error")

    built = await house(FakePolicy([message("4")]), breaker_failures=2, breaker_rest_s=3600.0)
    built.environment.on_verify = fails
    said = [await built.client.post_json("/run", row(number), timeout_s=60) for number in range(5)]
    assert [one["outcome"] for one in said] == ["env_error"] * 5
    assert [one["error"]["code"] for one in said] == ["remote_error"] * 2 + ["circuit_open"] * 3
    assert all(one["reward"] is None for one in said)
    assert built.environment.opened == 2, "an open circuit asks nothing of the environment"
    text = (await built.client.get("/metrics")).body.decode()
    assert 'palaestra_circuit{environment="fake"} 2.0' in text
    assert 'palaestra_circuit_refused{environment="fake"} 3.0' in text


async def test_what_a_caller_or_a_policy_does_wrong_opens_nothing(house: Any) -> None:
    async def refuses(_: web.Request) -> web.Response:
        return web.json_response({"error": {"code": "bad_row", "message": "no"}}, status=422)

    async def stumbles(_: web.Request) -> web.Response:
        return web.Response(status=400, text="no")

    built = await house(FakePolicy([message("4")]), breaker_failures=1)
    built.environment.on_verify = refuses
    for number in range(3):
        said = await built.client.post_json("/run", row(number), timeout_s=60)
        assert (said["outcome"], said["error"]["code"]) == ("env_error", "bad_row")
    built.policy.turns = (stumbles,)
    for number in range(3):
        assert (await built.client.post_json("/run", row(number), timeout_s=60))["outcome"] == "policy_error"
    built.environment.on_verify, built.policy.turns = None, ([message("4")],)
    assert (await built.client.post_json("/run", row(9), timeout_s=60))["outcome"] == "scored"
