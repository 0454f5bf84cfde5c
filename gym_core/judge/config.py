"""The section `[judge]`: who judges, how long that may take, what it costs."""

from __future__ import annotations

import os
from typing import Any

import msgspec

from gym_core.errors import BadRequest


class JudgeConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Every `_s` is seconds; prices are per million tokens, in any currency. Without `base_url` there is no judge.

    `base_url` is any OpenAI-compatible server (with or without `/v1`), our policy server too; `api_key_env` is the name
    of the environment variable that holds its key, never the key. `timeout_s` bounds one request, `deadline_s` all that
    one verdict asks, waiting and repeats included. `retries` more tries follow a request that failed in passing, and as
    many a reply that cannot be parsed. `temperature`, `top_p` and `max_tokens` are left out where None; `extra` is put
    into each request as it is.

    `recorded` is a file of judgements (JSONL). Alone, judgements are replayed from it and an unknown one is refused;
    with `record` the endpoint is asked and the file is written.
    """

    base_url: str = ""
    model: str = ""
    api_key_env: str = ""
    timeout_s: float = 60.0
    deadline_s: float = 180.0
    retries: int = 2
    concurrency: int = 32
    temperature: float | None = 0.0
    top_p: float | None = None
    max_tokens: int | None = 2048
    extra: dict[str, Any] = {}
    input_price: float = 0.0
    output_price: float = 0.0
    recorded: str = ""
    record: bool = False

    def __post_init__(self) -> None:
        if self.base_url and not self.base_url.startswith(("http://", "https://")):
            raise ValueError(f"`base_url` is {self.base_url!r}, but must begin with http:// or https://")
        if self.base_url and not self.model:
            raise ValueError("`model` must name the judge at `base_url`")
        if self.record and not (self.recorded and self.base_url):
            raise ValueError("`record` needs `recorded`, the file to write, and `base_url`, the judge to ask")
        for name in ("timeout_s", "deadline_s", "concurrency"):
            if getattr(self, name) <= 0:
                raise ValueError(f"`{name}` is {getattr(self, name)}, but must be above 0")
        for name in ("retries", "input_price", "output_price"):
            if getattr(self, name) < 0:
                raise ValueError(f"`{name}` is {getattr(self, name)}, but must not be negative")

    @property
    def configured(self) -> bool:
        """Whether anybody can be asked: an endpoint, or a recording."""
        return bool(self.base_url or self.recorded)

    @property
    def replays(self) -> bool:
        return bool(self.recorded) and not self.record

    def api_key(self) -> str | None:
        """The key, from its variable. Raises `BadRequest` where the variable is named but empty."""
        if not self.api_key_env:
            return None
        key = os.environ.get(self.api_key_env, "").strip()
        if not key:
            raise BadRequest(
                f"[judge] api_key_env names {self.api_key_env}, which is not set",
                field="judge.api_key_env",
                hint=f"export {self.api_key_env}=…, or leave `api_key_env` out",
            )
        return key
