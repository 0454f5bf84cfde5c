"""The judge of one verdict: asks by protocol within one deadline and keeps account of what that took."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from gym_core.errors import JudgeFault
from gym_core.judge.protocol import Protocol
from gym_core.reply import strip_thinking

if TYPE_CHECKING:
    from gym_core.judge.client import Completion, JudgeClient

T = TypeVar("T")

KEPT_CHARS = 400
"""Of each reply, from its end, for people who look at a verdict."""


@dataclass(frozen=True, slots=True)
class Ruling(Generic[T]):
    """What was ruled; `agreed` is None where one order was enough; `gate` says why nobody was asked."""

    value: T
    agreed: bool | None = None
    gate: str = ""


@dataclass(slots=True)
class Account:
    """What judging one verdict took."""

    model: str = ""
    protocols: list[str] = field(default_factory=list)
    gates: list[str] = field(default_factory=list)
    calls: int = 0
    unread: int = 0
    agreed: int = 0
    disagreed: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float = 0.0
    seconds: float = 0.0
    replies: list[str] = field(default_factory=list)

    @property
    def used(self) -> bool:
        """Whether a gate or a judge had a word."""
        return bool(self.calls or self.gates)

    def details(self) -> dict[str, Any]:
        """For `verdict.details["judge"]`: what is not empty."""
        values = {name: getattr(self, name) for name in self.__slots__}
        values["cost"], values["seconds"] = round(self.cost, 8), round(self.seconds, 3)
        return {name: value for name, value in values.items() if value}


class Judge:
    """Given to an author's `judge`; from a `JudgeClient` anywhere else."""

    def __init__(self, client: JudgeClient, limit_s: float) -> None:
        self._client = client
        self._end = asyncio.get_running_loop().time() + limit_s
        self.account = Account(model=client.config.model)

    async def ask(self, protocol: Protocol[T], **fields: str) -> Ruling[T]:
        """The ruling on these fields: gated, or in one order, or in both.

        Raises `JudgeFault` where the judge cannot be asked or understood in time, `ValueError` for fields that are not
        the protocol's.
        """
        messages = protocol.messages(fields)
        if protocol.name not in self.account.protocols:
            self.account.protocols.append(protocol.name)
        if reason := protocol.gate(fields):
            self._gated(protocol.name, reason)
            return Ruling(protocol.refused, gate=reason)
        first = await self._order(protocol, messages)
        if protocol.swap is None or protocol.settled(first):
            return Ruling(first)
        second = protocol.unswap(await self._order(protocol, protocol.messages(protocol.swapped(fields))))
        value, agreed = protocol.together(first, second)
        self._both(protocol.name, agreed)
        return Ruling(value, agreed)

    async def _order(self, protocol: Protocol[T], messages: list[dict[str, Any]]) -> T:
        """One order's ruling; a reply without one is asked about again, a few times."""
        asked, said = messages, ""
        for _ in range(self._client.config.retries + 1):
            completion = await self._client.complete(protocol.name, asked, self._end)
            said = strip_thinking(completion.text)
            value = protocol.parse(said)
            self._called(protocol.name, completion, said, value is not None)
            if value is not None:
                return value
            if protocol.unparsed is not None:
                return protocol.unparsed
            asked = protocol.reminder(messages, said)
        raise JudgeFault(
            f"the judge's replies hold no ruling of protocol {protocol.name!r}; the last one ends {said[-80:]!r}",
            hint="a larger `max_tokens` in [judge], or a model that follows the form",
            stage="judge",
        )

    def _called(self, protocol: str, completion: Completion, said: str, read: bool) -> None:
        account = self.account
        account.calls += 1
        account.unread += not read
        account.input_tokens += completion.input_tokens
        account.output_tokens += completion.output_tokens
        account.cost += completion.cost
        account.seconds += completion.seconds
        account.replies.append(said[-KEPT_CHARS:])
        if (metrics := self._client.metrics) is not None:
            metrics.requests.labels(protocol, "read" if read else "unread").inc()

    def _gated(self, protocol: str, reason: str) -> None:
        self.account.gates.append(reason)
        if (metrics := self._client.metrics) is not None:
            metrics.gated.labels(protocol, reason).inc()

    def _both(self, protocol: str, agreed: bool) -> None:
        self.account.agreed += agreed
        self.account.disagreed += not agreed
        if (metrics := self._client.metrics) is not None:
            metrics.orders.labels(protocol, "agreed" if agreed else "disagreed").inc()
