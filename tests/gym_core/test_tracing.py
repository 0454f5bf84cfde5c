"""Traces across hops: one tree of spans, or a caller's header passed on untouched where nothing is exported."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator

import pytest
from aiohttp import web
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from gym_core import headers, serve, telemetry, tracing
from gym_core.client import Client
from gym_core.errors import EnvironmentFault, Unavailable
from gym_core.otel import OtelTracer
from gym_core.tokens import pack_frame

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    tracer = OtelTracer(SimpleSpanProcessor(exporter))
    tracing.use(tracer)
    yield exporter
    tracing.use(None)
    tracer.close()


@pytest.fixture(autouse=True)
def off_again() -> Iterator[None]:
    tracing.use(None)
    yield
    tracing.use(None)


async def line(*, broken: bool = False) -> AsyncIterator[Client]:
    """front ─▶ back, each a server of ours; `back` tells which headers reached it."""

    async def tell(request: web.Request) -> web.Response:
        if broken:
            raise EnvironmentFault("the secret of a rollout")
        return serve.json_reply({name: request.headers.get(name) for name in ("traceparent", "tracestate")})

    async def frames(_: web.Request) -> web.Response:
        return web.Response(body=pack_frame(b"{}") * 2)

    back = web.Application()
    back.router.add_get("/tell", tell)
    back.router.add_post("/frames", frames)
    serve.harden(back, "environment")
    async with await serve.start(back) as served, Client(served.url, retries=0) as onward:

        async def ask(_: web.Request) -> web.Response:
            with tracing.span("verify", **{"palaestra.environment": "math"}):
                told = (await onward.get("/tell")).json()
            return serve.json_reply({**told, "trace_id": telemetry.trace_id.get()})

        async def stream(_: web.Request) -> web.Response:
            async for _frame in onward.stream("/frames", {}):
                break
            return serve.json_reply({})

        front = web.Application()
        front.router.add_get("/ask", ask)
        front.router.add_get("/stream", stream)
        serve.harden(front, "agent")
        async with await serve.start(front) as door, Client(door.url, retries=0) as client:
            yield client


def by_name(spans: InMemorySpanExporter) -> dict[tuple[str, str], ReadableSpan]:
    """Finished spans by service and name."""
    return {(str(span.resource.attributes["service.name"]), span.name): span for span in spans.get_finished_spans()}


async def test_one_request_is_one_tree_of_spans(spans: InMemorySpanExporter) -> None:
    async for client in line():
        await client.get("/ask")
    found = by_name(spans)
    chain = [
        ("palaestra-client", "GET /ask"),
        ("palaestra-agent", "GET /ask"),
        ("palaestra-agent", "verify"),
        ("palaestra-agent", "GET /tell"),
        ("palaestra-environment", "GET /tell"),
    ]
    assert set(found) == set(chain)
    for above, below in itertools.pairwise(chain):
        parent = found[below].parent
        assert parent is not None and parent.span_id == found[above].context.span_id
    assert len({span.context.trace_id for span in found.values()}) == 1
    assert found[chain[0]].parent is None
    assert [found[name].kind.name for name in chain] == ["CLIENT", "SERVER", "INTERNAL", "CLIENT", "SERVER"]
    assert dict(found[chain[1]].attributes or {}) == {
        "http.request.method": "GET",
        "http.route": "/ask",
        "http.response.status_code": 200,
    }
    assert (found[chain[2]].attributes or {})["palaestra.environment"] == "math"


async def test_the_trace_id_of_logs_is_that_of_the_trace(spans: InMemorySpanExporter) -> None:
    async for client in line():
        told = (await client.get("/ask")).json()
        assert told["trace_id"] == told["traceparent"].split("-")[1]
        given = (await client.get("/ask", headers={headers.TRACE: "mine"})).json()
        assert given["trace_id"] == "mine"


async def test_a_failure_is_named_but_never_quoted(spans: InMemorySpanExporter) -> None:
    async for client in line(broken=True):
        with pytest.raises(EnvironmentFault):
            await client.get("/ask")
    found = by_name(spans)
    for name in (("palaestra-agent", "verify"), ("palaestra-agent", "GET /tell"), ("palaestra-client", "GET /ask")):
        assert not found[name].status.is_ok
        assert (found[name].attributes or {})["error.type"] == "environment_fault"
    assert "secret" not in "".join(span.to_json() for span in spans.get_finished_spans())


async def test_nobody_there_is_a_failed_span(spans: InMemorySpanExporter) -> None:
    async with Client("http://user:secret@127.0.0.1:9", retries=0) as client:
        with pytest.raises(Unavailable):
            await client.get("/x")
    (span,) = spans.get_finished_spans()
    assert (span.attributes or {}) == {
        "http.request.method": "GET",
        "url.full": "http://127.0.0.1:9/x",
        "error.type": "unavailable",
    }


async def test_a_stream_that_is_left_early_is_no_failure(spans: InMemorySpanExporter) -> None:
    async for client in line():
        await client.get("/stream")
    span = by_name(spans)["palaestra-agent", "POST /frames"]
    assert span.status.is_unset and (span.attributes or {})["http.response.status_code"] == 200


async def test_requests_side_by_side_keep_their_own_parents(spans: InMemorySpanExporter) -> None:
    async for client in line():
        await asyncio.gather(*(client.get("/ask") for _ in range(8)))
    served = [span for span in spans.get_finished_spans() if span.name == "GET /ask" and span.parent is not None]
    asked = {span.context.span_id: span for span in spans.get_finished_spans()}
    assert len(served) == 8
    for span in served:
        assert span.parent is not None
        assert asked[span.parent.span_id].context.trace_id == span.context.trace_id
    assert len({span.context.trace_id for span in served}) == 8


async def test_health_and_metrics_are_in_no_trace(spans: InMemorySpanExporter) -> None:
    async for client in line():
        await client.get("/healthz")
        await client.get("/metrics")
    assert {span.kind.name for span in spans.get_finished_spans()} == {"CLIENT"}


async def test_without_an_exporter_the_header_of_the_caller_is_passed_on() -> None:
    async for client in line():
        told = (await client.get("/ask", headers={"traceparent": PARENT, "tracestate": "a=1"})).json()
        assert (told["traceparent"], told["tracestate"]) == (PARENT, "a=1")
        # the same connection, whose task still remembers the request before
        assert (await client.get("/ask")).json()["traceparent"] is None


@pytest.mark.parametrize("given", ["", "00-xyz", "00-" + "0" * 400, PARENT.upper()])
async def test_a_header_that_is_none_is_not_passed_on(given: str) -> None:
    async for client in line():
        told = (await client.get("/ask", headers={"traceparent": given})).json()
        assert told["traceparent"] is None


def test_nothing_is_traced_unless_the_environment_says_where_to(monkeypatch: pytest.MonkeyPatch) -> None:
    for environ in ({}, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318", "OTEL_SDK_DISABLED": "true"}):
        monkeypatch.setattr(tracing, "_configured", False)
        assert tracing.configure(environ) is False
    assert tracing.span("verify") is tracing.span("tool")  # one object that does nothing


async def test_a_collector_gets_the_spans(monkeypatch: pytest.MonkeyPatch) -> None:
    got: list[bytes] = []

    async def take(request: web.Request) -> web.Response:
        got.append(await request.read())
        return web.Response(body=b"", content_type="application/x-protobuf")

    collector = web.Application()
    collector.router.add_post("/v1/traces", take)
    async with await serve.start(collector) as served:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", served.url)
        monkeypatch.setenv("OTEL_SERVICE_NAME", "my-gym")
        exported = OtelTracer.exporting()
        tracing.use(exported)
        with tracing.span("verify"):
            tracing.span("nothing entered")
        tracing.use(None)  # the collector is a server of ours here, and must not be traced itself
        assert await asyncio.to_thread(exported.flush)
        await asyncio.to_thread(exported.close)
    assert b"verify" in b"".join(got) and b"my-gym" in b"".join(got)


async def test_a_collector_that_never_answers_holds_up_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, release = asyncio.Event(), asyncio.Event()

    async def hold(_: web.Request) -> web.Response:
        asked.set()
        await release.wait()
        return web.Response(body=b"", content_type="application/x-protobuf")

    collector = web.Application()
    collector.router.add_post("/v1/traces", hold)
    async with await serve.start(collector) as served:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", served.url)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "600")
        exported = OtelTracer.exporting()
        tracing.use(exported)
        with tracing.span("verify"):
            tracing.span("nothing entered")
        tracing.use(None)
        async with asyncio.timeout(25):  # the library's own patience is thirty seconds
            closing = asyncio.create_task(asyncio.to_thread(exported.close, 0.2))
            await asked.wait()
            await closing
        release.set()
