"""A language model behind an OpenAI-compatible endpoint, which speaks for whoever it is told to.

    PALAESTRA_CUSTOMER_URL    base address, with or without /v1
    PALAESTRA_CUSTOMER_MODEL  its name there
    PALAESTRA_CUSTOMER_KEY    key, where one is needed

Where it fails the rollout ends as `env_error`, never with a reward.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import msgspec

from gym_core.client import Client
from gym_core.errors import EnvironmentFault, PalaestraError

TIMEOUT_S = 60.0


class _Message(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    message: _Message


class _Reply(msgspec.Struct):
    choices: list[_Choice]


@dataclass(slots=True, frozen=True)
class Settings:
    """Where the model is."""

    url: str
    model: str
    key: str | None = None

    @classmethod
    def from_environ(cls) -> Settings | None:
        """None where no endpoint is named: then the customer is scripted."""
        url = os.environ.get("PALAESTRA_CUSTOMER_URL", "").strip()
        if not url:
            return None
        model = os.environ.get("PALAESTRA_CUSTOMER_MODEL", "").strip()
        if not model:
            raise EnvironmentFault(
                "PALAESTRA_CUSTOMER_URL is set and PALAESTRA_CUSTOMER_MODEL is not",
                hint="name the model that plays the customer",
            )
        return cls(url.rstrip("/").removesuffix("/v1"), model, os.environ.get("PALAESTRA_CUSTOMER_KEY") or None)

    async def complete(self, messages: list[dict[str, Any]], *, max_tokens: int, who: str) -> str:
        """What the model says next. Raises `EnvironmentFault` naming `who` where it fails."""
        body = {"model": self.model, "messages": messages, "temperature": 0.0, "max_tokens": max_tokens}
        try:
            async with Client(self.url, token=self.key, timeout_s=TIMEOUT_S) as client:
                reply: _Reply = await client.post_json("/v1/chat/completions", body, _Reply, idempotent=True)
        except PalaestraError as error:
            raise EnvironmentFault(f"{who} failed: {error.message}", stage="user") from error
        if not reply.choices or reply.choices[0].message.content is None:
            raise EnvironmentFault(f"{who} answered without words", stage="user")
        return reply.choices[0].message.content
