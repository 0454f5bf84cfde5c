"""What the running services say of themselves: their `/metrics`, read every two seconds while somebody looks.

GET /metrics ─▶ this reading minus that of ten seconds ago ─▶ queues, latency per hop, loop lag, tokens per second
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import urlsplit

import msgspec

from gym_core.client import Client
from gym_core.errors import PalaestraError
from palaestra.dashboard.exposition import Between, Labels, Samples, read

EVERY_S = 2.0
TIMEOUT_S = 5.0
FORGET_S = 60.0
MAX_WATCHED = 32
WINDOW = 5
"""Readings that rates and latencies are taken over: what comes in bursts, such as a step's rollouts, is seen."""

KEPT = 90
"""Readings of which the course is shown."""

QUEUES = (
    ("palaestra_rollouts_queued", "rollouts waiting"),
    ("palaestra_rollouts_running", "rollouts running"),
    ("palaestra_rollouts_storing", "rollouts being stored"),
    ("palaestra_worker_queue", "jobs waiting for a worker"),
    ("palaestra_policy_waiting", "samples waiting"),
    ("palaestra_policy_running", "samples running"),
    ("palaestra_sessions_open", "sessions open"),
)
_SAMPLED = ("palaestra_policy_sampled_tokens_total", "palaestra_tokens_total")


class Course(msgspec.Struct, kw_only=True):
    """The last readings, oldest first."""

    lag_ms: list[float] = []
    tokens_s: list[float] = []
    requests_s: list[float] = []
    waiting: list[float] = []


class Report(msgspec.Struct, kw_only=True):
    """One service as the page shows it. Seconds since the epoch; latencies in milliseconds."""

    name: str
    url: str
    up: bool = False
    said: str = ""
    since: float = 0.0
    restarts: int = 0
    lag_ms: float | None = None
    lag_p99_ms: float | None = None
    requests_s: float = 0.0
    tokens_s: float | None = None
    memory_mb: float | None = None
    queues: list[dict[str, Any]] = []
    hops: list[dict[str, Any]] = []
    outcomes: dict[str, float] = {}
    course: Course = msgspec.field(default_factory=Course)


class Service:
    """One service: read again and again, through an outage and a restart."""

    def __init__(self, name: str, url: str, token: str | None, own: Callable[[], bytes] | None = None) -> None:
        self.report = Report(name=name, url=url, said="not asked yet", since=time.time())
        self._own = own
        self._client = None if own else Client(url, token=token, retries=0, connection_limit=2)
        self._readings: deque[tuple[float, Samples]] = deque(maxlen=WINDOW)
        self._course = {name: deque[float](maxlen=KEPT) for name in Course.__struct_fields__}

    async def look(self) -> None:
        """Read it once. What fails is in the report."""
        report = self.report
        try:
            text = await self._text()
        except PalaestraError as error:
            if report.up or not report.said.startswith("down"):
                report.since = time.time()
            report.up, report.said = False, f"down: {error.message}"
            self._readings.clear()
            return
        now, samples = time.monotonic(), read(text)
        if not report.up:
            report.since = time.time()
        if self._readings and _begun(samples) != _begun(self._readings[-1][1]):
            report.restarts += 1
            report.since = time.time()
            self._readings.clear()
        report.up, report.said = True, ""
        self._fill(samples, self._readings[0] if self._readings else None, now)
        self._readings.append((now, samples))

    async def _text(self) -> str:
        if self._client is None:
            return self._own().decode() if self._own else ""
        return (await self._client.get("/metrics", timeout_s=TIMEOUT_S)).text

    def _fill(self, samples: Samples, before: tuple[float, Samples] | None, now: float) -> None:
        report = self.report
        since_start = max(1.0, time.time() - _begun(samples)) if _begun(samples) else EVERY_S
        between = Between(samples, before[1] if before else None, now - before[0] if before else since_start)
        lag = next((latency for _, latency in between.latencies("palaestra_loop_lag_seconds")), None)
        if lag is not None:
            report.lag_ms, report.lag_p99_ms = round(1000 * lag.mean_s, 2), round(1000 * lag.p99_s, 2)
        report.requests_s = round(_of_others(between) / between.seconds, 2)
        report.tokens_s = _tokens_s(between)
        resident = between.gauges("process_resident_memory_bytes")
        report.memory_mb = round(sum(resident.values()) / 2**20, 1) if resident else None
        report.queues = list(_queues(between))
        report.hops = sorted(_hops(between), key=lambda hop: -hop["count"])[:24]
        report.outcomes = _outcomes(samples)
        waiting = sum(queue["value"] for queue in report.queues if "waiting" in queue["what"])
        self._remember(report.lag_ms or 0.0, report.tokens_s or 0.0, report.requests_s, waiting)

    def _remember(self, *values: float) -> None:
        for course, value in zip(self._course.values(), values, strict=True):
            course.append(value)
        self.report.course = Course(**{name: list(course) for name, course in self._course.items()})

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()


class Services:
    """The services that are watched; they are read in the background for as long as somebody asks.

    `urls` (address by name) are watched always, those of a run for as long as its page asks for them.
    """

    def __init__(self, urls: dict[str, str] | None = None, token: str | None = None) -> None:
        self._token = token
        self._always = {url: name for name, url in (urls or {}).items()}
        self._services: dict[str, Service] = {}  # by address
        self._asked_at: dict[str, float] = {}
        self._task: asyncio.Task[None] | None = None

    def include(self, name: str, metrics: Callable[[], bytes]) -> None:
        """Watch the server that this runs in, by its own registry."""
        here = f"this process ({name})"
        self._always[here] = name
        self._services[here] = Service(name, here, None, metrics)

    def reports(self, more: Iterable[tuple[str, str]] = ()) -> list[Report]:
        """The last readings of these (name, address) and of those that are always watched; asking keeps them read."""
        asked = {**self._always, **{url: name for name, url in more}}
        for url, name in list(asked.items())[:MAX_WATCHED]:
            self._asked_at[url] = time.monotonic()
            if url not in self._services:
                self._services[url] = Service(name, url, self._token)
        if asked and (self._task is None or self._task.done()):
            self._task = asyncio.get_running_loop().create_task(self._keep_reading())
        return [self._services[url].report for url in asked if url in self._services]

    async def read_once(self) -> None:
        """One reading of all of them, side by side."""
        await asyncio.gather(*(service.look() for service in list(self._services.values())))

    async def _keep_reading(self) -> None:
        """Until nobody has asked for a while; a run's services are forgotten then."""
        while self._asked_at:
            await self.read_once()
            await asyncio.sleep(EVERY_S)
            for url in [url for url, at in self._asked_at.items() if time.monotonic() - at > FORGET_S]:
                del self._asked_at[url]
                if url not in self._always:
                    await self._services.pop(url).close()

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        for service in self._services.values():
            await service.close()


def origin(url: str) -> str:
    """Where the metrics of a service lie: scheme, host and port of its address."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _begun(samples: Samples) -> float:
    """When it was started; of several processes behind one address the one that was started last."""
    return max(samples.get("process_start_time_seconds", {}).values(), default=0.0)


def _of_others(between: Between) -> float:
    """Requests, our own readings aside."""
    grown = between.increase("palaestra_requests_total")
    return sum(value for labels, value in grown.items() if dict(labels).get("route") not in ("/metrics", "/healthz"))


def _tokens_s(between: Between) -> float | None:
    for name in _SAMPLED:
        grown = {k: v for k, v in between.increase(name).items() if dict(k).get("direction", "output") == "output"}
        if grown:
            return round(sum(grown.values()) / between.seconds, 1)
    return None


def _queues(between: Between) -> Iterable[dict[str, Any]]:
    for name, what in QUEUES:
        for labels, value in between.gauges(name).items():
            yield {"what": what, "where": _where(labels), "value": value}


def _hops(between: Between) -> Iterable[dict[str, Any]]:
    """Stages of rollouts where the server plays some, else its routes."""
    stages = list(between.latencies("palaestra_stage_seconds"))
    found = stages or [
        (labels, latency)
        for labels, latency in between.latencies("palaestra_request_seconds")
        if dict(labels).get("route") not in ("/metrics", "/healthz")
    ]
    for labels, latency in found:
        named = dict(labels)
        yield {
            "hop": named.get("stage") or f"{named.get('method', '')} {named.get('route', '')}",
            "where": named.get("environment", ""),
            "count": latency.num,
            "per_s": round(latency.num / between.seconds, 2),
            "mean_ms": round(1000 * latency.mean_s, 2),
            "p50_ms": round(1000 * latency.p50_s, 2),
            "p99_ms": round(1000 * latency.p99_s, 2),
        }


def _outcomes(samples: Samples) -> dict[str, float]:
    counts: dict[str, float] = {}
    for labels, value in samples.get("palaestra_rollouts_total", {}).items():
        outcome = dict(labels).get("outcome", "")
        counts[outcome] = counts.get(outcome, 0.0) + value
    return counts


def _where(labels: Labels) -> str:
    return " ".join(value for _, value in labels)
