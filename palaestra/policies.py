"""A policy server for a command: over a checkpoint, or in front of any OpenAI-compatible endpoint."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from gym_core import auth
from gym_core.errors import BadRequest

if TYPE_CHECKING:
    from aiohttp import web

    from policy_server.config import PolicyConfig


def policy_config(
    model: Path | None, upstream: str = "", upstream_model: str = "", *, num_slots: int = 128, max_length: int = 2048
) -> PolicyConfig:
    """Settings for a checkpoint or an upstream. Raises `BadRequest` where neither or both are given."""
    from policy_server.config import PolicyConfig

    if (model is None) == (not upstream):
        raise BadRequest("give either a checkpoint or the address of an upstream, not both", field="model")
    if model is not None:
        checkpoint = find_checkpoint(model)
        return PolicyConfig(checkpoint=str(checkpoint), num_slots=num_slots, max_length=max_length)
    key = auth.secret("upstream_token") or auth.secret("openai_api_key") or ""
    return PolicyConfig(
        backend="upstream",
        upstream_url=upstream,
        upstream_model=upstream_model or "policy",
        upstream_token=key,
        model_name=upstream_model or "policy",
    )


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


def served_app(config: PolicyConfig, *, token: str | None = None) -> web.Application:
    """The policy server's app with a backend of its own, opened now and closed with the app."""
    from policy_server.app import build_app
    from policy_server.launch import open_backend

    backend, tokenizer = open_backend(config)
    app = build_app(backend, tokenizer, config, token=token)

    async def close(_: web.Application) -> None:
        await backend.close()

    app.on_cleanup.append(close)
    return app
