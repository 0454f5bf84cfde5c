"""`palaestra chat`: talk to a policy in the terminal, a checkpoint's or one that is served already.

line (read while no event loop runs, so that Ctrl-C ends it) ─▶ streamed reply (Ctrl-C ends the reply alone) ─▶ …
"""

from __future__ import annotations

import asyncio
import select
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import click
import msgspec

_LOOK_S = 0.2
"""How often it is looked whether Ctrl-C was pressed while a line is awaited."""

_CONTROLS = {code: "\ufffd" for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}
"""What a policy says must not move the cursor or change the terminal."""


@click.command("chat")
@click.argument("model", metavar="MODEL|URL")
@click.option("--temperature", default=0.0, show_default=True, help="0 is greedy")
@click.option("--max-tokens", default=64, show_default=True)
@click.option("--thinking/--no-thinking", default=False, show_default=True, help="let the policy think first")
@click.option("--keep/--forget", default=False, show_default=True, help="keep the conversation between lines")
@click.option("-m", "--message", "messages", multiple=True, help="say this and end; may be repeated")
def command(
    model: str, temperature: float, max_tokens: int, thinking: bool, keep: bool, messages: tuple[str, ...]
) -> None:
    """Talk to the policy of a checkpoint or a run, or to one served at URL.

    An empty line, Ctrl-D or Ctrl-C ends; Ctrl-C while the policy speaks ends what it says.
    """
    body = {
        "temperature": temperature,
        "max_tokens": max_tokens,
        "chat_template_kwargs": {"enable_thinking": thinking},
        "stream": True,
    }
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        try:
            url = runner.run(_address(model, stack))
            history: list[dict[str, Any]] = []
            for text in _lines(messages):
                history = [*(history if keep else []), {"role": "user", "content": text}]
                said = Reply()
                try:
                    runner.run(_hear(url, {**body, "messages": history}, said))
                except KeyboardInterrupt:
                    if messages:
                        raise
                history.append(said.end())
        finally:
            runner.run(stack.aclose())


async def _hear(url: str, body: dict[str, Any], said: Reply) -> None:
    """One reply, as it comes."""
    async for delta in deltas(url, body):
        said.show(delta)


async def _address(model: str, stack: AsyncExitStack) -> str:
    """Where the policy is served: the URL that was given, or a server of a checkpoint that ends with `stack`."""
    if model.startswith(("http://", "https://")):
        return model.rstrip("/").removesuffix("/v1")
    from gym_core.errors import BadRequest
    from gym_core.serve import start
    from palaestra.policies import policy_config, served_app

    if not Path(model).exists():
        raise BadRequest(
            f"there is no folder {model!r}", field="model", hint="a checkpoint, a run, or http://host:port"
        )
    served = await stack.enter_async_context(await start(served_app(policy_config(Path(model), num_slots=1))))
    return served.url


async def deltas(url: str, body: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
    """What each event of a streamed chat completion adds. Raises the server's typed error, or `Unavailable`."""
    import aiohttp

    from gym_core import auth
    from gym_core.errors import PolicyFault, Unavailable
    from gym_core.http_reply import error_of

    token = auth.secret()
    sent = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{url}/v1/chat/completions", json=body, headers=sent) as answer,
        ):
            if answer.status >= 300:
                raise error_of(answer.status, answer.headers, await answer.read(), str(answer.url))
            async for line in answer.content:
                event = line.decode().strip().removeprefix("data: ")
                if not event or event == "[DONE]":
                    continue
                said = msgspec.json.decode(event)
                if "error" in said:
                    raise PolicyFault(said["error"].get("message", "the policy failed"), stage="generate")
                for choice in said.get("choices", []):
                    yield choice["delta"]
    except aiohttp.ClientError as error:
        raise Unavailable(f"nobody answers at {url}: {error}", hint="is the policy server running?") from None


class Reply:
    """A reply as it is printed: the thinking dimmed and apart, tool calls by name, the answer plain."""

    def __init__(self) -> None:
        self._section = ""
        self.content = ""
        self.tool_calls: list[dict[str, Any]] = []

    def show(self, delta: dict[str, Any]) -> None:
        if thought := delta.get("reasoning_content"):
            self._write("thinks", thought, dim=True)
        if text := delta.get("content"):
            self.content += text
            self._write("policy", text)
        for call in delta.get("tool_calls") or []:
            self.tool_calls.append({name: value for name, value in call.items() if name != "index"})
            if self._section == "calls":
                click.echo()
                self._section = ""
            self._write("calls", f"{call['function']['name']}({call['function']['arguments']})")

    def end(self) -> dict[str, Any]:
        """The message, as history wants it."""
        if self._section:
            click.echo()
        calls = {"tool_calls": self.tool_calls} if self.tool_calls else {}
        return {"role": "assistant", "content": self.content, **calls}

    def _write(self, section: str, text: str, dim: bool = False) -> None:
        if section != self._section:
            before = "\n" if self._section else ""
            text = f"{before}{section:<6} {text}"
            self._section = section
        text = text.translate(_CONTROLS)
        click.echo(click.style(text, dim=True) if dim else text, nl=False)


def _lines(messages: tuple[str, ...]) -> Iterator[str]:
    for text in messages:
        click.secho(f"you    {text}", dim=True)
        yield text
    while not messages:
        try:
            text = _ask()
        except KeyboardInterrupt:
            text = ""
        if not text.strip():
            click.echo()
            return
        yield text.rstrip("\n").encode(errors="replace").decode()  # a terminal may hand over bytes that are no text


def _ask() -> str:
    """A line of the terminal; empty at its end."""
    click.echo("you    ", nl=False)
    if sys.stdin.isatty():
        while not select.select([sys.stdin], [], [], _LOOK_S)[0]:
            pass  # a Ctrl-C that came just before reading began is not noticed by a read
    return sys.stdin.readline()
