"""Sessions: apart from each other, gone when idle, and alive after whatever a policy calls."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import msgspec

from gym_core.check.answers import draw_value, guess
from gym_core.check.rule import Failed, Skipped, rule
from gym_core.check.seen import SeenTask
from gym_core.check.subject import Subject, spread
from gym_core.check.wire import Played, ToolReply, Wire
from gym_core.environment import Script
from gym_core.errors import BadSession, DeadlineExceeded, PalaestraError
from gym_core.play import call_items
from gym_core.reply import text_output
from gym_core.seeds import rng

DAY_S = 86_400.0
_CLOSING = re.compile(r"closing a session of \S+ failed")


@rule(
    "isolation",
    "rollouts side by side are what they are one after another",
    fix="what belongs to one rollout lies in its `session` (`setup` returns `session.state`), never on `self`",
)
async def isolation(subject: Subject) -> str:
    if subject.wire.judges_groups:
        raise Skipped("groups are asked by `group_order`")
    tasks = spread(subject.tasks(), subject.options.sessions)
    pairs = [(task, script) for task in tasks for script in _scripts(task)]
    serial = [(await subject.play(task, script)).told() for task, script in pairs]
    if subject.wire.keeps_sessions:
        together = await _interleaved(subject.wire, pairs)
    else:
        together = await asyncio.gather(*(subject.play(task, script) for task, script in pairs))
    for (task, script), alone, among in zip(pairs, serial, together, strict=True):
        if alone != among.told():
            raise Failed(
                f"{script.reply[:40]!r} on level {task.level}: {_shown(alone)} alone,"
                f" {_shown(among.told())} among others"
            )
    return f"{len(pairs)} rollouts"


def _scripts(task: SeenTask) -> list[Script]:
    """The oracle twice around a policy that does anything else."""
    tools = task.row["responses_create_params"].get("tools") or []
    return [task.script, guess(rng("isolation", task.row["task_id"]), task.prompt, tools), Script(), task.script]


async def _interleaved(wire: Wire, pairs: list[tuple[SeenTask, Script]]) -> list[Played]:
    """All sessions open at once: the first calls of all, the second calls of all, then the verdicts, last to first."""
    sessions = [await wire.seed(task.row) for task, _ in pairs]
    tools: list[list[ToolReply]] = [[] for _ in pairs]
    for turn in range(max(len(script.calls) for _, script in pairs)):
        for session, told, (_, script) in zip(sessions, tools, pairs, strict=True):
            if turn < len(script.calls):
                call = script.calls[turn]
                told.append(await wire.call(session, call.name, msgspec.json.encode(call.arguments)))
    played = []
    for session, told, (task, script) in reversed(list(zip(sessions, tools, pairs, strict=True))):
        output = _output(told, script.reply)
        verdict, seconds = await wire.verify(task.row, session, output)
        played.append(Played(verdict, told, output, seconds))
    for session in sessions:
        await wire.close(session)
    return played[::-1]


def _output(tools: list[ToolReply], reply: str) -> list[dict[str, Any]]:
    items = []
    for number, tool in enumerate(tools):
        items += call_items(f"call_{number}", tool.name, tool.arguments, tool.text)
    return [*items, *text_output(reply)]


def _shown(told: tuple[Any, ...]) -> str:
    last = f", last tool said {told[0][-1][1][:40]!r}" if told[0] else ""
    return f"reward {told[1]:g}{last}"


@rule(
    "reaping",
    "an idle session ends, is refused afterwards, and leaves nothing behind",
    fix="`close(session)` must release what `setup` and the tools took (threads, files, processes) and not raise",
)
async def reaping(subject: Subject) -> str:
    if not subject.wire.keeps_sessions:
        raise Skipped("it keeps no sessions")
    if not 1.0 <= subject.seen.session_ttl_s <= DAY_S:
        raise Failed(f"session_ttl_s is {subject.seen.session_ttl_s:g}", "an idle session lives for 1 s to a day")
    tasks = subject.tasks(per_level=1)
    await _reaped(subject, tasks[:1] * 2)  # what is made once and kept is no leak
    before = subject.service.holdings()
    sessions = await _reaped(subject, (tasks * 8)[:8])
    after = subject.service.holdings()
    for what, count in after.items():
        if count - before[what] >= 6:
            raise Failed(f"8 sessions left {count - before[what]} {what} behind")
    for session in sessions:
        try:
            await subject.wire.verify(tasks[0].row, session, text_output("x"))
        except BadSession:
            continue
        raise Failed("a session that has ended is still judged")
    if found := _CLOSING.search(subject.service.log()):
        raise Failed(f"`close` raised: {found[0]}")
    return f"{len(sessions)} sessions"


async def _reaped(subject: Subject, tasks: list[SeenTask]) -> list[str]:
    """Sessions that were used and then left."""
    sessions = []
    for task in tasks:
        session = await subject.wire.seed(task.row)
        await subject.wire.calls(session, Script(task.script.calls[:2]))
        sessions.append(session)
    try:
        said: dict[str, int] = await subject.wire.client.post_json("/_check/reap")
    except DeadlineExceeded:
        await subject.restart()
        raise Failed(f"`close` did not end within {subject.wire.client.timeout_s:g} s") from None
    if said["open"] or said["swept"] < len(sessions):
        raise Failed(f"{said['open']} of {len(sessions)} idle sessions are still open")
    return sessions


@rule(
    "tool_faults",
    "calls that are wrong leave the session alive, and the right ones still earn the maximum",
    fix="raise ToolFault before anything is changed; what a policy may write must never break the session's state",
)
async def tool_faults(subject: Subject) -> str:
    if not subject.seen.tools:
        raise Skipped("it has no tools")
    if subject.wire.judges_groups:
        raise Skipped("groups are asked by `group_order`")
    broken: dict[str, str] = {}
    count = 0
    for task in subject.tasks(per_level=1):
        count += await _malformed(subject, task)
        count += await _odd(subject, task, broken)
    told = "; ".join(
        f"note: {name} broke on {arguments[:60]}, a ToolFault would tell why" for name, arguments in broken.items()
    )
    return f"{count} wrong calls" + (f"; {told}" if told else "")


async def _malformed(subject: Subject, task: SeenTask) -> int:
    """Arguments that do not fit the schema; then the oracle's script in the same session."""
    wire = subject.wire
    session = await wire.seed(task.row)
    count = 0
    for tool in _declared(task):
        names = tool["parameters"].get("properties", {})
        bodies = [
            b"{",
            b"null",
            b"[1]",
            b'{"no_such_argument": 1}',
            b"\xff",
            msgspec.json.encode({name: [[]] for name in names}),
        ]
        for body in bodies:
            reply = await wire.call(session, tool["name"], body)
            count += 1
            if reply.kind == "exception":
                raise Failed(f"{tool['name']} breaks on {reply.arguments[:60]}")
    for name in ("no_such_tool", "verify"):
        await wire.call(session, name, b"{}")
    tools = await wire.calls(session, task.script)
    verdict, _ = await wire.verify(task.row, session, _output(tools, task.reply))
    await wire.close(session)
    if task.reply + str(task.calls) and not task.oracle_error and verdict.reward != subject.high:
        raise Failed(f"after refused calls the oracle's script earns {verdict.reward:g} on level {task.level}")
    return count


async def _odd(subject: Subject, task: SeenTask, broken: dict[str, str]) -> int:
    """Arguments that fit and make no sense; the session must still be judged and closed."""
    wire = subject.wire
    session = await wire.seed(task.row)
    draw = rng("odd", task.row["task_id"])
    count = 0
    for tool in _declared(task):
        schema = tool["parameters"]
        for extreme in ("", "z" * 10_000, "\x00\u202e💥", None):
            given = draw_value(draw, schema, schema)
            odd = {
                key: extreme if isinstance(value, str) and extreme is not None else value
                for key, value in given.items()
            }
            reply = await wire.call(session, tool["name"], msgspec.json.encode(odd))
            count += 1
            if reply.kind == "exception":
                broken.setdefault(tool["name"], reply.arguments)
    try:
        await wire.verify(task.row, session, text_output("x"))
        await wire.close(session)
    except PalaestraError as error:
        raise Failed(f"after odd calls the session is broken: {error}") from None
    return count


def _declared(task: SeenTask) -> list[dict[str, Any]]:
    return list(task.row["responses_create_params"].get("tools") or [])
