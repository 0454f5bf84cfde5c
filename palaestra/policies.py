"""A policy server for a command: over a checkpoint, or in front of any OpenAI-compatible endpoint."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from gym_core import auth
from gym_core.config import load, sources
from gym_core.errors import BadRequest

if TYPE_CHECKING:
    from aiohttp import web

    from policy_server.config import PolicyConfig


READY_S = 600.0
"""A large checkpoint takes its time to be read, and replicas read at the same time."""

SERVING = "serving.json"
"""Beside a checkpoint: settings of the policy server that belong to the model, such as whether it learnt to think."""


def policy_config(
    model: Path | None,
    upstream: str = "",
    upstream_model: str = "",
    *,
    config_file: Path | None = None,
    engine: str | None = None,
    **settings: Any,
) -> PolicyConfig:
    """Settings for a checkpoint or an upstream: defaults < the checkpoint's own < file < environment < `settings`.

    Raises `BadRequest` where neither or both are given, and as `gym_core.config.load`.
    """
    from policy_server.config import PolicyConfig

    if model is None and not upstream:
        hint = "a checkpoint or a run's folder, or the address of an OpenAI-compatible server"
        raise BadRequest("nothing says which policy is meant: no checkpoint and no upstream", field="model", hint=hint)
    if model is not None and upstream:
        raise BadRequest("give either a checkpoint or the address of an upstream, not both", field="model")
    flags = {name: value for name, value in settings.items() if value is not None}
    own: dict[str, Any] = {}
    if model is not None:
        checkpoint = find_checkpoint(model)
        flags |= {"backend": engine or "embedded", "checkpoint": str(checkpoint)}
        if (checkpoint / SERVING).is_file():
            own = msgspec.json.decode((checkpoint / SERVING).read_bytes())
    else:
        name = upstream_model or "policy"
        flags |= {"backend": "upstream", "upstream_url": upstream, "upstream_model": name, "model_name": name}
        flags["upstream_token"] = auth.secret("upstream_token") or auth.secret("openai_api_key") or None
    given = load(PolicyConfig, file=config_file, section="policy", overrides=flags)
    said = {name for name, source in sources(given).items() if source != "default"}
    return msgspec.structs.replace(given, **{name: value for name, value in own.items() if name not in said})


def find_checkpoint(path: Path) -> Path:
    """A folder with config.json: the path itself, or the `after` (else `before`) of a run's folder."""
    for candidate in (path, path / "after", path / "before", path / "model"):
        if (candidate / "config.json").is_file():
            return candidate
    raise BadRequest(
        f"{path} holds no checkpoint",
        field="model",
        hint="a checkpoint is a folder with config.json, safetensors and tokenizer.json, or a run's folder",
    )


def served_app(config: PolicyConfig) -> web.Application:
    """The policy server's app with a backend of its own, opened now and closed with the app.

    Whoever is configured may call it, also where it is served inside another program (DESIGN §5.10).
    """
    from gym_core.access import Access
    from policy_server.app import build_app
    from policy_server.closing import close_with
    from policy_server.launch import open_backend

    backend, tokenizer = open_backend(config)
    app = build_app(backend, tokenizer, config, token=Access.configured())
    close_with(app, backend)
    return app
