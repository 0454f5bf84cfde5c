"""The inside of the pinned process: make items of the package, grade answers, one JSON line in, one out.

Started by `pinned.py`. What the package prints is thrown away; what it raises is told to the parent.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

from environments.reasoning_gym import grading, items
from gym_core.worker_main import die_with

METHODS: dict[str, Callable[..., Any]] = {
    "item": items.shown,
    "entry": items.entry,
    "strict": grading.strict,
    "published": grading.published,
    "names": items.names,
}


def main(parent_pid: int) -> None:
    """Serve questions until stdin closes."""
    die_with(parent_pid)
    questions, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    silence = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1):
        os.dup2(silence, descriptor)
    items.warm()
    grading.disarm()
    _say(answers, {"value": os.getpid()})
    for line in questions:
        method, args = json.loads(line)
        _say(answers, _answer(METHODS[method], args))


def _answer(method: Callable[..., Any], args: list[Any]) -> dict[str, Any]:
    try:
        return {"value": method(*args)}
    except Exception as error:  # the boundary to the package's code: the parent decides whose fault it is
        return {"raised": f"{type(error).__name__}: {str(error)[:200]}"}


def _say(answers: Any, message: dict[str, Any]) -> None:
    answers.write(json.dumps(message).encode() + b"\n")
    answers.flush()
