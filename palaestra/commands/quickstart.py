"""`palaestra quickstart`: a first scored rollout on the screen, without a key, a GPU or a model."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from palaestra.options import json_option, print_json

if TYPE_CHECKING:
    from aiohttp import web
    from rich.console import Console

    from gym_core.contracts import Rollout
    from palaestra.quickstart import Plan, Quickstart

SHOWN_CHARS = 600
_COLOURS = {
    "system": "dim",
    "user": "cyan",
    "assistant": "blue",
    "think": "dim italic",
    "call": "magenta",
    "tool": "yellow",
}
_NAMES = {"assistant": "policy", "think": "thinks"}


@click.command("quickstart")
@click.option("--env", "names", multiple=True, metavar="NAME", help="an environment to play; repeat for more")
@click.option("--rollouts", default=4, show_default=True, type=click.IntRange(1, 64))
@click.option("--level", default=0, show_default=True, type=click.IntRange(0), help="difficulty of the tasks")
@click.option("--seed", default=0, show_default=True)
@click.option("--model", type=click.Path(exists=True, path_type=Path), help="a checkpoint or run plays, not the script")
@click.option("--policy", "upstream", default="", metavar="URL", help="an OpenAI-compatible endpoint plays")
@click.option("--policy-model", default="", help="the endpoint's name of the model")
@click.option("--runs-dir", default="runs", show_default=True, type=click.Path(path_type=Path))
@click.option("--dashboard", is_flag=True, help="show them in a browser afterwards, until Ctrl-C")
@json_option
def command(dashboard: bool, as_json: bool, **asked: Any) -> None:
    """Start environments, an agent server and a policy; play a few rollouts; show what was said and scored."""
    from rich.console import Console

    os.environ.setdefault("PALAESTRA_LOG_LEVEL", "ERROR")
    console = Console(stderr=as_json, highlight=False)
    quickstart, rows = asyncio.run(_run(console, dashboard, **asked))
    if as_json:
        print_json(
            {
                "run_id": quickstart.run_id,
                "store": str(quickstart.store),
                "ready_s": round(quickstart.ready_s, 3),
                "first_rollout_s": round(quickstart.first_s, 3),
                "rollouts": rows,
            }
        )
    if len(quickstart.rewards) < len(rows):
        raise SystemExit(3)


async def _run(
    console: Console,
    dashboard: bool,
    *,
    names: tuple[str, ...],
    rollouts: int,
    level: int,
    seed: int,
    model: Path | None,
    upstream: str,
    policy_model: str,
    runs_dir: Path,
) -> tuple[Quickstart, list[dict[str, Any]]]:
    from palaestra import quickstart as quick

    if model is not None and upstream:
        raise click.UsageError("give either --model or --policy")
    scripted = model is None and not upstream
    plans = await quick.plan(names or quick.ENVIRONMENTS, rollouts, seed, level, scripted)
    policy = None if scripted else _policy(model, upstream, policy_model)
    quickstart = quick.begin(runs_dir)
    who = "a scripted policy" if scripted else f"the policy {model or upstream}"
    await quick.record(quickstart, "scripted" if scripted else "model")
    console.print(
        f"[bold]Palaestra quickstart[/]: environments, an agent server and {who}, here on loopback.", soft_wrap=True
    )
    rows: list[dict[str, Any]] = []
    try:
        async with quick.House(quickstart, plans, policy) as house:
            where = "  ".join(f"{name} {url}" for name, url in quickstart.urls.items())
            console.print(f"ready in {quickstart.ready_s:.1f} s   [dim]{where}[/]", soft_wrap=True)
            async for one, rollout in house.play():
                rows.append(_row(rollout))
                _show(console, one, rollout, f"{len(rows)} of {len(plans)}")
    finally:
        await quick.close(quickstart, ok=len(quickstart.rewards) == len(plans))
    _farewell(console, quickstart, len(plans), scripted)
    if dashboard:
        await _watch(console, quickstart)
    return quickstart, rows


def _policy(model: Path | None, upstream: str, policy_model: str) -> web.Application:
    """Raises `BadRequest` where the light core alone is installed."""
    from gym_core.errors import BadRequest

    try:
        from palaestra.policies import policy_config, served_app

        return served_app(policy_config(model, upstream, policy_model))
    except ImportError as error:
        raise BadRequest(
            f"a model needs more than the light core: {error.name} is missing",
            field="model",
            hint="pip install 'palaestra[train]', or leave --model and --policy out",
        ) from None


def _row(rollout: Rollout) -> dict[str, Any]:
    return {
        "rollout_id": rollout.rollout_id,
        "environment": rollout.environment,
        "outcome": rollout.outcome.value,
        "reward": rollout.reward,
        "components": {} if rollout.verdict is None else rollout.verdict.components,
        "error": None if rollout.error is None else rollout.error.message,
    }


def _show(console: Console, one: Plan, rollout: Rollout, which: str) -> None:
    from rich.markup import escape
    from rich.rule import Rule

    from palaestra.dashboard.conversation import parts_of

    level = "" if one.task.ref is None else f", level {one.task.ref.level}"
    about = f"   [dim]{one.about}[/]" if one.about else ""
    console.print()
    console.print(Rule(f"{which} · [bold]{escape(rollout.environment)}[/]{level}{about}", align="left", style="dim"))
    for part in parts_of(rollout.output, one.task.to_row()):
        words = f"{part.title} {part.text}" if part.kind == "call" else part.text
        _say(console, _NAMES.get(part.kind, part.kind), words, _COLOURS.get(part.kind, "white"))
    if rollout.verdict is None:
        reason = "" if rollout.error is None else str(rollout.error)
        _say(console, "outcome", f"{rollout.outcome.value}: {reason}", "red")
        return
    reward = rollout.verdict.reward
    colour = "green" if reward >= 1 else "red" if reward <= 0 else "yellow"
    parts = "   ".join(f"{name} {value:g}" for name, value in rollout.verdict.components.items())
    took = rollout.timings_ms.get("total", 0.0)
    _say(console, "verdict", f"reward {reward:g}   {parts}   ({took:.0f} ms)", f"bold {colour}")


def _say(console: Console, who: str, text: str, style: str) -> None:
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    cut = text if len(text) <= SHOWN_CHARS else f"{text[:SHOWN_CHARS]}… ({len(text)} characters)"
    printable = "".join(sign if sign.isprintable() or sign == "\n" else f"\\u{ord(sign):04x}" for sign in cut)
    line = Table.grid(padding=(0, 1))
    line.add_column(width=8)
    line.add_column(overflow="fold")
    line.add_row(Text(who, style=style), Text(printable or "(nothing)"))
    console.print(Padding(line, (0, 0, 0, 1)))


def _farewell(console: Console, quickstart: Quickstart, count: int, scripted: bool) -> None:
    rewards = quickstart.rewards
    console.print()
    mean = f", mean reward {sum(rewards) / len(rewards):.2f}" if rewards else ""
    console.print(
        f"[bold]{len(rewards)} of {count} rollouts scored[/]{mean};"
        f" the first {quickstart.first_s:.1f} s after the command began. Kept in {quickstart.store}",
        soft_wrap=True,
    )
    needs = "needs pip install 'palaestra\\[train]'"
    nxt = [
        (f"palaestra dashboard {quickstart.folder}", "look at them in a browser"),
        ("palaestra env list", "what else there is to play"),
        ("palaestra env new lookup", "write an environment: twenty lines"),
        (
            "palaestra run --env math --tasks 16 --output out.jsonl --policy URL",
            f"score any OpenAI-compatible model; {needs}",
        ),
        ("palaestra train --recipe demo", f"a policy that learns; {needs}"),
    ]
    if scripted:
        console.print("[dim]A script played; the verdicts are real.[/]")
    console.print("\nWhat to do next")
    for line, why in nxt:
        console.print(f"  [bold]{line}[/]\n      [dim]{why}[/]", soft_wrap=True)


async def _watch(console: Console, quickstart: Quickstart) -> None:
    """Serve the dashboard until Ctrl-C."""
    import signal

    from gym_core import auth
    from gym_core.serve import start
    from palaestra.dashboard.app import build_app
    from palaestra.dashboard.library import Library

    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    token = auth.secret()
    async with await start(build_app(Library([quickstart.folder]), token=token), token=token) as served:
        console.print(f"\n[bold]{served.url}/dashboard/[/]  (Ctrl-C ends it)", soft_wrap=True)
        await stop.wait()
