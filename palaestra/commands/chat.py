"""`palaestra chat`: talk to a policy in the terminal."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import click


@click.command("chat")
@click.argument("model", type=click.Path(exists=True, path_type=Path))
@click.option("--temperature", default=0.0, show_default=True, help="0 is greedy")
@click.option("--max-tokens", default=64, show_default=True)
@click.option("--thinking/--no-thinking", default=False, show_default=True, help="let the policy think first")
@click.option("--keep/--forget", default=False, show_default=True, help="keep the conversation between lines")
@click.option("-m", "--message", "messages", multiple=True, help="say this and end; may be repeated")
def command(
    model: Path, temperature: float, max_tokens: int, thinking: bool, keep: bool, messages: tuple[str, ...]
) -> None:
    """Talk to the policy of a checkpoint or a run. An empty line or Ctrl-D ends."""
    asyncio.run(_chat(model, temperature, max_tokens, thinking, keep, messages))


async def _chat(
    model: Path, temperature: float, max_tokens: int, thinking: bool, keep: bool, messages: tuple[str, ...]
) -> None:
    from gym_core.serve import start
    from palaestra.house import connect
    from palaestra.policies import policy_config, served_app

    config = policy_config(model, num_slots=1)
    async with await start(served_app(config)) as served, connect(served.url) as client:
        history: list[dict[str, Any]] = []
        async for text in _lines(messages):
            history = [*(history if keep else []), {"role": "user", "content": text}]
            body = {
                "model": config.model_name,
                "input": history,
                "temperature": temperature,
                "max_output_tokens": max_tokens,
                "chat_template_kwargs": {"enable_thinking": thinking},
            }
            reply: Any = await client.post_json("/v1/responses", body)
            _show(reply["output"])
            history += reply["output"]


async def _lines(messages: tuple[str, ...]) -> Any:
    for text in messages:
        click.secho(f"you    {text}", dim=True)
        yield text
    while not messages:
        try:
            text = await asyncio.to_thread(input, "you    ")
        except EOFError:
            return
        if not text.strip():
            return
        yield text


def _show(output: list[dict[str, Any]]) -> None:
    """Thinking dimmed and apart, tool calls by name, the answer plain."""
    from gym_core.reply import message_text

    for item in output:
        if item["type"] == "reasoning":
            thought = "".join(part.get("text", "") for part in item.get("content") or item.get("summary") or [])
            click.secho(f"thinks {thought}", dim=True)
        elif item["type"] == "function_call":
            click.echo(f"calls  {item['name']}({item['arguments']})")
        elif item["type"] == "message":
            click.echo(f"policy {message_text(item)}")
