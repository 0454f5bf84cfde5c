"""New weights for a running vLLM by its own update routes, and proof that they arrived.

    /pause (running samples are kept, or drained) ─▶ /start_weight_update ─▶ /update_weights {path}
    ─▶ /finish_weight_update {weight_version} ─▶ every tensor read back ─▶ /resume

What does not fit is refused before anything is touched. From the moment the old weights are gone there is no way back:
should the new ones not arrive, nothing is sampled until a later publication did.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import msgspec

from gym_core.client import Client
from gym_core.errors import BadRequest, Conflict, PalaestraError, PolicyFault
from model import checkpoint
from model.checkpoint_names import misfits, state_tensors
from model.config import HybridConfig
from model.stack import HybridModel
from policy_server.weights import compare_checksums, read_weights


class _Answers(msgspec.Struct):
    results: list[dict[str, str]]


class Updates:
    """The weights of one vLLM. `switch`: a new version takes over between two `tokens` of running samples (their keys,
    values and states are computed again), or once the running `requests` have ended. `version` is that of the weights
    that the server began with, to which vLLM gives no number of ours (`first_version`)."""

    def __init__(
        self,
        client: Client,
        config: HybridConfig,
        *,
        version: int = 0,
        switch: Literal["tokens", "requests"] = "tokens",
        phase_timeout_s: float = 120.0,
    ) -> None:
        self.version = version
        self._client, self._config, self._switch, self._timeout_s = client, config, switch, phase_timeout_s
        self.first_version = version
        self._unfit = ""
        self._lock = asyncio.Lock()

    def require_fit(self) -> None:
        """Raises `PolicyFault` while vLLM does not hold the weights of `version`."""
        if self._unfit:
            raise PolicyFault(self._unfit, stage="weights", hint="publish weights of a newer version")

    def forget(self) -> None:
        """The server died and came back with the weights that it was started with."""
        if self.version != self.first_version:
            self._unfit = f"vLLM was started again and lost version {self.version} of the weights"

    @asynccontextmanager
    async def between(self) -> AsyncIterator[None]:
        """While no update is under way."""
        async with self._lock:
            self.require_fit()
            yield

    async def load(self, path: str, version: int, checksums: Mapping[str, str]) -> dict[str, str]:
        """Serve these weights. Returns the checksums of what is served, read back from vLLM.

        Raises `BadRequest`, or `Conflict` with the old weights still served, for what does not fit; `PolicyFault` when
        vLLM did not take what fits: then nothing is sampled any more.
        """
        async with self._lock:
            if version <= self.version:
                message = f"version {version} is not newer than the served version {self.version}"
                raise Conflict(message, field="version", hint="versions only go up")
            expected = await asyncio.to_thread(self._inspect, Path(path))
            if checksums:
                compare_checksums(checksums, expected)
            return await self._exchange(path, version, expected)

    def _inspect(self, path: Path) -> dict[str, str]:
        """Checksums of the file's tensors. Raises `BadRequest`, or `Conflict` naming what is not of this model."""
        tensors = read_weights(path)
        model = HybridModel(self._config, device="meta")
        if problems := misfits(dict(state_tensors(model)), tensors):
            raise Conflict("; ".join(problems[:5]), field="path", hint=f"{len(problems)} tensors do not fit")
        return checkpoint.checksum(tensors.items())

    async def _exchange(self, path: str, version: int, expected: dict[str, str]) -> dict[str, str]:
        mode = "keep" if self._switch == "tokens" else "wait"
        drain_s = math.inf if mode == "wait" else self._timeout_s
        await self._post(f"/pause?mode={mode}", timeout_s=min(drain_s, 3600.0))
        touched = False
        try:
            await self._post("/start_weight_update")
            touched = True
            await self._post("/update_weights", {"update_info": {"path": path}})
            await self._post("/finish_weight_update", {"weight_version": str(version)})
            served = await self._served(path)
            _require_equal(expected, served)
        except BaseException as error:
            if touched:
                await self._give_up(version, error)
            else:
                await self._post("/resume")
            raise
        await self._post("/resume")
        self.version, self._unfit = version, ""
        return served

    async def _served(self, path: str) -> dict[str, str]:
        body = {"method": "palaestra_checksums", "args": [path]}
        reply = await self._client.post("/collective_rpc", body, timeout_s=self._timeout_s, retry=False)
        try:
            answers: _Answers = reply.json(_Answers)
            [served] = answers.results
        except ValueError as error:
            raise PolicyFault(f"vLLM has {error}", hint="one worker is read back; run without parallelism") from None
        return served

    async def _give_up(self, version: int, error: BaseException) -> None:
        """Version `version` is neither served nor is the one before it: end what was running on it."""
        why = error.message if isinstance(error, PalaestraError) else type(error).__name__
        self._unfit = f"the weights of version {version} did not arrive in vLLM: {why}"
        await self._post("/abort_requests", {})
        await self._post("/resume")

    async def _post(self, path: str, body: Any = None, timeout_s: float | None = None) -> None:
        """One phase, under its deadline. A refusal of vLLM is its fault, not the caller's."""
        try:
            await self._client.post(path, body, timeout_s=timeout_s or self._timeout_s, retry=False)
        except BadRequest as refusal:
            raise PolicyFault(f"vLLM refuses {path}: {refusal.message}", stage="weights") from None


def _require_equal(expected: Mapping[str, str], served: Mapping[str, str]) -> None:
    wrong = sorted(name for name in expected.keys() | served.keys() if expected.get(name) != served.get(name))
    if wrong:
        told = ", ".join(f"{name} ({served.get(name, 'not told')})" for name in wrong[:3])
        raise PolicyFault(
            f"{len(wrong)} of {len(expected)} tensors that vLLM serves are not the published ones: {told}",
            stage="weights",
            hint="a buffer that the update does not reach, or a tensor that was packed or rounded on the way",
        )
