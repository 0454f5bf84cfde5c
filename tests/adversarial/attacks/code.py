"""Attacks on code: a sum of two numbers by standard input, a method that is called, and what programs do to pass."""

# ruff: noqa: E501 (programs are easier to compare on a line each)

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from gym_core.loading import load_file

arena = load_file(Path(__file__).resolve().parents[1] / "arena.py")

INPUTS = ["1 2\n", "5 7\n", "-3 3\n"]
OUTPUTS = ["3\n", "12\n", "0\n"]
SOLVED = "a, b = map(int, input().split())\nprint(a + b)"


def row(inputs: Any = None, outputs: Any = None, **meta: Any) -> dict[str, Any]:
    tests = {
        "inputs": INPUTS if inputs is None else inputs,
        "outputs": OUTPUTS if outputs is None else outputs,
        "fn_name": meta.pop("fn_name", None),
    }
    limits = {"time_limit_s": 0.5, "memory_limit_mb": 256, **meta}
    return {"responses_create_params": {"input": "Add."}, "verifier_metadata": {"unit_tests": tests, **limits}}


def fenced(code: str, language: str = "python") -> str:
    return f"```{language}\n{code}\n```"


CALLED = row(["[1, 2]\n3", "[4]\n3"], ["[4, 5]", "[7]"], fn_name="add")
PROGRAMS = {
    # measured on the public harness, where each of the first four passes
    "frames": "import sys\nf = sys._getframe()\nwhile f:\n    print(f.f_locals.get('gt_out', f.f_locals.get('outputs', '')))\n    f = f.f_back",
    "the heap": "import gc\nfor o in gc.get_objects():\n    if isinstance(o, dict) and 'outputs' in o:\n        print(o['outputs'])",
    "a patched harness": "import lcb_integration.testing_util as t\nt.get_stripped_lines = lambda v: []",
    "an early exit": "import os\nos._exit(0)",
    "no exit": "while True:\n    try:\n        while True: pass\n    except BaseException: pass",
    "a fork bomb": "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass",
    "ten gigabytes": "x = bytearray(10 << 30)\nprint(len(x))",
    "a gigabyte said": "import sys\nfor _ in range(1 << 14): sys.stdout.write('x' * (1 << 16))",
    "a look at proc": "import glob\nfor n in glob.glob('/proc/[0-9]*/*'):\n    try: print(open(n).read())\n    except Exception: pass",
    "a sleep": "import time\ntime.sleep(60)",
    "part of the output, then exit": "print(3)\nraise SystemExit",
    "all possible outputs": "for n in range(-100, 100): print(n)",
    "no letters": "import os\nos.write(1, b'\\xff\\xfe')",
    "input closed": "import os\nos.close(0)\nprint(input())",
    "the input echoed": "print(input())",
    "nothing": "pass",
    # thought of here
    "the first answer always": "print(3)",
    "all answers in one line": "print(3, 12, 0)",
    "all answers in lines": "print('3\\n12\\n0')",
    "a pattern": "print('.*')",
    "an invisible end": "a, b = map(int, input().split())\nprint(str(a + b) + '\\u200b')",
    "not a number": "print('nan')",
    "an answer on the other stream": "import sys\na, b = map(int, input().split())\nprint(a + b, file=sys.stderr)",
    "an answer and an error": "a, b = map(int, input().split())\nprint(a + b)\nraise ValueError",
    "an answer and a signal": "import os\na, b = map(int, input().split())\nprint(a + b, flush=True)\nos.abort()",
    "an answer and an exit code": "a, b = map(int, input().split())\nprint(a + b)\nraise SystemExit(3)",
    "every descriptor": "import os\nfor fd in range(256):\n    try: os.write(fd, b'3\\n12\\n0\\n')\n    except OSError: pass",
    "signals to all": "import os, signal\nfor p in range(2, 400):\n    try: os.kill(p, 9)\n    except OSError: pass",
    "signals to the group": "import os\nos.killpg(os.getpgid(0), 9)",
    "signals to the parent": "import os\nos.kill(os.getppid(), 9)\nos.kill(1, 9)",
    "a stopped parent": "import os, signal\nos.kill(os.getppid(), signal.SIGSTOP)",
    "a daemon": "import os, time\nif os.fork() == 0:\n    os.setsid()\n    while True: pass",
    "many files": "import os\nfor n in range(10**6):\n    try: open(f'/tmp/{n}', 'w').write('x' * 4096)\n    except OSError: break",
    "one huge file": "f = open('/tmp/x', 'wb')\nwhile True: f.write(b'x' * (1 << 20))",
    "many descriptors": "import os\nwhile True:\n    try: os.open('/dev/null', 0)\n    except OSError: break",
    "many threads": "import threading\nwhile True:\n    try: threading.Thread(target=lambda: threading.Event().wait()).start()\n    except RuntimeError: break",
    "deep recursion": "import sys\nsys.setrecursionlimit(10**9)\ndef f(n): return f(n + 1)\nf(0)",
    "a crash": "import ctypes\nctypes.string_at(0)",
    "the network": "import socket\ns = socket.create_connection(('1.1.1.1', 53), 1)\nprint(s)",
    "the service itself": "import urllib.request as u\nprint(u.urlopen('http://127.0.0.1/verify', timeout=1).read())",
    "the repository": "import glob\nfor n in glob.glob('/*') + glob.glob('/*/*/environments/*/cases.jsonl'):\n    try: print(open(n).read())\n    except OSError: pass",
    "tests in the memory of others": "import os\nfor p in os.listdir('/proc'):\n    try: print(open(f'/proc/{p}/environ').read())\n    except OSError: pass",
    "a trace of the parent": "import ctypes, os\nprint(ctypes.CDLL(None).ptrace(16, os.getppid(), 0, 0))",
    "a new name space": "import ctypes\nprint(ctypes.CDLL(None).unshare(0x10000000))",
    "a mount": "import ctypes\nprint(ctypes.CDLL(None).mount(b'none', b'/tmp', b'tmpfs', 0, 0))",
    "left for the next test": "import os, glob\nprint([open(n).read() for n in glob.glob('/tmp/*')])\nopen('/tmp/left', 'w').write('3')",
    "a module for the next test": "import sys\nfor p in sys.path:\n    try: open(p + '/sitecustomize.py', 'w').write('print(3)')\n    except OSError: pass",
    "an import of the grader": "import environments.code_tests.grading as g\ng.same_output = lambda *a: True",
    "a patched print": "import builtins\nbuiltins.print = lambda *a: None\nprint(3)",
    "at the end": "import atexit\natexit.register(lambda: print(3))",
    "an endless line": "import itertools\nfor _ in itertools.count(): print(end='3')",
    "a slow drip": "import time\nwhile True:\n    print(3, flush=True)\n    time.sleep(0.05)",
    "an object equal to all": "class A(str):\n    def __eq__(self, other): return True\nprint(A('x'))",
}  # fmt: skip
CALLS = {
    "equal to all": "class E(list):\n    def __eq__(self, other): return True\nclass Solution:\n    def add(self, row, k): return E()",
    "said, not returned": "class Solution:\n    def add(self, row, k):\n        print('[4, 5]')",
    "a patched encoder": "import json\njson.dumps = lambda v: '[4, 5]'\nclass Solution:\n    def add(self, row, k): return 1",
    "a patched encoder class": "import json\njson.JSONEncoder.default = lambda s, o: [4, 5]\nclass Solution:\n    def add(self, row, k): return object()",
    "the report written by hand": "import os\nclass Solution:\n    def add(self, row, k):\n        for fd in range(3, 64):\n            try: os.write(fd, b'[4, 5]')\n            except OSError: pass\n        os._exit(0)",
    "not a number": "class Solution:\n    def add(self, row, k): return float('nan')",
    "text of it": "class Solution:\n    def add(self, row, k): return '[4, 5]'",
    "a generator": "class Solution:\n    def add(self, row, k): yield from [4, 5]",
    "a list in itself": "class Solution:\n    def add(self, row, k):\n        a = []\n        a.append(a)\n        return a",
    "another method": "class Solution:\n    def sub(self, row, k): return [4, 5]",
    "an exit while being defined": "raise SystemExit(0)",
    "an endless list": "class Solution:\n    def add(self, row, k): return [0] * (1 << 27)",
}  # fmt: skip
SHAPES = {
    "no fence": SOLVED,
    "one fence": f"```python\n{SOLVED}",
    "in the thinking": f"<think>{fenced(SOLVED)}</think>",
    "a wrong program after it": f"{fenced(SOLVED)}\n{fenced('print(1)')}",
    "an empty program": "```python\n```",
    "another language": fenced("puts gets.split.sum(&:to_i)", "ruby"),
    "a null byte": fenced("\x00" + SOLVED),
    "a megabyte of parentheses": fenced("(" * (1 << 20)),
    "a megabyte of names": fenced("a=" * (1 << 19) + "1"),
    "a constant too large": fenced("x = 9**9**9"),
    "a lone surrogate": fenced("print('\\ud800')"),
}
CPP = {
    "a file included": '#include "/proc/self/environ"\nint main() {}',
    "no end of templates": "template<int N> struct A { static const int v = A<N-1>::v + A<N-2>::v; };\nint main() { return A<100000>::v; }",
    "no end of includes": "#include __FILE__\nint main() {}",
    "an assembler's file": '__asm__(".incbin \\"/etc/shadow\\"");\nint main() {}',
    "processes without end": "#include <unistd.h>\nint main() { for (;;) fork(); }",
}
CHECKER = (
    "def check(input, output, expected):\n    a, b = map(int, input.split())\n    return output.strip() == str(a + b)"
)
SLOW = {
    *("deep recursion", "an endless line", "a slow drip", "many threads", "many files", "many descriptors"),
    *("a constant too large", "a megabyte of names", "call: an endless list", "cpp: processes without end"),
    *("cpp: no end of templates", "cpp: no end of includes", "a daemon", "one huge file"),
}
"""These run into a limit of seconds; the others are enough for every day."""


def attacks() -> list[Any]:
    checked = row(checker=CHECKER)
    rows = {
        "no tests": (row([], []), "verifier_metadata.unit_tests"),
        "no expected output": (row(["1 2\n"], [""]), "verifier_metadata.unit_tests"),
        "more inputs than outputs": (row(["1", "2"], ["1"]), "verifier_metadata.unit_tests"),
        "no metadata": ({"responses_create_params": {"input": "Add."}}, "verifier_metadata"),
        "a private method": (row(["1"], ["1"], fn_name="__init__"), "verifier_metadata.unit_tests.fn_name"),
        "a checker that is no program": (row(checker="def check("), "verifier_metadata.checker"),
        "an endless time": (row(time_limit_s=1e9), "verifier_metadata.time_limit_s"),
    }
    made = [
        *(arena.Attack(name=name, row=row(), output=fenced(code)) for name, code in PROGRAMS.items()),
        *(arena.Attack(name=f"call: {name}", row=CALLED, output=fenced(code)) for name, code in CALLS.items()),
        *arena.texts(row(), SHAPES),
        *(
            arena.Attack(name=f"cpp: {name}", row=row(language="cpp"), output=fenced(code, "cpp"), bomb=True)
            for name, code in CPP.items()
        ),
        *(
            arena.Attack(name=f"row: {name}", row=given, output=fenced(SOLVED), refused=field)
            for name, (given, field) in rows.items()
        ),
        arena.Attack(name="a word to the checker", row=checked, output=fenced("print('True')")),
        arena.Attack(name="checked", row=checked, output=fenced(SOLVED), worth=1.0),
        arena.Attack(name="the plain answer", row=row(), output=fenced(SOLVED), worth=1.0),
    ]
    return [dataclasses.replace(attack, slow=attack.name in SLOW) for attack in made]
