"""`palaestra chat` against a served policy: as it streams, the thought apart from the answer."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator

import pytest
from aiohttp import web
from click.testing import CliRunner

from gym_core.errors import Busy, PalaestraError
from gym_core.serve import harden, start
from palaestra.commands.chat import command

EVENTS = [
    {"role": "assistant", "reasoning_content": "two and "},
    {"reasoning_content": "three"},
    {"content": "It is "},
    {"content": "5."},
    {"tool_calls": [{"index": 0, "id": "c", "type": "function", "function": {"name": "add", "arguments": "{}"}}]},
]


class Policy:
    """A policy that says the same to everybody, on a loop of its own."""

    def __init__(self) -> None:
        self.asked: list[dict[str, object]] = []
        self.busy = False
        self.url = ""
        self._ready, self._thread = threading.Event(), threading.Thread(target=self._run)
        self._thread.start()
        assert self._ready.wait(30)

    async def chat(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(await request.json())
        if self.busy:
            raise Busy("later", retry_after_s=1)
        answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await answer.prepare(request)
        for delta in EVENTS:
            await answer.write(b"data: " + json.dumps({"choices": [{"delta": delta}]}).encode() + b"\n\n")
        await answer.write(b"data: [DONE]\n\n")
        return answer

    def _run(self) -> None:
        import asyncio

        async def serve() -> None:
            self._stop, self._loop = asyncio.Event(), asyncio.get_running_loop()
            app = web.Application()
            app.router.add_post("/v1/chat/completions", self.chat)
            async with await start(harden(app, "policy")) as served:
                self.url = served.url
                self._ready.set()
                await self._stop.wait()

        asyncio.run(serve())

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()


@pytest.fixture
def policy() -> Iterator[Policy]:
    policy = Policy()
    yield policy
    policy.close()


def test_a_served_policy_thinks_apart_from_its_answer(policy: Policy) -> None:
    result = CliRunner().invoke(command, [f"{policy.url}/v1", "--thinking", "--keep", "-m", "2+3?", "-m", "sure?"])
    lines = result.output.splitlines()
    assert lines[:4] == ["you    2+3?", "thinks two and three", "policy It is 5.", "calls  add({})"]
    assert policy.asked[0]["chat_template_kwargs"] == {"enable_thinking": True}
    messages = policy.asked[1]["messages"]
    assert isinstance(messages, list)
    assert [message["role"] for message in messages] == ["user", "assistant", "user"]
    assert messages[1]["content"] == "It is 5."  # its thought is not told to it again


def test_what_the_server_refuses_is_a_typed_error(policy: Policy) -> None:
    policy.busy = True
    result = CliRunner().invoke(command, [policy.url, "-m", "hi"])
    assert isinstance(result.exception, Busy)


def test_nobody_there_and_no_such_folder_are_typed_errors() -> None:
    for model in ("http://127.0.0.1:1", "no/such/folder"):
        result = CliRunner().invoke(command, [model, "-m", "hi"])
        assert isinstance(result.exception, PalaestraError), result.output
