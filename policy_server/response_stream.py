"""`/v1/responses` with `stream: true`: the Responses API's events, sent while the reply is sampled.

    created, in_progress ─▶ [item added ─ part added ─ deltas ─ part done ─ item done]… ─▶ completed, incomplete, failed

Items come one after the other. Thought and text are told as they are sampled (`policy_server.live`), calls when the
reply is whole. A thought that comes after the text has begun is a reasoning item of its own behind it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from aiohttp import web

from gym_core.errors import PalaestraError
from policy_server.answers import Answer, Turn, fresh_id, take_turn
from policy_server.events import Deltas, Events
from policy_server.live import Kind, LiveReply
from policy_server.openai_error import openai_error
from policy_server.prompts import Conversation, Prompts
from policy_server.requests import Backend, GenerateRequest
from policy_server.responses import (
    ResponsesParams,
    items_of,
    response_head,
    response_object,
    with_echo,
    with_logprobs,
)

Item = dict[str, Any]

_HEAD = ("type", "id", "role", "call_id", "name")
_TYPES: dict[Kind, str] = {"think": "reasoning", "answer": "message"}
_PARTS = {
    "reasoning": ("reasoning_summary_part", "reasoning_summary_text", "summary_index", "summary"),
    "message": ("content_part", "output_text", "content_index", "content"),
}


async def stream_response(
    request: web.Request,
    backend: Backend,
    prompts: Prompts,
    conversation: Conversation,
    generate: GenerateRequest,
    params: ResponsesParams,
) -> web.StreamResponse:
    """The events of one response. What fails before the first of them is an ordinary error reply."""
    events, head = Events(request), response_head(backend.model_name)
    begun = with_echo(head | {"status": "in_progress", "incomplete_details": None, "output": []}, params, generate)
    told = Told(events, begun | {"usage": None})
    prompt = prompts.build(conversation)
    live = LiveReply(prompt.thinking_open)
    async with Deltas() as deltas:
        deltas.run(take_turn(backend, prompts, conversation, replace(generate, on_delta=deltas.put), prompt))
        async for delta in deltas:
            await told.begin()
            for kind, text in live.push(delta.text):
                await told.add(kind, text)
        try:
            turn: Turn = await deltas.result()
        except PalaestraError as error:
            if not events.response.prepared:
                raise
            await told.fail(error)
            return await events.close(done=False)
    await told.begin()
    output = told.arranged(turn.answers[0])
    whole = response_object(turn, params, backend.model_name, head=head, output=output)
    await told.end(with_echo(with_logprobs(whole, turn, params, prompts), params, generate))
    return await events.close(done=False)


class Told:
    """What of a response its client was told. `begun` is the response object before there is any output."""

    def __init__(self, events: Events, begun: Mapping[str, Any]) -> None:
        self._events, self._begun = events, begun
        self._num_events = 0
        self._items: list[Item] = []
        self._texts: list[str] = []

    async def begin(self) -> None:
        """The first events, once."""
        if not self._num_events:
            await self._send("response.created", response=self._begun)
            await self._send("response.in_progress", response=self._begun)

    async def add(self, kind: Kind, text: str) -> None:
        """More of a thought or of the text."""
        name = _TYPES[kind]
        if not self._items or self._items[-1]["type"] != name:
            if kind == "think" and self._items:
                return  # the text has begun: this thought is told behind it
            if self._items:
                await self._close(self._items[-1] | _filled(name="reasoning", text=self._texts[-1]))
            await self._open(_blank(name))
        await self._delta(text)

    def arranged(self, answer: Answer) -> list[Item]:
        """The output items of a whole answer, in the order and with the ids in which they were told."""
        output = items_of(answer)
        of_type = {item["type"]: item for item in output if item["type"] in _PARTS}
        for item in self._items:
            of_type[item["type"]]["id"] = item["id"]
        if not self._items or self._items[-1]["type"] != "message" or "reasoning" not in of_type:
            return output
        first = self._texts[0] if len(self._items) > 1 else ""
        later = answer.reasoning[len(first) :].removeprefix("\n")
        thought, calls = of_type["reasoning"], [item for item in output if item["type"] == "function_call"]
        before = [thought | _filled("reasoning", first)] if first else []
        behind = [thought | _filled("reasoning", later) | {"id": fresh_id("rs")}] if later else []
        return [*before, of_type["message"], *behind, *calls]

    async def end(self, response: Mapping[str, Any]) -> None:
        """The rest of the items, and the response object."""
        for index, item in enumerate(response["output"]):
            if index < len(self._items) - 1:
                continue  # closed
            if index == len(self._items):
                await self._open(item)
            await self._finish(item)
        last = "response.incomplete" if response["status"] == "incomplete" else "response.completed"
        await self._send(last, response=response)

    async def fail(self, error: PalaestraError) -> None:
        """The last event of a response that broke."""
        told = openai_error(error.info(), error.status)["error"]
        failed = {"status": "failed", "error": {"code": "server_error", "message": told["message"]}}
        await self._send("response.failed", response={**self._begun, **failed})

    async def _open(self, item: Item) -> None:
        self._items.append(item)
        self._texts.append("")
        kind = item["type"]
        blank: Item = {name: value for name, value in item.items() if name in _HEAD}
        if kind == "function_call":
            blank["arguments"] = ""
        else:
            blank[_PARTS[kind][3]] = []
        if kind != "reasoning":
            blank["status"] = "in_progress"
        await self._send("response.output_item.added", output_index=len(self._items) - 1, item=blank)
        if kind in _PARTS:
            part, _, key, _ = _PARTS[kind]
            await self._send(f"response.{part}.added", **self._at(key), part=_part(kind, ""))

    async def _delta(self, text: str, **more: Any) -> None:
        kind = self._items[-1]["type"]
        _, name, key, _ = _PARTS[kind]
        self._texts[-1] += text
        more = {"logprobs": [], **more} if kind == "message" else {}
        await self._send(f"response.{name}.delta", **self._at(key), delta=text, **more)

    async def _finish(self, item: Item) -> None:
        """What the last item still lacks, and its end."""
        if item["type"] == "function_call":
            where = {"item_id": item["id"], "output_index": len(self._items) - 1}
            arguments = item["arguments"]
            await self._send("response.function_call_arguments.delta", **where, delta=arguments)
            await self._send("response.function_call_arguments.done", **where, arguments=arguments, name=item["name"])
            await self._send("response.output_item.done", output_index=len(self._items) - 1, item=item)
            return
        [part] = item[_PARTS[item["type"]][3]]
        rest, logprobs = part["text"][len(self._texts[-1]) :], part.get("logprobs", [])
        if rest or logprobs:
            await self._delta(rest, logprobs=logprobs)
        await self._close(item)

    async def _close(self, item: Item) -> None:
        name, text, key, field = _PARTS[item["type"]]
        [part] = item[field]
        more = {"logprobs": part.get("logprobs", [])} if item["type"] == "message" else {}
        await self._send(f"response.{text}.done", **self._at(key), text=part["text"], **more)
        await self._send(f"response.{name}.done", **self._at(key), part=part)
        await self._send("response.output_item.done", output_index=len(self._items) - 1, item=item)

    def _at(self, key: str) -> dict[str, Any]:
        return {"item_id": self._items[-1]["id"], "output_index": len(self._items) - 1, key: 0}

    async def _send(self, event: str, /, **data: Any) -> None:
        await self._events.send({"type": event, "sequence_number": self._num_events, **data}, event)
        self._num_events += 1


def _blank(kind: str) -> Item:
    if kind == "reasoning":
        return {"type": "reasoning", "id": fresh_id("rs"), "summary": []}
    return {"type": "message", "id": fresh_id("msg"), "role": "assistant", "content": [], "status": "in_progress"}


def _filled(name: str, text: str) -> Item:
    return {_PARTS[name][3]: [_part(name, text)]}


def _part(kind: str, text: str) -> dict[str, Any]:
    if kind == "reasoning":
        return {"type": "summary_text", "text": text}
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
