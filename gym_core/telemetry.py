"""What a server says of itself: log lines with the trace id, and Prometheus metrics in a registry per app.

Lines are JSON on stderr unless it is a terminal; `PALAESTRA_LOG=json|text` decides otherwise.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import msgspec
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest

from gym_core.counts import Counter, Gauge, Histogram, Number, Spread

trace_id: ContextVar[str] = ContextVar("palaestra_trace_id", default="")
"""Trace id of the request that this task serves; "" outside of one."""

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
"""Upper bounds in seconds of the latency histogram: from one hop to one long rollout."""

_TRACE = re.compile(r"[A-Za-z0-9._-]{1,64}")
_PLAIN = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName", "server"}
_ROOT = "palaestra"


def new_trace_id() -> str:
    """16 hexadecimal digits."""
    return os.urandom(8).hex()


def accept_trace_id(given: str | None) -> str:
    """The caller's trace id when it is harmless in a log and a header, else a new one."""
    return given if given and _TRACE.fullmatch(given) else new_trace_id()


@contextmanager
def tracing(given: str | None = None) -> Iterator[str]:
    """Everything inside logs and calls under one trace id."""
    token = trace_id.set(accept_trace_id(given))
    try:
        yield trace_id.get()
    finally:
        trace_id.reset(token)


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": round(record.created, 3),
            "level": record.levelname.lower(),
            "server": getattr(record, "server", "") or record.name.removeprefix(f"{_ROOT}."),
            "message": record.getMessage(),
        }
        if trace := trace_id.get():
            line["trace_id"] = trace
        line.update((key, value) for key, value in record.__dict__.items() if key not in _PLAIN)
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line, enc_hook=str).decode()


class _TextLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        server = getattr(record, "server", "") or record.name.removeprefix(f"{_ROOT}.")
        extras = "".join(f" {key}={value}" for key, value in record.__dict__.items() if key not in _PLAIN)
        trace = f" [{trace_id.get()}]" if trace_id.get() else ""
        text = f"{clock} {record.levelname.lower():7} {server}: {record.getMessage()}{extras}{trace}"
        return f"{text}\n{self.formatException(record.exc_info)}" if record.exc_info else text


class _Stderr(logging.Handler):
    """Writes to whatever `sys.stderr` is at that moment, in the form that `PALAESTRA_LOG` asks for."""

    _json, _text = _JsonLines(), _TextLines()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            stream = sys.stderr
            wanted = os.environ.get("PALAESTRA_LOG") or ("text" if stream.isatty() else "json")
            stream.write((self._text if wanted == "text" else self._json).format(record) + "\n")
            stream.flush()
        except (OSError, ValueError):  # stderr is closed or its reader is gone: nowhere is left to say so
            return


def logger(server: str) -> logging.Logger:
    """The log of one server; `log.info("text", extra={"rollout_id": …})` adds fields to the line."""
    root = logging.getLogger(_ROOT)
    if not any(isinstance(handler, _Stderr) for handler in root.handlers):
        root.addHandler(_Stderr())
        levels = logging.getLevelNamesMapping()
        root.setLevel(levels.get(os.environ.get("PALAESTRA_LOG_LEVEL", "").upper(), logging.INFO))
    return logging.getLogger(f"{_ROOT}.{server}")


class ReadCounter(Counter):
    """A counter whose values are functions that tell the count so far."""

    def read(self, function: Callable[[], float], *labels: str) -> None:
        """Take the count under these label values from `function`."""
        self.labels(*labels).set_function(function)


class Metrics:
    """Prometheus registry of one app, with the counts that every server has."""

    content_type = "text/plain; version=0.0.4; charset=utf-8"

    def __init__(self, server: str) -> None:
        self.server = server
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._requests = self.counter("palaestra_requests", "Requests answered", ("method", "route", "status"))
        self._seconds = self.histogram("palaestra_request_seconds", "Seconds per request", ("method", "route"))
        self._in_flight = self.gauge("palaestra_requests_in_flight", "Requests being served", ("method", "route"))
        self.loop_lag = self.histogram("palaestra_loop_lag_seconds", "Seconds a timer of the event loop was late")
        self._routes: dict[tuple[str, str], tuple[Number, Spread]] = {}
        self._statuses: dict[tuple[str, str, int], Number] = {}

    def counter(self, name: str, help_text: str, labels: tuple[str, ...] = ()) -> Counter:
        counter = Counter(name, help_text, labels)
        self.registry.register(counter)
        return counter

    def read_counter(self, name: str, help_text: str, labels: tuple[str, ...] = ()) -> ReadCounter:
        """A counter that somebody else keeps, read when it is asked for: it costs who counts nothing."""
        counter = ReadCounter(name, help_text, labels)
        self.registry.register(counter)
        return counter

    def gauge(self, name: str, help_text: str, labels: tuple[str, ...] = ()) -> Gauge:
        gauge = Gauge(name, help_text, labels)
        self.registry.register(gauge)
        return gauge

    def histogram(
        self, name: str, help_text: str, labels: tuple[str, ...] = (), buckets: tuple[float, ...] = BUCKETS
    ) -> Histogram:
        histogram = Histogram(name, help_text, labels, buckets)
        self.registry.register(histogram)
        return histogram

    def route(self, method: str, route: str) -> tuple[Number, Spread]:
        """In-flight gauge and latency histogram of one route; kept, because finding a labelled child is slow."""
        key = (method, route)
        found = self._routes.get(key)
        if found is None:
            found = self._routes[key] = (self._in_flight.labels(method, route), self._seconds.labels(method, route))
        return found

    def answered(self, method: str, route: str, status: int) -> None:
        key = (method, route, status)
        child = self._statuses.get(key)
        if child is None:
            child = self._statuses[key] = self._requests.labels(method, route, str(status))
        child.inc()

    def text(self) -> bytes:
        """Everything in Prometheus' text format."""
        return generate_latest(self.registry)
