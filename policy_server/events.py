"""Server-sent events of the three generating routes.

Text goes out while it is sampled where that is exact: raw completions, and chat without tools or thinking up to the
first "<". Whatever has to be parsed first (reasoning, calls, Responses items) is sent when the reply is whole, so a
stream always adds up to what the same request answers without `stream`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Mapping
from typing import Any

import msgspec
from aiohttp import web

from policy_server.requests import Delta


class Events:
    """One SSE reply. Headers go out with the first event, so an error before it is an ordinary error reply."""

    def __init__(self, request: web.Request) -> None:
        self._request = request
        self.response = web.StreamResponse(
            headers={"Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-cache"}
        )

    async def send(self, data: Mapping[str, Any], event: str = "") -> None:
        """Send one event."""
        await self._open()
        head = f"event: {event}\n".encode() if event else b""
        await self.response.write(head + b"data: " + msgspec.json.encode(data) + b"\n\n")

    async def close(self, done: bool = True) -> web.StreamResponse:
        """End the stream, with OpenAI's `[DONE]` unless the API has none."""
        await self._open()
        await self.response.write_eof(b"data: [DONE]\n\n" if done else b"")
        return self.response

    async def _open(self) -> None:
        if not self.response.prepared:
            await self.response.prepare(self._request)


class Deltas:
    """Deltas of a generation that runs beside whoever reads them. Use as a context: leaving it early cancels it."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[Delta | None] = asyncio.Queue()
        self._task: asyncio.Task[Any] | None = None

    def put(self, delta: Delta) -> None:
        self._queue.put_nowait(delta)

    def run(self, work: Coroutine[Any, Any, Any]) -> Deltas:
        self._task = asyncio.create_task(work)
        self._task.add_done_callback(lambda _: self._queue.put_nowait(None))
        return self

    async def __aiter__(self) -> AsyncIterator[Delta]:
        while (delta := await self._queue.get()) is not None:
            yield delta

    async def result(self) -> Any:
        """What the work returned; raises what it raised."""
        assert self._task is not None
        return await self._task

    async def __aenter__(self) -> Deltas:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.wait([self._task])


class LiveContent:
    """The part of a chat reply's text that can be shown before the reply is whole."""

    def __init__(self) -> None:
        self._text = ""
        self._open = True
        self.num_sent = 0

    def push(self, text: str) -> str:
        """What can be shown now, beyond what was shown."""
        if not self._open:
            return ""
        self._text += text
        before, tag, _ = self._text.partition("<")
        self._open = not tag
        # newlines at either end are not content, and white space alone is none at all
        safe = before.lstrip("\n") if before.strip() else ""
        fresh = safe.rstrip()[self.num_sent :]
        self.num_sent += len(fresh)
        return fresh


def response_events(response: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """The Responses API's events of a whole response object."""
    events: list[tuple[str, dict[str, Any]]] = []
    begun = response | {"status": "in_progress", "output": [], "usage": None, "incomplete_details": None}
    events += [("response.created", {"response": begun}), ("response.in_progress", {"response": begun})]
    for index, item in enumerate(response["output"]):
        events.append(("response.output_item.added", {"output_index": index, "item": _begun(item)}))
        events += _inner_events(index, item)
        events.append(("response.output_item.done", {"output_index": index, "item": item}))
    last = "response.incomplete" if response["status"] == "incomplete" else "response.completed"
    events.append((last, {"response": response}))
    return [(name, {"type": name, "sequence_number": n, **data}) for n, (name, data) in enumerate(events)]


def _begun(item: dict[str, Any]) -> dict[str, Any]:
    if item["type"] == "message":
        return item | {"content": [], "status": "in_progress"}
    if item["type"] == "function_call":
        return item | {"arguments": "", "status": "in_progress"}
    return item | {"summary": []}


def _inner_events(index: int, item: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    where = {"item_id": item["id"], "output_index": index}
    if item["type"] == "function_call":
        arguments = item["arguments"]
        return [
            ("response.function_call_arguments.delta", where | {"delta": arguments}),
            ("response.function_call_arguments.done", where | {"arguments": arguments, "name": item["name"]}),
        ]
    name, parts, key = "output_text", item.get("content", []), "content_index"
    part_name = "content_part"
    if item["type"] == "reasoning":
        name, parts, key = "reasoning_summary_text", item["summary"], "summary_index"
        part_name = "reasoning_summary_part"
    events: list[tuple[str, dict[str, Any]]] = []
    for number, part in enumerate(parts):
        at = where | {key: number}
        extra: dict[str, Any] = {"logprobs": part.get("logprobs", [])} if name == "output_text" else {}
        nothing: dict[str, Any] = {"text": ""} | ({"logprobs": []} if "logprobs" in part else {})
        events += [
            (f"response.{part_name}.added", at | {"part": part | nothing}),
            (f"response.{name}.delta", at | {"delta": part["text"]} | extra),
            (f"response.{name}.done", at | {"text": part["text"]} | extra),
            (f"response.{part_name}.done", at | {"part": part}),
        ]
    return events
