"""A policy without a model plays sample rollouts of a served environment, and the terminal shows what was said."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from gym_core import auth
from gym_core.check.answers import guess
from gym_core.check.wire import Played, Wire
from gym_core.client import Client
from gym_core.contracts import Task
from gym_core.dialogue import exchange_items
from gym_core.environment import Environment, Script
from gym_core.errors import PalaestraError
from gym_core.generate import make_tasks
from gym_core.host import settle
from gym_core.reply import message_text
from gym_core.seeds import rng
from gym_core.tools import USER_TURN

POLICIES = ("oracle", "idle", "random")
WIDTH = 400
"""Characters of one text that are shown."""

Say = Callable[[str], Any]


async def show(environment: Environment, url: str, policy: str, rollouts: int, say: Say = click.echo) -> None:
    """Play `rollouts` tasks, spread over the levels, against the service at `url`. What fails is shown, not raised."""
    if not environment.overrides("make"):
        say("it generates no tasks; send it rows: POST /ingest, /verify")
        return
    levels = list(environment.levels)
    picked = [levels[number * (len(levels) - 1) // max(1, rollouts - 1)] for number in range(rollouts)]
    async with Client(url, token=auth.own_token(), timeout_s=30.0, retries=0) as client:
        wire = Wire(
            client, keeps_sessions=environment.keeps_sessions(), judges_groups=environment.overrides("verify_group")
        )
        for number, level in enumerate(picked):
            try:
                (task,) = make_tasks(environment, seed=number, level=level, count=1)
                await _rollout(wire, environment, task, policy, say)
            except PalaestraError as error:
                say(click.style(f"  failed  {error}", fg="red"))
            except Exception as error:  # the author's `make` or `oracle`
                say(click.style(f"  failed  {type(error).__name__}: {error}", fg="red"))


async def script_of(environment: Environment, task: Task, policy: str) -> Script:
    """What this policy does with the task. Raises whatever the author's `oracle` raises."""
    if policy == "idle":
        return Script()
    if policy == "random":
        prompt = " ".join(str(item.get("content", "")) for item in task.messages)
        return guess(rng("show", task.task_id), prompt, task.tools)
    script = await settle(environment.oracle(task))
    return Script(reply=script) if isinstance(script, str) else script


async def _rollout(wire: Wire, environment: Environment, task: Task, policy: str, say: Say) -> None:
    script = await script_of(environment, task, policy)
    level = task.ref.level if task.ref else "–"
    say(click.style(f"── {environment.name} · level {level} · {policy} " + "─" * 20, bold=True))
    for item in task.messages:
        say(_line(str(item.get("role", "")), str(item.get("content", "")), "cyan"))
    played = await wire.play(task.to_row(), script)
    _conversation(played, script.reply, say)
    low, high = environment.reward_range
    colour = "green" if played.reward == high else "red" if played.reward == low else "yellow"
    parts = "  ".join(f"{name} {value:g}" for name, value in played.verdict.components.items())
    took = f"  ({played.verify_s * 1000:.1f} ms)" if played.verify_s else "  (beside a silent one)"
    say(_line("reward", f"{played.reward:g}{took}  {parts}".rstrip(), colour))


def _conversation(played: Played, reply: str, say: Say) -> None:
    for tool in played.tools:
        if tool.name == USER_TURN:
            for item in exchange_items(tool.arguments, tool.text):
                said = "user" if item["role"] == "user" else "reply"
                say(_line(said, message_text(item), "cyan" if said == "user" else "blue"))
            continue
        say(_line("call", f"{tool.name} {tool.arguments}", "magenta"))
        say(_line("tool" if tool.kind == "ok" else tool.kind, tool.text, "white" if tool.kind == "ok" else "yellow"))
    say(_line("reply", reply or "(nothing)", "blue"))


def _line(who: str, text: str, colour: str) -> str:
    shown = text if len(text) <= WIDTH else f"{text[:WIDTH]}… ({len(text)} characters)"
    lines = shown.splitlines() or [""]
    head = click.style(f"  {who:<9}", fg=colour)
    return head + f"\n{'':11}".join(line.encode("utf-8", "backslashreplace").decode() for line in lines)
