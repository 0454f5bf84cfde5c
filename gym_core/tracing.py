"""Traces across hops: one span per request on both of its ends, joined by the W3C header `traceparent`.

    client span ─▶ traceparent ─▶ server span ─▶ stage span (generate, tool, verify) ─▶ client span ─▶ …

Spans are made where `OTEL_EXPORTER_OTLP_ENDPOINT` is set and the extra `otel` is there (`gym_core/otel.py`). Elsewhere
this module costs a look at one variable, and a caller's `traceparent` is passed on as it came.
Source: W3C Trace Context, https://www.w3.org/TR/trace-context/
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
from collections.abc import Mapping, MutableMapping
from contextvars import ContextVar
from typing import Any, Protocol

TRACEPARENT, TRACESTATE = "traceparent", "tracestate"
ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")

_PARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_MAX_STATE_CHARS = 512
_passing: ContextVar[tuple[str, str] | None] = ContextVar("palaestra_traceparent", default=None)
_NOTHING: contextlib.AbstractContextManager[None] = contextlib.nullcontext()
_log = logging.getLogger("palaestra.tracing")


class Hop(Protocol):
    """One end of a request that is being traced."""

    @property
    def trace_id(self) -> str:
        """32 hexadecimal digits."""

    def answered(self, status: int, error: BaseException | None = None) -> None:
        """What came of it: HTTP's status, 0 where no answer came."""

    def end(self) -> None:
        """The request is over."""


class Tracer(Protocol):
    """Makes spans; implemented over OpenTelemetry by `gym_core.otel.OtelTracer`."""

    def serve(self, server: str, method: str, route: str, headers: Mapping[str, str]) -> Hop: ...

    def call(
        self, method: str, base_url: str, path: str, headers: MutableMapping[str, str]
    ) -> contextlib.AbstractContextManager[Hop]: ...

    def span(self, name: str, attributes: Mapping[str, Any]) -> contextlib.AbstractContextManager[Any]: ...


_tracer: Tracer | None = None
_configured = False


def use(tracer: Tracer | None) -> None:
    """Trace with this one from now on; None turns tracing off (tests, embedding)."""
    global _tracer, _configured
    _tracer, _configured = tracer, True


def configure(environ: Mapping[str, str] | None = None) -> bool:
    """Begin to export where the environment asks for it; looked at once. True where spans are made."""
    global _tracer, _configured
    if _configured:
        return _tracer is not None
    _configured = True
    environ = os.environ if environ is None else environ
    if not any(environ.get(name) for name in ENDPOINTS) or environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return False
    try:
        from gym_core.otel import OtelTracer
    except ImportError:
        _log.warning("no traces are exported: the extra is missing; pip install 'palaestra[otel]'")
        return False
    _tracer = OtelTracer.exporting()
    return True


def serve(server: str, method: str, route: str, headers: Mapping[str, str]) -> Hop | None:
    """The span of a request that `server` answers, current until its end; None where nothing is traced."""
    if _tracer is not None:
        return _tracer.serve(server, method, route, headers)
    given = headers.get(TRACEPARENT)
    # set in either case: the task of a kept-alive connection still holds what its last request passed
    _passing.set(None if given is None else _harmless(given, headers.get(TRACESTATE, "")))
    return None


def _harmless(parent: str, state: str) -> tuple[str, str] | None:
    if not _PARENT.fullmatch(parent):
        return None
    return parent, state if len(state) <= _MAX_STATE_CHARS and state.isascii() and state.isprintable() else ""


def call(
    method: str, base_url: str, path: str, headers: MutableMapping[str, str]
) -> contextlib.AbstractContextManager[Hop | None]:
    """The span of a request that we send, until it is left; its `traceparent` goes into `headers`."""
    if _tracer is not None:
        return _tracer.call(method, base_url, path, headers)
    if (passed := _passing.get()) is not None:
        headers.setdefault(TRACEPARENT, passed[0])
        if passed[1]:
            headers.setdefault(TRACESTATE, passed[1])
    return _NOTHING


def span(name: str, **attributes: Any) -> contextlib.AbstractContextManager[Any]:
    """What happens inside is a span of its own; an exception marks it as failed and goes on."""
    return _NOTHING if _tracer is None else _tracer.span(name, attributes)
