"""Whether what is hidden stays hidden: in prompts, public fields, tool schemas, error texts, manifest and OpenAPI.

Hidden values may well stand in a prompt (the operands of a sum do). What must not stand there is the answer, marked as
one, and what a tool is asked for. A coincidence is told from a leak by how many tasks show it.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Iterator

import msgspec

from gym_core.check.rule import Failed, rule
from gym_core.check.seen import SeenTask
from gym_core.check.subject import Subject
from gym_core.openapi import describe

_MARKERS = (
    "answer",
    "solution",
    "expected",
    "gold",
    "truth",
    "secret",
    "hidden",
    "correct",
    "oracle",
    "hint",
    "result",
)
_BOXED = re.compile(r"\\boxed\{(.*)\}", re.DOTALL)
_PLAIN = msgspec.json.encode(describe({"name": "", "version": ""}, {})).decode()


@rule(
    "leaks",
    "the answer and hidden fields are in no prompt, public field, tool schema, error text, manifest or OpenAPI",
    fix="return it from `make` under a key of its own (those are hidden), and keep it out of texts that travel",
)
async def leaks(subject: Subject) -> str:
    tasks = subject.tasks(per_level=subject.options.train)
    wheres: dict[str, Callable[[SeenTask], bool]] = {
        "the prompt says the answer": _marked,
        "the prompt has what the tools are asked for": _spares_the_tools,
        "a public field of the row is the answer": _public,
    }
    for what, shows in wheres.items():
        able = [task for task in tasks if task.reply]
        hits = [task for task in able if shows(task)]
        if hits and len(hits) * 2 > len(able) and len({task.reply for task in hits}) > min(1, len(able) - 1):
            raise Failed(f"{what}, in {len(hits)} of {len(able)} tasks: {hits[0].reply[:60]!r}")
    await _static(subject, tasks)
    texts = await _error_texts(subject)
    return f"{len(tasks)} tasks, {texts} error texts, manifest and OpenAPI"


def answers(task: SeenTask) -> list[str]:
    """The oracle's words, and what stands in their box."""
    reply = task.reply.strip()
    boxed = _BOXED.search(reply)
    return [reply, boxed[1].strip()] if boxed else [reply]


def _marked(task: SeenTask) -> bool:
    """`answer: 12` and the like."""
    names = {path.rpartition(".")[2] for path, text in task.secrets.items() if text in answers(task)}
    words = "|".join(map(re.escape, (*_MARKERS, *(name for name in names if name.isidentifier()))))
    return any(
        answer
        and len(answer) < 200
        and re.search(rf"(?i)\b({words})\b[^\n]{{0,16}}?(?<!\w){re.escape(answer)}(?!\w)", task.prompt)
        for answer in answers(task)
    )


def _spares_the_tools(task: SeenTask) -> bool:
    """The last words are in the prompt although calls are needed to know them."""
    return bool(task.calls) and any(len(answer) > 1 and _has(task.prompt, answer) for answer in answers(task))


def _public(task: SeenTask) -> bool:
    kept = {"responses_create_params", "task_ref", "task_id", "environment", "environment_version"}
    given = {key: value for key, value in task.row.items() if key not in kept}
    return task.level >= 0 and any(text in answers(task) for text in _leaves(given))


async def _static(subject: Subject, tasks: list[SeenTask]) -> None:
    """What does not depend on the task must not have any task's answer either."""
    client = subject.wire.client
    said = {path: (await client.get(path)).text for path in ("/manifest", "/openapi.json")}
    names = {tool["name"] for tool in subject.seen.tools}
    for answer in {answer for task in tasks for answer in answers(task)}:
        if len(answer) < 5 or answer in names or _has(_PLAIN, answer):
            continue
        for path, text in said.items():
            if _has(text, answer):
                raise Failed(f"{path} has the answer {answer[:60]!r}")


async def _error_texts(subject: Subject) -> int:
    """What the service says when it refuses; how many texts were read."""
    asked = subject.tasks(per_level=1)
    count, hits = 0, []
    for task in asked:
        texts = [text async for text in _refusals(subject, task)]
        count += len(texts)
        public = task.prompt + msgspec.json.encode(task.row).decode()
        for path, secret in task.secrets.items():
            if _telling(secret) and not _has(public, secret) and any(_has(text, secret) for text in texts):
                hits.append((path, next(text for text in texts if _has(text, secret))))
                break
    if hits and len(hits) * 2 >= len(asked):
        path, text = hits[0]
        raise Failed(
            f"an error text tells the hidden `{path}`: {text[:100]!r}",
            "a ToolFault says what was wrong with the call, nothing of hidden fields",
        )
    return count


async def _refusals(subject: Subject, task: SeenTask) -> AsyncIterator[str]:
    """The texts of errors: of the service's routes, and of tools that are asked for nonsense."""
    client = subject.wire.client
    for path, body in (("/no_such_tool", {}), ("/verify", {"response": 3}), ("/ingest", {"rows": [{"x": 1}]})):
        yield (await client.post(path, body, check=False)).text
    if not subject.wire.keeps_sessions:
        return
    session = await subject.wire.seed(task.row)
    for tool in subject.seen.tools:
        names = tool["parameters"].get("properties", {})
        for value in ("qqqq", "", -7, 10**6):
            reply = await subject.wire.call(session, tool["name"], msgspec.json.encode(dict.fromkeys(names, value)))
            if reply.kind != "ok":
                yield reply.text
    await subject.wire.close(session)


def _telling(text: str) -> bool:
    """Whether a value is so particular that meeting it is no chance."""
    return len(text) >= (3 if text.isdigit() else 4) and text.strip() == text


def _has(text: str, part: str) -> bool:
    return part in text and bool(re.search(rf"(?<!\w){re.escape(part)}(?!\w)", text))


def _leaves(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for item in value.values():
            yield from _leaves(item)
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(item)
    elif value is not None:
        yield str(value)
