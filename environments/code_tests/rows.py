"""Rows from outside: code_gen's (LiveCodeBench form) and competition tasks whose tests travel in the row.

`verifier_metadata.unit_tests` is `{inputs, outputs, fn_name}`, or `{packed, fn_name}` with base64 of zlib of its JSON.
We read besides: `verifier_metadata.language` (`python`, `cpp`), `time_limit_s`, `memory_limit_mb`, and `checker`, the
Python source of a function `check(input, output, expected)` for tasks with several right answers.
"""

from __future__ import annotations

import base64
import binascii
import json
import zlib
from dataclasses import replace
from typing import Any

from environments.code_tests.problem import MAX_TESTS, ROW_LIMITS, Case, Problem
from gym_core.contracts import Task
from gym_core.errors import BadRow

LANGUAGES = {"python": "python", "python3": "python", "py": "python", "cpp": "cpp", "c++": "cpp", "c++17": "cpp"}
MAX_UNPACKED = 512 << 20
_PLACEHOLDER = "_hf_placeholder"
_META = "verifier_metadata"
_TESTS = f"{_META}.unit_tests"


def ingest(task: Task) -> Task:
    """Drop null padding, refuse what can never be graded. Raises `BadRow` with the field's path."""
    if task.get(_PLACEHOLDER) is not None:
        raise BadRow(
            "this row is a placeholder: its problem and tests still lie in another dataset",
            field=_PLACEHOLDER,
            hint="resolve the blend's placeholders before sending its rows",
        )
    task.fields = {name: value for name, value in task.fields.items() if value is not None}
    problem_of_row(task)
    return task


def problem_of_row(task: Task, *, whole: bool = False) -> Problem:
    """The problem that a row states: its first `MAX_TESTS` tests, or the `whole` of them. Raises `BadRow`."""
    meta = task.get(_META)
    if not isinstance(meta, dict):
        raise BadRow(
            f"`{_META}` must be an object with `unit_tests`",
            field=_META,
            hint="rows whose tests lie on a server must bring them along",
        )
    tests = _unpacked(meta.get("unit_tests"))
    inputs, outputs = (_texts(tests, name) for name in ("inputs", "outputs"))
    if len(inputs) != len(outputs):
        raise BadRow(f"{len(inputs)} inputs and {len(outputs)} outputs", field=_TESTS)
    if not inputs:
        raise BadRow("a task without tests would reward any program", field=f"{_TESTS}.inputs")
    if not any(output.strip() for output in outputs):
        raise BadRow("no test expects any output: an empty program would pass", field=f"{_TESTS}.outputs")
    fn_name = tests.get("fn_name", None) or None
    if fn_name is not None:
        _check_calls(fn_name, inputs, outputs)
    count = len(inputs) if whole else MAX_TESTS
    return Problem(
        cases=[Case(*pair) for pair in zip(inputs[:count], outputs[:count], strict=True)],
        limits=_limits(meta),
        language=_language(task, meta, fn_name),
        fn_name=fn_name,
        checker=_checker(meta),
    )


def _unpacked(tests: Any) -> dict[str, Any]:
    if not isinstance(tests, dict):
        raise BadRow(f"`{_TESTS}` must be an object with `inputs` and `outputs`", field=_TESTS)
    packed = tests.get("packed")
    if packed is None:
        return tests
    try:
        inflate = zlib.decompressobj()
        data = inflate.decompress(base64.b64decode(packed, validate=True), MAX_UNPACKED)
        if inflate.unconsumed_tail:
            raise ValueError(f"more than {MAX_UNPACKED >> 20} MB")
        opened = json.loads(data)
        return {"inputs": opened["inputs"], "outputs": opened["outputs"], "fn_name": tests.get("fn_name")}
    except (binascii.Error, zlib.error, ValueError, TypeError, KeyError, RecursionError) as error:
        raise BadRow(f"`{_TESTS}.packed` cannot be unpacked: {error!r}", field=f"{_TESTS}.packed") from None


def _texts(tests: dict[str, Any], name: str) -> list[str]:
    values = tests.get(name)
    if not isinstance(values, list):
        raise BadRow(f"`{_TESTS}.{name}` must be a list of texts", field=f"{_TESTS}.{name}")
    for number, value in enumerate(values):
        if not isinstance(value, str):
            kind = type(value).__name__
            raise BadRow(f"a test must be text, not {kind}", field=f"{_TESTS}.{name}[{number}]")
    return values


def _check_calls(fn_name: Any, inputs: list[str], outputs: list[str]) -> None:
    if not isinstance(fn_name, str) or not fn_name.isidentifier() or fn_name.startswith("__"):
        raise BadRow(f"`fn_name` must be the name of a function, not {fn_name!r}", field=f"{_TESTS}.fn_name")
    for name, texts in (("inputs", [line for text in inputs for line in text.split("\n")]), ("outputs", outputs)):
        for number, text in enumerate(texts):
            try:
                json.loads(text)
            except (ValueError, RecursionError):
                where = f"{_TESTS}.{name}"
                raise BadRow(f"in call mode every line is JSON; number {number} is not", field=where) from None


def _language(task: Task, meta: dict[str, Any], fn_name: str | None) -> str:
    named = meta.get("language") or task.get("language") or ("cpp" if task.get("competition_id") else "python")
    language = LANGUAGES.get(str(named).lower())
    if language is None:
        raise BadRow(f"no language {named!r} here: {', '.join(LANGUAGES)}", field=f"{_META}.language")
    if language != "python" and fn_name is not None:
        raise BadRow("calls are for Python only", field=f"{_TESTS}.fn_name")
    return language


def _limits(meta: dict[str, Any]) -> Any:
    given = {"time_limit_s": (0.1, 60.0), "memory_limit_mb": (64, 16384)}
    for name, (low, high) in given.items():
        value = meta.get(name)
        if value is not None and (
            isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high
        ):
            raise BadRow(f"`{name}` is a number from {low} to {high}, not {value!r}", field=f"{_META}.{name}")
    cpu_s = float(meta.get("time_limit_s") or ROW_LIMITS.cpu_s)
    return replace(ROW_LIMITS, cpu_s=cpu_s, memory_mb=int(meta.get("memory_limit_mb") or ROW_LIMITS.memory_mb))


def _checker(meta: dict[str, Any]) -> str | None:
    checker = meta.get("checker")
    if checker is None:
        return None
    if not isinstance(checker, str):
        raise BadRow("`checker` must be Python source", field=f"{_META}.checker")
    try:
        compile(checker, "checker", "exec")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise BadRow(f"`checker` is not a Python program: {error}", field=f"{_META}.checker") from None
    if "def check(" not in checker:
        raise BadRow("`checker` must define `check(input, output, expected)`", field=f"{_META}.checker")
    return checker
