"""A circuit breaker per environment: one that only fails is left alone for a while, then asked by one rollout.

    closed ── so many failures in a row ──▶ open ── its rest is over ──▶ half open ── the probe is well ──▶ closed
                                             ▲                               │
                                             └────── it is not: twice the rest

What an open circuit refuses ends as `env_error` with code `circuit_open` at once, instead of each rollout finding out
for itself and holding a place in the queue for it.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from gym_core.errors import PalaestraError

MAX_REST_S = 30.0
CLOSED, HALF_OPEN, OPEN = 0, 1, 2


class CircuitOpen(PalaestraError):
    """The environment has failed so often that it is not asked now."""

    code, status, retryable = "circuit_open", 503, True


class Breaker:
    """Counts an environment's failures; `failures` 0 never opens. Used on one event loop."""

    def __init__(
        self, name: str, failures: int, rest_s: float = 1.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.name = name
        self.refused = 0
        self.opened = 0
        self._limit, self._first_rest_s, self._clock = failures, rest_s, clock
        self._failures = 0
        self._rest_s = rest_s
        self._until: float | None = None

    @property
    def state(self) -> int:
        """`CLOSED`, `HALF_OPEN` once the rest is over, or `OPEN`."""
        if self._until is None:
            return CLOSED
        return OPEN if self._clock() < self._until else HALF_OPEN

    def enter(self) -> bool:
        """Whether this rollout is the probe. Raises `CircuitOpen` where it must not go on."""
        if self._until is None:
            return False
        left_s = self._until - self._clock()
        if left_s > 0:
            self.refused += 1
            raise CircuitOpen(
                f"environment {self.name!r} failed {self._failures} times in a row and is not asked for now",
                hint="/metrics and its own log say what it suffers from; it is tried again by itself",
                retry_after_s=max(left_s, 1.0),
            )
        # A probe may take as long as a rollout takes, or never come back: after another rest the next one goes.
        self._until += self._rest_s - left_s
        return True

    def leave(self, probe: bool, well: bool | None) -> None:
        """What came of a rollout: the environment did its part, failed, or (None) nothing is known of it."""
        if well:
            self._failures, self._rest_s, self._until = 0, self._first_rest_s, None
        elif well is False:
            self._failures += 1
            if probe:
                self._rest_s = min(2 * self._rest_s, MAX_REST_S)
                self._open()
            elif self._until is None and 0 < self._limit <= self._failures:
                self._open()

    def _open(self) -> None:
        self.opened += 1
        self._until = self._clock() + self._rest_s
