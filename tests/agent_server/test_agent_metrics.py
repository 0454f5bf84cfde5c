"""What an agent server counts, and the tree of spans of one rollout through all its hops."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fakes import FakeEnvironment, FakePolicy, call, message
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from gym_core import tracing
from gym_core.contracts import RUN_KEY
from gym_core.otel import OtelTracer

ROW = {
    "environment": "fake",
    "responses_create_params": {"input": "hi", "tools": [{"type": "function", "name": "add"}]},
}
House = Callable[..., Any]


def value(text: str, series: str) -> float:
    return next(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(series + " "))


async def test_rollouts_stages_tokens_and_queues(house: House) -> None:
    made = await house(FakePolicy([call("add", "{}")], [message("3")]))
    for _ in range(2):
        await made.client.post("/run", ROW)
    made.environment.on_verify = _broken
    await made.client.post("/run", ROW)
    text = (await made.client.get("/metrics")).text
    where = 'environment="fake"'
    assert value(text, f'palaestra_rollouts_total{{{where},outcome="scored"}}') == 2
    assert value(text, f'palaestra_rollouts_total{{{where},outcome="env_error"}}') == 1
    assert value(text, f"palaestra_rollout_seconds_count{{{where}}}") == 3
    assert value(text, f"palaestra_verdicts_total{{{where}}}") == 2
    assert value(text, f"palaestra_reward_sum{{{where}}}") == 2.0
    assert value(text, f'palaestra_tokens_total{{direction="output",{where}}}') == 18  # 3 rollouts of 2 turns of 3
    assert value(text, f'palaestra_rollout_tool_calls_total{{answer="ok",{where}}}') == 3
    assert value(text, 'palaestra_traces_total{began="start"}') == 3
    for stage, count in (("seed", 3), ("generate", 6), ("tool", 3), ("verify", 3), ("close", 3), ("store", 3)):
        assert value(text, f'palaestra_stage_seconds_count{{{where},stage="{stage}"}}') == count
    for queue in ("running", "queued", "storing"):
        assert value(text, f"palaestra_rollouts_{queue}") == 0
    assert "palaestra_loop_lag_seconds_count" in text


async def _broken(_: Any) -> Any:
    from aiohttp import web

    return web.json_response({"nothing": 1})


async def test_a_rollout_told_again_is_not_counted_again(house: House) -> None:
    made = await house(FakePolicy([message("3")]), FakeEnvironment(keeps_sessions=False, tools=()))
    for _ in range(2):
        await made.client.post("/run", {**ROW, RUN_KEY: {"rollout_id": "one"}})
    text = (await made.client.get("/metrics")).text
    assert value(text, 'palaestra_rollouts_total{environment="fake",outcome="scored"}') == 1


async def test_a_foreign_reason_for_a_trace_makes_no_label(house: House) -> None:
    policy = FakePolicy([message("3")])
    policy.began = lambda _: "because I say so"
    made = await house(policy)
    await made.client.post("/run", ROW)
    text = (await made.client.get("/metrics")).text
    assert value(text, 'palaestra_traces_total{began="other"}') == 1 and "because" not in text


async def test_one_rollout_is_one_tree_of_spans(house: House) -> None:
    exporter = InMemorySpanExporter()
    tracing.use(OtelTracer(SimpleSpanProcessor(exporter)))
    try:
        made = await house(FakePolicy([call("add", "{}")], [message("3")]))
        await made.client.post("/run", {**ROW, RUN_KEY: {"rollout_id": "r-1"}})
    finally:
        tracing.use(None)
    spans = {span.context.span_id: span for span in exporter.get_finished_spans() if span.name != "GET /manifest"}
    root = next(span for span in spans.values() if span.parent is None)
    tree: dict[str, list[str]] = {}
    for span in spans.values():
        if span.parent is not None and span.context.trace_id == root.context.trace_id:
            tree.setdefault(spans[span.parent.span_id].name, []).append(span.name)
    assert root.name == "POST /run" and {span.context.trace_id for span in spans.values()} == {root.context.trace_id}
    rollout = next(span for span in spans.values() if span.name == "rollout")
    assert (rollout.attributes or {})["palaestra.rollout_id"] == "r-1"
    assert tree["rollout"] == ["seed", "generate", "tool", "generate", "verify"]
    for stage, path in (("tool", "POST /add"), ("verify", "POST /verify"), ("seed", "POST /seed_session")):
        assert tree[stage] == [path] and path in {span.name for span in spans.values()}
    assert tree["generate"] == ["POST /v1/responses"] * 2
