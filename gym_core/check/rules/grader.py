"""The grader under attack: whatever a policy writes there is a verdict, soon, within the range, and always the same."""

from __future__ import annotations

from typing import Any

from gym_core.check.answers import hostile_items, hostile_texts
from gym_core.check.rule import Failed, rule
from gym_core.check.seen import SeenTask
from gym_core.check.subject import Subject, spread
from gym_core.check.wire import Played
from gym_core.environment import Script
from gym_core.errors import PalaestraError
from gym_core.reply import text_output
from gym_core.seeds import rng


@rule(
    "grader_fuzz",
    "no reply makes the grader raise, hang, or leave the reward range",
    fix="bound length and depth before parsing, pay 0.0 for what parsers refuse; `worker = True` for what may hang",
)
async def grader_fuzz(subject: Subject) -> str:
    wrong: list[str] = []
    slowest = (0.0, "")
    asked = spread(subject.tasks(per_level=1), subject.options.fuzz_tasks)
    inputs: list[tuple[str, list[Any]]] = [(what, text_output(text)) for what, text in hostile_texts(rng("fuzz"))]
    inputs += hostile_items()
    for what, items in inputs:
        for task in asked:
            try:
                played = await subject.play(task, Script(), items)
                if played.verify_s > subject.options.answer_s:  # perhaps it was the machine: what is slow is slow twice
                    again = await subject.play(task, Script(), items)
                    played = min(played, again, key=lambda one: one.verify_s)
            except (PalaestraError, Failed) as error:
                wrong.append(f"{what}: {error}")
                break
            slowest = max(slowest, (played.verify_s, what))
        if len(wrong) >= 3:
            break
    if slowest[0] > subject.options.answer_s:
        wrong.append(f"{slowest[1]} took {slowest[0]:.1f} s")
    if wrong:
        raise Failed("; ".join(wrong))
    return f"{len(inputs)} replies on {len(asked)} tasks, the slowest {slowest[0] * 1000:.0f} ms ({slowest[1]})"


@rule(
    "stable_verdict",
    "the same answer has the same verdict again, after other answers and in the same session",
    fix="`verify` must not change `self`, the task or what it reads of the session, and must not draw lots",
)
async def stable_verdict(subject: Subject) -> str:
    asked = spread(subject.tasks(per_level=1), max(2, subject.options.fuzz_tasks))
    for task in asked:
        answers: list[str | Script] = [task.script, "no", "", "12", task.script]
        first = [(await subject.play(task, answer)).told() for answer in answers]
        again = [(await subject.play(task, answer)).told() for answer in reversed(answers)][::-1]
        if first != again or first[0] != first[-1]:
            number = next((n for n, (one, other) in enumerate(zip(first, again, strict=True)) if one != other), 0)
            raise Failed(f"{str(answers[number])[:60]!r} is judged {first[number][1:]} and then {again[number][1:]}")
        if not subject.wire.judges_groups:
            await _twice(subject, task)
    return f"{len(asked)} tasks, 10 answers each"


async def _twice(subject: Subject, task: SeenTask) -> None:
    """The same output verified twice in one session."""
    wire = subject.wire
    session = await wire.seed(task.row) if wire.keeps_sessions else ""
    output = text_output(task.reply)
    for call in await wire.calls(session, task.script):
        output = [*_call_items(call.name, call.arguments, call.text), *output]
    told = [Played((await wire.verify(task.row, session, output))[0]).told() for _ in range(2)]
    if session:
        await wire.close(session)
    if told[0] != told[1]:
        raise Failed(f"verified twice in one session: {told[0][1]:g}, then {told[1][1]:g}")


def _call_items(name: str, arguments: str, text: str) -> list[dict[str, Any]]:
    return [
        {"type": "function_call", "call_id": name, "name": name, "arguments": arguments},
        {"type": "function_call_output", "call_id": name, "output": text},
    ]
