"""Texts of the programs that run a candidate's code inside the sandbox, in the candidate's own process.

They guard nothing: whatever a candidate does to them changes its own answer only, which is judged outside.
"""

from __future__ import annotations

from importlib import resources

PRELUDE_MODULES = [
    "string",
    "re",
    "datetime",
    "collections",
    "heapq",
    "bisect",
    "copy",
    "math",
    "random",
    "statistics",
    "itertools",
    "functools",
    "operator",
    "io",
    "sys",
    "json",
    "builtins",
    "typing",
]
PLAIN_IMPORTS = PRELUDE_MODULES[: PRELUDE_MODULES.index("builtins")]
PRELUDE = (
    "".join(f"from {name} import *\n" for name in PRELUDE_MODULES)
    + "".join(f"import {name}\n" for name in PLAIN_IMPORTS)
    + "sys.setrecursionlimit(50000)\n"
)
"""What LiveCodeBench puts before every program: names that solutions of its problems take for granted."""


def _driver(name: str, *arguments: str | bool) -> str:
    """The text of a driver, and the call that starts it."""
    text = resources.files("environments.code_tests").joinpath("drivers", name).read_text()
    return f"{text}\n\nmain({', '.join(map(repr, arguments))})\n"


def call_program(code: str, fn_name: str) -> str:
    """Strict call mode: reads one JSON argument a line, prints the JSON of what the function returns."""
    return _driver("call.py", PRELUDE, code, fn_name, False)


def published_call_program(code: str, fn_name: str) -> str:
    """The same with the code behind the prelude in one piece, as the public harness compiles it."""
    return _driver("call.py", PRELUDE, code, fn_name, True)


def published_stdin_program(code: str) -> str:
    """The public harness's way to run a program: wrapped in a function, with stand-ins for stdin and `open`."""
    return _driver("published_stdin.py", PRELUDE, code)


def checker_program(checker: str) -> str:
    """Reads JSON `{input, output, expected}`, prints `true` or `false` as `check` of this source says."""
    return _driver("checker.py", checker)
