"""Rollouts over HTTP without a model: a script is played against the service as the agent server would."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import msgspec

from gym_core import headers
from gym_core.client import Client
from gym_core.contracts import Verdict
from gym_core.dispatch import STATUS
from gym_core.environment import Script
from gym_core.errors import EnvironmentFault
from gym_core.play import call_items
from gym_core.reply import text_output
from gym_core.tools import RESERVED_NAMES, USER_TURN

Row = dict[str, Any]
Items = list[dict[str, Any]]
GROUP_WAIT_S = 30.0
_UNKNOWN = "error: there is no such tool"


@dataclass(slots=True)
class ToolReply:
    """What the policy reads of a tool call, and how it ended: `ok`, `fault`, `exception` or `unknown`."""

    name: str
    arguments: str
    kind: str
    text: str


@dataclass(slots=True)
class Played:
    """A rollout: its tool replies, its `output` items, its verdict, and what the verdict took."""

    verdict: Verdict
    tools: list[ToolReply] = field(default_factory=list)
    items: Items = field(default_factory=list)
    verify_s: float = 0.0

    @property
    def reward(self) -> float:
        return self.verdict.reward

    def told(self) -> tuple[Any, ...]:
        """Everything that must be the same whenever the same rollout is played; components that are times aside."""
        components = {
            name: value for name, value in self.verdict.components.items() if not name.endswith(("_s", "_ms"))
        }
        return [(tool.kind, tool.text) for tool in self.tools], self.reward, sorted(components.items())


class Wire:
    """One environment behind a client."""

    def __init__(self, client: Client, *, keeps_sessions: bool, judges_groups: bool = False) -> None:
        self.client = client
        self.keeps_sessions = keeps_sessions
        self.judges_groups = judges_groups
        self._groups = 0

    async def play(
        self,
        row: Row,
        script: str | Script,
        *,
        items: Items | None = None,
        beside: str | Script = "",
        options: dict[str, Any] | None = None,
    ) -> Played:
        """A whole rollout; `items` stand in for the script's last words. Where groups are judged it is one of two, the
        other plays `beside`. Raises the typed errors of the service."""
        if self.judges_groups:
            played, _ = await self.group(row, [script if items is None else items, beside], options)
            return played
        script = Script(reply=script) if isinstance(script, str) else script
        session = await self.seed(row) if self.keeps_sessions else ""
        try:
            tools = await self.calls(session, script)
            output = _items(tools, text_output(script.reply) if items is None else items)
            verdict, seconds = await self.verify(row, session, output, options)
        finally:
            if session:
                await self.close(session)
        return Played(verdict, tools, output, seconds)

    async def group(
        self, row: Row, members: list[str | Script | Items], more: dict[str, Any] | None = None
    ) -> list[Played]:
        """The rollouts of one group, entered in this order and judged together."""
        self._groups += 1
        group = f"group-{self._groups}"
        entered = []
        for number, member in enumerate(members):
            script = member if isinstance(member, Script) else Script(reply=member if isinstance(member, str) else "")
            session = await self.seed(row) if self.keeps_sessions else ""
            tools = await self.calls(session, script)
            output = _items(tools, member if isinstance(member, list) else text_output(script.reply))
            options = {"group_id": group, "group_size": len(members), "rollout_id": f"{group}-{number}", **(more or {})}
            body = {**({"session_id": session} if session else row), "response": {"output": output}}
            await self.client.post_json("/verify", {**body, "palaestra": options})
            entered.append((tools, output, options["rollout_id"], session))
        played = []
        for tools, output, rollout_id, session in entered:
            asked = {"group_id": group, "rollout_id": rollout_id, "wait_s": GROUP_WAIT_S}
            said: Row = await self.client.post_json("/group_verdict", asked)
            if "verdict" not in said:
                raise EnvironmentFault(f"the group had no verdict after {GROUP_WAIT_S:g} s", stage="verify_group")
            played.append(Played(msgspec.convert(said["verdict"], Verdict), tools, output))
            if session:
                await self.close(session)
        return played

    # The steps of a rollout --------------------------------------------------------------------------------------

    async def seed(self, row: Row) -> str:
        """A session for this row."""
        session: str = (await self.client.post_json("/seed_session", row))["session_id"]
        return session

    async def calls(self, session: str, script: Script) -> list[ToolReply]:
        """The script's calls one after another."""
        return [await self.call(session, call.name, msgspec.json.encode(call.arguments)) for call in script.calls]

    async def call(self, session: str, name: str, arguments: bytes) -> ToolReply:
        """One call; what a policy may not call is answered as the agent server does."""
        shown = arguments.decode("utf-8", "replace")
        if (name in RESERVED_NAMES and name != USER_TURN) or not name.isidentifier():
            return ToolReply(name, shown, "unknown", _UNKNOWN)
        reply = await self.client.post(f"/{name}", arguments, headers={headers.SESSION: session}, check=False)
        kind = reply.headers.get(headers.TOOL, "unknown")
        if name == USER_TURN and reply.status in (200, 409):  # 409: the user has left already
            return ToolReply(name, shown, "ok" if reply.status == 200 else "fault", reply.text)
        if kind not in STATUS:
            if reply.status == 404:  # its text names this request
                return ToolReply(name, shown, "unknown", _UNKNOWN)
            error = reply.error()
            assert error is not None
            raise error
        return ToolReply(name, shown, kind, reply.text)

    async def verify(
        self, row: Row, session: str, output: Items, options: dict[str, Any] | None = None
    ) -> tuple[Verdict, float]:
        """The verdict and the seconds it took."""
        body: Row = {**({"session_id": session} if session else row), "response": {"output": output}}
        if options:
            body["palaestra"] = options
        began = time.perf_counter()
        said: Row = await self.client.post_json("/verify", body, headers={"Prefer": "return=minimal"})
        seconds = time.perf_counter() - began
        return msgspec.convert(said["verdict"], Verdict), seconds

    async def close(self, session: str) -> None:
        """Close a session; one that is closed already is no error."""
        await self.client.post_json("/close_session", {"session_id": session})


def _items(tools: list[ToolReply], last: Items) -> Items:
    output: Items = []
    for number, tool in enumerate(tools):
        output += call_items(f"call_{number}", tool.name, tool.arguments, tool.text)
    return [*output, *last]
