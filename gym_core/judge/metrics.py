"""What judging costs and how far judges agree with themselves, in the metrics of the app that asks."""

from __future__ import annotations

from gym_core.telemetry import Metrics


class JudgeMetrics:
    """Counters by protocol; `outcome` is `read`, `unread` (no ruling in the reply) or `failed`."""

    def __init__(self, metrics: Metrics) -> None:
        self.requests = metrics.counter("palaestra_judge_requests", "Requests to the judge", ("protocol", "outcome"))
        self.seconds = metrics.histogram("palaestra_judge_seconds", "Seconds per request to the judge", ("protocol",))
        self.tokens = metrics.counter("palaestra_judge_tokens", "Tokens that the judge read and wrote", ("direction",))
        self.cost = metrics.counter("palaestra_judge_cost", "Cost of the judge at the configured prices")
        self.gated = metrics.counter("palaestra_judge_gated", "Rulings without a call", ("protocol", "reason"))
        self.orders = metrics.counter("palaestra_judge_orders", "Rulings in both orders", ("protocol", "agreement"))
