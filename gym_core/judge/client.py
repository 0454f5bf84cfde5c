"""The judge's endpoint as one process sees it: OpenAI chat completions, few at a time, repeated with care, or replayed.

POST {base_url}/v1/chat/completions  {"model", "messages", "temperature", …}  ─▶  choices[0].message.content, usage
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from gym_core.client import Backoff, Client
from gym_core.errors import DeadlineExceeded, JudgeFault, PalaestraError, RemoteError
from gym_core.judge.config import JudgeConfig
from gym_core.judge.judge import Judge
from gym_core.judge.metrics import JudgeMetrics
from gym_core.judge.protocol import Messages
from gym_core.judge.recording import Recording


@dataclass(frozen=True, slots=True)
class Completion:
    """A judge's reply; `seconds` is its latency, `cost` is in the currency of the prices."""

    text: str
    input_tokens: int
    output_tokens: int
    cost: float
    seconds: float


class _Message(msgspec.Struct):
    content: str | list[dict[str, Any]] | None = None


class _Choice(msgspec.Struct):
    message: _Message


class _Usage(msgspec.Struct):
    prompt_tokens: int = 0
    completion_tokens: int = 0


class _Reply(msgspec.Struct):
    choices: list[_Choice]
    usage: _Usage | None = None


class JudgeClient:
    """Made from `[judge]`, used in one event loop; `close` it, or use it as a context."""

    def __init__(
        self, config: JudgeConfig, metrics: JudgeMetrics | None = None, backoff: Backoff | None = None
    ) -> None:
        self.config = config
        self.metrics = metrics
        self._slots = asyncio.Semaphore(config.concurrency)
        self._backoff = backoff or Backoff(base_s=0.5, cap_s=10.0)
        self._recording = Recording(Path(config.recorded), must_exist=config.replays) if config.recorded else None
        self._client: Client | None = None
        if config.base_url and not config.replays:
            base_url = config.base_url.rstrip("/").removesuffix("/v1")
            self._client = Client(base_url, token=config.api_key(), retries=0, connection_limit=config.concurrency)

    async def __aenter__(self) -> JudgeClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Give the connections back. Idempotent."""
        if self._client is not None:
            await self._client.close()

    def judge(self, limit_s: float | None = None) -> Judge:
        """Whom to ask for one verdict, within `limit_s` seconds (the config's deadline where that is less)."""
        most = self.config.deadline_s
        return Judge(self, most if limit_s is None else min(limit_s, most))

    async def complete(self, protocol: str, messages: Messages, end: float) -> Completion:
        """One reply of the judge, until the loop's time `end`. Raises `JudgeFault` and nothing else."""
        try:
            async with asyncio.timeout_at(end), self._slots:
                return await self._complete(protocol, messages, end)
        except TimeoutError:
            self._count(protocol, "failed")
            raise JudgeFault("the judge did not answer before the verdict's deadline", stage="judge") from None

    async def _complete(self, protocol: str, messages: Messages, end: float) -> Completion:
        if self._client is None:
            if self._recording is None:
                raise not_configured("no judge is configured")
            found = self._recording.replay(protocol, messages)
            return self._completion(protocol, found.reply, _Usage(*found.usage), 0.0)
        began = time.monotonic()
        reply = await self._post(self._client, protocol, self._body(messages), end)
        text, usage = _text(reply), reply.usage or _Usage()
        if self._recording is not None:
            self._recording.write(
                protocol, self.config.model, messages, text, (usage.prompt_tokens, usage.completion_tokens)
            )
        return self._completion(protocol, text, usage, time.monotonic() - began)

    async def _post(self, client: Client, protocol: str, body: dict[str, Any], end: float) -> _Reply:
        """The endpoint's reply, after as many tries as may help."""
        attempt = 0
        while True:
            try:
                sent = await client.post("/v1/chat/completions", body, timeout_s=self.config.timeout_s)
                reply: _Reply = sent.json(_Reply)
                return reply
            except PalaestraError as error:
                self._count(protocol, "failed")
                wait_s = self._backoff.wait_s(attempt, error.retry_after_s)
                attempt += 1
                late = asyncio.get_running_loop().time() + wait_s >= end
                if late or attempt > self.config.retries or not _may_pass(error):
                    raise self._fault(error, attempt) from None
            await self._backoff.sleep(wait_s)

    def _body(self, messages: Messages) -> dict[str, Any]:
        config = self.config
        sampling = {"temperature": config.temperature, "top_p": config.top_p, "max_tokens": config.max_tokens}
        given = {name: value for name, value in sampling.items() if value is not None}
        return {"model": config.model, "messages": messages, **given, **config.extra}

    def _completion(self, protocol: str, text: str, usage: _Usage, seconds: float) -> Completion:
        config = self.config
        spent = usage.prompt_tokens * config.input_price + usage.completion_tokens * config.output_price
        if self.metrics is not None:
            self.metrics.seconds.labels(protocol).observe(seconds)
            self.metrics.tokens.labels("input").inc(usage.prompt_tokens)
            self.metrics.tokens.labels("output").inc(usage.completion_tokens)
            self.metrics.cost.inc(spent / 1e6)
        return Completion(text, usage.prompt_tokens, usage.completion_tokens, spent / 1e6, seconds)

    def _count(self, protocol: str, outcome: str) -> None:
        if self.metrics is not None:
            self.metrics.requests.labels(protocol, outcome).inc()

    def _fault(self, error: PalaestraError, attempts: int) -> JudgeFault:
        tries = f" ({attempts} tries)" if attempts > 1 else ""
        hint = error.hint
        if error.status in (401, 403):
            hint = "[judge] api_key_env must name the variable that holds the judge's key"
        return JudgeFault(f"the judge failed{tries}: {error.message}", hint=hint, stage="judge")


def _text(reply: _Reply) -> str:
    content = reply.choices[0].message.content if reply.choices else None
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content)
    return content or ""


def _may_pass(error: PalaestraError) -> bool:
    """Busy, away, too slow, or an unexplained failure of the server: another try may help."""
    if isinstance(error, RemoteError):
        return " answered 4" not in error.message
    return error.retryable or isinstance(error, DeadlineExceeded)


def not_configured(what: str) -> JudgeFault:
    """The error where a judge is needed and `[judge]` is empty."""
    return JudgeFault(
        what,
        field="judge.base_url",
        hint="set `base_url` and `model` in [judge], or PALAESTRA_JUDGE_BASE_URL and PALAESTRA_JUDGE_MODEL",
        stage="judge",
    )
