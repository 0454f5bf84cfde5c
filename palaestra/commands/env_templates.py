"""The files that `palaestra env new` writes: one small environment of each kind, in words between angle brackets."""

from __future__ import annotations

TITLES = {
    "single": "add two-digit numbers, tell the sum",
    "tool": "ask a tool for the count of each shelf, tell the sum",
    "group": "the shortest right sentence of a group wins",
}

CODE = {
    "single": '''"""<NAME>: <TITLE>."""

from gym_core.environment import Environment


class <CLASS>(Environment):
    """Add up the numbers; 1.0 for exactly the sum, 0.0 otherwise."""

    name = "<NAME>"

    def make(self, rng, level):  # `prompt` is shown, every other key stays on the server
        numbers = [rng.randint(10, 99) for _ in range(level + 2)]
        return {"prompt": f"What is {' + '.join(map(str, numbers))}? Say only the number.", "total": sum(numbers)}

    def verify(self, task, session, reply):
        return reply.text.strip() == str(task["total"])

    def oracle(self, task):  # what earns the maximum
        return str(task["total"])
''',
    "tool": '''"""<NAME>: <TITLE>."""

from gym_core.environment import Call, Environment, Script, ToolFault, tool


class <CLASS>(Environment):
    """Add up what lies on the shelves; 1.0 for exactly the sum, 0.0 otherwise."""

    name = "<NAME>"

    def make(self, rng, level):  # `prompt` is shown, every other key stays on the server
        stock = {f"{rng.choice('ABCDEFGH')}{n}": rng.randint(10, 99) for n in rng.sample(range(100, 1000), level + 1)}
        return {"prompt": f"Bolts on {' and '.join(stock)}? Say only the number.", "stock": stock}

    @tool
    def count(self, session, shelf: str) -> int:
        """Bolts on a shelf."""
        if shelf not in session.task["stock"]:
            raise ToolFault(f"there is no shelf {shelf[:20]}")
        return session.task["stock"][shelf]

    def verify(self, task, session, reply):
        return reply.text.strip() == str(sum(task["stock"].values()))

    def oracle(self, task):  # what earns the maximum
        return Script(tuple(Call("count", {"shelf": s}) for s in task["stock"]), str(sum(task["stock"].values())))
''',
    "group": '''"""<NAME>: <TITLE>."""

from gym_core.environment import Environment


class <CLASS>(Environment):
    """Use a name in a sentence; 1.0 for the shortest sentence of the group that has it, 0.0 otherwise."""

    name = "<NAME>"
    group_deadline_s = 30.0

    def make(self, rng, level):  # `prompt` is shown, every other key stays on the server
        word = "".join(rng.choice("klmnrst") + rng.choice("aeio") for _ in range(level + 3))
        return {"prompt": f"Use the name {word} in a short sentence.", "word": word}

    def verify_group(self, entries):
        texts = [entry.reply.text if entry.task["word"] in entry.reply.text.split() else "" for entry in entries]
        best = min((len(text) for text in texts if text), default=-1)
        return [float(len(text) == best) for text in texts]

    def oracle(self, task):  # what earns the maximum
        return task["word"]
''',
}

MANIFEST = """name = "<NAME>"
module = "environment.py"
class = "<CLASS>"
description = "<CLASS>: <TITLE>."
licence = "Apache-2.0"
network = "none"
"""

_LIMITS = """
## Known limits
Written by `palaestra env new`: say here what the grading cannot see, and which attacks you tried (cases.jsonl).
"""

README = {
    "single": """# <NAME>
Sums of two-digit numbers.

## A task
    What is 17 + 48? Say only the number.    (level 0)    -> 65

## Reward
1.0 for exactly the sum as the whole reply, else 0.0.

## Levels
Level n adds n + 2 numbers; level 0 has 8,100 prompts.
"""
    + _LIMITS,
    "tool": """# <NAME>
Numbers behind a tool: how many bolts lie on one to five shelves.

## A task
    Bolts on H869 and F920? Say only the number.    (level 1)    -> 120

## Reward
1.0 for exactly the sum as the whole reply, else 0.0. The tool need not be called.

## Levels
Level n asks for n + 1 shelves; level 0 has 7,200 prompts.
"""
    + _LIMITS,
    "group": """# <NAME>
Rollouts of one task against each other: the shortest sentence with the name in it wins.

## A task
    Use the name ronima in a short sentence.    (level 0)    -> I met ronima

## Reward
1.0 for the shortest sentence of the group that has the name as a word, else 0.0. Who is as short wins as well.

## Levels
Level n has names of n + 3 syllables; level 0 has 21,952 prompts.
"""
    + _LIMITS,
}

TEST = '''"""The environment keeps every rule of the quality gate: `pytest` in this folder."""

from pathlib import Path

from gym_core.check.gate import QUICK, check_path


def test_the_environment_passes_the_quality_gate() -> None:
    report = check_path(Path(__file__).parent, QUICK)
    assert [(rule.id, rule.found, rule.fix) for rule in report.failures()] == []
'''
