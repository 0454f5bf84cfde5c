"""Which environment a row belongs to, and the client that reaches it.

A row names its environment by `environment`, by a NeMo Gym `agent_ref: {name}` or `task_source`; foreign names are
matched against the aliases that environments declare in their manifests.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from gym_core.client import Client
from gym_core.errors import PalaestraError, RemoteError, UnknownName
from gym_core.nearest import nearest


@dataclass(slots=True)
class EnvironmentPeer:
    """An environment service as the agent knows it."""

    name: str
    client: Client
    version: str
    keeps_sessions: bool
    max_steps: int
    has_tools: bool
    user_turns: bool
    read_only_tools: frozenset[str]
    aliases: frozenset[str]
    manifest: dict[str, Any]


class Directory:
    """Environment services by name; manifests are fetched once, on first use."""

    def __init__(self, clients: dict[str, Client], timeout_s: float) -> None:
        self._clients = clients
        self._timeout_s = timeout_s
        self._peers: dict[str, EnvironmentPeer] = {}
        self._aliases: dict[str, str] = {}
        self._locks = {name: asyncio.Lock() for name in clients}

    @property
    def names(self) -> list[str]:
        return sorted(self._clients)

    async def find(self, row: dict[str, Any]) -> EnvironmentPeer:
        """The peer that serves this row. Raises `UnknownName` with the nearest names."""
        wanted = row_environment(row)
        name = self._aliases.get(wanted, wanted)
        if name not in self._clients and wanted:
            await self._learn_aliases()
            name = self._aliases.get(wanted, wanted)
        if name not in self._clients:
            near = nearest(wanted, self.names, cutoff=0.6) or self.names
            raise UnknownName(
                f"no environment {wanted!r} is served here" if wanted else "the row names no environment",
                field="environment",
                hint="served: " + ", ".join(near),
            )
        return self._peers.get(name) or await self._meet(name)

    async def all(self) -> list[EnvironmentPeer]:
        """Every environment that can be met now, by name."""
        await self._learn_aliases()
        return [self._peers[name] for name in self.names if name in self._peers]

    async def _learn_aliases(self) -> None:
        """Meet every environment that can be met; one that is down must not hide the others."""
        met = await asyncio.gather(*(self._meet(name) for name in self._clients), return_exceptions=True)
        for outcome in met:
            if isinstance(outcome, BaseException) and not isinstance(outcome, PalaestraError):
                raise outcome

    async def _meet(self, name: str) -> EnvironmentPeer:
        async with self._locks[name]:
            if name not in self._peers:
                client = self._clients[name]
                try:
                    manifest: Any = (await client.get("/manifest", timeout_s=self._timeout_s)).json()
                    self._peers[name] = _peer(name, client, manifest)
                except (UnknownName, KeyError, TypeError, AttributeError) as error:
                    raise RemoteError(
                        f"at {client.base_url} there is no environment: {_reason(error)}",
                        server="agent",
                        hint=f"its address ends with its name as a rule: --env {name}=http://host:port/{name}",
                    ) from None
                self._aliases.update(dict.fromkeys(self._peers[name].aliases, name))
            return self._peers[name]

    async def close(self) -> None:
        for client in self._clients.values():
            await client.close()


def _peer(name: str, client: Client, manifest: dict[str, Any]) -> EnvironmentPeer:
    tools = manifest.get("tools", [])
    return EnvironmentPeer(
        name=name,
        client=client,
        version=manifest["version"],
        keeps_sessions=manifest["keeps_sessions"],
        max_steps=manifest["max_steps"],
        has_tools=bool(tools),
        user_turns=bool(manifest.get("user_turns")),
        read_only_tools=frozenset(tool["name"] for tool in tools if tool.get("read_only")),
        aliases=frozenset([*manifest.get("aliases", ()), *manifest.get("rows", ())]),
        manifest={**manifest, "name": name},
    )


def _reason(error: Exception) -> str:
    if isinstance(error, PalaestraError):
        return error.message
    return f"its manifest has no {error}" if isinstance(error, KeyError) else "its manifest cannot be read"


def row_environment(row: dict[str, Any]) -> str:
    """The environment a row asks for, in whichever of the accepted ways it says it; "" where it does not."""
    if name := row.get("environment"):
        return str(name)
    reference = row.get("agent_ref")
    if isinstance(reference, dict) and reference.get("name"):
        return str(reference["name"])
    return str(row.get("task_source") or row.get("environment_name") or "")
