"""`palaestra chat` against a served policy: as it streams, the thought apart from the answer."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import select
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

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
        self.busy = self.goes_on = False
        self.events: list[dict[str, Any]] = EVENTS
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
        for delta in self.events:
            await answer.write(b"data: " + json.dumps({"choices": [{"delta": delta}]}).encode() + b"\n\n")
        if self.goes_on:
            await asyncio.Event().wait()
        await answer.write(b"data: [DONE]\n\n")
        return answer

    def _run(self) -> None:
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


def test_what_a_policy_says_does_not_steer_the_terminal(policy: Policy) -> None:
    policy.events = [{"content": "\x1b[2J a\tb\n\x07\u009b"}]
    result = CliRunner().invoke(command, [policy.url, "-m", "hi"])
    assert result.output == "you    hi\npolicy \ufffd[2J a\tb\n\ufffd\ufffd\n"


class Terminal:
    """`palaestra chat` in a pseudo-terminal: what it wrote, what is typed, and how it ended."""

    def __init__(self, *arguments: str) -> None:
        self.process, self.terminal = pty.fork()
        if self.process == 0:
            os.execv(sys.executable, [sys.executable, "-m", "palaestra", "chat", *arguments])
        self.told = ""

    def wait_for(self, text: str) -> None:
        """Read until this was written, beyond what was waited for before."""
        end = time.monotonic() + 60
        while text not in self.told:
            ready, _, _ = select.select([self.terminal], [], [], end - time.monotonic())
            assert ready, f"{text!r} did not come, but {self.told!r}"
            self.told += os.read(self.terminal, 65536).decode(errors="replace")
        self.told = self.told.partition(text)[2]

    def type(self, text: str) -> None:
        os.write(self.terminal, text.encode())

    def status(self) -> int:
        """Its exit code, once it has ended."""
        while True:
            try:
                if not os.read(self.terminal, 65536):
                    break
            except OSError:  # the other end of a terminal is gone
                break
        os.close(self.terminal)
        return os.waitstatus_to_exitcode(os.waitpid(self.process, 0)[1])


@pytest.mark.parametrize("key", ["\x03", "\x04", "\n"])
def test_ctrl_c_ctrl_d_and_an_empty_line_end_it(policy: Policy, key: str) -> None:
    terminal = Terminal(policy.url)
    terminal.wait_for("you    ")
    terminal.type("h\u00e9llo \u65e5\u672c\n")
    terminal.wait_for("It is 5.")
    terminal.wait_for("you    ")
    terminal.type(key)
    assert terminal.status() == 0
    assert policy.asked[0]["messages"] == [{"role": "user", "content": "h\u00e9llo \u65e5\u672c"}]


def test_ctrl_c_ends_a_reply_and_not_the_conversation(policy: Policy) -> None:
    policy.goes_on = True
    terminal = Terminal(policy.url, "--keep")
    terminal.wait_for("you    ")
    terminal.type("first\n")
    terminal.wait_for("add({})")
    terminal.type("\x03")
    terminal.wait_for("you    ")
    policy.goes_on = False
    terminal.type("second\n")
    terminal.wait_for("add({})")
    terminal.wait_for("you    ")
    terminal.type("\x04")
    assert terminal.status() == 0
    messages = policy.asked[1]["messages"]
    assert isinstance(messages, list)
    assert [message["content"] for message in messages] == ["first", "It is 5.", "second"]
