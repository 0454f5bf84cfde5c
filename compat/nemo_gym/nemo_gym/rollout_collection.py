"""Rollouts of rows, as trainers ask for them: an iterator of awaitables, each of a row and its result."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterator
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any

import aiohttp

from nemo_gym.global_config import AGENT_REF_KEY_NAME, TASK_SOURCE_KEY_NAME
from nemo_gym.server_utils import (
    BaseServerConfig,
    ServerClient,
    get_response_json,
    raise_for_status,
    setup_server_client,
)

Row = dict[str, Any]


class RolloutCollectionHelper:
    """Plays rows at the agents that a head names."""

    def run_examples(
        self,
        examples: list[Row],
        head_server_config: BaseServerConfig | None = None,
        semaphore: asyncio.Semaphore | None = None,
        route_failures_to_sidecar: bool = False,
        environment_server_name: str | None = None,
        *,
        max_resident_tasks: int | None = None,
        **_: Any,
    ) -> Iterator[Awaitable[tuple[Row, Row]]]:
        """Awaitables of `(row, result)` in the order rollouts finish; the rollouts begin when the first is asked for.

        Every row has its `agent_ref` when this returns. Raises ValueError for a row that names no served agent. An
        awaitable raises `aiohttp.ClientResponseError`, with `response_content`, for a rollout that failed; with
        `route_failures_to_sidecar` its result says so instead (`_ng_failure_class`).
        """
        client = self.setup_server_client(head_server_config)
        self.resolve_task_sources(examples, client.global_config_dict)
        bounds = [semaphore, asyncio.Semaphore(max_resident_tasks) if max_resident_tasks else None]

        async def play(row: Row) -> tuple[Row, Row]:
            async with _held(bounds[0]), _held(bounds[1]):
                try:
                    reply = await client.post(row[AGENT_REF_KEY_NAME]["name"], "/run", json=row)
                    await raise_for_status(reply)
                    return row, await get_response_json(reply)
                except aiohttp.ClientError as error:
                    if not route_failures_to_sidecar:
                        raise
                    return row, _failure(row, error)

        def begin() -> Iterator[Awaitable[tuple[Row, Row]]]:
            yield from asyncio.as_completed([asyncio.ensure_future(play(row)) for row in examples])

        return begin()

    @staticmethod
    def resolve_task_sources(examples: list[Row], global_config_dict: dict[str, Any]) -> None:
        """Give every row that names a `task_source` alone its `agent_ref`. Raises ValueError for unknown names."""
        agents = {
            name
            for name, kinds in global_config_dict.items()
            if isinstance(kinds, dict) and "responses_api_agents" in kinds
        }
        for number, row in enumerate(examples):
            name = (row.get(AGENT_REF_KEY_NAME) or {}).get("name") or row.get(TASK_SOURCE_KEY_NAME)
            if name not in agents:
                raise ValueError(f"row {number} asks for {name!r}; the gym serves {', '.join(sorted(agents))}")
            row.setdefault(AGENT_REF_KEY_NAME, {"name": name})

    def setup_server_client(self, head_server_config: BaseServerConfig | None = None) -> ServerClient:
        return setup_server_client(head_server_config)


def _held(semaphore: asyncio.Semaphore | None) -> AbstractAsyncContextManager[Any]:
    return nullcontext() if semaphore is None else semaphore


def _failure(row: Row, error: aiohttp.ClientError) -> Row:
    content = getattr(error, "response_content", b"")
    return {
        **row,
        "_ng_failure_class": "agent_run_error",
        "_ng_failure_status": getattr(error, "status", None),
        "_ng_failure_reason": content.decode("utf-8", "replace") or str(error),
    }
