"""What one sandboxed test costs, for each provider and language, with as many sandboxes at once as there are cores.

Every sandbox lives in a process of its own, as it does in an environment's worker. The program reads a number and
prints the next one; CPU is that of the whole process tree, the asking process included (a container's is not seen);
`load` says how many other processes wanted the cores.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from typing import Any

from gym_core.errors import EnvironmentFault
from gym_core.sandbox.choose import PROVIDERS, provider_named
from gym_core.sandbox.provider import Sandbox
from gym_core.sandbox.run import Program, python_program

COLUMNS = ("provider", "language", "sandboxes", "tests_per_s", "ms_per_test", "cpu_ms_per_test", "load", "skipped")
PYTHON = "print(int(input()) + 1)"
CPP = "#include <iostream>\nint main() { long long n; std::cin >> n; std::cout << n + 1 << std::endl; }"
WARM_UP = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print a JSON list of rows")
    parser.add_argument("--quick", action="store_true", help="200 tests per sandbox instead of 1,000, bubblewrap only")
    parser.add_argument("--tests", type=int, default=0, help="tests per sandbox")
    parser.add_argument("--sandboxes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--providers", default="")
    parser.add_argument("--languages", default="python,cpp")
    parser.add_argument("--one", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    count = options.tests or (200 if options.quick else 1000)
    if options.one:
        provider, language = options.one.split(",")
        print(json.dumps(one(provider, language, count)))
        return
    names = (options.providers or ("bubblewrap" if options.quick else ",".join(PROVIDERS))).split(",")
    rows = [
        measure(name, language, options.sandboxes, count) for name in names for language in options.languages.split(",")
    ]
    if options.json:
        print(json.dumps(rows, indent=1))
    else:
        print("  ".join(f"{column:>15}" for column in COLUMNS))
        for row in rows:
            print("  ".join(f"{row[column]:>15}" for column in COLUMNS))


def measure(provider: str, language: str, sandboxes: int, count: int) -> dict[str, Any]:
    """A row: all sandboxes at once, from the first one's first test to the last one's last."""
    row: dict[str, Any] = dict.fromkeys(COLUMNS, "") | {
        "provider": provider,
        "language": language,
        "sandboxes": sandboxes,
    }
    command = [sys.executable, __file__, "--one", f"{provider},{language}", "--tests", str(count)]
    asked = [
        subprocess.Popen(command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(sandboxes)
    ]
    said = [process.stdout.readline().strip() if process.stdout else "" for process in asked]
    failed = [line or "it ended before it began" for line in said if line != "ready"]
    results = [json.loads(output or "{}") for output in _let_go(asked, "" if failed else "go\n")]
    if failed:
        return row | {"skipped": failed[0]}
    seconds = max(result["end"] for result in results) - min(result["start"] for result in results)
    total = count * sandboxes
    return row | {
        "load": round(os.getloadavg()[0], 1),
        "tests_per_s": round(total / seconds, 1),
        "ms_per_test": round(sum(result["end"] - result["start"] for result in results) / total * 1000, 2),
        "cpu_ms_per_test": round(sum(result["cpu_s"] for result in results) / total * 1000, 2),
    }


def _let_go(asked: list[subprocess.Popen[str]], word: str) -> list[str]:
    """Say the word to all of them, then wait: what each of them prints."""
    for process in asked:
        if process.stdin is not None and word:
            process.stdin.write(word)
            process.stdin.flush()
    return [process.communicate()[0] for process in asked]


def one(provider: str, language: str, count: int) -> dict[str, float]:
    """In a process of its own: open, warm up, wait for the word, measure."""
    sandbox = Sandbox(provider_named(provider))
    try:
        program = program_in(sandbox, language)
        for number in range(WARM_UP):
            ask(sandbox, program, number)
    except EnvironmentFault as error:
        sandbox.close()
        print(error.message.replace("\n", " "), flush=True)
        return {}
    print("ready", flush=True)
    if not sys.stdin.readline():  # another one cannot start
        return {}
    start = time.monotonic()
    for number in range(count):
        ask(sandbox, program, number)
    end = time.monotonic()
    sandbox.close()
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return {"start": start, "end": end, "cpu_s": sum(usage.ru_utime + usage.ru_stime for usage in used) - STARTED_CPU_S}


def program_in(sandbox: Sandbox, language: str) -> Program:
    if language == "python":
        return python_program(PYTHON)
    made = sandbox.compile(CPP, language)
    assert isinstance(made, Program), made
    return made


def ask(sandbox: Sandbox, program: Program, number: int) -> None:
    run = sandbox.run(program, f"{number}\n".encode())
    assert run.stdout == f"{number + 1}\n".encode(), run


STARTED_CPU_S = resource.getrusage(resource.RUSAGE_SELF).ru_utime
"""What starting this interpreter has cost before the first test."""

if __name__ == "__main__":
    main()
