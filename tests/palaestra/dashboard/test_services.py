"""Services through their metrics: what waits, what is slow, who is gone, who began anew."""

from __future__ import annotations

import asyncio

from aiohttp import web

from gym_core.serve import harden, start
from gym_core.telemetry import Metrics
from palaestra.dashboard.services import Service, Services, origin


class Told:
    """A server whose /metrics the test writes."""

    def __init__(self) -> None:
        self.text = ""

    def app(self) -> web.Application:
        async def metrics(_: web.Request) -> web.Response:
            return web.Response(text=self.text)

        app = web.Application()
        app.router.add_get("/metrics", metrics)
        return app


def reading(began: int, answered: int, sampled: int, lag: float) -> str:
    return f"""
process_start_time_seconds {began}
process_resident_memory_bytes {50 * 2**20}
palaestra_requests_total{{method="POST",route="/run",status="200"}} {answered}
palaestra_requests_total{{method="GET",route="/metrics",status="200"}} 999
palaestra_policy_sampled_tokens_total {sampled}
palaestra_rollouts_queued 4
palaestra_worker_queue{{environment="math"}} 2
palaestra_loop_lag_seconds_bucket{{le="+Inf"}} {answered}
palaestra_loop_lag_seconds_sum {lag}
palaestra_loop_lag_seconds_count {answered}
palaestra_stage_seconds_bucket{{environment="math",le="0.5",stage="verify"}} {answered}
palaestra_stage_seconds_bucket{{environment="math",le="+Inf",stage="verify"}} {answered}
palaestra_stage_seconds_sum{{environment="math",stage="verify"}} {answered * 0.25}
palaestra_stage_seconds_count{{environment="math",stage="verify"}} {answered}
palaestra_rollouts_total{{environment="math",outcome="scored"}} {answered}
"""


async def test_two_readings_say_what_happened_between_them() -> None:
    told = Told()
    async with await start(told.app()) as served:
        service = Service("agent", served.url, None)
        told.text = reading(1000, 10, 100, 0.1)
        await service.look()
        told.text = reading(1000, 30, 500, 0.5)
        await service.look()
        report = service.report
        await service.close()
    assert report.up and report.said == "" and report.memory_mb == 50.0
    assert report.lag_ms == 20.0  # 0.4 s over 20 timers
    assert report.requests_s > 0 and report.tokens_s is not None and report.tokens_s > report.requests_s
    assert [(one["what"], one["where"], one["value"]) for one in report.queues] == [
        ("rollouts waiting", "", 4.0),
        ("jobs waiting for a worker", "math", 2.0),
    ]
    (hop,) = report.hops
    assert (hop["hop"], hop["where"], hop["count"], hop["mean_ms"], hop["p50_ms"]) == ("verify", "math", 20, 250, 250)
    assert report.outcomes == {"scored": 30.0}
    assert len(report.course.lag_ms) == len(report.course.waiting) == 2 and report.course.waiting[-1] == 6.0


async def test_a_restart_and_an_outage_are_told() -> None:
    told = Told()
    served = await start(told.app())
    service = Service("agent", served.url, None)
    told.text = reading(1000, 10, 100, 0.1)
    await service.look()
    told.text = reading(2000, 3, 5, 0.1)
    await service.look()
    assert (service.report.up, service.report.restarts) == (True, 1)
    await served.close()
    await service.look()
    since = service.report.since
    await service.look()
    assert not service.report.up and "nobody answers" in service.report.said and service.report.since == since
    served = await start(told.app(), port=served.port)
    await service.look()
    assert service.report.up and service.report.since >= since
    await service.close()
    await served.close()


async def test_a_server_of_ours_answers_with_its_hops() -> None:
    app = harden(web.Application(), "environment", "t")
    async with await start(app, token="t") as served:
        service = Service("environments", served.url, "t")
        await service.look()
        assert service.report.up
        stranger = Service("environments", served.url, "wrong")
        await stranger.look()
        assert not stranger.report.up and "bearer token" in stranger.report.said
        await service.close()
        await stranger.close()


async def test_services_are_read_while_somebody_asks() -> None:
    told = Told()
    told.text = reading(1000, 10, 100, 0.1)
    async with await start(told.app()) as served:
        services = Services({"policy": served.url})
        services.include("agent", Metrics("agent").text)
        async with asyncio.timeout(60):
            while not all(report.up for report in services.reports([("agent", "http://127.0.0.1:9")])[:2]):
                await asyncio.sleep(0.01)
        reports = services.reports([("agent", "http://127.0.0.1:9")])
        assert [(one.name, one.up) for one in reports] == [("policy", True), ("agent", True), ("agent", False)]
        assert [one.name for one in services.reports()] == ["policy", "agent"]
        await services.close()


def test_metrics_lie_at_the_origin() -> None:
    assert origin("http://127.0.0.1:80/math") == "http://127.0.0.1:80"
