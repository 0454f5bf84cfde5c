"""New weights into the policy server, and proof that they arrived.

    learner ──export──▶ safetensors on tmpfs ──POST /weights {path, version, checksums}──▶ policy server
       └──────────── the same probe tokens scored by both (POST /score): the canary ────────────┘

The server answers the checksums of what it loaded; they must be the learner's, tensor for tensor, no more, no less.
Then served and trained log-probabilities of fixed probes must agree to a gate. Anything else is a typed error, and
no batch is sampled from weights that are not the learner's.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import numpy as np

from gym_core.client import Client
from gym_core.errors import PalaestraError
from trainer.placement import Handle


class PublishFault(PalaestraError):
    """The policy server does not hold the weights that were sent."""

    code: ClassVar[str] = "publish_fault"


class CanaryFault(PalaestraError):
    """The weights arrived, but the server computes something else with them."""

    code: ClassVar[str] = "canary_fault"


class _Loaded(msgspec.Struct):
    version: int
    checksums: dict[str, str]


class _Scored(msgspec.Struct):
    logprobs: list[list[float]]
    policy_version: int


class WeightPublisher:
    """`publish(learner, version)` returns once the policy server provably serves the learner's weights.

    `directory` must be one that both sides see (default: a new one on tmpfs). `probes` are token id lists.
    """

    def __init__(
        self,
        client: Client,
        probes: Sequence[Sequence[int]],
        *,
        gate: float = 1.001,
        directory: Path | None = None,
        timeout_s: float = 60.0,
    ) -> None:
        self._client, self._gate, self._timeout_s = client, gate, timeout_s
        self._probes = [list(probe) for probe in probes]
        self._owned = None if directory else tempfile.TemporaryDirectory(prefix="palaestra-weights-", dir=_tmpfs())
        self._directory = directory or Path(self._owned.name)  # type: ignore[union-attr]

    async def publish(self, learner: Handle, version: int) -> dict[str, float]:
        """Publish and check. Raises PublishFault, CanaryFault or the client's errors; returns metrics."""
        path = self._directory / f"weights-{version}.safetensors"
        try:
            checksums = await learner.call("export", str(path))
            request = {"path": str(path), "version": version, "checksums": checksums}
            reply = await self._post("/weights", request, _Loaded)
            _compare(checksums, reply, version)
        finally:
            path.unlink(missing_ok=True)
        return await self._canary(learner, version)

    async def _canary(self, learner: Handle, version: int) -> dict[str, float]:
        if not self._probes:
            return {}
        ours = await learner.call("score", self._probes)
        reply = await self._post("/score", {"token_ids": self._probes}, _Scored)
        if reply.policy_version != version:
            raise CanaryFault(
                f"the server scored with version {reply.policy_version}, {version} was published",
                stage="canary",
                server="policy",
            )
        if [len(row) for row in reply.logprobs] != [len(probe) for probe in self._probes]:
            raise CanaryFault("the server's scores are not of the probes' lengths", stage="canary", server="policy")
        theirs = np.concatenate([np.asarray(row[1:], np.float64) for row in reply.logprobs])
        difference = np.abs(theirs - np.concatenate([np.asarray(row[1:], np.float64) for row in ours]))
        error = float(np.exp(difference).mean())
        if not error <= self._gate:
            raise CanaryFault(
                f"canary error is {error:.6g}, the gate is {self._gate:.6g} "
                f"(largest difference {difference.max():.4g})",
                stage="canary",
                server="policy",
                hint="the checksums agree, so it is the server's numerics, a cache of old weights, or another config",
            )
        return {"publish/canary_error": error, "publish/canary_abs_diff_max": float(difference.max())}

    async def _post(self, path: str, body: dict[str, Any], kind: type[Any]) -> Any:
        return await self._client.post_json(path, body, kind, timeout_s=self._timeout_s, idempotent=True)

    async def close(self) -> None:
        if self._owned is not None:
            self._owned.cleanup()


def _compare(ours: dict[str, str], reply: _Loaded, version: int) -> None:
    """Raises PublishFault naming the first tensors that differ."""
    missing = sorted(set(ours) - set(reply.checksums))
    extra = sorted(set(reply.checksums) - set(ours))
    wrong = sorted(name for name in set(ours) & set(reply.checksums) if ours[name] != reply.checksums[name])
    faults = [f"{len(names)} {what} ({', '.join(names[:3])})" for what, names in
              (("not loaded", missing), ("unknown to the learner", extra), ("different", wrong)) if names]  # fmt: skip
    if reply.version != version:
        faults.append(f"version {reply.version} instead of {version}")
    if faults:
        raise PublishFault(
            f"the policy server does not hold version {version}: " + "; ".join(faults),
            stage="weights",
            server="policy",
            hint="nothing was sampled from them; check that both sides run the same model code",
        )


def _tmpfs() -> str | None:
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


def probe_rows(vocab_size: int, *, count: int = 4, length: int = 48, seed: int = 0) -> list[list[int]]:
    """Fixed probe sequences that touch many embeddings: every run of a seed has the same."""
    generator = np.random.default_rng(seed)
    lengths = [max(2, math.ceil(length * (i + 1) / count)) for i in range(count)]
    return [generator.integers(0, vocab_size, n).tolist() for n in lengths]
