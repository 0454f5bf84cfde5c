"""Call one function of a candidate's code with JSON arguments, one a line; write the JSON of what it returns."""

import json
import os
import sys
import types


def main(prelude: str, code: str, fn_name: str, joined: bool) -> None:
    sys.set_int_max_str_digits(50000)
    arguments = [json.loads(line) for line in sys.stdin.buffer.read().decode().split("\n")]
    answer = os.dup(1)
    os.dup2(2, 1)  # what the code prints is not its answer
    module = types.ModuleType("tmp_sol")
    sys.modules["tmp_sol"] = module
    for text in [prelude + "\n\n" + code] if joined else [prelude, code]:
        exec(compile(text, "solution.py", "exec"), module.__dict__)
    target = module.Solution() if "class Solution" in code else module
    result = getattr(target, fn_name)(*arguments)
    left = memoryview(json.dumps(result).encode())
    while left:
        left = left[os.write(answer, left) :]
