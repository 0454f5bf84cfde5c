"""What the OpenAI routes have in common: sampling fields, template options, refusals of what this server cannot do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from gym_core.errors import BadRequest, UnknownName
from policy_server.config import PolicyConfig
from policy_server.constraints import guided_constraint
from policy_server.prompts import RenderOptions
from policy_server.requests import GenerateRequest
from policy_server.unserved import SAMPLING, UnservedSampling, refuse

MAX_ALTERNATIVES = 20
_MAX_DIGITS = 12
_EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh")


class SamplingParams(UnservedSampling, kw_only=True):
    """Fields that all three generating routes take; None (or absent) means the server's default."""

    model: str | None = None
    temperature: float | None = None
    top_p: float | None = None
    stop: str | list[str] | None = None
    stop_token_ids: list[int] | None = None
    ignore_eos: bool | None = None
    seed: int | None = None
    priority: int | None = None
    stream: bool | None = None
    return_token_ids: bool | None = None
    return_routed_experts: bool | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    logit_bias: dict[str, float] | None = None
    reasoning_budget: int | None = None
    thinking_token_budget: int | None = None
    guided_json: Any = None
    structured_outputs: dict[str, Any] | None = None

    def request(self, config: PolicyConfig, deadline_s: float, *, n: int, max_tokens: int | None) -> GenerateRequest:
        """The request to a backend, its prompt still empty. Raises `BadRequest` naming the field."""
        refuse(self, SAMPLING)
        stop = [self.stop] if isinstance(self.stop, str) else self.stop or []
        if "" in stop:
            raise BadRequest("a stop string must not be empty", field="stop")
        return GenerateRequest(
            prompt_token_ids=(),
            n=n,
            max_tokens=config.max_tokens if max_tokens is None else max_tokens,
            temperature=config.temperature if self.temperature is None else self.temperature,
            top_p=config.top_p if self.top_p is None else self.top_p,
            stop=stop,
            stop_token_ids=self.stop_token_ids or (),
            ignore_eos=bool(self.ignore_eos),
            seed=self.seed,
            priority=self.priority or 0,
            deadline_s=deadline_s,
            presence_penalty=self.presence_penalty or 0.0,
            frequency_penalty=self.frequency_penalty or 0.0,
            logit_bias=_biases(self.logit_bias),
            constraint=guided_constraint(self.guided_json, self.structured_outputs),
            thinking_budget=self.thinking_token_budget,
            routed_experts=bool(self.return_routed_experts),
        )


def _biases(given: Mapping[str, float] | None) -> dict[int, float]:
    """Amounts by token id. Raises `BadRequest` for a key that is no number or an amount beyond OpenAI's."""
    biases: dict[int, float] = {}
    for token, amount in (given or {}).items():
        if not (token.isdecimal() and len(token) <= _MAX_DIGITS) or not -100 <= amount <= 100:
            raise BadRequest(f"no bias of {amount} for {token!r:.40}: token ids and -100..100", field="logit_bias")
        biases[int(token)] = amount
    return biases


def num_alternatives(wanted: int | None, field: str) -> int:
    """How many likeliest tokens are told for each one. Raises `BadRequest` beyond OpenAI's 20."""
    if wanted is not None and not 0 <= wanted <= MAX_ALTERNATIVES:
        raise BadRequest(f"must be 0 to {MAX_ALTERNATIVES}, not {wanted}", field=field)
    return wanted or 0


def at_least_one(tokens: int | None, field: str) -> int | None:
    """A number of tokens to sample. Raises `BadRequest` where it is none."""
    if tokens is not None and tokens < 1:
        raise BadRequest(f"{field} must be at least 1, not {tokens}", field=field)
    return tokens


def include_usage(stream_options: Mapping[str, Any] | None) -> bool:
    """Whether a stream ends with a chunk of token counts. Raises `BadRequest` for a value that says neither."""
    found = (stream_options or {}).get("include_usage")
    if found is not None and not isinstance(found, bool):
        raise BadRequest("must be true or false", field="stream_options.include_usage")
    return bool(found)


def require_model(name: str | None, served: str) -> None:
    """Raises `UnknownName` for a model that is not the served one; no name means that one."""
    if name and name != served:
        raise UnknownName(f"there is no model {name!r} here", field="model", hint=f"this server has {served!r}")


def thinking_of(effort: Any, field: str) -> dict[str, Any]:
    """Template options of OpenAI's reasoning effort: `none` turns thinking off, the others leave it as it is.

    Raises `BadRequest` for what is no effort.
    """
    if effort is None:
        return {}
    if effort not in _EFFORTS:
        raise BadRequest(f"there is no effort {effort!r:.40}", field=field, hint=f"use one of {', '.join(_EFFORTS)}")
    return {"enable_thinking": False} if effort == "none" else {}


def render_options(
    config: PolicyConfig, kwargs: Mapping[str, Any] | None, reasoning_budget: int | None
) -> RenderOptions:
    """Template options from `chat_template_kwargs`. Raises `BadRequest` for a value of the wrong type."""
    given = {"enable_thinking": config.enable_thinking, "reasoning_budget": reasoning_budget, **(kwargs or {})}
    known = {name: value for name, value in given.items() if name in RenderOptions.__dataclass_fields__}
    try:
        options = msgspec.convert(known, RenderOptions)
    except msgspec.ValidationError as error:
        what, _, path = str(error).partition(" - at `$.")
        raise BadRequest(what, field=f"chat_template_kwargs.{path.rstrip('`')}") from None
    if options.reasoning_budget is not None and options.reasoning_budget < 0:
        raise BadRequest(f"must be 0 or more, not {options.reasoning_budget}", field="reasoning_budget")
    return options
