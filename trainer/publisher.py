"""New weights into the policy server, and proof that they arrived.

    learner ──transport──▶ policy server            (trainer/transports.py: write, switch, verify)
       └── the same probe tokens scored by both, read at once and decoded one by one (POST /score): the canary ──┘

The checksums of what is served must be the learner's, tensor for tensor, buffers included, no more, no less. Then
served and trained log-probabilities of fixed probes must agree to a gate. Anything else is a typed error that ends the
run: no batch is sampled from weights that are not the learner's.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import msgspec
import numpy as np

from gym_core.client import Client
from gym_core.errors import PalaestraError
from trainer.placement import Handle
from trainer.transports import Disk, Phases, PublishFault, Transport

__all__ = ["CanaryFault", "PublishFault", "WeightPublisher", "probe_rows"]


class CanaryFault(PalaestraError):
    """The weights arrived, but the server computes something else with them."""

    code: ClassVar[str] = "canary_fault"


class _Scored(msgspec.Struct):
    logprobs: list[list[float]]
    policy_version: int
    decode_logprobs: list[list[float]] = []


class WeightPublisher:
    """`publish(learner, version)` returns once the policy server provably serves the learner's weights.

    `transport` None is a file in `directory`, which both sides see (default: a new one on tmpfs). `probes` are token
    id lists. `switch`: between two tokens, or once the running requests are complete. `decode`: the
    canary decodes too, which vLLM's engine cannot. Every phase has `timeout_s`;
    `seconds` tells how long each of the last publication took.
    """

    def __init__(
        self,
        client: Client,
        probes: Sequence[Sequence[int]],
        *,
        transport: Transport | None = None,
        switch: Literal["between_tokens", "drain"] = "between_tokens",
        gate: float = 1.001,
        decode: bool = True,
        directory: Path | None = None,
        timeout_s: float = 60.0,
    ) -> None:
        self._client, self._gate, self._timeout_s = client, gate, timeout_s
        self._probes = [list(probe) for probe in probes]
        self._transport = transport or Disk(directory)
        self._switch, self._decode = switch, decode
        self.seconds: dict[str, float] = {}

    async def publish(self, learner: Handle, version: int) -> dict[str, float]:
        """Publish and check. Raises PublishFault, CanaryFault or the client's errors; returns metrics.

        `DeadlineExceeded` names the phase that was too slow in its `stage`.
        """
        phases = Phases(self._timeout_s)
        self.seconds = phases.seconds
        order = {"version": version, "switch": self._switch, "switch_s": self._timeout_s}
        await self._transport.deliver(learner, self._client, order, phases)
        async with phases("canary"):
            metrics = await self._canary(learner, version)
        return metrics | {f"publish/{name}_time": seconds for name, seconds in phases.seconds.items()}

    async def _canary(self, learner: Handle, version: int) -> dict[str, float]:
        if not self._probes:
            return {}
        body = {"token_ids": self._probes, "decode": self._decode}
        reply: _Scored
        ours, reply = await asyncio.gather(
            learner.call("score", self._probes),
            self._client.post_json("/score", body, _Scored, timeout_s=self._timeout_s, idempotent=True),
        )
        if reply.policy_version != version:
            raise _canary_fault(f"the server scored with version {reply.policy_version}, {version} was published")
        metrics: dict[str, float] = {}
        asked = (("canary", reply.logprobs), ("canary_decode", reply.decode_logprobs))
        for name, theirs in asked if self._decode else asked[:1]:
            error, largest = self._agree(name, ours, theirs)
            metrics |= {f"publish/{name}_error": error, f"publish/{name}_abs_diff_max": largest}
        return metrics

    def _agree(self, name: str, ours: Sequence[Any], theirs: list[list[float]]) -> tuple[float, float]:
        """(mean of exp |difference|, largest difference). Raises CanaryFault beyond the gate."""
        if [len(row) for row in theirs] != [len(probe) for probe in self._probes]:
            raise _canary_fault(f"the server's scores ({name}) are not of the probes' lengths")
        served, trained = (np.concatenate([np.asarray(row[1:], np.float64) for row in rows]) for rows in (theirs, ours))
        difference = np.abs(served - trained)
        error = float(np.exp(difference).mean())
        if not error <= self._gate:
            raise _canary_fault(
                f"{name.replace('_', ' ')} error is {error:.6g}, the gate is {self._gate:.6g} "
                f"(largest difference {difference.max():.4g})",
                hint="the checksums agree, so it is the server's numerics, a cache of old weights, or another config",
            )
        return error, float(difference.max())

    async def close(self) -> None:
        await self._transport.close()


def _canary_fault(message: str, hint: str = "") -> CanaryFault:
    return CanaryFault(message, stage="canary", server="policy", hint=hint)


def probe_rows(vocab_size: int, *, count: int = 4, length: int = 40, seed: int = 0) -> list[list[int]]:
    """Fixed probe sequences of various lengths that touch many embeddings: every run of a seed has the same.

    The shortest is at least three quarters of the longest: what is decoded token by token takes as many steps as the
    longest has, however short the others are.
    """
    generator = np.random.default_rng(seed)
    lengths = [max(2, math.ceil(length * (1 - (count - 1 - i) / (4 * count)))) for i in range(count)]
    return [generator.integers(0, vocab_size, n).tolist() for n in lengths]
