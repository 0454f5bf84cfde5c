"""vLLM as a backend: token ids in, sampled ids with log-probabilities and versions out, as the embedded engine answers.

GenerateRequest ─▶ /inference/v1/generate ─▶ Samples          (a stream of events where somebody listens)
/score ─▶ prompt log-probabilities of the same route          /weights ─▶ `policy_server.vllm.updates`
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from gym_core.client import Client
from gym_core.errors import BadRequest, Busy, PalaestraError, PolicyFault, RemoteError, Unauthorized, UnknownName
from policy_server.grammar import Grammars
from policy_server.requests import Delta, GenerateRequest, GenerateResult
from policy_server.routed import refuse_experts
from policy_server.scheduler import check
from policy_server.vllm.process import VllmProcess
from policy_server.vllm.updates import Updates
from policy_server.vllm.wire import GENERATE, Joined, Reply, generate_body, read_reply
from policy_server.watch import TextStream, Watch

_GREEDY = 1e-5
"""Below this temperature vLLM draws greedily, and refuses to do it more than once."""

_FOREIGN = (Unauthorized, UnknownName, RemoteError)
"""What vLLM may answer that is no fault of whoever asked us."""


class VllmBackend:
    """`process` is one of ours, None where somebody else runs the server at `base_url`.

    `num_waiting` requests may be with vLLM at once, running or waiting there; beyond them 429.
    """

    def __init__(
        self,
        base_url: str,
        updates: Callable[[Client], Updates],
        *,
        vocab_size: int,
        max_length: int,
        stop_ids: frozenset[int],
        decoder: Callable[[], TextStream],
        grammars: Grammars,
        model_name: str = "palaestra",
        num_waiting: int = 1152,
        timeout_s: float = 600.0,
        token: str | None = None,
        process: VllmProcess | None = None,
    ) -> None:
        self.model_name, self.max_length, self.vocab_size = model_name, max_length, vocab_size
        self._stop_ids, self._decoder, self._grammars = stop_ids, decoder, grammars
        self._num_waiting, self._timeout_s, self._process = num_waiting, timeout_s, process
        self._client = Client(base_url, token=token, timeout_s=timeout_s, connection_limit=num_waiting + 8)
        self._updates = updates(self._client)
        self._num_open = 0
        if process is not None:
            process.died = self._updates.forget

    @property
    def version(self) -> int:
        return self._updates.version

    @property
    def stats(self) -> dict[str, int]:
        """Counts for /metrics."""
        return {"running": self._num_open, "restarts": self._process.num_restarts if self._process else 0}

    async def generate(self, request: GenerateRequest) -> GenerateResult:
        """Sample. Raises as the embedded engine; whoever hangs up is taken out of vLLM's batch."""
        prompt = check(request, self.max_length, self.vocab_size)
        refuse_experts(request)
        if request.n > 1 and request.temperature < _GREEDY:
            return await self._copied(request)
        room = self.max_length - len(prompt)
        wanted = room if request.max_tokens is None else min(request.max_tokens, room)
        if request.constraint is not None:
            await self._grammars.compile(request.constraint)  # refused here as the embedded engine refuses it
        body = generate_body(request, prompt, wanted, self._stop_ids)
        self._admit()
        try:
            self._updates.require_fit()
            return await (self._whole if request.on_delta is None else self._streamed)(body, prompt, request)
        except PolicyFault as fault:
            self._updates.require_fit()  # ended because of weights that did not arrive: say that instead
            raise fault from None
        finally:
            self._num_open -= 1

    async def _copied(self, request: GenerateRequest) -> GenerateResult:
        """Greedy samples of one prompt are all alike, and vLLM makes one."""

        def tell(delta: Delta) -> None:
            assert request.on_delta is not None
            for index in range(request.n):
                request.on_delta(replace(delta, index=index))

        one = await self.generate(replace(request, n=1, on_delta=None if request.on_delta is None else tell))
        return replace(one, samples=one.samples * request.n)

    def _admit(self) -> None:
        if self._process is not None:
            self._process.require_ready()
        if self._num_open >= self._num_waiting:
            message = f"{self._num_open} requests are running or waiting"
            raise Busy(message, stage="generate", retry_after_s=1.0)
        self._num_open += 1

    async def _whole(self, body: dict[str, Any], prompt: np.ndarray, request: GenerateRequest) -> GenerateResult:
        reply = await self._ask(body, request.deadline_s)
        samples = [Joined() for _ in range(request.n)]
        self._take(reply, samples)
        finished = [sample.sample(request, self._updates.first_version) for sample in samples]
        return GenerateResult(samples=finished, prompt_token_ids=prompt, num_cached=reply.num_cached)

    async def _streamed(self, body: dict[str, Any], prompt: np.ndarray, request: GenerateRequest) -> GenerateResult:
        samples = [Joined() for _ in range(request.n)]
        shown = [Watch(request, self._decoder) for _ in range(request.n)]
        num_cached = 0
        asked = body | {"stream": True, "stream_options": {"include_usage": True}}
        timeout_s = self._timeout_s if request.deadline_s is None else request.deadline_s
        try:
            async for event in self._client.events(GENERATE, asked, timeout_s=timeout_s):
                if event == b"[DONE]":
                    continue
                reply = read_reply(event)
                num_cached = max(num_cached, reply.num_cached)
                for index, ids in self._take(reply, samples):
                    _show(request, samples[index], shown[index], index, ids)
        except _FOREIGN as error:
            raise _fault(error) from None
        finished = [sample.sample(request, self._updates.first_version) for sample in samples]
        return GenerateResult(samples=finished, prompt_token_ids=prompt, num_cached=num_cached)

    def _take(self, reply: Reply, samples: list[Joined]) -> list[tuple[int, list[int]]]:
        taken = []
        for choice in reply.choices:
            if not 0 <= choice.index < len(samples):
                raise PolicyFault(f"vLLM answered a choice {choice.index} of {len(samples)}", stage="upstream")
            taken.append((choice.index, samples[choice.index].add(choice)))
        return taken

    async def _ask(self, body: Mapping[str, Any], deadline_s: float | None) -> Reply:
        timeout_s = self._timeout_s if deadline_s is None else deadline_s
        try:
            # sampling again is harmless, so a request that was lost is repeated
            reply = await self._client.post(GENERATE, body, timeout_s=timeout_s, idempotent=True)
        except _FOREIGN as error:
            raise _fault(error) from None
        return read_reply(reply.body)

    async def score(self, sequences: list[list[int]]) -> tuple[list[np.ndarray], int]:
        """As `policy_server.score.score`, by vLLM's prefill: f32[t] a sequence, and the version of all of them."""
        for number, ids in enumerate(sequences):
            if not 0 < len(ids) <= self.max_length:
                message = f"a sequence must have 1 to {self.max_length} tokens, not {len(ids)}"
                raise BadRequest(message, field=f"token_ids[{number}]")
            if min(ids) < 0 or max(ids) >= self.vocab_size:
                message = f"a token id is outside the vocabulary of {self.vocab_size}"
                raise BadRequest(message, field=f"token_ids[{number}]")
        self._admit()
        try:
            async with self._updates.between():  # so that all are of one version
                scores = await asyncio.gather(*map(self._score, sequences))
                return list(scores), self.version
        finally:
            self._num_open -= 1

    async def _score(self, ids: list[int]) -> np.ndarray:
        sampling = {"max_tokens": 1, "temperature": 0.0, "prompt_logprobs": 0, "detokenize": False}
        reply = await self._ask({"token_ids": ids, "sampling_params": sampling}, None)
        told = reply.prompt_logprobs or [None]
        if len(told) != len(ids):
            raise PolicyFault(f"vLLM scored {len(told)} tokens, {len(ids)} were asked for", stage="upstream")
        scores = np.zeros(len(ids), np.float32)
        for place, (token, entry) in enumerate(zip(ids, told, strict=True)):
            if place and (entry is None or str(token) not in entry):
                raise PolicyFault(f"vLLM gave no score for token {place}", stage="upstream")
            if entry is not None:
                scores[place] = entry[str(token)].logprob
        return scores

    async def load_weights(self, path: str, version: int, checksums: Mapping[str, str]) -> dict[str, str]:
        """Serve the weights at `path` as `version`; see `Updates.load`."""
        if self._process is not None:
            self._process.require_ready()
        return await self._updates.load(path, version, checksums)

    async def close(self) -> None:
        await self._client.close()
        if self._process is not None:
            await asyncio.to_thread(self._process.stop)


def _show(request: GenerateRequest, sample: Joined, watch: Watch, index: int, ids: list[int]) -> None:
    """What a piece added, to whoever listens: text with stop strings held back."""
    assert request.on_delta is not None
    text = ""
    for place, token in enumerate(ids):
        last = sample.finish_reason is not None and place == len(ids) - 1
        watch.push(token, last)
        text += watch.text
    logprobs = [entry.logprob for entry in sample.entries[len(sample.entries) - len(ids) :]]
    if ids or sample.finish_reason:
        request.on_delta(Delta(index, ids, logprobs, text, sample.finish_reason or ""))


def _fault(error: PalaestraError) -> PolicyFault:
    return PolicyFault(error.message, hint=error.hint, stage="upstream")
