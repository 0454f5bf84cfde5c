"""Spans over OpenTelemetry, exported by OTLP/HTTP in a thread of their own. Needs the extra `otel`.

One provider per server, so that each is a service of its own in a trace, also where many share a process; one exporter
for all of them. Endpoint, headers, sampler and resource come from the `OTEL_*` variables of the specification.
"""

from __future__ import annotations

import atexit
import os
import re
import threading
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import Any

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

OUTSIDE = "client"
"""Whose spans those are that begin outside of any server: a script, the trainer."""

CLOSE_S = 2.0
"""A server that was asked to stop has five seconds for everything."""

_USER_INFO = re.compile(r"//[^/@]*@")
_propagator = TraceContextTextMapPropagator()
_server: ContextVar[str] = ContextVar("palaestra_otel_server", default=OUTSIDE)


class OtelTracer:
    """`gym_core.tracing.Tracer` over one span processor."""

    def __init__(self, processor: SpanProcessor) -> None:
        self._processor = processor
        self._tracers: dict[str, trace.Tracer] = {}
        self._ending = threading.Event()
        # Begun before there is anything to end: an interpreter that shuts down starts no more threads.
        self._ender = threading.Thread(target=self._end, name="otel-end", daemon=True)
        self._ender.start()

    @classmethod
    def exporting(cls) -> OtelTracer:
        """To the collector that the environment names; what is queued is sent when the process ends."""
        tracer = cls(BatchSpanProcessor(OTLPSpanExporter()))
        atexit.register(tracer.close)
        return tracer

    def flush(self, timeout_s: float = 10.0) -> bool:
        """Send what is queued. Blocks."""
        return bool(self._processor.force_flush(int(timeout_s * 1000)))

    def close(self, within_s: float = CLOSE_S) -> None:
        """Send what is queued and end the exporting thread; a collector that takes longer is not waited for. Blocks;
        idempotent."""
        atexit.unregister(self.close)
        self._ending.set()
        self._ender.join(within_s)

    def _end(self) -> None:
        self._ending.wait()
        self._processor.shutdown()

    def _of(self, server: str) -> trace.Tracer:
        found = self._tracers.get(server)
        if found is None:
            name = os.environ.get("OTEL_SERVICE_NAME") or f"palaestra-{server}"
            resource = Resource.create({SERVICE_NAME: name, "palaestra.server": server})
            provider = TracerProvider(resource=resource, shutdown_on_exit=False)
            provider.add_span_processor(self._processor)
            found = self._tracers[server] = provider.get_tracer("palaestra")
        return found

    def serve(self, server: str, method: str, route: str, headers: Mapping[str, str]) -> Served:
        parent = _propagator.extract(headers, context=contexts.Context())
        about = {"http.request.method": method, "http.route": route}
        return Served(self._of(server).start_span(f"{method} {route}", parent, SpanKind.SERVER, about), server)

    @contextmanager
    def call(self, method: str, base_url: str, path: str, headers: MutableMapping[str, str]) -> Iterator[Called]:
        about = {"http.request.method": method, "url.full": _USER_INFO.sub("//", base_url) + path}
        span = self._of(_server.get()).start_span(f"{method} {path}", None, SpanKind.CLIENT, about)
        _propagator.inject(headers, trace.set_span_in_context(span))
        called = Called(span)
        try:
            yield called
        except GeneratorExit:  # whoever read a stream has seen enough
            raise
        except BaseException as error:
            called.answered(0, error)
            raise
        finally:
            called.end()

    def span(self, name: str, attributes: Mapping[str, Any]) -> AbstractContextManager[Any]:
        return self._span(name, attributes)

    @contextmanager
    def _span(self, name: str, attributes: Mapping[str, Any]) -> Iterator[trace.Span]:
        span = self._of(_server.get()).start_span(name, None, SpanKind.INTERNAL, attributes)
        token = contexts.attach(trace.set_span_in_context(span))
        try:
            yield span
        except BaseException as error:
            _failed(span, error)
            raise
        finally:
            contexts.detach(token)
            span.end()


class Called:
    """A request that we sent. It is never the current span: nothing of ours happens inside it."""

    __slots__ = ("_span",)
    error_from = 400

    def __init__(self, span: trace.Span) -> None:
        self._span = span

    @property
    def trace_id(self) -> str:
        return trace.format_trace_id(self._span.get_span_context().trace_id)

    def answered(self, status: int, error: BaseException | None = None) -> None:
        if status:
            self._span.set_attribute("http.response.status_code", status)
        if error is not None:
            _failed(self._span, error)
        elif status >= self.error_from:
            self._span.set_status(Status(StatusCode.ERROR))

    def end(self) -> None:
        self._span.end()


class Served(Called):
    """A request that a server of ours answers: the current span until its end. A caller's mistake is no failure."""

    __slots__ = ("_before", "_token")
    error_from = 500

    def __init__(self, span: trace.Span, server: str) -> None:
        super().__init__(span)
        self._before = _server.set(server)
        self._token = contexts.attach(trace.set_span_in_context(span))

    def end(self) -> None:
        super().end()
        contexts.detach(self._token)
        _server.reset(self._before)


def _failed(span: trace.Span, error: BaseException) -> None:
    """Name the error; its text may quote a rollout and stays out of traces."""
    kind = getattr(error, "code", None)
    span.set_attribute("error.type", kind if isinstance(kind, str) else type(error).__name__)
    span.set_status(Status(StatusCode.ERROR))
