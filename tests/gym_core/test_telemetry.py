"""Log lines a machine reads, a trace id that follows the task, metrics that Prometheus reads."""

from __future__ import annotations

import asyncio
import io
import json
import sys
from collections.abc import Callable

import pytest

from gym_core import telemetry


@pytest.fixture
def stderr(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[[], str]:
    monkeypatch.delenv("PALAESTRA_LOG", raising=False)
    return lambda: capsys.readouterr().err


def test_a_line_is_json_with_server_trace_and_fields(stderr: Callable[[], str]) -> None:
    log = telemetry.logger("agent")
    with telemetry.tracing("t-1"):
        log.info("stored %d rollouts", 3, extra={"rollout_id": "r1", "path": Exception("odd")})
    log.warning("later")
    first, second = (json.loads(line) for line in stderr().splitlines())
    assert first.pop("time") > 1e9
    assert first == {
        "level": "info",
        "server": "agent",
        "message": "stored 3 rollouts",
        "trace_id": "t-1",
        "rollout_id": "r1",
        "path": "odd",
    }
    assert (second["level"], "trace_id" in second) == ("warning", False)


def test_a_traceback_stays_on_one_line(stderr: Callable[[], str]) -> None:
    try:
        raise KeyError("inner")
    except KeyError:
        telemetry.logger("agent").exception("it failed")
    (line,) = stderr().splitlines()
    assert "KeyError: 'inner'" in json.loads(line)["traceback"]


def test_text_is_for_people(stderr: Callable[[], str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PALAESTRA_LOG", "text")
    with telemetry.tracing("t-1"):
        telemetry.logger("agent").info("hello", extra={"step": 3})
    assert stderr().split(" ", 1)[1] == "info    agent: hello step=3 [t-1]\n"


def test_a_closed_stderr_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    stream.close()
    monkeypatch.setattr(sys, "stderr", stream)
    telemetry.logger("agent").info("into the void")


def test_asking_for_a_logger_twice_does_not_double_the_lines(stderr: Callable[[], str]) -> None:
    telemetry.logger("agent")
    telemetry.logger("policy").info("once")
    assert stderr().count("once") == 1


async def test_each_task_has_its_own_trace_id() -> None:
    async def inside(given: str) -> tuple[str, str]:
        with telemetry.tracing(given) as made:
            await asyncio.sleep(0)  # let the other one set its own
            return made, telemetry.trace_id.get()

    assert await asyncio.gather(inside("a"), inside("b")) == [("a", "a"), ("b", "b")]
    assert telemetry.trace_id.get() == ""


@pytest.mark.parametrize("given", ["a", "0123456789abcdef", "run-7.step_3", "x" * 64])
def test_a_harmless_trace_id_is_kept(given: str) -> None:
    assert telemetry.accept_trace_id(given) == given


@pytest.mark.parametrize("given", [None, "", "x" * 65, "a b", "a\n", '"', "ü"])
def test_any_other_is_replaced(given: str | None) -> None:
    made = telemetry.accept_trace_id(given)
    assert len(made) == 16 and int(made, 16) >= 0


def test_metrics_are_per_app_and_in_prometheus_text() -> None:
    first, second = telemetry.Metrics("a"), telemetry.Metrics("b")
    first.counter("palaestra_rollouts", "Rollouts", ("outcome",)).labels("scored").inc(2)
    first.histogram("palaestra_tokens", "Tokens", buckets=(10, 100)).observe(50)
    in_flight, seconds = first.route("POST", "/run")
    assert first.route("POST", "/run")[0] is in_flight
    in_flight.inc()
    seconds.observe(0.02)
    first.answered("POST", "/run", 200)
    first.answered("POST", "/run", 200)
    text = first.text().decode()
    for line in (
        'palaestra_rollouts_total{outcome="scored"} 2.0',
        'palaestra_tokens_bucket{le="100.0"} 1.0',
        'palaestra_requests_in_flight{method="POST",route="/run"} 1.0',
        'palaestra_request_seconds_bucket{le="0.01",method="POST",route="/run"} 0.0',
        'palaestra_request_seconds_bucket{le="0.025",method="POST",route="/run"} 1.0',
        'palaestra_requests_total{method="POST",route="/run",status="200"} 2.0',
    ):
        assert line in text.splitlines()
    assert "process_cpu_seconds_total" in text
    assert "palaestra_rollouts" not in second.text().decode()


def test_a_read_counter_tells_what_somebody_else_counts() -> None:
    metrics = telemetry.Metrics("a")
    counts = {"ok": 1}
    calls = metrics.read_counter("palaestra_tool_calls", "Tool calls", ("environment", "answer"))
    calls.read(lambda: counts["ok"], "math", "ok")
    counts["ok"] = 3
    text = metrics.text().decode()
    assert 'palaestra_tool_calls_total{answer="ok",environment="math"} 3.0' in text.splitlines()
