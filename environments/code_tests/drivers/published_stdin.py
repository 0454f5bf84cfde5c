"""Run a program as the public harness does (LiveCodeBench's `grade_stdio`): in a function, its input replaced.

What that harness gets wrong is kept: module-level `global`, iteration over `sys.stdin`, `sys.stdout.buffer` and
`from sys import stdin` do not work, an empty line ends `input()`.
"""

import ast
import builtins
import contextlib
import io
import os
import sys
import types
from typing import Any

_ABSENT_MODULES = ("ipdb", "joblib", "resource", "psutil", "tkinter")
_ABSENT_CALLS = (
    "kill system putenv remove removedirs rmdir fchdir setuid fork forkpty killpg rename renames truncate replace "
    "unlink fchmod fchown chmod chown chroot getcwd chdir"
)


class Buffer:
    def __init__(self, text: str) -> None:
        self.data = text.encode()

    def read(self, *ignored: object) -> bytes:
        return self.data

    def readline(self, *ignored: object) -> bytes:
        return self.data.split(b"\n")[0] + b"\n"


class Stdin:
    def __init__(self, text: str) -> None:
        self.text = text
        self.lines = iter(text.split("\n"))
        self.buffer = Buffer(text)
        self.rest = io.StringIO(text)

    def read(self, *ignored: object) -> str:
        return self.text

    def readline(self, *ignored: object) -> str:
        return next(self.lines)

    def readlines(self, *ignored: object) -> list[str]:
        return self.text.split("\n")

    def __getattr__(self, name: str) -> Any:
        return getattr(self.rest, name)


def unwrapped(code: str) -> str:
    """Without a last `if __name__ == '__main__':`."""
    try:
        tree = ast.parse(code)
        last = tree.body[-1]
        if isinstance(last, ast.If) and ast.unparse(last.test).strip() == "__name__ == '__main__'":
            return "\n".join(map(ast.unparse, tree.body[:-1])) + "\n" + "\n".join(map(ast.unparse, last.body))
    except Exception:
        return code
    return code


def wrapped(prelude: str, code: str) -> str:
    """Imports first, everything else in the body of a function."""
    imports: list[ast.stmt] = []
    others: list[ast.stmt] = []
    try:
        for statement in ast.parse(code).body:
            (imports if isinstance(statement, ast.Import | ast.ImportFrom) else others).append(statement)
        nothing = ast.arguments(posonlyargs=[], args=[], kwonlyargs=[], kw_defaults=[], defaults=[])
        function = ast.FunctionDef(name="wrapped_function", args=nothing, body=others, decorator_list=[], lineno=-1)
        return prelude + "\n" + "\n".join(map(ast.unparse, imports)) + "\n" + ast.unparse(function)
    except Exception:
        return code


def cripple() -> None:
    """Take away what the harness takes away."""
    vars(builtins)["quit"] = None
    for name in _ABSENT_CALLS.split():
        vars(os)[name] = None
    for name in _ABSENT_MODULES:
        vars(sys)["modules"][name] = None


def main(prelude: str, code: str) -> None:
    text = sys.stdin.buffer.read().decode()
    sys.set_int_max_str_digits(50000)
    out = os.dup(1)
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 0)
    os.dup2(nowhere, 1)
    cripple()
    module = types.ModuleType("tmp_sol", "")
    whole = wrapped(prelude, unwrapped(code))
    exec(whole, module.__dict__)
    target = module.Solution() if "class Solution" in whole else module

    def stand_in(*arguments: Any, **options: Any) -> Any:
        from unittest.mock import mock_open

        return mock_open(read_data=text)(*arguments, **options)

    printed = io.StringIO()
    vars(printed)["close"] = lambda: 1
    vars(builtins)["open"] = stand_in
    vars(sys).update(stdin=Stdin(text), stdout=printed)
    with contextlib.suppress(SystemExit):
        target.wrapped_function()
    left = memoryview(printed.getvalue().encode(errors="replace"))
    while left:
        left = left[os.write(out, left) :]
    os._exit(0)
