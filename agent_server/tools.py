"""One turn's tool calls: only declared tools, reads side by side, writes in the order the policy wrote them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from agent_server.directory import EnvironmentPeer
from gym_core import headers
from gym_core.errors import EnvironmentFault


@dataclass(slots=True, frozen=True)
class ToolResult:
    """What goes back to the policy, and whether it was an error."""

    item: dict[str, Any]
    ok: bool


class ToolCaller:
    """Calls an environment's tools for one session."""

    def __init__(
        self,
        peer: EnvironmentPeer,
        session_id: str,
        declared: list[dict[str, Any]],
        *,
        timeout_s: float,
        max_chars: int,
        max_calls: int,
    ) -> None:
        self._peer = peer
        self._session_id = session_id
        self._declared = {tool.get("name") or (tool.get("function") or {}).get("name") for tool in declared}
        self._timeout_s = timeout_s
        self._max_chars = max_chars
        self._max_calls = max_calls

    async def call_all(self, calls: list[dict[str, Any]]) -> list[ToolResult]:
        """Results in the order of the calls. Raises what makes the environment unusable, not what a tool answers."""
        results: list[ToolResult] = []
        for batch in self._batches(calls[: self._max_calls]):
            results.extend(await asyncio.gather(*(self._call(call) for call in batch)))
        # Every call gets an answer, or the next turn would have to explain one that has none.
        too_many = f"error: not called: a turn may make {self._max_calls} calls"
        return results + [self._result(call, too_many, ok=False) for call in calls[self._max_calls :]]

    def _batches(self, calls: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
        reads: list[dict[str, Any]] = []
        for call in calls:
            if call.get("name") in self._peer.read_only_tools:
                reads.append(call)
                continue
            if reads:
                yield reads
                reads = []
            yield [call]
        if reads:
            yield reads

    async def _call(self, call: dict[str, Any]) -> ToolResult:
        name = str(call.get("name", ""))
        if name not in self._declared:
            known = ", ".join(sorted(str(tool) for tool in self._declared)) or "none"
            return self._result(call, f"error: there is no tool {name!r}; the tools are: {known}", ok=False)
        reply = await self._peer.client.post(
            f"/{name}",
            (call.get("arguments") or "{}").encode(),
            headers={"Content-Type": "application/json", headers.SESSION: self._session_id},
            timeout_s=self._timeout_s,
            check=False,
        )
        said = reply.headers.get(headers.TOOL)
        if said is None:
            if error := reply.error():
                raise error
            raise EnvironmentFault(f"environment {self._peer.name!r} answered the tool {name!r} in no known way")
        text = reply.body.decode("utf-8", "replace")
        if len(text) > self._max_chars:
            text = text[: self._max_chars] + f"\n… cut: {len(text)} characters, {self._max_chars} allowed"
        return self._result(call, text, ok=said == "ok")

    @staticmethod
    def _result(call: dict[str, Any], text: str, *, ok: bool) -> ToolResult:
        return ToolResult({"type": "function_call_output", "call_id": call.get("call_id", ""), "output": text}, ok)
